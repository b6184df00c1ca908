package story_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/story"
	"hostedmcp/storage"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func at(before time.Duration) time.Time { return noon.Add(-before) }

func event(reason oauth.Reason, before time.Duration) storage.Event {
	return storage.Event{Reason: reason, At: at(before), Last: at(before), Count: 1, Client: "c1", Request: "REQ-" + string(reason), Address: "192.0.2.7"}
}

// repeated is an event that the store has merged.
func repeated(reason oauth.Reason, n uint32, first, last time.Duration) storage.Event {
	e := event(reason, first)
	e.Last, e.Count = at(last), n
	return e
}

func input(events ...storage.Event) story.Input {
	return story.Input{
		Grant: storage.Grant{ID: "G1", ClientID: "c1", ClientName: "Claude", Subject: "s1", Scope: oauth.Scope{"mcp"}, Created: at(100 * time.Hour),
			LastUse: at(time.Hour), Redeemed: true, State: storage.StateWorking, Gen: 2215},
		Identity: storage.Identity{Subject: "s1", Name: "Alice", Email: "alice@example.com"},
		Events:   events, Now: noon,
		Site: story.Site{Provider: "login.example.com", Idle: oauth.Days(30), MaxAge: oauth.Days(365), OutageGrace: oauth.Days(1), GrantsPerUser: 20},
	}
}

