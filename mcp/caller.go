package mcp

import (
	"context"
	"encoding/json"
	"sync"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

// Authority is what this package asks of the authorization server; main fills it with the methods of *auth.Server.
// Errors are *oauth.Error. Fields and no interface: there is one implementation, and tests replace one function at a
// time.
type Authority struct {
	// Verify says who stands behind a bearer token: invalid_token if nobody does any more, temporarily_unavailable
	// if that cannot be read now.
	Verify func(ctx context.Context, bearer string) (*auth.Identity, error)
	// Claims returns what the provider last said of a grant's user.
	Claims func(ctx context.Context, grantID string) (auth.UserClaims, error)
	// UpstreamToken returns a fresh upstream access token: invalid_token with grant_ended if the grant ended,
	// temporarily_unavailable in trouble.
	UpstreamToken func(ctx context.Context, grantID string) (oauth.Secret, error)
	// Userinfo asks the provider's userinfo endpoint with the user's own upstream token.
	Userinfo func(ctx context.Context, grantID string) (json.RawMessage, error)
	// FirstCall notes that a grant was used for the first time. It returns at once and may be told again.
	FirstCall func(ctx context.Context, grantID string)
	// Ended returns a channel that is closed when the grant ends, closed already if it has; it is forgotten with ctx.
	Ended func(ctx context.Context, grantID string) <-chan struct{}
}

// Caller is who makes the present request. It holds neither our bearer token nor a cookie nor an upstream refresh
// token (protocol.md §7, Identity for tools).
type Caller struct {
	*auth.Identity

	server    *Server
	principal string // what a session is bound to

	// claims are read when first asked for: most calls never ask, and reading them unseals a record
	once      sync.Once
	claims    auth.UserClaims
	claimsErr error
}

// Claims returns what the provider last said of the user, read once a request.
func (c *Caller) Claims(ctx context.Context) (auth.UserClaims, error) {
	c.once.Do(func() { c.claims, c.claimsErr = c.server.authority.Claims(ctx, c.GrantID) })
	return c.claims, c.claimsErr
}

// UpstreamToken returns the user's own access token at the provider, refreshed if due. Ask again for each use: it may
// have been renewed, or the grant may have ended, meanwhile.
func (c *Caller) UpstreamToken(ctx context.Context) (oauth.Secret, error) {
	return c.server.authority.UpstreamToken(ctx, c.GrantID)
}

// Userinfo asks the provider who the user is, with the user's own upstream token.
func (c *Caller) Userinfo(ctx context.Context) (json.RawMessage, error) {
	return c.server.authority.Userinfo(ctx, c.GrantID)
}

// principal is what a session is bound to: the user and the client, but not the grant, so that a new login keeps the
// session (protocol.md §7 [C12]). Neither part can hold a NUL. A session that only its id protected would be one
// guess, or one log line, from being somebody else's.
func principal(id *auth.Identity) string { return id.Subject + "\x00" + id.ClientID }

// callerKey is where the context of a tool holds its Caller.
type callerKey struct{}

// CallerOf returns who makes the present request. ctx must be the one that a tool was called with; any other has no
// caller, and CallerOf returns nil.
func CallerOf(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}
