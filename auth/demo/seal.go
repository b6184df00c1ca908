package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// kind is what a sealed value is for. It is authenticated with the value, so that one kind never passes for another.
type kind string

const (
	kindRequest kind = "request" // nobody has signed in yet
	kindAnswer  kind = "answer"  // somebody has; on its way to /authorize/callback
	kindCode    kind = "code"
	kindRefresh kind = "refresh"
)

// errSealed is every way in which a sealed value can be wrong: forged, of another key or kind, or too old.
var errSealed = errors.New("unknown or too old")

// derive returns 32 bytes of key for one purpose (RFC 5869). key is already uniformly random: no salt is needed.
func derive(key []byte, purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, key, nil, "hostedmcp demo provider: "+purpose, 32)
}

// signingKey derives the P-256 key of ES256. About one in 2³² candidates is not a valid scalar: then the next is taken.
func signingKey(key []byte) (*ecdsa.PrivateKey, error) {
	for n := range 8 {
		candidate, err := derive(key, fmt.Sprintf("signing %d", n))
		if err != nil {
			return nil, err
		}
		if private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), candidate); err == nil {
			return private, nil
		}
	}
	return nil, errors.New("no signing key can be derived")
}

// sealer keeps the provider's memory outside of the provider: XChaCha20-Poly1305 under one key, random nonces.
type sealer struct {
	key []byte
	now func() time.Time
}

// envelope is the sealed content: when it ends (Unix seconds, 0 = never) and what it holds.
type envelope struct {
	Expires int64           `json:"exp,omitempty"`
	Content json.RawMessage `json:"c"`
}

// seal writes content as base64url text that only open, with the same kind, reads again. life 0 means for ever.
func (s sealer) seal(k kind, content any, life time.Duration) (string, error) {
	raw, err := json.Marshal(content)
	if err != nil {
		return "", err
	}
	e := envelope{Content: raw}
	if life > 0 {
		e.Expires = s.now().Add(life).Unix()
	}
	plain, err := json.Marshal(e)
	if err != nil {
		return "", err
	}
	aead, err := chacha20poly1305.NewX(s.key)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	rand.Read(nonce) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nonce, nonce, plain, []byte(k))), nil
}

// open reads what seal wrote into content; any fault is errSealed.
func (s sealer) open(k kind, sealed string, content any) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil || len(raw) < chacha20poly1305.NonceSizeX {
		return errSealed
	}
	aead, err := chacha20poly1305.NewX(s.key)
	if err != nil {
		return err
	}
	nonce, text := raw[:chacha20poly1305.NonceSizeX], raw[chacha20poly1305.NonceSizeX:]
	plain, err := aead.Open(nil, nonce, text, []byte(k))
	if err != nil {
		return errSealed
	}
	var e envelope
	if err := json.Unmarshal(plain, &e); err != nil {
		return errSealed
	}
	if e.Expires != 0 && s.now().Unix() >= e.Expires {
		return errSealed
	}
	return json.Unmarshal(e.Content, content)
}

// same compares two secrets in constant time; an empty one is like no other, not even another empty one.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return a != "" && hmac.Equal(x[:], y[:])
}

// digest is the hash under which a cookie's value or a code is remembered.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
