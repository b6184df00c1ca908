package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

// grantExchange is the grant type of RFC 8693 §2.1.
const grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

// exchanges makes token exchanges go wrong.
func exchanges(f authtest.Fault) authtest.Fault {
	f.Grant = grantExchange
	if f.Body != "" && f.Header == nil {
		f.Header = http.Header{"Content-Type": {"application/json"}}
	}
	return f
}

// exchanged asks for a token as a connector does; reason "" = it must come, and be alice's for that audience.
func (r *rig) exchanged(audience, reason string) string {
	r.t.Helper()
	token, err := r.Auth.ExchangedToken(context.Background(), r.id, audience)
	var e *oauth.Error
	switch {
	case err == nil && reason == "":
		if user, ok := r.Provider.Exchanged(token.Reveal(), audience); !ok || user != "alice" {
			r.t.Fatalf("the token is %q's, %v", user, ok)
		}
		return token.Reveal()
	case errors.As(err, &e) && (string(e.Reason) == reason || string(e.Ended) == reason):
		return ""
	}
	r.t.Fatalf("exchanged token: %v, want %q", err, reason)
	return ""
}

// exchangesAsked is how many exchanges the provider has got.
func (r *rig) exchangesAsked() int { return r.Provider.Count(authtest.Token, grantExchange) }

func twoAudiences() authtest.ServerOptions {
	return providers(func(b *authtest.Behaviour) { b.Audiences = []string{"crm-api", "warehouse"} })
}

// RFC 8693: one token for each audience, from memory until shortly before it expires; never the user's own.
func TestExchangedToken(t *testing.T) {
	r := newRig(t, twoAudiences())
	first := r.exchanged("crm-api", "")
	if r.exchanged("crm-api", "") != first || r.exchangesAsked() != 1 {
		t.Errorf("%d exchanges for one token", r.exchangesAsked())
	}
	if other := r.exchanged("warehouse", ""); other == first || other == r.record(r.id).Access.Reveal() {
		t.Error("not a token of its own")
	}
	if calls := r.Provider.Calls(authtest.Token); calls[len(calls)-1].Audience != "warehouse" {
		t.Errorf("asked for %q", calls[len(calls)-1].Audience)
	}
	r.Clock.Step(-time.Hour) // no step of the clock makes it last longer
	r.Clock.Advance(4*time.Minute - time.Second)
	if r.exchanged("crm-api", "") != first {
		t.Error("asked too early")
	}
	r.Clock.Advance(2 * time.Second) // margin reached
	if r.exchanged("crm-api", "") == first {
		t.Error("a token that is nearly out")
	}
	r.check(first)
}

// A provider whose tokens live no longer than the margin is not asked at every call; one that states no life is believed
// for five minutes.
func TestExchangedTokenShort(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{})
	short := `{"access_token":"x","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer"%s}`
	ask := func(life string, wait time.Duration, asked int) {
		t.Helper()
		r.Provider.Mend()
		r.Provider.Break(authtest.Token, exchanges(authtest.Fault{Status: 200, Body: fmt.Sprintf(short, life)}))
		before := r.exchangesAsked()
		for range 2 {
			if _, err := r.Auth.ExchangedToken(t.Context(), r.id, "crm-api"); err != nil {
				t.Fatal(err)
			}
			r.Clock.Advance(wait)
		}
		if n := r.exchangesAsked() - before; n != asked {
			t.Errorf("%q: %d exchanges, want %d", life, n, asked)
		}
	}
	ask(`,"expires_in":40`, 29*time.Second, 1)
	r.Clock.Advance(time.Minute)
	ask(`,"expires_in":40`, 31*time.Second, 2)
	r.Clock.Advance(time.Minute)
	ask("", 3*time.Minute, 1)
}

