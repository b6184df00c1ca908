package auth_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
)

// asks counts what the provider's token endpoint was asked.
func (r *loginRig) asks() int { return r.Provider.Count(authtest.Token) }

// protocol.md §4.5 steps 1 to 4: pages, nothing consumed, the provider not called; afterwards the login still works.
func TestCallbackLocal(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	a := r.c.Begin()
	callback := r.toCallback(a)
	u, err := url.Parse(callback)
	r.must(err)
	code, state := u.Query().Get("code"), u.Query().Get("state")
	id, secret, _ := strings.Cut(state, ".")
	with := func(pairs ...string) string {
		q := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			q.Add(pairs[i], pairs[i+1])
		}
		return r.Issuer + "/callback?" + q.Encode()
	}
	for _, row := range []struct {
		what, target string
		status       int
		reason       oauth.Reason
	}{
		{"1 neither code nor error", with("state", state), 400, oauth.RequestInvalid},
		{"1 both", with("state", state, "code", code, "error", "access_denied"), 400, oauth.RequestInvalid},
		{"1 code twice", with("state", state, "code", code, "code", code), 400, oauth.RequestInvalid},
		{"1 state twice", with("state", state, "state", state, "code", code), 400, oauth.RequestInvalid},
		{"1 iss twice", callback + "&iss=" + url.QueryEscape(r.Provider.Issuer), 400, oauth.RequestInvalid},
		{"1 unknown parameter twice", callback + "&x=1&x=2", 400, oauth.RequestInvalid},
		{"1 bad escape", callback + "&x=%zz", 400, oauth.RequestInvalid},
		{"1 over 8 KB", callback + "&x=" + strings.Repeat("x", 8<<10), 400, oauth.RequestInvalid},
		{"2 no state", with("code", code), 400, oauth.StateUnknown},
		{"2 state of nobody", with("code", code, "state", strings.Repeat("A", 26)+"."+secret), 400, oauth.StateUnknown},
		{"2 no secret", with("code", code, "state", id), 400, oauth.StateUnknown},
		{"2 empty secret", with("code", code, "state", id+"."), 400, oauth.StateUnknown},
		{"2 other secret", with("code", code, "state", id+"."+strings.Repeat("A", 43)), 400, oauth.StateUnknown},
		{"2 index key", with("code", code, "state", "\x01"+id+"."+secret), 400, oauth.StateUnknown},
	} {
		t.Run(row.what, func(t *testing.T) {
			r := &loginRig{Server: r.Server, t: t, c: r.c}
			r.unwritten("it", func() { r.local(r.open(row.target), row.status, row.reason) })
		})
	}
	if r.asks() != 0 {
		t.Error("the provider was asked")
	}
	if got := r.location(r.open(callback)).Query(); got.Get("code") == "" {
		t.Errorf("the login was consumed: %v", got)
	}
}

// protocol.md §4.5 step 3: the browser that pressed Allow, or nothing happens; also for error.
func TestCallbackBrowser(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	a := r.c.Begin()
	callback := r.toCallback(a)
	u, err := url.Parse(callback)
	r.must(err)
	denied := r.Issuer + "/callback?error=access_denied&state=" + u.Query().Get("state")
	bind := r.c.Browser.Cookie(r.Issuer, "hostedmcp_bind")
	for what, cookie := range map[string]string{
		"no cookie": "", "another browser's": "hostedmcp_bind=" + strings.Repeat("A", 43), "not ours": "hostedmcp_bind=x",
		"name of https": "__Host-hostedmcp_bind=" + bind,
	} {
		for _, target := range []string{callback, denied} {
			r.unwritten(what, func() {
				r.c.Browser.Header = http.Header{"Cookie": {cookie}}
				p := r.open(target)
				r.c.Browser.Header = nil
				r.local(p, 403, oauth.BrowserMismatch)
				if !strings.Contains(p.Body, "browser where you pressed Allow") {
					t.Error("the page does not say where to finish")
				}
			})
		}
	}
	if r.asks() != 0 {
		t.Error("the provider was asked")
	}
	r.location(r.open(callback))
}

