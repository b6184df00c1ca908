package oauth

import (
	"maps"
	"slices"
)

// Reason is one code of the closed list that log lines, metric labels, the journal, pages and the wire share. Every
// end of a connection and every refusal carries exactly one.
type Reason string

// Group says where a reason belongs: what happened to whom.
type Group string

// The groups of reasons.
const (
	GroupEnded   Group = "ended"   // a grant ended
	GroupRefused Group = "refused" // a request was refused
	GroupTrouble Group = "trouble" // nobody's fault; goes on later
	GroupLogin   Group = "login"   // a login did not come to a grant
	GroupNormal  Group = "normal"  // all is well
)

// A grant ended.
const (
	UserRevoked              Reason = "user_revoked"               // by the user, on the status page
	ClientRevoked            Reason = "client_revoked"             // by the client, at /revoke (RFC 7009)
	AdminRevoked             Reason = "admin_revoked"              // by an operator
	CodeReplay               Reason = "code_replay"                // a redeemed code came again with everything right (RFC 6749 §4.1.2)
	LoginUnclaimed           Reason = "login_unclaimed"            // the code ran out unredeemed
	RefreshReuse             Reason = "refresh_reuse"              // an old refresh token came again (RFC 9700 §4.14.2)
	GrantIdle                Reason = "grant_idle"                 // not used for refresh_idle
	GrantMaxAge              Reason = "grant_max_age"              // older than refresh_max_age
	GrantEvicted             Reason = "grant_evicted"              // more than grants_per_user of one client
	AccessRule               Reason = "access_rule"                // [access] does not let the user in, at login or later
	UpstreamRejected         Reason = "upstream_rejected"          // invalid_grant in words we do not know, confirmed
	UpstreamSessionExpired   Reason = "upstream_session_expired"   // the provider's session or token ran out
	UpstreamSessionEnded     Reason = "upstream_session_ended"     // the provider's session was ended
	UpstreamConsentWithdrawn Reason = "upstream_consent_withdrawn" // offline access was withdrawn
	UpstreamUserDisabled     Reason = "upstream_user_disabled"     // the account is disabled
	UpstreamReuse            Reason = "upstream_reuse"             // the provider saw a token more often than it allows
	UpstreamLost             Reason = "upstream_lost"              // an answer was lost and the provider forgives no retry
)

// A request was refused.
const (
	TokenMissing       Reason = "token_missing"        // no bearer token: how every client begins
	ToolDenied         Reason = "tool_denied"          // a tool hidden from this user
	TokenInvalid       Reason = "token_invalid"        // form, signature, type or issuer
	TokenExpired       Reason = "token_expired"        // past its exp
	TokenAudience      Reason = "token_audience"       // made for another resource (RFC 8707)
	GrantEnded         Reason = "grant_ended"          // its grant ended; Error.Ended says how
	ScopeMissing       Reason = "scope_missing"        // RFC 6750 §3.1
	RefreshInvalid     Reason = "refresh_invalid"      // unreadable or forged
	RefreshWrongClient Reason = "refresh_wrong_client" // genuine, but presented by another client
	CodeInvalid        Reason = "code_invalid"         // unknown, spent, or of another client or redirect URI
	CodeExpired        Reason = "code_expired"         // older than code_ttl
	PKCEFailed         Reason = "pkce_failed"          // RFC 7636 §4.6
	ClientAuthFailed   Reason = "client_auth_failed"   // RFC 6749 §2.3
	ScopeInvalid       Reason = "scope_invalid"        // RFC 6749 §3.3
	TargetInvalid      Reason = "target_invalid"       // RFC 8707 §2
	RequestInvalid     Reason = "request_invalid"      // everything malformed that has no reason of its own
	HostRefused        Reason = "host_refused"         // Host is neither ours nor in allowed_hosts
	OriginRefused      Reason = "origin_refused"       // Origin is not in allowed_origins
	MethodRefused      Reason = "method_refused"       // 405
	NotFound           Reason = "not_found"            // 404
	SessionUnknown     Reason = "session_unknown"      // an Mcp-Session-Id that is not there or not yours
)

