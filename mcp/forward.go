package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
)

// callTool carries out tools/call at the connector. What the user can act upon is a failed call, which the model reads;
// what the connector says in the protocol's own terms passes.
func (m *mounted) callTool(ctx context.Context, k *call, t *Tool) (*Result, error) {
	if t.withheld {
		k.info.Reason(oauth.ConnectorChanged)
		return Failed(fmt.Sprintf("%s: %s", oauth.ConnectorChanged.Wire(), oauth.ConnectorChanged.Sentence())), nil
	}
	params, err := renamedParams(k.params, t.own)
	if err != nil {
		return nil, err
	}
	r, err := m.forward(ctx, k, params, dropLife)
	// Trouble with the connector is for the model to read, not an error of the protocol: some clients drop the whole
	// connection over one of those.
	var e *connector.Error
	if errors.As(err, &e) && e.Reason != "" {
		return Failed(e.Message), nil
	}
	return r, wireError(err)
}

// renamedParams returns params with the connector's own name in place of ours.
func renamedParams(params []byte, own string) ([]byte, error) {
	return edit(params, func(name string, value []byte) []byte {
		if name == "name" {
			return quote(own)
		}
		return value
	})
}

// wireError turns a connector's error into what the SDK sends; nil stays nil.
func wireError(err error) error {
	var e *connector.Error
	if !errors.As(err, &e) {
		return err
	}
	return &jsonrpc.Error{Code: e.Code, Message: e.Message, Data: e.Data}
}

// forward carries out one request at the connector, within its limits, and returns what its client gets. The error is
// a *connector.Error, or our own fault.
func (m *mounted) forward(ctx context.Context, k *call, params []byte, life lifetime) (*Result, error) {
	if r, held, err := m.resume(ctx, k, params, life); held {
		return r, err
	}
	params, err := m.unbound(k, params)
	if err != nil {
		return nil, err
	}
	c, t, err := m.talkFor(ctx, k, params)
	if err != nil {
		return nil, err
	}
	if !m.gate.enter(ctx, k.caller.Subject) {
		m.metrics.done(callBusy)
		return nil, busy()
	}
	run := m.start(ctx, k, c, t)
	if k.modern {
		return newConversation(run, k).wait(ctx, k, life)
	}
	out, err := run.do()
	if run.cancelled(err) {
		return nil, cancelledError()
	}
	return m.finish(k, out, err, life)
}

// busy is what a call too many is told: nothing is broken, and a moment later there is room (RFC 6585 §4 in spirit).
func busy() *connector.Error {
	return &connector.Error{Code: codeInternal, Reason: oauth.RateLimited,
		Message: string(oauth.RateLimited) + ": too many calls at a time: wait for the others and try again"}
}

// finish counts a call that is over and makes its result ready to leave.
func (m *mounted) finish(k *call, out json.RawMessage, err error, life lifetime) (*Result, error) {
	if err != nil {
		return nil, m.failed(k, err)
	}
	r, err := m.server.result(k, out, life)
	if err == nil && r.kind == kindInput {
		err = m.bind(k, r)
	}
	if err != nil {
		return nil, m.failed(k, connector.BadAnswer(err))
	}
	switch {
	case r.kind == kindInput:
		m.metrics.done(callInput)
	case r.IsError:
		m.metrics.done(callToolError)
	default:
		m.metrics.done(callOK)
	}
	return r, nil
}

// failed counts and logs a call that came to nothing. What strangers may read of it is in the error already.
func (m *mounted) failed(k *call, err error) error {
	var e *connector.Error
	if !errors.As(err, &e) {
		e = &connector.Error{Code: codeInternal, Message: errInternal.Message, Reason: oauth.Internal, Cause: err}
	}
	result := callError
	switch e.Reason {
	case "":
	case oauth.ConnectorUnreachable:
		result = callUnreachable
	case oauth.ConnectorBadAnswer:
		result = callBadAnswer
	default:
		result = callFailed
	}
	m.metrics.done(result)
	if e.Reason != "" {
		k.info.Fail(oauth.Unavailable(e.Reason, fmt.Errorf("connector %s: %w", m.config.Name, e)))
	}
	return e
}

// callFor is the request of k for this connector. nil params are none.
func (m *mounted) callFor(ctx context.Context, k *call, params []byte) (connector.Call, error) {
	c, _, err := m.talkFor(ctx, k, params)
	return c, err
}

