package auth_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/web"
)

// behindProxy returns options with small limits, for requests that name their address in X-Forwarded-For.
func behindProxy(change func(*auth.LimitsConfig)) authtest.ServerOptions {
	o := limits(change)
	o.Web = func(w *web.Options) { w.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
	return o
}

const (
	here, there = "192.0.2.1", "192.0.2.2"
	v6, v6same  = "2001:db8:0:1::1", "2001:db8:0:1:ffff::2" // one /64
	v6other     = "2001:db8:0:2::1"
)

// protocol.md §9: limits per address, an IPv6 address being its /64; the answer is 429 with Retry-After, and the bucket
// fills again.
func TestLimits(t *testing.T) {
	for _, row := range []struct {
		what  string
		limit func(*auth.LimitsConfig)
		ask   func(r *loginRig, n int, from string) reply
		good  int
		again time.Duration
	}{
		{"register_per_hour", func(l *auth.LimitsConfig) { l.RegisterPerHour = 3 }, func(r *loginRig, n int, from string) reply {
			return r.register(fmt.Sprintf(`{"redirect_uris":["https://a.example/%d"]}`, n), "X-Forwarded-For", from)
		}, 201, 20 * time.Minute},
		{"authorize_per_minute", func(l *auth.LimitsConfig) { l.AuthorizePerMinute = 3 }, func(r *loginRig, _ int, from string) reply {
			return r.get(strings.TrimPrefix(r.c.Begin().URL, r.Issuer), "X-Forwarded-For", from)
		}, 200, 20 * time.Second},
		{"consent_per_minute", func(l *auth.LimitsConfig) { l.ConsentPerMinute = 3 }, func(r *loginRig, _ int, from string) reply {
			return r.post("/consent", url.Values{"ticket": {"x"}}, "X-Forwarded-For", from)
		}, 403, 20 * time.Second},
		{"consent_per_minute with /signin", func(l *auth.LimitsConfig) { l.ConsentPerMinute = 3 }, func(r *loginRig, n int, from string) reply {
			return r.post([]string{"/consent", "/signin"}[n%2], url.Values{"ticket": {"x"}}, "X-Forwarded-For", from)
		}, 403, 20 * time.Second},
		{"failed_per_minute", func(l *auth.LimitsConfig) { l.FailedPerMinute = 3 }, func(r *loginRig, _ int, from string) reply {
			return r.post("/token", url.Values{"client_id": {"nobody"}, "grant_type": {"refresh_token"}}, "X-Forwarded-For", from)
		}, 401, 20 * time.Second},
		{"failed_per_minute with /revoke", func(l *auth.LimitsConfig) { l.FailedPerMinute = 3 }, func(r *loginRig, n int, from string) reply {
			return r.post([]string{"/token", "/revoke"}[n%2], url.Values{"client_id": {"nobody"}}, "X-Forwarded-For", from)
		}, 401, 20 * time.Second},
	} {
		t.Run(row.what, func(t *testing.T) {
			r := newLogin(t, behindProxy(row.limit))
			n := 0
			expect := func(from string, status int) {
				t.Helper()
				n++
				a := row.ask(r, n, from)
				if a.status != status {
					t.Errorf("request %d from %s: %d %.200s, want %d", n, from, a.status, a.body, status)
				}
				if status == 429 {
					a.refused(t, 429, oauth.TemporarilyUnavailable, oauth.RateLimited)
					if a.header.Get("Retry-After") == "" {
						t.Error("no Retry-After")
					}
				}
			}
			for _, from := range []string{here, here, here} {
				expect(from, row.good)
			}
			expect(here, 429)
			expect(there, row.good)
			for _, from := range []string{v6, v6same, v6} {
				expect(from, row.good)
			}
			expect(v6same, 429)
			expect(v6other, row.good)
			r.Clock.Advance(row.again)
			expect(here, row.good)
			expect(here, 429)
		})
	}
}

// protocol.md §5.5: the budget turns only failing answers into 429; a good one passes, and costs nothing.
func TestFailureBudget(t *testing.T) {
	r := newLogin(t, limits(func(l *auth.LimitsConfig) { l.FailedPerMinute = 1 }))
	a := r.c.Begin()
	form := r.redemption(a, r.code(a))
	bad := changed(form, "code", "hmcp_ac_x")
	r.post("/token", bad).refused(t, 400, oauth.InvalidGrant, oauth.CodeInvalid)
	r.post("/token", bad).refused(t, 429, oauth.TemporarilyUnavailable, oauth.RateLimited)
	if got, err := r.c.Redeem(a, form.Get("code")); err != nil || got.Status != 200 {
		t.Fatalf("a good redemption: %v %+v", err, got)
	}
	for range 5 {
		if got, err := r.c.Renew(); err != nil || got.Status != 200 {
			t.Fatalf("a good refresh: %v %+v", err, got)
		}
	}
	if got := r.post("/revoke", url.Values{"client_id": {r.c.ID}, "token": {"garbage"}}); got.status != 200 {
		t.Errorf("revoke: %d", got.status)
	}
	r.must(r.Store.Close()) // our own trouble stays 503 and is no failure of the client's
	for range 3 {
		if got := r.post("/token", form); got.status != http.StatusServiceUnavailable {
			t.Errorf("%d", got.status)
		}
	}
	r.Restart()
}

// protocol.md §9: a loopback peer of a public issuer, which no trusted_proxies names, is everybody: not limited.
func TestLimitsSkipUnknownProxy(t *testing.T) {
	o := limits(func(l *auth.LimitsConfig) { l.AuthorizePerMinute = 1 })
	o.Issuer = "https://mcp.example.net"
	r := newLogin(t, o)
	for range 3 {
		if p := r.open(r.c.Begin().URL); p.Status != 200 {
			t.Errorf("%d", p.Status)
		}
	}
}

// protocol.md §4.1, §9: /authorize limited is a page.
func TestLimitsPage(t *testing.T) {
	r := newLogin(t, limits(func(l *auth.LimitsConfig) { l.AuthorizePerMinute, l.ConsentPerMinute = 2, 1 }))
	p := r.open(r.c.Begin().URL)
	r.location(r.press(p, "approve"))
	r.local(r.press(p, "approve"), 429, oauth.RateLimited)
	r.open(r.c.Begin().URL)
	r.local(r.open(r.c.Begin().URL), 429, oauth.RateLimited)
}
