package demo

import (
	"context"
	"errors"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// The rest of op.Storage: keys, the client, and what this provider does not do.

// codes is op's encryption of codes (op.Crypto): the answer becomes a code. Access tokens are JWTs, so that there is
// never anything to decrypt.
type codes struct{ *store }

func (s *store) codes() op.Crypto { return codes{s} }

// Encrypt turns the sealed answer, op's id of the request, into a code.
func (c codes) Encrypt(id string) (string, error) {
	var r request
	if err := c.sealer.open(kindAnswer, id, &r); err != nil {
		return "", err
	}
	return c.sealer.seal(kindCode, r, codeLife)
}

// Decrypt refuses everything.
func (codes) Decrypt(string) (string, error) { return "", errSealed }

// key is the signing key in both of op's forms (op.SigningKey, op.Key).
type key struct {
	id  string
	key any
}

// ID returns the kid, the key's thumbprint.
func (k key) ID() string { return k.id }

// Key returns the private or the public key.
func (k key) Key() any { return k.key }

// Use returns sig (RFC 7517 §4.2).
func (k key) Use() string { return oidc.KeyUseSignature }

// Algorithm returns ES256.
func (k key) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }

// SignatureAlgorithm returns ES256.
func (k key) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }

// SigningKey returns the private key.
func (s *store) SigningKey(context.Context) (op.SigningKey, error) {
	return key{s.keyID, s.private}, nil
}

// KeySet returns what is published: one public key, the same after every start.
func (s *store) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{key{s.keyID, s.private.Public()}}, nil
}

// SignatureAlgorithms returns ES256.
func (s *store) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

// GetClientByClientID returns the one client.
func (s *store) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != ClientID {
		return nil, oidc.ErrInvalidClient()
	}
	return s.client, nil
}

// AuthorizeClientIDSecret compares the client's secret.
func (s *store) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != ClientID || !same(secret, s.secret.Reveal()) {
		return oidc.ErrInvalidClient()
	}
	return nil
}

// SetUserinfoFromScopes puts the user's claims into an id_token.
func (s *store) SetUserinfoFromScopes(_ context.Context, to *oidc.UserInfo, subject, _ string, _ []string) error {
	if err := s.setClaims(to, subject); err != nil {
		return oidc.ErrInvalidGrant()
	}
	return nil
}

// GetPrivateClaimsFromScopes adds nothing to an access token: who it is for is asked at userinfo.
func (s *store) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

// SaveAuthCode has nothing to save: the code holds its request.
func (s *store) SaveAuthCode(context.Context, string, string) error { return nil }

// DeleteAuthRequest has nothing to delete.
func (s *store) DeleteAuthRequest(context.Context, string) error { return nil }

// Health is always good: there is no table that could fail.
func (s *store) Health(context.Context) error { return nil }

// errNotOffered answers what belongs to endpoints and grants that routes does not lead to.
var errNotOffered = errors.New("not offered")

// TerminateSession belongs to logout.
func (s *store) TerminateSession(context.Context, string, string) error { return errNotOffered }

// SetUserinfoFromToken belongs to op's userinfo endpoint; ours is in site.go.
func (s *store) SetUserinfoFromToken(context.Context, *oidc.UserInfo, string, string, string) error {
	return errNotOffered
}

// SetIntrospectionFromToken belongs to introspection.
func (s *store) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errNotOffered
}

// GetKeyByIDAndClientID belongs to private_key_jwt and the JWT grant (RFC 7523): no client has a key.
func (s *store) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNotOffered
}

// ValidateJWTProfileScopes belongs to the JWT grant.
func (s *store) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNotOffered
}
