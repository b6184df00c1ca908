package mount

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"hostedmcp/mcp/connector"
)

// call is one request of ours under way. Its messages are handled by the goroutine that waits for the answer, in the
// order in which they came.
type call struct {
	link   *link
	id     int64 // 0 = it stands for the link while no call is under way
	method string
	params params
	token  json.RawMessage // the client's own progress token; nil = it wants no progress
	from   *connector.Call // on whose behalf; nil = our own question
	clock  *clock

	sent     bool // at least in part
	answered bool
	failed   bool // by the link, with a better reason than that it ended
	answer   message

	// Over stdio the reader of the pipe fills the queue; over HTTP each call reads its own stream.
	mu          sync.Mutex
	queue       []message
	queued      int             // bytes
	working     bool            // on what was in the queue
	soon, later []chan struct{} // closed when that was handled, and when what is in the queue now was
	closed      bool            // the answer is in the queue, or the call is over
	wake        chan struct{}
	broken      error // in place of an answer

	resp    *http.Response // the stream or message that is read now
	resumed int            // how often its stream was taken up again
}

// Why a call failed; the words go to clients.
var (
	errTimeout = errors.New("no answer in time")
	errWrongID = errors.New("an answer to another request")
	errTooLong = errors.New("an answer over max_bytes")
)

// body is what is sent.
func (c *call) body() []byte { return request(c.id, c.method, c.params.bytes()) }

// cancelled is what the server is told when nobody waits any more.
func (c *call) cancelled() []byte {
	params := object{{quote("requestId"), number(c.id)}, {quote("reason"), quote("cancelled")}}
	return request(0, "notifications/cancelled", params.bytes())
}

// handle takes one message; done says that it was the answer.
func (c *call) handle(ctx context.Context, m message) (done bool, err error) {
	switch {
	case m.isRequest():
		c.link.serve(ctx, m, c)
	case m.method != "":
		c.notified(ctx, m)
	case !isNumber(m.id, c.id):
		return false, errWrongID
	default:
		c.answer, c.answered = m, true
		return true, nil
	}
	return false, nil
}

// peer returns the client behind the call.
func (c *call) peer() connector.Peer {
	if c == nil || c.from == nil {
		return connector.Peer{}
	}
	return c.from.Peer
}

// push queues a message for the waiting goroutine; false if nobody takes it any more, or, between calls, nobody waits.
// What a client is too slow to take is dropped beyond what one answer may hold; an answer never is.
func (c *call) push(m message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.id == 0 {
		return false
	}
	c.closed = m.method == ""
	if m.method == "" || m.isRequest() || int64(c.queued+m.size) <= c.link.src.cfg.MaxBytes {
		c.queue = append(c.queue, m)
		c.queued += m.size
	}
	c.signal()
	return true
}

// mark returns what is closed when all that has come for the call was handled, or the call is over; nil if it was.
func (c *call) mark() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	mark := make(chan struct{})
	switch {
	case len(c.queue) > 0:
		c.later = append(c.later, mark)
	case c.working:
		c.soon = append(c.soon, mark)
	default:
		return nil
	}
	return mark
}

// over makes push refuse what comes later.
func (c *call) over() {
	c.mu.Lock()
	c.closed, c.queue = true, nil
	c.soon, c.later = append(c.soon, c.later...), nil
	c.mu.Unlock()
	c.settle()
}

// settle says that what was taken is handled.
func (c *call) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.working = false
	for _, mark := range c.soon {
		close(mark)
	}
	c.soon = nil
}

// isOver reports whether the answer has come, or nobody waits for it.
func (c *call) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// fail ends the call with an error of the link's.
func (c *call) fail(err error) {
	c.mu.Lock()
	c.broken = err
	c.mu.Unlock()
	c.signal()
}

func (c *call) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take empties the queue.
func (c *call) take() ([]message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.queue
	c.soon, c.later = c.later, nil
	c.working = len(q) > 0
	c.queue, c.queued = nil, 0
	return q, c.broken
}

// await handles queued messages until the answer came.
func (c *call) await(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			// The answer may have been the last that an ending process wrote.
			if done, err := c.work(ctx); done || err != nil {
				return err
			}
			return context.Cause(ctx)
		case <-c.wake:
		}
		if done, err := c.work(ctx); done || err != nil {
			return err
		}
	}
}

// work handles what is in the queue.
func (c *call) work(ctx context.Context) (done bool, err error) {
	batch, broken := c.take()
	for _, m := range batch {
		if done, err := c.handle(ctx, m); done || err != nil {
			return done, err
		}
	}
	c.settle()
	c.failed = broken != nil
	return false, broken
}

// mostProgress is how many times its limit a call may last while the server reports progress.
const mostProgress = 20

// clock is a call's deadline. It stands still while the client is asked something, for a person may have to answer,
// and starts anew at each sign of progress, within mostProgress.
type clock struct {
	mu    sync.Mutex
	limit time.Duration // 0 = none
	timer *time.Timer
	asks  int // questions open
	left  int // fresh starts left
}

func startClock(limit time.Duration, expired func()) *clock {
	k := &clock{limit: limit, left: mostProgress}
	if limit > 0 {
		k.timer = time.AfterFunc(limit, expired)
	}
	return k
}

func (k *clock) stop() { k.turn(func() { k.timer.Stop() }) }

// hold stops the clock for a question to the client; release goes on.
func (k *clock) hold() {
	k.turn(func() {
		k.asks++
		k.timer.Stop()
	})
}

func (k *clock) release() {
	k.turn(func() {
		if k.asks--; k.asks == 0 {
			k.timer.Reset(k.limit)
		}
	})
}

func (k *clock) progress() {
	k.turn(func() {
		if k.asks == 0 && k.left > 0 {
			k.left--
			k.timer.Reset(k.limit)
		}
	})
}

func (k *clock) turn(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer != nil {
		f()
	}
}
