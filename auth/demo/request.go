package demo

import (
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// request is an authorization request on its way (op.AuthRequest): sealed into links and forms, never stored.
type request struct {
	Browser   string `json:"b"` // digest of the cookie of the browser that asked
	Redirect  string `json:"r"`
	State     string `json:"st,omitempty"`
	Nonce     string `json:"n,omitempty"`
	Challenge string `json:"ch"` // S256
	session          // only its scopes, until somebody has signed in

	id string // the sealed form that it came from or goes on as
}

// session is one sign-in of one user: what a refresh token holds (op.RefreshTokenRequest).
type session struct {
	ID       string   `json:"i,omitempty"` // random; revocation names it
	Subject  string   `json:"u,omitempty"`
	SignedIn int64    `json:"t,omitempty"` // Unix seconds
	Scopes   []string `json:"s"`
}

// GetID returns the sealed form, or for a code its digest: op brings it back, nobody looks it up.
func (r *request) GetID() string { return r.id }

// GetACR returns none: there is one way to sign in here.
func (r *request) GetACR() string { return "" }

// GetRedirectURI returns the redirect URI, which op compares at the token endpoint (RFC 6749 §4.1.3).
func (r *request) GetRedirectURI() string { return r.Redirect }

// GetResponseType returns the only one there is.
func (r *request) GetResponseType() oidc.ResponseType { return oidc.ResponseTypeCode }

// GetResponseMode returns the only one there is.
func (r *request) GetResponseMode() oidc.ResponseMode { return oidc.ResponseModeQuery }

// GetState returns the client's state; op adds it to the redirect with the code.
func (r *request) GetState() string { return r.State }

// GetNonce returns the nonce for the first id_token. One after a refresh has none, as Keycloak's.
func (r *request) GetNonce() string { return r.Nonce }

// Done reports whether somebody has signed in.
func (r *request) Done() bool { return r.Subject != "" }

// GetCodeChallenge returns the challenge that op holds against the verifier (RFC 7636 §4.6).
func (r *request) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: r.Challenge, Method: oidc.CodeChallengeMethodS256}
}

// GetAMR returns how the user signed in (RFC 8176).
func (s *session) GetAMR() []string { return []string{"pwd"} }

// GetAudience returns who the tokens are for.
func (s *session) GetAudience() []string { return []string{ClientID} }

// GetAuthTime returns when the user signed in.
func (s *session) GetAuthTime() time.Time { return time.Unix(s.SignedIn, 0) }

// GetClientID returns the one client.
func (s *session) GetClientID() string { return ClientID }

// GetSubject returns the user's sub, "" before the sign-in.
func (s *session) GetSubject() string { return s.Subject }

// GetScopes returns what was asked and granted, which is always the same.
func (s *session) GetScopes() []string { return s.Scopes }

// SetCurrentScopes narrows the tokens of one refresh (RFC 6749 §6); the refresh token keeps what it had.
func (s *session) SetCurrentScopes(want []string) { s.Scopes = want }
