package auth_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
)

// protocol.md §4.2: who may send the form. Every refusal is LOCAL 403 csrf_failed, writes nothing and asks nobody.
func TestConsentCSRF(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	other := r.client() // another browser, with a cookie and a page of its own
	theirs, err := other.Browser.Get(other.Begin().URL)
	r.must(err)
	field := func(p *authtest.Page, name string) string { return p.Forms[0].Fields.Get(name) }
	mine, second := r.open(r.c.Begin().URL), r.open(r.c.Begin().URL)
	for _, row := range []struct {
		what   string
		fields map[string]string
		header http.Header
		ok     bool
	}{
		{"as a browser sends it", nil, nil, true},
		{"without Origin and Fetch metadata (old browsers)", nil, http.Header{"Origin": nil, "Sec-Fetch-Site": nil, "Sec-Fetch-Mode": nil}, true},
		{"Origin null", nil, http.Header{"Origin": {"null"}}, false},
		{"Origin of another site", nil, http.Header{"Origin": {"https://evil.example"}}, false},
		{"Origin of another port", nil, http.Header{"Origin": {r.Issuer + "0"}}, false},
		{"Origin in capitals", nil, http.Header{"Origin": {strings.ToUpper(r.Issuer)}}, false},
		{"two Origins", nil, http.Header{"Origin": {r.Issuer, "https://evil.example"}}, false},
		{"cross-site", nil, http.Header{"Sec-Fetch-Site": {"cross-site"}}, false},
		{"same-site", nil, http.Header{"Sec-Fetch-Site": {"same-site"}}, false},
		{"typed in", nil, http.Header{"Sec-Fetch-Site": {"none"}}, false},
		{"fetch()", nil, http.Header{"Sec-Fetch-Mode": {"cors"}}, false},
		{"fetch() without CORS", nil, http.Header{"Sec-Fetch-Mode": {"no-cors"}}, false},
		{"no token", map[string]string{"token": ""}, nil, false},
		{"token of another ticket", map[string]string{"token": field(second, "token")}, nil, false},
		{"another ticket", map[string]string{"ticket": field(second, "ticket")}, nil, false},
		{"token of another browser", map[string]string{"token": field(theirs, "token")}, nil, false},
		{"page of another browser", map[string]string{"token": field(theirs, "token"), "ticket": field(theirs, "ticket")}, nil, false},
		{"altered ticket", map[string]string{"ticket": field(mine, "ticket") + "A"}, nil, false},
		{"no ticket", map[string]string{"ticket": ""}, nil, false},
		{"no cookie", nil, http.Header{"Cookie": {"a=b"}}, false},
		{"empty cookie", nil, http.Header{"Cookie": {"hostedmcp_csrf="}}, false},
		{"short cookie", nil, http.Header{"Cookie": {"hostedmcp_csrf=AAAA"}}, false},
		{"cookie of the https name", nil, http.Header{"Cookie": {"__Host-hostedmcp_csrf=" + r.c.Browser.Cookie(r.Issuer, "hostedmcp_csrf")}}, false},
	} {
		t.Run(row.what, func(t *testing.T) {
			r := &loginRig{Server: r.Server, t: t, c: r.c}
			fields := map[string]string{"answer": "approve"}
			for k, v := range row.fields {
				fields[k] = v
			}
			if row.ok {
				if p := r.form(mine, fields, row.header); p.Status != http.StatusSeeOther {
					t.Errorf("answered %d", p.Status)
				}
				return
			}
			r.unwritten("a refused form", func() { r.local(r.form(mine, fields, row.header), 403, oauth.CSRFFailed) })
		})
	}
	if n := r.Provider.Count(authtest.Authorize) + r.Provider.Count(authtest.Token); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
}

// protocol.md §4.2: the token of another form of ours opens no consent, nor the other way round.
func TestConsentTokenOfAnotherForm(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	status, consent := r.open(r.Issuer+"/status"), r.open(r.c.Begin().URL)
	foreign := status.Forms[0].Fields.Get("token")
	r.local(r.form(consent, map[string]string{"answer": "approve", "token": foreign}, nil), 403, oauth.CSRFFailed)
	r.local(r.form(status, map[string]string{"token": consent.Forms[0].Fields.Get("token")}, nil), 403, oauth.CSRFFailed)
}

