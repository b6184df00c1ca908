package mcp

// This file ends streams and keeps them open (protocol.md §7, Streams; WHATWG HTML "Server-sent events" for comments).

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// soon is how often the calls under way are looked at: one that is found twice is looked after by a goroutine of its
// own. Most are over by then and cost no goroutine and no timer. It also bounds how late the end of a grant is noticed
// (protocol.md §7: <= 1 s).
const soon = 250 * time.Millisecond

// lastWrite is how long a write may hang when its stream is to be closed.
const lastWrite = 250 * time.Millisecond

// cause says why we closed a stream. The answer to a request that had none yet depends on it (unanswered).
type cause int

const (
	causeNone    cause = iota // we did not
	causeGrant                // the grant ended
	causeMax                  // stream_max, which is longer than any silence
	causeClosing              // the server is being stopped
	causeSession              // the session ended
)

// streams counts the open streams. Two locks, as the count and the watch have nothing to do with each other: mu
// guards users, callsMu what stands below it.
type streams struct {
	perUser int
	gauge   prometheus.Gauge

	mu    sync.Mutex
	users map[string]int

	soon    time.Duration
	callsMu sync.Mutex
	calls   map[*stream]bool // under way and not yet looked after; true = found once
	timer   *time.Timer      // runs while there are any; nil before the first
	running bool
}

// newStreams returns an empty count. silence bounds how late a call may be found, too.
func newStreams(perUser int, silence time.Duration, gauge prometheus.Gauge) *streams {
	return &streams{perUser: perUser, gauge: gauge, users: map[string]int{}, soon: min(soon, silence/2),
		calls: map[*stream]bool{}}
}

// begin notes a call under way. One timer serves all calls: most of them never need one.
func (ss *streams) begin(st *stream) {
	ss.callsMu.Lock()
	defer ss.callsMu.Unlock()
	ss.calls[st] = false
	switch {
	case ss.timer == nil:
		ss.timer = time.AfterFunc(ss.soon, ss.look)
	case !ss.running:
		ss.timer.Reset(ss.soon)
	}
	ss.running = true
}

// finish forgets a call.
func (ss *streams) finish(st *stream) {
	ss.callsMu.Lock()
	defer ss.callsMu.Unlock()
	delete(ss.calls, st)
}

// look starts the looking after of calls that take long. The timer stops when there are no calls, so that an idle
// server sleeps.
func (ss *streams) look() {
	ss.callsMu.Lock()
	defer ss.callsMu.Unlock()
	for st, again := range ss.calls {
		if !again {
			ss.calls[st] = true
			continue
		}
		delete(ss.calls, st)
		go st.run()
	}
	if ss.running = len(ss.calls) > 0; ss.running {
		ss.timer.Reset(ss.soon)
	}
}

// add counts one more for a user. With limit it may refuse. The limit is for those that are meant to last: a call is
// under way already when it turns out to be long.
func (ss *streams) add(subject string, limit bool) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if limit && ss.users[subject] >= ss.perUser {
		return false
	}
	ss.users[subject]++
	ss.gauge.Inc()
	return true
}

// remove counts one less.
func (ss *streams) remove(subject string) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.gauge.Dec()
	if ss.users[subject]--; ss.users[subject] == 0 {
		delete(ss.users, subject)
	}
}

// stream is one answer under way: of a GET, of a subscription, or of any other message until it is answered. mu
// guards over and cause: the end and the answer may come at the same moment.
type stream struct {
	server *Server
	call   *call
	writer writer
	ctx    context.Context // of the request; cancelled to close the stream
	cancel context.CancelFunc
	begun  time.Time
	lasts  bool // meant to stay open: GET and subscriptions

	mu    sync.Mutex
	over  bool
	cause cause
	halt  context.CancelCauseFunc // ends the work that outlives its connection; nil = none does
}

// halts makes the end of the stream, but not that of its connection, end the work behind it.
func (st *stream) halts(cancel context.CancelCauseFunc) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.halt = cancel
}

