package mcp

// This file talks with the client of a session: requests of connectors go to it and their answers come back in POSTs of
// their own (MCP 2025-11-25, Streamable HTTP). The SDK could send them, but its types lose what it does not know.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"

	"hostedmcp/mcp/connector"
)

// sessionPeer is the client of one session. mu guards what stands below it.
type sessionPeer struct {
	level   atomic.Pointer[string] // of logging/setLevel; nil = none set
	hold    *hold                  // of answers that can be taken up again, shared by all sessions
	subject string
	herald  herald

	mu      sync.Mutex
	hello   []byte // params of initialize
	streams []*stream
	asks    map[string]chan message
	next    uint64
	uris    map[string]*mounted  // subscribed to, and at which connector
	calls   map[string]*underway // of connectors' tools under way, by idKey
	replays []*replay            // oldest first
	ended   bool                 // nothing can be taken up any more
}

// maxSubscriptions bounds the resources that one session or listener can watch.
const maxSubscriptions = 1000

// askPrefix begins the ids of our requests. Ids of the client's own are its business: they never meet.
const askPrefix = "hm"

// greet keeps what the client said of itself.
func (p *sessionPeer) greet(params []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hello = params
}

// greeting returns a member of what the client said of itself.
func (p *sessionPeer) greeting(name string) json.RawMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return json.RawMessage(valueOf(p.hello, name))
}

// listens makes a GET stream the one for what belongs to no call; the function that it returns ends that.
func (p *sessionPeer) listens(st *stream) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams = append(p.streams, st)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i, other := range p.streams {
			if other == st {
				p.streams = append(p.streams[:i:i], p.streams[i+1:]...)
				break
			}
		}
	}
}

// listening returns the session's own stream, nil if there is none. The first is the one that the SDK accepted: it
// refuses others while that lasts.
func (p *sessionPeer) listening() *stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.streams) == 0 {
		return nil
	}
	return p.streams[0]
}

// tell sends a message on the session's own stream and reports whether that was possible.
func (p *sessionPeer) tell(message []byte) bool {
	st := p.listening()
	return st != nil && st.writer.event(message) == nil
}

// subscribe notes that the session watches a resource of a connector and reports whether it may.
func (p *sessionPeer) subscribe(uri string, m *mounted) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.uris) >= maxSubscriptions {
		return false
	}
	if p.uris == nil {
		p.uris = map[string]*mounted{}
	}
	p.uris[uri] = m
	return true
}

func (p *sessionPeer) unsubscribe(uri string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.uris, uri)
}

// subscribed reports whether it does: another connector may not speak for that one's resources.
func (p *sessionPeer) subscribed(uri string, m *mounted) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.uris[uri] == m
}

// errSilent is for clients that cannot be reached in the middle of a call.
var errSilent = errors.New("the client is not listening")

// ask sends a request to the client, on the stream of the call that it belongs to, and waits for the answer.
func (p *sessionPeer) ask(ctx context.Context, k *call, method string, params json.RawMessage) (json.RawMessage, error) {
	id, answer := p.expect()
	if answer == nil {
		return nil, clientError(errParked)
	}
	defer p.forget(id)
	ctx, cancel := context.WithTimeoutCause(ctx, parkedFor, errParked)
	defer cancel()
	message := []byte(`{"jsonrpc":"2.0","id":"` + id + `","method":` + string(quote(method)) + `,"params":` + string(params) + `}`)
	if k.stream.Load().writer.event(message) != nil && !p.tell(message) && !k.stream.Load().writer.keep(message) {
		return nil, clientError(errSilent)
	}
	select {
	case m := <-answer:
		return readAnswer(m)
	case <-k.session.over:
		return nil, clientError(errSilent)
	case <-ctx.Done():
		cancelled := json.RawMessage(`{"requestId":"` + id + `"}`)
		if !k.tell(notifyCancelled, cancelled) {
			p.tell(notification(notifyCancelled, cancelled))
		}
		return nil, clientError(context.Cause(ctx))
	}
}

// maxAsks bounds the questions of one session that wait for an answer: the calls behind them have left the gate.
const maxAsks = 64

// expect makes an id and the place where its answer arrives, which is nil if too many are waited for.
func (p *sessionPeer) expect() (string, chan message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asks) >= maxAsks {
		return "", nil
	}
	if p.asks == nil {
		p.asks = map[string]chan message{}
	}
	p.next++
	id := askPrefix + strconv.FormatUint(p.next, 10)
	answer := make(chan message, 1)
	p.asks[id] = answer
	return id, answer
}

func (p *sessionPeer) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.asks, id)
}

// answered takes a response of the client and reports whether it was for us. A second one for the same request is for
// nobody.
func (p *sessionPeer) answered(m *message) bool {
	id := text(m.id)
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := p.asks[id]
	if answer == nil {
		return false
	}
	delete(p.asks, id)
	// Never blocks: it holds one, and this is the only one. The body's buffer is used again, so it is copied.
	answer <- message{answer: bytes.Clone(m.answer), failed: m.failed}
	return true
}

// readAnswer returns the result of a response, or its error as the client said it.
func readAnswer(m message) (json.RawMessage, error) {
	if !m.failed {
		if !isObject(m.answer) {
			return nil, clientError(errObject)
		}
		return m.answer, nil
	}
	code, err := strconv.ParseInt(string(valueOf(m.answer, "code")), 10, 64)
	if err != nil {
		code = codeInternal
	}
	return nil, &connector.Error{Code: code, Message: text(valueOf(m.answer, "message")),
		Data: json.RawMessage(valueOf(m.answer, "data"))}
}

// clientError is what a connector hears when its question was not answered.
func clientError(cause error) *connector.Error {
	return &connector.Error{Code: codeInternal, Message: "the client did not answer", Cause: cause}
}
