package storage

import (
	"bytes"
	"context"
	"crypto/subtle"
	"time"

	"hostedmcp/auth/oauth"
)

// Request is an authorization request from its approval to the callback (protocol.md §4.2, §4.5): what the ticket
// said, and what binds the provider's answer to it. The record is sealed.
type Request struct {
	ID              string   // upper-case letters and digits (rand.Text)
	StateHash       [32]byte // SHA-256 of the state's secret half
	BindHash        [32]byte // SHA-256 of the binding cookie
	Verifier, Nonce oauth.Secret
	SignIn          bool // our own sign-in for the status page; no client

	ClientID, ClientName, RedirectURI, Scope, Resource, Challenge, State string

	ClientDocument *Client // stored with the approval; nil = no metadata document. Not read back

	Address       string    // of the browser, for the limits
	Created       time.Time // zero = the transition's time
	Expires       time.Time // approval (`signin_wait`)
	TicketExpires time.Time // until then a finished id is remembered
	Events        []Event   // so far; new ones are stamped and told
}

// requestRecord is a waiting request, or the memory of a finished one.
type requestRecord struct {
	Request
	finished bool
	until    time.Time // of its reminder
}

func (r *requestRecord) fields(c *codec) {
	flag(c, &r.finished)
	when(c, &r.until)
	if r.finished {
		return
	}
	hash(c, &r.StateHash)
	hash(c, &r.BindHash)
	text(c, &r.Verifier)
	text(c, &r.Nonce)
	flag(c, &r.SignIn)
	for _, s := range []*string{&r.ClientID, &r.ClientName, &r.RedirectURI, &r.Scope, &r.Resource, &r.Challenge, &r.State, &r.Address} {
		text(c, s)
	}
	when(c, &r.Created)
	when(c, &r.Expires)
	when(c, &r.TicketExpires)
	n := len(r.Events)
	num(c, &n)
	if c.reading {
		r.Events = make([]Event, min(n, len(c.in)))
	}
	for i := range r.Events {
		r.Events[i].fields(c)
	}
}

// ApproveLimits bound waiting approvals; when one is full its oldest goes. 0 = no limit.
type ApproveLimits struct{ Max, PerBrowser, PerAddress int }

// Waiting requests are indexed in their own bucket, by keys that no request id begins with:
//
//	1 │ created │ id    2 │ binding hash │ created │ id    3 │ address │ 0 │ created │ id
const (
	requestsByTime    = "\x01"
	requestsByBrowser = "\x02"
	requestsByAddress = "\x03"

	requestsWaiting = "requests" // counter
)

// prefixes are those of its three index entries.
func (r *requestRecord) prefixes() [3]string {
	return [3]string{requestsByTime, requestsByBrowser + string(r.BindHash[:]), requestsByAddress + r.Address + "\x00"}
}

// request reads a record. An id from outside that looks like an index entry is unknown.
func (t *txn) request(id string) (*requestRecord, bool) {
	r := &requestRecord{Request: Request{ID: id}}
	if id == "" || id[0] < ' ' || !t.load(requestsBucket, id, r) {
		return nil, false
	}
	return r, true
}

// addRequest writes a waiting request with its index entries.
func (t *txn) addRequest(r *requestRecord) {
	for _, prefix := range r.prefixes() {
		t.put(requestsBucket, prefix+dueTime(r.Created)+r.ID, []byte{})
	}
	t.save(requestsBucket, r.ID, r)
	t.due(dueRequest, r.until, r.ID)
	t.count(requestsWaiting, 1)
}

// removeRequest removes a waiting or finished request with everything that points to it.
func (t *txn) removeRequest(r *requestRecord) {
	t.del(requestsBucket, r.ID)
	t.undue(dueRequest, r.until, r.ID)
	if r.finished {
		return
	}
	for _, prefix := range r.prefixes() {
		t.del(requestsBucket, prefix+dueTime(r.Created)+r.ID)
	}
	t.count(requestsWaiting, -1)
}

// finish remembers an id until its ticket expires, so that the ticket gives no second answer.
func (t *txn) finish(id string, until time.Time) {
	r := &requestRecord{Request: Request{ID: id}, finished: true, until: until}
	t.save(requestsBucket, id, r)
	t.due(dueRequest, until, id)
}

// Approve stores an approved authorization request, with the client's metadata document. A second approval of an id
// replaces the first: the state of the first leads nowhere then. Errors: ErrFinished, ErrUnavailable.
func (s *Store) Approve(ctx context.Context, in Request, limits ApproveLimits) error {
	return s.write(ctx, func(t *txn) error {
		r := &requestRecord{Request: in, until: in.Expires}
		old, ok := t.request(in.ID)
		switch {
		case ok && old.finished:
			return ErrFinished
		case ok:
			t.removeRequest(old)
		}
		if r.Created.IsZero() {
			r.Created = t.now
		}
		if r.TicketExpires.After(r.until) {
			r.until = r.TicketExpires
		}
		r.Events = append([]Event(nil), in.Events...)
		for i := range r.Events {
			t.stamp(&r.Events[i])
		}
		t.makeRoom(r, limits)
		t.addRequest(r)
		if in.ClientDocument != nil {
			t.saveDocument(*in.ClientDocument)
		}
		t.useClient(in.ClientID, clientBusy, 0)
		return nil
	})
}

