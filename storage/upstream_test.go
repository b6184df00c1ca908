package storage_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

func (h *harness) answer(id string, gen uint32) storage.SavedUpstream {
	return storage.SavedUpstream{GrantID: id, Gen: gen, KeepaliveAt: h.Now().Add(day), Upstream: storage.Upstream{
		Access: h.secret(), Refresh: h.secret(), TokenType: "Bearer", Expires: h.Now().Add(5 * time.Minute), RefreshExpires: h.Now().Add(40 * day)}}
}

// TestSaveUpstream is protocol.md §8.1 rule 5: compare-and-swap, and what a good answer puts right.
func TestSaveUpstream(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	_, err := h.FailUpstream(t.Context(), storage.FailedUpstream{GrantID: l.id, Gen: 1, Reason: oauth.UpstreamInDoubt, InDoubt: true, Suspect: true})
	h.must(err)
	h.wantCounts(map[string]int64{"in_doubt": 1})
	_, err = h.BeginUpstream(t.Context(), l.id, 1, storage.Intent{Attempt: "a"})
	h.must(err)
	h.clock.Advance(time.Minute)
	a := h.answer(l.id, 1)
	renewed := l.Identity
	renewed.Email, renewed.Groups = "new@example.com", []string{"finance"}
	a.Identity = &renewed
	h.must(h.SaveUpstream(t.Context(), a))
	h.check()
	u := h.upstream(l.id)
	if u.Gen != 2 || u.Refresh != a.Upstream.Refresh || u.Intent != nil || u.InDoubt || !u.DoubtSince.IsZero() || u.Trouble != "" ||
		!u.SuspectSince.IsZero() || u.Failures != 0 || !u.Obtained.Equal(h.Now()) || !u.Answered.Equal(h.Now()) {
		t.Errorf("after a good answer: %+v", u)
	}
	h.wantCounts(map[string]int64{"working": 1})
	if old, _ := h.GrantsByEmail(testEmail); len(old) != 0 {
		t.Error("the grant is still found by the old e-mail address")
	}
	if now, _ := h.GrantsByEmail("new@example.com"); len(now) != 1 {
		t.Error("the grant is not found by the new e-mail address")
	}
	h.must(h.SaveUpstream(t.Context(), a)) // asked again after an answer that got lost
	if u := h.upstream(l.id); u.Gen != 2 {
		t.Errorf("saving the same twice moves the generation to %d", u.Gen)
	}
	if err := h.SaveUpstream(t.Context(), h.answer(l.id, 1)); !errors.Is(err, storage.ErrGeneration) {
		t.Errorf("another answer for the old generation: %v, want ErrGeneration", err)
	}
	if h.upstream(l.id).Refresh != a.Upstream.Refresh {
		t.Error("a lost race overwrote the tokens")
	}
}

// TestSaveUpstreamKeeps: an answer without refresh token leaves the old one (RFC 6749 §6).
func TestSaveUpstreamKeeps(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	before := h.upstream(l.id)
	a := h.answer(l.id, 1)
	a.Upstream.Refresh, a.Upstream.RefreshExpires = "", time.Time{}
	h.must(h.SaveUpstream(t.Context(), a))
	if u := h.upstream(l.id); u.Refresh != before.Refresh || !u.RefreshExpires.Equal(before.RefreshExpires) || u.Access != a.Upstream.Access {
		t.Errorf("kept %+v", u)
	}
	h.check()
}

// TestQuarantine: tokens of another person are kept and never healed by a later answer (protocol.md §8.2).
func TestQuarantine(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	a := h.answer(l.id, 1)
	a.Quarantine, a.Event = true, storage.Event{Reason: oauth.SubjectChanged}
	h.must(h.SaveUpstream(t.Context(), a))
	h.must(h.SaveUpstream(t.Context(), h.answer(l.id, 2)))
	if u := h.upstream(l.id); !u.Quarantined || h.grant(l.id).State != storage.StateQuarantined {
		t.Errorf("after another answer: %+v, state %s", u, h.grant(l.id).State)
	}
	h.wantStory(l.id, "signed_in", "code_redeemed", "subject_changed")
	h.check()
}

