package auth_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// moment is one step of a timeline: at a time after t0 a refresh token is presented (and its successor named), or an
// access token is used.
type moment struct {
	at      time.Duration
	present string       // name of the refresh token presented
	gives   string       // name of the successor: the same name must be the same token
	row     oauth.Reason // refresh_ok, refresh_same, or why not
	use     string       // name of the pair whose access token is used instead
}

// The timelines of protocol.md §5.3, R5 being R1 here, with the pair of R2 being R2 and A2.
var timelines = []struct {
	name    string
	moments []moment
	lives   bool
}{
	{"answer lost, retried, used, retried inside the window, reused after it", []moment{
		{at: 0, present: "R1", gives: "R2", row: oauth.RefreshOK},
		{at: 30 * time.Second, present: "R1", gives: "R2", row: oauth.RefreshSame},
		{at: 31 * time.Second, use: "R2"},
		{at: 45 * time.Second, present: "R1", gives: "R2", row: oauth.RefreshSame},
		{at: 90 * time.Second, present: "R1", row: oauth.RefreshReuse},
	}, false},
	{"two processes with one credential go on", []moment{
		{at: 0, present: "R1", gives: "R2", row: oauth.RefreshOK},
		{at: time.Second, use: "R2"},
		{at: 30 * time.Second, present: "R1", gives: "R2", row: oauth.RefreshSame},
		{at: 31 * time.Second, use: "R2"},
		{at: 40 * time.Second, present: "R2", gives: "R3", row: oauth.RefreshOK},
		{at: 50 * time.Second, present: "R2", gives: "R3", row: oauth.RefreshSame},
	}, true},
	{"the first process idle, the second comes late", []moment{
		{at: 0, present: "R1", gives: "R2", row: oauth.RefreshOK},
		{at: 2 * time.Minute, present: "R1", gives: "R2", row: oauth.RefreshSame},
		{at: 3 * time.Minute, use: "R2"},
		{at: 4 * time.Minute, present: "R2", gives: "R3", row: oauth.RefreshOK},
	}, true},
	{"answer lost, lid closed", []moment{
		{at: 0, present: "R1", gives: "R2", row: oauth.RefreshOK},
		{at: 8 * time.Hour, present: "R1", gives: "R2", row: oauth.RefreshSame},
		{at: 8*time.Hour + time.Second, present: "R2", gives: "R3", row: oauth.RefreshOK},
	}, true},
	{"a thief after the victim", []moment{
		{at: 0, present: "R1", gives: "R2", row: oauth.RefreshOK},
		{at: time.Minute, use: "R2"},
		{at: 10 * time.Minute, present: "R1", row: oauth.RefreshReuse},
	}, false},
	{"a thief while the victim is idle", []moment{
		{at: 0, present: "R1", gives: "R2", row: oauth.RefreshOK},
		{at: 10 * time.Minute, present: "R1", gives: "R2", row: oauth.RefreshSame},
		{at: 11 * time.Minute, use: "R2"},
		{at: time.Hour, present: "R2", gives: "R3", row: oauth.RefreshOK},
		{at: time.Hour + time.Second, use: "R3"},
		{at: time.Hour + 2*time.Minute, present: "R2", row: oauth.RefreshReuse},
	}, false},
	{"two generations old, inside the window", []moment{
		{at: 0, present: "R1", gives: "R2", row: oauth.RefreshOK},
		{at: 5 * time.Second, present: "R2", gives: "R3", row: oauth.RefreshOK},
		{at: 6 * time.Second, present: "R1", row: oauth.RefreshReuse},
	}, false},
}

func TestRefreshTimelines(t *testing.T) {
	for _, line := range timelines {
		t.Run(line.name, func(t *testing.T) {
			r := newRig(t, longLived())
			tokens := map[string]authtest.TokenAnswer{"R1": {Refresh: r.c.Refresh, Access: r.c.Access}}
			var now time.Duration
			for _, m := range line.moments {
				r.Clock.Advance(m.at - now)
				now = m.at
				r.play(tokens, m)
			}
			if line.lives {
				r.lives(r.id)
			} else {
				r.dead(tokens)
			}
			r.check()
		})
	}
}