// protocol.md §4.5: prefetch gets 503, consumes nothing.
func TestCallbackPrefetch(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	callback := r.toCallback(r.c.Begin())
	r.unwritten("a prefetch", func() {
		for _, purpose := range []string{"prefetch", "prefetch;prerender"} {
			r.c.Browser.Header = http.Header{"Sec-Purpose": {purpose}}
			if p := r.open(callback); p.Status != 503 {
				t.Errorf("%s: %d", purpose, p.Status)
			}
		}
		r.c.Browser.Header = nil
	})
	if r.asks() != 0 || r.location(r.open(callback)).Query().Get("code") == "" {
		t.Error("the prefetch consumed the login")
	}
}

// protocol.md §4.5 step 2: too late is a page; the order is expired before browser.
func TestCallbackExpired(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	callback := r.toCallback(r.c.Begin())
	r.Clock.Advance(30*time.Minute + time.Second)
	r.unwritten("a late callback", func() { r.local(r.open(callback), 400, oauth.RequestExpired) })
	r.c.Browser.Clear()
	r.local(r.open(callback), 400, oauth.RequestExpired)
	r.must(r.Auth.Step(t.Context()))
	r.local(r.open(callback), 400, oauth.StateUnknown)
	if r.asks() != 0 {
		t.Error("the provider was asked")
	}
}

// protocol.md §4.5 step 4: one winner of many, one exchange, one grant.
func TestCallbackOneWinner(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	callback := r.toCallback(r.c.Begin())
	cookie := "hostedmcp_bind=" + r.c.Browser.Cookie(r.Issuer, "hostedmcp_bind")
	answers := make([]reply, 8)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = r.do("GET", callback, "", "Cookie", cookie) })
	}
	all.Wait()
	won := 0
	for _, a := range answers {
		if a.status == http.StatusSeeOther {
			won++
		} else if a.status != 400 || a.reason != string(oauth.StateUnknown) {
			t.Errorf("a loser got %d %s", a.status, a.body)
		}
	}
	if won != 1 || r.asks() != 1 {
		t.Errorf("%d winners, %d exchanges", won, r.asks())
	}
	r.grant()
}

// protocol.md §4.5 step 5: a provider that promises no iss may leave it out; an empty one is a wrong one.
func TestCallbackIss(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{Provider: []authtest.Option{authtest.With(func(b *authtest.Behaviour) { b.Iss = authtest.IssOff })}})
	r.code(r.c.Begin())
	a := r.c.Begin()
	r.redirected(r.open(r.toCallback(a)+"&iss="), a, oauth.ServerError, oauth.UpstreamIss)
}

// protocol.md §4.5 step 11: the registered query stays byte for byte; exactly one code, state and iss behind it.
func TestCallbackKeepsQuery(t *testing.T) {
	for _, registered := range []string{
		"https://a.example/cb?t=1&b=%7E+x%20&&empty=", "https://a.example/cb?", "https://a.example/cb", "cursor://anysphere.cursor-mcp/oauth/callback?a=b",
	} {
		t.Run(registered, func(t *testing.T) {
			r := newLogin(t, authtest.ServerOptions{})
			r.c.RedirectURI = registered
			r.must(r.c.Register("Client"))
			a := r.c.Begin()
			to := r.open(r.toCallback(a)).Header.Get("Location")
			rest, ok := strings.CutPrefix(to, registered)
			if !ok {
				t.Fatalf("redirected to %s", to)
			}
			q, err := url.ParseQuery(strings.TrimLeft(rest, "?&"))
			r.must(err)
			if len(q) != 3 || len(q["code"]) != 1 || q.Get("state") != a.State || len(q["iss"]) != 1 || q.Get("iss") != r.Issuer {
				t.Errorf("added %v", q)
			}
			if tokens, err := r.c.Redeem(a, q.Get("code")); err != nil || tokens.Status != 200 {
				t.Errorf("token: %v %+v", err, tokens)
			}
		})
	}
}
