package upstream_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

type change = func(*authtest.IDToken)

func claim(name string, value any) change {
	return func(t *authtest.IDToken) { t.Claims[name] = value }
}

func without(name string) change { return func(t *authtest.IDToken) { delete(t.Claims, name) } }

func header(name string, value any) change {
	return func(t *authtest.IDToken) { t.Header[name] = value }
}

// payload signs the claims with one replacement in their JSON.
func payload(old, new string) change {
	return func(t *authtest.IDToken) {
		p, _ := json.Marshal(t.Claims)
		t.Payload = []byte(strings.Replace(string(p), old, new, 1))
	}
}

func raw(f func(string) string) change { return func(t *authtest.IDToken) { t.Raw = f } }

func both(changes ...change) change {
	return func(t *authtest.IDToken) {
		for _, c := range changes {
			c(t)
		}
	}
}

const now = 1_800_000_000

// Every rule of protocol.md §4.5 for the id_token of a login. words is a part of our own complaint; "" = it holds.
var idTokenRows = []struct {
	name   string
	change change
	words  string
}{
	{"as Keycloak makes it", func(*authtest.IDToken) {}, ""},
	// RFC 7515, RFC 8725: form
	{"longer than 16 KB", claim("pad", strings.Repeat("x", 17<<10)), "longer than 16 KB"},
	{"two parts", raw(func(s string) string { return s[:strings.LastIndexByte(s, '.')] }), "not a compact JWS"},
	{"four parts", raw(func(s string) string { return s + ".x" }), "not a compact JWS"},
	{"line break", raw(func(s string) string { return strings.Replace(s, ".", ".\n", 1) }), "base64url"},
	{"padding", raw(func(s string) string { return s + "=" }), "base64url"},
	{"another tail of the same bytes", raw(otherTail), "base64url"},
	{"duplicate in the header", raw(twoKids), "header"},
	{"crit", header("crit", []string{"exp"}), "crit"},
	{"alg none", header("alg", "none"), "algorithm"},
	{"HS256 with the client secret", header("alg", "HS256"), "algorithm"},
	{"asymmetric, not advertised", header("alg", "ES384"), "algorithm"},
	{"signature of other bytes", raw(func(s string) string {
		p := strings.Split(s, ".")
		return p[0] + "." + p[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64))
	}), "signature"},
	{"unknown kid", header("kid", "other"), "no key"},
	{"no kid, one key verifies", func(t *authtest.IDToken) { delete(t.Header, "kid") }, ""},
	{"key in the header does not count", both(header("kid", "other"), header("jku", "https://example.com/keys")), "no key"},
	// OpenID Connect Core §3.1.3.7: parties
	{"iss of another", claim("iss", "https://example.com"), "iss"},
	{"iss with a slash", func(t *authtest.IDToken) { t.Claims["iss"] = t.Claims["iss"].(string) + "/" }, "iss"},
	{"iss absent", without("iss"), "iss"},
	{"aud of another", claim("aud", "other"), "aud"},
	{"aud absent", without("aud"), "aud"},
	{"aud is a list with us", claim("aud", []string{"hostedmcp"}), ""},
	{"several aud, azp us", claim("aud", []string{"crm", "hostedmcp"}), ""},
	{"several aud, no azp", both(claim("aud", []string{"crm", "hostedmcp"}), without("azp")), "azp"},
	{"one aud, no azp", without("azp"), ""},
	{"azp of another", claim("azp", "other"), "azp"},
	{"azp is not a string", claim("azp", 1), "azp"},
	// times, 60 s of leeway both ways
	{"expired within the leeway", claim("exp", now-59), ""},
	{"expired", claim("exp", now-60), "expired"},
	{"exp absent", without("exp"), "not a time"},
	{"exp null", claim("exp", nil), "not a time"},
	{"exp in quotes", claim("exp", "1900000000"), "not a time"},
	{"exp beyond reason", claim("exp", 1e300), "not a time"},
	{"exp with a fraction", claim("exp", now+10.5), ""},
	{"iat within the leeway", claim("iat", now+60), ""},
	{"iat in the future", claim("iat", now+61), "future"},
	{"iat absent", without("iat"), "not a time"},
	{"nbf within the leeway", claim("nbf", now+60), ""},
	{"nbf in the future", claim("nbf", now+61), "not valid yet"},
	{"nbf is not a time", claim("nbf", "soon"), "not a time"},
	// nonce, at_hash, sub
	{"nonce of another request", claim("nonce", "other"), "nonce"},
	{"nonce absent", without("nonce"), "nonce"},
	{"nonce empty", claim("nonce", ""), "nonce"},
	{"at_hash of another token", claim("at_hash", atHash("other")), "at_hash"},
	{"at_hash is not a string", claim("at_hash", 5), "at_hash"},
	{"at_hash absent", without("at_hash"), ""},
	{"sub absent", without("sub"), "sub"},
	{"sub empty", claim("sub", ""), "sub"},
	{"sub of 255 characters", claim("sub", strings.Repeat("ä", 255)), ""},
	{"sub of 256 characters", claim("sub", strings.Repeat("x", 256)), "sub"},
	{"sub with a control", claim("sub", "a\x00b"), "sub"},
	{"sub is a number", claim("sub", 7), "sub"},
	// JSON
	{"duplicate claim", payload(`"sub":`, `"sub":"root","sub":`), "duplicates"},
	{"not an object", func(t *authtest.IDToken) { t.Payload = []byte(`["x"]`) }, "JSON object"},
	{"something after it", func(t *authtest.IDToken) {
		p, _ := json.Marshal(t.Claims)
		t.Payload = append(p, " {}"...)
	}, "JSON object"},
	{"deep", claim("pad", json.RawMessage(strings.Repeat("[", 200)+strings.Repeat("]", 200))), "JSON object"},
}