// play does one step and compares what came of it.
func (r *rig) play(tokens map[string]authtest.TokenAnswer, m moment) {
	r.t.Helper()
	if m.use != "" {
		r.calls(tokens[m.use].Access, "")
		return
	}
	before, asked := r.grant(r.id).Gen, r.asked()
	a := r.refresh(tokens[m.present].Refresh)
	if m.gives == "" {
		r.refused(a, http.StatusBadRequest, oauth.InvalidGrant, string(m.row))
		return
	}
	r.good(a)
	if known, ok := tokens[m.gives]; ok && known.Refresh != a.Refresh {
		r.t.Fatalf("%s: %s gives another %s than before", m.at, m.present, m.gives)
	}
	if rotated := r.grant(r.id).Gen != before; rotated != (m.row == oauth.RefreshOK) {
		r.t.Fatalf("%s: rotated = %v, want the row of %s", m.at, rotated, m.row)
	}
	r.expectAsked(asked, 0)
	tokens[m.gives] = a
}

// dead holds a reuse to its consequence: every access token, and every refresh token of the family, is refused.
func (r *rig) dead(tokens map[string]authtest.TokenAnswer) {
	r.t.Helper()
	r.ended(r.id, oauth.RefreshReuse)
	if r.noted(r.id, oauth.RefreshReuse) != 1 {
		r.t.Error("the journal does not say refresh_reuse once")
	}
	for _, pair := range tokens {
		if _, status, reason := r.Call(pair.Access); status != http.StatusUnauthorized ||
			reason != "grant_ended refresh_reuse" && reason != "token_expired" {
			r.t.Errorf("access token of an ended grant: %d %s", status, reason)
		}
		r.refused(r.refresh(pair.Refresh), http.StatusBadRequest, oauth.InvalidGrant, "grant_ended refresh_reuse")
	}
}

// Rows 1 to 3 do nothing, whatever is presented (protocol.md §5.3, RFC 6749 §5.2).
func TestRefreshRefusedWithoutEffect(t *testing.T) {
	r := newRig(t, longLived())
	other, _ := r.login("bob")
	stranger := r.NewClient()
	stranger.RedirectURI = "http://127.0.0.1:1/other"
	r.must(stranger.Register("Another client"))
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(r.c.Refresh, "hmcp_rt_"))
	r.must(err)
	flip := func(i int) string {
		bad := append([]byte(nil), raw...)
		bad[i] ^= 1
		return "hmcp_rt_" + base64.RawURLEncoding.EncodeToString(bad)
	}
	for name, row := range map[string]struct{ token, client, reason string }{
		"1 garbage":             {"garbage", "", "refresh_invalid"},
		"1 no prefix":           {strings.TrimPrefix(r.c.Refresh, "hmcp_rt_"), "", "refresh_invalid"},
		"1 our access token":    {r.c.Access, "", "refresh_invalid"},
		"1 too short":           {r.c.Refresh[:len(r.c.Refresh)-4], "", "refresh_invalid"},
		"1 too long":            {r.c.Refresh + "AAAA", "", "refresh_invalid"},
		"1 version":             {flip(0), "", "refresh_invalid"},
		"1 unknown grant":       {flip(1), "", "refresh_invalid"},
		"1 other generation":    {flip(30), "", "refresh_invalid"},
		"1 bad MAC":             {flip(len(raw) - 1), "", "refresh_invalid"},
		"1 MAC of other client": {r.forge(r.id, 1, stranger.ID), "", "refresh_invalid"},
		"3 other client":        {r.c.Refresh, stranger.ID, "refresh_wrong_client"},
		"3 other client, older": {r.forge(r.id, 0, r.c.ID), stranger.ID, "refresh_wrong_client"},
	} {
		t.Run(name, func(t *testing.T) {
			client := r.c.ID
			if row.client != "" {
				client = row.client
			}
			r.refused(r.refresh(row.token, "client_id", client), http.StatusBadRequest, oauth.InvalidGrant, row.reason)
			r.lives(r.id)
		})
	}
	r.good(r.refresh(other.Refresh, "client_id", other.ID))
	r.renewed() // nothing was spent
	r.check()
}

