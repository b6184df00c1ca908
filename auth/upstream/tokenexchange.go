package upstream

// Token exchange, RFC 8693: the user's upstream access token for one that another service takes.

import (
	"context"
	"net/url"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// The names of RFC 8693 §2.1 and §3.
const (
	grantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccessToken    = "urn:ietf:params:oauth:token-type:access_token"
)

// givenFor is how long an audience counts as set up after somebody was given it: settings change.
const givenFor = time.Hour

// maxExchanged bounds a token that goes into a header of every call, in bytes.
const maxExchanged = 16 << 10

// Exchanged is an upstream access token for another audience.
type Exchanged struct {
	Access    oauth.Secret
	Expires   time.Time // zero = the provider does not say
	TokenType string    // "Bearer", as it goes before the token in a header
}

// TokenExchange asks the provider for an access token for audience in place of the user's upstream access token, once,
// on a connection of its own. It spends nothing: the caller may ask again. The error is a *Failure, and its Reason says
// what follows:
//
//	upstream_unreachable, upstream_error   trouble; again later
//	upstream_bad_answer                    trouble: a 200 that holds no bearer access token
//	upstream_suspect                       the user's token is refused: refresh it and ask once more
//	tool_denied                            this user may not have this audience (RFC 6749 access_denied), which others
//	                                       were given lately
//	upstream_config                        exchange is off, the audience is unknown or not ours to ask for
func (p *Provider) TokenExchange(ctx context.Context, access oauth.Secret, audience string) (Exchanged, error) {
	ctx, cancel := p.timeout(ctx)
	defer cancel()
	d, err := p.discovered.get(ctx)
	if err != nil {
		return Exchanged{}, err
	}
	form := url.Values{
		"grant_type": {grantTokenExchange}, "audience": {audience}, "requested_token_type": {typeAccessToken},
		"subject_token": {access.Reveal()}, "subject_token_type": {typeAccessToken},
	}
	var n note
	req, err := d.post(noting(ctx, &n), d.Token, form)
	if err != nil {
		return Exchanged{}, failure(oauth.UpstreamConfig, "token exchange: the endpoint's address is not a URL")
	}
	if resp, err := p.spend.Do(req); err == nil {
		resp.Body.Close()
	}
	if err := n.fault("token exchange", p.now()); err != nil {
		return Exchanged{}, refusedExchange(err, &n, p.gaveLately(audience))
	}
	x, err := readExchanged(n.body, p.now())
	if err == nil {
		p.given.Store(audience, p.now())
	}
	return x, err
}

// gaveLately says whether somebody was given a token for this audience not long ago. Keycloak refuses in the same words
// a user who has no role of an audience and everybody where it is not set up: what another user has is set up.
func (p *Provider) gaveLately(audience string) bool {
	at, ok := p.given.Load(audience)
	return ok && p.now().Sub(at.(time.Time)) < givenFor
}

// refusedExchange gives a refusal the reason that its code stands for; others are given the same audience. A status of
// trouble stays what it is.
func refusedExchange(err error, n *note, others bool) error {
	f, ok := err.(*Failure)
	if !ok || f.Reason != oauth.UpstreamConfig {
		return err
	}
	s := errorOf(n.body)
	noTarget := s.Code == "invalid_target" || strings.HasPrefix(s.Description, "Requested audience not available")
	switch {
	case n.err != nil: // what is refused was said in there
		f.Reason, f.text = oauth.UpstreamUnreachable, "token exchange: the answer broke off"
	case s.Code == "access_denied":
		f.Reason, f.text = oauth.ToolDenied, "token exchange: the provider denies this user the audience"
	// RFC 8693 §2.2.2 names invalid_request; "Invalid token" are Keycloak's words (26.7) for one that ran out or was
	// revoked, and other providers say what RFC 6749 or RFC 6750 would.
	case s.Code == "invalid_grant", s.Code == "invalid_token", s.Code == "invalid_request" && s.Description == "Invalid token":
		f.Reason, f.text = oauth.UpstreamSuspect, "token exchange: the provider refuses the user's access token"
	case noTarget && others:
		f.Reason, f.text = oauth.ToolDenied, "token exchange: the provider gives others this audience, but not this user"
	case noTarget:
		f.text = "token exchange: the provider has no such audience for us: add an audience mapper for it"
	case strings.HasPrefix(s.Description, "Standard token exchange is not enabled"):
		f.text = "token exchange: switched off at the provider for our client"
	}
	return f
}

// readExchanged reads a 200 (RFC 8693 §2.2.1): what goes into an Authorization header is an access token of type Bearer
// in characters that a header can hold, or nothing.
func readExchanged(body []byte, now time.Time) (Exchanged, error) {
	o, err := oauth.ParseObject(body, 100)
	if err != nil {
		return Exchanged{}, failure(oauth.UpstreamBadAnswer, "token exchange: not one JSON object without duplicates")
	}
	c, a := idClaims{o}, tokenAnswer(o)
	token := c.text("access_token")
	switch {
	case token == "" || len(token) > maxExchanged || strings.ContainsFunc(token, notInHeader):
		return Exchanged{}, failure(oauth.UpstreamBadAnswer, "token exchange: no access_token that a header can hold")
	case c.text("issued_token_type") != typeAccessToken:
		return Exchanged{}, failure(oauth.UpstreamBadAnswer, "token exchange: issued_token_type is not that of an access token")
	case !strings.EqualFold(c.text("token_type"), "Bearer"):
		return Exchanged{}, failure(oauth.UpstreamBadAnswer, "token exchange: token_type is not Bearer")
	}
	x := Exchanged{Access: oauth.Secret(token), TokenType: "Bearer"}
	if life, ok := a.seconds("expires_in"); ok {
		if life <= 0 {
			return Exchanged{}, failure(oauth.UpstreamBadAnswer, "token exchange: the token is issued with no life")
		}
		x.Expires = now.Round(0).Add(life)
	}
	return x, nil
}

// notInHeader holds RFC 6749 §A.12: visible ASCII.
func notInHeader(r rune) bool { return r <= ' ' || r > '~' }
