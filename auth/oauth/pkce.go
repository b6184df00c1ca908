package oauth

import (
	"crypto/sha256"
	"encoding/base64"
)

// S256 returns the code_challenge of a verifier (RFC 7636 §4.2).
func S256(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// ValidChallenge reports whether s can be the S256 challenge of something: exactly 43 characters of base64url without
// padding, in the one form that encodes 32 bytes (RFC 7636 §4.2; its plain method is not spoken here).
func ValidChallenge(s string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(s) == 43 && len(raw) == sha256.Size
}

// ValidVerifier reports whether s is a code_verifier: 43 to 128 unreserved characters (RFC 7636 §4.1).
func ValidVerifier(s string) bool {
	if len(s) < 43 || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if !isUnreserved(s[i]) {
			return false
		}
	}
	return true
}