func atHash(access string) string {
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// otherTail flips a bit of the last character that is not part of any byte: 64 bytes leave 4 such bits.
func otherTail(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, s[len(s)-1])
	return s[:len(s)-1] + alphabet[last^1:][:1]
}

// twoKids breaks the signature too; the header is refused before.
func twoKids(s string) string {
	first, rest, _ := strings.Cut(s, ".")
	h, _ := base64.RawURLEncoding.DecodeString(first)
	h = []byte(strings.Replace(string(h), `{`, `{"kid":"x",`, 1))
	return base64.RawURLEncoding.EncodeToString(h) + "." + rest
}

func TestIDTokenAtLogin(t *testing.T) {
	r := newRig(t)
	for _, row := range idTokenRows {
		t.Run(row.name, func(t *testing.T) {
			r.T = t
			r.idp.Set(func(b *authtest.Behaviour) { b.IDToken = row.change })
			a := r.exchange()
			if row.words == "" {
				r.want(a, upstream.Good, "")
				return
			}
			r.want(a, upstream.Unverified, oauth.IDTokenInvalid)
			if !strings.Contains(a.Err.Error(), row.words) {
				t.Errorf("refused by another rule: %v", a.Err)
			}
		})
	}
}

// Each algorithm signs, and its hash makes at_hash.
func TestAlgorithms(t *testing.T) {
	for _, alg := range []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			r := newRig(t, authtest.With(func(b *authtest.Behaviour) { b.SignWith = alg }))
			r.login()
			r.idp.Set(func(b *authtest.Behaviour) { b.IDToken = claim("at_hash", atHash("other")) })
			r.want(r.exchange(), upstream.Unverified, oauth.IDTokenInvalid)
		})
	}
	t.Run("advertised none and HS256 are not taken", func(t *testing.T) {
		r := newRig(t, authtest.With(func(b *authtest.Behaviour) { b.Algs = []string{"none", "HS256", "ES256"} }))
		r.login()
		for _, alg := range []string{"none", "HS256"} {
			r.idp.Set(func(b *authtest.Behaviour) { b.IDToken = header("alg", alg) })
			r.want(r.exchange(), upstream.Unverified, oauth.IDTokenInvalid)
		}
	})
	t.Run("nothing advertised means RS256", func(t *testing.T) {
		r := newRig(t, authtest.With(func(b *authtest.Behaviour) {
			b.SignWith = "RS256"
			b.Metadata = func(m map[string]any) { delete(m, "id_token_signing_alg_values_supported") }
		}))
		r.login()
	})
}