// openStream begins an answer. A stream that is meant to last may be one too many; a call that turns out to last is
// counted, but never refused in the middle. Notifications and responses are answered at once and not looked after.
func (s *Server) openStream(w http.ResponseWriter, r *http.Request, k *call) (*stream, *refusal) {
	post := r.Method == http.MethodPost
	st := &stream{server: s, call: k, begun: time.Now(), lasts: !post || k.modern && k.method == methodListen}
	st.writer = writer{under: w, flush: *http.NewResponseController(w), header: http.Header{}, post: post, id: k.id, own: &k.own}
	if st.lasts {
		select {
		case <-s.closing:
			return nil, stopping()
		default:
		}
		if !s.streams.add(k.caller.Subject, true) {
			return nil, tooMany(time.Minute)
		}
	}
	// Cancelling makes the SDK let go of the request. In the modern era it cancels the handler as well; in the older one
	// the handler runs on and its answer has nowhere to go.
	st.ctx, st.cancel = context.WithCancel(r.Context())
	st.writer.ctx = st.ctx
	st.writer.whole = k.opens // the id of the session stands in the header
	switch {
	case st.lasts:
		go st.run()
	case k.isCall():
		s.streams.begin(st)
	}
	return st, nil
}

// run looks after a stream until it is over.
func (st *stream) run() {
	s, subject := st.server, st.call.caller.Subject
	if st.ctx.Err() != nil {
		return
	}
	if !st.lasts {
		s.streams.add(subject, false)
		defer s.streams.remove(subject)
	}
	closing, over := st.watched()
	// Asked for after it began: a grant that ended in between gives a closed channel at once.
	grant := s.authority.Ended(st.ctx, st.call.caller.GrantID)
	// Real time, not the Now of options: these are waits, not dates.
	tick := time.NewTimer(s.silence - time.Since(st.begun))
	defer tick.Stop()
	limit := time.NewTimer(s.config.StreamMax.D() - time.Since(st.begun))
	defer limit.Stop()
	if st.call.opens {
		limit.Stop() // no stream, and short by itself
	}
	for {
		select {
		case <-st.ctx.Done():
			return
		case <-grant:
			st.end(causeGrant)
			return
		case <-limit.C:
			st.end(causeMax)
			return
		case <-closing:
			st.end(causeClosing)
			return
		case <-over:
			st.end(causeSession)
			return
		case <-tick.C:
			tick.Reset(s.silence)
			st.tick()
		}
	}
}

// watched returns what ends a lasting stream: the server or the session. Calls are answered before either ends. nil
// channels never answer: a call is watched for its grant and its length alone.
func (st *stream) watched() (closing, over <-chan struct{}) {
	if !st.lasts {
		return nil, nil
	}
	if st.call.session != nil {
		over = st.call.session.over
	}
	return st.server.closing, over
}

// tick sends a comment. A client that reads nothing for two of them is let go: the SDK's write that waits for it
// holds the writer.
func (st *stream) tick() {
	if st.call.opens {
		return // there is no stream yet, and its answer is not held to a time
	}
	if st.deadline(2*st.server.silence, causeNone) && st.writer.comment() != nil {
		st.cancel()
	}
}

// end closes the stream. The deadline comes before the cancelling: a write that hangs on a client that does not read
// would hold the SDK, and with it the end, for ever.
func (st *stream) end(why cause) {
	if st.deadline(lastWrite, why) {
		st.cancel()
		st.mu.Lock()
		halt := st.halt
		st.mu.Unlock()
		if halt != nil {
			halt(errClosing)
		}
	}
}

// deadline bounds writes from now on and notes why, if the stream is not over: later the connection serves another
// request.
func (st *stream) deadline(d time.Duration, why cause) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.over {
		return false
	}
	st.cause = why
	st.writer.flush.SetWriteDeadline(time.Now().Add(d)) // not every writer can: then TCP decides
	return true
}

// close ends the looking after and reports why the stream was closed, and whether an answer was begun. After it
// nothing of the stream touches the connection, which net/http uses again.
func (st *stream) close() (why cause, answered bool) {
	st.mu.Lock()
	st.over, why = true, st.cause
	st.mu.Unlock()
	st.cancel()
	if st.lasts {
		st.server.streams.remove(st.call.caller.Subject)
	} else {
		st.server.streams.finish(st)
	}
	return why, st.writer.settle()
}
