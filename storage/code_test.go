package storage_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// TestRedeemCode is protocol.md §5.2: what is compared, and that a refusal consumes nothing.
func TestRedeemCode(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		change  func(*harness, *storage.Redeem)
		verdict oauth.Reason
		still   oauth.Reason // verdict of the right presentation afterwards
	}{
		{"right", func(*harness, *storage.Redeem) {}, "", oauth.CodeReplay},
		{"redirect_uri absent [C6]", func(_ *harness, r *storage.Redeem) { r.RedirectURI = "" }, "", oauth.CodeReplay},
		{"unknown code", func(_ *harness, r *storage.Redeem) { r.Hash = sum("x") }, oauth.CodeInvalid, ""},
		{"other client", func(_ *harness, r *storage.Redeem) { r.ClientID = "other" }, oauth.CodeInvalid, ""},
		{"no client", func(_ *harness, r *storage.Redeem) { r.ClientID = "" }, oauth.CodeInvalid, ""},
		{"other redirect_uri", func(_ *harness, r *storage.Redeem) { r.RedirectURI += "x" }, oauth.CodeInvalid, ""},
		{"other port", func(_ *harness, r *storage.Redeem) { r.RedirectURI = "http://127.0.0.1:40000/" }, oauth.CodeInvalid, ""},
		{"other verifier", func(_ *harness, r *storage.Redeem) { r.Challenge = challenge("x") }, oauth.PKCEFailed, ""},
		{"no verifier", func(_ *harness, r *storage.Redeem) { r.Challenge = "" }, oauth.PKCEFailed, ""},
		{"other resource", func(_ *harness, r *storage.Redeem) { r.Resource = "https://other.example/mcp" }, oauth.TargetInvalid, ""},
		{"client before verifier", func(_ *harness, r *storage.Redeem) { r.ClientID, r.Challenge = "other", "x" }, oauth.CodeInvalid, ""},
		{"too old", func(h *harness, _ *storage.Redeem) { h.clock.Advance(61 * time.Second) }, oauth.CodeExpired, oauth.CodeExpired},
		{"grant ended meanwhile", func(h *harness, _ *storage.Redeem) {
			_, err := h.EndSubject(h.Context(), "alice", oauth.AdminRevoked, storage.Event{})
			h.must(err)
		}, oauth.GrantEnded, oauth.GrantEnded},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.register(testClient)
			l := h.create()
			r := l.redeem()
			row.change(h, &r)
			g, verdict, err := h.RedeemCode(t.Context(), r)
			h.must(err)
			if verdict != row.verdict || verdict == "" && (g.Gen != 1 || !g.Redeemed) {
				t.Fatalf("RedeemCode = generation %d, %q; want %q", g.Gen, verdict, row.verdict)
			}
			h.check()
			if _, verdict, err = h.RedeemCode(t.Context(), l.redeem()); err != nil || verdict != row.still {
				t.Errorf("then, all right: %q, %v; want %q", verdict, err, row.still)
			}
			h.check()
		})
	}
}

// TestCodeReplay: a redeemed code ends the grant only when everything that is secret is right with it.
func TestCodeReplay(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		change  func(*harness, *storage.Redeem)
		verdict oauth.Reason
		ended   oauth.Reason
	}{
		{"all right", func(*harness, *storage.Redeem) {}, oauth.CodeReplay, oauth.CodeReplay},
		{"redirect_uri absent", func(_ *harness, r *storage.Redeem) { r.RedirectURI = "" }, oauth.CodeReplay, oauth.CodeReplay},
		{"other resource", func(_ *harness, r *storage.Redeem) { r.Resource = "x" }, oauth.CodeReplay, oauth.CodeReplay},
		{"after its life", func(h *harness, _ *storage.Redeem) { h.clock.Advance(time.Hour) }, oauth.CodeReplay, oauth.CodeReplay},
		{"other client", func(_ *harness, r *storage.Redeem) { r.ClientID = "x" }, oauth.CodeInvalid, ""},
		{"other redirect_uri", func(_ *harness, r *storage.Redeem) { r.RedirectURI = "x" }, oauth.CodeInvalid, ""},
		{"other verifier", func(_ *harness, r *storage.Redeem) { r.Challenge = "x" }, oauth.PKCEFailed, ""},
		{"after code_memory", func(h *harness, _ *storage.Redeem) { h.clock.Advance(day + time.Second) }, oauth.CodeInvalid, ""},
		{"after code_memory, swept", func(h *harness, _ *storage.Redeem) {
			h.clock.Advance(day + time.Second)
			h.sweep(storage.SweepLimits{})
		}, oauth.CodeInvalid, ""},
		{"swept at the end of its life, remembered", func(h *harness, _ *storage.Redeem) {
			h.clock.Advance(time.Hour)
			h.sweep(storage.SweepLimits{})
		}, oauth.CodeReplay, oauth.CodeReplay},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			l := h.connect()
			r := l.redeem()
			row.change(h, &r)
			_, verdict, err := h.RedeemCode(t.Context(), r)
			h.must(err)
			if verdict != row.verdict || h.grant(l.id).Ended != row.ended {
				t.Errorf("verdict %q, ended %q; want %q, %q", verdict, h.grant(l.id).Ended, row.verdict, row.ended)
			}
			h.check()
		})
	}
}

// TestEmptyNeverMatches: what is missing on both sides is not equal (style.md, rule 13).
func TestEmptyNeverMatches(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.create(func(n *storage.NewGrant) { n.Code.Challenge = "" })
	r := l.redeem()
	r.Challenge = ""
	if _, verdict, err := h.RedeemCode(t.Context(), r); verdict != oauth.PKCEFailed || err != nil {
		t.Errorf("RedeemCode without challenge and verifier = %q, %v; want pkce_failed", verdict, err)
	}
}

// TestOneRedemption: of many presentations at once one is the first, and the others end what it made.
func TestOneRedemption(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.create()
	var first, replay atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			switch _, verdict, err := h.RedeemCode(t.Context(), l.redeem()); {
			case err != nil:
				t.Error(err)
			case verdict == "":
				first.Add(1)
			case verdict == oauth.CodeReplay:
				replay.Add(1)
			}
		})
	}
	wg.Wait()
	if first.Load() != 1 || replay.Load() != 15 {
		t.Errorf("%d redemptions, %d replays; want 1, 15", first.Load(), replay.Load())
	}
	h.wantEnded(l.id, oauth.CodeReplay)
	h.wantStory(l.id, "signed_in", "code_redeemed", "code_replay")
}

// TestUnclaimed: a grant whose code ran out ends, one whose code was redeemed does not (protocol.md §5.2).
func TestUnclaimed(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	unclaimed := h.create()
	claimed := h.connect(alice(2))
	h.clock.Advance(2 * time.Minute)
	h.sweep(storage.SweepLimits{})
	h.wantEnded(unclaimed.id, oauth.LoginUnclaimed)
	h.wantLiving(claimed.id)
	if _, err := h.Code(unclaimed.CodeHash); err != storage.ErrNotFound {
		t.Errorf("the code of an unclaimed login is kept: %v", err)
	}
	if code, err := h.Code(claimed.CodeHash); err != nil || code.GrantID != claimed.id || code.Redeemed.IsZero() {
		t.Errorf("the redeemed code: %+v, %v", code, err)
	}
	h.check()
}
