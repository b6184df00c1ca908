package storage_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
	"hostedmcp/storage/storagetest"
)

// BenchmarkGrant is the store's part of every MCP call.
func BenchmarkGrant(b *testing.B) {
	h := newHarness(b)
	var ids []string
	for i := range 1000 {
		ids = append(ids, h.connect(alice(i)).id)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			id := ids[i%len(ids)]
			g, err := h.Grant(id)
			if err != nil || !g.Living() {
				b.Fatal(err)
			}
			h.Use(id, g.Gen, g.Created)
		}
	})
}

// BenchmarkRotateRefresh is a refresh without a provider call, at several numbers of clients, with the syncs of the
// disk as they are, and what each costs the disk.
func BenchmarkRotateRefresh(b *testing.B) {
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			reg := prometheus.NewRegistry()
			h := newHarness(b, func(o *storage.Options) { o.Registerer = reg })
			h.register(testClient)
			ids, gens := make([]string, clients), make([]uint32, clients)
			for i := range ids {
				ids[i], gens[i] = h.connect(alice(i)).id, 1
			}
			commits, _ := histogram(b, reg, "hostedmcp_store_commit_seconds")
			bytes := written(b)
			b.ResetTimer()
			share(b, clients, b.N, func(client, _ int) error {
				g, row, _, err := h.RotateRefresh(b.Context(), h.present(ids[client], gens[client]))
				if err == nil && row != storage.RowCurrent {
					err = fmt.Errorf("row %d", row)
				}
				gens[client] = g.Gen
				return err
			})
			b.StopTimer()
			after, _ := histogram(b, reg, "hostedmcp_store_commit_seconds")
			b.ReportMetric(2*float64(after-commits)/float64(b.N), "fsyncs/op") // bbolt syncs data, then its meta page
			b.ReportMetric((written(b)-bytes)/float64(b.N), "written-B/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "refreshes/s")
		})
	}
}

// written is how many bytes this process has given to write calls.
func written(b *testing.B) (n float64) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0 // no Linux
	}
	for line := range strings.Lines(string(text)) {
		_, _ = fmt.Sscanf(line, "wchar: %f", &n)
	}
	return n
}

// BenchmarkCreateGrant writes whole logins with tokens of the size that Keycloak makes.
func BenchmarkCreateGrant(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			h := newHarness(b)
			b.ResetTimer()
			share(b, clients, b.N, func(_, i int) error {
				return h.CreateGrant(b.Context(), newKeycloakLogin(h, i).NewGrant)
			})
		})
	}
}

// BenchmarkSize fills a file with grants and reports bytes per grant (design.md §8: at most 5 KB).
func BenchmarkSize(b *testing.B) {
	const grants = 10_000
	for b.Loop() {
		h := newHarness(b)
		share(b, 64, grants, func(_, i int) error {
			l := newKeycloakLogin(h, i)
			if err := h.CreateGrant(b.Context(), l.NewGrant); err != nil {
				return err
			}
			_, _, err := h.RedeemCode(b.Context(), storage.Redeem{Hash: l.CodeHash, ClientID: testClient, Resource: testResource,
				Challenge: l.Code.Challenge, Memory: day, Event: storage.Event{Request: l.id, Address: "192.0.2.1"}})
			return err
		})
		b.ReportMetric(float64(h.Size())/grants, "B/grant")
	}
}

