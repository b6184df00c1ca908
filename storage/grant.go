package storage

import (
	"time"

	"hostedmcp/auth/oauth"
)

// State is what a grant counts as in hostedmcp_grants{state}.
type State uint8

// The states of a grant.
const (
	StateUnclaimed   State = iota + 1 // made, its code not redeemed yet
	StateWorking                      //
	StateTrouble                      // the provider could not be asked, or did not answer well
	StateInDoubt                      // an answer of the provider may have been lost (protocol.md §8.3)
	StateQuarantined                  // the provider named another person (§8.2)
	StateEnded                        // a tombstone
)

var stateNames = map[State]string{
	StateUnclaimed: "unclaimed", StateWorking: "working", StateTrouble: "trouble", StateInDoubt: "in_doubt",
	StateQuarantined: "quarantined", StateEnded: "ended",
}

// String is the value of the metric's label.
func (s State) String() string { return stateNames[s] }

// Grant is one user's connection of one client, with the refresh state of its tokens (protocol.md §5.3). An ended one
// stays as a tombstone: Ended is then its reason.
type Grant struct {
	ID                    string // 26 characters of rand.Text
	ClientID, ClientName  string
	ClientKind            ClientKind
	Subject               string // the provider's sub
	Scope                 oauth.Scope
	Resource, RedirectURI string
	Sid                   string // HMAC of the provider's session id, in hexadecimal; "" = none named

	Created  time.Time
	LastUse  time.Time // last call or refresh; a crash may lose the last minute
	Answered time.Time // last good answer of the provider, as in Upstream: a call reads it without unsealing
	Gen      uint32    // of the current refresh token; 0 = code not redeemed yet
	IssuedAt time.Time // of Gen
	Used     bool      // an access token of Gen was accepted
	Redeemed bool      // its code was exchanged
	Called   bool      // its first call took place

	State   State
	Ended   oauth.Reason // "" = living
	EndedAt time.Time
	Events  int // in its journal
}

// Living reports whether the grant has not ended.
func (g Grant) Living() bool { return g.Ended == "" }

// grantRecord is the record, with what only the store sees.
type grantRecord struct {
	Grant
	issued     stamp        // of Gen, by uptime: a step of the wall clock must not move the retry window
	key        []byte       // family key, sealed
	look       time.Time    // of its reminder: dueGrant while living, then dueTombstone
	seq        uint64       // of its last event
	lastReason oauth.Reason // of its last event
}

func (g *grantRecord) fields(c *codec) {
	text(c, &g.ClientID)
	text(c, &g.ClientName)
	num(c, &g.ClientKind)
	text(c, &g.Subject)
	scope(c, &g.Scope)
	text(c, &g.Resource)
	text(c, &g.RedirectURI)
	text(c, &g.Sid)
	when(c, &g.Created)
	when(c, &g.LastUse)
	num(c, &g.Gen)
	when(c, &g.IssuedAt)
	num(c, &g.issued.up)
	text(c, &g.issued.boot)
	flag(c, &g.Used)
	flag(c, &g.Redeemed)
	flag(c, &g.Called)
	num(c, &g.State)
	text(c, &g.Ended)
	when(c, &g.EndedAt)
	num(c, &g.Events)
	when(c, &g.look)
	num(c, &g.seq)
	text(c, &g.lastReason)
	text(c, &g.key)
	when(c, &g.Answered)
	g.issued.wall = g.IssuedAt
}

// grant reads a grant as the file has it.
func (t *txn) grant(id string) (*grantRecord, bool) {
	g := &grantRecord{Grant: Grant{ID: id}}
	if id == "" || !t.load(grantsBucket, id, g) {
		return nil, false
	}
	return g, true
}

// current reads a grant with what memory knows of its use.
func (t *txn) current(id string) (*grantRecord, bool) {
	g, ok := t.grant(id)
	if ok {
		t.uses.merge(g)
	}
	return g, ok
}

// living reads a grant that has not ended. Errors: ErrNotFound, ErrEnded.
func (t *txn) living(id string) (*grantRecord, error) {
	g, ok := t.current(id)
	if !ok {
		return nil, ErrNotFound
	}
	if !g.Living() {
		return nil, ErrEnded
	}
	return g, nil
}

// saveGrant writes the record; whoever changed it or its journal calls this last.
func (t *txn) saveGrant(g *grantRecord) { t.save(grantsBucket, g.ID, g) }

// setState moves the counters of grants by state.
func (t *txn) setState(g *grantRecord, s State) {
	if g.State == s {
		return
	}
	if g.State != 0 {
		t.count(g.State.String(), -1)
	}
	if s != 0 {
		t.count(s.String(), 1)
	}
	g.State = s
}

// Grant returns a grant, living or ended. It is on the path of every MCP call: one reading, nothing unsealed. Errors:
// ErrNotFound, ErrUnavailable.
func (s *Store) Grant(id string) (Grant, error) {
	var out Grant
	err := s.view(func(t *txn) error {
		g, ok := t.current(id)
		if !ok {
			return ErrNotFound
		}
		out = g.Grant
		return nil
	})
	return out, err
}

// GrantKey returns the 32 bytes that the grant's refresh tokens are authenticated with, of an ended grant too. Errors:
// ErrNotFound, ErrUnavailable.
func (s *Store) GrantKey(id string) (key []byte, err error) {
	err = s.view(func(t *txn) error {
		g, ok := t.grant(id)
		if !ok {
			return ErrNotFound
		}
		// Sealed for itself, in a record that is in clear: Grant, at every call, opens nothing.
		key, err = t.ring().Open("family", g.key, grantsBucket.ad(id))
		if err != nil {
			t.fail(errDamaged)
		}
		return nil
	})
	return key, err
}

// Grants returns at most limit grants in the order of their ids, those behind `after`; "" = from the beginning.
func (s *Store) Grants(after string, limit int) (grants []Grant, err error) {
	err = s.view(func(t *txn) error {
		var ids []string
		t.each(grantsBucket, "", after, func(id string, _ []byte) bool {
			if id != after && len(ids) < limit {
				ids = append(ids, id)
			}
			return len(ids) < limit
		})
		grants = t.grants(ids)
		return nil
	})
	return grants, err
}

// grants reads many; an id whose grant is gone meanwhile is passed over.
func (t *txn) grants(ids []string) []Grant {
	var out []Grant
	for _, id := range ids {
		if g, ok := t.current(id); ok {
			out = append(out, g.Grant)
		}
	}
	return out
}

// Counts returns the number of grants in each state, from the counters that the transitions move.
func (s *Store) Counts() (map[string]int64, error) {
	counts := map[string]int64{}
	err := s.view(func(t *txn) error {
		for _, name := range stateNames {
			counts[name] = int64(t.counter(name))
		}
		return nil
	})
	return counts, err
}
