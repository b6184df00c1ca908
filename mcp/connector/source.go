package connector

import (
	"context"
	"encoding/json"
	"time"

	"hostedmcp/auth/oauth"
)

// Source is one connector that runs: a mounted MCP server, or a REST API. All methods may be called from several
// goroutines.
type Source interface {
	// Config returns the configuration, complete.
	Config() Config
	// Catalog returns what the connector offers to the user of call; nil asks with no user, which a connector whose
	// credential is the user's cannot answer unless it is told the catalog by a document. It may answer from memory.
	// The error is an *Error.
	Catalog(ctx context.Context, call *Call) (Catalog, error)
	// Do carries out one request and returns the result object, as it came but for white space. The error is an
	// *Error. When ctx ends, the connector is told to stop, and late answers go nowhere.
	Do(ctx context.Context, call Call) (json.RawMessage, error)
	// EndSession ends what was held for a client's session with us.
	EndSession(session string)
	// EndGrant ends what was held for a grant: processes, connections, subscriptions, credentials.
	EndGrant(grantID string)
	// State says how the connector is, without asking it.
	State() State
	// OnChange makes changed be called after each change of the catalog or of the state. Once, before Run; changed
	// returns at once.
	OnChange(changed func())
	// Check is the connector's part of `hostedmcp check`.
	Check(ctx context.Context) []oauth.Finding
	// Run keeps the connector going until ctx ends.
	Run(ctx context.Context) error
	// Close ends everything, calls under way included; the error is that of ctx.
	Close(ctx context.Context) error
}

// State says how a connector is.
type State struct {
	Up     bool
	Reason oauth.Reason // why not; "" if it is up
	Since  time.Time    // of this state; zero = since the start
	Text   string       // one sentence for the operator, with no secret in it; "" = the reason's
}

// Catalog is what a connector offers: definitions as it wrote them, under its own names. Neither side changes one that
// was returned; a Source that has nothing new returns the same slices again, by which others know theirs is up to date.
type Catalog struct {
	Tools             []json.RawMessage
	Prompts           []json.RawMessage
	Resources         []json.RawMessage
	ResourceTemplates []json.RawMessage
	Capabilities      json.RawMessage // server capabilities as declared; nil = tools alone
	Instructions      string          // for the model; "" = none
	Completions       bool            // completion/complete is served
}

// Pin holds a tool's definition as it was accepted, and, if the connector has changed it since, as it is offered now.
type Pin struct {
	Connector  string
	Tool       string            // the connector's own name for it
	Definition json.RawMessage   // accepted last; nil = the tool is forgotten (only when stored)
	Offered    json.RawMessage   // waits for the operator; nil = nothing has changed
	Seen       time.Time         // when the tool was first seen
	Changed    time.Time         // when Offered was first seen; zero = never
	Also       []json.RawMessage // accepted before Definition, and served beside it: users get different ones
	Varies     bool              // users get different definitions: accepting one takes none away
}
