package admin_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/story"
	"hostedmcp/storage"
)

func TestExplain(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		for _, tt := range []struct {
			name, word, found string
			stories           []string // ids, in order
			first             string   // line
		}{
			{"grant", idBob, "grant", []string{idBob}, "code_redeemed: "},
			{"ended grant", idEnded, "grant", []string{idEnded}, "upstream_session_ended: "},
			{"subject: living first", "alice", "subject", []string{idAlice, idAlice2, idEnded}, "code_redeemed: "},
			{"e-mail", "BOB@example.com", "email", []string{idBob}, "code_redeemed: "},
			{"request", requestSignIn, "request", []string{idAlice, idAlice2, idBob, idMallory, idEnded}, "code_redeemed: "},
		} {
			t.Run(tt.name, func(t *testing.T) {
				var a struct {
					Word, Found string
					LogSubject  string `json:"log_subject"`
					NoMemory    bool   `json:"no_memory"`
					Stories     []story.Story
				}
				got := r.run("explain", tt.word, "-json")
				if err := json.Unmarshal([]byte(got.out), &a); err != nil || got.code != 0 {
					t.Fatalf("%v: %+v", err, got)
				}
				var ids []string
				for _, s := range a.Stories {
					ids = append(ids, s.Grant.ID)
				}
				if a.Word != tt.word || a.Found != tt.found || strings.Join(ids, " ") != strings.Join(tt.stories, " ") {
					t.Errorf("got %q is %s: %v, want %s: %v", a.Word, a.Found, ids, tt.found, tt.stories)
				}
				if user := tt.found == "subject" || tt.found == "email"; (len(a.LogSubject) == 16) != user {
					t.Errorf("log subject %q", a.LogSubject)
				}
				text := r.run("explain", tt.word)
				if text.code != 0 || !strings.HasPrefix(text.out, tt.first) {
					t.Errorf("%+v", text)
				}
				has(t, text.out, tt.stories...)
				if closed := r.stop == nil; strings.Contains(text.err, "No server is running") != closed {
					t.Errorf("said %q", text.err)
				}
			})
		}
	})
}

func TestExplainUnknown(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		for _, tt := range []struct {
			word string
			code int
			want []string
		}{
			{"nobody@example.com", 1, []string{"nothing is known of nobody@example.com"}},
			{"QQQQQQQQQQQQQQQQQQQQQQQQQQ", 1, []string{"nothing is known of QQQ"}},
			{"beispiel", 1, []string{"did you mean the user bob?"}},
			{"a\x1b[31m\u202eb", 1, []string{"nothing is known of a[31mb"}},
			{"\xff\xfe", 1, []string{"name a connection, a user or a request"}},
			{strings.Repeat("x", 513), 1, []string{"at most 512 bytes"}},
			{"", 1, []string{"name a connection, a user or a request"}},
			{"../../etc/passwd", 1, []string{"nothing is known of"}},
			{"alice&limit=1", 1, []string{"nothing is known of alice&limit=1"}},
		} {
			got := r.run("explain", tt.word)
			if got.code != tt.code || got.out != "" {
				t.Errorf("%q: %+v", tt.word, got)
			}
			has(t, got.err, tt.want...)
			if closed := r.stop == nil; strings.Contains(got.err, "known to a running server only") != (closed && strings.Contains(got.err, "nothing is known")) {
				t.Errorf("%q: said %q", tt.word, got.err)
			}
		}
	})
}

// Of a user with many connections the living ones are told first; the rest is counted.
func TestExplainMany(t *testing.T) {
	r := newRig(t)
	r.serve()
	got := r.run("explain", "alice", "-limit", "1")
	has(t, got.out, idAlice)
	hasNot(t, got.out, idAlice2, idEnded)
	has(t, got.err, "2 connections of this user are left out")
	for _, limit := range []string{"0", "201", "-1", "x"} {
		if got := r.run("explain", "alice", "-limit", limit); got.code != 2 {
			t.Errorf("-limit %s: %+v", limit, got)
		}
	}
}

