package mcp

// This file writes refusals: challenges as RFC 6750 §3 and RFC 9728 §5.1 have them, and bodies for those who do not
// read headers.

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

// refusal is an answer that is not the SDK's. Exactly one of err and rpc is set. It is a value rather than an answer
// written at once, so that every step can be tested, and so that one place writes.
type refusal struct {
	err       *oauth.Error
	text      string // error_description, "" = that of err
	challenge string // WWW-Authenticate, "" = none
	noBody    bool
	rpc       *rpcError
	id        []byte // of the JSON-RPC message, with rpc
}

// refused is a refusal for which no token is needed or to blame. The code is invalid_request throughout; the reason
// says which rule.
func refused(status int, reason oauth.Reason) *refusal {
	return &refusal{err: oauth.Fail(oauth.InvalidRequest, reason).With(status)}
}

// notAllowed is 405, which must name what is allowed (RFC 9110 §15.5.6).
func notAllowed(allow string) *refusal {
	r := refused(http.StatusMethodNotAllowed, oauth.MethodRefused)
	r.err.Allow = allow
	return r
}

// tooMany is 429 (RFC 6585 §4). The code is one that no client takes for the end of its login.
func tooMany(after time.Duration) *refusal {
	e := oauth.Fail(oauth.TemporarilyUnavailable, oauth.RateLimited).With(http.StatusTooManyRequests)
	e.RetryAfter = after
	return &refusal{err: e}
}

// challenges are the WWW-Authenticate values of protocol.md §2, byte for byte. Descriptions hold no '=', ',', '"' or
// '\': some clients split on them.
type challenges struct {
	resource  string // I/mcp
	metadata  string // resource_metadata="..."
	baseline  oauth.Scope
	noToken   string
	malformed string
}

// malformedText says what to do instead; the sentence of the reason would not.
const malformedText = "request_invalid: send one bearer token in the Authorization header"

// newChallenges builds once what does not change, since strangers get it as often as they like.
func newChallenges(issuer string, baseline oauth.Scope) challenges {
	c := challenges{
		resource: issuer + "/mcp",
		metadata: `resource_metadata="` + issuer + `/.well-known/oauth-protected-resource/mcp"`,
		baseline: baseline,
	}
	c.noToken = "Bearer " + c.metadata + `, scope="` + baseline.String() + `"`
	c.malformed = `Bearer error="invalid_request", error_description="` + malformedText + `", ` + c.metadata
	return c
}

// missing answers a request without credentials: no error code (RFC 6750 §3.1), no body. The MCP client finds our
// metadata by this answer, so it is the beginning of every login.
func (c *challenges) missing() *refusal {
	return &refusal{err: oauth.Fail(oauth.InvalidToken, oauth.TokenMissing), challenge: c.noToken, noBody: true}
}

// twice answers credentials in the query, or more than one (RFC 6750 §2 and §3.1). No scope: the client has a token
// and must only send it rightly.
func (c *challenges) twice() *refusal {
	r := refused(http.StatusBadRequest, oauth.RequestInvalid)
	r.text, r.challenge = malformedText, c.malformed
	return r
}

// rejected answers what the authorization server says of a token or a grant. Whatever is not about the token itself
// is 503: a 401 in our own trouble would make clients log in again.
func (c *challenges) rejected(err error) *refusal {
	var e *oauth.Error
	if !errors.As(err, &e) { // nil too: what was refused a moment ago and is not now
		e = oauth.Unavailable(oauth.Internal, err)
	}
	// Trouble keeps its Retry-After, which tells clients when to come again.
	if e.Code != oauth.InvalidToken {
		return &refusal{err: e.With(http.StatusServiceUnavailable)}
	}
	return &refusal{err: e.With(http.StatusUnauthorized), challenge: `Bearer error="invalid_token", error_description="` +
		e.Description() + `", ` + c.metadata + `, scope="` + c.baseline.String() + `"`}
}

// scope asks for more rights. It names baseline and needed together, as some clients form no union of their own
// (protocol.md §2; MCP "Scope challenge handling").
func (c *challenges) scope(needed oauth.Scope) *refusal {
	e := oauth.Fail(oauth.InsufficientScope, oauth.ScopeMissing)
	return &refusal{err: e, challenge: `Bearer error="insufficient_scope", error_description="` + e.Description() +
		`", ` + c.metadata + `, scope="` + c.baseline.Union(needed).String() + `"`}
}

// write is the one exit for refusals.
func (r *refusal) write(w http.ResponseWriter, req *http.Request, resource string) {
	if r.rpc != nil {
		auth.Request(req.Context()).Reason(oauth.RequestInvalid)
		writeJSON(w, r.rpc.status, r.rpc.body(r.id))
		return
	}
	// The log line at the request's end says why, with the cause that the client does not see.
	auth.Request(req.Context()).Fail(r.err)
	h := w.Header()
	if r.challenge != "" {
		h.Set("WWW-Authenticate", r.challenge)
	}
	if r.err.Allow != "" {
		h.Set("Allow", r.err.Allow)
	}
	if r.err.Status == http.StatusServiceUnavailable || r.err.Status == http.StatusTooManyRequests {
		h.Set("Retry-After", retryAfter(r.err.RetryAfter))
	}
	if r.noBody {
		w.WriteHeader(r.err.Status)
		return
	}
	writeJSON(w, r.err.Status, r.body(resource))
}

// body repeats the error for people and for programs that do not read challenges; only a wrong Host is told our name.
func (r *refusal) body(resource string) []byte {
	body := struct {
		Error       oauth.Code `json:"error"`
		Description string     `json:"error_description"`
		Resource    string     `json:"resource,omitempty"`
	}{Error: r.err.Code, Description: r.text}
	if body.Description == "" {
		body.Description = r.err.Description()
	}
	if r.err.Reason == oauth.HostRefused {
		body.Resource = resource
	}
	out, _ := json.Marshal(body) // strings always marshal
	return out
}

// body is the JSON-RPC answer to id; nil is null (JSON-RPC 2.0 §5). id goes back byte for byte: the client finds its
// call by it.
func (e *rpcError) body(id []byte) []byte {
	if id == nil {
		id = []byte("null")
	}
	return errorBody(id, int64(e.code), e.message, nil)
}

// errorBody writes an error response (JSON-RPC 2.0 §5.1). data that is no JSON is left out.
func errorBody(id []byte, code int64, message string, data json.RawMessage) []byte {
	text, _ := marshal(message) // strings always marshal
	out := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%s`, id, code, text)
	if json.Valid(data) {
		out = append(append(out, `,"data":`...), data...)
	}
	return append(out, "}}"...)
}

// writeJSON writes a whole answer. The pipeline has set no-store for all of /mcp.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body) // the client may be gone; nobody else is to be told
}

// retryAfter rounds up to seconds, from 1 to 120 (protocol.md §1). 0 would be a client that comes back at once.
func retryAfter(d time.Duration) string {
	seconds := (d + time.Second - 1) / time.Second
	return strconv.Itoa(int(min(max(seconds, 1), 120)))
}
