package storage_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// wantTokens: a call gets exactly what the file has, but for the refresh token, however often it asks.
func (h *harness) wantTokens(id string, access oauth.Secret) {
	h.Helper()
	for range 2 { // out of the file, and out of memory
		g, u, err := h.Tokens(id)
		if err != nil || g.ID != id || u.GrantID != id || u.Access != access || u.Refresh != "" {
			h.Fatalf("Tokens = %v, %v, access token as stored: %v, %v", g.ID, u.GrantID, u.Access == access, err)
		}
		full := h.upstream(id)
		if full.Refresh == "" || full.Access != access {
			h.Error("Upstream lost its tokens to a memory")
		}
	}
}

// TestTokens: what is remembered follows every change of the file at once, and says nothing of an ended grant.
func TestTokens(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l, other := h.connect(), h.connect(alice(1))
	h.wantTokens(l.id, l.Upstream.Access)
	h.wantTokens(other.id, other.Upstream.Access)
	for gen := uint32(1); gen < 30; gen++ {
		a := h.answer(l.id, gen)
		name := fmt.Sprint("Alice ", gen)
		a.Identity = &storage.Identity{Subject: "alice", Name: name}
		h.must(h.SaveUpstream(t.Context(), a))
		h.wantTokens(l.id, a.Upstream.Access)
		if i, err := h.Identity(l.id); err != nil || i.Name != name {
			t.Errorf("claims %q, %v", i.Name, err)
		}
	}
	if _, _, bytes := h.Opened(); bytes > 2000 { // three records
		t.Errorf("%d bytes in memory", bytes)
	}
	u := h.upstream(l.id)
	h.must(h.RotateData(t.Context(), nil))
	h.wantTokens(l.id, u.Access)
	if _, _, err := h.Tokens("nobody"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
	h.end(l.id)
	if g, u, err := h.Tokens(l.id); err != nil || g.Ended == "" || u.Access != "" {
		t.Errorf("of an ended grant: %q, a token: %v, %v", g.Ended, u.Access != "", err)
	}
	if upstreams, _, _ := h.Opened(); upstreams != 1 {
		t.Errorf("%d tokens in memory, one grant lives", upstreams)
	}
	h.wantTokens(other.id, other.Upstream.Access)
}

// TestTokensSwapped: a record in another's place is no record, whatever is remembered of either.
func TestTokensSwapped(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	mallory, victim := h.connect(), h.connect(alice(1))
	for _, l := range []login{mallory, victim} {
		h.wantTokens(l.id, l.Upstream.Access)
		_, err := h.Identity(l.id)
		h.must(err)
	}
	h.must(h.Swap(victim.id, mallory.id))
	if _, u, err := h.Tokens(mallory.id); !errors.Is(err, storage.ErrUnavailable) || u.Access != "" {
		t.Errorf("Tokens: a token: %v, %v", u.Access != "", err)
	}
	if i, err := h.Identity(mallory.id); !errors.Is(err, storage.ErrUnavailable) || i.Name != "" {
		t.Errorf("Identity: %q, %v", i.Name, err)
	}
	h.wantTokens(victim.id, victim.Upstream.Access)
}

// TestTokensBounded: memory has a bound, whatever size the tokens have.
func TestTokensBounded(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const grants, size = 60, 100_000
	for i := range grants {
		l := h.connect(alice(i), func(n *storage.NewGrant) {
			n.Upstream.Access = oauth.Secret(make([]byte, size))
			n.Identity.Claims = []byte(`"` + string(make([]byte, size)) + `"`)
		})
		h.wantTokens(l.id, l.Upstream.Access)
		_, err := h.Identity(l.id)
		h.must(err)
	}
	if upstreams, identities, bytes := h.Opened(); bytes > 8<<20 || upstreams < 30 || identities < 30 || upstreams == grants {
		t.Errorf("%d tokens, %d identities, %d bytes", upstreams, identities, bytes)
	}
}

// TestTokensUnderChange: who asks after an answer was stored gets that answer, never one from before.
func TestTokensUnderChange(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	var mu sync.Mutex
	stored := uint32(1)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				mu.Lock()
				least := stored
				mu.Unlock()
				_, u, err := h.Tokens(l.id)
				if err != nil || u.Gen < least {
					t.Errorf("generation %d was stored, %d came, %v", least, u.Gen, err)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for gen := uint32(1); gen < 50; gen++ {
		h.must(h.SaveUpstream(t.Context(), h.answer(l.id, gen)))
		mu.Lock()
		stored = gen + 1
		mu.Unlock()
	}
	close(done)
	wg.Wait()
}
