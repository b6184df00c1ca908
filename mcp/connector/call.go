package connector

import (
	"context"
	"encoding/json"
	"fmt"

	"hostedmcp/auth/oauth"
)

// Protocol versions of MCP. They are dates and compare as strings.
const (
	ModernVersion = "2026-07-28" // the first without sessions
	LegacyVersion = "2025-11-25" // the last with sessions
)

// LegacyVersions are those with sessions that we speak, to clients and to mounted servers.
var LegacyVersions = []string{"2024-11-05", "2025-03-26", "2025-06-18", LegacyVersion}

// User is who makes a call: the identity of the present request, never that of a session.
type User struct {
	Subject  string
	ClientID string
	GrantID  string
	Name     string      // as the provider last said; "" = not known
	Email    string      // likewise
	Groups   []string    // likewise
	Scope    oauth.Scope // of the present access token

	Request     string // id of the present request, for X-Request-Id and logs
	Traceparent string // W3C Trace Context; "" = none
}

// Credential is what a call carries to its connector. The zero value is none.
type Credential struct {
	Header string       // canonical name, "Authorization" unless configured otherwise; "" = none
	Value  oauth.Secret // the whole value: "Bearer ..."
	// Refused tells that the connector answered it with 401: asked for again, there may be another one then. nil = there
	// is no other.
	Refused func(ctx context.Context)
}

// Peer is the client behind a call: what a mounted server may tell and ask. Both functions may be called from several
// goroutines.
type Peer struct {
	// Notify passes a notification on: on the stream of the call while that runs. In a session it may be called until
	// EndSession, and what comes after the call goes to the session's own stream; elsewhere it then does nothing.
	// Progress for another token, updates of resources without a subscription and messages below the client's log
	// level are dropped. nil = nobody listens.
	Notify func(ctx context.Context, method string, params json.RawMessage)
	// Ask passes a request on and returns the client's result; it works while the call runs. Its error is an *Error:
	// CodeMethodNotFound if the client has not declared the capability. When ctx ends, the client is told to stop.
	// nil = the client cannot be asked.
	Ask func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error)

	Capabilities    json.RawMessage // of the client, as it declared them; nil = none
	ProtocolVersion string          // that the client speaks
}

// Call is one request to a connector. Method is one of the requests of MCP's clients, with three things to know:
// subscriptions/listen comes for resourceSubscriptions alone, of the modern era, and lasts until its context ends while
// Peer.Notify hears of the updates; resources/subscribe and logging/setLevel come in sessions alone; and in sessions
// notifications/roots/list_changed comes too, whose result nobody reads.
type Call struct {
	Method string
	// Params are the client's own, but for the name, which is the connector's, and for `_meta`, which has lost what
	// speaks of identities and what is ours. Its progressToken, if any, is unique among all calls under way.
	Params json.RawMessage
	User   User
	// Credential returns what the call carries, asked for when it is needed: it may have to be renewed. nil = none.
	// Its error is an *Error.
	Credential func(ctx context.Context) (Credential, error)
	Session    string // of the client's session with us; "" = a request of the modern era
	Modern     bool   // the client's request is of protocol version 2026-07-28 or later
	Peer       Peer
}

// JSON-RPC error codes (JSON-RPC 2.0 §5.1; MCP "Resources" for the one of resources).
const (
	CodeInvalidParams    = -32602
	CodeMethodNotFound   = -32601
	CodeInternal         = -32603
	CodeResourceNotFound = -32002
)

// Error is a JSON-RPC error: the connector's own, or, with a Reason, ours about the connector.
type Error struct {
	Code    int64
	Message string
	Data    json.RawMessage // nil = none
	Reason  oauth.Reason    // connector_unreachable, connector_bad_answer, ...; "" = the connector said it
	Cause   error           // for the log; may name what clients must not see
}

// Unreachable is the error of a connector to which there is no way now.
func Unreachable(cause error) *Error { return trouble(oauth.ConnectorUnreachable, cause) }

// BadAnswer is the error of a connector that answered what cannot be handed on.
func BadAnswer(cause error) *Error { return trouble(oauth.ConnectorBadAnswer, cause) }

func trouble(reason oauth.Reason, cause error) *Error {
	return &Error{Code: CodeInternal, Message: string(reason) + ": " + reason.Sentence(), Reason: reason, Cause: cause}
}

// Error is the line for the log.
func (e *Error) Error() string {
	s := fmt.Sprintf("%d %q", e.Code, e.Message)
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }
