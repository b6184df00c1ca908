package demo

import (
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// client is the one confidential client (op.Client), with one redirect URI.
type client struct{ redirect string }

// GetID returns the client_id.
func (c client) GetID() string { return ClientID }

// RedirectURIs returns the one that main gave; op compares strings.
func (c client) RedirectURIs() []string { return []string{c.redirect} }

// PostLogoutRedirectURIs returns none: there is no logout endpoint.
func (c client) PostLogoutRedirectURIs() []string { return nil }

// ApplicationType is web: only a confidential client may have an http redirect URI that is no native program's.
func (c client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }

// AuthMethod asks for the secret; op takes it from the form as well.
func (c client) AuthMethod() oidc.AuthMethod { return oidc.AuthMethodBasic }

// ResponseTypes refuses the implicit and hybrid flows (RFC 9700 §2.1.2).
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}

// GrantTypes returns what the token endpoint takes.
func (c client) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken}
}

// LoginURL leads from a valid request to our sign-in page; id is sealed and base64url.
func (c client) LoginURL(id string) string { return "/login?request=" + id }

// AccessTokenType is JWT, so that an access token carries its end and its session itself.
func (c client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

// IDTokenLifetime returns how long an id_token may be looked at.
func (c client) IDTokenLifetime() time.Duration { return accessLife }

// DevMode off keeps op's rules for redirect URIs.
func (c client) DevMode() bool { return false }

// IsScopeAllowed allows no scope but those of OpenID Connect; op drops the others.
func (c client) IsScopeAllowed(string) bool { return false }

// IDTokenUserinfoClaimsAssertion puts the user's claims into the id_token too.
func (c client) IDTokenUserinfoClaimsAssertion() bool { return true }

// ClockSkew is none: provider and client share a clock.
func (c client) ClockSkew() time.Duration { return 0 }

// RestrictAdditionalIdTokenScopes restricts nothing.
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string { return unrestricted }

// RestrictAdditionalAccessTokenScopes restricts nothing.
func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return unrestricted }

func unrestricted(scopes []string) []string { return scopes }
