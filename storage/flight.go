package storage

import (
	"context"
	"errors"
	"time"

	"hostedmcp/auth/oauth"
)

// The transitions of one upstream refresh (protocol.md §8.1): BeginUpstream before the first byte is sent, then
// SaveUpstream or FailUpstream, all compare-and-swap on the generation. None is called while the network is.

// BeginUpstream writes the intent to refresh the tokens of generation gen and returns the record to send. An intent
// that is still there was left by an attempt whose outcome nobody knows: it is replaced, and the tokens are in doubt.
// Errors: ErrNotFound, ErrEnded, ErrGeneration, ErrUnavailable; nothing may be sent then.
func (s *Store) BeginUpstream(ctx context.Context, id string, gen uint32, in Intent) (Upstream, error) {
	return s.change(ctx, id, gen, Event{}, func(t *txn, u *Upstream) error {
		in := in
		if u.Intent != nil {
			u.doubt(t.now)
		}
		in.Boot = s.boot
		if in.At.IsZero() {
			in.At = t.now
		}
		u.Intent = &in
		return nil
	})
}

// SavedUpstream is a good answer.
type SavedUpstream struct {
	GrantID    string
	Gen        uint32    // the generation that was sent
	Upstream   Upstream  // new tokens with their expiries; without Refresh the old one stays (RFC 6749 §6)
	Identity   *Identity // renewed claims; nil = keep
	Quarantine bool      // the id_token names another person (§8.2)

	KeepaliveAt time.Time // zero = none
	Event       Event
}

// SaveUpstream stores a good answer: new generation, intent, trouble, doubt and suspicion gone. It may be called again
// after ErrUnavailable: tokens that are there already are no error. The answer for a grant that has ended meanwhile is
// kept for its revocation, and ErrEnded returned. Errors: ErrNotFound, ErrEnded, ErrGeneration, ErrUnavailable.
func (s *Store) SaveUpstream(ctx context.Context, a SavedUpstream) error {
	var verdict error // not returned from the transition: with ErrEnded there is something to commit
	err := s.write(ctx, func(t *txn) error {
		verdict = t.answer(a)
		return nil
	})
	return errors.Join(err, verdict)
}

func (t *txn) answer(a SavedUpstream) error {
	g, ok := t.current(a.GrantID)
	if !ok {
		return ErrNotFound
	}
	old, ok := t.upstream(a.GrantID)
	switch {
	case !ok && !g.Living():
		return ErrEnded // and revoked already
	case !ok:
		return ErrNotFound
	// The commit that was answered with ErrUnavailable had happened after all (§8.1 rule 6).
	case old.Gen == a.Gen+1 && old.Access == a.Upstream.Access && g.Living():
		return nil
	case old.Gen != a.Gen:
		return ErrGeneration
	}
	t.saveUpstream(g, &old, a.renewed(t.now, old))
	if !g.Living() {
		return ErrEnded // written all the same: a rotated token that nobody revokes would live on at the provider
	}
	if a.Identity != nil {
		t.saveIdentity(g.ID, *a.Identity)
	}
	g.Answered = t.now
	t.journal(g, a.Event)
	t.saveGrant(g)
	return nil
}

// renewed is the record after a good answer.
func (a SavedUpstream) renewed(now time.Time, old Upstream) Upstream {
	n := Upstream{
		GrantID: a.GrantID, Gen: a.Gen + 1, Access: a.Upstream.Access, Refresh: a.Upstream.Refresh,
		TokenType: a.Upstream.TokenType, Scope: a.Upstream.Scope, Expires: a.Upstream.Expires,
		RefreshExpires: a.Upstream.RefreshExpires, Offline: a.Upstream.Offline, Obtained: now, Answered: now,
		Quarantined: a.Quarantine || old.Quarantined, KeepaliveAt: a.KeepaliveAt,
		RevokeAt: old.RevokeAt, RevokeTries: old.RevokeTries,
	}
	if n.Refresh == "" {
		n.Refresh = old.Refresh
		if n.RefreshExpires.IsZero() {
			n.RefreshExpires, n.Offline = old.RefreshExpires, old.Offline
		}
	}
	return n
}

// FailedUpstream is an attempt without a good answer, by the table of §8.2.
type FailedUpstream struct {
	GrantID     string
	Gen         uint32 // 0 = whatever generation
	Reason      oauth.Reason
	InDoubt     bool // the answer may have been lost
	Suspect     bool // refused in words that could mean a wrong database
	ClearIntent bool // nothing was sent, or an answer came

	KeepaliveAt time.Time // the next keep-alive; zero = as it was
	Event       Event     // without a Reason it gets that of the failure
}

