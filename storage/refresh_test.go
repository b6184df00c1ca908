package storage_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// TestTimelines are those of protocol.md §5.3, step by step. R5 is the token of generation 5, A6 the access token of 6.
func TestTimelines(t *testing.T) {
	t.Parallel()
	type step struct {
		at   time.Duration // since t0
		do   string        // R5: present it; A6: use its access token
		row  storage.Row
		gets uint32 // generation of the token handed out
	}
	for _, line := range []struct {
		name  string
		steps []step
		ended bool
	}{
		{"answer lost, retried, used, retried in the window, then reused", []step{
			{0, "R5", 5, 6}, {30 * time.Second, "R5", 6, 6}, {31 * time.Second, "A6", 0, 0}, {45 * time.Second, "R5", 6, 6},
			{90 * time.Second, "R5", 7, 0}}, true},
		{"two processes share a token, one of them busy", []step{
			{0, "R5", 5, 6}, {time.Second, "A6", 0, 0}, {30 * time.Second, "R5", 6, 6}, {time.Hour, "R6", 5, 7}}, false},
		{"two processes share a token, both idle", []step{{0, "R5", 5, 6}, {2 * time.Minute, "R5", 6, 6}}, false},
		{"answer lost, lid closed", []step{{0, "R5", 5, 6}, {8 * time.Hour, "R5", 6, 6}, {9 * time.Hour, "R6", 5, 7}}, false},
		{"thief after the victim went on", []step{{0, "R5", 5, 6}, {time.Second, "A6", 0, 0}, {10 * time.Minute, "R5", 7, 0}}, true},
		{"thief before the victim", []step{
			{0, "R5", 5, 6}, {10 * time.Minute, "R5", 6, 6}, {11 * time.Minute, "A6", 0, 0}, {time.Hour, "R6", 5, 7},
			{time.Hour + time.Second, "A7", 0, 0}, {time.Hour + 2*time.Minute, "R6", 7, 0}}, true},
		{"two generations old (django-oauth-toolkit #1617)", []step{
			{0, "R5", 5, 6}, {5 * time.Second, "R6", 5, 7}, {6 * time.Second, "R5", 8, 0}}, true},
		{"the window's last second", []step{{0, "R5", 5, 6}, {0, "A6", 0, 0}, {time.Minute, "R5", 6, 6}}, false},
		{"the window's first second after", []step{{0, "R5", 5, 6}, {0, "A6", 0, 0}, {time.Minute + time.Second, "R5", 7, 0}}, true},
		{"an old access token is no use of the new generation", []step{{0, "R5", 5, 6}, {0, "A5", 0, 0}, {time.Hour, "R5", 6, 6}}, false},
	} {
		t.Run(line.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			l := h.connect()
			for gen := uint32(1); gen < 5; gen++ {
				h.rotate(l.id, gen)
			}
			start := h.Now()
			for _, s := range line.steps {
				h.clock.Advance(s.at - h.Now().Sub(start))
				var kind rune
				var gen uint32
				fmt.Sscanf(s.do, "%c%d", &kind, &gen)
				if kind == 'A' {
					h.Use(l.id, gen, h.Now())
					continue
				}
				if row, gets := h.rotate(l.id, gen); row != s.row || gets != s.gets {
					t.Fatalf("at %s %s: row %d, R%d; want row %d, R%d", s.at, s.do, row, gets, s.row, s.gets)
				}
			}
			if line.ended {
				h.wantEnded(l.id, oauth.RefreshReuse)
			} else {
				h.wantLiving(l.id)
			}
			h.check()
		})
	}
}

