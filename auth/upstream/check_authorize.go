package upstream

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"hostedmcp/auth/oauth"
)

// reaction is how the provider answers an authorization request of a browser that nobody is signed in with.
type reaction int

const (
	troubled reaction = iota // no answer, or one of trouble
	sentBack                 // to the redirect URI that was asked for: it is registered
	shown                    // a page with a form: taken for the sign-in page
	sentOn                   // elsewhere: to a sign-in page, or to an error page
	refused                  // an error page: what must not be redirected (RFC 6749 §4.1.2.1)
)

// asked is one answer of the authorization endpoint.
type asked struct {
	reaction
	code   string // error of a redirect back; "" = none
	status int
}

// signInNeeded reports whether the provider finds nothing wrong but that nobody is signed in (OpenID Connect Core
// §3.1.2.6, the answers to prompt=none).
func (a asked) signInNeeded() bool {
	switch a.code {
	case "", "login_required", "interaction_required", "consent_required", "account_selection_required":
		return a.reaction == sentBack
	}
	return false
}

// ask sends an authorization request of ours, changed, with prompt=none: a provider that knows the redirect URI answers
// by a redirect and shows nothing (§3.1.2.1).
func (c *check) ask(ctx context.Context, change func(url.Values)) asked {
	address, err := c.p.AuthURL(ctx, AuthRequest{State: rand.Text(), Nonce: rand.Text(), Verifier: rand.Text() + rand.Text()})
	if err != nil {
		return asked{}
	}
	u, err := url.Parse(address)
	if err != nil {
		return asked{}
	}
	q := u.Query()
	q.Set("prompt", "none")
	change(q)
	u.RawQuery = q.Encode()
	ctx, cancel := c.p.timeout(ctx)
	defer cancel()
	var n note
	req, err := http.NewRequestWithContext(noting(ctx, &n), http.MethodGet, u.String(), nil)
	if err != nil {
		return asked{}
	}
	resp, err := c.p.read.Do(req)
	if err != nil {
		return asked{}
	}
	resp.Body.Close()
	return react(resp, n.body, q.Get("redirect_uri"))
}

// react tells the ways of answering apart by status and target alone: what stands on a page is the provider's own.
func react(resp *http.Response, body []byte, redirectURI string) asked {
	a := asked{status: resp.StatusCode}
	location, err := resp.Location()
	switch {
	case a.status == http.StatusTooManyRequests || a.status >= 500:
		a.reaction = troubled
	case a.status >= 300 && a.status < 400 && err == nil:
		a.reaction = sentOn
		// what is left is the redirect URI itself, which is registered without the answer's parameters
		to := *location
		to.RawQuery, to.Fragment = "", ""
		if to.String() == redirectURI {
			a.reaction, a.code = sentBack, location.Query().Get("error")
		}
	case a.status == http.StatusOK && strings.Contains(strings.ToLower(string(body)), "<form"):
		a.reaction = shown
	case a.status == http.StatusOK:
		a.reaction = sentOn
	default:
		a.reaction = refused
	}
	return a
}

// authorization: is our redirect URI registered, ours alone, and are the scopes ours to ask for?
func (c *check) authorization(ctx context.Context) {
	const name = "redirect uri"
	a := c.ask(ctx, func(url.Values) {})
	switch {
	case a.reaction == troubled:
		c.warn(name, "the authorization endpoint is in trouble", "again when the provider is well")
		return
	case a.reaction == refused:
		c.bad(name, fmt.Sprintf("the provider answers a login with an error page (%d) and no redirect: it does not know %s", a.status, c.p.redirectURI),
			c.clientMenu(redirectMenu)+": "+c.p.redirectURI)
		return
	case a.reaction == sentOn:
		c.warn(name, "the provider sends a login on to another page: whether it knows our redirect URI shows only there",
			"sign in once, or read the provider's list: it must hold "+c.p.redirectURI)
	default:
		c.good(name, "%s is registered", c.p.redirectURI)
	}
	if a.reaction == sentBack && !a.signInNeeded() {
		c.refusedLogin(ctx, a)
		return
	}
	c.good("authorization request", "the provider takes it, with the scopes %s", strings.Join(c.p.config.Scopes, " "))
	c.strictness(ctx, a)
}

// refusedLogin names what the provider's error is about, by leaving it out.
func (c *check) refusedLogin(ctx context.Context, a asked) {
	const name = "authorization request"
	switch a.code {
	case "invalid_scope":
		less := without(oauth.Scope(c.p.config.Scopes), "offline_access")
		if c.ask(ctx, func(q url.Values) { q.Set("scope", strings.Join(less, " ")) }).signInNeeded() {
			c.bad("offline_access", "our client may not ask for offline_access", c.clientMenu(scopesMenu)+" > offline_access: Optional")
			return
		}
		c.bad("scopes", "the provider refuses the scopes "+strings.Join(c.p.config.Scopes, " "),
			"correct provider.scopes, or "+c.clientMenu(scopesMenu))
	case "unauthorized_client", "unsupported_response_type":
		c.bad(name, "our client may not use the authorization code flow", c.clientMenu(flowMenu+" > Standard flow: on"))
	case "invalid_request":
		c.bad(name, "the provider calls our request invalid: does it want a pushed or signed request, or PKCE plain?",
			c.clientMenu(pkceMenu)+"; "+
				c.clientMenu(advanced+" > Pushed authorization request required: off"))
	case "access_denied", "temporarily_unavailable", "server_error":
		c.bad(name, "the provider answers "+a.code, "look into the provider's log")
	default:
		c.bad(name, "the provider answers with an error", "look into the provider's log")
	}
}

// strictness asks for what must be refused: a redirect URI beside ours (a wildcard gives codes away: CVE-2025-4144 and
// RFC 9700 §2.1), and a login without PKCE.
func (c *check) strictness(ctx context.Context, ours asked) {
	const name = "redirect uri exact"
	other := c.ask(ctx, func(q url.Values) { q.Set("redirect_uri", c.p.redirectURI+"/hostedmcp-check") })
	switch other.reaction {
	case sentBack, shown:
		c.bad(name, "the provider also takes "+c.p.redirectURI+"/hostedmcp-check: a wildcard is registered",
			c.clientMenu(redirectMenu)+": "+c.p.redirectURI+" and no entry with *")
	case refused:
		c.good(name, "another one is refused")
	}
	plain := c.ask(ctx, func(q url.Values) { q.Del("code_challenge"); q.Del("code_challenge_method") })
	switch {
	case ours.reaction == sentBack && plain.signInNeeded():
		c.warn("pkce required", "the provider takes a login of our client without PKCE too (ours always has it)",
			c.clientMenu(pkceMenu))
	case plain.reaction == sentBack || plain.reaction == refused:
		c.good("pkce required", "a login without it is refused")
	}
}
