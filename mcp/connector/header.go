package connector

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// SetIdentity says in a request's headers who asks: each header once, whatever stood there before, so that every
// connector over HTTP calls a user alike. Empty fields say nothing.
func SetIdentity(h http.Header, u User) {
	for name, value := range map[string]string{
		"Hostedmcp-Subject": u.Subject, "Hostedmcp-Client": u.ClientID, "X-Request-Id": u.Request, "Traceparent": u.Traceparent,
	} {
		if value != "" {
			h.Set(name, HeaderValue(value))
		}
	}
}

// HeaderValue writes a value so that it can stand in a header: as it is if it is plain ASCII (a subject by OpenID
// Connect Core §2, a client's URL), else wrapped (MCP 2026-07-28 "Value encoding").
func HeaderValue(v string) string {
	odd := func(r rune) bool { return r < ' ' || r >= 0x7f }
	if v != strings.TrimSpace(v) || strings.HasPrefix(v, "=?base64?") && strings.HasSuffix(v, "?=") || strings.ContainsFunc(v, odd) {
		return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(v)) + "?="
	}
	return v
}
