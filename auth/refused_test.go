package auth_test

import (
	"testing"
	"time"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

// longTokens are good for a day, so that nothing is renewed by age.
func longTokens(more ...func(*authtest.Behaviour)) authtest.ServerOptions {
	return authtest.ServerOptions{
		Provider: []authtest.Option{authtest.With(func(b *authtest.Behaviour) {
			b.AccessLife, b.Audiences = 24*time.Hour, []string{"crm-api", "warehouse"}
			for _, set := range more {
				set(b)
			}
		})},
		Upstream: func(c *upstream.Config) { c.Recheck = oauth.Days(30) },
	}
}

// refusable is one of the two tokens that an API may refuse: how to get it, and how often the provider was asked.
type refusable struct {
	name, audience, grant string
	get                   func() string
	asked                 func() int
}

func (r *rig) refusables() []refusable {
	return []refusable{
		{"exchanged", "crm-api", grantExchange, func() string { return r.exchanged("crm-api", "") }, r.exchangesAsked},
		{"upstream", "", "refresh_token", func() string { return r.token(r.id, "") }, r.asked},
	}
}

// apiRefuses is what a connector says after a 401.
func (r *rig) apiRefuses(audience, token string) {
	r.Auth.TokenRefused(r.t.Context(), r.id, audience, oauth.Secret(token))
}

// RFC 6750 §3.1: a token that an API refuses is asked for anew, once; an API that refuses them all costs one request
// in five minutes, however many calls there are.
func TestTokenRefused(t *testing.T) {
	for i, name := range []string{"exchanged", "upstream"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, longTokens())
			x := r.refusables()[i]
			last := x.get()
			for round := range 3 {
				before := x.asked()
				r.Clock.Advance(time.Second) // the provider's tokens differ by their time
				for range 10 {
					r.apiRefuses(x.audience, x.get())
				}
				r.apiRefuses(x.audience, last) // somebody who was slow
				token := x.get()
				if n := x.asked() - before; n != 1 || token == last {
					t.Errorf("round %d: %d requests, another token: %v", round, n, token != last)
				}
				last = token
				r.Clock.Advance(5 * time.Minute)
			}
			r.step() // forgets what is over
			if n := r.Auth.Refusals(); n != 0 {
				t.Errorf("%d refusals are remembered", n)
			}
			r.lives(r.id)
		})
	}
}

// What is not in use is not refused, and a refusal is for its own grant and audience.
func TestTokenRefusedElsewhere(t *testing.T) {
	for i, name := range []string{"exchanged", "upstream"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, longTokens())
			x := r.refusables()[i]
			token, other := x.get(), r.refusables()[1-i].get()
			warehouse := r.exchanged("warehouse", "")
			_, bob := r.login("bob")
			r.token(bob, "")
			before := r.asked() + r.exchangesAsked()
			r.Clock.Advance(time.Second)
			r.apiRefuses(x.audience, "")
			r.apiRefuses(x.audience, "made up")
			r.apiRefuses(x.audience, other)
			r.apiRefuses(x.audience, warehouse)
			r.Auth.TokenRefused(t.Context(), bob, x.audience, oauth.Secret(token))
			r.Auth.TokenRefused(t.Context(), "nobody", x.audience, oauth.Secret(token))
			r.apiRefuses("nothing", token)
			if r.Auth.Refusals() != 0 || x.get() != token {
				t.Error("a refusal of another token counted")
			}
			r.apiRefuses(x.audience, token)
			r.token(bob, "")
			if r.refusables()[1-i].get() != other || r.exchanged("warehouse", "") != warehouse {
				t.Error("another token was replaced")
			}
			if n := r.asked() + r.exchangesAsked() - before; n != 0 {
				t.Errorf("%d requests", n)
			}
			if x.get() == token {
				t.Error("the refused token is given out")
			}
		})
	}
}

