package storage_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
	"hostedmcp/storage/storagetest"
)

// harness is a store on a hand-moved clock, with what it told and which secrets it was given.
type harness struct {
	testing.TB
	*storage.Store
	clock   *storagetest.Clock
	opts    storage.Options
	limits  storage.Limits
	secrets []string

	mu    sync.Mutex
	told  []storage.Event
	ended map[string]oauth.Reason
}

func newHarness(tb testing.TB, opts ...func(*storage.Options)) *harness {
	tb.Helper()
	h := &harness{TB: tb, clock: storagetest.NewClock(), ended: map[string]oauth.Reason{},
		limits: storage.Limits{Idle: 30 * day, MaxAge: 365 * day, RetryWindow: time.Minute}}
	h.opts = storage.Options{Dir: tb.TempDir(), Issuer: storagetest.Issuer, Log: slog.New(slog.DiscardHandler)}
	h.clock.Use(&h.opts)
	h.opts.OnEvent = func(e storage.Event) { h.mu.Lock(); defer h.mu.Unlock(); h.told = append(h.told, e) }
	h.opts.OnEnd = func(id string, r oauth.Reason) { h.mu.Lock(); defer h.mu.Unlock(); h.ended[id] = r }
	for _, opt := range opts {
		opt(&h.opts)
	}
	h.Store = storagetest.Open(tb, h.opts)
	return h
}

const day = 24 * time.Hour

// reopen closes the store and opens it again, as a deploy does.
func (h *harness) reopen() {
	h.Helper()
	h.must(h.Close())
	h.Store = storagetest.Open(h.TB, h.opts)
}