// Row 2 outlives everything: a tombstone keeps its key, so that its tokens are told from forged ones.
func TestRefreshOfEndedGrant(t *testing.T) {
	r := newRig(t, longLived())
	_, err := r.Store.EndGrant(t.Context(), r.id, oauth.UserRevoked, storage.Event{})
	r.must(err)
	r.Clock.Advance(80 * 24 * time.Hour)
	r.Restart()
	r.refused(r.refresh(r.c.Refresh), http.StatusBadRequest, oauth.InvalidGrant, "grant_ended user_revoked")
	r.refused(r.refresh(r.forge(r.id, 9, r.c.ID)), http.StatusBadRequest, oauth.InvalidGrant, "grant_ended user_revoked")
}

// Row 4: idle and highest age, at the limit and past it.
func TestRefreshTooOld(t *testing.T) {
	limits := authtest.ServerOptions{Auth: func(o *auth.Options) {
		o.Tokens.RefreshIdle, o.Tokens.RefreshMax = oauth.Days(2), oauth.Days(5)
	}}
	limits.Provider, limits.Upstream = longLived().Provider, longLived().Upstream
	day := 24 * time.Hour
	t.Run("idle", func(t *testing.T) {
		r := newRig(t, limits)
		r.Clock.Advance(2 * day)
		r.renewed()
		r.Clock.Advance(day)
		r.renewed() // keeps it from idling
		r.Clock.Advance(2*day + time.Second)
		r.refused(r.refresh(r.c.Refresh), http.StatusBadRequest, oauth.InvalidGrant, "grant_idle")
		r.ended(r.id, oauth.GrantIdle)
		r.calls(r.c.Access, "token_expired")
	})
	t.Run("age", func(t *testing.T) {
		r := newRig(t, limits)
		for range 4 {
			r.Clock.Advance(day)
			r.renewed()
		}
		r.Clock.Advance(day - 30*time.Minute)
		if a := r.renewed(); a.ExpiresIn != 1800 {
			t.Errorf("expires_in %d reaches past the highest age (§5.6)", a.ExpiresIn)
		}
		r.Clock.Advance(30*time.Minute + time.Second)
		r.refused(r.refresh(r.c.Refresh), http.StatusBadRequest, oauth.InvalidGrant, "grant_max_age")
		r.calls(r.c.Access, "grant_ended grant_max_age")
	})
}

// 100 parallel refreshes of one token: one rotation, the same successor for all, at most one upstream call; so do two
// processes that share the credential ever after.
func TestRefreshInParallel(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{})
	for range 3 {
		r.due()
		gen, asked := r.grant(r.id).Gen, r.asked()
		answers := make([]authtest.TokenAnswer, 100)
		together(len(answers), func(i int) { answers[i], _ = r.c.RefreshWith(r.c.Refresh) })
		for _, a := range answers {
			if a.Status != http.StatusOK || a.Refresh != answers[0].Refresh {
				t.Fatalf("answer %d %q, or another successor", a.Status, a.Description)
			}
			r.calls(a.Access, "")
		}
		if got := r.grant(r.id).Gen; got != gen+1 {
			t.Fatalf("%d rotations", got-gen)
		}
		r.expectAsked(asked, 1)
		r.c.Refresh = answers[0].Refresh
		r.Clock.Advance(time.Minute + time.Second)
	}
	r.check()
}

// Row 9: a restored backup meets tokens of its own future. Their generation is adopted and the provider asked once,
// whatever the age of its token.
func TestRefreshAhead(t *testing.T) {
	r := newRig(t, longLived())
	r.Clock.Advance(11 * time.Second) // past the hold-off (§8.3): the backup's upstream token is in doubt
	asked := r.asked()
	ahead := r.forge(r.id, 7, r.c.ID)
	var mu sync.Mutex
	successors := map[string]int{}
	together(10, func(int) {
		a, _ := r.c.RefreshWith(ahead)
		mu.Lock()
		defer mu.Unlock()
		successors[a.Refresh]++
	})
	if len(successors) != 1 || successors[r.forge(r.id, 8, r.c.ID)] != 10 {
		t.Fatalf("successors: %v", successors)
	}
	r.expectAsked(asked, 1)
	if g := r.grant(r.id); g.Gen != 8 {
		t.Fatalf("generation %d", g.Gen)
	}
	if r.noted(r.id, oauth.RefreshAhead) != 1 {
		t.Error("the journal does not say refresh_ahead once")
	}
	r.refused(r.refresh(r.c.Refresh), http.StatusBadRequest, oauth.InvalidGrant, "refresh_reuse") // the backup's own token is old now
}

