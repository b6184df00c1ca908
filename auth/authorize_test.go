package auth_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
)

// knownWeb and its like are clients of the configuration: trusted with redirects to their https URIs.
var (
	knownWeb = auth.RegisteredClient{ID: "known-web", Name: "Known", RedirectURIs: []string{"https://a.example/cb"}}
	knownTwo = auth.RegisteredClient{ID: "known-two", Name: "Known", RedirectURIs: []string{"https://a.example/cb", "https://b.example/cb"}}
)

// query changes an authorization URL byte for byte: each change is "name" (removed), or "name=value", added or, for
// "name:=value", replaced. Values are as they stand on the wire.
func query(a authtest.Attempt, changes ...string) string {
	base, raw, _ := strings.Cut(a.URL, "?")
	pairs := strings.Split(raw, "&")
	remove := func(name string) {
		var kept []string
		for _, p := range pairs {
			if !strings.HasPrefix(p, name+"=") {
				kept = append(kept, p)
			}
		}
		pairs = kept
	}
	for _, c := range changes {
		switch name, value, replace := strings.Cut(c, ":="); {
		case replace:
			remove(name)
			pairs = append(pairs, name+"="+value)
		case strings.Contains(c, "="):
			pairs = append(pairs, c)
		default:
			remove(c)
		}
	}
	return base + "?" + strings.Join(pairs, "&")
}

// protocol.md §4.1 step 1: before the redirect URI is known to be the client's, errors stay here.
func TestAuthorizeLocal(t *testing.T) {
	r := newLogin(t, known(knownTwo))
	for _, row := range []struct {
		what    string
		changes []string
		reason  oauth.Reason
	}{
		{"no client_id", []string{"client_id"}, oauth.RequestInvalid},
		{"empty client_id", []string{"client_id:="}, oauth.RequestInvalid},
		{"client_id twice", []string{"client_id=" + r.c.ID}, oauth.RequestInvalid},
		{"unknown client_id", []string{"client_id:=hmcp_ci_AAAAAAAAAAAAAAAAAAAAAA"}, oauth.ClientUnknown},
		{"redirect_uri twice", []string{"redirect_uri=http://127.0.0.1:33418/callback"}, oauth.RequestInvalid},
		{"redirect_uri of nobody", []string{"redirect_uri:=https://evil.example/cb"}, oauth.RedirectRefused},
		{"redirect_uri absent, two registered", []string{"client_id:=known-two", "redirect_uri"}, oauth.RedirectRefused},
		{"query over 8 KB", []string{"x=" + strings.Repeat("x", 8<<10)}, oauth.RequestInvalid},
		{"bad escape", []string{"x=%zz"}, oauth.RequestInvalid},
		{"semicolon", []string{"x=1;y=2"}, oauth.RequestInvalid},
		// the first fault decides: nothing may be redirected while step 1 fails
		{"several faults", []string{"redirect_uri:=https://evil.example/cb", "code_challenge", "response_type:=token"}, oauth.RedirectRefused},
	} {
		t.Run(row.what, func(t *testing.T) {
			r := &loginRig{Server: r.Server, t: t, c: r.c}
			r.unwritten("GET /authorize", func() { r.local(r.open(query(r.c.Begin(), row.changes...)), 400, row.reason) })
		})
	}
	p := r.open(query(r.c.Begin(), "client_id:=hmcp_ci_AAAAAAAAAAAAAAAAAAAAAA"))
	if !strings.Contains(p.Body, "remove") && !strings.Contains(p.Body, "Remove") {
		t.Error("the page does not say to remove the connection and add it again (§3)")
	}
}