// Trouble: ours, the provider's or a connector's.
const (
	UpstreamUnreachable  Reason = "upstream_unreachable"  // no connection, nothing was sent
	UpstreamError        Reason = "upstream_error"        // 5xx or 429
	UpstreamInDoubt      Reason = "upstream_in_doubt"     // sent, and no answer
	UpstreamSuspect      Reason = "upstream_suspect"      // invalid_grant, not yet confirmed
	UpstreamConfig       Reason = "upstream_config"       // a refusal that no user can have caused
	UpstreamBadAnswer    Reason = "upstream_bad_answer"   // 200 that cannot be read
	SubjectChanged       Reason = "subject_changed"       // a refresh answered for another sub or iss: quarantined
	StorageUnavailable   Reason = "storage_unavailable"   // the store cannot be read or written
	ClockJump            Reason = "clock_jump"            // the wall clock left the trusted time by over an hour
	RateLimited          Reason = "rate_limited"          // a limit of ours
	Internal             Reason = "internal"              // a fault in our own code
	ConnectorUnreachable Reason = "connector_unreachable" // no connection to a mounted server
	ConnectorBadAnswer   Reason = "connector_bad_answer"  // it answered what cannot be read
	ConnectorChanged     Reason = "connector_changed"     // its tool definitions are not those accepted
)

// A login came to no grant.
const (
	ClientUnknown       Reason = "client_unknown"       // client_id is not known
	RedirectRefused     Reason = "redirect_refused"     // not registered, or not acceptable (RFC 9700 §2.1)
	CIMDBlocked         Reason = "cimd_blocked"         // the document lies at an address that is not public
	CIMDFailed          Reason = "cimd_failed"          // the document could not be fetched
	CIMDInvalid         Reason = "cimd_invalid"         // the document breaks a rule
	CSRFFailed          Reason = "csrf_failed"          // the form is not from our page (RFC 9700 §4.7)
	BrowserMismatch     Reason = "browser_mismatch"     // the answer came back in another browser
	RequestExpired      Reason = "request_expired"      // older than request_ttl or signin_wait, or finished
	StateUnknown        Reason = "state_unknown"        // no authorization request has this state
	ConsentDenied       Reason = "consent_denied"       // Deny was pressed
	UpstreamDenied      Reason = "upstream_denied"      // the provider's error answer
	UpstreamIss         Reason = "upstream_iss"         // RFC 9207 §2.4
	IDTokenInvalid      Reason = "id_token_invalid"     // OpenID Connect Core §3.1.3.7
	RegistrationInvalid Reason = "registration_invalid" // RFC 7591 §3.2.2
	RegistrationFull    Reason = "registration_full"    // register_max reached and nobody may go
)

// All is well: the funnel of a login, and the life of a grant.
const (
	Registered      Reason = "registered"       // a new client (RFC 7591)
	ConsentApproved Reason = "consent_approved" // Allow was pressed
	SignedIn        Reason = "signed_in"        // the provider signed the user in
	CodeRedeemed    Reason = "code_redeemed"    // the client has its tokens
	FirstCall       Reason = "first_call"       // the first MCP call of a grant
	RefreshOK       Reason = "refresh_ok"       // rotated
	RefreshSame     Reason = "refresh_same"     // the previous token again: the same successor
	RefreshAhead    Reason = "refresh_ahead"    // newer than our store: it was restored
	RefreshOutage   Reason = "refresh_outage"   // rotated although the provider is in trouble
	KeepaliveOK     Reason = "keepalive_ok"     // refreshed to keep the upstream token alive
	RecheckOK       Reason = "recheck_ok"       // the provider still knows the user
	Restored        Reason = "restored"         // the store came from a backup
	KeyRotated      Reason = "key_rotated"      // a new key
	OK              Reason = "ok"               // all else
)

