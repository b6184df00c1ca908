package auth_test

import (
	"net/url"
	"strings"
	"sync"
	"testing"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
)

// design.md §8, issue 3 "Shown by": a new process between any two steps of a login changes nothing.
func TestLoginOverRestarts(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	steps := []string{"register", "consent page", "approve", "provider", "callback", "token", "refresh", "call", "sign-in page", "sign-in", "end"}
	for i := range steps {
		restart := func(step int) {
			if step == i {
				r.Restart()
			}
		}
		r.c = r.NewClient()
		r.must(r.c.Register("Test client"))
		restart(0)
		a := r.c.Begin()
		page := r.open(a.URL)
		restart(1)
		allowed := r.press(page, "approve")
		restart(2)
		callback := r.signIn(allowed)
		restart(3)
		q := r.location(r.open(callback)).Query()
		restart(4)
		tokens, err := r.c.Redeem(a, q.Get("code"))
		if err != nil || tokens.Status != 200 {
			t.Fatalf("restart after %s: %v %+v", steps[i], err, tokens)
		}
		restart(5)
		if tokens, err = r.c.Renew(); err != nil || tokens.Status != 200 {
			t.Fatalf("restart after %s: %v %+v", steps[i], err, tokens)
		}
		restart(6)
		if _, status, reason := r.Call(r.c.Access); status != 200 {
			t.Fatalf("restart after %s: call %d %s", steps[i], status, reason)
		}
		restart(7)
		start := r.open(r.Issuer + "/status")
		restart(8)
		r.location(r.open(r.signIn(r.form(start, nil, nil))))
		restart(9)
		r.location(r.form(r.to(r.open(r.Issuer+"/status"), "/grants/end", "id"), nil, nil))
		restart(10)
		if _, status, _ := r.Call(r.c.Access); status != 401 {
			t.Fatalf("restart after %s: the ended grant answers %d", steps[i], status)
		}
	}
}

// design.md §1: no credential in clear, neither in the file nor in the log, over everything a login does, good or bad.
func TestNoSecretInClear(t *testing.T) {
	var mu sync.Mutex
	var secrets []string
	see := func(s ...string) {
		mu.Lock()
		defer mu.Unlock()
		secrets = append(secrets, s...)
	}
	r := newLogin(t, authtest.ServerOptions{Provider: []authtest.Option{authtest.With(func(b *authtest.Behaviour) {
		b.TokenAnswer = func(_ bool, m map[string]any) {
			for _, name := range []string{"access_token", "refresh_token", "id_token"} {
				if token, ok := m[name].(string); ok {
					see(token)
				}
			}
		}
	})}})
	a := r.c.Begin()
	page := r.open(a.URL)
	see(a.Verifier, page.Forms[0].Fields.Get("ticket"), page.Forms[0].Fields.Get("token"))
	allowed := r.press(page, "approve")
	see(r.c.Browser.Cookie(r.Issuer, "hostedmcp_csrf"), r.c.Browser.Cookie(r.Issuer, "hostedmcp_bind"))
	callback := r.signIn(allowed)
	u, err := url.Parse(callback)
	r.must(err)
	_, state, _ := strings.Cut(u.Query().Get("state"), ".")
	see(state, u.Query().Get("code"))
	r.open(callback + "&x=%zz")
	code := r.location(r.open(callback)).Query().Get("code")
	see(code)
	r.open(callback)
	r.post("/token", changed(r.redemption(a, code), "code_verifier", strings.Repeat("v", 50)))
	tokens, err := r.c.Redeem(a, code)
	r.must(err)
	see(tokens.Access, tokens.Refresh)
	r.Call(tokens.Access)
	r.Call(tokens.Access + "x")
	renewed, err := r.c.Renew()
	r.must(err)
	see(renewed.Access, renewed.Refresh)
	r.signedIn("alice")
	see(r.c.Browser.Cookie(r.Issuer, "hostedmcp_signin"))
	r.post("/revoke", url.Values{"client_id": {r.c.ID}, "token": {altered(t, renewed.Refresh)}})
	r.post("/token", r.redemption(a, code)) // a replay: the grant ends
	r.must(r.Auth.Step(t.Context()))
	for _, call := range r.Provider.Calls() {
		for _, name := range []string{"code", "code_verifier", "nonce", "code_challenge", "refresh_token", "token"} {
			if v := call.Form.Get(name); v != "" {
				see(v)
			}
		}
	}
	see(r.Provider.ClientSecret)
	if g := r.grant(); g.Ended != oauth.CodeReplay {
		t.Fatalf("the story went otherwise: %q", g.Ended)
	}
	if len(secrets) < 20 {
		t.Errorf("only %d secrets were seen", len(secrets))
	}
	r.hidden(secrets...)
	r.Restart()
	r.hidden(secrets...)
}