// makeRoom lets the oldest waiting requests go where a limit is reached.
func (t *txn) makeRoom(r *requestRecord, limits ApproveLimits) {
	prefixes := r.prefixes()
	// The browser's and the address's entries are few and counted; all waiting ones have a counter.
	for i, most := range []int{limits.Max, limits.PerBrowser, limits.PerAddress} {
		if most <= 0 || i == 2 && r.Address == "" || i == 0 && t.counter(requestsWaiting) < uint64(most) {
			continue
		}
		over := 1 - most
		if i == 0 {
			over += int(t.counter(requestsWaiting))
		} else {
			over += t.countKeys(requestsBucket, prefixes[i])
		}
		t.dropRequests(prefixes[i], over)
	}
}

// countKeys counts the keys with a prefix, and copies none of them.
func (t *txn) countKeys(b bucket, prefix string) (n int) {
	if t.fault != nil {
		return 0
	}
	p := []byte(prefix)
	c := t.tx.Bucket(b.raw).Cursor()
	for k, _ := c.Seek(p); bytes.HasPrefix(k, p); k, _ = c.Next() {
		n++
	}
	return n
}

// dropRequests lets the n oldest requests behind a prefix go: the keys sort by time.
func (t *txn) dropRequests(prefix string, n int) {
	var ids []string
	t.each(requestsBucket, prefix, "", func(k string, _ []byte) bool {
		if len(ids) < n {
			ids = append(ids, k[len(prefix)+8:])
		}
		return len(ids) < n
	})
	for _, id := range ids {
		if r, ok := t.request(id); ok {
			t.removeRequest(r)
		}
	}
}

// FinishRequest remembers that a request was denied: its ticket is of no use until it expires anyway.
func (s *Store) FinishRequest(ctx context.Context, id string, until time.Time) error {
	s.requests.take(id)
	return s.write(ctx, func(t *txn) error {
		if old, ok := t.request(id); ok {
			t.removeRequest(old)
		}
		t.finish(id, until)
		return nil
	})
}

// CheckRequest says what TakeRequest would, and consumes nothing: what does not belong here costs no commit. Errors as
// TakeRequest.
func (s *Store) CheckRequest(id string, stateHash, bindHash [32]byte) error {
	return s.view(func(t *txn) error {
		r, ok := t.request(id)
		if !ok {
			return ErrNotFound
		}
		return t.remembered(r).check(t.now, stateHash, bindHash)
	})
}

// remembered is the request as it was before its taking, if whoever took it had no answer; else r.
func (s *Store) remembered(r *requestRecord) *requestRecord {
	if was, ok := s.requests.get(r.ID); ok && r.finished {
		return &requestRecord{Request: was}
	}
	return r
}

// TakeRequest consumes a request: exactly one caller gets it (protocol.md §4.5 steps 2 to 4). Everything else consumes
// nothing. Errors, in this order: ErrNotFound, ErrFinished, ErrReplaced (another state secret), ErrExpired,
// ErrBrowser, ErrUnavailable; the request may be taken again after that one.
func (s *Store) TakeRequest(ctx context.Context, id string, stateHash, bindHash [32]byte) (Request, error) {
	var out Request
	err := s.write(ctx, func(t *txn) error {
		out = Request{}
		r, ok := t.request(id)
		if !ok {
			return ErrNotFound
		}
		if err := r.check(t.now, stateHash, bindHash); err != nil {
			return err
		}
		t.removeRequest(r)
		t.finish(id, r.until) // its ticket must not be approved again: at most one code per request
		out = r.Request
		return nil
	})
	if err == ErrFinished {
		return s.takeAgain(id, stateHash, bindHash)
	}
	if out.ID != "" { // else it was refused, or never ran
		s.requests.note(id, out, err)
	}
	if err != nil {
		return Request{}, err
	}
	return out, nil
}

// takeAgain gives out a request whose taker had no answer, to one caller. While the disk is bad it is not spent: what
// follows could not be stored.
func (s *Store) takeAgain(id string, stateHash, bindHash [32]byte) (Request, error) {
	r := s.remembered(&requestRecord{Request: Request{ID: id}, finished: true})
	if err := r.check(s.Now(), stateHash, bindHash); err != nil {
		return Request{}, err
	}
	if err := s.Ready(); err != nil {
		return Request{}, err
	}
	if _, ok := s.requests.take(id); !ok {
		return Request{}, ErrFinished
	}
	return r.Request, nil
}

// check holds what came back from the provider against what was approved, secrets in constant time. The secret half of
// the state comes before everything that would tell a guesser something about the request.
func (r *requestRecord) check(now time.Time, stateHash, bindHash [32]byte) error {
	switch {
	case r.finished:
		return ErrFinished
	case subtle.ConstantTimeCompare(r.StateHash[:], stateHash[:]) != 1:
		return ErrReplaced
	case now.After(r.Expires):
		return ErrExpired
	case subtle.ConstantTimeCompare(r.BindHash[:], bindHash[:]) != 1:
		return ErrBrowser
	}
	return nil
}
