package storage_test

import (
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// TestLife walks the life of doc.go, with a restart after every step.
func TestLife(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	ctx := t.Context()
	step := func() { h.check(); h.reopen(); h.check() }

	h.register(testClient)
	step()
	request := h.newRequest()
	h.must(h.Approve(ctx, request, storage.ApproveLimits{}))
	step()
	taken, err := h.TakeRequest(ctx, request.ID, request.StateHash, request.BindHash)
	h.must(err)
	step()
	l := h.create(func(n *storage.NewGrant) { n.Events = append(taken.Events, n.Events...) })
	h.wantCounts(map[string]int64{"unclaimed": 1})
	step()
	g, verdict, err := h.RedeemCode(ctx, l.redeem())
	if verdict != "" || err != nil || g.Gen != 1 || !g.Redeemed {
		t.Fatalf("RedeemCode = %+v, %q, %v", g, verdict, err)
	}
	h.wantCounts(map[string]int64{"working": 1})
	step()
	h.must(h.FirstCall(ctx, l.id, storage.Event{Request: "req-call"}))
	h.must(h.FirstCall(ctx, l.id, storage.Event{Request: "req-call-2"}))
	h.Use(l.id, 1, h.Now())
	step()
	if !h.grant(l.id).Used {
		t.Error("the use was lost by a clean stop")
	}
	u, err := h.BeginUpstream(ctx, l.id, 1, storage.Intent{Attempt: "a1"})
	h.must(err)
	if u.Refresh != l.Upstream.Refresh || u.Intent == nil || u.Intent.Boot != h.Boot() {
		t.Errorf("BeginUpstream = %+v", u)
	}
	h.must(h.SaveUpstream(ctx, storage.SavedUpstream{GrantID: l.id, Gen: 1,
		Upstream: storage.Upstream{Access: h.secret(), Refresh: h.secret(), Expires: h.Now().Add(5 * time.Minute)}}))
	step()
	if row, gen := h.rotate(l.id, 1); row != storage.RowCurrent || gen != 2 {
		t.Errorf("rotate = row %d, generation %d", row, gen)
	}
	step()
	ended, err := h.EndGrant(ctx, l.id, oauth.UserRevoked, storage.Event{Request: "req-end"})
	if !ended || err != nil {
		t.Fatalf("EndGrant = %v, %v", ended, err)
	}
	h.wantCounts(map[string]int64{"ended": 1})
	step()
	h.wantStory(l.id, "consent_approved", "signed_in", "code_redeemed", "first_call", "refresh_ok", "user_revoked")
	if key, err := h.GrantKey(l.id); err != nil || !sameKey(key, l.Key) {
		t.Errorf("the tombstone lost its family key: %v", err)
	}
	h.must(h.UpstreamRevoked(ctx, l.id, true, storage.Event{}))
	step()
	h.clock.Advance(91 * day)
	h.sweep(storage.SweepLimits{})
	step()
	if _, err := h.Grant(l.id); err != storage.ErrNotFound {
		t.Errorf("after its tombstone: %v", err)
	}
	h.wantCounts(map[string]int64{})
	if len(h.told) != 6 {
		t.Errorf("OnEvent was told %d events, want 6: %v", len(h.told), h.told)
	}
}
