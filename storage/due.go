package storage

import (
	"encoding/binary"
	"time"
)

// The bucket `due` says when to look at what, so that nothing is found by a scan:
//
//	kind (1 byte) │ Unix seconds (8, big-endian) │ key of the record → –
//
// The kind comes first: each reader walks exactly the entries of its own kind, however many of another kind wait (a
// clock that is not trusted holds back a whole month of some). An entry is a reminder only. Whoever takes it reads the
// record and decides by that.
type dueKind byte

const (
	dueAccess    dueKind = 'a' // upstream access token expires (metric; grants without a refresh token end)
	dueCode      dueKind = 'c' // code expires, or may be forgotten
	dueGrant     dueKind = 'g' // living grant: idle or age limit, old events
	dueIntent    dueKind = 'i' // upstream intent that no answer has cleared
	dueKeepalive dueKind = 'k'
	dueDoubt     dueKind = 'd' // since when a living grant's upstream tokens have been in doubt (metric)
	dueClient    dueKind = 'l' // client: unused for long?
	dueRequest   dueKind = 'r' // authorization request, or the memory of a finished one
	dueSignIn    dueKind = 's'
	dueTombstone dueKind = 't' // ended grant is forgotten
	dueRevoke    dueKind = 'v' // upstream token of an ended grant is to be revoked at the provider
	dueSession   dueKind = 'x' // upstream refresh token expires (metric)
)

// dueTime sorts as the time does.
func dueTime(at time.Time) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(max(at.Unix(), 0))))
}

// dueKey is an entry.
func dueKey(kind dueKind, at time.Time, key string) string {
	return string(rune(kind)) + dueTime(at) + key
}

// due sets a reminder; a zero time sets none.
func (t *txn) due(kind dueKind, at time.Time, key string) {
	if !at.IsZero() {
		t.put(dueBucket, dueKey(kind, at, key), []byte{})
	}
}

// undue takes a reminder back; one that was taken already is no fault.
func (t *txn) undue(kind dueKind, at time.Time, key string) {
	if !at.IsZero() {
		t.del(dueBucket, dueKey(kind, at, key))
	}
}

// redue moves a reminder; the same second costs nothing.
func (t *txn) redue(kind dueKind, from, to time.Time, key string) {
	if from.Unix() == to.Unix() && from.IsZero() == to.IsZero() {
		return
	}
	t.undue(kind, from, key)
	t.due(kind, to, key)
}

// dueEntry is one reminder found.
type dueEntry struct {
	kind dueKind
	at   time.Time
	key  string
}

// parseDue reads an entry's key.
func parseDue(k string) (dueEntry, bool) {
	if len(k) < 9 {
		return dueEntry{}, false
	}
	at := time.Unix(int64(binary.BigEndian.Uint64([]byte(k[1:9]))), 0).UTC()
	return dueEntry{dueKind(k[0]), at, k[9:]}, true
}

// dueUntil returns at most limit reminders of a kind up to and including now, the oldest first.
func (t *txn) dueUntil(kind dueKind, now time.Time, limit int) []dueEntry {
	var found []dueEntry
	prefix := string(rune(kind))
	t.each(dueBucket, prefix, "", func(k string, _ []byte) bool {
		e, ok := parseDue(k)
		if !ok || e.at.After(now) || len(found) == limit {
			return false
		}
		found = append(found, e)
		return true
	})
	return found
}

// dueKeys is dueUntil for callers outside a transition.
func (s *Store) dueKeys(kind dueKind, now time.Time, limit int) (keys []string, err error) {
	err = s.view(func(t *txn) error {
		for _, e := range t.dueUntil(kind, now, limit) {
			keys = append(keys, e.key)
		}
		return nil
	})
	return keys, err
}

// first returns the earliest reminder of a kind.
func (t *txn) first(kind dueKind) (first dueEntry, ok bool) {
	t.each(dueBucket, string(rune(kind)), "", func(k string, _ []byte) bool {
		first, ok = parseDue(k)
		return false
	})
	return first, ok
}

// OldestDoubt returns since when the upstream tokens of some living grant have been in doubt (protocol.md §8.3), zero =
// of none, and how many grants are. Errors: ErrUnavailable.
func (s *Store) OldestDoubt() (since time.Time, n int, err error) {
	err = s.view(func(t *txn) error {
		first, _ := t.first(dueDoubt)
		since, n = first.at, int(t.counter(StateInDoubt.String()))
		return nil
	})
	return since, n, err
}

// KeepaliveLag returns how late the keep-alive is that waits longest, 0 = none is late. Errors: ErrUnavailable.
func (s *Store) KeepaliveLag(now time.Time) (lag time.Duration, err error) {
	err = s.view(func(t *txn) error {
		if first, ok := t.first(dueKeepalive); ok {
			lag = max(now.Sub(first.at), 0)
		}
		return nil
	})
	return lag, err
}

// Expiring counts the living grants whose upstream access token and whose upstream session (refresh token) expire
// within each of the spans from now, for the metric hostedmcp_upstream_expiring. It walks the entries within the
// longest span, a million of them in about a tenth of a second: not for every scrape.
func (s *Store) Expiring(now time.Time, within ...time.Duration) (access, session []int, err error) {
	err = s.view(func(t *txn) error {
		access, session = t.expiring(dueAccess, now, within), t.expiring(dueSession, now, within)
		return nil
	})
	return access, session, err
}

// expiring counts one kind, for each of the spans, which lie within one another. It is each without a copy of the keys.
func (t *txn) expiring(kind dueKind, now time.Time, within []time.Duration) []int {
	counts, ends := make([]int, len(within)), make([]string, len(within))
	last := ""
	for i, span := range within {
		ends[i] = dueKey(kind, now.Add(span).Add(time.Second), "") // reminders are of whole seconds
		last = max(last, ends[i])
	}
	c := t.tx.Bucket(dueBucket.raw).Cursor()
	for k, _ := c.Seek([]byte(dueKey(kind, now, ""))); k != nil && string(k) < last; k, _ = c.Next() {
		for i := range ends {
			if string(k) < ends[i] {
				counts[i]++
			}
		}
	}
	return counts
}
