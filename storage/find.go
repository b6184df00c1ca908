package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"strings"
)

// What operators look for: by what they were told, not by a key. Such a search may read everything, so it goes in
// pages, each a transaction of its own: a reader that stays holds back the pages that commits would use again.

// scanPage is how many records one transaction reads.
const scanPage = 1000

// scan shows the records of a bucket behind a key in their order, until look has seen enough. What it is shown dies
// with its page.
func (s *Store) scan(ctx context.Context, b bucket, after string, look func(t *txn, key string, value []byte) bool) error {
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return unavailable(err)
		}
		more = false
		err := s.view(func(t *txn) error {
			n := 0
			t.each(b, "", after, func(k string, v []byte) bool {
				if k == after {
					return true
				}
				if n++; n > scanPage {
					more = true
					return false
				}
				after = k
				return look(t, k, v)
			})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Query says which grants are looked for: those that all its fields fit. The zero Query fits all.
type Query struct {
	Subject string  // subject, or e-mail address in whatever case
	Client  string  // client id, or part of the client's name in whatever case
	States  []State // any of them; nil = all
	After   string  // the next of the page before; "" = from the beginning
	Limit   int     // of the page; 0 = 100, at most 1000
}

const (
	findPage = 100
	findMost = 1000
)

func (q *Query) bound() {
	if q.Limit <= 0 {
		q.Limit = findPage
	}
	q.Limit = min(q.Limit, findMost)
}

// fits judges all but the subject and the place.
func (q *Query) fits(g *Grant) bool {
	if len(q.States) > 0 && !slices.Contains(q.States, g.State) {
		return false
	}
	return q.Client == "" || g.ClientID == q.Client || containsFold(g.ClientName, q.Client)
}

func containsFold(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

// Find returns a page of grants, living and ended, in the order of their ids; next is what to look After for more, ""
// at the end. A subject is found by an index, all else by reading. Errors: ErrUnavailable, also for a ctx that ended.
func (s *Store) Find(ctx context.Context, q Query) (page []Grant, next string, err error) {
	q.bound()
	more := false
	take := func(t *txn, id string, g *grantRecord) bool {
		t.uses.merge(g)
		switch {
		case id <= q.After || !q.fits(&g.Grant):
			return true
		case len(page) == q.Limit:
			more = true
			return false
		}
		page = append(page, g.Grant)
		return true
	}
	if q.Subject != "" {
		err = s.view(func(t *txn) error { t.grantsOf(q.Subject, take); return nil })
	} else {
		err = s.scan(ctx, grantsBucket, q.After, func(t *txn, id string, v []byte) bool {
			g := &grantRecord{Grant: Grant{ID: id}}
			if !decode(v, g) {
				t.fail(errDamaged)
				return false
			}
			return take(t, id, g)
		})
	}
	if err != nil {
		return nil, "", err
	}
	if more {
		next = page[len(page)-1].ID
	}
	return page, next, nil
}

// grantsOf shows the grants of a subject or an e-mail address, in the order of their ids, until take has enough.
func (t *txn) grantsOf(who string, take func(*txn, string, *grantRecord) bool) {
	for _, id := range t.idsOf(who) {
		if g, ok := t.grant(id); ok && !take(t, id, g) {
			return
		}
	}
}

// idsOf returns the ids of all grants of a subject or an e-mail address, in order, each once.
func (t *txn) idsOf(who string) []string {
	ids := append(t.ids(subjectBucket, subjectPrefix(indexLiving, who)), t.ids(subjectBucket, subjectPrefix(indexEnded, who))...)
	ids = append(ids, t.ids(subjectBucket, t.emailPrefix(who))...)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Names returns at most limit subjects that a word may mean: a subject or an e-mail address, both by index, then
// everybody whose name or address holds it, in whatever case. The latter reads all identities while fewer are found:
// ctx bounds it. A word of nothing finds nobody. Errors: ErrUnavailable, also for a ctx that ended.
func (s *Store) Names(ctx context.Context, word string, limit int) (subjects []string, err error) {
	if word = strings.TrimSpace(word); word == "" || limit <= 0 {
		return nil, nil
	}
	known := func(subject string) {
		if len(subjects) < limit && !slices.Contains(subjects, subject) {
			subjects = append(subjects, subject)
		}
	}
	err = s.view(func(t *txn) error {
		for _, id := range t.idsOf(word) {
			if g, ok := t.grant(id); ok {
				known(g.Subject)
			}
		}
		return nil
	})
	if err != nil || len(subjects) == limit {
		return subjects, err
	}
	err = s.scan(ctx, identitiesBucket, "", func(t *txn, id string, _ []byte) bool {
		var i Identity
		if t.load(identitiesBucket, id, &i) && i.named(word) {
			known(i.Subject)
		}
		return len(subjects) < limit
	})
	if err != nil {
		return nil, err
	}
	return subjects, nil
}

func (i *Identity) named(part string) bool {
	return containsFold(i.Name, part) || containsFold(i.PreferredUsername, part) || containsFold(i.Email, part)
}

// requestEventsMost bounds an answer; one HTTP request writes a few events, unless it ends all grants of a user.
const requestEventsMost = 1000

// EventsOfRequest returns the journal events that name an HTTP request by its id, of grants and of authorization
// requests that wait (those have no grant), at most a thousand. It reads the whole journal. Errors: ErrUnavailable,
// also for a ctx that ended.
func (s *Store) EventsOfRequest(ctx context.Context, request string) (events []Event, err error) {
	if request == "" {
		return nil, nil
	}
	name := []byte(request)
	err = s.scan(ctx, eventsBucket, "", func(t *txn, k string, v []byte) bool {
		var e Event
		// Most events name another: they are not decoded for it.
		if len(k) > 8 && bytes.Contains(v, name) && decode(v, &e) && e.Request == request {
			e.Grant, e.Seq = k[:len(k)-8], binary.BigEndian.Uint64([]byte(k[len(k)-8:]))
			if g, ok := t.grant(e.Grant); ok && e.Client == "" {
				e.Client = g.ClientID
			}
			events = append(events, e)
		}
		return len(events) < requestEventsMost
	})
	if err == nil {
		err = s.scan(ctx, requestsBucket, requestsEntries, func(t *txn, id string, _ []byte) bool {
			if r, ok := t.request(id); ok {
				events = append(events, r.eventsOf(request)...)
			}
			return len(events) < requestEventsMost
		})
	}
	if err != nil {
		return nil, err
	}
	return events, nil
}

// requestsEntries is behind the last index entry of the bucket, and before the first id.
const requestsEntries = "\x1f"

// eventsOf picks the events of a waiting request that name an HTTP request.
func (r *requestRecord) eventsOf(request string) (events []Event) {
	for _, e := range r.Events {
		if e.Request == request {
			if e.Client == "" {
				e.Client = r.ClientID
			}
			events = append(events, e)
		}
	}
	return events
}