// protocol.md §1 and §4.2: the form itself. A ticket that is not ours cannot have a token of ours, so its seal is
// tested where the token is: in a browser that was given both.
func TestConsentForm(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	p := r.open(r.c.Begin().URL)
	r.local(r.form(p, map[string]string{"answer": "maybe"}, nil), 400, oauth.RequestInvalid)
	r.local(r.form(p, nil, nil), 400, oauth.RequestInvalid)
	f := p.Forms[0].Fields
	cookie := "hostedmcp_csrf=" + r.c.Browser.Cookie(r.Issuer, "hostedmcp_csrf")
	form := url.Values{"ticket": f["ticket"], "token": f["token"], "answer": {"approve"}}
	if a := r.post("/consent?x=1", form, "Cookie", cookie); a.status != 400 {
		t.Errorf("query on POST: %d", a.status)
	}
	form["answer"] = []string{"approve", "deny"}
	r.post("/consent", form, "Cookie", cookie).refused(t, 400, oauth.InvalidRequest, oauth.RequestInvalid)
	if a := r.do("POST", "/consent", "{}", "Content-Type", "application/json", "Cookie", cookie); a.status != 415 {
		t.Errorf("JSON: %d", a.status)
	}
	form["answer"], form["x"] = []string{"approve"}, []string{strings.Repeat("x", 16<<10)}
	if a := r.post("/consent", form, "Cookie", cookie); a.status != 413 {
		t.Errorf("over 16 KB: %d", a.status)
	}
	if a := r.get("/consent"); a.status != 405 {
		t.Errorf("GET: %d", a.status)
	}
}

// protocol.md §4.2: a ticket that is too old gets its page again, with a new ticket and request id; the answer to that
// one counts, the old one never again.
func TestConsentRenewed(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	a := r.c.Begin("scope", "mcp crm.write")
	old := r.open(a.URL)
	r.Clock.Advance(10*time.Minute - time.Second)
	early := r.signIn(r.press(old, "approve"))
	r.Clock.Advance(time.Second)
	var renewed *authtest.Page
	r.unwritten("an old ticket", func() { renewed = r.press(old, "approve") })
	if renewed.Status != 200 || renewed.Forms[0].Fields.Get("ticket") == old.Forms[0].Fields.Get("ticket") ||
		!strings.Contains(renewed.Body, "Create and change customers") {
		t.Fatalf("answered %d %q", renewed.Status, renewed.Body)
	}
	if renewed := r.press(old, "deny"); renewed.Status != 200 {
		t.Errorf("deny of an old ticket: %d", renewed.Status)
	}
	end := r.location(r.open(r.signIn(r.press(renewed, "approve")))).Query()
	if _, err := r.c.Redeem(a, end.Get("code")); err != nil || r.grant().Scope.String() != "mcp crm.write" {
		t.Errorf("after the renewed page: %v", err)
	}
	if r.location(r.open(early)).Query().Get("code") == "" {
		t.Error("the renewed page replaced the earlier approval: it has the same request id")
	}
}

// protocol.md §4.2 (FastMCP #4818): all tabs stay valid, a reload too, and after a restart.
func TestConsentTabs(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	a, b := r.c.Begin(), r.c.Begin()
	first, second := r.open(a.URL), r.open(b.URL)
	cookie := r.c.Browser.Cookie(r.Issuer, "hostedmcp_csrf")
	r.open(a.URL) // reload
	if again := r.c.Browser.Cookie(r.Issuer, "hostedmcp_csrf"); again != cookie || cookie == "" {
		t.Errorf("cookie %q became %q", cookie, again)
	}
	r.Restart()
	one, two := r.signIn(r.press(first, "approve")), r.signIn(r.press(second, "approve"))
	for _, c := range []struct {
		callback string
		a        authtest.Attempt
	}{{two, b}, {one, a}} {
		if q := r.location(r.open(c.callback)).Query(); q.Get("code") == "" || q.Get("state") != c.a.State {
			t.Errorf("answer %v", q)
		}
	}
}

// protocol.md §4.2: deny is told to the client, finishes the request id for every tab, and ends nothing.
func TestConsentDeny(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	r.must(r.c.Login())
	a := r.c.Begin()
	p := r.open(a.URL)
	r.redirected(r.press(p, "deny"), a, oauth.AccessDenied, oauth.ConsentDenied)
	r.local(r.press(p, "approve"), 400, oauth.RequestExpired)
	r.redirected(r.press(p, "deny"), a, oauth.AccessDenied, oauth.ConsentDenied)
	r.Restart()
	r.local(r.press(p, "approve"), 400, oauth.RequestExpired)
	if _, status, _ := r.Call(r.c.Access); status != 200 {
		t.Errorf("the earlier grant: %d", status)
	}

	// the deny of a request under way stops it
	a = r.c.Begin()
	p = r.open(a.URL)
	callback := r.signIn(r.press(p, "approve"))
	r.press(p, "deny")
	before := r.Provider.Count(authtest.Token)
	r.local(r.open(callback), 400, oauth.StateUnknown)
	if r.Provider.Count(authtest.Token) != before {
		t.Error("the provider's code was exchanged after a deny")
	}
}