// protocol.md §4.1 steps 2 to 5, to a loopback redirect URI: REDIR, in this order, with state and iss.
func TestAuthorizeRedirected(t *testing.T) {
	challenge := oauth.S256("v")
	badTail := challenge[:42] + "B" // not canonical: the last character has bits that no byte holds
	if oauth.ValidChallenge(badTail) {
		badTail = challenge[:42] + "C"
	}
	for _, row := range []struct {
		what    string
		changes []string
		code    oauth.Code
		reason  oauth.Reason
	}{
		{"state twice", []string{"state=x"}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"scope twice", []string{"scope=mcp", "scope=mcp"}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"response_type twice", []string{"response_type=code"}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"code_challenge twice", []string{"code_challenge=" + challenge}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"no PKCE (RFC 9700 §2.1.1)", []string{"code_challenge", "code_challenge_method"}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"short challenge", []string{"code_challenge:=" + challenge[1:]}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"long challenge", []string{"code_challenge:=" + challenge + "A"}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"challenge not base64url", []string{"code_challenge:=" + challenge[1:] + "."}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"challenge not canonical", []string{"code_challenge:=" + badTail}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"no method: plain (RFC 7636 §4.3)", []string{"code_challenge_method"}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"plain", []string{"code_challenge_method:=plain"}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"s256", []string{"code_challenge_method:=s256"}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"fragment", []string{"response_mode=fragment"}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"form_post", []string{"response_mode=form_post"}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"request object", []string{"request=eyJ"}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"request_uri", []string{"request_uri=https://a.example/r"}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"response_type token", []string{"response_type:=token"}, oauth.UnsupportedResponseType, oauth.RequestInvalid},
		{"response_type code token", []string{"response_type:=code+token"}, oauth.UnsupportedResponseType, oauth.RequestInvalid},
		{"foreign resource (RFC 8707 §2)", []string{"resource:=https://b.example/mcp"}, oauth.InvalidTarget, oauth.TargetInvalid},
		{"one of two foreign", []string{"resource=https://b.example/mcp"}, oauth.InvalidTarget, oauth.TargetInvalid},
		{"scope syntax", []string{"scope=mcp++crm.write"}, oauth.InvalidScope, oauth.ScopeInvalid},
		{"scope over 1 KB", []string{"scope=mcp+" + strings.Repeat("s", 1024)}, oauth.InvalidScope, oauth.ScopeInvalid},
		{"only unknown scopes [C5]", []string{"scope=openid+profile"}, oauth.InvalidScope, oauth.ScopeInvalid},
		{"prompt=none", []string{"prompt=none"}, oauth.InteractionRequired, oauth.RequestInvalid},
		{"order: PKCE before response_type", []string{"code_challenge", "response_type:=token"}, oauth.InvalidRequest, oauth.RequestInvalid},
		{"order: response_type before resource", []string{"response_type:=token", "resource:=https://b.example"}, oauth.UnsupportedResponseType, oauth.RequestInvalid},
		{"order: resource before scope", []string{"scope=x", "resource:=https://b.example"}, oauth.InvalidTarget, oauth.TargetInvalid},
		{"order: scope before prompt", []string{"scope=x", "prompt=none"}, oauth.InvalidScope, oauth.ScopeInvalid},
	} {
		t.Run(row.what, func(t *testing.T) {
			r := newLogin(t, authtest.ServerOptions{})
			a := r.c.Begin()
			r.unwritten("GET /authorize", func() {
				p := r.open(query(a, row.changes...))
				if strings.HasPrefix(row.what, "state twice") {
					a.State = "" // which of the two is the client's, nobody knows
				}
				r.redirected(p, a, row.code, row.reason)
			})
		})
	}
}

var backLink = regexp.MustCompile(`href="(https://a\.example[^"]*)"`)

// protocol.md §4.1 step 1, RFC 9700 §4.11.2: our name bounces nobody to an https URI that anybody could have
// registered; the page has a link instead. A pre-registered client is redirected to.
func TestAuthorizeBackLink(t *testing.T) {
	r := newLogin(t, known(knownWeb))
	r.c.RedirectURI = "https://a.example/cb?t=1"
	r.must(r.c.Register("Web"))
	a := r.c.Begin("response_type", "token")
	p := r.open(a.URL)
	r.local(p, 400, oauth.RequestInvalid)
	m := backLink.FindStringSubmatch(p.Body)
	if m == nil {
		t.Fatalf("no link back on the page:\n%s", p.Body)
	}
	if !strings.Contains(p.Body, "a.example") || !strings.Contains(p.Body, "unsupported_response_type") && !strings.Contains(m[1], "unsupported_response_type") {
		t.Error("the page does not name the host and the error code")
	}
	back, err := url.Parse(html.UnescapeString(m[1]))
	r.must(err)
	q := back.Query()
	if !strings.HasPrefix(back.String(), "https://a.example/cb?t=1&") || q.Get("error") != "unsupported_response_type" ||
		q.Get("state") != a.State || q.Get("iss") != r.Issuer {
		t.Errorf("link back to %s", back)
	}
	j := r.get(strings.TrimPrefix(a.URL, r.Issuer))
	j.refused(t, 400, oauth.UnsupportedResponseType, oauth.RequestInvalid)

	r.c.ID, r.c.RedirectURI = "known-web", "https://a.example/cb"
	a = r.c.Begin("response_type", "token")
	r.redirected(r.open(a.URL), a, oauth.UnsupportedResponseType, oauth.RequestInvalid)
}

