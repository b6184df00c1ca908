package upstream_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

var background = context.Background()

func fetch(t *testing.T, address string) []byte {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// Discovery is lazy and runs once, however many wait for it (design.md §3 decision 8).
func TestDiscoveryOnce(t *testing.T) {
	r := newRig(t)
	gate := authtest.NewGate()
	r.idp.Break(authtest.Discovery, authtest.Fault{Gate: gate})
	if n := len(r.idp.Calls()); n != 0 {
		t.Fatalf("%d calls before any need", n)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := r.up.Discover(background); err != nil {
				t.Error(err)
			}
		})
	}
	<-gate.Arrived()
	gone, cancel := context.WithCancel(background)
	cancel()
	if got := reasonOf(r.up.Discover(gone)); got != oauth.UpstreamUnreachable {
		t.Errorf("a caller that hung up: %q", got)
	}
	gate.Open()
	wg.Wait()
	if n := r.idp.Count(authtest.Discovery); n != 1 {
		t.Errorf("%d fetches", n)
	}
	if err := r.up.Ready(); err != nil {
		t.Error(err)
	}
}

// Trouble is answered from memory until the next attempt is due: 1 s to 2 min (protocol.md §8.1 rule 2).
func TestDiscoveryBackoff(t *testing.T) {
	r := newRig(t)
	r.idp.Break(authtest.Discovery, authtest.Unavailable(503, ""))
	spans := []struct{ least, most time.Duration }{
		{1 * time.Second, 2 * time.Second}, {2 * time.Second, 4 * time.Second}, {4 * time.Second, 8 * time.Second},
		{8 * time.Second, 16 * time.Second}, {16 * time.Second, 32 * time.Second}, {32 * time.Second, 64 * time.Second},
		{time.Minute, 2 * time.Minute}, {time.Minute, 2 * time.Minute},
	}
	calls := func(want int) {
		t.Helper()
		_, err := r.up.AuthURL(background, upstream.AuthRequest{})
		if got := reasonOf(err); got != oauth.UpstreamError {
			t.Fatalf("reason %q", got)
		}
		a := r.refresh("token")
		r.want(a, upstream.Unreachable, oauth.UpstreamError)
		if a.RetryAfter <= 0 || a.RetryAfter > 2*time.Minute {
			t.Errorf("Retry-After %s", a.RetryAfter)
		}
		if n := r.idp.Count(authtest.Discovery); n != want {
			t.Fatalf("%d attempts, want %d", n, want)
		}
	}
	calls(1)
	for i, span := range spans {
		r.clock.Advance(span.least - time.Millisecond)
		calls(i + 1)
		r.clock.Advance(span.most - span.least + time.Millisecond)
		calls(i + 2)
	}
	if n := strings.Count(r.log.String(), "provider trouble"); n != 1 {
		t.Errorf("the same trouble is logged %d times", n)
	}
	r.idp.Mend()
	r.clock.Advance(2 * time.Minute)
	r.login()
	if !strings.Contains(r.log.String(), "is over") {
		t.Error("its end is not logged")
	}
}

// A Retry-After longer than the backoff is honoured, and a clock set back does not prolong it.
func TestDiscoveryRetryAfter(t *testing.T) {
	r := newRig(t)
	r.idp.Break(authtest.Discovery, authtest.Unavailable(429, "300"))
	r.up.Discover(background)
	r.clock.Advance(299 * time.Second)
	r.up.Discover(background)
	if n := r.idp.Count(authtest.Discovery); n != 1 {
		t.Errorf("%d attempts before Retry-After", n)
	}
	r.clock.Advance(-time.Hour)
	r.up.Discover(background)
	if n := r.idp.Count(authtest.Discovery); n != 2 {
		t.Errorf("%d attempts: the clock went back", n)
	}
}

