package story

import (
	"fmt"
	"time"

	"hostedmcp/auth/oauth"
)

// refused says of a request that came to no grant what was wrong, where more can be said than the wire's own sentence.
var refused = map[oauth.Reason]string{
	oauth.ClientUnknown: "The program's registration is not known here: it was unused for so long that it was removed, or it is from another server. " +
		"A program that registers anew goes on by itself; else the user removes the connection in the program and adds it again.",
	oauth.RedirectRefused:     "The program wants the answer sent to an address that it did not register.",
	oauth.TokenMissing:        "The program came without a key: every connection begins like this.",
	oauth.TokenExpired:        "The key was older than its hour: the program refreshes and goes on.",
	oauth.TokenInvalid:        "The key is none of this server's, or was made with a signing key that is gone.",
	oauth.RefreshInvalid:      "The key to refresh with is none of this server's: another server's, damaged, or of a connection forgotten long ago.",
	oauth.CodeInvalid:         "The code was unknown, spent, or of another program.",
	oauth.CodeExpired:         "The program came too late with its code (code_ttl).",
	oauth.PKCEFailed:          "The code came from somebody else than who began the login.",
	oauth.ConsentDenied:       "The user pressed Deny.",
	oauth.UpstreamDenied:      "The provider did not sign the user in.",
	oauth.BrowserMismatch:     "The login went on in another browser than it began in.",
	oauth.CSRFFailed:          "A form was sent that did not come from our own page, or the page was a day old.",
	oauth.RequestExpired:      "The page was left open for too long, or was finished already.",
	oauth.CIMDBlocked:         "The program's description lies at an address that is not public: it was not fetched.",
	oauth.CIMDFailed:          "The program's description could not be fetched.",
	oauth.RegistrationFull:    "As many programs are registered as may be (register_max).",
	oauth.RateLimited:         "Too many requests came from this address.",
	oauth.ScopeMissing:        "The connection has not the scope that this needs.",
	oauth.ToolDenied:          "The tool is hidden from this user.",
	oauth.SessionUnknown:      "The MCP session is over or another's: the program begins a new one.",
	oauth.RegistrationInvalid: "The program's registration breaks a rule.",
}

// refusedAdvice is what to change, where a setting decides.
var refusedAdvice = map[oauth.Reason][]string{
	oauth.ClientUnknown:    {"unused_ttl in [clients] says how long an unused registration is kept, register_max how many."},
	oauth.RedirectRefused:  {"Schemes of local programs: private_schemes in [clients]. Else the program sends another address than it registers: tell its vendor."},
	oauth.CIMDBlocked:      {"Where this server may not reach the internet: cimd_proxy in [clients], or [[clients.registered]] for a program that you vouch for."},
	oauth.CIMDFailed:       {"Where this server may not reach the internet: cimd_proxy in [clients], or [[clients.registered]] for a program that you vouch for."},
	oauth.RegistrationFull: {"register_max in [clients]."},
	oauth.RateLimited:      {"[limits]; behind a proxy also trusted_proxies, or all users share one address."},
	oauth.HostRefused:      {"public_url and allowed_hosts."},
	oauth.OriginRefused:    {"allowed_origins."},
	oauth.ScopeMissing:     {"[[mcp.scope]] and the scopes of the connector; the user connects again and allows more."},
	oauth.ToolDenied:       {"allow, deny, read_only and groups of the connector."},
	oauth.UpstreamDenied:   {"The provider's own log says why: Keycloak: Events > User events (LOGIN_ERROR)."},
	oauth.IDTokenInvalid:   {"The clocks of both servers, and the provider's keys: `hostedmcp check`."},
	oauth.UpstreamIss:      {"issuer in [provider] must be the provider's own, byte for byte: Keycloak: Realm settings > General > Frontend URL, or the option --hostname."},
	oauth.PKCEFailed:       {"Somebody may have taken the code from the program; look at the address. Else the program mixes up two logins: tell its vendor."},
	oauth.BrowserMismatch:  {"The user finishes in the browser where Allow was pressed."},
}

// OfRefusal tells the story of a request that led to no grant, or whose grant's story is elsewhere.
func OfRefusal(r Refusal, site Site, now time.Time) Story {
	in := Input{Site: site, Now: now}
	reason := oauth.Reason(r.Reason)
	what := refused[reason]
	if what == "" {
		what = happened[reason]
	}
	if what == "" {
		what = large(reason.Sentence()) + "."
	}
	what = in.fill(what, "{FOR}", "")
	s := Story{
		Grant: Grant{ID: shown(r.Grant), Client: shown(r.Client)}, User: User{Subject: r.Subject},
		State: Refused, Reason: reason, At: r.At,
		Headline: fmt.Sprintf("%s: %s %s was answered with %d. %s (%s)", reason, shown(r.Method), shown(r.Route), r.Status, what, since(now, r.At)),
		Lines:    []Line{{At: r.At, Reason: reason, Sentence: what, Request: shown(r.Request), Client: shown(r.Client), Address: r.Address, Count: 1}},
		Word:     "Refused", Sees: reason.Wire().Sentence(),
	}
	for _, a := range append(refusedAdvice[reason], advice[reason]...) {
		s.Advice = append(s.Advice, in.fill(a))
	}
	return s
}
