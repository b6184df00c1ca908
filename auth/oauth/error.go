package oauth

import (
	"fmt"
	"net/http"
	"time"
)

// Code is the `error` parameter of an OAuth error answer.
type Code string

// The error codes we speak. server_error is only ever put into a redirect: at /token a client may take it for the end
// of its login.
const (
	InvalidRequest          Code = "invalid_request"           // RFC 6749 §4.1.2.1, §5.2
	InvalidClient           Code = "invalid_client"            // RFC 6749 §5.2
	InvalidGrant            Code = "invalid_grant"             // RFC 6749 §5.2: the client drops its tokens
	InvalidScope            Code = "invalid_scope"             // RFC 6749 §4.1.2.1, §5.2
	InvalidTarget           Code = "invalid_target"            // RFC 8707 §2
	UnsupportedGrantType    Code = "unsupported_grant_type"    // RFC 6749 §5.2
	UnsupportedResponseType Code = "unsupported_response_type" // RFC 6749 §4.1.2.1
	AccessDenied            Code = "access_denied"             // RFC 6749 §4.1.2.1
	InteractionRequired     Code = "interaction_required"      // OpenID Connect Core §3.1.2.6
	ServerError             Code = "server_error"              // RFC 6749 §4.1.2.1, redirects only
	TemporarilyUnavailable  Code = "temporarily_unavailable"   // RFC 6749 §4.1.2.1; at /token with 503 or 429
	InvalidRedirectURI      Code = "invalid_redirect_uri"      // RFC 7591 §3.2.2
	InvalidClientMetadata   Code = "invalid_client_metadata"   // RFC 7591 §3.2.2
	InvalidToken            Code = "invalid_token"             // RFC 6750 §3.1
	InsufficientScope       Code = "insufficient_scope"        // RFC 6750 §3.1
)

// Error is a refusal as the outside sees it, with the cause that only the log sees. The exit of each surface (pages
// and JSON in web, bearer challenges in mcp) turns it into an answer; nothing else writes errors.
type Error struct {
	Code   Code   // the `error` value
	Status int    // HTTP status where the answer is not a redirect
	Reason Reason // why, from the closed list
	Ended  Reason // with Reason GrantEnded: how the grant ended; "" when not known

	RetryAfter time.Duration // for 429 and 503; the exit clamps it to 1..120 s
	Basic      bool          // add the Basic challenge to a 401 (RFC 6749 §5.2)
	Allow      string        // the Allow header of a 405

	Client   string // what the client calls itself, for a page; "" = not known, or nothing to say
	Redirect string // complete URL to send the browser to (RFC 6749 §4.1.2.1); "" = answer here
	Back     string // complete URL for a page's link "back to HOST"; "" = no link (RFC 9700 §4.11.2)

	Cause error // for the log; may name what strangers must not see
}

// Fail returns an Error with the usual status of its code.
func Fail(code Code, reason Reason) *Error {
	return &Error{Code: code, Status: statusOf(code), Reason: reason}
}

func statusOf(code Code) int {
	switch code {
	case InvalidClient, InvalidToken:
		return http.StatusUnauthorized
	case InsufficientScope, AccessDenied:
		return http.StatusForbidden
	case TemporarilyUnavailable, ServerError:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// Unavailable returns the answer to trouble that passes: 503 temporarily_unavailable, nothing spent.
func Unavailable(reason Reason, cause error) *Error {
	return &Error{Code: TemporarilyUnavailable, Status: http.StatusServiceUnavailable, Reason: reason, Cause: cause}
}

// With returns a copy of e with another HTTP status.
func (e *Error) With(status int) *Error { c := *e; c.Status = status; return &c }

// Because returns a copy of e with a cause for the log.
func (e *Error) Because(cause error) *Error { c := *e; c.Cause = cause; return &c }

// Description is the `error_description`: the reason, for grant_ended also how it ended, and a constant sentence.
func (e *Error) Description() string {
	r := e.Reason.Wire()
	if e.Ended != "" {
		return fmt.Sprintf("%s %s: %s", r, e.Ended, e.Ended.Sentence())
	}
	return fmt.Sprintf("%s: %s", r, r.Sentence())
}

// Error is the line for the log.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s (%s)", e.Code, e.Reason)
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }
