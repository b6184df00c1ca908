package trace

// The challenge: what a server says to a request without a token, and to one with a token that it never issued. RFC 6750
// §3 has its form, RFC 9728 §5.1 its resource_metadata, RFC 9110 §11.6.1 the header around both.
//
// It is read as RFC 9110 has it: quoted strings with escapes, several challenges in one header, schemes in any case.
// Real clients read less of it (VS Code splits at commas).

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"hostedmcp/auth/oauth"
)

// checkChallenge judges the answer to the request without a token.
func (t *tracer) checkChallenge(ctx context.Context, s *Step) error {
	if t.open.status != http.StatusUnauthorized {
		return t.unprotected(ctx, s)
	}
	t.protected = true
	values := t.open.header.Values("WWW-Authenticate")
	params, ok := parseBearer(values)
	if !ok {
		return fmt.Errorf("401 without a Bearer challenge (%d WWW-Authenticate headers)", len(values))
	}
	t.challenge = params
	s.came("401 Bearer%s", describe(params))
	switch at := params["resource_metadata"]; {
	case at == "":
		s.warn("the challenge has no resource_metadata: clients must guess the well-known URL; add it (RFC 9728 §5.1)")
	case secureURL(at) != nil:
		return fmt.Errorf("401 Bearer whose resource_metadata %w", secureURL(at))
	}
	if _, err := oauth.ParseScope(params["scope"]); err != nil {
		return fmt.Errorf("401 Bearer with scope %q: %w (RFC 6749 §3.3)", params["scope"], err)
	}
	// Nothing was sent that could be wrong. Clients that see an error here drop tokens they would have refreshed.
	if params["error"] != "" {
		s.warn("error=%q although no token was sent (RFC 6750 §3.1): clients may take it for a dead token", params["error"])
	}
	if params["scope"] == "" {
		s.warn("no scope in the challenge: clients ask for every scope of the metadata, or none")
	}
	return t.headChallenge(ctx, s)
}

// unprotected is a server that answers without a token. A session that this opened is given back.
func (t *tracer) unprotected(ctx context.Context, s *Step) error {
	get := t.client.getFirst
	switch status := t.open.status; {
	case status == http.StatusOK, get && (status == http.StatusMethodNotAllowed || status == http.StatusBadRequest):
		s.came("%d: no authorization is asked", status)
	case t.client.modern && status == http.StatusBadRequest:
		s.came("400: no authorization is asked, and the newer era is not spoken")
	default:
		return errors.New(t.open.shape())
	}
	t.session = t.open.header.Get("Mcp-Session-Id")
	if t.session != "" {
		_, err := t.deleteSession(ctx)
		return err
	}
	// A getFirst client asked for a stream only: what initialize needs is seen at initialize.
	return nil
}

// headChallenge is Gemini CLI's habit: it reads the challenge from a HEAD.
func (t *tracer) headChallenge(ctx context.Context, s *Step) error {
	if !t.client.head {
		return nil
	}
	req, err := t.message(http.MethodHead, legacy, nil, "", "")
	if err != nil {
		return err
	}
	a, err := t.do(ctx, req, nil)
	if err != nil {
		return err
	}
	if p, _ := parseBearer(a.header.Values("WWW-Authenticate")); p["resource_metadata"] == "" {
		s.warn("HEAD answers %d without resource_metadata: this client looks there", a.status)
	}
	return nil
}

// badToken shows a token that nobody issued. A server that takes it takes everything.
func (t *tracer) badToken(ctx context.Context, s *Step) error {
	req, err := t.openingRequest()
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer hostedmcp-trace-made-this-up")
	a, err := t.do(ctx, req, nil)
	if err != nil {
		return err
	}
	params, ok := parseBearer(a.header.Values("WWW-Authenticate"))
	switch {
	case a.status >= 200 && a.status < 300:
		return fmt.Errorf("%d: a made-up token is accepted", a.status)
	case a.status != http.StatusUnauthorized:
		return fmt.Errorf("%s: clients sign in again on 401 only", a.shape())
	case !ok:
		return errors.New("401 without a Bearer challenge")
	}
	s.came("401 Bearer%s", describe(params))
	if params["error"] != "invalid_token" {
		s.warn("error is %q and not invalid_token: some clients do not refresh then (RFC 6750 §3.1)", params["error"])
	}
	return nil
}

// describe prints the members of a challenge that clients use.
func describe(params map[string]string) string {
	var b strings.Builder
	for _, name := range []string{"error", "error_description", "resource_metadata", "scope"} {
		if v, ok := params[name]; ok {
			fmt.Fprintf(&b, " %s=%q", name, v)
		}
	}
	return b.String()
}

// parseBearer finds the Bearer challenge in WWW-Authenticate headers (RFC 9110 §11.6.1), of which each may hold
// several. Names are lower case. ok is false if there is none.
func parseBearer(values []string) (params map[string]string, ok bool) {
	for _, v := range values {
		for rest := v; rest != ""; {
			scheme, p, next := cutChallenge(rest)
			if strings.EqualFold(scheme, "Bearer") {
				return p, true
			}
			rest = next
		}
	}
	return nil, false
}

// cutChallenge reads one challenge: a scheme and its parameters up to the next scheme. A token68 is passed over.
func cutChallenge(s string) (scheme string, params map[string]string, rest string) {
	params = map[string]string{}
	scheme, s = cutToken(strings.TrimLeft(s, " \t,"))
	for {
		s = strings.TrimLeft(s, " \t,")
		name, after := cutToken(s)
		value, isParam := strings.CutPrefix(strings.TrimLeft(after, " \t"), "=")
		if name == "" || !isParam {
			if name == "" && s != "" {
				s = s[1:] // nothing that belongs into a challenge: go on behind it
			}
			return scheme, params, s
		}
		var text string
		text, s = cutValue(strings.TrimLeft(value, " \t"))
		params[strings.ToLower(name)] = text
	}
}

// cutToken cuts a token (RFC 9110 §5.6.2) off the front.
func cutToken(s string) (token, rest string) {
	for i := range len(s) {
		if strings.IndexByte(" \t,=\"", s[i]) >= 0 {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// cutValue cuts a token or a quoted string (RFC 9110 §5.6.4) off the front.
func cutValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		return cutToken(s)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
