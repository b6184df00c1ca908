package mcp

import (
	"net/http"
	"net/url"
	"strings"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

// maxToken is the longest bearer token in bytes (protocol.md §5.6). A longer one is refused before anybody hashes it.
const maxToken = 8 << 10

// authenticate says who asks (protocol.md §7 step 3). The SDK's own check judges nothing: it would leak what our
// verifier says, know no error codes, and use a clock of its own.
func (s *Server) authenticate(r *http.Request) (*call, *refusal) {
	token, refuse := s.challenges.bearerToken(r)
	if refuse != nil {
		return nil, refuse
	}
	id, err := s.authority.Verify(r.Context(), token)
	if err != nil {
		return nil, s.challenges.rejected(err)
	}
	// The tools are those of this moment, for the whole request: a list that is replaced meanwhile must not let a
	// call through to a tool that was never looked up.
	k := &call{token: token, registry: s.registry.Load(), info: auth.Request(r.Context())}
	k.caller = Caller{Identity: id, server: s, principal: principal(id)}
	k.info.Grant(id.GrantID, id.ClientID, "")
	if len(s.mounts) > 0 {
		k.traceparent = traceOf(r, k.info.Trace)
	}
	return k, nil
}

// bearerToken reads the credentials of a request (RFC 6750 §2.1). Anything after "Bearer" that cannot be a token is
// one that does not hold.
func (c *challenges) bearerToken(r *http.Request) (string, *refusal) {
	values := r.Header["Authorization"]
	if len(values) > 1 || queryToken(r.URL.RawQuery) {
		return "", c.twice()
	}
	if len(values) == 0 {
		return "", c.missing()
	}
	scheme, rest, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", c.missing() // another scheme is as good as none (RFC 6750 §3.1)
	}
	token := strings.TrimLeft(rest, " ")
	if !validToken(token) {
		return "", c.rejected(oauth.Fail(oauth.InvalidToken, oauth.TokenInvalid))
	}
	return token, nil
}

// queryToken reports whether a query string carries a token (RFC 6750 §2.3): it would stand in every log on the way.
// A semicolon separates too, as it does for some readers of those logs. url.ParseQuery drops such pairs, and the
// others that it cannot read.
func queryToken(query string) bool {
	for pair := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == '&' || c == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(name); err == nil && decoded == "access_token" {
			return true
		}
	}
	return false
}

// validToken reports whether s has the form of a token: 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
// (RFC 6750 §2.1). What passes is safe to hash and to compare; whether it means anything is the authorization
// server's to say.
func validToken(s string) bool {
	if len(s) > maxToken {
		return false
	}
	body := strings.TrimRight(s, "=")
	for i := range len(body) {
		switch c := body[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		default:
			return false
		}
	}
	return body != ""
}
