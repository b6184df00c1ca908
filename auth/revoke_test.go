package auth_test

import (
	"encoding/base64"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/storage/storagetest"
)

// altered flips one bit of a token's last byte, canonically encoded.
func altered(t *testing.T, token string) string {
	t.Helper()
	i := strings.LastIndexByte(token, '.') + 1
	if strings.HasPrefix(token, "hmcp_rt_") {
		i = len("hmcp_rt_")
	}
	raw, err := base64.RawURLEncoding.DecodeString(token[i:])
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	return token[:i] + base64.RawURLEncoding.EncodeToString(raw)
}

// protocol.md §6, RFC 7009 §2: which tokens end their grant, and which have no effect. Either way 200 with no body.
func TestRevoke(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	other := r.client()
	r.must(other.Register("Other client"))
	for _, row := range []struct {
		what  string
		token func(*authtest.Client) string
		as    *authtest.Client
		hint  string
		after time.Duration
		ends  bool
	}{
		{"refresh token", func(c *authtest.Client) string { return c.Refresh }, nil, "", 0, true},
		{"access token [C11]", func(c *authtest.Client) string { return c.Access }, nil, "", 0, true},
		{"wrong hint (RFC 7009 §2.1)", func(c *authtest.Client) string { return c.Refresh }, nil, "access_token", 0, true},
		{"unknown hint", func(c *authtest.Client) string { return c.Access }, nil, "banana", 0, true},
		{"an older generation", func(c *authtest.Client) string { old := c.Refresh; c.Renew(); c.Renew(); return old }, nil, "", 0, true},
		{"refresh token of an expired access token", func(c *authtest.Client) string { return c.Refresh }, nil, "", 2 * time.Hour, true},
		{"an old access token out of some log", func(c *authtest.Client) string { return c.Access }, nil, "", 2 * time.Hour, false},
		{"another client's refresh token", func(c *authtest.Client) string { return c.Refresh }, other, "", 0, false},
		{"another client's access token", func(c *authtest.Client) string { return c.Access }, other, "", 0, false},
		{"altered refresh token", func(c *authtest.Client) string { return altered(t, c.Refresh) }, nil, "", 0, false},
		{"altered access token", func(c *authtest.Client) string { return altered(t, c.Access) }, nil, "", 0, false},
		{"garbage", func(*authtest.Client) string { return "garbage" }, nil, "", 0, false},
	} {
		t.Run(row.what, func(t *testing.T) {
			r := &loginRig{Server: r.Server, t: t, c: r.client()}
			r.must(r.c.Login())
			token, as := row.token(r.c), r.c
			if row.as != nil {
				as = row.as
			}
			r.Clock.Advance(row.after)
			if row.after > 0 {
				r.must(refreshed(r.c, token))
			}
			revoke := func() {
				a := r.post("/revoke", changed(url.Values{"token": {token}, "client_id": {as.ID}}, "token_type_hint", row.hint))
				if a.status != 200 || len(a.body) != 0 || a.header.Get("Cache-Control") != "no-store" {
					t.Errorf("%d %s", a.status, a.body)
				}
			}
			if !row.ends {
				r.unwritten("it", revoke)
				if _, status, reason := r.Call(r.c.Access); status != 200 {
					t.Errorf("call afterwards: %d %s", status, reason)
				}
				return
			}
			revoke()
			r.unwritten("a second time", revoke)
			if _, status, reason := r.Call(r.c.Access); status != 401 || row.after == 0 && reason != "grant_ended client_revoked" {
				t.Errorf("call afterwards: %d %s", status, reason)
			}
			if a, err := r.c.Renew(); err != nil || a.Error != "invalid_grant" || !strings.HasPrefix(a.Description, "grant_ended client_revoked") {
				t.Errorf("refresh afterwards: %v %+v", err, a)
			}
		})
	}
}

// refreshed gives the client a living access token again unless the token is its refresh token.
func refreshed(c *authtest.Client, token string) error {
	if token == c.Refresh {
		return nil
	}
	_, err := c.Renew()
	return err
}

