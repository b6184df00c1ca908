package auth_test

import (
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

// protocol.md §4.5, steps 5 to 9 and the table of failures: the client is told, each with its error and reason, the
// state is spent, no grant is made.
func TestCallbackFailures(t *testing.T) {
	set := func(change func(*authtest.Behaviour)) func(*loginRig) {
		return func(r *loginRig) { r.Provider.Set(change) }
	}
	fault := func(f authtest.Fault) func(*loginRig) {
		return func(r *loginRig) { r.Provider.Break(authtest.Token, f) }
	}
	idToken := func(change func(*authtest.IDToken)) func(*loginRig) {
		return set(func(b *authtest.Behaviour) { b.IDToken = change })
	}
	for _, row := range []struct {
		what   string
		upset  func(*loginRig) // after Allow, before the provider's page
		late   func(*loginRig) // after the provider's answer, before our callback
		code   oauth.Code
		reason oauth.Reason
		asked  bool // the token endpoint
	}{
		{"5 iss of another issuer (RFC 9207)", set(func(b *authtest.Behaviour) { b.Iss = authtest.IssWrong }), nil, oauth.ServerError, oauth.UpstreamIss, false},
		{"5 promised iss missing", set(func(b *authtest.Behaviour) { b.Iss = authtest.IssMissing }), nil, oauth.ServerError, oauth.UpstreamIss, false},
		{"5 before 6: wrong iss beside an error", set(func(b *authtest.Behaviour) { b.Iss, b.AuthorizeError = authtest.IssWrong, "access_denied" }), nil, oauth.ServerError, oauth.UpstreamIss, false},
		{"6 access_denied keeps its name", set(func(b *authtest.Behaviour) { b.AuthorizeError = "access_denied" }), nil, oauth.AccessDenied, oauth.UpstreamDenied, false},
		{"6 temporarily_unavailable too", set(func(b *authtest.Behaviour) { b.AuthorizeError = "temporarily_unavailable" }), nil, oauth.TemporarilyUnavailable, oauth.UpstreamDenied, false},
		{"6 others are server_error", set(func(b *authtest.Behaviour) { b.AuthorizeError = "invalid_scope" }), nil, oauth.ServerError, oauth.UpstreamDenied, false},
		{"6 even made-up ones", set(func(b *authtest.Behaviour) { b.AuthorizeError = "<script>" }), nil, oauth.ServerError, oauth.UpstreamDenied, false},
		{"7 provider down", nil, func(r *loginRig) { r.Provider.Down() }, oauth.TemporarilyUnavailable, oauth.UpstreamUnreachable, false},
		{"7 down after a restart of ours", nil, func(r *loginRig) { r.Provider.Down(); r.Restart() }, oauth.TemporarilyUnavailable, oauth.UpstreamUnreachable, false},
		{"7 down after a restart, no iss", set(func(b *authtest.Behaviour) { b.Iss = authtest.IssOff }), func(r *loginRig) { r.Provider.Down(); r.Restart() }, oauth.TemporarilyUnavailable, oauth.UpstreamUnreachable, false},
		{"7 connection lost", fault(authtest.Fault{Reset: true}), nil, oauth.TemporarilyUnavailable, oauth.UpstreamInDoubt, true},
		{"7 answer lost", fault(authtest.Fault{Reset: true, After: true}), nil, oauth.TemporarilyUnavailable, oauth.UpstreamInDoubt, true},
		{"7 503", fault(authtest.Unavailable(503, "5")), nil, oauth.TemporarilyUnavailable, oauth.UpstreamError, true},
		{"7 504", fault(authtest.Unavailable(504, "")), nil, oauth.TemporarilyUnavailable, oauth.UpstreamInDoubt, true},
		{"7 429", fault(authtest.Unavailable(429, "")), nil, oauth.TemporarilyUnavailable, oauth.UpstreamError, true},
		{"7 400", fault(authtest.Unavailable(400, "")), nil, oauth.ServerError, oauth.UpstreamConfig, true},
		{"7 401", fault(authtest.Unavailable(401, "")), nil, oauth.ServerError, oauth.UpstreamConfig, true},
		{"7 invalid_grant", fault(authtest.InvalidGrant("Code not valid")), nil, oauth.ServerError, oauth.UpstreamDenied, true},
		{"7 invalid_grant in the words of a dead session", fault(authtest.InvalidGrant("Session not active")), nil, oauth.ServerError, oauth.UpstreamDenied, true},
		{"7 unreadable", fault(authtest.HTML()), nil, oauth.ServerError, oauth.UpstreamBadAnswer, true},
		{"8 no refresh token", set(func(b *authtest.Behaviour) { b.NoRefreshToken = true }), nil, oauth.ServerError, oauth.UpstreamConfig, true},
		{"8 no refresh token before no id_token", set(func(b *authtest.Behaviour) { b.NoRefreshToken, b.NoIDToken = true, true }), nil, oauth.ServerError, oauth.UpstreamConfig, true},
		{"8 no id_token", set(func(b *authtest.Behaviour) { b.NoIDToken = true }), nil, oauth.ServerError, oauth.IDTokenInvalid, true},
		{"8 nonce", idToken(func(i *authtest.IDToken) { i.Claims["nonce"] = "other" }), nil, oauth.ServerError, oauth.IDTokenInvalid, true},
		{"8 no nonce", idToken(func(i *authtest.IDToken) { delete(i.Claims, "nonce") }), nil, oauth.ServerError, oauth.IDTokenInvalid, true},
		{"8 aud", idToken(func(i *authtest.IDToken) { i.Claims["aud"] = "other" }), nil, oauth.ServerError, oauth.IDTokenInvalid, true},
		{"8 iss", idToken(func(i *authtest.IDToken) { i.Claims["iss"] = "https://other.example" }), nil, oauth.ServerError, oauth.IDTokenInvalid, true},
		{"8 expired", idToken(func(i *authtest.IDToken) { i.Claims["exp"] = 1 }), nil, oauth.ServerError, oauth.IDTokenInvalid, true},
	} {
		t.Run(row.what, func(t *testing.T) {
			r := newLogin(t, authtest.ServerOptions{})
			a := r.c.Begin()
			allowed := r.approve(a)
			if row.upset != nil {
				row.upset(r)
			}
			callback := r.signIn(allowed)
			if row.late != nil {
				row.late(r)
			}
			r.redirected(r.open(callback), a, row.code, row.reason)
			if asked := r.asks() > 0; asked != row.asked {
				t.Errorf("token endpoint asked: %v", asked)
			}
			if grants, _ := r.Store.GrantsOf("sub-alice"); len(grants) != 0 {
				t.Error("a grant was made")
			}
			r.Provider.Up() // an error says that it is up
			r.local(r.open(callback), 400, oauth.StateUnknown)
			r.hidden(a.Verifier)
		})
	}
}

// protocol.md §4.5 step 9: who may sign in; an e-mail address counts only when the provider verified it.
func TestCallbackAccessRules(t *testing.T) {
	unverified := authtest.With(func(b *authtest.Behaviour) {
		b.UserClaims = func(_ authtest.User, m map[string]any) { m["email_verified"] = false }
	})
	for _, row := range []struct {
		what     string
		rules    auth.AccessConfig
		provider []authtest.Option
		ok       bool
	}{
		{"no rules", auth.AccessConfig{}, nil, true},
		{"in the group", auth.AccessConfig{Groups: []string{"finance", "sales"}}, nil, true},
		{"not in the group", auth.AccessConfig{Groups: []string{"finance"}}, nil, false},
		{"group in other letters", auth.AccessConfig{Groups: []string{"Sales"}}, nil, false},
		{"domain", auth.AccessConfig{EmailDomains: []string{"Example.com"}}, nil, true},
		{"other domain", auth.AccessConfig{EmailDomains: []string{"ample.com"}}, nil, false},
		{"unverified e-mail", auth.AccessConfig{EmailDomains: []string{"example.com"}}, []authtest.Option{unverified}, false},
		{"group but not the domain", auth.AccessConfig{Groups: []string{"sales"}, EmailDomains: []string{"b.example"}}, nil, false},
	} {
		t.Run(row.what, func(t *testing.T) {
			r := newLogin(t, authtest.ServerOptions{Provider: row.provider, Auth: func(o *auth.Options) { o.Access = row.rules }})
			a := r.c.Begin()
			p := r.open(r.toCallback(a))
			if row.ok {
				if r.location(p).Query().Get("code") == "" {
					t.Error("refused")
				}
				return
			}
			r.redirected(p, a, oauth.AccessDenied, oauth.AccessRule)
			r.settled()
			if n := len(r.Provider.Revoked()); n != 1 {
				t.Errorf("%d upstream tokens were given back", n)
			}
		})
	}
}

// settled waits for what the server does behind an answer, by a restart: Close waits for it.
func (r *loginRig) settled() {
	r.t.Helper()
	r.Restart()
}

// protocol.md §5.3, end: upstream tokens of a login that came to nothing are given back, but not while a living grant
// shares the provider session, nor when nobody can know that.
func TestCallbackGivesBack(t *testing.T) {
	shared := authtest.With(func(b *authtest.Behaviour) { b.SharedSession = true })
	for _, row := range []struct {
		what    string
		sibling bool
		upset   func(*authtest.Behaviour)
		revoked int
	}{
		{"alone", false, func(b *authtest.Behaviour) { b.UserClaims = noGroups }, 1},
		{"a sibling lives", true, func(b *authtest.Behaviour) { b.UserClaims = noGroups }, 0},
		{"id_token not good: whose session?", true, func(b *authtest.Behaviour) { b.NoIDToken = true }, 0},
	} {
		t.Run(row.what, func(t *testing.T) {
			r := newLogin(t, authtest.ServerOptions{Provider: []authtest.Option{shared}, Auth: func(o *auth.Options) { o.Access.Groups = []string{"sales"} }})
			if row.sibling {
				r.must(r.c.Login())
			}
			r.Provider.Set(row.upset)
			r.location(r.open(r.toCallback(r.c.Begin())))
			r.settled()
			if n := len(r.Provider.Revoked()); n != row.revoked {
				t.Errorf("%d given back, want %d", n, row.revoked)
			}
			if row.sibling {
				if _, status, reason := r.Call(r.c.Access); status != 200 {
					t.Errorf("the sibling: %d %s", status, reason)
				}
			}
		})
	}
}

func noGroups(_ authtest.User, m map[string]any) { m["groups"] = []string{} }

// protocol.md §4.5 step 8: refresh = "optional" takes a login without a refresh token; it ends with its access token.
func TestCallbackRefreshOptional(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{
		Provider: []authtest.Option{authtest.With(func(b *authtest.Behaviour) { b.NoRefreshToken = true })},
		Upstream: func(c *upstream.Config) { c.Refresh = upstream.RefreshOptional },
	})
	r.must(r.c.Login())
	r.Clock.Advance(5*time.Minute + time.Second)
	r.must(r.Auth.Step(t.Context()))
	if g := r.grant(); g.Ended != oauth.UpstreamSessionExpired {
		t.Errorf("ended by %q", g.Ended)
	}
}

