package storage

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"hostedmcp/auth/oauth"
)

// SigningKey signs access tokens (ES256, protocol.md §5.6). The current one has a zero RetireAt; others are published
// and accepted until then, and forgotten after it.
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
		s.keys = make([]SigningKey, min(n, signingMost))
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

// signingMost bounds the keys kept: who makes one every minute loses the oldest.
const signingMost = 16

// SigningKeys returns the keys for access tokens, the current one first, without those whose time is over.
func (s *Store) SigningKeys() []SigningKey {
	keys, now := s.keys.Load().signing, s.Now()
	if !slices.ContainsFunc(keys, func(k SigningKey) bool { return k.retired(now) }) {
		return keys
	}
	return slices.DeleteFunc(slices.Clone(keys), func(k SigningKey) bool { return k.retired(now) })
}

func (k SigningKey) retired(now time.Time) bool {
	return !k.RetireAt.IsZero() && !now.Before(k.RetireAt)
}

// RotateSigning makes a new current signing key. The one before is published and accepted until retire, which is when
// its last token expires; a retire that is not in the future ends all its tokens now. Errors: ErrUnavailable; there may
// be a new key then all the same.
func (s *Store) RotateSigning(ctx context.Context, retire time.Time) (SigningKey, error) {
	fresh, err := newSigningKey(s.Now())
	if err != nil {
		return SigningKey{}, err
	}
	err = s.changeSigning(ctx, func(t *txn, keys []SigningKey) []SigningKey {
		for i := range keys {
			if keys[i].RetireAt.IsZero() {
				keys[i].RetireAt = latest(retire, t.now)
			}
		}
		t.stamp(&Event{Reason: oauth.KeyRotated, Note: "signing"}) // of no grant: told, not stored
		return append([]SigningKey{fresh}, keys...)
	})
	if err != nil {
		return SigningKey{}, err
	}
	return fresh, nil
}

// changeSigning changes the signing keys in the file, and then those in memory by what the file shows: a commit that
// failed may have happened, and must not leave a key here that a restart does not know.
func (s *Store) changeSigning(ctx context.Context, change func(*txn, []SigningKey) []SigningKey) error {
	err := s.write(ctx, func(t *txn) error {
		var all signingKeys
		if !t.loadMeta(t.ring(), signingKey, &all) {
			return errDamaged
		}
		keys := slices.DeleteFunc(change(t, all.keys), func(k SigningKey) bool { return k.retired(t.now) })
		all.keys = keys[:min(len(keys), signingMost)]
		t.saveMeta(signingKey, &all)
		return nil
	})
	s.reloadKeys()
	return err
}

// dropSigning forgets keys whose time is over, if there are any.
func (s *Store) dropSigning(ctx context.Context) error {
	now := s.Now()
	if !slices.ContainsFunc(s.keys.Load().signing, func(k SigningKey) bool { return k.retired(now) }) {
		return nil
	}
	return s.changeSigning(ctx, func(_ *txn, keys []SigningKey) []SigningKey { return keys })
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
