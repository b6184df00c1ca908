package storage

import (
	"encoding/binary"
	"slices"
	"time"

	"hostedmcp/auth/oauth"
)

// Event is one entry of the journal. It is written in the transaction of what it tells and holds no secret.
type Event struct {
	Grant string // "" for an authorization request that has not led to a grant
	Seq   uint64 // order within the grant, with gaps where events were dropped

	At   time.Time // when it happened; zero = the transition's time
	Last time.Time // of the latest repetition; At if there was none
	// Count is the number of repetitions in a row that were merged, at least 1. Callers leave it 0: the event is new,
	// and OnEvent is told. One that was stored before (in an authorization request) has a count and is not told again.
	Count uint32

	Reason  oauth.Reason
	Client  string // client id
	Request string // request id of the HTTP request
	Address string // of the caller; "" for our own doing
	Note    string // a constant or a number that explains, never text of a stranger
}

func (e *Event) fields(c *codec) {
	when(c, &e.At)
	when(c, &e.Last)
	num(c, &e.Count)
	text(c, &e.Reason)
	text(c, &e.Client)
	text(c, &e.Request)
	text(c, &e.Address)
	text(c, &e.Note)
}

// eventsFirst is how many events from a grant's beginning always stay: the funnel of its login.
const eventsFirst = 8

// repeats are the events of a healthy life, merged when they follow each other.
var repeats = []oauth.Reason{oauth.RefreshOK, oauth.RefreshSame, oauth.RefreshOutage, oauth.KeepaliveOK, oauth.RecheckOK,
	oauth.UpstreamUnreachable, oauth.UpstreamError, oauth.UpstreamConfig, oauth.UpstreamBadAnswer, oauth.UpstreamSuspect,
	oauth.UpstreamInDoubt}

// eventKey sorts the events of a grant in their order.
func eventKey(grant string, seq uint64) string {
	return grant + string(binary.BigEndian.AppendUint64(nil, seq))
}

// stamp fills in what the transition knows, and notes that a new event is to be told.
func (t *txn) stamp(e *Event) {
	if e.Count > 0 {
		return
	}
	if e.At.IsZero() {
		e.At = t.now
	}
	e.Last, e.Count = e.At, 1
	t.events = append(t.events, *e)
}

// journal writes an event of a grant; the caller saves the grant after it. An event without a reason is none.
func (t *txn) journal(g *grantRecord, e Event) {
	if e.Reason == "" {
		return
	}
	e.Grant = g.ID
	if e.Client == "" {
		e.Client = g.ClientID
	}
	if e.Reason == g.lastReason && slices.Contains(repeats, e.Reason) {
		t.repeat(g, e)
		return
	}
	g.seq++
	e.Seq = g.seq
	t.stamp(&e)
	t.saveEvent(g, e)
	g.lastReason = e.Reason
	g.Events++
	if g.Events > t.opt.Config.EventsPerGrant {
		t.dropOldest(g)
	}
}

// repeat merges an event into the last one, which has the same reason: its time and its request are the latest.
func (t *txn) repeat(g *grantRecord, e Event) {
	var last Event
	if !t.load(eventsBucket, eventKey(g.ID, g.seq), &last) {
		return
	}
	e.Seq = g.seq
	t.stamp(&e)
	e.At, e.Count = last.At, last.Count+1
	t.saveEvent(g, e)
}

// saveEvent leaves out what the grant's record says already.
func (t *txn) saveEvent(g *grantRecord, e Event) {
	if e.Client == g.ClientID {
		e.Client = ""
	}
	t.save(eventsBucket, eventKey(g.ID, e.Seq), &e)
}

// dropOldest removes the oldest event behind the first ones that does not tell of an end.
func (t *txn) dropOldest(g *grantRecord) {
	t.dropEvents(g, 1, func(Event) bool { return true })
}

// dropEvents removes at most n of the events that may go and that old says are old.
func (t *txn) dropEvents(g *grantRecord, n int, old func(Event) bool) {
	var gone []string
	t.each(eventsBucket, g.ID, eventKey(g.ID, eventsFirst+1), func(k string, v []byte) bool {
		var e Event
		if !decode(v, &e) || e.Reason.Group() != oauth.GroupEnded && old(e) {
			gone = append(gone, k)
		}
		return len(gone) < n
	})
	for _, k := range gone {
		t.del(eventsBucket, k)
	}
	g.Events -= len(gone)
}

// eventsOf reads the journal of a grant in order.
func (t *txn) eventsOf(g *grantRecord) []Event {
	var events []Event
	t.each(eventsBucket, g.ID, "", func(k string, v []byte) bool {
		var e Event
		if !decode(v, &e) {
			t.fail(errDamaged)
			return false
		}
		e.Grant, e.Seq = g.ID, binary.BigEndian.Uint64([]byte(k[len(g.ID):]))
		if e.Client == "" {
			e.Client = g.ClientID
		}
		events = append(events, e)
		return true
	})
	return events
}

// Events returns the journal of a grant, the oldest first. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) Events(grantID string) (events []Event, err error) {
	err = s.view(func(t *txn) error {
		g, ok := t.grant(grantID)
		if !ok {
			return ErrNotFound
		}
		events = t.eventsOf(g)
		return nil
	})
	return events, err
}