// One flight for a grant and audience, whoever asks; a caller that hangs up cancels nothing.
func TestExchangeInParallel(t *testing.T) {
	r := newRig(t, twoAudiences())
	gate := authtest.NewGate()
	r.Provider.Break(authtest.Token, exchanges(authtest.Fault{Gate: gate}))
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { _, err := r.Auth.ExchangedToken(ctx, r.id, "crm-api"); gone <- err }()
	r.arrived(gate)
	cancel()
	if err := <-gone; err == nil {
		t.Error("a caller that hung up got a token")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		together(50, func(int) { _, _ = r.Auth.ExchangedToken(t.Context(), r.id, "crm-api") })
	}()
	gate.Open()
	<-done
	if n := r.exchangesAsked(); n != 1 {
		t.Errorf("%d exchanges", n)
	}
	r.exchanged("crm-api", "")
}

// The end of the grant ends its tokens: those in memory, one under way, and for another process's end too.
func TestExchangedTokenOfAnEndedGrant(t *testing.T) {
	r := newRig(t, twoAudiences())
	r.exchanged("crm-api", "")
	other, id := r.login("bob")
	if _, err := r.Auth.ExchangedToken(t.Context(), id, "crm-api"); err != nil || other.Access == "" {
		t.Fatal(err)
	}
	gate := authtest.NewGate()
	r.Provider.Break(authtest.Token, exchanges(authtest.Fault{Gate: gate, Times: 1}))
	said := make(chan error)
	go func() { _, err := r.Auth.ExchangedToken(t.Context(), r.id, "warehouse"); said <- err }()
	r.arrived(gate)
	r.must(r.Auth.EndByOperator(t.Context(), r.id, ""))
	gate.Open()
	var e *oauth.Error
	if err := <-said; !errors.As(err, &e) || e.Ended != oauth.AdminRevoked || e.Code != oauth.InvalidToken {
		t.Errorf("the flight under way: %v", err)
	}
	r.exchanged("crm-api", "admin_revoked")
	if n, bytes := r.Auth.Exchanged(); n != 1 || bytes == 0 {
		t.Errorf("%d tokens of %d bytes are left", n, bytes)
	}
	r.must(r.Auth.EndByOperator(t.Context(), id, "")) // with no flight under way
	if n, bytes := r.Auth.Exchanged(); n != 0 || bytes != 0 {
		t.Errorf("%d tokens of %d bytes are left", n, bytes)
	}
	if _, err := r.Auth.ExchangedToken(t.Context(), "nobody", "crm-api"); !errors.As(err, &e) || e.Code != oauth.InvalidToken {
		t.Errorf("an unknown grant: %v", err)
	}
}

// What the provider says against it: trouble of the exchange alone, with a pause; the grant lives.
func TestExchangeRefused(t *testing.T) {
	for name, row := range map[string]struct {
		fault  authtest.Fault
		reason string
		asked  int // with the second attempt
	}{
		"503":                {authtest.Unavailable(503, "7"), "upstream_error", 1},
		"reset":              {authtest.Fault{Reset: true}, "upstream_unreachable", 1},
		"a page":             {authtest.HTML(), "upstream_bad_answer", 1},
		"audience unknown":   {authtest.Fault{Status: 400, Body: `{"error":"invalid_target"}`}, "upstream_config", 1},
		"user not allowed":   {authtest.Fault{Status: 403, Body: `{"error":"access_denied"}`}, "tool_denied", 1},
		"token refused ever": {authtest.Fault{Status: 400, Body: `{"error":"invalid_request","error_description":"Invalid token"}`}, "upstream_suspect", 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, authtest.ServerOptions{})
			r.Provider.Break(authtest.Token, exchanges(row.fault))
			_, err := r.Auth.ExchangedToken(t.Context(), r.id, "crm-api")
			var e *oauth.Error
			if !errors.As(err, &e) {
				t.Fatalf("%v", err)
			}
			if string(e.Reason) != row.reason {
				t.Errorf("reason %s, want %s", e.Reason, row.reason)
			}
			denied := row.reason == "tool_denied"
			if denied != (e.Code == oauth.AccessDenied) || !denied && (e.Code != oauth.TemporarilyUnavailable || e.RetryAfter == 0) {
				t.Errorf("%s, again in %s", e.Code, e.RetryAfter)
			}
			for range 5 {
				_, _ = r.Auth.ExchangedToken(t.Context(), r.id, "crm-api") // out of memory
			}
			if n := r.exchangesAsked(); n != row.asked {
				t.Errorf("%d exchanges, want %d", n, row.asked)
			}
			r.lives(r.id)
			if told := strings.Contains(r.Log.String(), "exchanges no token"); told != (row.reason == "upstream_config") {
				t.Errorf("an operator was told: %v", told)
			}
			r.Provider.Mend()
			r.Clock.Advance(3 * time.Minute)
			r.exchanged("crm-api", "")
			if paused, _ := r.Auth.Remembered(); paused != 0 {
				t.Errorf("%d failures are remembered after a good answer", paused)
			}
		})
	}
}

