package upstream

// The id_token, judged by OpenID Connect Core 1.0 §3.1.3.7 (login) and §12.2 (refresh), RFC 7515 and RFC 8725. Our own
// code and our own clock: the library's verifier shortens exp by its leeway, takes a missing nonce for an empty one, and
// runs before the tokens are handed over.

import (
	"crypto"
	_ "crypto/sha256" // at_hash
	_ "crypto/sha512" // at_hash
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"hostedmcp/auth/oauth"
)

const (
	maxIDToken = 16 << 10         // bytes
	leeway     = 60 * time.Second // for exp, iat and nbf, both ways
)

// hashes holds the algorithms that an id_token may be signed with, each with the hash of its at_hash. All are
// asymmetric: with HS256 our client secret, which lies in more than one place, would sign for the provider, and none
// is no signature (RFC 8725 §3.2).
var hashes = map[jose.SignatureAlgorithm]crypto.Hash{
	jose.RS256: crypto.SHA256, jose.RS384: crypto.SHA384, jose.RS512: crypto.SHA512,
	jose.PS256: crypto.SHA256, jose.PS384: crypto.SHA384, jose.PS512: crypto.SHA512,
	jose.ES256: crypto.SHA256, jose.ES384: crypto.SHA384, jose.ES512: crypto.SHA512,
	jose.EdDSA: crypto.SHA512,
}

// errOtherPerson is an id_token of the provider's own that names another subject or issuer than the grant's.
var errOtherPerson = errors.New("id_token: another subject or issuer than the grant's")

var errNoIDToken = errors.New("id_token: none in the answer: is openid among provider.scopes?")

// expected is what an id_token is held against.
type expected struct {
	access  oauth.Secret // came with it
	nonce   string
	subject string // of the grant, on refresh
	login   bool   // nonce is compulsory
}

// verifyIDToken returns the claims of an id_token that holds. The error is errOtherPerson (only on refresh, only under a
// good signature), errUnknownKey (keys has no key for it) or names the rule that was broken.
func (p *Provider) verifyIDToken(d *discovery, keys keySource, token string, want expected) (*Claims, error) {
	jws, err := parseJWS(token, d.algorithms())
	if err != nil {
		return nil, err
	}
	payload, err := verifySignature(jws, keys)
	if err != nil {
		return nil, err
	}
	o, err := oauth.ParseObject(payload, 100) // refuses duplicate claims: two readers would see two persons
	if err != nil {
		return nil, errors.New("id_token: its claims are not one JSON object without duplicates")
	}
	c := idClaims{o}
	if !want.login && (c.text("iss") != p.config.Issuer || c.text("sub") != want.subject) {
		return nil, errOtherPerson
	}
	alg := jose.SignatureAlgorithm(jws.Signatures[0].Header.Algorithm)
	for _, rule := range []error{
		c.checkParties(p.config.Issuer, p.config.ClientID), c.checkTimes(p.now()), c.checkNonce(want),
		c.checkAccess(want.access, hashes[alg]), c.checkSubject(),
	} {
		if rule != nil {
			return nil, rule
		}
	}
	return c.claims(p.config.Claims), nil
}

// algorithms returns those that the provider advertises and we take. The member is compulsory; without it RS256 is what
// every provider must know (OpenID Connect Discovery §3).
func (d *discovery) algorithms() []jose.SignatureAlgorithm {
	advertised := d.IDTokenAlgs
	if len(advertised) == 0 {
		advertised = []string{string(jose.RS256)}
	}
	var out []jose.SignatureAlgorithm
	for _, a := range advertised {
		if _, ok := hashes[jose.SignatureAlgorithm(a)]; ok {
			out = append(out, jose.SignatureAlgorithm(a))
		}
	}
	return out
}

