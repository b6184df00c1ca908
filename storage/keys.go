package storage

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"time"

	"hostedmcp/storage/seal"
)

// keyring is what the store knows in clear while it runs. It is replaced as a whole when a key is added.
type keyring struct {
	store   seal.Key
	ring    *seal.Ring
	signing []SigningKey
}

const (
	keysKey    = "keys"    // in meta: store key and data keys, wrapped by the master key
	signingKey = "signing" // in meta: signing keys, sealed
)

// SigningKey signs access tokens (ES256, protocol.md §5.6). The current one has a zero RetireAt; others are published
// and accepted until then.
type SigningKey struct {
	ID       string // RFC 7638 thumbprint
	Private  *ecdsa.PrivateKey
	Created  time.Time
	RetireAt time.Time
}

// signingKeys is the sealed record in meta.
type signingKeys struct{ keys []SigningKey }

func (s *signingKeys) fields(c *codec) {
	n := len(s.keys)
	num(c, &n)
	if c.reading {
		s.keys = make([]SigningKey, min(n, 16))
	}
	for i := range s.keys {
		k := &s.keys[i]
		var der []byte
		if !c.reading {
			der, _ = x509.MarshalPKCS8PrivateKey(k.Private) // cannot fail for a P-256 key that we made
		}
		text(c, &der)
		when(c, &k.Created)
		when(c, &k.RetireAt)
		if c.reading {
			k.parse(c, der)
		}
	}
}

// parse fills in the key and its name, which is derived and not stored.
func (k *SigningKey) parse(c *codec, der []byte) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	private, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		c.bad = true
		return
	}
	k.Private, k.ID = private, thumbprint(&private.PublicKey)
}

// newSigningKey makes a key for ES256 (RFC 7518 §3.4).
func newSigningKey(now time.Time) (SigningKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return SigningKey{}, fmt.Errorf("make a signing key: %w", err)
	}
	return SigningKey{ID: thumbprint(&private.PublicKey), Private: private, Created: now}, nil
}

// thumbprint is the key's name by RFC 7638 §3: a hash of its members in this order.
func thumbprint(k *ecdsa.PublicKey) string {
	point, err := k.Bytes() // 4 │ X │ Y
	if err != nil {
		return ""
	}
	x, y := base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:])
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, x, y))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// SigningKeys returns the keys for access tokens, the current one first.
func (s *Store) SigningKeys() []SigningKey { return s.keys.Load().signing }

// Key returns 32 bytes for a label, drawn from the store key, which is never rotated: for what is looked up by its
// HMAC ("client_id", "email", "sid", "log-subject") and for the demo provider. Different labels are independent.
func (s *Store) Key(label string) []byte { return s.keys.Load().store.Derive("key/" + label) }

// Seal encrypts plain for one purpose under the current data key, bound to ad. The value names its data key, so it
// opens after a restart and after a new data key.
func (s *Store) Seal(label string, plain, ad []byte) []byte {
	return s.keys.Load().ring.Seal("use/"+label, plain, ad)
}

// OpenSealed returns what Seal was given with the same label and ad. Errors: seal.ErrOpen.
func (s *Store) OpenSealed(label string, sealed, ad []byte) ([]byte, error) {
	return s.keys.Load().ring.Open("use/"+label, sealed, ad)
}