// protocol.md §4.1: the requests that reach the consent page, what the code's grant then holds, and that none of it
// writes or leaves for the provider.
func TestAuthorizeAccepted(t *testing.T) {
	for _, row := range []struct {
		what    string
		changes []string
		scope   string
	}{
		{"as it comes", nil, "mcp"},
		{"scope empty", []string{"scope="}, "mcp"},
		{"unknown names dropped", []string{"scope=openid+crm.write+mcp+crm.write"}, "crm.write mcp"},
		{"offline_access echoed", []string{"scope=mcp+offline_access"}, "mcp offline_access"},
		{"offline_access alone has no effect", []string{"scope=offline_access"}, "mcp offline_access"},
		{"resource absent", []string{"resource"}, "mcp"},
		{"response_mode=query", []string{"response_mode=query"}, "mcp"},
		{"other prompt (mcp-remote)", []string{"prompt=consent"}, "mcp"},
		{"unknown parameter, even twice", []string{"audience=a", "audience=b", "ui_locales=de"}, "mcp"},
		{"no state", []string{"state"}, "mcp"},
	} {
		t.Run(row.what, func(t *testing.T) {
			r := newLogin(t, authtest.ServerOptions{})
			a := r.c.Begin()
			a.URL = query(a, row.changes...)
			var p *authtest.Page
			r.unwritten("GET /authorize", func() { p = r.open(a.URL) })
			if n := r.Provider.Count(authtest.Authorize); n != 0 {
				t.Error("the provider was asked before consent")
			}
			end := r.location(r.open(r.signIn(r.press(p, "approve")))).Query()
			if _, has := end["state"]; has != (row.what != "no state") {
				t.Errorf("state %q", end["state"])
			}
			tokens, err := r.c.Redeem(a, end.Get("code"))
			r.must(err)
			if tokens.Scope != row.scope || r.grant().Scope.String() != row.scope || r.grant().Resource != r.Issuer+"/mcp" {
				t.Errorf("scope %q, grant %q for %q; want %q", tokens.Scope, r.grant().Scope, r.grant().Resource, row.scope)
			}
			for _, call := range r.Provider.Calls(authtest.Authorize) { // §4.4
				for _, name := range []string{"resource", "response_mode", "prompt", "audience", "ui_locales"} {
					if call.Form.Has(name) {
						t.Errorf("%s went to the provider", name)
					}
				}
			}
		})
	}
}

// protocol.md §4.1 step 3: the values that name R.
func TestAuthorizeResource(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	host := strings.TrimPrefix(r.Issuer, "http://")
	for resource, ok := range map[string]bool{
		r.Issuer + "/mcp": true, r.Issuer + "/mcp/": true, "HTTP://" + host + "/mcp": true,
		r.Issuer: false, r.Issuer + "/": false, r.Issuer + "/mcp//": false, r.Issuer + "/MCP": false,
		r.Issuer + "/mcp?x=1": false, r.Issuer + "/mcp#x": false, "https://" + host + "/mcp": false, "mcp": false,
		"http://u@" + host + "/mcp": false,
	} {
		p := r.open(query(r.c.Begin(), "resource:="+url.QueryEscape(resource)))
		if got := p.Status == http.StatusOK; got != ok {
			t.Errorf("resource %q: %d", resource, p.Status)
		}
	}
}