// FailUpstream records trouble and returns the record. TroubleSince, SuspectSince and DoubtSince keep the time of the
// first of their kind since the last good answer. Errors: ErrNotFound, ErrEnded, ErrGeneration, ErrUnavailable.
func (s *Store) FailUpstream(ctx context.Context, f FailedUpstream) (Upstream, error) {
	e := f.Event
	if e.Reason == "" {
		e.Reason = f.Reason
	}
	return s.change(ctx, f.GrantID, f.Gen, e, func(t *txn, u *Upstream) error {
		u.Trouble, u.TriedAt = f.Reason, t.now
		u.Failures++
		if u.TroubleSince.IsZero() {
			u.TroubleSince = t.now
		}
		if f.Suspect && u.SuspectSince.IsZero() {
			u.SuspectSince = t.now
		}
		if f.InDoubt {
			u.doubt(t.now)
		}
		if f.ClearIntent {
			u.Intent = nil
		}
		if !f.KeepaliveAt.IsZero() {
			u.KeepaliveAt = f.KeepaliveAt
		}
		return nil
	})
}

// RecheckOK records that the provider vouched for a grant without new tokens (userinfo, §8.1 rule 7): trouble is over,
// but a refresh token in doubt or suspect stays so. keepaliveAt zero = as it was. Errors as FailUpstream.
func (s *Store) RecheckOK(ctx context.Context, id string, keepaliveAt time.Time, e Event) error {
	if e.Reason == "" {
		e.Reason = oauth.RecheckOK
	}
	_, err := s.change(ctx, id, 0, e, func(t *txn, u *Upstream) error {
		u.Answered, u.Trouble, u.TroubleSince, u.Failures = t.now, "", time.Time{}, 0
		if !keepaliveAt.IsZero() {
			u.KeepaliveAt = keepaliveAt
		}
		return nil
	})
	return err
}

// KeepaliveDue returns at most limit living grants whose keep-alive is due, the longest waiting first. SaveUpstream,
// FailUpstream and RecheckOK set the next one.
func (s *Store) KeepaliveDue(now time.Time, limit int) ([]string, error) {
	return s.dueKeys(dueKeepalive, now, limit)
}

// farFuture bounds a walk that means "all".
var farFuture = time.Unix(1<<40, 0)

// Intents returns the grants, living or ended, whose upstream refresh was cut off by the end of an earlier run: their
// tokens are in doubt (§8.3). It walks only what is under way.
func (s *Store) Intents() (ids []string, err error) {
	err = s.view(func(t *txn) error {
		for _, e := range t.dueUntil(dueIntent, farFuture, -1) {
			if u, ok := t.upstream(e.key); ok && u.Intent != nil && u.Intent.Boot != s.boot {
				ids = append(ids, e.key)
			}
		}
		return nil
	})
	return ids, err
}

// revokeFor is how long revocation at the provider is tried (protocol.md §6).
const (
	revokeFor   = 7 * 24 * time.Hour
	revokeFirst = 10 * time.Second
	revokeMost  = 6 * time.Hour
)

// RevokeDue returns at most limit ended grants whose upstream token is to be revoked at the provider now.
func (s *Store) RevokeDue(now time.Time, limit int) ([]string, error) {
	return s.dueKeys(dueRevoke, now, limit)
}

// UpstreamRevoked tells how a revocation went. ok (or nothing to revoke) drops the tokens; a failure sets the next
// try, later each time, and drops the tokens after seven days. Errors: ErrNotFound, ErrUnavailable; ErrGeneration for a
// living grant.
func (s *Store) UpstreamRevoked(ctx context.Context, id string, ok bool, e Event) error {
	return s.write(ctx, func(t *txn) error {
		g, found := t.grant(id)
		if !found {
			return ErrNotFound
		}
		if g.Living() {
			return ErrGeneration
		}
		u, found := t.upstream(id)
		if !found {
			return nil
		}
		if ok || t.now.Sub(g.EndedAt) >= revokeFor {
			t.dropUpstream(g, u)
		} else {
			old := u
			// 10 s, 20 s, 40 s … 6 h: a provider that is down for a day is not stormed by what ended meanwhile.
			u.RevokeAt = t.now.Add(min(revokeFirst<<min(u.RevokeTries, 16), revokeMost))
			u.RevokeTries++
			t.saveUpstream(g, &old, u)
		}
		t.journal(g, e)
		t.saveGrant(g)
		return nil
	})
}
