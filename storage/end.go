package storage

import (
	"context"
	"time"

	"hostedmcp/auth/oauth"
)

// EndGrant ends a grant and says whether this call did it: an ended one stays as it is. Once it returns, access tokens
// are dead and no refresh that comes later succeeds. Errors: ErrNotFound; ErrUnavailable, and a further call then says so
// too until it is certain, or the end. OnEnd is told once.
func (s *Store) EndGrant(ctx context.Context, id string, reason oauth.Reason, e Event) (ended bool, err error) {
	err = s.write(ctx, func(t *txn) error {
		ended = false
		g, ok := t.current(id)
		if !ok {
			return ErrNotFound
		}
		if !g.Living() {
			ended = s.indoubt.ends(id) // by the call whose retry this is
			return nil
		}
		t.end(g, reason, e)
		t.saveGrant(g)
		ended = true
		return nil
	})
	return ended && err == nil, err
}

// EndSubject ends all living grants of a subject in one commit and returns their number.
func (s *Store) EndSubject(ctx context.Context, subject string, reason oauth.Reason, e Event) (n int, err error) {
	err = s.write(ctx, func(t *txn) error {
		n = 0
		for _, id := range t.ids(subjectBucket, subjectPrefix(indexLiving, subject)) {
			if g, ok := t.current(id); ok && g.Living() {
				t.end(g, reason, e)
				t.saveGrant(g)
				n++
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// end makes a tombstone of a living grant; the caller saves it. Record, family key, identity and journal stay. The
// upstream tokens stay until they are revoked at the provider, and nothing keeps them alive any longer.
func (t *txn) end(g *grantRecord, reason oauth.Reason, e Event) {
	g.Ended, g.EndedAt = reason, t.now
	t.setState(g, StateEnded)

	// The reminder of a living grant becomes that of its tombstone.
	from := g.look
	g.look = t.now.Add(t.opt.TombstoneTTL)
	t.undue(dueGrant, from, g.ID)
	t.due(dueTombstone, g.look, g.ID)

	t.unindex(subjectPrefix(indexLiving, g.Subject), g.ID)
	t.index(subjectPrefix(indexEnded, g.Subject), g.ID)
	if g.Sid != "" { // no sibling any more: others in this provider session may be revoked or refreshed now
		t.del(sessionBucket, sessionKey(g.Sid, g.ID))
	}
	t.useClient(g.ClientID, time.Duration(1<<62), -1) // an end is no use

	// The caller of this transition has no network; the revocation at the provider waits in `due`.
	if u, ok := t.upstream(g.ID); ok {
		old := u
		u.RevokeAt = t.now
		t.saveUpstream(g, &old, u)
	}
	e.Reason = reason
	t.journal(g, e)
	t.ended = append(t.ended, ended{g.ID, reason})
}
