package trace

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"hostedmcp/auth/oauth"
)

// maxText is the longest text of a step in characters: a server's words are quoted, not reprinted.
const maxText = 400

// secrets are the credentials met so far. What is printed is searched for them: a server may put a token into an error
// message or a tool's name.
type secrets struct{ known []oauth.Secret }

// add remembers a credential and returns it. Short values are no credentials, and would blacken ordinary words.
func (s *secrets) add(value string) oauth.Secret {
	if len(value) >= 8 {
		s.known = append(s.known, oauth.Secret(value))
	}
	return oauth.Secret(value)
}

// clean makes a text fit for a terminal: without credentials in any of the forms we send them in, without control and
// format characters (a server's words must not move the cursor), and of bounded length.
func (s *secrets) clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, text)
	for _, k := range s.known {
		for _, form := range forms(k.Reveal()) {
			text = strings.ReplaceAll(text, form, fingerprint(k))
		}
	}
	if cut := []rune(text); len(cut) > maxText {
		text = string(cut[:maxText]) + "…"
	}
	return text
}

// forms are the spellings in which a credential can come back: as it is, in a URL, and in Basic.
func forms(secret string) []string {
	return []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
	}
}

// fingerprint shows which credential it is without showing it: its length and four bytes of its SHA-256, by which two
// lines of a trace, or of two traces, can be compared.
func fingerprint(secret oauth.Secret) string {
	sum := sha256.Sum256([]byte(secret.Reveal()))
	return fmt.Sprintf("<%d characters, #%s>", len(secret.Reveal()), hex.EncodeToString(sum[:4]))
}