// TestRows is the refresh table itself: who is told what, and whether it happened.
func TestRows(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		prepare func(*harness, *storage.Presented)
		row     storage.Row
		reason  oauth.Reason
		ended   oauth.Reason
		gen     uint32 // of the grant afterwards
	}{
		{"1 unknown grant", func(h *harness, p *storage.Presented) { p.GrantID = "unknown" }, 1, oauth.RefreshInvalid, "", 3},
		{"1 empty id", func(h *harness, p *storage.Presented) { p.GrantID = "" }, 1, oauth.RefreshInvalid, "", 3},
		{"2 ended", func(h *harness, p *storage.Presented) { h.end(p.GrantID) }, 2, oauth.GrantEnded, oauth.UserRevoked, 3},
		{"2 before 3", func(h *harness, p *storage.Presented) { h.end(p.GrantID); p.ClientID = "other" }, 2, oauth.GrantEnded, oauth.UserRevoked, 3},
		{"3 other client", func(h *harness, p *storage.Presented) { p.ClientID = "other" }, 3, oauth.RefreshWrongClient, "", 3},
		{"3 other client, reused token", func(h *harness, p *storage.Presented) { p.ClientID = "other"; p.Gen = 1 }, 3, oauth.RefreshWrongClient, "", 3},
		{"4 idle", func(h *harness, p *storage.Presented) { h.clock.Advance(30*day + time.Second) }, 4, oauth.GrantIdle, oauth.GrantIdle, 3},
		{"4 age", func(h *harness, p *storage.Presented) { h.clock.Advance(10 * day); p.Limits.MaxAge = 9 * day }, 4, oauth.GrantMaxAge, oauth.GrantMaxAge, 3},
		{"4 before 8", func(h *harness, p *storage.Presented) { h.clock.Advance(31 * day); p.Gen = 1 }, 4, oauth.GrantIdle, oauth.GrantIdle, 3},
		{"4 not while calls keep it", func(h *harness, p *storage.Presented) {
			h.clock.Advance(29 * day)
			h.Use(p.GrantID, 3, h.Now())
			h.clock.Advance(29 * day)
		}, 5, oauth.RefreshOK, "", 4},
		{"4 no limits", func(h *harness, p *storage.Presented) { h.clock.Advance(900 * day); p.Limits = storage.Limits{} }, 5, oauth.RefreshOK, "", 4},
		{"5", func(*harness, *storage.Presented) {}, 5, oauth.RefreshOK, "", 4},
		{"5 in an outage", func(h *harness, p *storage.Presented) { p.Event.Reason = oauth.RefreshOutage }, 5, oauth.RefreshOutage, "", 4},
		{"6", func(h *harness, p *storage.Presented) { p.Gen = 2 }, 6, oauth.RefreshSame, "", 3},
		{"7", func(h *harness, p *storage.Presented) {
			h.Use(p.GrantID, 3, h.Now())
			h.clock.Advance(2 * time.Minute)
			p.Gen = 2
		}, 7, oauth.RefreshReuse, oauth.RefreshReuse, 3},
		{"8", func(h *harness, p *storage.Presented) { p.Gen = 1 }, 8, oauth.RefreshReuse, oauth.RefreshReuse, 3},
		{"9", func(h *harness, p *storage.Presented) { p.Gen = 9 }, 9, oauth.RefreshAhead, "", 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.register(testClient)
			l := h.connect()
			h.rotate(l.id, 1)
			h.rotate(l.id, 2)
			p := h.present(l.id, 3)
			row.prepare(h, &p)
			_, judged, _, err := h.JudgeRefresh(p)
			h.must(err)
			_, got, reason, err := h.RotateRefresh(t.Context(), p)
			h.must(err)
			if judged != row.row || got != row.row || reason != row.reason {
				t.Errorf("judged row %d, did row %d %s; want %d %s", judged, got, reason, row.row, row.reason)
			}
			if g := h.grant(l.id); g.Ended != row.ended || g.Gen != row.gen {
				t.Errorf("grant is at %d, ended %q; want %d, %q", g.Gen, g.Ended, row.gen, row.ended)
			}
			h.check()
		})
	}
}

func (h *harness) end(id string) {
	h.Helper()
	ended, err := h.EndGrant(h.Context(), id, oauth.UserRevoked, storage.Event{})
	h.must(err)
	if !ended {
		h.Error("grant had ended before")
	}
}