// protocol.md §4.1 step 2: a state of 2 KB is answered as sent, whatever it holds; a longer one is refused, and not
// answered with.
func TestAuthorizeState(t *testing.T) {
	for what, state := range map[string]string{
		"plain": strings.Repeat("s", 2048), "controls": strings.Repeat("\x01", 2048), "markup": strings.Repeat("<", 2048),
		"form": "a=1&b=2+3 ä%20;\"\\", "one": "0",
	} {
		t.Run(what, func(t *testing.T) {
			r := newLogin(t, authtest.ServerOptions{})
			a := r.c.Begin("state", state)
			a.State = state
			r.code(a)
			r.c.Browser.Allow = false
			r.redirected(r.press(r.open(a.URL), "deny"), a, oauth.AccessDenied, oauth.ConsentDenied)
		})
	}
	r := newLogin(t, authtest.ServerOptions{})
	a := r.c.Begin("state", strings.Repeat("s", 2049))
	a.State = ""
	r.redirected(r.open(a.URL), a, oauth.InvalidRequest, oauth.RequestInvalid)
}

// RFC 9700 §4.11.2: our name opens no program of a client that anybody can register, without a click. A private-use URI
// may carry a command of that program.
func TestAuthorizePrivateUse(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	r.c.RedirectURI = "vscode://vscode.git/clone?url=https://evil.example/repo.git"
	r.must(r.c.Register("Client"))
	r.local(r.open(query(r.c.Begin(), "code_challenge")), 400, oauth.RequestInvalid)
}

// protocol.md §3.2: the wildcard of loopback ports does not reach our own.
func TestAuthorizeOwnPort(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	r.c.RedirectURI = "http://127.0.0.1/callback"
	r.must(r.c.Register("Client"))
	r.local(r.open(r.c.Begin("redirect_uri", r.c.Issuer+"/callback").URL), 400, oauth.RedirectRefused)
}

// protocol.md §1, §3.2: the longest redirect URI of the most awkward characters still fits into the form of /consent.
func TestAuthorizeLongRedirectURI(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	r.c.RedirectURI = "https://a.example/cb?" + strings.Repeat("&", 2048-len("https://a.example/cb?"))
	r.must(r.c.Register("Client"))
	r.code(r.c.Begin())
}

// protocol.md §3.2 through the endpoints: which presented URIs match a registered one.
func TestAuthorizeRedirectURIs(t *testing.T) {
	for registered, rows := range map[string]map[string]bool{
		"https://a.example/cb": {
			"https://a.example/cb": true, "https://a.example/cb/": false, "https://a.example/CB": false, "https://a.example/%63b": false,
			"https://a.example/cb?x=1": false, "https://a.example:443/cb": false, "https://A.example/cb": false, "https:/a.example/cb": false,
			"https://a.example@evil/cb": false, "https://a.example.evil/cb": false, "https://a.example./cb": false,
		},
		"http://127.0.0.1:33418/": {
			"http://127.0.0.1:40000/": true, "http://127.0.0.1/": true, "http://127.0.0.1:40000": false, "http://127.1/": false,
			"http://localhost:33418/": false, "http://127.0.0.1:33418/\\@evil.example": false, "http://127.0.0.1@evil.example/": false,
		},
		"http://localhost:3000/cb": {
			"http://localhost:3001/cb": true, "http://localhost.:3000/cb": false, "http://x.localhost/cb": false, "https://localhost:3000/cb": false,
			"http://localhost:080/cb": false, "http://localhost:0/cb": false, "http://localhost:65536/cb": false,
		},
		"cursor://anysphere.cursor-mcp/oauth/callback": {
			"cursor://anysphere.cursor-mcp/oauth/callback": true, "cursor://anysphere.cursor-mcp/oauth/callback?x=1": false,
		},
	} {
		t.Run(registered, func(t *testing.T) {
			r := newLogin(t, authtest.ServerOptions{})
			r.c.RedirectURI = registered
			r.must(r.c.Register("Client"))
			for presented, ok := range rows {
				p := r.open(r.c.Begin("redirect_uri", presented).URL)
				if ok && p.Status != http.StatusOK {
					t.Errorf("%q: %d", presented, p.Status)
				}
				if !ok {
					r.local(p, 400, oauth.RedirectRefused)
				}
			}
			p := r.open(query(r.c.Begin(), "redirect_uri"))
			switch loopback := strings.HasPrefix(registered, "http:"); {
			case loopback: // registrations that differ in the port alone share an id: whose port would it be?
				r.local(p, 400, oauth.RedirectRefused)
			case p.Status != http.StatusOK:
				t.Errorf("absent, one registered: %d (RFC 6749 §3.1.2.3)", p.Status)
			}
		})
	}
}
