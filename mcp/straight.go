package mcp

// This file answers calls of tools without the SDK. Everything that the SDK would decide about such a call was decided
// before, on the same bytes: what is left is to carry it out and to write the answer. The SDK makes a session of each
// modern request and hands each message through several goroutines, which costs more than the call itself.

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"hostedmcp/auth"
	"hostedmcp/mcp/connector"
)

// straight reports whether k is a call of a tool about which the SDK has nothing to decide any more. What it would refuse
// goes to it as ever, and is refused there.
func straight(r *http.Request, k *call) bool {
	if k.method != methodToolsCall || !k.isCall() || k.name == "" || r.Header["Last-Event-Id"] != nil || !accepts(r.Header["Accept"]) {
		return false
	}
	if !k.modern {
		version := r.Header.Get(headerVersion)
		return !k.hasVersion && (version == "" || slices.Contains(connector.LegacyVersions, version))
	}
	meta := valueOf(k.params, "_meta")
	return k.version == connector.ModernVersion && isObject(valueOf(meta, metaClientCapabilities)) &&
		(valueOf(meta, metaClientInfo) == nil || isObject(valueOf(meta, metaClientInfo)))
}

// isObject reports whether a JSON value, which begins with no white space, is an object. None is not.
func isObject(value []byte) bool { return len(value) > 0 && value[0] == '{' }

// accepts reports whether a client takes both forms of an answer, as it must (MCP, Streamable HTTP).
func accepts(values []string) bool {
	var plain, stream bool
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			media, _, _ := strings.Cut(part, ";")
			switch strings.ToLower(strings.TrimSpace(media)) {
			case typeJSON, "application/*":
				plain = true
			case typeStream, "text/*":
				stream = true
			case "*/*":
				plain, stream = true, true
			}
		}
	}
	return plain && stream
}

// Why calls end before they are answered: their client took them back (MCP "Cancellation"), or nobody can hear of them.
var (
	errCancelled = errors.New("the client cancelled the call")
	errGone      = errors.New("the client has gone")
)

// answerStraight carries out the call of k and writes its answer to st.
func (s *Server) answerStraight(st *stream, r *http.Request, k *call) *refusal {
	ctx := st.ctx
	if !k.modern {
		// A client of the older era that goes away has not cancelled: it may come back for the answer.
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		defer cancel(nil)
		if !k.session.peer.begin(k.id, &underway{st.ctx, cancel}) {
			return &refusal{rpc: badMessage(codeInvalidRequest, "a request with this id is under way"), id: k.id}
		}
		st.halts(cancel)
		// Only of this version do streams begin with an event by which they can be taken up again (MCP 2025-11-25 "Sending
		// messages to the server", SEP-1699).
		if r.Header.Get(headerVersion) == connector.LegacyVersion {
			st.writer.resumable(&k.session.peer, k.needs())
			defer time.AfterFunc(primeAfter, st.writer.prime).Stop()
		}
	}
	result, err := s.carry(auth.WithRequest(context.WithValue(ctx, callerKey{}, &k.caller), k.info), k)
	if !k.modern {
		k.session.peer.finish(k.id) // who has the answer may use its id again
	}
	if err != nil {
		st.writer.reply(errorStatus(k, err), faultBody(k.id, err))
		return nil
	}
	st.writer.reply(http.StatusOK, s.resultBody(k, result))
	return nil
}

// carry carries out the call of k's tool. The error is one of the protocol, ready to leave.
func (s *Server) carry(ctx context.Context, k *call) (r *Result, err error) {
	// net/http would end the connection without a word, and the client would not know what happened.
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic in a tool", "tool", k.name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			r, err = nil, errInternal
		}
	}()
	r, err = s.callTool(ctx, k)
	return r, s.protocolError(err)
}

// resultBody is the response to k. In the modern era each result names this server.
func (s *Server) resultBody(k *call, r *Result) []byte {
	var meta []byte
	if k.modern {
		meta = s.serverMeta
	}
	out := make([]byte, 0, len(r.Members)+len(k.id)+len(meta)+128)
	out = append(append(append(out, `{"jsonrpc":"2.0","id":`...), k.id...), `,"result":`...)
	return append(r.append(out, meta), '}')
}

// faultBody is the error response to id.
func faultBody(id []byte, err error) []byte {
	var e *jsonrpc.Error
	if !errors.As(err, &e) {
		e = errInternal
	}
	return errorBody(id, e.Code, e.Message, e.Data)
}

// errorStatus is the HTTP status of an error answer: the modern era has some of its own (SEP-2575).
func errorStatus(k *call, err error) int {
	var e *jsonrpc.Error
	if !k.modern || !errors.As(err, &e) {
		return http.StatusOK
	}
	switch e.Code {
	case codeMethodNotFound:
		return http.StatusNotFound
	case codeInvalidParams, codeUnsupportedVersion, codeMissingCapability:
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// underway is a call of a session that is being carried out.
type underway struct {
	connection context.Context // ends with the connection on which it came
	cancel     context.CancelCauseFunc
}

// begin notes a call of the session under way; false if there is one with the same id already.
func (p *sessionPeer) begin(id []byte, c *underway) bool {
	key := idKey(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls[key] != nil {
		return false
	}
	if p.calls == nil {
		p.calls = map[string]*underway{}
	}
	p.calls[key] = c
	if p.ended { // while the call was looked up
		c.abandon()
	}
	return true
}

// abandon cancels the call when its connection breaks, or at once if it has.
func (c *underway) abandon() { context.AfterFunc(c.connection, func() { c.cancel(errGone) }) }

// finish forgets a call.
func (p *sessionPeer) finish(id []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.calls, idKey(id))
}

// cancelled takes notifications/cancelled and reports whether it was about a call that begin noted.
func (p *sessionPeer) cancelled(m *message) bool {
	id := valueOf(m.params, "requestId")
	if len(id) == 0 || !validID(id) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.calls[idKey(id)]
	if c != nil {
		c.cancel(errCancelled)
	}
	return c != nil
}

// idKey tells ids apart as JSON-RPC does: 1 and "1" are two, and however a string is escaped, it is one.
func idKey(id []byte) string {
	if id[0] == '"' {
		return `"` + text(id)
	}
	if string(id) == "-0" {
		return "0"
	}
	return string(id)
}

// cancelledError is the answer to a call that was cancelled; nobody waits for it.
func cancelledError() *connector.Error {
	return &connector.Error{Code: codeInternal, Message: errCancelled.Error()}
}
