package upstream_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

// pending refreshes with a key that the relying party has not seen.
func (r *rig) pending(token oauth.Secret) upstream.Answer {
	r.Helper()
	if err := r.idp.RotateKey(false); err != nil {
		r.Fatal(err)
	}
	a := r.refresh(token)
	r.want(a, upstream.Unverified, oauth.IDTokenInvalid)
	if !a.Pending || a.Tokens.Refresh == "" {
		r.Fatalf("pending %v", a.Pending)
	}
	return a
}

// An unknown kid fetches the key set, at most once in 30 s, whoever asks (protocol.md §4.5).
func TestUnknownKey(t *testing.T) {
	r := newRig(t)
	r.login()
	if n := r.idp.Count(authtest.JWKS); n != 1 {
		t.Fatalf("%d fetches for the first login", n)
	}
	r.idp.RotateKey(false)
	a := r.exchange() // the brake holds
	r.want(a, upstream.Unverified, oauth.IDTokenInvalid)
	if a.Pending {
		t.Error("a login is never pending: it fails")
	}
	r.clock.Advance(29 * time.Second)
	r.want(r.exchange(), upstream.Unverified, oauth.IDTokenInvalid)
	if n := r.idp.Count(authtest.JWKS); n != 1 {
		t.Fatalf("%d fetches within 30 s", n)
	}
	r.clock.Advance(time.Second)
	r.login()
	r.login()
	if n := r.idp.Count(authtest.JWKS); n != 2 {
		t.Fatalf("%d fetches, want one for the new key", n)
	}
}

// A refresh fetches nothing between the provider's answer and its return; Settle does (protocol.md §8.1 rule 5).
func TestSettle(t *testing.T) {
	for _, row := range []struct {
		name    string
		change  change
		away    bool
		outcome upstream.Outcome
		reason  oauth.Reason
	}{
		{"it holds", func(*authtest.IDToken) {}, false, upstream.Good, ""},
		{"another person", claim("sub", "sub-bob"), false, upstream.Quarantined, oauth.SubjectChanged},
		{"expired", claim("exp", now-3600), false, upstream.Unverified, oauth.IDTokenInvalid},
		{"key set away", func(*authtest.IDToken) {}, true, upstream.Unverified, oauth.IDTokenInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			token := r.login().Tokens.Refresh
			r.clock.Advance(31 * time.Second)
			r.idp.Set(func(b *authtest.Behaviour) { b.IDToken = row.change })
			a := r.pending(token)
			if n := r.idp.Count(authtest.JWKS); n != 1 {
				t.Fatalf("%d fetches before Settle", n)
			}
			if row.away {
				r.idp.Break(authtest.JWKS, authtest.Unavailable(503, ""))
			}
			request := upstream.RefreshRequest{Token: token, Subject: "sub-alice"}
			b := r.up.Settle(context.Background(), request, a)
			r.want(b, row.outcome, row.reason)
			if b.Pending || b.Tokens != a.Tokens {
				t.Errorf("pending %v, tokens kept %v", b.Pending, b.Tokens == a.Tokens)
			}
			if c := r.up.Settle(context.Background(), request, b); c.Outcome != b.Outcome {
				t.Error("a second Settle changes the answer")
			}
		})
	}
}

// After a restart no key is in memory: the first refresh waits a moment for them before it is sent, and goes out
// without them if they hang.
func TestRefreshWithoutKeys(t *testing.T) {
	r := newRig(t)
	token := r.login().Tokens.Refresh
	r.connect(func(*upstream.Options) {})
	a := r.refresh(token)
	r.want(a, upstream.Good, "")
	if a.Claims == nil {
		t.Error("the id_token was not judged")
	}
	r.idp.Break(authtest.JWKS, authtest.Fault{Hang: true})
	a = r.hasty(time.Second, upstream.Unverified, token)
	r.want(a, upstream.Unverified, oauth.IDTokenInvalid)
	if !a.Pending || a.Tokens.Refresh == "" {
		t.Errorf("pending %v", a.Pending)
	}
}

