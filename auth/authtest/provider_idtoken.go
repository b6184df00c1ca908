package authtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // signatures
	_ "crypto/sha512" // signatures
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// IDToken is an id_token before it is signed. Behaviour.IDToken may change everything. It is signed as Header["alg"]
// then says: the provider's own algorithm with its key; "none" with nothing; HS256 with the client secret. Any other
// signs with the provider's key under the wrong name.
type IDToken struct {
	Refresh bool // of a refresh's answer
	Access  string
	Header  map[string]any
	Claims  map[string]any
	Payload []byte              // if set, signed in place of Claims
	Raw     func(string) string // if set, the last word on the compact form
}

// signingKey is one key of the provider's.
type signingKey struct {
	id, alg string
	private crypto.Signer
}

func newSigningKey(alg string) (signingKey, error) {
	k := signingKey{id: "key-" + rand.Text()[:8], alg: alg}
	var err error
	switch alg {
	case "ES256":
		k.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		k.private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "RS256", "PS256":
		k.private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "EdDSA":
		_, k.private, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("provider: no signatures with %q", alg)
	}
	return k, err
}

func (k signingKey) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: k.alg, Use: "sig"}
}

// hash returns the hash of the algorithm; 0 = the key hashes for itself.
func (k signingKey) hash() crypto.Hash {
	switch k.alg {
	case "ES384":
		return crypto.SHA384
	case "EdDSA":
		return 0
	}
	return crypto.SHA256
}

func (k signingKey) sign(input []byte) []byte {
	digest := input
	var options crypto.SignerOpts = k.hash()
	if k.hash() != 0 {
		h := k.hash().New()
		h.Write(input)
		digest = h.Sum(nil)
	}
	if k.alg == "PS256" {
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	if key, ok := k.private.(*ecdsa.PrivateKey); ok {
		return signECDSA(key, digest)
	}
	signature, err := k.private.Sign(rand.Reader, digest, options)
	if err != nil {
		panic(err) // our own key
	}
	return signature
}

// signECDSA writes both halves in full width (RFC 7518 §3.4).
func signECDSA(key *ecdsa.PrivateKey, digest []byte) []byte {
	r, s, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		panic(err) // our own key
	}
	width := (key.Params().BitSize + 7) / 8
	out := make([]byte, 2*width)
	r.FillBytes(out[:width])
	s.FillBytes(out[width:])
	return out
}

// RotateKey makes a new key current; keepOld says whether the others stay published.
func (p *Provider) RotateKey(keepOld bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, err := newSigningKey(p.behaviour.signingAlg())
	if err != nil {
		return err
	}
	if !keepOld {
		p.keys = nil
	}
	p.keys = append([]signingKey{k}, p.keys...)
	return nil
}

func (p *Provider) newIDToken(l *lineage, access string, refresh bool, now time.Time) string {
	k := p.keys[0]
	t := &IDToken{Refresh: refresh, Access: access,
		Header: map[string]any{"alg": k.alg, "typ": "JWT", "kid": k.id}, Claims: p.claimsOf(p.user(l.user))}
	for name, value := range map[string]any{
		"iss": p.Issuer, "aud": p.ClientID, "azp": p.ClientID, "sid": l.session.id, "typ": "ID",
		"iat": now.Unix(), "exp": now.Add(p.behaviour.accessLife()).Unix(), "at_hash": k.accessHash(access),
	} {
		t.Claims[name] = value
	}
	if l.nonce != "" && (!refresh || p.behaviour.RefreshNonce) {
		t.Claims["nonce"] = l.nonce
	}
	if p.behaviour.IDToken != nil {
		p.behaviour.IDToken(t)
	}
	return p.seal(k, t)
}

// seal signs t as its header says.
func (p *Provider) seal(k signingKey, t *IDToken) string {
	header, err := json.Marshal(t.Header)
	payload := t.Payload
	if err == nil && payload == nil {
		payload, err = json.Marshal(t.Claims)
	}
	if err != nil {
		panic(err) // a test's own claims
	}
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64(header) + "." + b64(payload)
	var signature []byte
	switch t.Header["alg"] {
	case "none":
	case "HS256":
		m := hmac.New(crypto.SHA256.New, []byte(p.ClientSecret))
		m.Write([]byte(input))
		signature = m.Sum(nil)
	default:
		signature = k.sign([]byte(input))
	}
	token := input + "." + b64(signature)
	if t.Raw != nil {
		token = t.Raw(token)
	}
	return token
}

// accessHash is the at_hash (OpenID Connect Core §3.1.3.6).
func (k signingKey) accessHash(access string) string {
	hash := k.hash()
	if hash == 0 {
		hash = crypto.SHA512
	}
	h := hash.New()
	h.Write([]byte(access))
	return strings.TrimRight(base64.URLEncoding.EncodeToString(h.Sum(nil)[:hash.Size()/2]), "=")
}
