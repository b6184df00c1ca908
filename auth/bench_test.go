package auth_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/upstream"
)

// unlimited is a provider that is never asked again, on a server that holds nobody up.
func unlimited() authtest.ServerOptions {
	o := longLived()
	o.Provider = append(o.Provider, authtest.With(func(b *authtest.Behaviour) { b.AutoLogin = "alice" }))
	o.Auth = func(o *auth.Options) {
		l := &o.Limits
		l.RegisterPerHour, l.AuthorizePerMinute, l.ConsentPerMinute = 1<<30, 1<<30, 1<<30
		l.PendingPerAddress, l.PendingMax, l.PendingPerBrowser = 1<<20, 1<<20, 1<<20
		o.Clients.GrantsPerUser = 1 << 20
	}
	return o
}

// workers runs do b.N times in all, on n goroutines.
func workers(b *testing.B, n int, do func(worker int)) {
	var left atomic.Int64
	left.Store(int64(b.N))
	together(n, func(i int) {
		for left.Add(-1) >= 0 {
			do(i)
		}
	})
}

// BenchmarkRefresh rotates without a provider call: over HTTP, as a client meets it, and at the endpoint, without
// network and pipeline (design.md §8: at least 3,000 per second at 64 clients).
func BenchmarkRefresh(b *testing.B) {
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("http/%d", n), func(b *testing.B) {
			r, clients := benchClients(b, n)
			b.ResetTimer()
			workers(b, n, func(i int) {
				if a, err := clients[i].Renew(); err != nil || a.Status != http.StatusOK {
					b.Errorf("%v %+v", err, a)
				}
			})
			rate(b, "refreshes/s")
			r.lives(r.id)
		})
		b.Run(fmt.Sprintf("endpoint/%d", n), func(b *testing.B) {
			r, clients := benchClients(b, n)
			token := r.endpoint("/token")
			b.ResetTimer()
			workers(b, n, func(i int) { clients[i].Refresh = refreshAt(b, token, clients[i]) })
			rate(b, "refreshes/s")
		})
	}
}

func rate(b *testing.B, unit string) {
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), unit)
	b.ReportMetric(0, "ns/op")
}

func benchClients(b *testing.B, n int) (*rig, []*authtest.Client) {
	b.Helper()
	r := startRig(b, unlimited())
	clients := []*authtest.Client{r.c}
	for len(clients) < n {
		c, _ := r.login("alice")
		clients = append(clients, c)
	}
	for _, c := range clients {
		c.HTTP = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	}
	return r, clients
}

func (r *rig) endpoint(path string) func(http.ResponseWriter, *http.Request) error {
	r.t.Helper()
	for _, e := range r.Auth.Endpoints() {
		if e.Path == path {
			return e.Handle
		}
	}
	r.t.Fatalf("no endpoint %s", path)
	return nil
}

func refreshAt(b *testing.B, handle func(http.ResponseWriter, *http.Request) error, c *authtest.Client) string {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.Refresh}, "client_id": {c.ID}}.Encode()
	req := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(form))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	if err := handle(rec, req); err != nil {
		b.Error(err)
		return c.Refresh
	}
	_, rest, _ := strings.Cut(rec.Body.String(), `"refresh_token":"`)
	token, _, _ := strings.Cut(rest, `"`)
	return token
}

// BenchmarkVerify is the bearer check of an MCP call: a token seen before, and one seen for the first time.
func BenchmarkVerify(b *testing.B) {
	r := startRig(b, unlimited())
	verify := func(b *testing.B, token string) {
		if _, err := r.Auth.Verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			verify(b, r.c.Access)
		}
	})
	b.Run("known/parallel", func(b *testing.B) {
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				verify(b, r.c.Access)
			}
		})
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			token := forged{claims: map[string]any{"jti": fmt.Sprint(i)}}.token(r)
			b.StartTimer()
			verify(b, token)
		}
	})
	b.Run("garbage", func(b *testing.B) {
		bad := r.c.Access[:len(r.c.Access)-8] + "AAAAAAAA"
		for b.Loop() {
			if _, err := r.Auth.Verify(b.Context(), bad); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}

// BenchmarkUpstreamToken is what a tool call asks for, with a token in store.
func BenchmarkUpstreamToken(b *testing.B) {
	r := startRig(b, unlimited())
	b.ReportAllocs()
	for b.Loop() {
		r.token(r.id, "")
	}
}

// BenchmarkClaims is what the call of a connector asks for.
func BenchmarkClaims(b *testing.B) {
	r := startRig(b, unlimited())
	b.ReportAllocs()
	for b.Loop() {
		if c, err := r.Auth.Claims(b.Context(), r.id); err != nil || c.Email == "" {
			b.Fatal(c, err)
		}
	}
}

// BenchmarkUpstreamRefresh is a refresh with a provider call each time: intent, call, commit, rotation.
func BenchmarkUpstreamRefresh(b *testing.B) {
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := unlimited()
			o.Provider = append(o.Provider, authtest.With(func(b *authtest.Behaviour) { b.AccessLife = time.Second }))
			o.Upstream = func(c *upstream.Config) { c.Rotation = upstream.RotationStrict }
			r := startRig(b, o)
			clients := []*authtest.Client{r.c}
			for len(clients) < n {
				c, _ := r.login("alice")
				clients = append(clients, c)
			}
			b.ResetTimer()
			asked := r.asked()
			workers(b, n, func(i int) {
				r.Clock.Advance(2 * time.Second) // every upstream token is out
				if a, err := clients[i].Renew(); err != nil || a.Status != http.StatusOK {
					b.Errorf("%v %+v", err, a)
				}
			})
			rate(b, "refreshes/s")
			b.ReportMetric(float64(r.asked()-asked)/float64(b.N), "provider-calls/op")
		})
	}
}

// BenchmarkLogin is whole logins, from /authorize to the first tokens, at 8 in parallel against a provider that signs
// in at once (design.md §8: at least 300 per second), with the bytes that each grant leaves on disk (at most 5 KB).
func BenchmarkLogin(b *testing.B) {
	r := startRig(b, unlimited())
	const n = 8
	clients := make([]*authtest.Client, n)
	for i := range clients {
		clients[i] = r.NewClient()
		r.must(clients[i].Register("Test client"))
	}
	before := r.Store.Size()
	b.ResetTimer()
	workers(b, n, func(i int) {
		if err := clients[i].Login(); err != nil {
			b.Error(err)
		}
	})
	rate(b, "logins/s")
	b.ReportMetric(float64(r.Store.Size()-before)/float64(b.N), "disk-B/grant")
}
