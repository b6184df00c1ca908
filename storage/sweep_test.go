package storage_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// TestSweepGrants: idle and age limits, by the last use that anybody knows of.
func TestSweepGrants(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	idle, busy, old := h.connect(alice(1)), h.connect(alice(2)), h.connect(alice(3))
	for month := range 12 {
		if month == 2 {
			h.wantEnded(idle.id, oauth.GrantIdle)
		}
		h.clock.Advance(29 * day)
		h.Use(busy.id, 1, h.Now())
		h.rotateOn(old.id)
		h.sweep(storage.SweepLimits{})
		h.check()
	}
	h.wantLiving(busy.id)
	h.wantLiving(old.id)
	h.clock.Advance(20 * day)
	h.sweep(storage.SweepLimits{})
	h.wantEnded(busy.id, oauth.GrantMaxAge)
	h.wantEnded(old.id, oauth.GrantMaxAge)
	h.check()
}

func (h *harness) rotateOn(id string) {
	h.Helper()
	if row, _ := h.rotate(id, h.grant(id).Gen); row != storage.RowCurrent {
		h.Errorf("row %d", row)
	}
}

// TestSweepIsBounded: a batch takes what it may, and says that there is more.
func TestSweepIsBounded(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for i := range 10 {
		h.create(alice(i))
	}
	h.clock.Advance(2 * time.Minute)
	more, err := h.Sweep(t.Context(), storage.SweepLimits{Batch: 4})
	if !more || err != nil {
		t.Fatalf("Sweep = %v, %v", more, err)
	}
	h.wantCounts(map[string]int64{"unclaimed": 6, "ended": 4})
	h.sweep(storage.SweepLimits{Batch: 4})
	h.wantCounts(map[string]int64{"ended": 10})
	h.check()
}

// TestSignIns: found by their cookie's hash until they expire or end.
func TestSignIns(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for i := range 3 {
		h.must(h.SaveSignIn(t.Context(), storage.SignIn{Hash: sum(fmt.Sprint(i)), Subject: "alice", Expires: h.Now().Add(8 * time.Hour),
			Identity: storage.Identity{Subject: "alice", Name: "Alice Secretname", Email: testEmail}}))
	}
	h.secrets = append(h.secrets, "Alice Secretname", testEmail)
	h.reopen()
	if in, err := h.SignIn(sum("0")); err != nil || in.Subject != "alice" || in.Identity.Name != "Alice Secretname" {
		t.Errorf("SignIn = %+v, %v", in, err)
	}
	h.must(h.EndSignIn(t.Context(), sum("1")))
	h.must(h.EndSignIn(t.Context(), sum("never")))
	if _, err := h.SignIn(sum("1")); err != storage.ErrNotFound {
		t.Errorf("an ended sign-in: %v", err)
	}
	h.check()
	h.clock.Advance(8*time.Hour + time.Second)
	if in, err := h.SignIn(sum("2")); err != storage.ErrExpired || in.Subject != "" {
		t.Errorf("an expired sign-in: %+v, %v", in, err)
	}
	h.sweep(storage.SweepLimits{})
	if _, err := h.SignIn(sum("2")); err != storage.ErrNotFound {
		t.Errorf("a swept sign-in: %v", err)
	}
	h.check()
}

// TestJournalCap: the first events and those of the end stay, whatever happens between (design.md §4).
func TestJournalCap(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(o *storage.Options) { o.Config = storage.DefaultConfig(); o.Config.EventsPerGrant = 16 })
	l := h.connect()
	h.must(h.FirstCall(t.Context(), l.id, storage.Event{}))
	for i := range 40 { // two kinds in turn, so that nothing is merged
		h.clock.Advance(time.Minute)
		_, err := h.FailUpstream(t.Context(), storage.FailedUpstream{GrantID: l.id, Reason: oauth.UpstreamError, Event: storage.Event{Note: fmt.Sprint(i)}})
		h.must(err)
		h.must(h.RecheckOK(t.Context(), l.id, time.Time{}, storage.Event{}))
	}
	h.check()
	h.end(l.id)
	for range 10 {
		h.must(h.UpstreamRevoked(t.Context(), l.id, false, storage.Event{Reason: oauth.UpstreamError}))
		h.must(h.UpstreamRevoked(t.Context(), l.id, false, storage.Event{Reason: oauth.UpstreamConfig}))
	}
	story := h.story(l.id)
	if len(story) != 16 || h.grant(l.id).Events != 16 {
		t.Errorf("%d events, want 16: %v", len(story), story)
	}
	if !slices.Equal(story[:3], []string{"signed_in", "code_redeemed", "first_call"}) || !slices.Contains(story, "user_revoked") {
		t.Errorf("funnel or end is missing: %v", story)
	}
	h.check()
}

// TestJournalMerge: a repetition is counted, and both its first and its last time are kept.
func TestJournalMerge(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	start := h.Now()
	for gen := uint32(1); gen <= 5; gen++ {
		h.clock.Advance(time.Hour)
		p := h.present(l.id, gen)
		p.Event = storage.Event{Request: fmt.Sprintf("req-%d", gen), Address: "192.0.2.7"}
		_, _, _, err := h.RotateRefresh(t.Context(), p)
		h.must(err)
	}
	events, err := h.Events(l.id)
	h.must(err)
	e := events[len(events)-1]
	if e.Reason != oauth.RefreshOK || e.Count != 5 || !e.At.Equal(start.Add(time.Hour)) || !e.Last.Equal(start.Add(5*time.Hour)) || e.Request != "req-5" ||
		e.Client != testClient || e.Grant != l.id || e.Address != "192.0.2.7" {
		t.Errorf("merged event: %+v", e)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.told); n != 7 || h.told[6].Request != "req-5" || h.told[6].Count != 1 {
		t.Errorf("OnEvent was told %d events, the last %+v", n, h.told[n-1])
	}
}

// TestJournalAge: what is older than events_ttl goes, but for the first events.
func TestJournalAge(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	for range 10 {
		_, err := h.FailUpstream(t.Context(), storage.FailedUpstream{GrantID: l.id, Reason: oauth.UpstreamError})
		h.must(err)
		h.must(h.RecheckOK(t.Context(), l.id, time.Time{}, storage.Event{}))
	}
	for range 4 {
		h.clock.Advance(29 * day)
		h.rotateOn(l.id)
		h.sweep(storage.SweepLimits{})
	}
	if story := h.story(l.id); len(story) != 9 || story[0] != "signed_in" || story[8] != "refresh_ok*4" {
		t.Errorf("after 116 days: %v", story)
	}
	h.check()
}