// protocol.md §4.2: a second approval of a request id replaces the first; at most one code per request.
func TestConsentTwice(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	a := r.c.Begin()
	p := r.open(a.URL)
	first := r.signIn(r.press(p, "approve"))
	second := r.signIn(r.press(p, "approve"))
	page := r.open(first)
	r.local(page, 400, oauth.StateUnknown)
	if !strings.Contains(page.Body, "another tab") {
		t.Error("the page does not say that Allow was pressed again in another tab (§4.5 step 2)")
	}
	if code := r.location(r.open(second)).Query().Get("code"); code == "" {
		t.Error("the second approval gave no code")
	}
	r.local(r.press(p, "approve"), 400, oauth.RequestExpired)
	r.local(r.open(second), 400, oauth.StateUnknown)
}

// protocol.md §4.2: consent is asked every time (GHSA-6x8h-498w-gv8c), and the provider gets its own state, nonce and
// challenge each time, none of them the client's (§4.4).
func TestConsentAskedEveryTime(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{Provider: []authtest.Option{authtest.With(func(b *authtest.Behaviour) { b.SharedSession = true })}})
	r.must(r.c.Login())
	a := r.c.Begin()
	if p := r.open(a.URL); p.Status != 200 || len(p.Forms) == 0 {
		t.Fatalf("no question: %d", p.Status)
	}
	r.code(a)
	calls := r.Provider.Calls(authtest.Authorize)
	last := calls[len(calls)-1].Form
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if last.Get(name) == "" || last.Get(name) == calls[0].Form.Get(name) || strings.Contains(a.URL, last.Get(name)) {
			t.Errorf("%s %q", name, last.Get(name))
		}
	}
	want := map[string]string{"response_type": "code", "client_id": "hostedmcp", "redirect_uri": r.Issuer + "/callback",
		"scope": "openid offline_access", "code_challenge_method": "S256"}
	for name, value := range want {
		if last.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, last.Get(name), value)
		}
	}
	if len(last) != len(want)+3 {
		t.Errorf("parameters %v", last)
	}
	id, secret, _ := strings.Cut(last.Get("state"), ".")
	if len(id) < 26 || len(secret) != 43 {
		t.Errorf("state %q is not request id and 256 random bits", last.Get("state"))
	}
}

// protocol.md §4.2: a provider that cannot be reached is LOCAL 503, nothing stored; pressing again goes on.
func TestConsentProviderDown(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	r.Provider.Down()
	a := r.c.Begin()
	p := r.open(a.URL)
	r.unwritten("an approval without a provider", func() {
		page := r.press(p, "approve")
		r.local(page, 503, oauth.UpstreamUnreachable)
		if page.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	})
	r.must(r.Provider.Up())
	r.Clock.Advance(3 * time.Minute) // past the backoff of discovery
	if code := r.location(r.open(r.signIn(r.press(p, "approve")))).Query().Get("code"); code == "" {
		t.Error("no code once the provider was back")
	}
}

// protocol.md §4.2, §9: waiting approvals per browser, per address and in all; the oldest goes.
func TestConsentPending(t *testing.T) {
	for what, change := range map[string]func(*auth.LimitsConfig){
		"browser": func(l *auth.LimitsConfig) { l.PendingPerBrowser = 2 },
		"address": func(l *auth.LimitsConfig) { l.PendingPerAddress = 2 },
		"all":     func(l *auth.LimitsConfig) { l.PendingMax = 2 },
	} {
		t.Run(what, func(t *testing.T) {
			r := newLogin(t, limits(change))
			var callbacks []string
			for range 3 {
				callbacks = append(callbacks, r.toCallback(r.c.Begin()))
				r.Clock.Advance(time.Second)
			}
			r.local(r.open(callbacks[0]), 400, oauth.StateUnknown)
			for _, c := range callbacks[1:] {
				if r.location(r.open(c)).Query().Get("code") == "" {
					t.Error("a younger approval went")
				}
			}
		})
	}
}

// protocol.md §4.3: a sign-in is an approval like any other: it counts against the same limits.
func TestConsentPendingSignIn(t *testing.T) {
	r := newLogin(t, limits(func(l *auth.LimitsConfig) { l.PendingPerBrowser = 1 }))
	callback := r.toCallback(r.c.Begin())
	r.Clock.Advance(time.Second)
	signin := r.signIn(r.form(r.open(r.Issuer+"/status"), nil, nil))
	r.local(r.open(callback), 400, oauth.StateUnknown)
	if to := r.location(r.open(signin)); to.Path != "/status" {
		t.Errorf("the sign-in went to %s", to)
	}
}