// A user's token that died early is renewed, once, and the exchange asked again.
func TestExchangeOfADeadToken(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{})
	r.Provider.Break(authtest.Token, exchanges(authtest.Fault{Times: 1, Status: 400, Body: `{"error":"invalid_request","error_description":"Invalid token"}`}))
	asked := r.asked()
	r.exchanged("crm-api", "")
	r.expectAsked(asked, 1)
	r.Provider.EndSession("alice", "")
	r.Clock.Advance(5 * time.Minute)
	r.exchanged("crm-api", "upstream_session_ended")
	r.ended(r.id, oauth.UpstreamSessionEnded)
}

// In doubt, in an outage and in quarantine there is no token to exchange; what is in memory serves in an outage.
func TestExchangeInTrouble(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{})
	r.exchanged("crm-api", "")
	r.Provider.Down()
	if _, err := r.Auth.ExchangedToken(t.Context(), r.id, "crm-api"); err != nil {
		t.Errorf("in memory, provider down: %v", err)
	}
	r.Clock.Advance(5 * time.Minute)
	r.exchanged("crm-api", "upstream_unreachable")
	r.must(r.Provider.Up())
	r.Provider.Set(func(b *authtest.Behaviour) { b.IDToken = func(i *authtest.IDToken) { i.Claims["sub"] = "sub-mallory" } })
	r.Clock.Advance(3 * time.Minute)
	r.exchanged("crm-api", "subject_changed")
	asked := r.exchangesAsked()
	r.Auth.KeepExchanged(r.id, "crm-api", 10, time.Hour)
	r.exchanged("crm-api", "subject_changed")
	if r.exchangesAsked() != asked {
		t.Error("a quarantined token was exchanged")
	}
}

// Memory has a bound, whatever size a provider's tokens have: what is over goes first.
func TestExchangedTokensBounded(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{Upstream: func(c *upstream.Config) { c.Recheck = oauth.Days(30) }})
	const mega = 1 << 20
	for i := range 8 {
		r.Auth.KeepExchanged(r.id, fmt.Sprint("short", i), mega, time.Second)
	}
	r.Clock.Advance(2 * time.Second)
	for i := range 16 {
		r.Auth.KeepExchanged(r.id, fmt.Sprint("long", i), mega, time.Hour)
	}
	if n, bytes := r.Auth.Exchanged(); n != 16 || bytes != 16*mega {
		t.Errorf("%d tokens of %d bytes", n, bytes)
	}
	asked := r.exchangesAsked()
	for i := range 16 {
		if _, err := r.Auth.ExchangedToken(t.Context(), r.id, fmt.Sprint("long", i)); err != nil || r.exchangesAsked() != asked {
			t.Fatalf("long%d was forgotten, and those that are over were not: %v", i, err)
		}
	}
	for i := range 30 {
		r.Auth.KeepExchanged(r.id, fmt.Sprint("more", i), mega, time.Hour)
	}
	if n, bytes := r.Auth.Exchanged(); n != 16 || bytes != 16*mega {
		t.Errorf("%d tokens of %d bytes", n, bytes)
	}
}
