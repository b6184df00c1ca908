package auth

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// Access tokens are JWTs (RFC 9068), signed ES256, naming the grant and its generation. Nothing is stored for one.
// The type in the header keeps tokens of another kind from passing for one (RFC 9068 §2.1, RFC 8725 §3.11); the size
// is checked before anything is decoded.
const (
	accessTokenType = "at+jwt"
	maxAccessToken  = 8 << 10
	leeway          = 60 * time.Second // a client may trust expires_in to the last second
)

// accessClaims are the claims of RFC 9068 §2.2 and our two.
type accessClaims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"` // the one resource (RFC 8707 §2)
	Subject  string `json:"sub"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
	ID       string `json:"jti"` // required by RFC 9068 §2.2; nothing is looked up by it
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	Grant    string `json:"gid"` // read at every use: an ended grant's tokens are dead
	Gen      uint32 `json:"gen"` // its use is what marks this generation as used (protocol.md §5.3)

	kid string // of the key that signed it
}

// mintAccessToken signs an access token for g with scope, living for ttl but not past the grant's highest age.
func (s *Server) mintAccessToken(g storage.Grant, scope oauth.Scope, ttl time.Duration, now time.Time) (oauth.Secret, time.Duration, error) {
	expires := now.Add(ttl)
	// past that age only a clock that is not trusted brings us here, and then nothing ends by time
	if last := g.Created.Add(s.tokens.RefreshMax.D()); expires.After(last) && last.After(now) {
		expires = last
	}
	// Times are whole seconds (RFC 7519 §2, NumericDate): s.now cuts off the rest, so that expires_in is not rounded
	// up.
	payload, err := josejson.Marshal(accessClaims{
		Issuer: s.issuer, Audience: s.resource, Subject: g.Subject, ClientID: g.ClientID, Scope: scope.String(),
		ID: rand.Text(), IssuedAt: now.Unix(), Expires: expires.Unix(), Grant: g.ID, Gen: g.Gen,
	})
	if err != nil {
		return "", 0, fmt.Errorf("encode access token: %w", err)
	}
	signed, err := s.signer().Sign(payload)
	if err != nil {
		return "", 0, fmt.Errorf("sign access token: %w", err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		return "", 0, fmt.Errorf("serialize access token: %w", err)
	}
	return oauth.Secret(compact), expires.Sub(now), nil
}

var (
	errTokenForm     = errors.New("not a token of ours")
	errTokenIssuer   = errors.New("token of another issuer")
	errTokenAudience = errors.New("token for another audience")
)

// readAccessToken checks form, signature, issuer and audience (protocol.md §5.6); not exp and not the grant, which are
// judged anew at every use.
func (s *Server) readAccessToken(token string) (accessClaims, error) {
	var c accessClaims
	if err := canonicalJWS(token); err != nil {
		return c, err
	}
	// The algorithm is ours to say, never the token's (RFC 8725 §3.1): `none`, and HS256 under a public key, end
	// here.
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return c, errTokenForm
	}
	header := jws.Signatures[0].Protected
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if _, critical := header.ExtraHeaders["crit"]; critical || typ != accessTokenType { // RFC 7515 §4.1.11: we know none
		return c, errTokenForm
	}
	// By kid among our own keys alone: what the header says in jku, x5u or jwk is read by nobody (RFC 8725 §3.10).
	key := s.verificationKey(header.KeyID)
	if key == nil {
		return c, errTokenForm
	}
	payload, err := jws.Verify(key)
	if err != nil {
		return c, errTokenForm
	}
	// go-jose's decoder refuses a name that stands twice, which two readers could read in two ways.
	if err := josejson.Unmarshal(payload, &c); err != nil {
		return c, errTokenForm
	}
	c.kid = header.KeyID
	switch {
	case c.Issuer != s.issuer:
		return c, errTokenIssuer
	case c.Audience != s.resource:
		return c, errTokenAudience
	// without a grant nothing could ever end it
	case c.Grant == "" || c.Subject == "" || c.ClientID == "":
		return c, errTokenForm
	}
	return c, nil
}

// canonicalJWS refuses what go-jose would forgive: more parts, line breaks, padding and other spellings of the same
// bytes (style.md, trap 11). ECDSA itself leaves a second signature of the same claims; it says nothing else.
func canonicalJWS(token string) error {
	if len(token) == 0 || len(token) > maxAccessToken || strings.Count(token, ".") != 2 || strings.ContainsAny(token, "\r\n") {
		return errTokenForm
	}
	// An empty part is refused with the rest: unsecured tokens have no signature (RFC 7519 §6).
	for part := range strings.SplitSeq(token, ".") {
		if _, err := base64.RawURLEncoding.Strict().DecodeString(part); err != nil || part == "" {
			return errTokenForm
		}
	}
	return nil
}

// verificationKey is the public half of the key named kid, nil if it is none of ours or retired. A key that was replaced
// stays in the store's list until its last token has expired (protocol.md §5.6), so that a new key logs nobody out.
func (s *Server) verificationKey(kid string) *ecdsa.PublicKey {
	for _, k := range s.store.SigningKeys() {
		if k.ID == kid && kid != "" {
			return &k.Private.PublicKey
		}
	}
	return nil
}

// signer returns the signer of the current key, made once for each key. After a new key several requests may make it
// at once; any of them serves.
func (s *Server) signer() jose.Signer {
	current := s.store.SigningKeys()[0]
	if cached := s.signing.Load(); cached != nil && cached.kid == current.ID {
		return cached.Signer
	}
	options := (&jose.SignerOptions{}).WithType(accessTokenType)
	key := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: current.Private, KeyID: current.ID}}
	signer, err := jose.NewSigner(key, options)
	if err != nil {
		panic(fmt.Sprintf("signing key %s of the store: %v", current.ID, err)) // a P-256 key always makes one
	}
	s.signing.Store(&cachedSigner{Signer: signer, kid: current.ID})
	return signer
}

// cachedSigner is a signer with the name of its key, by which a newer key is noticed.
type cachedSigner struct {
	jose.Signer
	kid string
}
