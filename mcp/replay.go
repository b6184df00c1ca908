package mcp

// This file keeps the events of calls that take long, so that a client whose connection broke can go on where it was
// (MCP 2025-11-25 "Resumability and Redelivery").

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hostedmcp/auth/oauth"
)

const (
	// primeAfter is how long a call may take before its answer becomes a stream that can be taken up again. Most are over
	// by then and are answered in one piece.
	primeAfter = 20 * time.Millisecond
	// retryAfterBreak is when clients are told to come back, in ms.
	retryAfterBreak = "1000"
	// holdTime is how long the events of an answered call are held: a client may not have got the last of them.
	holdTime = time.Minute
	// maxReplays is how many calls of one session can be taken up again at a time.
	maxReplays = 32
	// maxHeld is how many bytes of events are held for all users together, and maxHeldPerUser for one. What is beyond it
	// is sent, but not again.
	maxHeld        = 64 << 20
	maxHeldPerUser = maxHeld / 4
)

// hold is what is held for all clients that may come back. mu guards what stands below it.
type hold struct {
	time time.Duration // holdTime

	mu       sync.Mutex
	bytes    int
	users    map[string]int // bytes by subject
	answered []*replay      // oldest first
}

// take makes room for n bytes of a user and reports whether there is any. Answered calls give way, the oldest first.
func (h *hold) take(subject string, n int) bool {
	for {
		h.mu.Lock()
		room := h.users[subject]+n <= maxHeldPerUser
		if !room || h.bytes+n <= maxHeld {
			if room {
				h.add(subject, n)
			}
			h.mu.Unlock()
			return room
		}
		if len(h.answered) == 0 {
			h.mu.Unlock()
			return false
		}
		oldest := h.answered[0]
		h.mu.Unlock()
		oldest.drop()
	}
}

// add counts bytes of a user, or with n < 0 gives them back. mu is held.
func (h *hold) add(subject string, n int) {
	if h.users == nil {
		h.users = map[string]int{}
	}
	h.bytes += n
	if h.users[subject] += n; h.users[subject] == 0 {
		delete(h.users, subject)
	}
}

// done notes that a call was answered: from now on it gives way to others.
func (h *hold) done(r *replay) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answered = append(h.answered, r)
}

// release gives the bytes of a replay back.
func (h *hold) release(r *replay, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.add(r.subject, -n)
	h.answered = slices.DeleteFunc(h.answered, func(o *replay) bool { return o == r })
}

// replay is the answer to one call of a session, event by event. mu guards what stands below it. While it is held for a
// call under way, that of an answered one may be taken, which takes no other.
type replay struct {
	id      string      // of the stream; its events are id-0, id-1, ...
	request []byte      // id of the call
	scopes  oauth.Scope // that the call needed, and so does who takes it up
	subject string
	hold    *hold

	mu      sync.Mutex
	count   int         // of the events so far
	held    []heldEvent // some or all of them
	bytes   int         // of held
	over    bool        // the last one is the answer
	dropped bool        // nothing is held any more
	readers int         // connections that took it up
	news    chan struct{}
	forgets *time.Timer // set when it is over
}

// heldEvent is one event as it is sent.
type heldEvent struct {
	number int
	text   []byte
}

// newReplay begins one for a call of this id, in place of the oldest that was answered; nil if all are under way, or the
// session has ended.
func (p *sessionPeer) newReplay(request []byte, scopes oauth.Scope) *replay {
	r := &replay{id: rand.Text(), news: make(chan struct{}), request: request, scopes: scopes, subject: p.subject, hold: p.hold}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil
	}
	if len(p.replays) >= maxReplays {
		i := slices.IndexFunc(p.replays, (*replay).isOver)
		if i < 0 {
			return nil
		}
		p.replays[i].drop()
		p.replays = slices.Delete(p.replays, i, i+1)
	}
	p.replays = append(p.replays, r)
	return r
}

