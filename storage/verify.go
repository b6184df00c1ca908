package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"hostedmcp/storage/seal"
)

// Verify re-reads the whole file and reports broken invariants, at most a hundred: each record decodes and opens, each index entry
// and each reminder leads to a record that asks for it, each record has its entries, counters equal what they count.
// It is for tests, `restore` and `check`, not for a start: it reads everything.
func (s *Store) Verify() error {
	var faults []error
	err := s.view(func(t *txn) error {
		v := &verifier{txn: t, counts: map[string]int{}, living: map[string]int{}}
		v.sealedBy()
		v.grants()
		v.clients()
		v.requests()
		v.pins()
		v.entries()
		v.reminders()
		v.counters()
		faults = v.faults
		return nil
	})
	return errors.Join(append(faults, err)...)
}

// verifier collects what it finds broken, and counts on the way.
type verifier struct {
	*txn
	faults []error
	counts map[string]int // what the counters must say
	living map[string]int // grants by client
}

// faultsMost bounds what is told of a file in which nothing is right.
const faultsMost = 100

// bad notes a broken invariant unless ok.
func (v *verifier) bad(ok bool, format string, args ...any) {
	if !ok && len(v.faults) < faultsMost {
		v.faults = append(v.faults, fmt.Errorf(format, args...))
	}
}

func (v *verifier) has(b bucket, key string) bool { return v.get(b, key) != nil }

// sealedBy takes the keys from the file: what only a key in memory opens is lost with this process.
func (v *verifier) sealedBy() {
	keys, _, err := v.unwrap([]seal.Key{v.keys.Load().master})
	v.bad(err == nil, "the keys do not open with the master key")
	if err != nil {
		return
	}
	v.only = keys.Ring
	v.bad(v.loadMeta(v.only, signingKey, &signingKeys{}), "the signing keys do not open")
}

func (v *verifier) grants() {
	v.each(grantsBucket, "", "", func(id string, _ []byte) bool {
		g, ok := v.grant(id)
		v.bad(ok, "grant %s does not decode", id)
		if ok {
			v.oneGrant(g)
		}
		return v.fault == nil
	})
}

// oneGrant checks a grant and everything that must hang from it.
func (v *verifier) oneGrant(g *grantRecord) {
	v.counts[g.State.String()]++
	v.bad(g.Living() == (g.State != StateEnded), "grant %s: state %s, ended %q", g.ID, g.State, g.Ended)
	_, err := v.ring().Open("family", g.key, grantsBucket.ad(g.ID))
	v.bad(err == nil, "grant %s: family key does not open", g.ID)
	var i Identity
	v.bad(v.load(identitiesBucket, g.ID, &i), "grant %s has no identity", g.ID)
	v.bad(i.Email == "" || v.has(subjectBucket, v.emailPrefix(i.Email)+g.ID), "grant %s is not found by e-mail", g.ID)

	events := v.eventsOf(g)
	v.bad(len(events) == g.Events, "grant %s says %d events and has %d", g.ID, g.Events, len(events))
	v.bad(len(events) == 0 || events[len(events)-1].Seq == g.seq, "grant %s: last event is not %d", g.ID, g.seq)

	index, reminder := indexEnded, dueTombstone
	if g.Living() {
		index, reminder = indexLiving, dueGrant
		v.living[g.ClientID]++
		_, ok := v.upstream(g.ID)
		v.bad(ok, "grant %s lives without upstream record", g.ID)
	}
	v.bad(v.has(subjectBucket, subjectPrefix(index, g.Subject)+g.ID), "grant %s is not found by subject", g.ID)
	v.bad(g.Sid == "" || g.Living() == v.has(sessionBucket, sessionKey(g.Sid, g.ID)), "grant %s: by_session is wrong", g.ID)
	v.bad(v.has(dueBucket, dueKey(reminder, g.look, g.ID)), "grant %s has no reminder", g.ID)
	v.oneUpstream(g)
}

// oneUpstream checks the tokens of a grant, and that the grant's state is theirs.
func (v *verifier) oneUpstream(g *grantRecord) {
	u, ok := v.upstream(g.ID)
	if !ok {
		return
	}
	for kind, at := range u.dues(g.Living()) {
		// May have been taken; that of a doubt is not there from before it was kept.
		metric := kind == dueAccess || kind == dueSession || kind == dueDoubt
		v.bad(at.IsZero() || metric && at.Before(v.now) || v.has(dueBucket, dueKey(kind, at, g.ID)),
			"upstream of %s has no reminder %c", g.ID, kind)
	}
	v.bad(!g.Living() || !g.Redeemed || g.State == u.state(),
		"grant %s is %s, its upstream %s", g.ID, g.State, u.state())
}

func (v *verifier) pins() {
	v.each(pinsBucket, "", "", func(k string, _ []byte) bool {
		v.bad(v.load(pinsBucket, k, &Pin{}), "a pin does not open")
		return v.fault == nil
	})
}

