package auth

import (
	"encoding/json"
	"time"

	"hostedmcp/auth/oauth"
)

// Identity is who stands behind an MCP request, as its access token and the living grant say. It is made anew for
// each request, in a session too. It holds what a call needs at once; claims are read when a tool asks for them
// (UserClaims).
type Identity struct {
	GrantID    string
	Subject    string // the provider's sub
	ClientID   string
	ClientName string
	Scope      oauth.Scope // of this access token
	Since      time.Time   // when the grant was made
	Until      time.Time   // when the grant ends if it is not used again
	Expires    time.Time   // of the access token
}

// UserClaims is what the provider last said of the user: the claims named in `[provider] claims`, renewed with the
// upstream token.
type UserClaims struct {
	Name              string
	PreferredUsername string
	Email             string
	Groups            []string
	Raw               json.RawMessage // exactly the configured claims, as the provider sent them
}