// protocol.md §6: 200 is said after the commit only; while the store fails it is 503, and nothing has ended.
func TestRevokeStoreFails(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	r.must(r.c.Login())
	form := url.Values{"token": {r.c.Refresh}, "client_id": {r.c.ID}}
	r.must(r.Store.Close())
	r.post("/revoke", form).refused(t, 503, oauth.TemporarilyUnavailable, oauth.StorageUnavailable)
	r.Restart()
	if _, status, _ := r.Call(r.c.Access); status != 200 {
		t.Errorf("call: %d", status)
	}
	if a := r.post("/revoke", form); a.status != 200 {
		t.Errorf("%d", a.status)
	}
	r.Restart()
	if _, status, _ := r.Call(r.c.Access); status != 401 {
		t.Errorf("after 200 and a restart: %d", status)
	}
}

// protocol.md §6 (CVE-2020-15223): the store fails when the token is looked up, and when its end is to be committed. The
// client is one of the configuration, which is authenticated without the store.
func TestRevokeNotCommitted(t *testing.T) {
	for _, row := range []struct {
		what  string
		early bool
	}{{"lookup", true}, {"commit", false}} {
		t.Run(row.what, func(t *testing.T) {
			var fails atomic.Bool
			r := newLogin(t, authtest.ServerOptions{Auth: func(o *auth.Options) {
				o.Clients.Registered = []auth.RegisteredClient{knownWeb}
				now, store := o.Now, o.Store
				o.Now = func() time.Time { // the journal's event is stamped just before the commit
					if fails.Load() {
						_ = store.Close()
					}
					return now()
				}
			}})
			r.c.ID, r.c.RedirectURI = knownWeb.ID, knownWeb.RedirectURIs[0]
			r.must(r.c.Login())
			if fails.Store(true); row.early {
				r.must(r.Store.Close())
			}
			r.post("/revoke", url.Values{"token": {r.c.Refresh}, "client_id": {r.c.ID}}).
				refused(t, 503, oauth.TemporarilyUnavailable, oauth.StorageUnavailable)
			fails.Store(false)
			r.Restart()
			if _, status, reason := r.Call(r.c.Access); status != 200 {
				t.Errorf("call: %d %s", status, reason)
			}
		})
	}
}

// protocol.md §6 and §1: the form.
func TestRevokeForm(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	r.post("/revoke", url.Values{"client_id": {r.c.ID}}).refused(t, 400, oauth.InvalidRequest, oauth.RequestInvalid)
	r.post("/revoke", url.Values{"client_id": {r.c.ID}, "token": {"a", "b"}}).refused(t, 400, oauth.InvalidRequest, oauth.RequestInvalid)
	r.post("/revoke", url.Values{"client_id": {"nobody"}, "token": {"a"}}).refused(t, 401, oauth.InvalidClient, oauth.ClientUnknown)
	if a := r.post("/revoke", url.Values{"client_id": {r.c.ID}, "token": {strings.Repeat("x", 16<<10)}}); a.status != 413 {
		t.Errorf("over 16 KB: %d", a.status)
	}
	if a := r.get("/revoke"); a.status != 405 || a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("GET: %d %v", a.status, a.header)
	}
}

// protocol.md §6, §5.3: the upstream token follows, tried again while the provider is down, for up to 7 d; not while a
// living grant shares the provider session; then with the last of them.
func TestRevokeUpstream(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{Provider: []authtest.Option{authtest.With(func(b *authtest.Behaviour) { b.SharedSession = true })}})
	r.must(r.c.Login())
	second := r.NewClient()
	second.ID, second.Browser = r.c.ID, r.c.Browser
	r.must(second.Login())
	revoke := func(token string) {
		if a := r.post("/revoke", url.Values{"token": {token}, "client_id": {r.c.ID}}); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		r.must(r.Auth.Step(t.Context()))
	}
	revoke(r.c.Refresh)
	if n := len(r.Provider.Revoked()); n != 0 {
		t.Errorf("%d upstream tokens given back while a sibling lives", n)
	}
	r.Provider.Down()
	revoke(second.Refresh)
	r.must(r.Provider.Up())
	r.Clock.Advance(time.Hour)
	r.must(r.Auth.Step(t.Context()))
	if n := len(r.Provider.Revoked()); n != 1 {
		t.Errorf("%d upstream tokens given back, want 1", n)
	}
	storagetest.Check(t, r.Store)
}