// TestTrouble: the first of its kind keeps its time, until a good answer.
func TestTrouble(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	start := h.Now()
	fail := func(f storage.FailedUpstream) storage.Upstream {
		f.GrantID, f.Gen = l.id, 1
		u, err := h.FailUpstream(t.Context(), f)
		h.must(err)
		h.clock.Advance(time.Minute)
		return u
	}
	fail(storage.FailedUpstream{Reason: oauth.UpstreamUnreachable})
	fail(storage.FailedUpstream{Reason: oauth.UpstreamSuspect, Suspect: true})
	fail(storage.FailedUpstream{Reason: oauth.UpstreamSuspect, Suspect: true})
	u := fail(storage.FailedUpstream{Reason: oauth.UpstreamInDoubt, InDoubt: true})
	if u.Failures != 4 || !u.TroubleSince.Equal(start) || !u.SuspectSince.Equal(start.Add(time.Minute)) || !u.DoubtSince.Equal(start.Add(3*time.Minute)) ||
		!u.TriedAt.Equal(start.Add(3*time.Minute)) || u.Trouble != oauth.UpstreamInDoubt {
		t.Errorf("trouble is %+v", u)
	}
	h.wantStory(l.id, "signed_in", "code_redeemed", "upstream_unreachable", "upstream_suspect*2", "upstream_in_doubt")

	h.must(h.RecheckOK(t.Context(), l.id, h.Now().Add(time.Hour), storage.Event{}))
	u = h.upstream(l.id)
	if u.Trouble != "" || u.Failures != 0 || !u.InDoubt || u.SuspectSince.IsZero() || !u.Answered.Equal(h.Now()) || !u.KeepaliveAt.Equal(h.Now().Add(time.Hour)) {
		t.Errorf("after userinfo answered: %+v", u)
	}
	if g := h.grant(l.id); g.State != storage.StateInDoubt {
		t.Errorf("userinfo heals a doubtful refresh token: %s", g.State)
	}
	h.check()
}

// TestFlightRefusals: the transitions of a flight on a grant that is not what it was.
func TestFlightRefusals(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	begin := func(id string, gen uint32) error {
		_, err := h.BeginUpstream(t.Context(), id, gen, storage.Intent{Attempt: "a"})
		return err
	}
	if err := begin("unknown", 1); err != storage.ErrNotFound {
		t.Errorf("unknown grant: %v", err)
	}
	if err := begin(l.id, 2); err != storage.ErrGeneration {
		t.Errorf("other generation: %v", err)
	}
	if u := h.upstream(l.id); u.Intent != nil {
		t.Error("a refused flight left its intent")
	}
	h.must(begin(l.id, 1))
	h.end(l.id)
	if err := begin(l.id, 1); err != storage.ErrEnded {
		t.Errorf("ended grant: %v", err)
	}
	a := h.answer(l.id, 1)
	if err := h.SaveUpstream(t.Context(), a); !errors.Is(err, storage.ErrEnded) {
		t.Errorf("answer for an ended grant: %v", err)
	}
	if u := h.upstream(l.id); u.Refresh != a.Upstream.Refresh || u.Intent != nil {
		t.Error("the answer that came after the end is not kept for its revocation")
	}
	h.check()
	if _, err := h.FailUpstream(t.Context(), storage.FailedUpstream{GrantID: l.id, Reason: oauth.UpstreamError}); err != storage.ErrEnded {
		t.Errorf("failure of an ended grant: %v", err)
	}
}

// TestIntents: what a crash cut off is found at the next start, and nothing else (protocol.md §8.3).
func TestIntents(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	cut, done, ended := h.connect(), h.connect(alice(1)), h.connect(alice(2))
	for _, l := range []login{cut, done, ended} {
		_, err := h.BeginUpstream(t.Context(), l.id, 1, storage.Intent{Attempt: "a"})
		h.must(err)
	}
	h.must(h.SaveUpstream(t.Context(), h.answer(done.id, 1)))
	if ids, err := h.Intents(); len(ids) != 0 || err != nil {
		t.Errorf("flights of this run count as cut off: %v, %v", ids, err)
	}
	h.reopen()
	ids, err := h.Intents()
	h.must(err)
	if len(ids) != 2 {
		t.Errorf("Intents = %v, want %s and %s", ids, cut.id, ended.id)
	}
	_, err = h.FailUpstream(t.Context(), storage.FailedUpstream{GrantID: cut.id, Gen: 1, Reason: oauth.UpstreamInDoubt, InDoubt: true, ClearIntent: true})
	h.must(err)
	h.end(ended.id)
	h.must(h.UpstreamRevoked(t.Context(), ended.id, true, storage.Event{}))
	if ids, _ := h.Intents(); len(ids) != 0 {
		t.Errorf("after settling: %v", ids)
	}
	h.check()
}