// Row 6 never asks the provider, and writes nothing: it works while the provider is away for days.
func TestRefreshSameAsksNobody(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{Auth: func(o *auth.Options) { o.Tokens.OutageGrace = 0 }})
	lost := r.c.Refresh
	r.good(r.refresh(lost))
	r.Provider.Down()
	r.Clock.Advance(50 * time.Hour)
	r.good(r.refresh(lost))
	// the journal hears of it apart from the answer, once however often it is asked
	r.await(r.id, oauth.RefreshSame)
	r.good(r.refresh(lost))
	r.refused(r.refresh(r.forge(r.id, 2, r.c.ID)), http.StatusServiceUnavailable, oauth.TemporarilyUnavailable, "upstream_unreachable")
}

// Each generation's first retry is noted, and no other.
func TestRetryIsNotedOnce(t *testing.T) {
	r := newRig(t, longLived())
	for n := 1; n <= 2; n++ {
		lost := r.c.Refresh
		r.renewed()
		for range 3 {
			r.good(r.refresh(lost))
		}
		r.await(r.id, oauth.RefreshSame)
		r.Restart() // what was under way is done
		if got := r.noted(r.id, oauth.RefreshSame); got != n {
			t.Errorf("%d retries noted, want %d", got, n)
		}
	}
}

// Scope and resource of a refresh (RFC 6749 §6, RFC 8707 §2.2): neither spends anything when refused.
func TestRefreshScopeAndResource(t *testing.T) {
	r := newRig(t, longLived())
	c := r.NewClient()
	c.Scope = "mcp crm.write"
	r.must(c.Login())
	id := r.grantOf(c.Refresh)
	for name, row := range map[string]struct {
		form  url.Values
		scope string // of a good answer
		code  oauth.Code
	}{
		"absent":             {url.Values{}, "mcp crm.write", ""},
		"narrower":           {url.Values{"scope": {"mcp"}}, "mcp", ""},
		"whole again":        {url.Values{"scope": {"mcp crm.write"}}, "mcp crm.write", ""},
		"unknown dropped":    {url.Values{"scope": {"mcp nonsense"}}, "mcp", ""},
		"only unknown":       {url.Values{"scope": {"nonsense"}}, "mcp crm.write", ""},
		"offline_access":     {url.Values{"scope": {"mcp offline_access"}}, "mcp", ""},
		"only offline":       {url.Values{"scope": {"offline_access"}}, "mcp crm.write", ""},
		"bad syntax":         {url.Values{"scope": {"mcp \"x\""}}, "", oauth.InvalidScope},
		"own resource":       {url.Values{"resource": {r.Issuer + "/mcp"}}, "mcp crm.write", ""},
		"other spelling":     {url.Values{"resource": {strings.ToUpper(r.Issuer[:4]) + r.Issuer[4:] + "/mcp/"}}, "mcp crm.write", ""},
		"foreign resource":   {url.Values{"resource": {"https://other.example/mcp"}}, "", oauth.InvalidTarget},
		"one of two foreign": {url.Values{"resource": {r.Issuer + "/mcp", "https://other.example/"}}, "", oauth.InvalidTarget},
	} {
		t.Run(name, func(t *testing.T) {
			gen := r.grant(id).Gen
			row.form.Set("grant_type", "refresh_token")
			row.form.Set("refresh_token", c.Refresh)
			row.form.Set("client_id", c.ID)
			a, err := c.Post("/token", row.form)
			r.must(err)
			if row.code != "" {
				reason := map[oauth.Code]string{oauth.InvalidScope: "scope_invalid", oauth.InvalidTarget: "target_invalid"}[row.code]
				r.refused(a, http.StatusBadRequest, row.code, reason)
				if r.grant(id).Gen != gen {
					t.Error("a refused refresh was spent")
				}
				return
			}
			r.good(a)
			if a.Scope != row.scope {
				t.Errorf("scope %q, want %q", a.Scope, row.scope)
			}
			c.Refresh = a.Refresh
		})
	}
	r.refused(r.refresh(r.c.Refresh, "scope", "mcp crm.write"), http.StatusBadRequest, oauth.InvalidScope, "scope_invalid") // known, outside of this grant
	r.renewed()
}
