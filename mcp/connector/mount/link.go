package mount

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"hostedmcp/mcp/connector"
)

// wire moves messages of one link: over HTTP (httplink.go) or over a child's pipes (stdio.go).
type wire interface {
	// roundTrip sends c's request and hands what comes for it to c.handle until that says it was answered.
	roundTrip(ctx context.Context, c *call) error
	// send sends a notification or an answer on behalf of a call.
	send(ctx context.Context, body []byte, from *connector.Call) error
	// started makes a legacy link listen for what belongs to no call, once the handshake is done.
	started(from *connector.Call)
	// close ends the server's side too, within a bounded time. left are the calls that it cuts off.
	close(left []*call)
}

// link is one connection to the server: of one downstream session, of one grant, or of nobody (our own questions).
type link struct {
	src    *source
	wire   wire
	owner  string // session or grant, for the log
	modern bool   // era
	spoken string // protocol version agreed upon
	hello  object // what the server said of itself: the result of server/discover or initialize

	secrets secrets // that it has sent

	life context.Context // ends with the link
	end  context.CancelCauseFunc

	mu    sync.Mutex
	calls map[int64]*call               // under way
	asked map[string]context.CancelFunc // open questions of the server, by its ids
	heard map[string]context.CancelFunc // resources listened for on a session's behalf
	last  *connector.Call               // the newest, which also speaks for the link between calls
	level string                        // of logging, that a modern request had set last, in JSON; "" = none has

	retired bool        // it takes no new calls
	changed atomic.Bool // a list has, since it was made
}

// errEnded is why calls end with their link.
var errEnded = errors.New("the connection was closed")

func (s *source) newLink(owner string, from *connector.Call) *link {
	life, end := context.WithCancelCause(context.Background())
	return &link{
		src: s, owner: owner, life: life, end: end, last: from,
		calls: map[int64]*call{}, asked: map[string]context.CancelFunc{},
		heard: map[string]context.CancelFunc{},
	}
}

// close ends the link and all its calls. Safe to repeat.
func (l *link) close(cause error) {
	left := l.all()
	l.end(cause)
	l.wire.close(left)
}

// alive reports whether calls can be sent.
func (l *link) alive() bool { return l.life.Err() == nil }

// outcome is the answer to a request, and whether it may be sent again.
type outcome struct {
	result json.RawMessage
	err    error
	sent   bool // the server may have it
}

// ask sends one request and waits for its answer. from is on whose behalf; a zero limit waits for ever.
func (l *link) ask(ctx context.Context, method string, params json.RawMessage, from *connector.Call, limit time.Duration) outcome {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.life, func() { cancel(context.Cause(l.life)) })()
	c := l.begin(method, params, from, startClock(limit, func() { cancel(errTimeout) }))
	defer l.finish(c)
	defer c.clock.stop()
	if ctx.Err() != nil {
		return outcome{err: context.Cause(ctx)}
	}
	err := l.wire.roundTrip(ctx, c)
	if cause := context.Cause(ctx); cause != nil && !c.answered && !c.failed {
		l.forsake(c)
		err = cause
	}
	switch {
	case err != nil:
		return outcome{err: err, sent: c.sent}
	case c.answer.fault != nil && errors.Is(context.Cause(l.life), errEnded):
		return outcome{err: errEnded, sent: true} // the server's word for that it was told to stop
	case c.answer.fault != nil:
		return outcome{err: c.answer.fault, sent: true}
	}
	return outcome{result: c.answer.result, sent: true}
}

// begin makes a call known, so that its answer finds it.
func (l *link) begin(method string, params json.RawMessage, from *connector.Call, k *clock) *call {
	c := &call{link: l, id: l.src.ids.Add(1), method: method, from: from, clock: k, wake: make(chan struct{}, 1)}
	c.params, c.token = l.dress(c.id, params, from)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls[c.id] = c
	if from != nil {
		l.last = from
	}
	return c
}

func (l *link) finish(c *call) {
	c.over()
	l.mu.Lock()
	delete(l.calls, c.id)
	done := l.retired && len(l.calls) == 0
	l.mu.Unlock()
	if done {
		l.src.spawn(func() { l.close(errEnded) })
	}
}

// retire closes the link when its last call has ended.
func (l *link) retire() {
	l.mu.Lock()
	l.retired = true
	done := len(l.calls) == 0
	l.mu.Unlock()
	if done {
		l.src.spawn(func() { l.close(errEnded) })
	}
}

// forsake tells the server that nobody waits any more (MCP "Cancellation"). In the modern era over HTTP the closed
// stream says it. initialize must not be cancelled.
func (l *link) forsake(c *call) {
	_, http := l.wire.(*httpWire)
	if !c.sent || c.method == methodInitialize || l.modern && http || !l.alive() {
		return
	}
	body := c.cancelled()
	l.src.background(func(ctx context.Context) {
		if err := l.wire.send(ctx, body, c.from); err != nil {
			l.src.log.Debug("connector was not told of a cancellation", "error", err)
		}
	})
}

// parse reads a message of the server.
func (l *link) parse(data []byte) (message, error) {
	return parse(l.secrets.conceal(data), l.src.cfg.MaxDepth)
}

// find returns the call of an answer or of a progress token, nil if it is none of this link's or over.
func (l *link) find(id json.RawMessage) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := strconv.ParseInt(string(id), 10, 64)
	if err != nil || !isNumber(id, n) {
		return nil
	}
	return l.calls[n]
}

// underway returns the clients' calls under way that listen, and the oldest of the others but for those in without, nil
// if there is none. Calls in which a server may ask come first.
func (l *link) underway(without map[*call]bool) (listening []*call, oldest *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.calls {
		switch {
		case c.from == nil || without[c]:
		case c.method == methodListen:
			listening = append(listening, c)
		case oldest == nil, hasInput(c.method) && !hasInput(oldest.method):
			oldest = c
		case hasInput(c.method) == hasInput(oldest.method) && c.id < oldest.id:
			oldest = c
		}
	}
	return listening, oldest
}

// latest returns the call that speaks for the link while none is under way.
func (l *link) latest() *connector.Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// all returns the calls under way.
func (l *link) all() []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*call, 0, len(l.calls))
	for _, c := range l.calls {
		out = append(out, c)
	}
	return out
}

// waiting returns the calls under way that want an answer soon: listening ones do not.
func (l *link) waiting() []*call {
	return slices.DeleteFunc(l.all(), func(c *call) bool { return c.method == methodListen })
}

// marks returns what is closed when all that has come for the calls under way was handled.
func (l *link) marks() (out []<-chan struct{}) {
	for _, c := range l.all() {
		if mark := c.mark(); mark != nil {
			out = append(out, mark)
		}
	}
	return out
}