// BenchmarkMillion fills a file with a million grants and starts on it, as a deploy does (issue 4: ready within 1 s).
// One round is enough: -benchtime 1x.
func BenchmarkMillion(b *testing.B) {
	const grants, batch = 1_000_000, 10_000
	h := newHarness(b)
	h.opts.OnEvent, h.opts.OnEnd = nil, nil // they collect
	h.reopen()
	var ids []string
	for i := 0; i < grants; i += batch {
		var logins []storage.NewGrant
		for j := range batch {
			n := newKeycloakLogin(h, i+j).NewGrant
			n.Grant.ID = fmt.Sprintf("%026d", i+j) // in the order of the keys, or every batch would write the whole file
			binary.BigEndian.PutUint32(n.CodeHash[:], uint32(i+j))
			logins = append(logins, n)
			if j%(batch/50) == 0 {
				ids = append(ids, n.Grant.ID)
			}
		}
		h.must(h.CreateAll(logins))
	}
	size := h.Size()
	h.must(h.Close())
	b.ResetTimer()
	for round := uint32(1); b.Loop(); round++ {
		start := time.Now()
		h.Store = storagetest.Open(b, h.opts)
		h.must(h.Ready())
		_ = h.grant(ids[0])
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms-to-ready")
		start = time.Now()
		for _, id := range ids {
			_ = h.grant(id)
		}
		b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(len(ids)), "ns/Grant")
		start = time.Now()
		const clients = 16
		share(b, clients, len(ids), func(_, i int) error {
			_, row, _, err := h.RotateRefresh(b.Context(), h.present(ids[i-1], round))
			if err == nil && row != storage.RowCurrent {
				err = fmt.Errorf("row %d", row)
			}
			return err
		})
		b.ReportMetric(float64(len(ids))/time.Since(start).Seconds(), "refreshes/s")
		start = time.Now()
		h.must(h.Close())
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms-to-close")
	}
	b.ReportMetric(float64(size)/grants, "B/grant")
}

// BenchmarkExpiring counts a million grants whose tokens and sessions all expire within the longest span, for a scrape.
func BenchmarkExpiring(b *testing.B) {
	const grants = 1_000_000
	h := newHarness(b)
	h.must(h.Remind(grants))
	b.ReportAllocs()
	for b.Loop() {
		access, session, err := h.Expiring(h.Now(), time.Hour, day, 7*day)
		h.must(err)
		if access[2] != grants || session[2] != grants || access[0] != 7201 {
			b.Fatal(access, session)
		}
	}
}

// share runs n operations on a number of goroutines.
func share(b *testing.B, clients, n int, op func(client, i int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if err := op(client, int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func alice(i int) func(*storage.NewGrant) {
	return func(n *storage.NewGrant) { n.Grant.Subject = fmt.Sprintf("6b2f1c9e-3d47-4a51-8c0e-%012d", i) }
}

// newKeycloakLogin has tokens, subject and names as long as a real one's.
func newKeycloakLogin(h *harness, i int) login {
	id, code := rand.Text(), rand.Text()
	subject := fmt.Sprintf("6b2f1c9e-3d47-4a51-8c0e-%012d", i)
	n := storage.NewGrant{
		Grant: storage.Grant{ID: id, ClientID: testClient, ClientName: "Claude Code", ClientKind: storage.ClientRegistered, Subject: subject,
			Scope: oauth.Scope{"mcp"}, Resource: testResource, RedirectURI: "http://localhost:33418/callback", Sid: fmt.Sprintf("%x", sum(subject))},
		Key:      make([]byte, 32),
		Identity: storage.Identity{Subject: subject, Name: "Alice Example", PreferredUsername: "alice", Email: fmt.Sprintf("alice%d@example.com", i), Groups: []string{"sales"}},
		Upstream: storage.Upstream{Access: jwt(900), Refresh: jwt(520), TokenType: "Bearer",
			Scope: "openid offline_access", Expires: h.Now().Add(300e9), KeepaliveAt: h.Now().Add(day)},
		CodeHash: sum(code),
		Code: storage.Code{ClientID: testClient, RedirectURI: "http://localhost:33418/callback", Challenge: challenge(code), Resource: testResource,
			Expires: h.Now().Add(60e9)},
		Events: []storage.Event{{Reason: oauth.ConsentApproved, Request: id, Address: "192.0.2.1"}, {Reason: oauth.SignedIn, Request: id, Address: "192.0.2.1"}},
		Limits: h.limits, GrantsPerUser: 20,
	}
	return login{NewGrant: n, code: code, id: id}
}

// jwt has the shape and the length of a Keycloak token.
func jwt(payload int) oauth.Secret {
	part := func(n int) string {
		raw := make([]byte, n)
		rand.Read(raw)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	return oauth.Secret(part(60) + "." + part(payload-60-64) + "." + part(64))
}
