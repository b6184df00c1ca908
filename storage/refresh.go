package storage

import (
	"context"

	"hostedmcp/auth/oauth"
)

// Presented is a refresh token whose MAC is right, with who presents it.
type Presented struct {
	GrantID  string
	Gen      uint32
	ClientID string
	Limits   Limits
	Event    Event // Client, Request, Address, Note of this refresh; a Reason (refresh_outage) replaces refresh_ok
}

// JudgeRefresh says what RotateRefresh would do now, and does nothing (protocol.md §5.3: resource, scope and the
// provider come between the two). Errors: ErrUnavailable.
func (s *Store) JudgeRefresh(p Presented) (g Grant, row Row, reason oauth.Reason, err error) {
	err = s.view(func(t *txn) error {
		g, row, reason = t.judgeRefresh(p)
		return nil
	})
	return g, row, reason, err
}

func (t *txn) judgeRefresh(p Presented) (Grant, Row, oauth.Reason) {
	g, row, reason := t.verdict(p)
	if g == nil {
		return Grant{}, row, reason
	}
	return g.Grant, row, reason
}

func (t *txn) verdict(p Presented) (*grantRecord, Row, oauth.Reason) {
	g, ok := t.current(p.GrantID)
	if !ok {
		return nil, RowUnknown, oauth.RefreshInvalid
	}
	row, reason := judge(t.family(g), p.ClientID, p.Gen, p.Limits)
	return g, row, reason
}

// writes says which rows change the store.
func (r Row) writes() bool {
	return r == RowCurrent || r == RowTooOld || r == RowReuse || r == RowOlder
}

// RotateRefresh judges a refresh token and does what the row says: 5 makes the next generation, 4, 7 and 8 end the
// grant, the others do nothing (9 is for AdoptAhead). It returns the grant as it is afterwards: after rows 5 and 6 its
// Gen is that of the token to hand out. The rows that write nothing are answered without a commit. Errors:
// ErrUnavailable; asking again after it is safe, a rotation that had happened answers row 6.
func (s *Store) RotateRefresh(ctx context.Context, p Presented) (g Grant, row Row, reason oauth.Reason, err error) {
	g, row, reason, err = s.JudgeRefresh(p)
	if err == nil && row.writes() {
		err = s.write(ctx, func(t *txn) error {
			g, row, reason = t.rotate(p)
			return nil
		})
	}
	if err != nil {
		return Grant{}, 0, "", err
	}
	if row == RowPrevious {
		s.Use(g.ID, 0, s.Now()) // keeps the grant from idling, but says nothing of its access token
	}
	return g, row, reason, nil
}

func (t *txn) rotate(p Presented) (Grant, Row, oauth.Reason) {
	g, row, reason := t.verdict(p)
	if g == nil {
		return Grant{}, row, reason
	}
	switch row {
	case RowCurrent:
		reason = t.advance(g, p)
	case RowTooOld, RowReuse, RowOlder:
		t.end(g, reason, p.Event)
		t.saveGrant(g)
	}
	return g.Grant, row, reason
}

// advance is row 5.
func (t *txn) advance(g *grantRecord, p Presented) oauth.Reason {
	t.issue(g, g.Gen+1)
	e := p.Event
	if e.Reason == "" {
		e.Reason = oauth.RefreshOK
	}
	t.journal(g, e)
	t.saveGrant(g)
	t.useClient(g.ClientID, clientStale, 0)
	return e.Reason
}

// issue makes gen the current generation, from now.
func (t *txn) issue(g *grantRecord, gen uint32) {
	g.Gen, g.Used, g.IssuedAt, g.LastUse = gen, false, t.now, t.now
	g.issued = t.clock.stampNow()
	g.issued.boot = bootTag(g.issued.boot)
}

// AdoptAhead is row 9: the store has forgotten generations that it handed out (a restored backup). Their number is
// taken over, and the provider's token is in doubt, for it may have been rotated as well. The caller then asks the
// provider and calls RotateRefresh, which is row 5 now. A generation that is not ahead changes nothing. Errors:
// ErrNotFound, ErrEnded, ErrUnavailable.
func (s *Store) AdoptAhead(ctx context.Context, p Presented) (Grant, error) {
	var out Grant
	err := s.write(ctx, func(t *txn) error {
		g, err := t.living(p.GrantID)
		if err != nil {
			return err
		}
		out = g.Grant
		if p.Gen <= g.Gen || g.ClientID != p.ClientID {
			return nil
		}
		t.issue(g, p.Gen)
		g.Redeemed = true // whoever has a refresh token has redeemed the code
		if u, ok := t.upstream(g.ID); ok {
			old := u
			u.doubt(t.now)
			t.saveUpstream(g, &old, u)
		}
		e := p.Event
		e.Reason = oauth.RefreshAhead
		t.journal(g, e)
		t.saveGrant(g)
		out = g.Grant
		return nil
	})
	if err != nil {
		return Grant{}, err
	}
	return out, nil
}

// FirstCall notes a grant's first call, once (protocol.md §7 step 7). Errors: ErrNotFound, ErrEnded, ErrUnavailable.
func (s *Store) FirstCall(ctx context.Context, id string, e Event) error {
	return s.write(ctx, func(t *txn) error {
		g, err := t.living(id)
		if err != nil || g.Called {
			return err
		}
		g.Called = true
		e := e
		e.Reason = oauth.FirstCall
		t.journal(g, e)
		t.saveGrant(g)
		return nil
	})
}

// Note writes an event into a living grant's journal and changes nothing else: for what was answered without a write
// and belongs to its story all the same. Errors: ErrNotFound, ErrEnded, ErrUnavailable.
func (s *Store) Note(ctx context.Context, id string, e Event) error {
	return s.write(ctx, func(t *txn) error {
		g, err := t.living(id)
		if err != nil {
			return err
		}
		t.journal(g, e)
		t.saveGrant(g)
		return nil
	})
}
