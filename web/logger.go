package web

import (
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/term"
)

// What is logged is read by people who may not act as the users it is about, is shipped to other machines, and is kept
// for months. So no credential is in it at any level: not ours, not the provider's, not a client's.

const redacted = "[redacted]"

// NewLogger returns the process's logger. Credentials are types that redact themselves; what stands here is the
// second fence, for attributes of libraries and for mistakes: values under a secret-looking key, values that look
// like one of our tokens, and the attributes of zitadel's library that carry whole requests (style.md, trap 12).
// c must be valid; an unknown level means info.
func NewLogger(c LogConfig, w io.Writer) *slog.Logger {
	level, _ := c.level()
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: redact}
	if c.Format == "text" || c.Format != "json" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

// isTerminal reports whether a person reads w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// redact is the ReplaceAttr of every handler we make. slog calls it for the members of a group, never for the group.
func redact(groups []string, a slog.Attr) slog.Attr {
	if dropped(groups, a.Key) {
		return slog.Attr{}
	}
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
		return a
	}
	if secretKey(a.Key) || slices.ContainsFunc(groups, secretKey) {
		return slog.String(a.Key, redacted)
	}
	a.Value = scrubValue(a.Value)
	return a
}

// dropped names what the libraries log and nobody may read: the authorization request with its state and challenge,
// and the parent of an OIDC error, which may be a provider's answer with its tokens. Either may come as one attribute
// or, through LogValue, as a group.
func dropped(groups []string, key string) bool {
	if key == "auth_request" || key == "oidc_error.parent" {
		return true
	}
	for i, g := range groups {
		if g == "auth_request" {
			return true
		}
		if below := append(groups[i+1:len(groups):len(groups)], key); g == "oidc_error" && below[0] == "parent" {
			return true
		}
	}
	return false
}

// secretKeys are the names under which libraries and protocols carry credentials, lower case, with underscores.
var secretKeys = []string{
	"authorization", "proxy_authorization", "cookie", "set_cookie", "token", "access_token", "refresh_token",
	"id_token", "id_token_hint", "code", "secret", "client_secret", "password", "verifier", "code_verifier", "ticket",
	"nonce", "assertion", "private_key",
}

// secretKey reports whether what stands under key is a credential by its name alone.
func secretKey(key string) bool {
	k := strings.ReplaceAll(strings.ToLower(key), "-", "_")
	return slices.Contains(secretKeys, k) || strings.HasSuffix(k, "_token") || strings.HasSuffix(k, "_secret") ||
		strings.HasSuffix(k, "_password") || strings.HasSuffix(k, "_cookie")
}

// scrubValue keeps numbers and times, cleans texts, and hides the types that hold whole messages.
func scrubValue(v slog.Value) slog.Value {
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(scrub(v.String()))
	case slog.KindAny:
		switch x := v.Any().(type) {
		case http.Header, url.Values, *http.Request, *http.Response, []byte:
			return slog.StringValue(redacted)
		case error:
			return slog.StringValue(scrub(x.Error()))
		}
	}
	return v
}

// tokenLike matches our own credentials by their prefix, bearer values, and JWTs of anybody.
var tokenLike = regexp.MustCompile(`hmcp_(ac|rt|tk)_[\w-]+|(?i:bearer) +[\w.~+/=-]+|eyJ[\w-]+\.[\w-]+\.[\w-]*`)

// scrub looks for the fixed beginnings first: the expression would cost more than the rest of the line.
func scrub(s string) string {
	for _, sign := range []string{"hmcp_", "earer ", "EARER ", "eyJ"} {
		if strings.Contains(s, sign) {
			return tokenLike.ReplaceAllString(s, redacted)
		}
	}
	return s
}
