package storage

import (
	"context"
	"time"

	"hostedmcp/auth/oauth"
)

// Upstream is what we hold of the provider for one grant (protocol.md §8). It is sealed.
type Upstream struct {
	GrantID          string
	Gen              uint32 // compare-and-swap: moves with every stored answer
	Access, Refresh  oauth.Secret
	TokenType, Scope string
	Expires          time.Time // of Access; zero = not known
	RefreshExpires   time.Time // of Refresh; zero = not known, or never
	Offline          bool      // an offline token: no session at the provider bounds it

	Obtained time.Time // when the tokens were stored
	Answered time.Time // last good answer of the provider for this grant

	Intent       *Intent      // a refresh under way, or cut off by a crash; nil = none
	Trouble      oauth.Reason // "" = the last answer was good
	TroubleSince time.Time    // first failure since the last good answer
	TriedAt      time.Time    // last failure
	Failures     uint32       // since the last good answer
	SuspectSince time.Time    // first refusal that could mean a wrong database (§8.2); zero = none
	InDoubt      bool         // an answer may have been lost (§8.3)
	DoubtSince   time.Time
	Quarantined  bool // the provider named another person: never used

	KeepaliveAt time.Time // zero = none
	RevokeAt    time.Time // of an ended grant: next try
	RevokeTries uint32
}

// Intent is the write-ahead note of a refresh that is about to be sent (§8.1 rule 3).
type Intent struct {
	Attempt string
	Boot    string // the store's Boot, which BeginUpstream fills in
	At      time.Time
}

func (u *Upstream) fields(c *codec) {
	num(c, &u.Gen)
	token(c, &u.Access)
	token(c, &u.Refresh)
	text(c, &u.TokenType)
	text(c, &u.Scope)
	when(c, &u.Expires)
	when(c, &u.RefreshExpires)
	flag(c, &u.Offline)
	when(c, &u.Obtained)
	when(c, &u.Answered)
	u.intent(c)
	text(c, &u.Trouble)
	when(c, &u.TroubleSince)
	when(c, &u.TriedAt)
	num(c, &u.Failures)
	when(c, &u.SuspectSince)
	flag(c, &u.InDoubt)
	when(c, &u.DoubtSince)
	flag(c, &u.Quarantined)
	when(c, &u.KeepaliveAt)
	when(c, &u.RevokeAt)
	num(c, &u.RevokeTries)
}

func (u *Upstream) intent(c *codec) {
	has := u.Intent != nil
	flag(c, &has)
	if !has {
		return
	}
	if c.reading {
		u.Intent = &Intent{}
	}
	text(c, &u.Intent.Attempt)
	text(c, &u.Intent.Boot)
	when(c, &u.Intent.At)
}

func (u *Upstream) doubt(now time.Time) {
	u.InDoubt = true
	if u.DoubtSince.IsZero() {
		u.DoubtSince = now
	}
}

func (u *Upstream) state() State {
	switch {
	case u.Quarantined:
		return StateQuarantined
	case u.InDoubt:
		return StateInDoubt
	case u.Trouble != "":
		return StateTrouble
	}
	return StateWorking
}

// dues are the reminders that belong to the record of a living or ended grant.
func (u *Upstream) dues(living bool) map[dueKind]time.Time {
	d := map[dueKind]time.Time{}
	if u.Intent != nil {
		d[dueIntent] = u.Intent.At
	}
	if !living {
		d[dueRevoke] = u.RevokeAt
		return d
	}
	d[dueAccess], d[dueSession], d[dueKeepalive] = u.Expires, u.RefreshExpires, u.KeepaliveAt
	if u.InDoubt {
		d[dueDoubt] = u.DoubtSince
	}
	return d
}

// upstream reads the tokens of a grant.
func (t *txn) upstream(id string) (Upstream, bool) {
	u := Upstream{GrantID: id}
	if !t.load(upstreamBucket, id, &u) {
		return Upstream{}, false
	}
	return u, true
}

// saveUpstream writes the tokens of g, moves their reminders and g's state; the caller saves g if that changed. old is
// nil for a new record.
func (t *txn) saveUpstream(g *grantRecord, old *Upstream, u Upstream) {
	before := map[dueKind]time.Time{}
	if old != nil {
		before = old.dues(old.RevokeAt.IsZero())
	}
	after := u.dues(g.Living())
	for kind, at := range before {
		t.redue(kind, at, after[kind], g.ID)
	}
	for kind, at := range after {
		if before[kind].IsZero() {
			t.due(kind, at, g.ID)
		}
	}
	t.save(upstreamBucket, g.ID, &u)
	if g.Living() && g.Redeemed {
		t.setState(g, u.state())
	}
}

// dropUpstream removes the tokens of a grant.
func (t *txn) dropUpstream(g *grantRecord, u Upstream) {
	for kind, at := range u.dues(g.Living()) {
		t.undue(kind, at, g.ID)
	}
	t.del(upstreamBucket, g.ID)
}

// Upstream returns the provider's tokens for a grant, of an ended one as long as they are not revoked. Errors:
// ErrNotFound, ErrUnavailable.
func (s *Store) Upstream(id string) (Upstream, error) {
	var u Upstream
	err := s.view(func(t *txn) error {
		var ok bool
		if u, ok = t.upstream(id); !ok {
			return ErrNotFound
		}
		return nil
	})
	return u, err
}

// Tokens returns a living grant with the provider's tokens, as a tool call needs them: in one reading, and without the
// refresh token. An ended grant comes alone. What Upstream points to is shared. Errors: ErrNotFound for either,
// ErrUnavailable.
func (s *Store) Tokens(id string) (g Grant, u Upstream, err error) {
	err = s.view(func(t *txn) error {
		record, ok := t.current(id)
		if !ok {
			return ErrNotFound
		}
		if g = record.Grant; g.Ended != "" {
			return nil
		}
		u.GrantID = id
		if !loadOpened(t, &s.upstreams, upstreamBucket, id, &u, func(u *Upstream) { u.Refresh = "" }) {
			return ErrNotFound
		}
		return nil
	})
	return g, u, err
}

// change is the frame of all transitions on the tokens of a living grant: read both, let fn decide and change them
// (an error leaves everything as it is), write both. gen 0 = whatever generation.
func (s *Store) change(ctx context.Context, id string, gen uint32, e Event, fn func(*txn, *Upstream) error) (Upstream, error) {
	var out Upstream
	err := s.write(ctx, func(t *txn) error {
		g, err := t.living(id)
		if err != nil {
			return err
		}
		u, ok := t.upstream(id)
		if !ok {
			return ErrNotFound
		}
		if gen != 0 && u.Gen != gen {
			return ErrGeneration
		}
		old := u
		if err := fn(t, &u); err != nil {
			return err
		}
		// The grant's record is read at every call and written rarely: only if its state or its journal moved.
		state, seq, answered := g.State, g.seq, g.Answered
		t.saveUpstream(g, &old, u)
		t.journal(g, e)
		g.Answered = u.Answered
		if g.State != state || g.seq != seq || !g.Answered.Equal(answered) {
			t.saveGrant(g)
		}
		out = u
		return nil
	})
	if err != nil {
		return Upstream{}, err
	}
	return out, nil
}