// TestParallelRefresh: one rotation, whatever the number of callers (protocol.md §5.3, fourth timeline).
func TestParallelRefresh(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	rows := make(chan storage.Row, 100)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			row, gen := h.rotate(l.id, 1)
			if gen != 2 {
				t.Errorf("row %d hands out generation %d", row, gen)
			}
			rows <- row
		})
	}
	wg.Wait()
	close(rows)
	count := map[storage.Row]int{}
	for row := range rows {
		count[row]++
	}
	if count[storage.RowCurrent] != 1 || count[storage.RowPrevious] != 99 {
		t.Errorf("rows %v, want one of 5 and 99 of 6", count)
	}
	h.wantStory(l.id, "signed_in", "code_redeemed", "refresh_ok")
}

// TestUseSurvivesWhatItMust: a clean stop keeps the use; a crash loses it and errs to unused, so that nobody who
// retries is taken for a thief.
func TestUseSurvivesWhatItMust(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	h.rotate(l.id, 1)
	h.Use(l.id, 2, h.Now())
	h.must(h.FlushUse(t.Context()))
	h.reopen()
	h.clock.Advance(time.Hour)
	if row, _ := h.rotate(l.id, 1); row != storage.RowReuse {
		t.Errorf("after a flush: row %d, want 7", row)
	}
}

// TestRowSixKeepsTheGrantFromIdling: whoever retries for weeks is there.
func TestRowSixKeepsTheGrantFromIdling(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	h.rotate(l.id, 1)
	for range 3 {
		h.clock.Advance(20 * day)
		if row, _ := h.rotate(l.id, 1); row != storage.RowPrevious {
			t.Fatalf("row %d, want 6", row)
		}
	}
	if h.grant(l.id).Used {
		t.Error("a retry counts as use of the access token")
	}
}

// TestAdoptAhead is row 9: the store is older than its clients.
func TestAdoptAhead(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	g, err := h.AdoptAhead(t.Context(), h.present(l.id, 7))
	h.must(err)
	if g.Gen != 7 || !h.upstream(l.id).InDoubt || g.State != storage.StateInDoubt {
		t.Errorf("adopted %+v", g)
	}
	again, err := h.AdoptAhead(t.Context(), h.present(l.id, 7))
	h.must(err)
	if again.Gen != 7 {
		t.Errorf("adopting again moves to %d", again.Gen)
	}
	if g, _ := h.AdoptAhead(t.Context(), storage.Presented{GrantID: l.id, Gen: 9, ClientID: "other"}); g.Gen != 7 {
		t.Errorf("another client moves the generation to %d", g.Gen)
	}
	if row, gen := h.rotate(l.id, 7); row != storage.RowCurrent || gen != 8 {
		t.Errorf("then row %d, generation %d; want 5, 8", row, gen)
	}
	h.wantStory(l.id, "signed_in", "code_redeemed", "refresh_ahead", "refresh_ok")
	h.check()
	h.end(l.id)
	if _, err := h.AdoptAhead(t.Context(), h.present(l.id, 20)); err != storage.ErrEnded {
		t.Errorf("an ended grant: %v", err)
	}
}

// TestRevocationBeatsRefresh: after EndGrant has answered, no racing refresh succeeds (protocol.md §6).
func TestRevocationBeatsRefresh(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for range 20 {
		l := h.connect()
		var wg sync.WaitGroup
		ended := make(chan struct{})
		for range 8 {
			wg.Go(func() {
				for gen := uint32(1); ; {
					_, done := <-pending(ended)
					row, next := h.rotate(l.id, gen)
					if row == storage.RowEnded {
						return
					}
					if done {
						t.Errorf("row %d after the end", row)
						return
					}
					gen = max(next, gen)
				}
			})
		}
		h.end(l.id)
		close(ended)
		wg.Wait()
	}
}

// pending yields true once ended is closed.
func pending(ended chan struct{}) <-chan struct{} {
	select {
	case <-ended:
		c := make(chan struct{}, 1)
		c <- struct{}{}
		return c
	default:
		c := make(chan struct{})
		close(c)
		return c
	}
}
