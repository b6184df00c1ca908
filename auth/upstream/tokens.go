package upstream

import (
	"context"
	"errors"
	"log/slog"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	"github.com/zitadel/oidc/v3/pkg/oidc"

	"hostedmcp/auth/oauth"
)

// Callback is a code that the provider sent to our redirect URI, with the request's own values.
type Callback struct {
	Code     string
	Verifier string // PKCE (RFC 7636 §4.5)
	Nonce    string // must stand in the id_token
}

// String hides the values.
func (Callback) String() string { return redacted }

// GoString hides the values.
func (Callback) GoString() string { return redacted }

// LogValue hides the values.
func (Callback) LogValue() slog.Value { return slog.StringValue(redacted) }

// Exchange redeems a code (OpenID Connect Core §3.1.3), once. The outcome is Good only with an id_token that holds;
// Unverified brings tokens that belong to nobody we know: the caller revokes them. A refused code is Ended with reason
// upstream_denied. Whether a refresh token came is the caller's to judge.
func (p *Provider) Exchange(ctx context.Context, c Callback) Answer {
	ctx, cancel := p.timeout(ctx)
	defer cancel()
	d, err := p.discovered.get(ctx)
	if err != nil {
		return unsent(err)
	}
	var n note
	_, _ = rp.CodeExchange[*oidc.IDTokenClaims](noting(ctx, &n), c.Code, d.asking(nil, p.spend), rp.WithCodeVerifier(c.Verifier))
	a, tokens, idToken := p.read200(&n)
	switch {
	case a.Outcome == Suspect || a.Outcome == Ended:
		a.Outcome, a.Reason, a.Spent = Ended, oauth.UpstreamDenied, false
		return a
	case a.Outcome != Good:
		return a
	case idToken == "":
		return a.unverified(errNoIDToken)
	}
	return p.withClaims(d, p.askedKeys(ctx), a, idToken, expected{access: tokens.Access, nonce: c.Nonce, login: true})
}

// RefreshRequest is one refresh of a grant's upstream token.
type RefreshRequest struct {
	Token   oauth.Secret
	Subject string // of the grant: an id_token with another one quarantines
	Nonce   string // of the login; "" = not known, then none is compared
}

// Refresh sends the refresh token (RFC 6749 §6) exactly once, on a connection of its own, without a scope parameter. The
// caller has written its intent before and holds the grant's one flight. A context that ends after sending leaves the
// token in doubt, so the caller's is to be a detached one.
//
// Nothing is fetched between the provider's answer and the return, since rotated tokens that nobody has stored are lost
// with the process. An id_token signed with a key that is not in memory comes back Unverified and Pending: see Settle.
func (p *Provider) Refresh(ctx context.Context, r RefreshRequest) Answer {
	ctx, cancel := p.timeout(ctx)
	defer cancel()
	d, err := p.discovered.get(ctx)
	if err != nil {
		return unsent(err)
	}
	p.warmKeys(ctx)
	var n note
	_, _ = rp.RefreshTokens[*oidc.IDTokenClaims](noting(ctx, &n), d.asking(nil, p.spend), r.Token.Reveal(), "", "")
	a, tokens, idToken := p.read200(&n)
	if a.Outcome != Good || idToken == "" { // OpenID Connect Core §12.2: it need not hold an id_token
		return a
	}
	a = p.withClaims(d, p.knownKeys, a, idToken, expected{access: tokens.Access, subject: r.Subject, nonce: r.Nonce})
	if a.Pending {
		a.idToken = func() string { return idToken }
	}
	return a
}

// Settle finishes an answer of Refresh that is Pending: it fetches the provider's key set, within its 30 s brake, and
// judges the id_token. The caller has committed the tokens before and uses them only after. The result is Good,
// Quarantined or Unverified, and no longer Pending; any other answer comes back as it is.
func (p *Provider) Settle(ctx context.Context, r RefreshRequest, a Answer) Answer {
	if !a.Pending {
		return a
	}
	ctx, cancel := p.timeout(ctx)
	defer cancel()
	idToken := a.idToken()
	a.Pending, a.idToken = false, nil
	d, err := p.discovered.get(ctx)
	if err != nil {
		return a
	}
	a.Outcome, a.Reason, a.Err = Good, "", nil
	a = p.withClaims(d, p.askedKeys(ctx), a, idToken, expected{access: a.Tokens.Access, subject: r.Subject, nonce: r.Nonce})
	a.Pending = false
	return a
}

// unsent is the answer when discovery is in trouble: whatever the provider said to that, no token was sent.
func unsent(err error) Answer {
	a := Answer{Outcome: Unreachable, Reason: oauth.UpstreamUnreachable, Err: err}
	var f *Failure
	if errors.As(err, &f) {
		a.Reason, a.RetryAfter = f.Reason, f.RetryAfter
	}
	return a
}

// read200 judges the note and reads the tokens of a 200.
func (p *Provider) read200(n *note) (a Answer, t Tokens, idToken string) {
	now := p.now()
	a, ok := judge(n, now)
	if !ok {
		return a, Tokens{}, ""
	}
	t, idToken, ok = readTokens(n.body, now)
	if !ok {
		return Answer{Outcome: InDoubt, Reason: oauth.UpstreamBadAnswer,
			Err: failure(oauth.UpstreamBadAnswer, "a 200 without a readable access_token")}, Tokens{}, ""
	}
	return Answer{Outcome: Good, Tokens: t}, t, idToken
}

// withClaims adds the id_token's verdict to an answer with tokens.
func (p *Provider) withClaims(d *discovery, keys keySource, a Answer, idToken string, want expected) Answer {
	claims, err := p.verifyIDToken(d, keys, idToken, want)
	switch {
	case errors.Is(err, errOtherPerson):
		a.Outcome, a.Reason, a.Err = Quarantined, oauth.SubjectChanged, err
	case err != nil:
		a = a.unverified(err)
		a.Pending = errors.Is(err, errUnknownKey) && !want.login
	default:
		a.Claims = claims
	}
	return a
}

func (a Answer) unverified(err error) Answer {
	a.Outcome, a.Reason, a.Err = Unverified, oauth.IDTokenInvalid, err
	return a
}
