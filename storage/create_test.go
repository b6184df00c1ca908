package storage_test

import (
	"testing"
	"time"

	"hostedmcp/storage"
)

// TestEvict holds protocol.md §9 `grants_per_user`: it is of one client and one user; who never claimed his grant goes
// first, then who has not used it for longest; no more go than must.
func TestEvict(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	atMost3 := func(n *storage.NewGrant) { n.GrantsPerUser = 3 }
	otherClient := func(n *storage.NewGrant) { n.Grant.ClientID, n.Code.ClientID = "other", "other" }
	bob := h.connect(alice(2), atMost3)
	var others []string
	for range 3 {
		others = append(others, h.connect(alice(1), atMost3, otherClient).id)
	}
	living := func(ids ...string) {
		for _, id := range ids {
			h.wantLiving(id)
		}
	}
	var mine []string
	connect := func() {
		h.clock.Advance(time.Minute)
		mine = append(mine, h.connect(alice(1), atMost3).id)
	}
	connect()
	h.clock.Advance(time.Minute)
	unclaimed := h.create(alice(1), atMost3).id
	connect()
	living(append(append(mine, others...), unclaimed, bob.id)...)
	connect() // a fourth
	h.wantEnded(unclaimed, "grant_evicted")
	living(append(append(mine, others...), bob.id)...)
	h.clock.Advance(time.Minute)
	h.Use(mine[0], 1, h.Now())
	connect()
	h.wantEnded(mine[1], "grant_evicted")
	living(append(others, mine[0], mine[2], mine[3], bob.id)...)
	for i := range 3 { // who has nothing else
		h.wantLiving(bob.id)
		h.clock.Advance(time.Duration(i+1) * time.Minute)
		h.connect(alice(2), atMost3)
	}
	h.wantEnded(bob.id, "grant_evicted")
	h.check()
}