// sentences holds, for every reason, the constant sentence that follows it on the wire. No '=', ',', '"' or '\'
// stands in one: some clients split a challenge on them.
var sentences = map[Group]map[Reason]string{
	GroupEnded: {
		UserRevoked:              "the user ended this connection; sign in again",
		ClientRevoked:            "the client ended this connection; sign in again",
		AdminRevoked:             "an administrator ended this connection; ask them before you sign in again",
		CodeReplay:               "its authorization code was used twice; sign in again",
		LoginUnclaimed:           "the client never redeemed its code; sign in again",
		RefreshReuse:             "an old refresh token was used again; sign in again",
		GrantIdle:                "it was not used for too long; sign in again",
		GrantMaxAge:              "it reached its highest age; sign in again",
		GrantEvicted:             "the user connected this client too many times; sign in again",
		AccessRule:               "the account may not use this resource; ask your administrators",
		UpstreamRejected:         "the sign-in service no longer accepts this sign-in; sign in again",
		UpstreamSessionExpired:   "the sign-in ran out at the sign-in service; sign in again",
		UpstreamSessionEnded:     "the sign-in was ended at the sign-in service; sign in again",
		UpstreamConsentWithdrawn: "the permission was withdrawn at the sign-in service; sign in again",
		UpstreamUserDisabled:     "the account is switched off at the sign-in service; ask your administrators",
		UpstreamReuse:            "the sign-in service saw an old token twice; sign in again",
		UpstreamLost:             "an answer of the sign-in service was lost; sign in again",
	},
	GroupRefused: {
		TokenMissing:       "send a bearer token",
		ToolDenied:         "this tool is not yours to call",
		TokenInvalid:       "this access token is not valid here; sign in again",
		TokenExpired:       "refresh or sign in again",
		TokenAudience:      "this access token is for another resource; sign in again",
		GrantEnded:         "this connection ended; sign in again",
		ScopeMissing:       "this operation needs more scope",
		RefreshInvalid:     "this refresh token is unknown; sign in again",
		RefreshWrongClient: "this refresh token belongs to another client; sign in again",
		CodeInvalid:        "this authorization code is not valid for this request; sign in again",
		CodeExpired:        "this authorization code is too old; sign in again",
		PKCEFailed:         "the code_verifier does not match; sign in again",
		ClientAuthFailed:   "the client did not authenticate as it is registered",
		ScopeInvalid:       "the scope is malformed or not to be had here",
		TargetInvalid:      "the resource is not served here",
		RequestInvalid:     "a parameter is missing or repeated or malformed",
		HostRefused:        "this server has another name",
		OriginRefused:      "web pages of this origin may not call this server",
		MethodRefused:      "this path does not take this method",
		NotFound:           "there is nothing here",
		SessionUnknown:     "this session is unknown; initialize again",
	},
	GroupTrouble: {
		UpstreamUnreachable:  "the sign-in service does not answer; try again",
		UpstreamError:        "the sign-in service answers with errors; try again",
		UpstreamInDoubt:      "an answer of the sign-in service was lost; try again",
		UpstreamSuspect:      "the sign-in service refused once; try again",
		UpstreamConfig:       "this server and the sign-in service disagree about a setting; the administrators know",
		UpstreamBadAnswer:    "the sign-in service gave an unreadable answer; try again",
		SubjectChanged:       "the sign-in service named another person; an administrator must look",
		StorageUnavailable:   "this server cannot save at the moment; try again",
		ClockJump:            "the clock of this server is wrong; try again",
		RateLimited:          "too many requests; try again later",
		Internal:             "this server met a fault of its own; try again",
		ConnectorUnreachable: "a connector does not answer; try again",
		ConnectorBadAnswer:   "a connector gave an unreadable answer; try again",
		ConnectorChanged:     "a connector changed what it offers; an administrator must look",
	},
	GroupLogin: {
		ClientUnknown:       "this client is not registered here; remove this connection in your client and add it again",
		RedirectRefused:     "the redirect_uri is not one that the client registered",
		CIMDBlocked:         "the client metadata document could not be fetched",
		CIMDFailed:          "the client metadata document could not be fetched",
		CIMDInvalid:         "the client metadata document has errors",
		CSRFFailed:          "this form did not come from our own page",
		BrowserMismatch:     "finish in the browser where you pressed Allow",
		RequestExpired:      "this login took too long; start again",
		StateUnknown:        "this login is not known here; start again",
		ConsentDenied:       "the user denied the request",
		UpstreamDenied:      "the sign-in service did not sign the user in",
		UpstreamIss:         "the answer came from another issuer than the sign-in service",
		IDTokenInvalid:      "the sign-in service sent an id_token that does not hold",
		RegistrationInvalid: "the client metadata is not acceptable",
		RegistrationFull:    "too many clients are registered; try again later",
	},
	GroupNormal: {
		Registered: "", ConsentApproved: "", SignedIn: "", CodeRedeemed: "", FirstCall: "", RefreshOK: "",
		RefreshSame: "", RefreshAhead: "", RefreshOutage: "", KeepaliveOK: "", RecheckOK: "", Restored: "",
		KeyRotated: "", OK: "",
	},
}

var groupOf = func() map[Reason]Group {
	m := map[Reason]Group{}
	for g, reasons := range sentences {
		for r := range reasons {
			m[r] = g
		}
	}
	return m
}()

// Group returns the group of r, "" for a code outside the list.
func (r Reason) Group() Group { return groupOf[r] }

// Sentence returns the constant sentence for r on the wire, "" for a normal reason.
func (r Reason) Sentence() string { return sentences[r.Group()][r] }

// Wire returns the code as strangers see it: a blocked metadata document looks like one that could not be fetched
// (no probe of our network), everything else is itself.
func (r Reason) Wire() Reason {
	if r == CIMDBlocked {
		return CIMDFailed
	}
	return r
}

// Reasons returns the whole list by group, each group sorted.
func Reasons() map[Group][]Reason {
	out := map[Group][]Reason{}
	for g, reasons := range sentences {
		out[g] = slices.Sorted(maps.Keys(reasons))
	}
	return out
}
