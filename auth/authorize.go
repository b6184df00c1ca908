package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"hostedmcp/auth/oauth"
)

// GET /authorize (RFC 6749 §4.1.1, OAuth 2.1, RFC 7636, RFC 8707; protocol.md §4.1). It writes nothing to disk: the
// request travels in the consent form.
//
// The bounds hold for one link. The state comes back in the ticket, in the stored request and in the answer, so it
// has a bound of its own.
const (
	maxQuery = 8 << 10
	maxState = 2 << 10
)

// authorize is the endpoint. The limit comes first, since resolving a client may dial out and take seconds.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) error {
	now := s.now()
	if err := s.limits.authorize.allow(Request(r.Context()).Address, now); err != nil {
		return err
	}
	t, err := s.authorizationRequest(r.Context(), r.URL.RawQuery)
	if err != nil {
		return err
	}
	return s.askConsent(w, r, t, false)
}

// askConsent shows the consent page for t under a new ticket. renewed says that it is asked again after a ticket that
// was too old: not a new login for the funnel.
func (s *Server) askConsent(w http.ResponseWriter, r *http.Request, t ticket, renewed bool) error {
	sealed, err := s.newTicket(t, s.now())
	if err != nil {
		return oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	if !renewed {
		s.observer.logins.WithLabelValues("authorize").Inc()
	}
	// The form token binds this ticket to this browser's cookie: nobody else's page can post it (protocol.md §4.2).
	cookie := s.keepCookie(w, r, csrfCookie, csrfTTL)
	return s.pages.Consent(w, r, s.consentPage(t, sealed, s.ticketToken(cookie, sealed), renewed))
}

// authorizationRequest judges the query in the order of protocol.md §4.1. Errors before the redirect URI is known to
// be the client's stay here; later ones carry where to send the browser.
func (s *Server) authorizationRequest(ctx context.Context, query string) (ticket, error) {
	// 1. Who asks, and where may the answer go?
	if len(query) > maxQuery {
		return ticket{}, oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(errors.New("query too long"))
	}
	p, err := oauth.ParseParams(query)
	if err != nil {
		return ticket{}, oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(err)
	}
	c, redirectURI, err := s.askingClient(ctx, p)
	if err != nil {
		return ticket{}, err
	}
	// 2. to 5. What is asked? From here the client learns of its errors.
	t, err := s.askedFor(p)
	if err != nil {
		return ticket{}, s.answerClient(err, c, redirectURI, soundState(p))
	}
	t.Client, t.Name, t.Kind, t.CopyDate, t.RedirectURI = c.id, c.name, c.kind, c.copyDate, redirectURI
	return t, nil
}

// askingClient is phase 1: client_id and redirect_uri, each exactly once and known.
func (s *Server) askingClient(ctx context.Context, p oauth.Params) (client, string, error) {
	id := p.Get("client_id")
	// RFC 6749 §3.1: no parameter twice. Of two clients, which would the page name?
	if id == "" || p.Count("client_id") != 1 {
		return client{}, "", oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(errors.New("client_id"))
	}
	c, err := s.resolve(ctx, id)
	if err != nil {
		return client{}, "", err
	}
	// only now: before, it was whatever somebody had put into a link
	Request(ctx).Grant("", c.id, "")
	if p.Count("redirect_uri") > 1 {
		return client{}, "", oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(errors.New("redirect_uri repeated"))
	}
	redirectURI, ok := c.redirect(p.Get("redirect_uri"))
	if !ok {
		return client{}, "", redirectRefused(c, nil)
	}
	// Any port matches a registered loopback URI, our own among them: the answer must not come back to us as if it were
	// the provider's (protocol.md §3.2).
	if err := s.redirectRules().Check(redirectURI); err != nil {
		return client{}, "", redirectRefused(c, err)
	}
	return c, redirectURI, nil
}

// redirectRefused names the program, so that its user knows whom to tell.
func redirectRefused(c client, cause error) error {
	e := oauth.Fail(oauth.InvalidRequest, oauth.RedirectRefused).Because(cause)
	e.Client = c.name
	return e
}

// knownParams are the parameters that may stand in a request only once. resource may repeat (RFC 8707 §2). Others may
// stand there as often as they like, since they are ignored (RFC 6749 §3.1).
var knownParams = []string{
	"response_type", "scope", "state", "code_challenge", "code_challenge_method", "response_mode", "prompt",
	"request", "request_uri", "nonce", "max_age", "login_hint",
}

// askedFor is phases 2 to 5; the ticket it returns lacks the client.
func (s *Server) askedFor(p oauth.Params) (ticket, error) {
	invalid := func(what string) (ticket, error) {
		return ticket{}, oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(errors.New(what))
	}
	for _, name := range knownParams {
		if p.Count(name) > 1 {
			return invalid(name + " repeated")
		}
	}
	switch {
	case !oauth.ValidChallenge(p.Get("code_challenge")): // PKCE from every client (OAuth 2.1 §4.1.1)
		return invalid("code_challenge")
	case p.Get("code_challenge_method") != "S256": // absent means plain (RFC 7636 §4.3)
		return invalid("code_challenge_method")
	case p.Get("response_mode") != "" && p.Get("response_mode") != "query":
		return invalid("response_mode")
	case p.Has("request") || p.Has("request_uri"): // could say other things than judged here (RFC 9101)
		return invalid("request object")
	case len(p.Get("state")) > maxState:
		return invalid("state too long")
	case p.Get("response_type") == "": // RFC 6749 §4.1.2.1: missing is not unsupported
		return invalid("response_type")
	case p.Get("response_type") != "code":
		return ticket{}, oauth.Fail(oauth.UnsupportedResponseType, oauth.RequestInvalid)
	}
	if err := s.checkResource(p, s.resource); err != nil {
		return ticket{}, err
	}
	scope, err := s.askedScope(p.Get("scope"))
	if err != nil {
		return ticket{}, err
	}
	// Consent is asked every time (protocol.md §4.2), so that nothing can be answered without the page.
	if p.Get("prompt") == "none" {
		return ticket{}, oauth.Fail(oauth.InteractionRequired, oauth.RequestInvalid)
	}
	// The resource is kept in our spelling, whichever the client used: from here on it is compared byte for byte.
	return ticket{Scope: scope, Resource: s.resource, Challenge: p.Get("code_challenge"), State: []byte(p.Get("state"))}, nil
}

// checkResource refuses a request that names another resource than want (RFC 8707 §2); naming none is allowed.
func (s *Server) checkResource(p oauth.Params, want string) error {
	for _, named := range p.All("resource") {
		if !oauth.SameResource(named, want) {
			return oauth.Fail(oauth.InvalidTarget, oauth.TargetInvalid)
		}
	}
	return nil
}

// askedScope returns the scope of a request: the baseline if none is named, else those names that we know (RFC 6749
// §3.3 lets us drop the others; [C5]). An empty result is refused rather than widened to the baseline: the client
// asked for something else.
func (s *Server) askedScope(asked string) (oauth.Scope, error) {
	scope, err := oauth.ParseScope(asked)
	if err != nil {
		return nil, oauth.Fail(oauth.InvalidScope, oauth.ScopeInvalid).Because(err)
	}
	if len(scope) == 0 {
		return s.baseline, nil
	}
	switch scope = scope.Keep(s.known); {
	case len(scope) == 0:
		return nil, oauth.Fail(oauth.InvalidScope, oauth.ScopeInvalid).Because(errors.New("no known scope"))
	case len(scope.Without(offlineAccess)) == 0: // it has no effect, so nothing else was named
		return s.baseline.Union(scope), nil
	}
	return scope, nil
}

// answerClient turns a refusal into one that reaches the client: REDIR, but to an https or private-use URI of a client
// that anybody could have registered only a page, so that our name bounces nobody there (RFC 9700 §4.11.2): a site,
// or a program that a browser opens without asking ("vscode://…/clone?url="). A loopback URI leads to this computer
// alone. Errors of our own that are no *oauth.Error stay here and become 503.
func (s *Server) answerClient(err error, c client, redirectURI, state string) error {
	var e *oauth.Error
	if !errors.As(err, &e) {
		return err
	}
	out := *e
	out.Client = c.name
	target := s.errorRedirect(e, redirectURI, state)
	if oauth.RedirectKind(redirectURI) != oauth.KindLoopback && !c.trusted() {
		out.Back, out.Status = target, http.StatusBadRequest
	} else {
		out.Redirect = target
	}
	return &out
}

// errorRedirect is the URL that tells the client (RFC 6749 §4.1.2.1, RFC 9207 §2).
func (s *Server) errorRedirect(e *oauth.Error, redirectURI, state string) string {
	return oauth.AppendQuery(redirectURI,
		"error", string(e.Code), "error_description", e.Description(), "state", state, "iss", s.issuer)
}

// soundState returns the state to answer with: none if it was repeated or too long. Of two the client could recognise
// neither for sure, and an oversized one is the fault that is being answered.
func soundState(p oauth.Params) string {
	if state := p.Get("state"); p.Count("state") == 1 && len(state) <= maxState {
		return state
	}
	return ""
}

// scopeSentences says each scope in words for the consent page. A scope of an old grant may have left the
// configuration since: it is named, for want of a sentence.
func (s *Server) scopeSentences(scope oauth.Scope) []string {
	var out []string
	for _, name := range scope {
		if sentence := s.sentences[name]; sentence != "" {
			out = append(out, sentence)
		} else {
			out = append(out, fmt.Sprintf("Use the permission “%s”", name))
		}
	}
	return out
}

// redirectTarget names where an answer goes: a host, or the scheme of a private-use URI.
func redirectTarget(redirectURI string) (host, scheme string) {
	u, err := url.Parse(redirectURI)
	if err != nil {
		return "", ""
	}
	if oauth.RedirectKind(redirectURI) == oauth.KindPrivate {
		return "", u.Scheme
	}
	// with the port: on this computer it says which program will get the answer
	return u.Host, ""
}