func (v *verifier) clients() {
	v.each(clientsBucket, "", "", func(id string, _ []byte) bool {
		r, ok := v.client(id)
		v.bad(ok, "client %s does not decode", id)
		if ok {
			v.counts[r.Kind.counter()]++
			v.bad(r.Living == v.living[id], "client %s says %d living grants and has %d", id, r.Living, v.living[id])
			v.bad(v.has(dueBucket, dueKey(dueClient, r.look, id)), "client %s has no reminder", id)
		}
		return v.fault == nil
	})
}

// requests checks records and index entries of the bucket that holds both.
func (v *verifier) requests() {
	entries := 0
	v.each(requestsBucket, "", "", func(id string, _ []byte) bool {
		if id[0] < ' ' {
			entries++
			return true
		}
		r, ok := v.request(id)
		v.bad(ok, "request %s does not open", id)
		if !ok {
			return v.fault == nil
		}
		v.bad(v.has(dueBucket, dueKey(dueRequest, r.until, id)), "request %s has no reminder", id)
		if !r.finished {
			v.counts[requestsWaiting]++
			for _, prefix := range r.prefixes() {
				v.bad(v.has(requestsBucket, prefix+dueTime(r.Created)+id), "request %s is not in an index", id)
			}
		}
		return true
	})
	v.bad(entries == 3*v.counts[requestsWaiting], "%d waiting requests have %d index entries", v.counts[requestsWaiting], entries)
}

// entries follows every index entry and every record that hangs from a grant back to the grant.
func (v *verifier) entries() {
	leads := func(b bucket, id func(string) string) {
		v.each(b, "", "", func(k string, _ []byte) bool {
			v.bad(v.has(grantsBucket, id(k)), "%s has an entry without a grant", b.name)
			return true
		})
	}
	const idLength = 26
	tail := func(k string) string { return k[max(len(k)-idLength, 0):] }
	head := func(k string) string { return k[:min(len(k), idLength)] }
	leads(subjectBucket, tail)
	leads(sessionBucket, tail)
	leads(eventsBucket, head)
	leads(upstreamBucket, head)
	leads(identitiesBucket, head)
	v.each(codesBucket, "", "", func(k string, _ []byte) bool {
		var code codeRecord
		ok := v.load(codesBucket, k, &code)
		v.bad(ok && v.has(dueBucket, dueKey(dueCode, code.look(), k)), "a code has no reminder")
		return v.fault == nil
	})
	v.each(signinsBucket, "", "", func(k string, _ []byte) bool {
		var in SignIn
		ok := v.load(signinsBucket, k, &in)
		v.bad(ok && v.has(dueBucket, dueKey(dueSignIn, in.Expires, k)), "a sign-in has no reminder")
		return v.fault == nil
	})
}

// reminders looks for ones that nobody asked for.
func (v *verifier) reminders() {
	v.each(dueBucket, "", "", func(k string, _ []byte) bool {
		e, ok := parseDue(k)
		v.bad(ok, "due has a key of %d bytes", len(k))
		if ok {
			v.bad(v.asked(e), "reminder %c of %s is asked for by nobody", e.kind, e.at.Format(time.RFC3339))
		}
		return v.fault == nil
	})
}

// asked says whether the record that a reminder leads to wants to be looked at then.
func (v *verifier) asked(e dueEntry) bool {
	at := time.Time{}
	switch e.kind {
	case dueGrant, dueTombstone:
		if g, ok := v.grant(e.key); ok && g.Living() == (e.kind == dueGrant) {
			at = g.look
		}
	case dueClient:
		if r, ok := v.client(e.key); ok {
			at = r.look
		}
	case dueRequest:
		if r, ok := v.request(e.key); ok {
			at = r.until
		}
	case dueCode:
		var code codeRecord
		if v.load(codesBucket, e.key, &code) {
			at = code.look()
		}
	case dueSignIn:
		var in SignIn
		if v.load(signinsBucket, e.key, &in) {
			at = in.Expires
		}
	default:
		g, ok := v.grant(e.key)
		if u, found := v.upstream(e.key); ok && found {
			at = u.dues(g.Living())[e.kind]
		}
	}
	return !at.IsZero() && at.Unix() == e.at.Unix()
}

// counters compares what the transitions moved with what is there.
func (v *verifier) counters() {
	v.each(metaBucket, "count/", "", func(k string, value []byte) bool {
		name := k[len("count/"):]
		n := int(binary.BigEndian.Uint64(value))
		v.bad(n == v.counts[name], "counter %s says %d, there are %d", name, n, v.counts[name])
		delete(v.counts, name)
		return true
	})
	for name, n := range v.counts {
		v.bad(n == 0, "counter %s is missing, there are %d", name, n)
	}
}
