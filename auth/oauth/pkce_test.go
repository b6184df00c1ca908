package oauth_test

import (
	"strings"
	"testing"

	"hostedmcp/auth/oauth"
)

// The example of RFC 7636 appendix B.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

func TestPKCE(t *testing.T) {
	if got := oauth.S256(verifier); got != challenge {
		t.Errorf("S256 = %s", got)
	}
	for _, row := range []struct {
		source, challenge string
		ok                bool
	}{
		{"RFC 7636 appendix B", challenge, true},
		{"§4.2 absent", "", false},
		{"§4.2 short", challenge[1:], false},
		{"§4.2 long", challenge + "A", false},
		{"§4.2 padded", challenge + "=", false},
		{"§4.2 not base64url", strings.Replace(challenge, "-", "+", 1), false},
		{"§4.2 second form of the same bytes", challenge[:42] + "N", false},
		{"§4.2 line break", challenge[:41] + "A\n", false},
		{"§4.2 line break and one more", challenge + "\n", false},
	} {
		if oauth.ValidChallenge(row.challenge) != row.ok {
			t.Errorf("%s: challenge %q", row.source, row.challenge)
		}
	}
}

func TestValidVerifier(t *testing.T) {
	for _, row := range []struct {
		source, verifier string
		ok               bool
	}{
		{"RFC 7636 appendix B", verifier, true},
		{"§4.1 all unreserved", strings.Repeat("aZ0-._~", 8), true},
		{"§4.1 shortest", strings.Repeat("a", 43), true},
		{"§4.1 longest", strings.Repeat("a", 128), true},
		{"§4.1 too short", strings.Repeat("a", 42), false},
		{"§4.1 too long", strings.Repeat("a", 129), false},
		{"§4.1 space", strings.Repeat("a", 43) + " ", false},
		{"§4.1 slash", strings.Repeat("a", 43) + "/", false},
		{"§4.1 ASCII only", strings.Repeat("é", 43), false},
	} {
		if oauth.ValidVerifier(row.verifier) != row.ok {
			t.Errorf("%s: %q", row.source, row.verifier)
		}
	}
}