// What the metadata may not be (OpenID Connect Discovery §3, §4.3).
func TestDiscoveryRefused(t *testing.T) {
	set := func(name string, value any) func(map[string]any) {
		return func(m map[string]any) { m[name] = value }
	}
	for _, row := range []struct {
		name   string
		change func(map[string]any)
		fault  authtest.Fault
		want   oauth.Reason
	}{
		{"another issuer", set("issuer", "https://example.com"), authtest.Fault{}, oauth.UpstreamConfig},
		{"issuer with a slash", func(m map[string]any) { m["issuer"] = m["issuer"].(string) + "/" }, authtest.Fault{}, oauth.UpstreamConfig},
		{"issuer absent", set("issuer", nil), authtest.Fault{}, oauth.UpstreamConfig},
		{"no token endpoint", set("token_endpoint", nil), authtest.Fault{}, oauth.UpstreamConfig},
		{"no jwks_uri", set("jwks_uri", ""), authtest.Fault{}, oauth.UpstreamConfig},
		{"token endpoint in the clear", set("token_endpoint", "http://example.com/token"), authtest.Fault{}, oauth.UpstreamConfig},
		{"userinfo in the clear", set("userinfo_endpoint", "http://example.com/"), authtest.Fault{}, oauth.UpstreamConfig},
		{"revocation elsewhere than the web", set("revocation_endpoint", "file:///etc"), authtest.Fault{}, oauth.UpstreamConfig},
		{"a member of another type", set("jwks_uri", 5), authtest.Fault{}, oauth.UpstreamBadAnswer},
		{"HTML", nil, authtest.HTML(), oauth.UpstreamBadAnswer},
		{"too long", nil, authtest.Fault{Body: strings.Repeat(" ", 65<<10)}, oauth.UpstreamBadAnswer},
		{"redirect", nil, authtest.Fault{Status: 302, Header: http.Header{"Location": {"/jwks"}}}, oauth.UpstreamConfig},
		{"404", nil, authtest.Unavailable(404, ""), oauth.UpstreamConfig},
		{"500", nil, authtest.Unavailable(500, ""), oauth.UpstreamError},
		{"reset", nil, authtest.Fault{Reset: true}, oauth.UpstreamUnreachable},
		{"cut", nil, authtest.Fault{Cut: 30}, oauth.UpstreamUnreachable},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, authtest.With(func(b *authtest.Behaviour) { b.Metadata = row.change }))
			if row.change == nil {
				r.idp.Break(authtest.Discovery, row.fault)
			}
			err := r.up.Discover(background)
			if got := reasonOf(err); got != row.want {
				t.Errorf("reason %q (%v), want %q", got, err, row.want)
			}
			if row.name == "too long" && !strings.Contains(err.Error(), "too long") {
				t.Errorf("an operator learns only %q", err)
			}
			if got := reasonOf(r.up.Ready()); got != row.want {
				t.Errorf("not ready because of %q", got)
			}
		})
	}
}

// A copy is used for ever and renewed in the background once a day; a fault in the new one changes nothing.
func TestDiscoveryRenewed(t *testing.T) {
	r := newRig(t)
	r.login()
	r.clock.Advance(24*time.Hour - time.Second)
	r.login()
	if n := r.idp.Count(authtest.Discovery); n != 1 {
		t.Fatalf("%d fetches within a day", n)
	}
	r.idp.Set(func(b *authtest.Behaviour) {
		b.Metadata = func(m map[string]any) { m["issuer"] = "https://example.com" }
	})
	gate := authtest.NewGate()
	r.idp.Break(authtest.Discovery, authtest.Fault{Gate: gate})
	r.clock.Advance(time.Second)
	r.login() // nobody waits for the gate
	<-gate.Arrived()
	gate.Open()
	r.login()
	if err := r.up.Ready(); err != nil {
		t.Errorf("a good copy is there: %v", err)
	}
}

// Ready does not wait, and notices a provider that comes back without any login.
func TestReady(t *testing.T) {
	r := newRig(t)
	r.idp.Down()
	if got := reasonOf(r.up.Ready()); got != oauth.UpstreamUnreachable {
		t.Errorf("before the first attempt: %q", got)
	}
	r.up.Discover(background) // waits for the attempt that Ready began
	if err := r.up.Ready(); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("the last attempt's words: %v", err)
	}
	if err := r.idp.Up(); err != nil {
		t.Fatal(err)
	}
	r.clock.Advance(2 * time.Second)
	r.up.Ready()
	if err := r.up.Discover(background); err != nil {
		t.Error(err)
	}
	if err := r.up.Ready(); err != nil {
		t.Error(err)
	}
	if r.up.Issuer() != r.idp.Issuer || "http://"+r.up.Host() != r.idp.Issuer {
		t.Errorf("issuer %s, host %s", r.up.Issuer(), r.up.Host())
	}
}