// A request that came to no connection is in the server's memory only; one about a connection brings its story.
func TestExplainRefusal(t *testing.T) {
	const id = "REFUSEDAAAAAAAAAAAAAAAAAAA"
	r := newRig(t)
	r.door.Refusals = func(request string) []story.Refusal {
		if strings.Contains(request, "@") {
			t.Errorf("the journals were read for %q, which is no request id", request)
		}
		if request != id {
			return nil
		}
		return []story.Refusal{{
			At: r.clock.Now(), Request: id, Route: "/token", Method: "POST", Status: 400, OAuthError: "invalid_grant",
			Reason: "refresh_invalid", Client: "cl\x1b[31mient", Grant: idBob, Address: "192.0.2.7",
		}}
	}
	r.serve()
	got := r.run("explain", id)
	if got.code != 0 || !strings.HasPrefix(got.out, "refresh_invalid: POST /token was answered with 400.") {
		t.Fatalf("%+v", got)
	}
	has(t, got.out, idBob, "code_redeemed")
	var a struct {
		Found            string
		Refused, Stories []story.Story
	}
	got = r.run("explain", id, "-json")
	if err := json.Unmarshal([]byte(got.out), &a); err != nil || a.Found != "request" || len(a.Refused) != 1 || len(a.Stories) != 1 {
		t.Errorf("%v: %+v", err, got)
	}
	hasNot(t, got.out, "no_memory")
	r.run("explain", "nobody@example.com")
	r.close()
	if got = r.run("explain", id); got.code != 1 {
		t.Errorf("%+v", got)
	}
	has(t, got.err, "known to a running server only")
}

// A refusal and the story of its connection that have one reason give its advice once, with the user's name.
func TestExplainAdvisesOnce(t *testing.T) {
	r := newRig(t)
	ended := r.grantNow(idEnded)
	reason := ended.Ended
	r.door.Refusals = func(request string) []story.Refusal {
		return []story.Refusal{{At: r.clock.Now(), Request: request, Route: "/token", Method: "POST", Status: 400, Reason: string(reason), Grant: idEnded}}
	}
	r.serve()
	alone := r.run("explain", idEnded).out
	_, advice, ok := strings.Cut(alone, "What to change\n")
	if !ok {
		t.Fatalf("%s has no advice:\n%s", reason, alone)
	}
	got := r.run("explain", "REFUSEDAAAAAAAAAAAAAAAAAAA").out
	if strings.Count(got, "What to change\n") != 1 || !strings.HasSuffix(got, advice) {
		t.Errorf("%s", got)
	}
	// of another reason both are told
	reason = oauth.RateLimited
	if got := r.run("explain", "REFUSEDAAAAAAAAAAAAAAAAAAA").out; strings.Count(got, "What to change\n") != 2 {
		t.Errorf("%s", got)
	}
}

// Whatever a client calls itself, its story paints nothing on a terminal; the JSON holds it as it is, escaped.
func TestExplainHostile(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		const id = "EVILAAAAAAAAAAAAAAAAAAAAAA"
		open := r.store != nil
		if !open {
			r.open()
		}
		r.connect(id, "mal\x1b[2Jlory\u202e", evilName, "m@example.com\u200b", "client\x1b]0;x\x07\u202e", evilName)
		if !open {
			r.close()
		}
		for _, word := range []string{id, "mal\x1b[2Jlory\u202e"} {
			for _, terminal := range []bool{false, true} {
				r.env.Terminal = terminal
				got := r.run("explain", word)
				if got.code != 0 {
					t.Errorf("%+v", got)
				}
				hasNot(t, got.out+got.err, "\x1b", "\x07", "\u202e", "\u200b")
				has(t, r.run("explain", word, "-json").out, `client\u001b]0;x\u0007\u202e`)
			}
		}
	})
}

// A login that waits for its user is found by its request.
func TestExplainUnfinished(t *testing.T) {
	const id = "WAITINGAAAAAAAAAAAAAAAAAAA"
	r := newRig(t)
	r.must(r.store.Approve(r.Context(), storage.Request{
		ID: "AUTHREQUEST", ClientID: "hmcp_ci_claude", ClientName: "Claude", Expires: r.clock.Now().Add(day), TicketExpires: r.clock.Now().Add(day),
		Events: []storage.Event{{Reason: oauth.ConsentApproved, Request: id, Client: "hmcp_ci_claude"}},
	}, storage.ApproveLimits{}))
	r.serve()
	got := r.run("explain", id)
	if got.code != 0 || !strings.HasPrefix(got.out, "consent_approved: ") {
		t.Errorf("%+v", got)
	}
}

// What concerns every connection stands first: the clock that nobody vouches for.
func TestExplainClock(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.clock.Step(48 * time.Hour)
		got := r.run("explain", idBob)
		if !strings.HasPrefix(got.out, "clock_jump: ") {
			t.Errorf("%+v", got)
		}
		has(t, r.run("clock", "accept").out, "taken as right: 2026-03-03", "Things end by time again")
		hasNot(t, r.run("explain", idBob).out, "clock_jump")
		has(t, r.run("clock", "accept").out, "was trusted already")
		golden(t, "clock.json", r.run("clock", "accept", "-json").out)
	})
}