// On refresh the tokens come back whatever the id_token is like, and another person is told from a fault
// (protocol.md §4.5, §8.2; OpenID Connect Core §12.2).
func TestIDTokenAtRefresh(t *testing.T) {
	none := func(*authtest.IDToken) {}
	for _, row := range []struct {
		name    string
		change  change
		nonce   string // known to the caller
		outcome upstream.Outcome
		reason  oauth.Reason
	}{
		{"no nonce, as Keycloak", none, "nonce-1", upstream.Good, ""},
		{"nonce repeated", claim("nonce", "nonce-1"), "nonce-1", upstream.Good, ""},
		{"nonce of another login", claim("nonce", "other"), "nonce-1", upstream.Unverified, oauth.IDTokenInvalid},
		{"nonce empty", claim("nonce", ""), "nonce-1", upstream.Unverified, oauth.IDTokenInvalid},
		{"nonce repeated, ours not kept", claim("nonce", "nonce-1"), "", upstream.Good, ""},
		{"other sub", claim("sub", "sub-bob"), "", upstream.Quarantined, oauth.SubjectChanged},
		{"no sub", without("sub"), "", upstream.Quarantined, oauth.SubjectChanged},
		{"other iss", claim("iss", "https://example.com"), "", upstream.Quarantined, oauth.SubjectChanged},
		{"other sub and expired", both(claim("sub", "sub-bob"), claim("exp", now-3600)), "", upstream.Quarantined, oauth.SubjectChanged},
		{"other sub, not signed by the provider", both(claim("sub", "sub-bob"), raw(func(s string) string { return s[:len(s)-8] + "AAAAAAAA" })), "", upstream.Unverified, oauth.IDTokenInvalid},
		{"other aud", claim("aud", "crm"), "", upstream.Unverified, oauth.IDTokenInvalid},
		{"expired", claim("exp", now-3600), "", upstream.Unverified, oauth.IDTokenInvalid},
		{"at_hash of another token", claim("at_hash", atHash("other")), "", upstream.Unverified, oauth.IDTokenInvalid},
		{"unreadable", raw(func(string) string { return "nonsense" }), "", upstream.Unverified, oauth.IDTokenInvalid},
		{"empty", raw(func(string) string { return "" }), "", upstream.Good, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			token := r.login().Tokens.Refresh
			r.idp.Set(func(b *authtest.Behaviour) { b.IDToken = row.change })
			a := r.up.Refresh(context.Background(), upstream.RefreshRequest{Token: token, Subject: "sub-alice", Nonce: row.nonce})
			r.want(a, row.outcome, row.reason)
			if a.Pending {
				t.Error("pending although the key is known")
			}
			if a.Tokens.Refresh == "" || a.Tokens.Refresh == token {
				t.Error("the rotated token is lost")
			}
		})
	}
	t.Run("none at all", func(t *testing.T) {
		r := newRig(t, authtest.With(func(b *authtest.Behaviour) { b.NoRefreshIDToken = true }))
		a := r.refresh(r.login().Tokens.Refresh)
		r.want(a, upstream.Good, "")
		if a.Claims != nil {
			t.Error("claims out of nowhere")
		}
	})
	t.Run("new groups come along", func(t *testing.T) {
		r := newRig(t)
		token := r.login().Tokens.Refresh
		r.idp.SetUser(authtest.User{Name: "alice", Groups: []string{"legal"}})
		if a := r.refresh(token); len(a.Claims.Groups) != 1 || a.Claims.Groups[0] != "legal" {
			t.Errorf("groups %q", a.Claims.Groups)
		}
	})
}
