package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

var b64 = base64.RawURLEncoding

// jws signs header and payload as they stand, with ES256 (RFC 7518 §3.4).
func (r *rig) jws(key *ecdsa.PrivateKey, header, payload string) string {
	r.t.Helper()
	input := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload))
	sum := sha256.Sum256([]byte(input))
	x, y, err := ecdsa.Sign(rand.Reader, key, sum[:])
	r.must(err)
	signature := append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...)
	return input + "." + b64.EncodeToString(signature)
}

// forged is a token that is right in everything but what the row changes.
type forged struct {
	header map[string]any // changed members; nil removes one
	claims map[string]any
	raw    func(header, payload string) (string, string) // last word on both texts
	sign   func(r *rig, header, payload string) string   // nil = our own key
	spell  func(token string) string                     // another spelling of the signed token
	reason string                                        // "" = accepted
}

func (f forged) token(r *rig) string {
	r.t.Helper()
	key := r.Store.SigningKeys()[0]
	now := r.Clock.Now().Unix()
	header := change(map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": key.ID}, f.header)
	claims := change(map[string]any{
		"iss": r.Issuer, "aud": r.Issuer + "/mcp", "sub": "sub-alice", "client_id": r.c.ID, "scope": "mcp", "jti": "x",
		"iat": now, "exp": now + 3600, "gid": r.id, "gen": 1,
	}, f.claims)
	h, c := encoded(r, header), encoded(r, claims)
	if f.raw != nil {
		h, c = f.raw(h, c)
	}
	sign := f.sign
	if sign == nil {
		sign = func(r *rig, h, c string) string { return r.jws(key.Private, h, c) }
	}
	token := sign(r, h, c)
	if f.spell != nil {
		token = f.spell(token)
	}
	return token
}

func change(m, by map[string]any) map[string]any {
	maps.Copy(m, by)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

func encoded(r *rig, v any) string {
	r.t.Helper()
	text, err := json.Marshal(v)
	r.must(err)
	return string(text)
}

func otherKey(r *rig, header, payload string) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	r.must(err)
	return r.jws(key, header, payload)
}

func keyInHeader(r *rig, header, payload string) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	r.must(err)
	public, err := key.PublicKey.Bytes()
	r.must(err)
	jwk := fmt.Sprintf(`{"jwk":{"kty":"EC","crv":"P-256","x":%q,"y":%q},`, b64.EncodeToString(public[1:33]), b64.EncodeToString(public[33:]))
	return r.jws(key, jwk+header[1:], payload)
}

// publicKeyAsSecret is the old trick with HS256: what everybody knows is taken for the shared secret.
func publicKeyAsSecret(r *rig, header, payload string) string {
	public, err := r.Store.SigningKeys()[0].Private.PublicKey.Bytes()
	r.must(err)
	input := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload))
	m := hmac.New(sha256.New, public)
	m.Write([]byte(input))
	return input + "." + b64.EncodeToString(m.Sum(nil))
}

func unsigned(_ *rig, header, payload string) string {
	return b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload)) + "."
}

// tail changes unused bits of the last character: other text, same bytes for a lenient decoder.
func tail(token string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(digits, token[len(token)-1])
	return token[:len(token)-1] + string(digits[last|1])
}

