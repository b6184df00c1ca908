package storage

import (
	"context"
	"time"

	"hostedmcp/auth/oauth"
)

// SweepLimits is what ends by time, besides what the records say themselves.
type SweepLimits struct {
	Limits    Limits        // of living grants
	UnusedTTL time.Duration // clients unused for so long go, if no grant of them lives; 0 = never
	Documents int           // metadata documents kept; 0 = no limit
	Batch     int           // reminders taken at once; 0 = 200
}

const sweepBatch = 200

// sweeps says what to do with each reminder that the sweep takes. Each handler finds the reminder gone.
var sweeps = []struct {
	kind dueKind
	do   func(*txn, string, SweepLimits)
}{
	{dueRequest, (*txn).sweepRequest},
	{dueCode, (*txn).sweepCode},
	{dueGrant, (*txn).sweepGrant},
	{dueTombstone, (*txn).sweepTombstone},
	{dueSignIn, (*txn).sweepSignIn},
	{dueClient, (*txn).sweepClient},
	{dueAccess, (*txn).sweepAccess},
	{dueSession, (*txn).sweepNothing},
}

// Sweep does one bounded batch of what is due by now, and reports whether there is more. Nothing due costs no commit.
// While the clock is not trusted nothing ends by time (protocol.md §5.3). Errors: ErrUnavailable.
func (s *Store) Sweep(ctx context.Context, limits SweepLimits) (more bool, err error) {
	if limits.Batch <= 0 {
		limits.Batch = sweepBatch
	}
	waiting := false
	err = s.view(func(t *txn) error {
		waiting = t.overDocuments(limits)
		for _, sw := range sweeps {
			waiting = waiting || len(t.dueUntil(sw.kind, t.now, 1)) > 0
		}
		return nil
	})
	if err != nil || !s.ClockTrusted() {
		return false, err
	}
	if err := s.dropSigning(ctx); err != nil || !waiting {
		return false, err
	}
	err = s.write(ctx, func(t *txn) error {
		more = t.sweep(limits)
		return nil
	})
	return more && err == nil, err
}

func (t *txn) sweep(limits SweepLimits) (more bool) {
	left := limits.Batch
	for _, sw := range sweeps {
		entries := t.dueUntil(sw.kind, t.now, left+1)
		for _, e := range entries[:min(len(entries), left)] {
			t.undue(e.kind, e.at, e.key)
			sw.do(t, e.key, limits)
			left--
		}
		more = more || len(entries) > left && left == 0
	}
	if t.overDocuments(limits) {
		more = t.evictClient(ClientDocument, time.Hour) || more
	}
	return more
}

// overDocuments says whether more metadata documents are kept than may be (`cimd_max`). They come with approvals, which
// are bounded, so the sweep is early enough.
func (t *txn) overDocuments(limits SweepLimits) bool {
	return limits.Documents > 0 && t.counter(ClientDocument.counter()) > uint64(limits.Documents)
}

// sweepNothing is for reminders that only the metric reads.
func (t *txn) sweepNothing(string, SweepLimits) {}

// sweepRequest forgets a request, waiting or finished. Nobody is told: there was no grant.
func (t *txn) sweepRequest(id string, _ SweepLimits) {
	if r, ok := t.request(id); ok {
		t.removeRequest(r)
	}
}

// sweepCode forgets a code. A grant whose code ran out unredeemed ends.
func (t *txn) sweepCode(key string, _ SweepLimits) {
	var code codeRecord
	if !t.load(codesBucket, key, &code) {
		return
	}
	t.del(codesBucket, key)
	if !code.Redeemed.IsZero() {
		return
	}
	if g, ok := t.current(code.GrantID); ok && g.Living() && !g.Redeemed {
		t.end(g, oauth.LoginUnclaimed, Event{})
		t.saveGrant(g)
	}
}

// sweepGrant ends a grant over its limits; of any other it drops old events and looks again later.
func (t *txn) sweepGrant(id string, limits SweepLimits) {
	g, ok := t.current(id)
	if !ok || !g.Living() {
		return
	}
	if reason := tooOld(t.family(g), limits.Limits); reason != "" {
		t.end(g, reason, Event{})
		t.saveGrant(g)
		return
	}
	before := t.now.Add(-t.opt.Config.EventsTTL.D())
	// A long life must not gather a long journal; the first events tell how it began and stay.
	t.dropEvents(g, g.Events, func(e Event) bool { return e.Last.Before(before) })
	g.look = t.nextLook(g, limits.Limits)
	t.due(dueGrant, g.look, id)
	t.saveGrant(g)
}

// sweepTombstone forgets an ended grant.
func (t *txn) sweepTombstone(id string, _ SweepLimits) {
	g, ok := t.grant(id)
	if !ok || g.Living() {
		return
	}
	t.forget(g)
}

// forget removes a grant, living or ended, with everything that hangs from it.
func (t *txn) forget(g *grantRecord) {
	index, reminder := indexEnded, dueTombstone
	if g.Living() {
		index, reminder = indexLiving, dueGrant
		t.useClient(g.ClientID, time.Duration(1<<62), -1)
	}
	if g.Sid != "" {
		t.del(sessionBucket, sessionKey(g.Sid, g.ID))
	}
	t.unindex(subjectPrefix(index, g.Subject), g.ID)
	t.undue(reminder, g.look, g.ID)
	var i Identity
	if t.load(identitiesBucket, g.ID, &i) {
		t.unindex(t.emailPrefix(i.Email), g.ID)
		t.del(identitiesBucket, g.ID)
	}
	if u, ok := t.upstream(g.ID); ok {
		t.dropUpstream(g, u)
	}
	for _, e := range t.ids(eventsBucket, g.ID) {
		t.del(eventsBucket, g.ID+e)
	}
	t.setState(g, 0)
	t.del(grantsBucket, g.ID)
}

func (t *txn) sweepSignIn(key string, _ SweepLimits) { t.endSignIn(key) }

// sweepClient removes a client that nobody used for long, never one with a living grant.
func (t *txn) sweepClient(id string, limits SweepLimits) {
	r, ok := t.client(id)
	if !ok {
		return
	}
	gone := r.LastUsed.Add(limits.UnusedTTL)
	if limits.UnusedTTL > 0 && r.Living == 0 && t.now.After(gone) {
		t.removeClient(r)
		return
	}
	r.look = t.now.Add(clientLook)
	if gone.After(r.look) {
		r.look = gone.Add(time.Second)
	}
	t.saveClient(r)
	t.due(dueClient, r.look, id)
}

// sweepAccess ends a grant that the provider gave no refresh token for, with its upstream access token
// (`refresh = "optional"`, protocol.md §4.5 step 8). For all others the reminder only served the metric.
func (t *txn) sweepAccess(id string, _ SweepLimits) {
	g, ok := t.current(id)
	if !ok || !g.Living() {
		return
	}
	if u, ok := t.upstream(id); ok && u.Refresh == "" && !t.now.Before(u.Expires) {
		t.end(g, oauth.UpstreamSessionExpired, Event{})
		t.saveGrant(g)
	}
}