// parseJWS takes one compact JWS in its only form. go-jose forgives line breaks, tails and duplicate header members.
func parseJWS(token string, algorithms []jose.SignatureAlgorithm) (*jose.JSONWebSignature, error) {
	if len(token) > maxIDToken {
		return nil, errors.New("id_token: longer than 16 KB")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("id_token: not a compact JWS")
	}
	var header []byte
	for i, part := range parts {
		raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || strings.ContainsAny(part, "\r\n") {
			return nil, errors.New("id_token: not canonical base64url")
		}
		if i == 0 {
			header = raw
		}
	}
	h, err := oauth.ParseObject(header, 100)
	if err != nil {
		return nil, errors.New("id_token: its header is not one JSON object without duplicates")
	}
	if _, ok := h["crit"]; ok { // RFC 7515 §4.1.11: we know no extension
		return nil, errors.New("id_token: its header has crit")
	}
	jws, err := jose.ParseSignedCompact(token, algorithms)
	var wrong *jose.ErrUnexpectedSignatureAlgorithm
	if errors.As(err, &wrong) {
		return nil, errors.New("id_token: signed with an algorithm that is not advertised or not asymmetric")
	}
	if err != nil {
		return nil, errors.New("id_token: not a compact JWS")
	}
	return jws, nil
}

// verifySignature returns the signed payload. An unknown key is looked for once more in a newer key set.
func verifySignature(jws *jose.JSONWebSignature, keys keySource) ([]byte, error) {
	set, err := keys(false)
	if err != nil {
		return nil, err
	}
	payload, err := set.verify(jws)
	if !errors.Is(err, errUnknownKey) {
		return payload, err
	}
	if set, err = keys(true); err != nil {
		return nil, err
	}
	return set.verify(jws)
}

// checkParties: issued by the provider, for us (§3.1.3.7 rules 2 to 5).
func (c idClaims) checkParties(issuer, clientID string) error {
	audience := c.list("aud")
	_, hasAZP := c.Object["azp"]
	switch {
	case c.text("iss") != issuer:
		return errors.New("id_token: iss is another issuer")
	case !slices.Contains(audience, clientID):
		return errors.New("id_token: aud does not name us")
	case len(audience) > 1 && !hasAZP:
		return errors.New("id_token: several aud and no azp")
	case hasAZP && c.text("azp") != clientID:
		return errors.New("id_token: azp is another client")
	}
	return nil
}

// checkTimes: exp and iat are compulsory (§2), nbf may be there (RFC 7519 §4.1.5).
func (c idClaims) checkTimes(now time.Time) error {
	exp, hasExp := c.time("exp")
	iat, hasIat := c.time("iat")
	nbf, hasNbf := c.time("nbf")
	_, sentNbf := c.Object["nbf"]
	switch {
	case !hasExp || !hasIat || sentNbf && !hasNbf:
		return errors.New("id_token: exp, iat or nbf is not a time")
	case !now.Before(exp.Add(leeway)):
		return errors.New("id_token: expired: do both clocks agree?")
	case iat.After(now.Add(leeway)):
		return errors.New("id_token: issued in the future: do both clocks agree?")
	case hasNbf && nbf.After(now.Add(leeway)):
		return errors.New("id_token: not valid yet: do both clocks agree?")
	}
	return nil
}

// checkNonce: at a login it is there and ours (§3.1.3.7 rule 11); on refresh only one that is there counts (§12.2), and
// only if the caller still knows ours.
func (c idClaims) checkNonce(want expected) error {
	_, sent := c.Object["nonce"]
	if !want.login && (!sent || want.nonce == "") {
		return nil
	}
	got := c.text("nonce")
	if got == "" || subtle.ConstantTimeCompare([]byte(got), []byte(want.nonce)) != 1 {
		return errors.New("id_token: nonce is not the request's")
	}
	return nil
}

// checkAccess: at_hash, if there, is the left half of the access token's hash (§3.1.3.6).
func (c idClaims) checkAccess(access oauth.Secret, hash crypto.Hash) error {
	if _, sent := c.Object["at_hash"]; !sent {
		return nil
	}
	h := hash.New()
	h.Write([]byte(access.Reveal()))
	half := h.Sum(nil)[:hash.Size()/2]
	if subtle.ConstantTimeCompare([]byte(c.text("at_hash")), []byte(base64.RawURLEncoding.EncodeToString(half))) != 1 {
		return errors.New("id_token: at_hash is of another access token")
	}
	return nil
}