// TestKeepalive: due ones, the longest waiting first, moved by every answer, never of an ended grant (protocol.md §8.1).
func TestKeepalive(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	at := func(d time.Duration) func(*storage.NewGrant) {
		return func(n *storage.NewGrant) { n.Upstream.KeepaliveAt = h.Now().Add(d) }
	}
	late, early, ended := h.connect(at(2*time.Hour)), h.connect(at(time.Hour)), h.connect(at(time.Hour))
	h.connect(func(n *storage.NewGrant) { n.Upstream.KeepaliveAt = time.Time{} })
	h.end(ended.id)
	due := func(limit int) []string {
		ids, err := h.KeepaliveDue(h.Now(), limit)
		h.must(err)
		return ids
	}
	if ids := due(9); len(ids) != 0 {
		t.Errorf("due before its time: %v", ids)
	}
	h.clock.Advance(2 * time.Hour)
	if ids := due(9); len(ids) != 2 || ids[0] != early.id || ids[1] != late.id {
		t.Errorf("due: %v, want %s, %s", ids, early.id, late.id)
	}
	if ids := due(1); len(ids) != 1 {
		t.Errorf("limit 1: %v", ids)
	}
	h.must(h.SaveUpstream(t.Context(), h.answer(early.id, 1)))
	_, err := h.FailUpstream(t.Context(), storage.FailedUpstream{GrantID: late.id, Reason: oauth.UpstreamError, KeepaliveAt: h.Now().Add(time.Minute)})
	h.must(err)
	if ids := due(9); len(ids) != 0 {
		t.Errorf("after an answer and a failure: %v", ids)
	}
	h.check()
}

// TestRevokeQueue: tokens of ended grants wait for their revocation, tried later and later, for 7 days (protocol.md §6).
func TestRevokeQueue(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	if err := h.UpstreamRevoked(t.Context(), l.id, true, storage.Event{}); err != storage.ErrGeneration {
		t.Errorf("tokens of a living grant: %v", err)
	}
	h.end(l.id)
	tries := 0
	for start := h.Now(); h.Now().Sub(start) < 8*day; h.clock.Advance(time.Minute) {
		ids, err := h.RevokeDue(h.Now(), 10)
		h.must(err)
		if len(ids) == 0 {
			continue
		}
		tries++
		h.must(h.UpstreamRevoked(t.Context(), l.id, false, storage.Event{}))
	}
	if tries < 20 || tries > 60 {
		t.Errorf("%d tries in 7 days", tries)
	}
	if _, err := h.Upstream(l.id); err != storage.ErrNotFound {
		t.Errorf("tokens are kept past 7 days: %v", err)
	}
	h.check()
}

// TestNoRefreshToken: with `refresh = "optional"` a grant ends with its upstream access token.
func TestNoRefreshToken(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	without := h.connect(func(n *storage.NewGrant) { n.Upstream.Refresh = "" })
	with := h.connect(alice(1))
	h.clock.Advance(6 * time.Minute)
	h.sweep(storage.SweepLimits{})
	h.wantEnded(without.id, oauth.UpstreamSessionExpired)
	h.wantLiving(with.id)
	h.check()
}

// TestTokensComeBack: a token is sent to the provider byte for byte, whatever shape it is stored in.
func TestTokensComeBack(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for i, token := range []oauth.Secret{
		"opaque", "a.b.c", "YQ.Yg.Yw", jwt(900), jwt(900) + "\n", "YQ.Y\ng.Yw", "YR.Yg.Yw", "YQ..Yw", "..", ".", "YQ.Yg.Yw.", "YQ.Yg.Yw.ZA.ZQ",
		"YQ.Yg.Yw.ZA.ZQ.Zg", "YQ==.Yg==.Yw==", "Y+.Y/.YQ", "\x00\x03", "tökén", jwt(9000), oauth.Secret([]byte{3, 1, 0xff, '.', '.'}),
	} {
		l := h.connect(alice(i), func(n *storage.NewGrant) { n.Upstream.Access, n.Upstream.Refresh = token, token })
		if u := h.upstream(l.id); u.Access != token || u.Refresh != token || u.TokenType != "Bearer" {
			t.Errorf("token %q comes back as %q and %q", token.Reveal(), u.Access.Reveal(), u.Refresh.Reveal())
		}
	}
	h.check()
}

// TestExpiring counts from reminders what runs out when.
func TestExpiring(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for i, d := range []time.Duration{time.Minute, time.Hour, time.Hour + time.Second, 3 * day} {
		h.connect(alice(i), func(n *storage.NewGrant) {
			n.Upstream.Expires, n.Upstream.RefreshExpires = h.Now().Add(d), h.Now().Add(2*d)
		})
	}
	access, session, err := h.Expiring(h.Now(), time.Hour, day, 7*day)
	h.must(err)
	if !slices.Equal(access, []int{2, 3, 4}) || !slices.Equal(session, []int{1, 3, 4}) {
		t.Errorf("Expiring = %v, %v", access, session)
	}
}
