package upstream

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// verdict is one row of protocol.md §8.2.
type verdict struct {
	outcome Outcome
	reason  oauth.Reason
	spent   bool
}

// words are error_descriptions that come with invalid_grant, and what they mean. All are Keycloak's, measured on 26.7:
// online tokens that ran out say "Token is not active"; a session ended by logout, administrator or revocation "Session
// not active", an offline one "Offline user session not found"; a client session detached (a code replayed, a token
// reused, revoked beside a sibling) "Session doesn't have required client"; not-before or a token two generations old
// "Stale token". "Invalid refresh token" is not among them: it is also what an empty database says.
var words = []struct {
	text  string
	match func(description, text string) bool
	verdict
}{
	{"Token is not active", equal, verdict{Ended, oauth.UpstreamSessionExpired, false}},
	{"Session not active", equal, verdict{Ended, oauth.UpstreamSessionEnded, false}},
	{"Offline user session not found", equal, verdict{Ended, oauth.UpstreamSessionEnded, false}},
	{"Session doesn't have required client", equal, verdict{Ended, oauth.UpstreamSessionEnded, true}},
	{"Stale token", equal, verdict{Ended, oauth.UpstreamSessionEnded, true}},
	{"Maximum allowed refresh token reuse exceeded", equal, verdict{Ended, oauth.UpstreamReuse, true}},
	{"User disabled", equal, verdict{Ended, oauth.UpstreamUserDisabled, false}},
	{"offline access not granted anymore", strings.HasSuffix, verdict{Ended, oauth.UpstreamConsentWithdrawn, false}},
	// Keycloak called under another host name: a fault of the configuration, not a dead session.
	{"Invalid token issuer", strings.HasPrefix, verdict{ConfigFault, oauth.UpstreamConfig, false}},
}

func equal(description, text string) bool { return description == text }

// classify is the verdict of protocol.md §8.2 over an answer that is not 200. The status comes first: invalid_grant
// counts only with 400 or 401, so that the error page of something in between ends no grant.
func classify(status int, code, description string) verdict {
	switch {
	case status == http.StatusGatewayTimeout: // something in between gave up; the provider may have answered it
		return verdict{InDoubt, oauth.UpstreamInDoubt, false}
	case status == http.StatusTooManyRequests, status >= 500:
		return verdict{Trouble, oauth.UpstreamError, false}
	case status >= 200 && status < 300:
		return verdict{InDoubt, oauth.UpstreamBadAnswer, false}
	case (status != 400 && status != 401) || code != "invalid_grant":
		return verdict{ConfigFault, oauth.UpstreamConfig, false}
	}
	for _, w := range words {
		if w.match(description, w.text) {
			return w.verdict
		}
	}
	return verdict{Suspect, oauth.UpstreamSuspect, false}
}

// knownCodes are the error codes that may stand in a log line; any other is the provider's text.
var knownCodes = []string{
	"invalid_grant", "invalid_client", "unauthorized_client", "invalid_request", "invalid_scope",
	"unsupported_grant_type", "access_denied", "invalid_target", "temporarily_unavailable", "server_error",
}

// judge turns what the transport saw into an Answer; ok is true when there is a whole 200 to read.
func judge(n *note, now time.Time) (answer Answer, ok bool) {
	said := errorOf(n.body)
	v := classify(n.status, said.Code, said.Description)
	text := fmt.Sprintf("the provider answered %d", n.status)
	switch {
	case n.status == 0 && !n.sent.Load():
		v, text = verdict{Unreachable, oauth.UpstreamUnreachable, false}, "nothing was sent: "+netWords(n.err)
	case n.status == 0:
		v, text = verdict{InDoubt, oauth.UpstreamInDoubt, false}, "no answer: "+netWords(n.err)
	// A status of trouble stands without its body. A refusal does not: what it refuses is said in there.
	case n.err != nil && v.outcome != Trouble:
		v, text = verdict{InDoubt, oauth.UpstreamInDoubt, false}, text+", and the answer broke off"
	case n.status == http.StatusOK:
		return Answer{}, true
	case slices.Contains(knownCodes, said.Code):
		text += " " + said.Code
	}
	after := retryAfter(n.retryAfter, now)
	return Answer{Outcome: v.outcome, Reason: v.reason, Spent: v.spent, RetryAfter: after,
		Err: &Failure{Reason: v.reason, Status: n.status, RetryAfter: after, text: text}}, false
}

// said is an error answer (RFC 6749 §5.2).
type said struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

// errorOf reads what can be read: a body that is no JSON object says nothing.
func errorOf(body []byte) said {
	var s said
	if json.Unmarshal(body, &s) != nil {
		return said{}
	}
	return s
}
