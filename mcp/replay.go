package mcp

// This file keeps the events of calls that take long, so that a client whose connection broke can go on where it was
// (MCP 2025-11-25 "Resumability and Redelivery").

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// primeAfter is how long a call may take before its answer becomes a stream that can be taken up again. Most are over
	// by then and are answered in one piece.
	primeAfter = 50 * time.Millisecond
	// retryAfterBreak is when clients are told to come back, in ms.
	retryAfterBreak = "1000"
	// holdTime is how long the events of an answered call are kept: a client may not have got the last of them.
	holdTime = time.Minute
	// maxReplays is how many calls of one session can be taken up again at a time.
	maxReplays = 32
	// maxHeld is how many bytes of events are kept for all sessions together. What is beyond it is sent, but not again.
	maxHeld = 64 << 20
)

// hold is what all sessions together keep for clients that come back.
type hold struct {
	bytes atomic.Int64
	time  time.Duration // holdTime
}

// replay is the answer to one call of a session, event by event. mu guards what stands below it.
type replay struct {
	id      string // of the stream; its events are id-0, id-1, ...
	request []byte // id of the call
	hold    *hold

	mu      sync.Mutex
	events  [][]byte      // as sent; nil = not kept
	over    bool          // the last one is the answer
	dropped bool          // nobody can take it up any more
	readers int           // connections that took it up
	news    chan struct{} // closed when there is more
	forgets *time.Timer   // set when it is over
}

// newReplay begins one for a call of this id, in place of the oldest that was answered; nil if all are under way.
func (p *sessionPeer) newReplay(request []byte) *replay {
	r := &replay{id: rand.Text(), news: make(chan struct{}), request: request, hold: p.hold}
	p.mu.Lock()
	defer p.mu.Unlock()
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

// resumes finds what an event id belongs to, and the number of the next event; nil if it is none of this session's.
func (p *sessionPeer) resumes(event string) (*replay, int) {
	id, number, _ := strings.Cut(event, "-")
	n, err := strconv.Atoi(number)
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.replays, func(r *replay) bool { return r.id == id })
	if i < 0 || err != nil || n < 0 {
		return nil, 0
	}
	return p.replays[i], n + 1
}

// add appends an event with the given message, nil for the first, which says only how to come back. It returns the
// event as it is sent.
func (r *replay) add(message []byte, last bool) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	event := r.event(len(r.events), message)
	if r.holds(len(event)) {
		r.events = append(r.events, event)
	} else {
		r.events = append(r.events, nil)
	}
	r.over = r.over || last
	close(r.news)
	r.news = make(chan struct{})
	return event
}

// holds counts bytes to keep, if there is room for them. mu must be held.
func (r *replay) holds(bytes int) bool {
	if r.dropped {
		return false
	}
	if r.hold.bytes.Add(int64(bytes)) > maxHeld {
		r.hold.bytes.Add(-int64(bytes))
		return false
	}
	return true
}

// event writes one (WHATWG HTML "Server-sent events").
func (r *replay) event(number int, message []byte) []byte {
	var b bytes.Buffer
	b.WriteString("id: " + r.id + "-" + strconv.Itoa(number) + "\n")
	if message == nil {
		b.WriteString("retry: " + retryAfterBreak + "\ndata: \n\n")
		return b.Bytes()
	}
	b.Write(frame(message))
	return b.Bytes()
}

// read returns what comes from number on, whether that was all, and otherwise what is closed when there is more. What was
// not kept is left out, and in place of an answer its client hears that it is lost.
func (r *replay) read(number int) (events [][]byte, next int, over bool, more <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := min(number, len(r.events)); n < len(r.events); n++ {
		switch event := r.events[n]; {
		case event != nil:
			events = append(events, event)
		case r.over && n == len(r.events)-1:
			events = append(events, r.event(n, faultBody(r.request, errInternal)))
		}
	}
	return events, len(r.events), r.over, r.news
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

// isRead reports whether somebody took it up. A nil replay is nobody's.
func (r *replay) isRead() bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.readers > 0
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

// isOver reports whether the call was answered.
func (r *replay) isOver() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

// drop gives the memory back. It may be repeated.
func (r *replay) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropped = true
	for i, event := range r.events {
		r.hold.bytes.Add(-int64(len(event)))
		r.events[i] = nil
	}
	if r.forgets != nil {
		r.forgets.Stop()
	}
}

// retire makes the session forget a replay whose call was answered, after a while.
func (p *sessionPeer) retire(r *replay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.dropped {
		r.forgets = time.AfterFunc(r.hold.time, func() { p.forgetReplays(r) })
	}
}

// forgetReplays forgets one, or with nil all of a session that has ended.
func (p *sessionPeer) forgetReplays(one *replay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replays = slices.DeleteFunc(p.replays, func(r *replay) bool {
		if one != nil && r != one {
			return false
		}
		r.drop()
		return true
	})
}