// A key set that cannot be renewed serves for jwks_stale and no longer.
func TestKeysAway(t *testing.T) {
	r := newRig(t)
	r.login()
	r.idp.Break(authtest.JWKS, authtest.HTML())
	r.clock.Advance(24*time.Hour - time.Second)
	r.login()
	r.clock.Advance(time.Second)
	a := r.exchange()
	r.want(a, upstream.Unverified, oauth.IDTokenInvalid)
	if a.Tokens.Refresh == "" {
		t.Error("the tokens are to be revoked, so they must come back")
	}
	r.idp.Mend()
	r.clock.Advance(30 * time.Second)
	r.login()
}

// A withdrawn key is gone an hour later without an unknown kid ever seen.
func TestKeysRenewed(t *testing.T) {
	r := newRig(t)
	r.login()
	r.clock.Advance(time.Hour)
	gate := authtest.NewGate()
	r.idp.Break(authtest.JWKS, authtest.Fault{Gate: gate})
	r.login() // served from the old copy while the new one is fetched
	<-gate.Arrived()
	gate.Open()
}

// What a key set may hold beside the key: nothing of it verifies or hurts (RFC 7517 §5).
func TestOddKeys(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	b64 := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	odd := []map[string]any{
		{"kty": "oct", "k": b64([]byte("0123456789012345678901234567890123456789")), "kid": "oct"},
		{"kty": "later", "kid": "future"}, {"kty": "RSA", "kid": "broken"},
		{"kty": "RSA", "kid": "short", "n": b64(small.N.Bytes()), "e": b64(big.NewInt(int64(small.E)).Bytes())},
	}
	r := newRig(t)
	serve := func(change func(key map[string]any), more ...map[string]any) {
		r.idp.Mend()
		key := r.publicKey()
		change(key)
		body, _ := json.Marshal(map[string]any{"keys": append(more, key)})
		r.idp.Break(authtest.JWKS, authtest.Fault{Body: string(body)})
		r.clock.Advance(time.Minute)
		r.connect(func(*upstream.Options) {})
	}
	serve(func(map[string]any) {}, odd...)
	r.login()
	serve(func(k map[string]any) { k["use"] = "enc" })
	r.want(r.exchange(), upstream.Unverified, oauth.IDTokenInvalid)
	serve(func(k map[string]any) { k["alg"] = "ES384" })
	r.want(r.exchange(), upstream.Unverified, oauth.IDTokenInvalid)
	// a short key that is published does not verify either
	r.idp.Set(func(b *authtest.Behaviour) {
		b.Algs = []string{"ES256", "RS256"}
		b.IDToken = both(header("alg", "RS256"), header("kid", "short"), raw(func(s string) string { return signRSA(small, s) }))
	})
	serve(func(map[string]any) {}, odd...)
	r.want(r.exchange(), upstream.Unverified, oauth.IDTokenInvalid)
	twin := r.publicKey()
	twin["kid"] = "twin"
	r.idp.Set(func(b *authtest.Behaviour) { b.IDToken = func(t *authtest.IDToken) { delete(t.Header, "kid") } })
	serve(func(map[string]any) {}, twin)
	r.want(r.exchange(), upstream.Unverified, oauth.IDTokenInvalid) // no kid and two keys that verify
}

// signRSA puts another signature under a token (RS256).
func signRSA(key *rsa.PrivateKey, token string) string {
	input := token[:strings.LastIndexByte(token, '.')]
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		panic(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (r *rig) publicKey() map[string]any {
	r.Helper()
	var set struct{ Keys []map[string]any }
	r.idp.Mend(authtest.JWKS)
	if err := json.Unmarshal(fetch(r.T, r.idp.Issuer+"/jwks"), &set); err != nil {
		r.Fatal(err)
	}
	return set.Keys[0]
}