// Many calls at once are refused and come back: one request.
func TestTokenRefusedByManyCalls(t *testing.T) {
	for i, name := range []string{"exchanged", "upstream"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, longTokens())
			x := r.refusables()[i]
			token, before := x.get(), x.asked()
			r.Clock.Advance(time.Second)
			together(50, func(int) {
				r.apiRefuses(x.audience, token)
				if x.audience == "" {
					_, _ = r.Auth.UpstreamToken(t.Context(), r.id)
				} else {
					_, _ = r.Auth.ExchangedToken(t.Context(), r.id, x.audience)
				}
			})
			if n := x.asked() - before; n != 1 || x.get() == token {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// It is one API's word: while the provider is in trouble the token goes on, for others take it; then it is replaced.
func TestTokenRefusedInTrouble(t *testing.T) {
	for i, name := range []string{"exchanged", "upstream"} {
		for _, fault := range []authtest.Fault{authtest.Unavailable(503, ""), {Reset: true}, {Status: 401, Body: `{"error":"invalid_client"}`}} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, longTokens())
				x := r.refusables()[i]
				token, before := x.get(), x.asked()
				fault.Grant = x.grant
				r.Provider.Break(authtest.Token, fault)
				r.apiRefuses(x.audience, token)
				for range 5 {
					if x.get() != token {
						t.Error("another token, of a provider in trouble")
					}
				}
				if n := x.asked() - before; n != 1 {
					t.Errorf("%d requests, want one and a pause", n)
				}
				r.Provider.Mend()
				r.Clock.Advance(3 * time.Minute)
				// A refresh whose answer was lost must not be repeated for an API's word.
				if doubt := x.audience == "" && fault.Reset; (x.get() == token) != doubt {
					t.Errorf("the token after the trouble is the same: %v", !doubt)
				}
				r.lives(r.id)
			})
		}
	}
}

// What a 401 is really about is heard from the provider: the sign-in has ended there.
func TestTokenRefusedSinceTheSessionEnded(t *testing.T) {
	for i, name := range []string{"exchanged", "upstream"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, longTokens())
			x := r.refusables()[i]
			r.apiRefuses(x.audience, x.get())
			r.Provider.EndSession("alice", "")
			if x.audience == "" {
				r.token(r.id, "upstream_session_ended")
			} else {
				r.exchanged(x.audience, "upstream_session_ended")
			}
			r.ended(r.id, oauth.UpstreamSessionEnded)
		})
	}
}

// A provider that gives the same token again is not asked at every call, one that denies this user now is believed.
func TestTokenRefusedAnswers(t *testing.T) {
	r := newRig(t, longTokens())
	same := `{"access_token":"x","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer"}`
	r.Provider.Break(authtest.Token, exchanges(authtest.Fault{Status: 200, Body: same}))
	get := func() (string, error) {
		token, err := r.Auth.ExchangedToken(t.Context(), r.id, "crm-api")
		return token.Reveal(), err
	}
	if token, err := get(); token != "x" || err != nil {
		t.Fatal(token, err)
	}
	before := r.exchangesAsked()
	r.apiRefuses("crm-api", "x")
	for range 5 {
		if token, err := get(); token != "x" || err != nil {
			t.Error(token, err)
		}
	}
	if n := r.exchangesAsked() - before; n != 1 {
		t.Errorf("%d requests", n)
	}
	r.Provider.Mend()
	r.Provider.Break(authtest.Token, exchanges(authtest.Fault{Status: 403, Body: `{"error":"access_denied"}`}))
	r.Clock.Advance(4*time.Minute - 2*time.Second) // the token's life, unstated, is five
	if token, err := get(); token != "x" || err != nil {
		t.Error(token, err)
	}
	r.Auth.KeepExchanged(r.id, "crm-api", 10, time.Hour)
	r.Clock.Advance(time.Minute + 2*time.Second)
	token, err := get()
	if err != nil {
		t.Fatal(err)
	}
	r.apiRefuses("crm-api", token)
	r.exchanged("crm-api", "tool_denied")
}

// A grant without a refresh token cannot get another one, and does not end over an API's word.
func TestTokenRefusedWithoutRefreshToken(t *testing.T) {
	o := longTokens(func(b *authtest.Behaviour) { b.NoRefreshToken = true })
	upstreamOf := o.Upstream
	o.Upstream = func(c *upstream.Config) { upstreamOf(c); c.Refresh = upstream.RefreshOptional }
	r := newRig(t, o)
	token := r.token(r.id, "")
	r.apiRefuses("", token)
	if r.token(r.id, "") != token {
		t.Error("another token out of nowhere")
	}
	r.lives(r.id)
}
