package mount

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"hostedmcp/mcp/connector"
)

// This file takes what a server tells and asks of its own accord (MCP "Progress", "Logging", "Elicitation",
// "Sampling", "Roots", "Ping").

const methodInitialize = "initialize"

// notified passes a notification on to the client behind the call.
func (c *call) notified(ctx context.Context, m message) {
	l, params := c.link, m.params
	switch m.method {
	case "notifications/cancelled":
		l.unasked(objectOf(params).get("requestId"))
		return
	case "notifications/progress":
		p := objectOf(params)
		// A token that is not this call's is another's, or made up.
		if !isNumber(p.get("progressToken"), c.id) {
			return
		}
		c.clock.progress()
		if c.token == nil {
			return
		}
		p.set("progressToken", c.token)
		params = p.bytes()
	case "notifications/subscriptions/acknowledged":
		if c.from != nil && !c.from.Modern {
			return // the older era subscribes by a request that was answered
		}
	case "notifications/message":
		// A modern client hears what it asked for in this very request (MCP 2026-07-28 "Logging").
		if c.from != nil && c.from.Modern && logLevel(c.from) == nil {
			return
		}
	}
	l.noteChange(m.method)
	if c.method == methodListen {
		params = withoutSubscription(params)
	}
	if notify := c.peer().Notify; notify != nil && strings.HasPrefix(m.method, "notifications/") {
		notify(ctx, m.method, params)
	}
}

// withoutSubscription takes away the id of our listening request, which says nothing to anybody else.
func withoutSubscription(params json.RawMessage) json.RawMessage {
	p := objectOf(params)
	meta := objectOf(p.get("_meta"))
	if meta.drop(metaSubscription) == nil {
		return params
	}
	if p.set("_meta", meta.bytes()); len(meta) == 0 {
		p.drop("_meta")
	}
	return p.bytes()
}

// stray takes what a server says outside of any call: on the standing stream of a legacy session, or over stdio
// without a call to which it belongs.
func (l *link) stray(ctx context.Context, m message) {
	if m.isRequest() {
		l.serve(ctx, m, nil)
		return
	}
	for _, c := range l.route(m) {
		c.notified(ctx, m)
	}
}

// route chooses the calls that a notification without an address concerns: those that listen, for what changed; the
// oldest for all else, since it is the likeliest to have waited for it; and between calls the one that spoke last for
// the link. It returns at least one, but for progress.
func (l *link) route(m message) []*call {
	listening, oldest := l.underway(nil)
	changed := m.method == "notifications/resources/updated" || isListChange(m.method)
	switch {
	case m.method == "notifications/progress":
		return nil
	case changed && len(listening) > 0:
		return listening
	case oldest != nil:
		return []*call{oldest}
	}
	return []*call{l.between()}
}

// between stands for the link while no call is under way.
func (l *link) between() *call {
	return &call{link: l, from: l.latest(), clock: &clock{}}
}

func isListChange(method string) bool { return strings.HasSuffix(method, "/list_changed") }

// noteChange makes the catalog be read again after a list_changed.
func (l *link) noteChange(method string) {
	if isListChange(method) {
		l.changed.Store(true)
		l.src.changed()
	}
}

// serve answers a server's request: by the client behind c, or with nil by that of any call under way. The client is
// asked in a goroutine of its own: the stream goes on meanwhile, for the server may withdraw its question.
func (l *link) serve(ctx context.Context, m message, c *call) {
	if m.method == "ping" {
		l.answer(ctx, goodbye, m.id, json.RawMessage(`{}`), nil, c)
		return
	}
	// The modern era knows no requests of servers (MCP 2026-07-28 "Message patterns").
	if l.modern || !asksClient(m.method) {
		l.answer(ctx, goodbye, m.id, nil, errNoMethod, c)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	if !l.opened(m.id, cancel) {
		cancel()
		l.answer(l.life, goodbye, m.id, nil, &connector.Error{Code: connector.CodeInternal, Message: "too many questions"}, c)
		return
	}
	l.src.spawn(func() {
		defer cancel()
		defer l.unasked(m.id)
		m.waits(ctx)
		held := []*call{c}
		if c == nil {
			held = l.all() // whose question it is nobody knows
		}
		for _, c := range held {
			c.clock.hold()
		}
		result, err := l.consult(ctx, m, c)
		for _, c := range held {
			c.clock.release()
		}
		if withdrawn := ctx.Err() != nil; !withdrawn {
			// as much time as a call has: one waits in vain for a server that was too busy to take its answer
			l.answer(ctx, l.src.cfg.Timeout.D(), m.id, result, err, c)
		}
	})
}

// waits lets what the server said before a question reach the client first.
func (m *message) waits(ctx context.Context) {
	for _, handled := range m.after {
		select {
		case <-handled:
		case <-ctx.Done():
			return
		}
	}
}

var errNoMethod = &connector.Error{Code: connector.CodeMethodNotFound, Message: "method not found"}

// consult asks the client behind c. With nil it may meet a call that ends meanwhile, which was not the one that the
// question is about: then the next is tried.
func (l *link) consult(ctx context.Context, m message, c *call) (json.RawMessage, error) {
	tried := map[*call]bool{}
	for pinned := c != nil; ; {
		if !pinned {
			if _, c = l.underway(tried); c == nil {
				c = l.between()
			}
		}
		ask := c.peer().Ask
		if ask == nil {
			return nil, errNoMethod
		}
		result, err := ask(ctx, m.method, m.params)
		if err == nil || pinned || !c.isOver() || ctx.Err() != nil {
			return result, err
		}
		tried[c] = true
	}
}

// mostAsked bounds the open questions of one link.
const mostAsked = 64

// opened notes a question; false if its id is open already or there are too many.
func (l *link) opened(id json.RawMessage, cancel context.CancelFunc) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, twice := l.asked[string(id)]; twice || len(l.asked) >= mostAsked {
		return false
	}
	l.asked[string(id)] = cancel
	return true
}

// unasked withdraws a question, or forgets one that was answered.
func (l *link) unasked(id json.RawMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cancel := l.asked[string(id)]; cancel != nil {
		cancel()
		delete(l.asked, string(id))
	}
}

// answer sends our answer; the id is the server's own, as it wrote it.
func (l *link) answer(ctx context.Context, limit time.Duration, id, result json.RawMessage, fault error, c *call) {
	if fault == nil && len(result) == 0 {
		fault = errors.New("no result")
	}
	from := l.latest()
	if c != nil {
		from = c.from
	}
	// The server may go on before it has confirmed the answer, and the call be over: that does not take it back.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	defer context.AfterFunc(l.life, cancel)()
	if err := l.wire.send(ctx, response(id, result, fault), from); err != nil {
		l.src.log.Warn("connector did not take the client's answer", "error", err)
	}
}

// asksClient reports whether a request is one that clients answer.
func asksClient(method string) bool {
	switch method {
	case "elicitation/create", "sampling/createMessage", "roots/list":
		return true
	}
	return false
}