func text(t *testing.T, s story.Story) string {
	t.Helper()
	var b strings.Builder
	if err := s.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Every end has a sentence for the operator, one for the user and something to change, all of its own and all filled
// in, with what is known of the installation and without.
func TestEveryEnd(t *testing.T) {
	seen := map[string]oauth.Reason{}
	for _, reason := range oauth.Reasons()[oauth.GroupEnded] {
		for _, site := range []story.Site{input().Site, {}} {
			in := input(event(reason, time.Hour))
			in.Site, in.Grant.Ended, in.Grant.EndedAt = site, reason, at(time.Hour)
			s := story.Tell(in)
			if s.State != story.Ended || s.Reason != reason || s.Word != "Ended" || !strings.HasPrefix(s.Headline, string(reason)+": ended. ") {
				t.Errorf("%s: %s %s %q", reason, s.State, s.Word, s.Headline)
			}
			if !strings.HasSuffix(s.Headline, "(23 Nov 2026, 11:00 UTC, 1 hour ago)") || len(s.Lines) != 1 || len(s.Advice) == 0 || len(s.Sees) < 15 {
				t.Errorf("%s: %q, %d lines, advice %q, sees %q", reason, s.Headline, len(s.Lines), s.Advice, s.Sees)
			}
			out := text(t, s)
			if strings.ContainsAny(out, "{}%") || strings.Contains(out, "  sign") || strings.Contains(out, "!(") {
				t.Errorf("%s: a place is not filled in:\n%s", reason, out)
			}
			if other, twice := seen[s.Sees]; twice && other != reason {
				t.Errorf("%s and %s say the same: %q", reason, other, s.Sees)
			}
			seen[s.Sees] = reason
		}
	}
}

// Every trouble that can belong to one connection keeps its promise to the user, and says what to change.
func TestEveryTrouble(t *testing.T) {
	for _, reason := range []oauth.Reason{oauth.UpstreamUnreachable, oauth.UpstreamError, oauth.UpstreamBadAnswer, oauth.UpstreamInDoubt,
		oauth.UpstreamSuspect, oauth.UpstreamConfig} {
		in := input(event(oauth.SignedIn, 90*time.Hour), event(reason, 7*time.Minute))
		in.Upstream = storage.Upstream{Trouble: reason, TroubleSince: at(7 * time.Minute), InDoubt: reason == oauth.UpstreamInDoubt}
		s := story.Tell(in)
		if s.State != story.Trouble || s.Reason != reason || !strings.HasPrefix(s.Headline, string(reason)+": in trouble. ") ||
			!strings.Contains(s.Headline, "7 minutes") || len(s.Advice) == 0 {
			t.Errorf("%s: %s %q %q", reason, s.State, s.Headline, s.Advice)
		}
		if !strings.Contains(s.Sees, "You stay connected until 24 November, 11:53 UTC, and there is nothing you need to do.") {
			t.Errorf("%s: %q", reason, s.Sees)
		}
	}
	for _, reason := range []oauth.Reason{oauth.ClockJump, oauth.StorageUnavailable, oauth.Internal} {
		in := input(event(oauth.RefreshOK, time.Hour))
		in.Server = reason
		if s := story.Tell(in); s.State != story.Trouble || s.Reason != reason || s.Word != "This server in trouble" {
			t.Errorf("%s: %s %s %q", reason, s.State, s.Word, s.Headline)
		}
	}
	in := input(event(oauth.UpstreamUnreachable, time.Hour))
	in.Upstream = storage.Upstream{Trouble: oauth.UpstreamUnreachable, TroubleSince: at(time.Hour)}
	in.Server = oauth.ClockJump // which does not end with the outage
	if s := story.Tell(in); s.Reason != oauth.ClockJump || strings.Contains(s.Sees, "until") {
		t.Errorf("clock and outage: %s %q", s.Reason, s.Sees)
	}
	in = input(event(oauth.SubjectChanged, time.Hour), event(oauth.RecheckOK, time.Minute)) // of a call that came before it
	in.Upstream = storage.Upstream{Quarantined: true}
	if s := story.Tell(in); s.Reason != oauth.SubjectChanged || s.Word != "Stopped" || strings.Contains(s.Sees, "You stay connected") {
		t.Errorf("quarantined: %s %q", s.Reason, s.Sees)
	}
}

// Every reason of the closed list that a journal may hold has a line of words.
func TestEveryLine(t *testing.T) {
	for group, reasons := range oauth.Reasons() {
		if group == oauth.GroupRefused || group == oauth.GroupLogin {
			continue
		}
		for _, reason := range reasons {
			s := story.Tell(input(event(reason, time.Hour)))
			if len(s.Lines) != 1 || !strings.HasSuffix(s.Lines[0].Sentence, ".") || strings.ContainsAny(s.Lines[0].Sentence, "{}") {
				t.Errorf("%s: %+v", reason, s.Lines)
			}
		}
	}
}

// A day of a life: what repeats is one line, an outage is a span with what went on in it.
func TestLinesMerge(t *testing.T) {
	minute := time.Minute
	in := input(
		event(oauth.ConsentApproved, 90*time.Hour), event(oauth.SignedIn, 90*time.Hour-minute),
		event(oauth.RefreshOK, 80*time.Hour), event(oauth.OK, 79*time.Hour), event(oauth.RefreshOK, 79*time.Hour), repeated(oauth.RecheckOK, 3, 78*time.Hour, 77*time.Hour),
		repeated(oauth.UpstreamUnreachable, 4, 70*time.Minute, 66*minute), repeated(oauth.RefreshOutage, 2, 66*minute, 64*minute), event(oauth.UpstreamUnreachable, 64*minute),
		event(oauth.OK, 63*minute), event(oauth.RefreshOK, 62*minute),
		event(oauth.RefreshSame, 61*minute),
	)
	var got []string
	for _, l := range story.Tell(in).Lines {
		got = append(got, string(l.Reason)+": "+l.Sentence)
	}
	want := []string{
		"consent_approved: The user pressed Allow.",
		"signed_in: The user signed in at login.example.com.",
		"recheck_ok: Renewed 2 times.",
		"upstream_unreachable: login.example.com did not answer for 7 minutes. The user stayed connected: it was renewed 2 times meanwhile.",
		"refresh_ok: Renewed.",
		"refresh_same: An answer to the program was lost; it asked again and got the same.",
	}
	if !slices.Equal(got, want) {
		t.Errorf("lines:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	in.You = true
	if s := story.Tell(in); s.Lines[0].Sentence != "You pressed Allow." || !strings.Contains(s.Lines[3].Sentence, "You stayed connected") {
		t.Errorf("to the user: %+v", s.Lines)
	}
}

// An outage that goes on lasts until now; the last renewals of a healthy life are counted by the tokens' generation.
func TestLastLine(t *testing.T) {
	in := input(event(oauth.SignedIn, 90*time.Hour), event(oauth.UpstreamError, 25*time.Minute))
	in.Upstream = storage.Upstream{Trouble: oauth.UpstreamError, TroubleSince: at(25 * time.Minute)}
	if s := story.Tell(in); s.Lines[1].Sentence != "login.example.com answered with errors for 25 minutes." || !s.Lines[1].Until.Equal(noon) {
		t.Errorf("%+v", s.Lines[1])
	}
	s := story.Tell(input(event(oauth.SignedIn, 90*time.Hour), event(oauth.RefreshOK, time.Minute)))
	if s.Headline != "refresh_ok: working. Renewed, for the 2,214th time. (23 Nov 2026, 11:59 UTC, 1 minute ago)" || s.Sees != "" || s.Advice != nil {
		t.Errorf("%q %q %q", s.Headline, s.Sees, s.Advice)
	}
	in = input(repeated(oauth.RefreshOK, 9, 9*time.Hour, time.Hour))
	in.Grant.Called, in.Grant.LastUse = true, at(time.Hour-30*time.Second)
	if s := story.Tell(in); len(s.Lines) != 1 {
		t.Errorf("a use half a minute after another line: %+v", s.Lines)
	}
	in.Grant.Called, in.Grant.LastUse = true, at(5*time.Minute)
	s = story.Tell(in)
	if last := s.Lines[len(s.Lines)-1]; len(s.Lines) != 2 || last.Sentence != "Last used." || s.Lines[0].Sentence != "Renewed 9 times; the last was the 2,214th." {
		t.Errorf("%+v", s.Lines)
	}
}

// A provider whose name is not known is named by what it is.
func TestNoNames(t *testing.T) {
	in := input(event(oauth.UpstreamRejected, time.Hour))
	in.Site, in.Grant.Ended = story.Site{}, oauth.UpstreamRejected
	if s := story.Tell(in); s.Sees != "The sign-in service no longer accepts this sign-in. Connect again." {
		t.Errorf("%q", s.Sees)
	}
}

// What follows the end is about giving the token back, and does not become the reason.
func TestAfterTheEnd(t *testing.T) {
	in := input(event(oauth.SignedIn, 90*time.Hour), event(oauth.UserRevoked, time.Hour), event(oauth.UpstreamError, time.Hour-time.Second), event(oauth.OK, 50*time.Minute))
	in.Grant.Ended, in.Grant.EndedAt = oauth.UserRevoked, at(time.Hour)
	s := story.Tell(in)
	if s.Reason != oauth.UserRevoked || len(s.Lines) != 4 || s.Lines[3].Sentence != "The sign-in was given back to login.example.com." ||
		!strings.Contains(s.Lines[2].Sentence, "could not be told") {
		t.Errorf("%s %+v", s.Reason, s.Lines)
	}
}

// A doubt without a failure has no event of its own: the store was put back in time.
func TestRestored(t *testing.T) {
	in := input(event(oauth.RefreshOK, 2*time.Hour))
	in.Upstream = storage.Upstream{InDoubt: true, DoubtSince: at(time.Hour)}
	if s := story.Tell(in); s.Reason != oauth.Restored || s.State != story.Trouble || s.Word != "Being checked" {
		t.Errorf("%s %s %q", s.Reason, s.State, s.Headline)
	}
	in.Events = []storage.Event{event(oauth.RefreshAhead, 90*time.Minute), event(oauth.RefreshOK, 80*time.Minute)}
	if s := story.Tell(in); s.Reason != oauth.Restored {
		t.Errorf("an older restoration was settled: %s", s.Reason)
	}
	in.Events = append(in.Events, event(oauth.RefreshAhead, time.Minute))
	if s := story.Tell(in); s.Reason != oauth.RefreshAhead || s.State != story.Trouble {
		t.Errorf("%s %s %q", s.Reason, s.State, s.Headline)
	}
}

// A login that its client has not come back from.
func TestUnclaimed(t *testing.T) {
	in := input(event(oauth.SignedIn, 30*time.Second))
	in.Grant.Redeemed = false
	if s := story.Tell(in); s.State != story.Unclaimed || s.Reason != oauth.SignedIn || s.Word != "Not finished" {
		t.Errorf("%s %s %q", s.State, s.Reason, s.Headline)
	}
}

// A refusal of many (protocol.md §8.2) is told as a setting that is wrong: what may be behind it stands beside the settings.
func TestWrongDatabase(t *testing.T) {
	for _, reason := range []oauth.Reason{oauth.UpstreamSuspect, oauth.UpstreamConfig} {
		in := input(event(oauth.SignedIn, time.Hour), event(reason, time.Minute))
		in.Upstream.Trouble, in.Upstream.TroubleSince = reason, at(time.Minute)
		if out := text(t, story.Tell(in)); !strings.Contains(out, "wrong or empty database") || !strings.Contains(out, "Realm settings > Keys > Providers") {
			t.Errorf("%s: %s", reason, out)
		} else if reason == oauth.UpstreamConfig && !strings.Contains(out, " refused this server (not the user) for 1 minute: a setting is wrong.") {
			t.Errorf("%s", out)
		}
	}
}

// A stranger's name moves no cursor and hides no line.
func TestNamesAreTamed(t *testing.T) {
	in := input(event(oauth.SignedIn, time.Hour))
	in.Grant.ClientName, in.Identity.Name, in.Identity.Email = "Evil\x1b[2J\u202e", "Al\nice\x07", "a\r@b"
	if out := text(t, story.Tell(in)); strings.ContainsAny(out, "\x1b\x07\r\u202e") || strings.Contains(out, "Al\nice") {
		t.Errorf("%q", out)
	}
}

// The text, whole.
func TestText(t *testing.T) {
	in := input(event(oauth.ConsentApproved, 91*time.Hour), event(oauth.SignedIn, 90*time.Hour), event(oauth.UpstreamLost, time.Hour))
	in.Grant.Ended, in.Grant.EndedAt = oauth.UpstreamLost, at(time.Hour)
	want := `upstream_lost: ended. An answer of login.example.com was lost on the way, and login.example.com does not give it twice. (23 Nov 2026, 11:00 UTC, 1 hour ago)

Connection  G1
User        Alice <alice@example.com> (s1)
Program     Claude (c1)
State       ended
Scope       mcp
Connected   2026-11-19 08:00:00
Last used   2026-11-23 11:00:00
Ended       2026-11-23 11:00:00

What happened (times are UTC)
  2026-11-19 17:00:00               The user pressed Allow. [consent_approved]
                                    request REQ-consent_approved, from 192.0.2.7
  2026-11-19 18:00:00               The user signed in at login.example.com. [signed_in]
                                    request REQ-signed_in, from 192.0.2.7
  2026-11-23 11:00:00               An answer of login.example.com was lost on the way, and login.example.com does not give it twice. [upstream_lost]
                                    request REQ-upstream_lost, from 192.0.2.7

What the user sees
  Ended: login.example.com’s answer was lost on the way, and login.example.com does not give it twice. Connect again.

What to change
  - Keycloak: Realm settings > Tokens > Revoke Refresh Token: switch it off (then set rotation = "none" in [provider]), or set Refresh Token Max Reuse to 1 or more (rotation = "reuse"). With 0 a lost answer always costs a login.
  - A network that drops answers, or a server that is killed, loses them: look at the trouble before the end, above.
`
	if got := text(t, story.Tell(in)); got != want {
		t.Errorf("%s", got)
	}
}

// JSON carries what the text does, under names that scripts can rely on.
func TestJSON(t *testing.T) {
	in := input(event(oauth.SignedIn, time.Hour), event(oauth.UserRevoked, time.Minute))
	in.Grant.Ended, in.Grant.EndedAt = oauth.UserRevoked, at(time.Minute)
	body, err := json.Marshal(story.Tell(in))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"grant", "user", "state", "reason", "at", "headline", "lines", "word", "sees", "advice"} {
		if m[key] == nil {
			t.Errorf("no %s in %s", key, body)
		}
	}
}

// Every refusal of the closed list has a story; those that a setting decides name it.
func TestRefusals(t *testing.T) {
	for group, reasons := range oauth.Reasons() {
		if group == oauth.GroupNormal {
			continue
		}
		for _, reason := range reasons {
			s := story.OfRefusal(story.Refusal{At: at(time.Minute), Request: "R1", Route: "/authorize", Method: "GET", Status: 400, Reason: string(reason)}, story.Site{}, noon)
			out := text(t, s)
			if s.State != story.Refused || !strings.HasPrefix(out, string(reason)+": GET /authorize was answered with 400. ") || strings.ContainsAny(out, "{}") || len(s.Lines) != 1 {
				t.Errorf("%s: %s", reason, out)
			}
		}
	}
	s := story.OfRefusal(story.Refusal{At: at(time.Minute), Reason: "client_unknown", Status: 401, Route: "/token", Method: "POST"}, story.Site{}, noon)
	if len(s.Advice) == 0 || !strings.Contains(s.Advice[0], "unused_ttl") {
		t.Errorf("%q", s.Advice)
	}
}