// protocol.md §4.5 step 10: our own store fails under the exchange: the client hears temporarily_unavailable, the
// state is spent, and no grant is half there.
func TestCallbackStoreFails(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	a := r.c.Begin()
	callback := r.toCallback(a)
	gate := authtest.NewGate()
	r.Provider.Break(authtest.Token, authtest.Fault{Gate: gate})
	answered := make(chan *authtest.Page)
	go func() {
		p, err := r.c.Browser.Get(callback)
		if err != nil {
			t.Error(err)
		}
		answered <- p
	}()
	<-gate.Arrived()
	r.must(r.Store.Close())
	gate.Open()
	r.redirected(<-answered, a, oauth.TemporarilyUnavailable, oauth.StorageUnavailable)
	r.Restart()
	if grants, _ := r.Store.GrantsOf("sub-alice"); len(grants) != 0 {
		t.Error("a grant is there")
	}
	r.local(r.open(callback), 400, oauth.StateUnknown)

	// before anything was consumed the store's trouble is a page, and the login goes on afterwards (§4.5 steps 2 to 4)
	callback = r.toCallback(r.c.Begin())
	r.must(r.Store.Close())
	r.local(r.open(callback), 503, oauth.StorageUnavailable)
	r.Restart()
	r.Provider.Mend()
	if r.location(r.open(callback)).Query().Get("code") == "" {
		t.Error("the login did not survive")
	}
}
