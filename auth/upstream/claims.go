package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"hostedmcp/auth/oauth"
)

// Claims is what a good id_token says of the user. The named fields are read whatever Config.Claims says, since
// pages and access rules need them; only Raw is for tools.
type Claims struct {
	Issuer  string
	Subject string // 1..255 characters, no controls
	Sid     string // the provider's session; "" = not said
	Nonce   string // "" = not said, usual on refresh

	Name              string
	PreferredUsername string
	Email             string
	EmailVerified     bool // only true or "true" is
	// Groups are as sent, from an array or a single string. Keycloak can send full paths: "/sales" and "sales" are two
	// groups, and a policy that compares exactly must name the one that is sent.
	Groups []string

	Raw json.RawMessage // an object with those of Config.Claims that were sent, their values as sent; never nil
}

// idClaims are the claims of an id_token whose signature verifies, by exact name.
type idClaims struct{ oauth.Object }

// text returns a claim that must be a string to count.
func (c idClaims) text(name string) string {
	s, err := c.Text(name)
	if err != nil {
		return ""
	}
	return s
}

// list returns a claim that may be a string or an array; of an array only the strings count.
func (c idClaims) list(name string) []string {
	if s := c.text(name); s != "" {
		return []string{s}
	}
	var values []any
	if json.Unmarshal(c.Object[name], &values) != nil {
		return nil
	}
	var out []string
	for _, v := range values {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// time returns a NumericDate (RFC 7519 §2), which may have a fraction.
func (c idClaims) time(name string) (time.Time, bool) {
	var f float64
	raw := c.Object[name]
	if len(raw) == 0 || string(raw) == "null" || json.Unmarshal(raw, &f) != nil || math.Abs(f) > 1<<40 {
		return time.Time{}, false
	}
	// Fractions are dropped: a second is nothing beside the leeway.
	return time.Unix(int64(f), 0), true
}

// flag returns a claim that some providers send as a string. Anything else than true
// is false: on it hangs who may sign in by e-mail domain.
func (c idClaims) flag(name string) bool {
	s := strings.Trim(string(c.Object[name]), `"`)
	return s == "true"
}

// checkSubject bounds what becomes a key of ours (OpenID Connect Core §2: at most 255 ASCII characters).
func (c idClaims) checkSubject() error {
	sub := c.text("sub")
	if sub == "" || utf8.RuneCountInString(sub) > 255 || strings.ContainsFunc(sub, unicode.IsControl) {
		return errors.New("id_token: sub is not 1 to 255 characters without controls")
	}
	return nil
}

// claims is the part of the id_token that outlives it.
func (c idClaims) claims(names []string) *Claims {
	return &Claims{
		Issuer: c.text("iss"), Subject: c.text("sub"), Sid: c.text("sid"), Nonce: c.text("nonce"),
		Name: c.text("name"), PreferredUsername: c.text("preferred_username"),
		Email: c.text("email"), EmailVerified: c.flag("email_verified"), Groups: c.list("groups"),
		Raw: c.only(names),
	}
}

// only returns the named claims in the order of the configuration.
func (c idClaims) only(names []string) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for _, name := range names {
		value, ok := c.Object[name]
		if !ok {
			continue
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		quoted, _ := json.Marshal(name) // a string always marshals
		b.Write(quoted)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes()
}