// talkFor is callFor with what stands behind its Peer.
func (m *mounted) talkFor(ctx context.Context, k *call, params []byte) (connector.Call, *talk, error) {
	user, err := m.user(ctx, k)
	if err != nil {
		return connector.Call{}, nil, err
	}
	t := &talk{mount: m, call: k, grant: m.server.grants.note(k)}
	c := connector.Call{
		Method: k.method, Params: t.prepare(params), User: user, Credential: m.credential(k),
		Modern: k.modern, Session: k.sessionID,
		Peer: connector.Peer{Notify: t.notify, Ask: t.ask, Capabilities: k.clientCapabilities(), ProtocolVersion: k.clientVersion()},
	}
	return c, t, nil
}

// user is the identity of the present request. Claims that cannot be read are left empty where no rule needs them: the
// call itself can do without.
func (m *mounted) user(ctx context.Context, k *call) (connector.User, error) {
	c := &k.caller
	u := connector.User{Subject: c.Subject, ClientID: c.ClientID, GrantID: c.GrantID, Scope: c.Scope, Request: k.info.ID,
		Traceparent: k.traceparent}
	claims, err := c.Claims(ctx)
	if err != nil && len(m.config.Groups) > 0 {
		return u, err
	}
	u.Name, u.Email, u.Groups = claims.Name, claims.Email, claims.Groups
	return u, nil
}

// run is one call under way at a connector. mu guards what stands below it.
type run struct {
	mount   *mounted
	call    connector.Call
	talk    *talk
	subject string
	ctx     context.Context
	cancel  context.CancelCauseFunc
	clock   *clock

	mu   sync.Mutex
	asks int  // questions that wait for a person; while there are any, the call has left the gate
	over bool // it has left for good
}

// errGrantOver is the cause in the log of calls whose grant ended under them.
var errGrantOver = errors.New("the grant has ended")

// errTimeout is the cause in the log of calls that took longer than the connector's timeout.
var errTimeout = errors.New("no answer within the timeout")

// start prepares a call that has entered the gate. In the modern era it can outlive the request that began it, since a
// client answers a question with another request; await ties them together.
func (m *mounted) start(ctx context.Context, k *call, c connector.Call, t *talk) *run {
	r := &run{mount: m, call: c, talk: t, subject: k.caller.Subject}
	t.run = r
	if k.modern {
		ctx = context.WithoutCancel(ctx)
	}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	r.clock = newClock(m.config.Timeout.D(), func() { r.cancel(errTimeout) })
	return r
}

// do makes the call and leaves the gate.
func (r *run) do() (out json.RawMessage, err error) {
	begun := time.Now()
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("panic in connector %s: %v", r.mount.config.Name, p)
		}
		r.leave()
		r.cancel(nil)
		r.mount.server.grants.settle(r.mount, r.call.User.GrantID)
		r.mount.metrics.took(time.Since(begun))
	}()
	defer context.AfterFunc(r.talk.grant, func() { r.cancel(errGrantOver) })()
	// It may have ended while the call waited for its turn.
	if r.talk.grant.Err() != nil {
		return nil, connector.Unreachable(errGrantOver)
	}
	out, err = r.mount.source.Do(r.ctx, r.call)
	// The connector only knows that it was told to stop.
	if err != nil && errors.Is(context.Cause(r.ctx), errTimeout) {
		err = connector.Unreachable(errTimeout)
	}
	if err == nil && len(bytes.TrimSpace(out)) == 0 {
		err = connector.BadAnswer(errObject)
	}
	return out, err
}

// cancelled reports whether the client took the call back or has gone for good, and counts that.
func (r *run) cancelled(err error) bool {
	cause := context.Cause(r.ctx)
	if err == nil || !errors.Is(cause, errCancelled) && !errors.Is(cause, errGone) {
		return false
	}
	r.mount.metrics.done(callCancelled)
	return true
}

// asked runs f, which waits for a person, with the clock standing and the place at the gate free for others. Several
// may wait at once, and some connectors ask after the answer.
func (r *run) asked(f func()) {
	r.waits(1)
	defer r.waits(-1)
	f()
}

// waits counts one more or less of those that wait.
func (r *run) waits(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.asks
	r.asks += n
	switch {
	case r.over:
	case before == 0:
		r.clock.pause()
		r.mount.gate.leave(r.subject)
	case r.asks == 0:
		r.mount.gate.reenter(r.subject)
		r.clock.resume()
	}
}

// leave ends the call's time and its place at the gate.
func (r *run) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	r.clock.stop()
	if r.asks == 0 {
		r.mount.gate.leave(r.subject)
	}
}
