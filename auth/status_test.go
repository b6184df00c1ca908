package auth_test

import (
	"fmt"
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
	"hostedmcp/storage/storagetest"
)

// signedIn signs the client's browser in on the status page as a user, and returns that page.
func (r *loginRig) signedIn(user string) *authtest.Page {
	r.t.Helper()
	r.c.Browser.Fill = map[string]string{"username": user, "password": user + "-pw"}
	end, last, err := r.c.Browser.Login(r.Issuer+"/status", r.Issuer+"/status")
	r.must(err)
	if end == nil {
		r.t.Fatalf("sign-in stopped at %s with %d: %s", last.URL.Path, last.Status, last.Body)
	}
	return r.open(end.String())
}

// to returns the page with only the form for a path, with a field if one is named.
func (r *loginRig) to(p *authtest.Page, path, field string) *authtest.Page {
	r.t.Helper()
	for _, f := range p.Forms {
		if f.Action.Path == path && (field == "" || f.Fields.Has(field)) {
			return &authtest.Page{URL: p.URL, Forms: []authtest.Form{f}}
		}
	}
	r.t.Fatalf("no form to %s with %q on %s:\n%s", path, field, p.URL.Path, p.Body)
	return nil
}

// protocol.md §4.3: sign-in goes the way of a login with ourselves as client: no offline_access, no grant, no upstream
// token kept nor revoked; the cookie's hash is stored.
func TestSignIn(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	p := r.signedIn("alice")
	if p.Status != 200 || !strings.Contains(p.Body, "alice@example.com") {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	for _, call := range r.Provider.Calls(authtest.Authorize) {
		if scope := call.Form.Get("scope"); call.Form.Has("scope") && scope != "openid" {
			t.Errorf("scope %q", scope)
		}
	}
	if grants, _ := r.Store.GrantsOf("sub-alice"); len(grants) != 0 || len(r.Provider.Revoked()) != 0 {
		t.Errorf("%d grants, %d revocations", len(grants), len(r.Provider.Revoked()))
	}
	r.hidden(r.c.Browser.Cookie(r.Issuer, "hostedmcp_signin"))
	r.Restart()
	if p := r.open(r.Issuer + "/status"); !strings.Contains(p.Body, "alice@example.com") {
		t.Error("a restart signed the browser out")
	}
	r.Clock.Advance(8*time.Hour + time.Second)
	if p := r.open(r.Issuer + "/status"); p.Status != 200 || strings.Contains(p.Body, "alice@example.com") {
		t.Errorf("after signin_ttl: %d", p.Status)
	}
}

// protocol.md §4.3: a sign-in's failures are pages.
func TestSignInFails(t *testing.T) {
	for _, row := range []struct {
		what   string
		change func(*authtest.Behaviour)
		access auth.AccessConfig
		status int
		reason oauth.Reason
	}{
		{"denied", func(b *authtest.Behaviour) { b.AuthorizeError = "access_denied" }, auth.AccessConfig{}, 403, oauth.UpstreamDenied},
		{"wrong iss", func(b *authtest.Behaviour) { b.Iss = authtest.IssWrong }, auth.AccessConfig{}, 503, oauth.UpstreamIss},
		{"bad id_token", func(b *authtest.Behaviour) { b.NoIDToken = true }, auth.AccessConfig{}, 503, oauth.IDTokenInvalid},
		{"access rule", nil, auth.AccessConfig{Groups: []string{"finance"}}, 403, oauth.AccessRule},
		{"no refresh token is needed", func(b *authtest.Behaviour) { b.NoRefreshToken = true }, auth.AccessConfig{}, 303, ""},
	} {
		t.Run(row.what, func(t *testing.T) {
			r := newLogin(t, authtest.ServerOptions{Auth: func(o *auth.Options) { o.Access = row.access }})
			if row.change != nil {
				r.Provider.Set(row.change)
			}
			callback := r.signIn(r.form(r.open(r.Issuer+"/status"), nil, nil))
			p := r.open(callback)
			if row.status == 303 {
				if to := r.location(p); to.Path != "/status" {
					t.Errorf("redirected to %s", to)
				}
				return
			}
			r.local(p, row.status, row.reason)
			if r.c.Browser.Cookie(r.Issuer, "hostedmcp_signin") != "" {
				t.Error("signed in")
			}
		})
	}
}

// protocol.md §4.3: a user sees and ends the own grants; foreign and unknown ones are 404 alike.
func TestStatusGrants(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	r.must(r.c.Login())
	bob := r.client()
	bob.Browser.Fill = map[string]string{"username": "bob", "password": "bob-pw"}
	r.must(bob.Login())
	foreign, err := r.Store.GrantsOf("sub-bob")
	r.must(err)
	own := r.grant().ID

	p := r.signedIn("alice")
	if !strings.Contains(p.Body, own) || strings.Contains(p.Body, foreign[0].ID) {
		t.Fatal("the page does not show exactly the user's own grants")
	}
	end := r.to(p, "/grants/end", "id")
	for what, fields := range map[string]map[string]string{
		"foreign":         {"id": foreign[0].ID},
		"unknown":         {"id": strings.Repeat("A", 26)},
		"foreign subject": {"id": "", "subject": "sub-bob"},
		"neither":         {"id": ""},
	} {
		r.unwritten(what, func() { r.local(r.form(end, fields, nil), 404, oauth.NotFound) })
	}
	if to := r.location(r.form(end, nil, nil)); to.Path != "/status" {
		t.Errorf("redirected to %s", to)
	}
	if _, status, reason := r.Call(r.c.Access); status != 401 || reason != "grant_ended user_revoked" {
		t.Errorf("call: %d %s", status, reason)
	}
	if _, status, _ := r.Call(bob.Access); status != 200 {
		t.Errorf("the other user's call: %d", status)
	}
	r.location(r.form(end, nil, nil)) // again: it is ended already
	storagetest.Check(t, r.Store)
}

// protocol.md §4.3: all of the own grants at once.
func TestStatusEndAll(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	r.must(r.c.Login())
	second := r.client()
	r.must(second.Login())
	p := r.signedIn("alice")
	r.location(r.form(r.to(p, "/grants/end", "subject"), nil, nil))
	for _, access := range []string{r.c.Access, second.Access} {
		if _, status, reason := r.Call(access); status != 401 || reason != "grant_ended user_revoked" {
			t.Errorf("call: %d %s", status, reason)
		}
	}
	r.must(r.Auth.Step(t.Context()))
	if n := len(r.Provider.Revoked()); n != 2 {
		t.Errorf("%d upstream tokens given back", n)
	}
}

// protocol.md §4.2: our other forms too; the token holds for one path and one sign-in.
func TestStatusCSRF(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	r.must(r.c.Login())
	start := r.to(r.open(r.Issuer+"/status"), "/signin", "")
	r.unwritten("a forged /signin", func() {
		r.local(r.form(start, map[string]string{"token": ""}, nil), 403, oauth.CSRFFailed)
		r.local(r.form(start, nil, http.Header{"Origin": {"https://evil.example"}}), 403, oauth.CSRFFailed)
		r.local(r.form(start, nil, http.Header{"Sec-Fetch-Site": {"cross-site"}}), 403, oauth.CSRFFailed)
	})
	p := r.signedIn("alice")
	end, out := r.to(p, "/grants/end", "id"), r.to(p, "/signout", "")
	token := func(p *authtest.Page) string { return p.Forms[0].Fields.Get("token") }
	again := r.signedInAgain()
	r.unwritten("a forged form", func() {
		for _, form := range []*authtest.Page{end, out} {
			for what, try := range map[string]struct {
				fields map[string]string
				header http.Header
			}{
				"no token":                  {map[string]string{"token": ""}, nil},
				"token of /signin":          {map[string]string{"token": token(start)}, nil},
				"Origin":                    {nil, http.Header{"Origin": {"null"}}},
				"same-site":                 {nil, http.Header{"Sec-Fetch-Site": {"same-site"}}},
				"not signed in":             {nil, http.Header{"Cookie": {"hostedmcp_csrf=" + r.c.Browser.Cookie(r.Issuer, "hostedmcp_csrf")}}},
				"token of an older sign-in": {nil, nil},
			} {
				if p := r.form(form, try.fields, try.header); p.Status != 403 {
					t.Errorf("%s to %s: %d", what, form.Forms[0].Action.Path, p.Status)
				}
			}
		}
		r.local(r.form(r.to(again, "/grants/end", "id"), map[string]string{"token": token(r.to(again, "/signout", ""))}, nil), 403, oauth.CSRFFailed)
	})
	if g := r.grant(); g.Ended != "" {
		t.Errorf("ended by %s", g.Ended)
	}
}

// signedInAgain makes a new sign-in in the same browser, as after its cookie ran out.
func (r *loginRig) signedInAgain() *authtest.Page {
	r.t.Helper()
	csrf := "hostedmcp_csrf=" + r.c.Browser.Cookie(r.Issuer, "hostedmcp_csrf")
	r.c.Browser.Header = http.Header{"Cookie": {csrf}}
	p := r.open(r.Issuer + "/status")
	r.c.Browser.Header = nil
	r.open(r.signIn(r.form(p, nil, nil)))
	return r.open(r.Issuer + "/status")
}

// protocol.md §4.3: signing out ends the sign-in, in the store too, and no grant.
func TestSignOut(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	r.must(r.c.Login())
	p := r.signedIn("alice")
	stolen := "hostedmcp_signin=" + r.c.Browser.Cookie(r.Issuer, "hostedmcp_signin")
	page := r.form(r.to(p, "/signout", ""), nil, nil)
	r.location(page)
	if c := cookies(page)["hostedmcp_signin"]; c == nil || c.MaxAge >= 0 || c.Value != "" {
		t.Errorf("cookie %v", c)
	}
	r.c.Browser.Header = http.Header{"Cookie": {stolen}}
	if p := r.open(r.Issuer + "/status"); strings.Contains(p.Body, "alice@example.com") {
		t.Error("the old cookie still signs in")
	}
	if _, status, _ := r.Call(r.c.Access); status != 200 {
		t.Errorf("call: %d", status)
	}
}

// protocol.md §1: the status page while the store is away, and what foreign methods get.
func TestStatusUnavailable(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	r.signedIn("alice")
	r.must(r.Store.Close())
	r.local(r.open(r.Issuer+"/status"), 503, oauth.StorageUnavailable)
	r.Restart()
	for _, path := range []string{"/signin", "/signout", "/grants/end"} {
		if a := r.get(path); a.status != 405 {
			t.Errorf("GET %s: %d", path, a.status)
		}
		if a := r.post(path, url.Values{"x": {strings.Repeat("x", 4<<10)}}); a.status != 413 {
			t.Errorf("POST %s of 4 KB: %d", path, a.status)
		}
	}
}

// A page has an end, whatever a program does: living grants are all there, of the ended ones the last.
func TestStatusBounded(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	var all sync.WaitGroup // the store's writer takes them together
	for i := range 205 {
		all.Go(func() {
			if err := r.Store.CreateGrant(t.Context(), storage.NewGrant{
				Grant: storage.Grant{ID: fmt.Sprintf("%026d", i), ClientID: "made", ClientName: "Made", Subject: "sub-alice", RedirectURI: "http://127.0.0.1/cb"},
				Key:   make([]byte, 32), CodeHash: [32]byte{byte(i), 1},
			}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	_, err := r.Store.EndSubject(t.Context(), "sub-alice", oauth.ClientRevoked, r.event())
	r.must(err)
	r.must(r.c.Login())
	p := r.signedIn("alice")
	if n := strings.Count(p.Body, `<article class="connection"`); n != 200 {
		t.Errorf("%d connections are listed", n)
	}
	r.to(p, "/grants/end", "id") // the living one is among them
}
