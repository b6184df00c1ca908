package mcp

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

// receive is the one middleware around all that the SDK receives. It puts the caller of the present request into the
// context, which in a session is that of initialize, and answers what is ours: the tools. The context is rebuilt for
// each message, because a tool that took the caller from the session's would act as whoever opened it.
func (s *Server) receive(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, req sdk.Request) (result sdk.Result, err error) {
		k := callOf(req)
		if k == nil || k.method != method {
			return nil, errInternal // nothing gets here but through carryIdentity, and as it was judged
		}
		// A handler runs in a goroutine of the SDK: a panic there would take the whole server down.
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("panic in an MCP handler", "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				result, err = nil, errInternal
			}
		}()
		ctx = auth.WithRequest(context.WithValue(ctx, callerKey{}, &k.caller), k.info)
		return s.handle(ctx, k, method, req, next)
	}
}

// errInternal tells a stranger nothing but that it is not their fault; the log has the cause.
var errInternal = &jsonrpc.Error{Code: codeInternal, Message: "internal: " + oauth.Internal.Sentence()}

// handle answers what is ours and leaves the rest to the SDK. The SDK's own set of tools is empty, so that neither its
// cursors nor its check of Mcp-Param headers, which comes before any middleware, can show a hidden one.
func (s *Server) handle(ctx context.Context, k *call, method string, req sdk.Request, next sdk.MethodHandler) (sdk.Result, error) {
	switch method {
	case methodToolsCall:
		k.own.Store(true)
		r, err := s.callTool(ctx, k)
		return s.outcome(r, err)
	case methodToolsList:
		k.own.Store(true)
		list, err := s.listTools(ctx, k)
		return s.outcome(list, err)
	case methodInitialize:
		if k.opens {
			return s.initialize(ctx, k, req, next)
		}
	case methodDiscover:
		result, err := next(ctx, method, req)
		if err != nil {
			return nil, err
		}
		r, err := s.greet(ctx, k, result)
		return s.outcome(r, err)
	case methodListen:
		if !k.modern {
			return nil, errNoMethod // a subscription in a session would never end
		}
		k.own.Store(true)
		r, err := s.listen(ctx, k)
		return s.outcome(r, err)
	case notifyRoots:
		s.tellRoots(ctx, k)
	}
	if r, ok, err := s.family(ctx, k, method); ok {
		// the SDK puts words of its own to this one, which ours replace then
		k.own.Store(err != errNoMethod)
		return s.outcome(r, err)
	}
	return next(ctx, method, req)
}

// initialize enters the session that the SDK makes. The books hear of the beginning too, and of an end by panic: the
// request may be over before the SDK is.
func (s *Server) initialize(ctx context.Context, k *call, req sdk.Request, next sdk.MethodHandler) (sdk.Result, error) {
	var made *sdk.ServerSession
	k.session.peer.greet(k.params)
	k.sessionID = req.GetSession().ID()
	s.sessions.opening(k.session)
	defer func() { s.sessions.opened(k.session, made) }()
	result, err := next(ctx, methodInitialize, req)
	if err != nil {
		return nil, err
	}
	made = req.GetSession().(*sdk.ServerSession)
	r, err := s.greet(ctx, k, result)
	return s.outcome(r, err)
}

// errNoMethod has the words of JSON-RPC 2.0 §5.1, which some clients look for.
var errNoMethod = &jsonrpc.Error{Code: codeMethodNotFound, Message: noMethod}

const noMethod = "Method not found"

// outcome keeps the causes of our own faults from strangers. What a tool says in the protocol's own terms passes; all
// else becomes one sentence, and its cause a line in the log.
func (s *Server) outcome(r *Result, err error) (sdk.Result, error) {
	if err != nil {
		return nil, s.protocolError(err)
	}
	return r, nil
}

// protocolError is what strangers are told of err, a *jsonrpc.Error; nil stays nil.
func (s *Server) protocolError(err error) error {
	if err == nil {
		return nil
	}
	var protocol *jsonrpc.Error
	var trouble *oauth.Error
	switch {
	case errors.As(err, &protocol):
		return protocol
	case errors.As(err, &trouble):
		return &jsonrpc.Error{Code: codeInternal, Message: trouble.Description()}
	}
	s.log.Error("MCP request failed", "cause", err)
	return errInternal
}

// callOf returns the request that req belongs to: TokenInfo is set for each message anew, in sessions too (style.md,
// trap 1).
func callOf(req sdk.Request) *call {
	extra := req.GetExtra()
	if extra == nil || extra.TokenInfo == nil {
		return nil
	}
	k, _ := extra.TokenInfo.Extra[identityKey].(*call)
	return k
}

// callTool calls the tool that was found before dispatch.
func (s *Server) callTool(ctx context.Context, k *call) (r *Result, err error) {
	t := k.tool
	if t == nil {
		s.metrics.called(nil, resultUnknown)
		return nil, &jsonrpc.Error{Code: codeInvalidParams, Message: fmt.Sprintf("unknown tool %q", echo(k.name))}
	}
	result := resultFailed // also when the tool panics
	defer func() { s.metrics.called(t, result) }()
	if t.carry != nil {
		r, err = t.carry(ctx, k)
	} else {
		r, err = t.Call(ctx, valueOf(k.params, "arguments"))
	}
	if err != nil {
		return nil, fmt.Errorf("tool %s: %w", t.Name, err)
	}
	switch {
	case r.IsError:
		result = resultToolError
	case r.kind == kindInput:
		result = resultInput
	default:
		result = resultOK
	}
	// a tool does not know which era asked
	r.modern = k.modern
	return r, nil
}
