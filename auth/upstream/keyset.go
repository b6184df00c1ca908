package upstream

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"hostedmcp/auth/oauth"
)

const (
	keysFresh = time.Hour        // a key that the provider withdrew is gone an hour later
	keysPause = 30 * time.Second // between two fetches, whatever asks
	minRSA    = 2048             // bits of a modulus (NIST SP 800-131A)
)

// errUnknownKey asks for a fresh key set.
var errUnknownKey = errors.New("id_token: no key of the provider's fits it")

// keySet is a JWK Set (RFC 7517 §5): its public signing keys.
type keySet []jose.JSONWebKey

// keySource returns the key set; again asks for a newer one than before.
type keySource func(again bool) (keySet, error)

// askedKeys fetches what is missing.
func (p *Provider) askedKeys(ctx context.Context) keySource {
	return func(again bool) (keySet, error) {
		fetch := p.keys.get
		if again {
			fetch = p.keys.renew
		}
		set, err := fetch(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUnknownKey, err)
		}
		return set, nil
	}
}

// knownKeys takes what is in memory and does no I/O: asking again finds the same.
func (p *Provider) knownKeys(bool) (keySet, error) {
	set, ok := p.keys.peek()
	if !ok {
		return nil, errUnknownKey
	}
	return set, nil
}

// warmKeys waits a moment for a key set if there is none, as after a restart, so that the id_token of the answer to
// come can be judged. A provider whose key set hangs must not keep tokens from being refreshed.
func (p *Provider) warmKeys(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout.D()/5)
	defer cancel()
	_, _ = p.keys.get(ctx)
}

// keysBrake is the same after a good fetch and a failed one: an unknown kid must not become a way to make us hammer the
// provider, nor a broken key set.
func keysBrake(int) time.Duration { return keysPause }

func (p *Provider) fetchKeys(ctx context.Context) (keySet, error) {
	d, err := p.discovered.get(ctx)
	if err != nil {
		return nil, err
	}
	body, err := p.get(ctx, "key set", d.KeySet, "")
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(body, &set) != nil || set.Keys == nil {
		return nil, failure(oauth.UpstreamBadAnswer, "key set: not a JWK Set")
	}
	// An empty set is a good one: it says that no key is valid any more.
	return readKeys(set.Keys), nil
}

// readKeys skips what it cannot use: encryption keys, kinds that we do not know (RFC 7517 §5), symmetric keys, which
// do not belong into a public document, and short ones.
func readKeys(raw []json.RawMessage) keySet {
	keys := keySet{}
	for _, r := range raw {
		var k jose.JSONWebKey
		if json.Unmarshal(r, &k) != nil || (k.Use != "" && k.Use != "sig") || !k.Valid() {
			continue
		}
		switch key := k.Key.(type) {
		case *rsa.PublicKey:
			if key.N.BitLen() < minRSA {
				continue
			}
		case *ecdsa.PublicKey, ed25519.PublicKey:
		default:
			continue
		}
		keys = append(keys, k)
	}
	return keys
}

// verify returns the payload if the key that the header names verifies it; with no kid in the header exactly one key
// must. errUnknownKey: a newer set may help.
func (s keySet) verify(jws *jose.JSONWebSignature) ([]byte, error) {
	header := jws.Signatures[0].Header
	var payload []byte
	named, good := 0, 0
	for _, k := range s {
		if (header.KeyID != "" && k.KeyID != header.KeyID) || (k.Algorithm != "" && k.Algorithm != header.Algorithm) {
			continue
		}
		// The key itself refuses an algorithm that is not of its kind.
		named++
		if p, err := jws.Verify(k.Key); err == nil {
			payload, good = p, good+1
		}
	}
	switch {
	case named == 0, header.KeyID == "" && good == 0:
		return nil, errUnknownKey
	case good == 0:
		return nil, errors.New("id_token: the signature does not verify")
	case header.KeyID == "" && good > 1:
		return nil, errors.New("id_token: no kid, and more than one key verifies it")
	}
	return payload, nil
}