// resumes finds what an event id belongs to, and the number of the next event; nil if it is none that this session was
// given, or the call needed more than scope.
func (p *sessionPeer) resumes(event string, scope oauth.Scope) (*replay, int) {
	id, number, _ := strings.Cut(event, "-")
	n, err := strconv.Atoi(number)
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.replays, func(r *replay) bool { return r.id == id })
	if i < 0 || err != nil || n < 0 || !p.replays[i].reached(n) || !scope.Contains(p.replays[i].scopes) {
		return nil, 0
	}
	return p.replays[i], n + 1
}

// reached reports whether there was an event of this number.
func (r *replay) reached(number int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return number < r.count
}

// add appends an event with the given message, nil for the first, which says only how to come back. It returns the
// event as it is sent, and whether it is held; nil after the answer, which is the last.
func (r *replay) add(message []byte, last bool) (event []byte, held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil, false
	}
	event = r.event(r.count, message)
	if held = !r.dropped && r.hold.take(r.subject, len(event)); held {
		r.held = append(r.held, heldEvent{r.count, event})
		r.bytes += len(event)
	}
	r.count++
	r.over = last
	close(r.news)
	r.news = make(chan struct{})
	return event, held
}

// event writes one (WHATWG HTML "Server-sent events").
func (r *replay) event(number int, message []byte) []byte {
	id := "id: " + r.id + "-" + strconv.Itoa(number) + "\n"
	if message == nil {
		return []byte(id + "retry: " + retryAfterBreak + "\ndata: \n\n")
	}
	return append([]byte(id), frame(message)...)
}

// read returns what comes from number on, whether that was all, and otherwise what is closed when there is more. What was
// not held is left out; in place of an answer its client hears that it is lost.
func (r *replay) read(number int) (events [][]byte, next int, over bool, more <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	answer := r.count - 1
	for _, e := range r.held {
		if e.number >= number {
			events = append(events, e.text)
		}
		if e.number == answer {
			answer = -1
		}
	}
	if r.over && number <= answer {
		events = append(events, r.event(answer, faultBody(r.request, errInternal)))
	}
	return events, r.count, r.over, r.news
}

// repeat sends a client that came back what comes from an event on, and goes on until the answer.
func (r *replay) repeat(next int) work {
	return func(st *stream, _ *http.Request, _ *call) *refusal {
		defer r.reading()()
		for {
			events, after, over, more := r.read(next)
			if st.writer.repeat(events) != nil || over {
				return nil
			}
			next = after
			select {
			case <-more:
			case <-st.ctx.Done():
				return nil
			}
		}
	}
}

// reading counts a connection that took it up, until the returned function is called.
func (r *replay) reading() (done func()) {
	count := func(n int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.readers += n
	}
	count(1)
	return func() { count(-1) }
}

// isRead reports whether somebody took it up who hears what comes. A nil replay is nobody's.
func (r *replay) isRead() bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.readers > 0 && !r.over
}

// isOver reports whether the call was answered.
func (r *replay) isOver() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

// drop gives the memory back. It may be repeated.
func (r *replay) drop() {
	r.mu.Lock()
	n := r.bytes
	r.held, r.bytes, r.dropped = nil, 0, true
	if r.forgets != nil {
		r.forgets.Stop()
	}
	r.mu.Unlock()
	r.hold.release(r, n)
}

// retire makes the session forget a replay whose call was answered, after a while.
func (p *sessionPeer) retire(r *replay) {
	r.mu.Lock()
	dropped := r.dropped
	if !dropped {
		r.forgets = time.AfterFunc(r.hold.time, func() { p.forgetReplay(r) })
	}
	r.mu.Unlock()
	if !dropped {
		r.hold.done(r)
	}
}

// forgetReplay forgets one whose time is over.
func (p *sessionPeer) forgetReplay(r *replay) {
	p.mu.Lock()
	p.replays = slices.DeleteFunc(p.replays, func(o *replay) bool { return o == r })
	p.mu.Unlock()
	r.drop()
}

// end is for a session that has ended: nobody can come back for answers any more. What is held goes, and so do calls whose
// connections have broken, or break from now on.
func (p *sessionPeer) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	for _, c := range p.calls {
		c.abandon()
	}
	for _, r := range p.replays {
		r.drop()
	}
	p.replays = nil
}