var forgeries = map[string]forged{
	"as minted":              {},
	"jku ignored":            {header: map[string]any{"jku": "https://evil.example/jwks"}},
	"x5u ignored":            {header: map[string]any{"x5u": "https://evil.example/cert"}},
	"alg none":               {header: map[string]any{"alg": "none"}, sign: unsigned, reason: "token_invalid"},
	"alg none, signed":       {header: map[string]any{"alg": "none"}, reason: "token_invalid"},
	"alg HS256":              {header: map[string]any{"alg": "HS256"}, sign: publicKeyAsSecret, reason: "token_invalid"},
	"alg ES384":              {header: map[string]any{"alg": "ES384"}, reason: "token_invalid"},
	"alg absent":             {header: map[string]any{"alg": nil}, reason: "token_invalid"},
	"other key":              {sign: otherKey, reason: "token_invalid"},
	"key in the header":      {sign: keyInHeader, reason: "token_invalid"},
	"key in header, no kid":  {header: map[string]any{"kid": nil}, sign: keyInHeader, reason: "token_invalid"},
	"other kid":              {header: map[string]any{"kid": "someone-else"}, reason: "token_invalid"},
	"kid absent":             {header: map[string]any{"kid": nil}, reason: "token_invalid"},
	"crit":                   {header: map[string]any{"crit": []string{"exp"}, "exp": 1}, reason: "token_invalid"},
	"crit that go-jose does": {header: map[string]any{"crit": []string{"b64"}, "b64": true}, reason: "token_invalid"},
	"typ JWT":                {header: map[string]any{"typ": "JWT"}, reason: "token_invalid"},
	"typ absent":             {header: map[string]any{"typ": nil}, reason: "token_invalid"},
	"duplicate in header": {raw: func(h, c string) (string, string) {
		return `{"alg":"none",` + h[1:], c
	}, reason: "token_invalid"},
	"duplicate claim": {raw: func(h, c string) (string, string) {
		return h, `{"sub":"sub-bob",` + c[1:]
	}, reason: "token_invalid"},
	"not JSON":           {raw: func(h, c string) (string, string) { return h, "x" + c }, reason: "token_invalid"},
	"line break":         {spell: func(s string) string { return s[:20] + "\n" + s[20:] }, reason: "token_invalid"},
	"line break at end":  {spell: func(s string) string { return s + "\n" }, reason: "token_invalid"},
	"space in front":     {spell: func(s string) string { return " " + s }, reason: "token_invalid"},
	"padding":            {spell: func(s string) string { return s + "==" }, reason: "token_invalid"},
	"other tail":         {spell: tail, reason: "token_invalid"},
	"four parts":         {spell: func(s string) string { return s + ".x" }, reason: "token_invalid"},
	"two parts":          {spell: func(s string) string { return s[:strings.LastIndexByte(s, '.')] }, reason: "token_invalid"},
	"JSON serialization": {spell: asJSON, reason: "token_invalid"},
	"too long":           {claims: map[string]any{"pad": strings.Repeat("x", 8<<10)}, reason: "token_invalid"},
	"other issuer":       {claims: map[string]any{"iss": "https://evil.example"}, reason: "token_invalid"},
	"issuer with slash": {raw: func(h, c string) (string, string) {
		return h, regexp.MustCompile(`"iss":"([^"]*)"`).ReplaceAllString(c, `"iss":"$1/"`)
	}, reason: "token_invalid"},
	"other audience": {claims: map[string]any{"aud": "https://other.example/mcp"}, reason: "token_audience"},
	"audience list":  {claims: map[string]any{"aud": []string{"https://other.example/mcp"}}, reason: "token_invalid"},
	"no grant":       {claims: map[string]any{"gid": nil}, reason: "token_invalid"},
	"unknown grant":  {claims: map[string]any{"gid": "AAAAAAAAAAAAAAAAAAAAAAAAAA"}, reason: "grant_ended"},
	"other client":   {claims: map[string]any{"client_id": "hmcp_ci_other"}, reason: "token_invalid"},
	"other subject":  {claims: map[string]any{"sub": "sub-bob"}, reason: "token_invalid"},
	"exp as text":    {claims: map[string]any{"exp": "9999999999"}, reason: "token_invalid"},
	"exp absent":     {claims: map[string]any{"exp": nil}, reason: "token_expired"},
	"bad scope":      {claims: map[string]any{"scope": `mcp "`}, reason: "token_invalid"},
}

func asJSON(s string) string {
	parts := strings.Split(s, ".")
	return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2])
}

// Every check of protocol.md §5.6 (RFC 9068 §4, RFC 8725 §3), each broken alone.
func TestAccessTokenChecks(t *testing.T) {
	r := newRig(t, longLived())
	for name, f := range forgeries {
		t.Run(name, func(t *testing.T) {
			token := f.token(r)
			for range 2 { // a second time out of the memory, or refused again
				_, err := r.Auth.Verify(t.Context(), token)
				said := ""
				if e, ok := err.(*oauth.Error); ok {
					said = string(e.Reason)
				}
				if said != f.reason {
					t.Errorf("verdict %q, want %q", said, f.reason)
				}
			}
		})
	}
	if _, err := r.Auth.Verify(t.Context(), ""); err == nil {
		t.Error("the empty token was accepted")
	}
}

