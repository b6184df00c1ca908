package mcp

// This file lets connectors ask in the middle of a call of the modern era, in which servers send no requests: the
// answer to the call says what is wanted, and the client sends the call again with what it found (MCP 2026-07-28,
// "Multi round-trip requests"). Meanwhile the connector waits here.

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hostedmcp/mcp/connector"
)

// parkedFor is how long a call waits for the person at the client.
const parkedFor = 10 * time.Minute

// parkedMax is how many calls of one user may wait.
const parkedMax = 16

// parkedPrefix begins the requestState of a call that waits here.
const parkedPrefix = "hmp."

// conversation is a call of the modern era under way. mu guards what stands below it.
type conversation struct {
	run   *run
	bound string        // who may go on with it, and with what
	news  chan struct{} // a question was asked; holds one
	done  chan struct{} // closed when out and err are set
	out   json.RawMessage
	err   error

	mu        sync.Mutex
	questions []*question // without an answer, in their order
	next      int
}

// question is one request of the connector.
type question struct {
	key    string
	method string
	params json.RawMessage
	answer chan json.RawMessage // holds one
}

// newConversation starts the call.
func newConversation(r *run, k *call) *conversation {
	c := &conversation{run: r, bound: k.binding(r.mount), news: make(chan struct{}, 1), done: make(chan struct{})}
	r.talk.conv = c
	// In a goroutine of its own: the request that began it may be answered long before.
	go func() {
		defer close(c.done)
		c.out, c.err = r.do()
	}()
	return c
}

// wait returns the answer to k: the result, or what the connector asks.
func (c *conversation) wait(ctx context.Context, k *call, life lifetime) (*Result, error) {
	m := c.run.mount
	for {
		select {
		case <-c.done:
			return m.finish(k, c.out, c.err, life)
		case <-c.news:
			if r := c.park(k); r != nil {
				m.metrics.done(callInput)
				return r, nil
			}
		case <-ctx.Done():
			// Closing the request cancels the call in this era.
			c.run.cancel(context.Cause(ctx))
			m.metrics.done(callCancelled)
			return nil, clientError(context.Cause(ctx))
		}
	}
}

// ask waits for the answer to a question, which the present request of the client is answered with.
func (c *conversation) ask(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	if !asksInput(c.run.call.Method) {
		return nil, &connector.Error{Code: codeMethodNotFound, Message: noMethod}
	}
	c.mu.Lock()
	c.next++
	q := &question{key: askPrefix + strconv.Itoa(c.next), method: method, params: params, answer: make(chan json.RawMessage, 1)}
	c.questions = append(c.questions, q)
	c.mu.Unlock()
	c.wake()
	select {
	case answer := <-q.answer:
		return answer, nil
	case <-ctx.Done():
	case <-c.run.ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.questions = slices.DeleteFunc(c.questions, func(o *question) bool { return o == q })
	return nil, clientError(context.Cause(ctx))
}

// asksInput reports whether results of a method may ask for input.
func asksInput(method string) bool {
	return method == methodToolsCall || method == methodPromptsGet || method == methodResourcesRead
}

// wake makes wait look at the questions.
func (c *conversation) wake() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// park lets the call wait for the next request and returns the answer to this one, nil if there is nothing to ask any
// more. A user with too many waiting calls has this one stopped.
func (c *conversation) park(k *call) *Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.questions) == 0 {
		return nil
	}
	id, ok := c.run.mount.server.parked.put(c, k.caller.Subject)
	if !ok {
		c.run.cancel(errParked)
		return nil
	}
	var b strings.Builder
	b.WriteString(`{"inputRequests":{`)
	for i, q := range c.questions {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + q.key + `":{"method":` + string(quote(q.method)) + `,"params":` + string(q.params) + `}`)
	}
	b.WriteString(`},"requestState":"` + id + `"}`)
	return &Result{Members: json.RawMessage(b.String()), modern: true, kind: kindInput}
}

// resume goes on with a call that waits, if params name one; held says that they do.
func (m *mounted) resume(ctx context.Context, k *call, params []byte, life lifetime) (r *Result, held bool, err error) {
	state := text(valueOf(params, "requestState"))
	if !k.modern || !strings.HasPrefix(state, parkedPrefix) {
		return nil, false, nil
	}
	c := m.server.parked.take(state, k.binding(m))
	if c == nil {
		return nil, true, badState()
	}
	// First the new stream, then the answers: what the connector tells next belongs there.
	c.run.talk.attach(k)
	c.deliver(valueOf(params, "inputResponses"))
	r, err = c.wait(ctx, k, life)
	return r, true, err
}

// deliver hands the client's answers to the questions. What it left out is asked again.
func (c *conversation) deliver(responses []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.questions = slices.DeleteFunc(c.questions, func(q *question) bool {
		answer := valueOf(responses, q.key)
		if answer != nil {
			q.answer <- slices.Clone(answer)
		}
		return answer != nil
	})
	if len(c.questions) > 0 {
		c.wake()
	}
}

// parked are the calls that wait for their clients, by requestState. mu guards what stands below it.
type parked struct {
	mu    sync.Mutex
	calls map[string]*parkedCall
	users map[string]int
}

// parkedCall is one of them.
type parkedCall struct {
	conv    *conversation
	subject string
	timer   *time.Timer
}

// put parks a call and returns the state that leads to it, once.
func (p *parked) put(c *conversation, subject string) (state string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users[subject] >= parkedMax {
		return "", false
	}
	if p.calls == nil {
		p.calls, p.users = map[string]*parkedCall{}, map[string]int{}
	}
	state = parkedPrefix + rand.Text()
	p.users[subject]++
	p.calls[state] = &parkedCall{c, subject, time.AfterFunc(parkedFor, func() {
		if c := p.take(state, c.bound); c != nil {
			c.run.cancel(errParked)
		}
	})}
	return state, true
}

// take returns the call behind a state if it is bound to the same user, client and request. To others there is none.
func (p *parked) take(state, bound string) *conversation {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.calls[state]
	if one == nil || one.conv.bound != bound {
		return nil
	}
	one.timer.Stop()
	// Once only: a second request with the same state would answer a question that was not asked again.
	delete(p.calls, state)
	if p.users[one.subject]--; p.users[one.subject] == 0 {
		delete(p.users, one.subject)
	}
	return one.conv
}

// closeAll ends the calls that wait.
func (p *parked) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for state, one := range p.calls {
		one.timer.Stop()
		one.conv.run.cancel(errClosing)
		delete(p.calls, state)
	}
}