// check re-verifies every invariant and that no secret lies in clear.
func (h *harness) check() {
	h.Helper()
	storagetest.Check(h.TB, h.Store, h.secrets...)
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// secret makes a credential that must never be seen in the file.
func (h *harness) secret() oauth.Secret {
	s := rand.Text()
	h.secrets = append(h.secrets, s)
	return oauth.Secret(s)
}

func sum(s string) [32]byte { return sha256.Sum256([]byte(s)) }

const (
	testClient   = "hmcp_ci_0123456789abcdefghijkl"
	testRedirect = "http://127.0.0.1:33418/"
	testResource = storagetest.Issuer + "/mcp"
	testEmail    = "Alice@Example.com"
)

// login is one login's parts.
type login struct {
	storage.NewGrant
	code, verifier string
	id             string
}

// newLogin prepares a login of alice with the test's client.
func (h *harness) newLogin(change ...func(*storage.NewGrant)) login {
	id, code, verifier := rand.Text(), string(h.secret()), string(h.secret())
	key := make([]byte, 32)
	rand.Read(key)
	h.secrets = append(h.secrets, string(key), "Alice Secretname", testEmail)
	n := storage.NewGrant{
		Grant: storage.Grant{ID: id, ClientID: testClient, ClientName: "Claude", ClientKind: storage.ClientRegistered, Subject: "alice",
			Scope: oauth.Scope{"mcp", "crm.read"}, Resource: testResource, RedirectURI: testRedirect, Sid: fmt.Sprintf("%x", sum("sid1"))},
		Key: key,
		Identity: storage.Identity{Subject: "alice", Name: "Alice Secretname", PreferredUsername: "alice", Email: testEmail, EmailVerified: true,
			Groups: []string{"sales"}, Claims: json.RawMessage(`{"groups":["sales"]}`)},
		Upstream: storage.Upstream{Access: h.secret(), Refresh: h.secret(), TokenType: "Bearer", Scope: "openid",
			Expires: h.Now().Add(5 * time.Minute), RefreshExpires: h.Now().Add(40 * day), KeepaliveAt: h.Now().Add(day)},
		CodeHash: sum(code),
		Code: storage.Code{ClientID: testClient, RedirectURI: testRedirect, Challenge: challenge(verifier), Resource: testResource,
			Expires: h.Now().Add(time.Minute)},
		Events:        []storage.Event{{Reason: oauth.SignedIn, Request: "req-signin", Address: "192.0.2.1"}},
		GrantsPerUser: 20, Limits: h.limits,
	}
	for _, c := range change {
		c(&n)
	}
	return login{n, code, verifier, n.Grant.ID}
}

func challenge(verifier string) string { h := sum(verifier); return fmt.Sprintf("%x", h) }

// create stores a login.
func (h *harness) create(change ...func(*storage.NewGrant)) login {
	h.Helper()
	l := h.newLogin(change...)
	h.must(h.CreateGrant(h.Context(), l.NewGrant))
	return l
}

func (l login) redeem() storage.Redeem {
	return storage.Redeem{Hash: l.CodeHash, ClientID: l.Code.ClientID, RedirectURI: l.Code.RedirectURI, Resource: l.Code.Resource,
		Challenge: challenge(l.verifier), Memory: day, Event: storage.Event{Request: "req-token"}}
}

// connect makes a grant at generation 1.
func (h *harness) connect(change ...func(*storage.NewGrant)) login {
	h.Helper()
	l := h.create(change...)
	_, verdict, err := h.RedeemCode(h.Context(), l.redeem())
	if verdict != "" || err != nil {
		h.Fatalf("RedeemCode = %q, %v", verdict, err)
	}
	return l
}

func (h *harness) register(id string) {
	h.Helper()
	_, err := h.RegisterClient(h.Context(), storage.Client{ID: id, Kind: storage.ClientRegistered, Name: "Claude", RedirectURIs: []string{testRedirect}},
		storage.RegisterLimits{Max: 10, MinAge: time.Hour})
	h.must(err)
}

func (h *harness) present(id string, gen uint32) storage.Presented {
	return storage.Presented{GrantID: id, Gen: gen, ClientID: testClient, Limits: h.limits, Event: storage.Event{Request: "req-refresh"}}
}

// rotate presents a refresh token and returns the row and the generation that the client gets, 0 for none.
func (h *harness) rotate(id string, gen uint32) (storage.Row, uint32) {
	h.Helper()
	g, row, _, err := h.RotateRefresh(h.Context(), h.present(id, gen))
	h.must(err)
	if row == storage.RowCurrent || row == storage.RowPrevious {
		return row, g.Gen
	}
	return row, 0
}

// story is the journal of a grant, reasons only; a merged event shows its count.
func (h *harness) story(id string) []string {
	h.Helper()
	events, err := h.Events(id)
	h.must(err)
	var out []string
	for _, e := range events {
		s := string(e.Reason)
		if e.Count > 1 {
			s += fmt.Sprintf("*%d", e.Count)
		}
		out = append(out, s)
	}
	return out
}

func (h *harness) wantStory(id string, want ...string) {
	h.Helper()
	if got := h.story(id); !slices.Equal(got, want) {
		h.Errorf("journal is %v, want %v", got, want)
	}
}

func (h *harness) grant(id string) storage.Grant {
	h.Helper()
	g, err := h.Grant(id)
	h.must(err)
	return g
}

func (h *harness) upstream(id string) storage.Upstream {
	h.Helper()
	u, err := h.Upstream(id)
	h.must(err)
	return u
}

func (h *harness) sweep(limits storage.SweepLimits) {
	h.Helper()
	if limits.Limits == (storage.Limits{}) {
		limits.Limits = h.limits
	}
	for range 100 {
		more, err := h.Sweep(h.Context(), limits)
		h.must(err)
		if !more {
			return
		}
	}
	h.Fatal("the sweep finds no end")
}

func (h *harness) wantEnded(id string, reason oauth.Reason) {
	h.Helper()
	if g := h.grant(id); g.Ended != reason || g.EndedAt.IsZero() || g.State != storage.StateEnded {
		h.Errorf("grant ended %q in state %s, want %q", g.Ended, g.State, reason)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended[id] != reason {
		h.Errorf("OnEnd was told %q, want %q", h.ended[id], reason)
	}
}

func (h *harness) wantLiving(id string) {
	h.Helper()
	if g := h.grant(id); !g.Living() {
		h.Errorf("grant ended: %s", g.Ended)
	}
}

func (h *harness) wantCounts(want map[string]int64) {
	h.Helper()
	got, err := h.Counts()
	h.must(err)
	for state, n := range got {
		if n != want[state] {
			h.Errorf("grants %s: %d, want %d", state, n, want[state])
		}
	}
}

func sameKey(a, b []byte) bool { return len(a) == 32 && bytes.Equal(a, b) }