// exp has 60 s of leeway, in and out of the memory, and not a second more.
func TestAccessTokenExpiry(t *testing.T) {
	r := newRig(t, longLived())
	fresh := r.renewed().Access
	r.calls(fresh, "")
	r.Clock.Advance(time.Hour + 59*time.Second)
	r.calls(fresh, "")
	r.Clock.Advance(time.Second)
	r.calls(fresh, "token_expired")
	r.Clock.Step(-time.Second)
	r.calls(fresh, "") // seen for the first time again, since it was dropped
}

// Liveness is read at every call and never remembered; the signing key outlives a restart.
func TestAccessTokenLiveness(t *testing.T) {
	r := newRig(t, longLived())
	for range 3 {
		r.calls(r.c.Access, "")
	}
	r.Restart()
	r.calls(r.c.Access, "")
	gone := r.Auth.Ended(t.Context(), r.id)
	_, err := r.Store.EndGrant(t.Context(), r.id, oauth.AdminRevoked, storage.Event{})
	r.must(err)
	r.calls(r.c.Access, "grant_ended admin_revoked")
	<-gone
	<-r.Auth.Ended(t.Context(), r.id) // one that has ended already
	<-r.Auth.Ended(t.Context(), "AAAAAAAAAAAAAAAAAAAAAAAAAA")
}

// An access token of any generation serves until its exp: a refresh kills none.
func TestAccessTokenOfEarlierGeneration(t *testing.T) {
	r := newRig(t, longLived())
	first := r.c.Access
	r.renewed()
	r.renewed()
	r.calls(first, "")
	id, status, _ := r.Call(first)
	if status != http.StatusOK || id.Subject != "sub-alice" || id.ClientID != r.c.ID || id.GrantID != r.id {
		t.Errorf("%d as %+v", status, id)
	}
}

// The memory of verified tokens is bounded: what is expired goes first, and living ones make room for each other.
func TestAccessTokenMemory(t *testing.T) {
	r := newRig(t, longLived())
	soon, later := r.Clock.Now().Add(time.Minute), r.Clock.Now().Add(48*time.Hour)
	if n := r.Auth.Remember(20_100, soon); n != 20_000 {
		t.Errorf("%d tokens remembered", n)
	}
	r.Clock.Advance(time.Hour)
	if n := r.Auth.Remember(100, later); n != 100 {
		t.Errorf("%d tokens remembered beside expired ones", n)
	}
	if n := r.Auth.Remember(20_100, later.Add(time.Hour)); n != 20_000 {
		t.Errorf("%d tokens remembered", n)
	}
}

// protocol.md §5.6: a new signing key logs nobody out, and a retired one is neither published nor accepted, not even for
// tokens whose signature was checked before.
func TestSigningKeyRotated(t *testing.T) {
	r := newRig(t, longLived())
	published := func() string {
		res, err := http.Get(r.Issuer + "/jwks")
		r.must(err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		r.must(err)
		return string(body)
	}
	old, oldToken := r.Store.SigningKeys()[0].ID, r.c.Access
	r.calls(oldToken, "")
	fresh, err := r.Store.RotateSigning(t.Context(), r.Clock.Now().Add(30*time.Minute))
	r.must(err)
	r.renewed()
	r.calls(oldToken, "")
	r.calls(r.c.Access, "")
	if keys := published(); !strings.Contains(keys, old) || !strings.Contains(keys, fresh.ID) {
		t.Errorf("published: %s", keys)
	}
	r.Clock.Advance(30 * time.Minute)
	r.calls(oldToken, "token_invalid")
	r.calls(r.c.Access, "")
	if keys := published(); strings.Contains(keys, old) || !strings.Contains(keys, fresh.ID) {
		t.Errorf("published after its time: %s", keys)
	}
	r.Restart()
	r.calls(oldToken, "token_invalid")
	r.calls(r.c.Access, "")
}
