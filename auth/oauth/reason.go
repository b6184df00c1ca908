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
	UserRevoked              Reason = "user_revoked"
	ClientRevoked            Reason = "client_revoked"
	AdminRevoked             Reason = "admin_revoked"
	CodeReplay               Reason = "code_replay"
	LoginUnclaimed           Reason = "login_unclaimed"
	RefreshReuse             Reason = "refresh_reuse"
	GrantIdle                Reason = "grant_idle"
	GrantMaxAge              Reason = "grant_max_age"
	GrantEvicted             Reason = "grant_evicted"
	AccessRule               Reason = "access_rule"
	UpstreamRejected         Reason = "upstream_rejected"
	UpstreamSessionExpired   Reason = "upstream_session_expired"
	UpstreamSessionEnded     Reason = "upstream_session_ended"
	UpstreamConsentWithdrawn Reason = "upstream_consent_withdrawn"
	UpstreamUserDisabled     Reason = "upstream_user_disabled"
	UpstreamReuse            Reason = "upstream_reuse"
	UpstreamLost             Reason = "upstream_lost"
)

// A request was refused.
const (
	TokenMissing       Reason = "token_missing"
	ToolDenied         Reason = "tool_denied"
	TokenInvalid       Reason = "token_invalid"
	TokenExpired       Reason = "token_expired"
	TokenAudience      Reason = "token_audience"
	GrantEnded         Reason = "grant_ended"
	ScopeMissing       Reason = "scope_missing"
	RefreshInvalid     Reason = "refresh_invalid"
	RefreshWrongClient Reason = "refresh_wrong_client"
	CodeInvalid        Reason = "code_invalid"
	CodeExpired        Reason = "code_expired"
	PKCEFailed         Reason = "pkce_failed"
	ClientAuthFailed   Reason = "client_auth_failed"
	ScopeInvalid       Reason = "scope_invalid"
	TargetInvalid      Reason = "target_invalid"
	RequestInvalid     Reason = "request_invalid"
	HostRefused        Reason = "host_refused"
	OriginRefused      Reason = "origin_refused"
	MethodRefused      Reason = "method_refused"
	NotFound           Reason = "not_found"
	SessionUnknown     Reason = "session_unknown"
)

// Trouble: ours, the provider's or a connector's.
const (
	UpstreamUnreachable  Reason = "upstream_unreachable"
	UpstreamError        Reason = "upstream_error"
	UpstreamInDoubt      Reason = "upstream_in_doubt"
	UpstreamSuspect      Reason = "upstream_suspect"
	UpstreamConfig       Reason = "upstream_config"
	UpstreamBadAnswer    Reason = "upstream_bad_answer"
	SubjectChanged       Reason = "subject_changed"
	StorageUnavailable   Reason = "storage_unavailable"
	ClockJump            Reason = "clock_jump"
	RateLimited          Reason = "rate_limited"
	Internal             Reason = "internal"
	ConnectorUnreachable Reason = "connector_unreachable"
	ConnectorBadAnswer   Reason = "connector_bad_answer"
	ConnectorChanged     Reason = "connector_changed"
)

// A login came to no grant.
const (
	ClientUnknown       Reason = "client_unknown"
	RedirectRefused     Reason = "redirect_refused"
	CIMDBlocked         Reason = "cimd_blocked"
	CIMDFailed          Reason = "cimd_failed"
	CIMDInvalid         Reason = "cimd_invalid"
	CSRFFailed          Reason = "csrf_failed"
	BrowserMismatch     Reason = "browser_mismatch"
	RequestExpired      Reason = "request_expired"
	StateUnknown        Reason = "state_unknown"
	ConsentDenied       Reason = "consent_denied"
	UpstreamDenied      Reason = "upstream_denied"
	UpstreamIss         Reason = "upstream_iss"
	IDTokenInvalid      Reason = "id_token_invalid"
	RegistrationInvalid Reason = "registration_invalid"
	RegistrationFull    Reason = "registration_full"
)

// All is well: the funnel of a login, and the life of a grant.
const (
	Registered      Reason = "registered"
	ConsentApproved Reason = "consent_approved"
	SignedIn        Reason = "signed_in"
	CodeRedeemed    Reason = "code_redeemed"
	FirstCall       Reason = "first_call"
	RefreshOK       Reason = "refresh_ok"
	RefreshSame     Reason = "refresh_same"
	RefreshAhead    Reason = "refresh_ahead"
	RefreshOutage   Reason = "refresh_outage"
	KeepaliveOK     Reason = "keepalive_ok"
	RecheckOK       Reason = "recheck_ok"
	Restored        Reason = "restored"
	KeyRotated      Reason = "key_rotated"
	OK              Reason = "ok"
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
