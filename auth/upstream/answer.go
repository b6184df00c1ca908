package upstream

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// Outcome is what an answer of the token endpoint means for the grant (protocol.md §8.2).
type Outcome int

// The outcomes. Only the first three come with tokens, and those are to be stored before anything else.
const (
	Good        Outcome = iota + 1 // commit
	Unverified                     // tokens are good, the id_token is not: on refresh commit and keep the old claims; a login fails
	Quarantined                    // the id_token names another subject or issuer: commit sealed, never use
	Ended                          // the provider refuses for good; of a code: the login fails
	Suspect                        // refused in words that could also mean a wrong database behind the provider's name
	ConfigFault                    // a setting is wrong here or there; the grant lives
	Trouble                        // the provider says that it has trouble; it has spent nothing
	Unreachable                    // nothing was sent; Reason says whether the network or discovery was in the way
	InDoubt                        // sent, and no readable answer: the provider may have rotated the token
)

// String returns the name of o as it stands in the constants.
func (o Outcome) String() string {
	names := [...]string{"none", "Good", "Unverified", "Quarantined", "Ended", "Suspect", "ConfigFault", "Trouble", "Unreachable", "InDoubt"}
	if o < 0 || int(o) >= len(names) {
		return "unknown"
	}
	return names[o]
}

// Answer is what became of one call to the token endpoint.
type Answer struct {
	Outcome Outcome
	// Reason is upstream_... or id_token_invalid, subject_changed; "" for Good. For Ended it is the reason that the
	// words give to a grant that was not in doubt.
	Reason oauth.Reason
	// Spent says that Reason's words are also what the provider says after our own lost attempt has spent the token:
	// if the grant is in doubt and the rotation mode is not none, it ends as upstream_lost instead.
	Spent  bool
	Tokens Tokens  // of Good, Unverified and Quarantined
	Claims *Claims // of Good, if there was an id_token; nil = keep what was known
	// Pending, with Unverified on refresh: the id_token's key is not in memory. Commit the tokens as they are, then call
	// Settle before any use. A caller that does not is safe and keeps the old claims.
	Pending    bool
	RetryAfter time.Duration // what the provider or the backoff of discovery asks for; 0 = nothing
	Err        error         // for the log alone: our own words, no secret, nothing the provider wrote; nil for Good

	idToken func() string // of Pending; a function, since %v shows the unexported fields of a struct in clear
}

// Tokens are the upstream tokens of one answer.
type Tokens struct {
	Access         oauth.Secret
	Refresh        oauth.Secret // "" = the answer held none; on refresh the old one stays (RFC 6749 §6)
	TokenType      string       // as sent, usually "Bearer"
	Scope          string       // as sent; "" = as asked for (RFC 6749 §5.1)
	Expires        time.Time    // of Access; zero = the provider does not say
	RefreshExpires time.Time    // of Refresh; zero = no known limit (Keycloak says 0 of offline tokens)
	Offline        bool         // scope holds offline_access, or refresh_expires_in is there and 0
}

// tokenAnswer is the body of a token answer by exact member name. Each member is read on its own: one that is odd must
// not cost the refresh token beside it.
type tokenAnswer map[string]json.RawMessage

func (a tokenAnswer) text(name string) string {
	var s string
	if json.Unmarshal(a[name], &s) != nil {
		return ""
	}
	return s
}

// seconds reads a number of seconds, in quotes or not, with a fraction or not, of either sign. ok is false if there is
// none.
func (a tokenAnswer) seconds(name string) (d time.Duration, ok bool) {
	raw := a[name]
	if s := a.text(name); s != "" {
		raw = json.RawMessage(s)
	}
	var f float64
	if len(raw) == 0 || string(raw) == "null" || json.Unmarshal(raw, &f) != nil {
		return 0, false
	}
	const century = 100 * 365 * 24 * 3600
	return time.Duration(min(max(f, -1), century)) * time.Second, true
}

// readTokens reads a 200 (RFC 6749 §5.1). ok is false when there is no access token in it.
func readTokens(body []byte, now time.Time) (t Tokens, idToken string, ok bool) {
	var a tokenAnswer
	if json.Unmarshal(body, &a) != nil || a.text("access_token") == "" {
		return Tokens{}, "", false
	}
	t = Tokens{
		Access: oauth.Secret(a.text("access_token")), Refresh: oauth.Secret(a.text("refresh_token")),
		TokenType: a.text("token_type"), Scope: a.text("scope"),
	}
	now = now.Round(0) // wall clock: the times are stored
	if life, ok := a.seconds("expires_in"); ok && life > 0 {
		t.Expires = now.Add(life)
	}
	life, stated := a.seconds("refresh_expires_in")
	if life > 0 {
		t.RefreshExpires = now.Add(life)
	}
	t.Offline = slices.Contains(strings.Fields(t.Scope), "offline_access") || stated && life == 0
	return t, a.text("id_token"), true
}
