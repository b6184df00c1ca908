package storage

import (
	"context"
	"errors"
	"slices"
	"time"

	"hostedmcp/auth/oauth"
)

// NewGrant is everything that one login makes (protocol.md §4.5 step 10).
type NewGrant struct {
	Grant         Grant  // identity of the connection; its states and times are the transition's
	Key           []byte // family key, 32 bytes
	Identity      Identity
	Upstream      Upstream
	CodeHash      [32]byte // SHA-256 of the code
	Code          Code
	Events        []Event // of the request, then signed_in
	GrantsPerUser int     // of one client and subject; 0 = no limit
	Limits        Limits
}

var errFamilyKey = errors.New("a grant needs an id and a family key of 32 bytes")

// CreateGrant writes a login in one commit: grant, identity, upstream tokens, code, indexes, counters, reminders,
// events. Over GrantsPerUser, grants of the same client and subject end (grant_evicted): unclaimed ones first, then the
// least recently used. A grant that is there already was made by a commit whose answer was lost: no error. Errors:
// ErrUnavailable.
func (s *Store) CreateGrant(ctx context.Context, n NewGrant) error {
	if len(n.Grant.ID) < 16 || len(n.Key) != 32 {
		return errFamilyKey
	}
	return s.write(ctx, func(t *txn) error {
		if _, ok := t.grant(n.Grant.ID); ok {
			return nil
		}
		t.evict(n) // before the new one is there: it is neither claimed nor used, and would go first
		g := t.newRecord(n)
		t.create(g, n)
		t.saveGrant(g)
		return nil
	})
}

// newRecord is a grant before anything happened to it.
func (t *txn) newRecord(n NewGrant) *grantRecord {
	g := &grantRecord{Grant: Grant{
		ID: n.Grant.ID, ClientID: n.Grant.ClientID, ClientName: n.Grant.ClientName, ClientKind: n.Grant.ClientKind,
		Subject: n.Grant.Subject, Scope: n.Grant.Scope, Resource: n.Grant.Resource, RedirectURI: n.Grant.RedirectURI,
		Sid: n.Grant.Sid, Created: t.now, LastUse: t.now, Answered: t.now,
	}}
	g.key = t.ring().Seal("family", n.Key, grantsBucket.ad(g.ID))
	g.look = t.nextLook(g, n.Limits)
	return g
}

// create writes what hangs from a grant.
func (t *txn) create(g *grantRecord, n NewGrant) {
	t.setState(g, StateUnclaimed) // until its code is redeemed; then that of the upstream tokens
	t.due(dueGrant, g.look, g.ID)
	t.index(subjectPrefix(indexLiving, g.Subject), g.ID)
	if g.Sid != "" {
		t.put(sessionBucket, sessionKey(g.Sid, g.ID), []byte{})
	}
	t.saveIdentity(g.ID, n.Identity)

	u := n.Upstream
	u.GrantID, u.Gen = g.ID, max(u.Gen, 1)
	u.Obtained, u.Answered = t.now, t.now
	t.saveUpstream(g, nil, u)

	code := codeRecord{Code: n.Code}
	code.GrantID = g.ID
	t.saveCode(string(n.CodeHash[:]), &code, time.Time{}, code.Expires)

	t.useClient(g.ClientID, clientStale, 1)
	for _, e := range n.Events {
		t.journal(g, e)
	}
}

// evict makes room among the living grants of one client and subject.
func (t *txn) evict(n NewGrant) {
	ofUser := subjectPrefix(indexLiving, n.Grant.Subject)
	// Nearly always so, and no record is read: this is inside the one writer.
	if n.GrantsPerUser <= 0 || t.countKeys(subjectBucket, ofUser) < n.GrantsPerUser {
		return
	}
	var mine []*grantRecord
	for _, id := range t.ids(subjectBucket, ofUser) {
		if g, ok := t.current(id); ok && g.ClientID == n.Grant.ClientID {
			mine = append(mine, g)
		}
	}
	slices.SortFunc(mine, func(a, b *grantRecord) int {
		if a.Redeemed != b.Redeemed {
			if b.Redeemed {
				return -1
			}
			return 1
		}
		return a.LastUse.Compare(b.LastUse)
	})
	for i := 0; i < len(mine)-n.GrantsPerUser+1; i++ {
		t.end(mine[i], oauth.GrantEvicted, Event{})
		t.saveGrant(mine[i])
	}
}

// lookAtLeast is how often the sweep looks at a living grant, for events that are too old.
const lookAtLeast = 30 * 24 * time.Hour

// nextLook is when a living grant may reach a limit, as far as is known now.
func (t *txn) nextLook(g *grantRecord, limits Limits) time.Time {
	next := t.now.Add(lookAtLeast)
	if limits.Idle > 0 {
		next = earlier(next, g.LastUse.Add(limits.Idle+time.Second))
	}
	if limits.MaxAge > 0 {
		next = earlier(next, g.Created.Add(limits.MaxAge+time.Second))
	}
	return next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
