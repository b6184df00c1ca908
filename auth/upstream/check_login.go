package upstream

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// errNoCode is a callback URL without what a login needs.
var errNoCode = errors.New("the callback has no code, or the state of another login")

// signIn takes one login through with the operator's help, looks at what it brought and gives everything back.
func (c *check) signIn(ctx context.Context) {
	const name = "sign-in"
	if c.o.Login == nil {
		c.warn(name, "not tried: whether a refresh token really comes, and for how long, shows only then",
			"run check where it may take somebody through a sign-in")
		return
	}
	r := AuthRequest{State: rand.Text(), Nonce: rand.Text(), Verifier: rand.Text() + rand.Text()}
	code, err := c.login(ctx, r)
	if err != nil {
		c.bad(name, err.Error(), "the steps before this one say what to mend; else look into the provider's log")
		return
	}
	// From here on there may be a session at the provider, whatever else happens: it is ended at the end.
	sent := c.p.now()
	a := c.p.Exchange(ctx, Callback{Code: code, Verifier: r.Verifier, Nonce: r.Nonce})
	defer func() { c.giveBack(ctx, a.Tokens.Refresh) }()
	c.sawToken(a.Tokens.Access, sent, c.p.now())
	if a.Outcome != Good {
		c.bad(name, "the login came to nothing: "+a.Err.Error(), c.exchangeFix(a))
		return
	}
	c.good(name, "the provider signed somebody in, and its id_token holds")
	c.groups(a.Claims)
	c.exchanges(ctx, a.Tokens.Access)
	c.accessLife(lifeOf(a.Tokens.Expires, c.p.now()), c.clientMenu(advanced+" > Access Token Lifespan"))
	if !c.refreshToken(a.Tokens) {
		return
	}
	if newer := c.refreshOnce(ctx, a, r.Nonce); newer != "" {
		a.Tokens.Refresh = newer
	}
	c.userinfo(ctx, a)
}

// login returns the code of a redirect that answers our own request. Nothing of the provider's own words is passed on.
func (c *check) login(ctx context.Context, r AuthRequest) (code string, err error) {
	address, err := c.p.AuthURL(ctx, r)
	if err != nil {
		return "", err
	}
	callback, err := c.o.Login(address)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(strings.TrimSpace(callback))
	if err != nil {
		return "", errNoCode
	}
	q := u.Query()
	if said := q.Get("error"); said != "" {
		if !slices.Contains(knownCodes, said) {
			said = "an error of its own"
		}
		return "", errors.New("the provider refused: " + said)
	}
	if q.Get("code") == "" || q.Get("state") != r.State {
		return "", errNoCode
	}
	return q.Get("code"), c.p.CheckIss(q.Get("iss"), q.Has("iss"))
}

// exchangeFix tells tokens that came without a good id_token from a refusal.
func (c *check) exchangeFix(a Answer) string {
	if a.Outcome == Unverified {
		return "do both clocks agree, and is " + c.clientMenu("Advanced > "+fineGrain+" > ID token signature algorithm") + " RS256 or the like?"
	}
	return "compare client id, secret and redirect URI with the provider's: " + c.clientMenu("Settings")
}

// groups: an [access] rule or a policy over a claim that never comes lets nobody in.
func (c *check) groups(claims *Claims) {
	const name = "groups claim"
	switch {
	case !slices.Contains(c.p.config.Claims, "groups"):
	case len(claims.Groups) == 0:
		c.warn(name, "the id_token names no groups of this user", c.groupsFix())
	default:
		c.good(name, "the id_token names %d groups", len(claims.Groups))
	}
}

func (c *check) groupsFix() string {
	return c.clientMenu("Client scopes > " + c.p.config.ClientID + "-dedicated > Add mapper > By configuration > Group Membership: " +
		"Token Claim Name groups, Add to ID token on")
}

// accessLife: a token that is always within the margin is refreshed at every call.
func (c *check) accessLife(life time.Duration, menu string) {
	const name = "access token lifespan"
	margin := c.p.config.Margin.D()
	switch {
	case life == 0:
		c.warn(name, "the provider does not say how long its access tokens live", "switch expires_in on at the provider (RFC 6749, section 5.1)")
	case life <= margin:
		c.bad(name, span(life)+" is not longer than provider.margin ("+span(margin)+"): every call would refresh", menu+": 5 minutes")
	case life < 2*margin:
		c.warn(name, span(life)+" is hardly longer than provider.margin ("+span(margin)+")", menu+": 5 minutes")
	default:
		c.good(name, "%s", span(life))
	}
}

// exchanges tries what connectors with credential "exchange" will do. It spends nothing; the token that comes is dropped
// and dies within minutes.
func (c *check) exchanges(ctx context.Context, access oauth.Secret) {
	for _, audience := range c.o.Audiences {
		name := "token exchange for " + audience
		_, err := c.p.TokenExchange(ctx, access, audience)
		var f *Failure
		switch {
		case err == nil:
			c.good(name, "the provider gives a token for it")
		case errors.As(err, &f) && f.Reason == oauth.ToolDenied:
			c.warn(name, "denied to the user who signed in: "+err.Error(), "give the user what the provider asks for, if they are to use these tools")
		default:
			c.bad(name, err.Error(), c.clientMenu(exchangeMenu)+"; "+c.clientMenu("Client scopes > "+c.p.config.ClientID+
				"-dedicated > Add mapper > By configuration > Audience: Included Client Audience "+audience))
		}
	}
}

// refreshToken looks at what the login promises for later. false = there is no refresh token.
func (c *check) refreshToken(t Tokens) bool {
	const name = "refresh token issued"
	if t.Refresh == "" {
		c.bad(name, "none came: every connection ends with its first access token", c.clientMenu(scopesMenu)+" > offline_access: Optional; "+
			c.clientMenu("Advanced > "+compatModes+" > Use refresh tokens: on"))
		return false
	}
	c.good(name, "it came")
	if t.Offline {
		c.good("offline", "the connection does not hang on the browser's session at the provider")
	} else {
		c.warn("offline", "the refresh token is one of the browser's session: signing out anywhere ends the connection",
			"ask for offline_access in provider.scopes, and "+c.clientMenu(scopesMenu)+" > offline_access: Optional")
	}
	// A stated life is the provider's own word. None stated says nothing where the settings were read.
	if !c.settings || !t.RefreshExpires.IsZero() {
		menu := realmMenu(offlineMenu + " > Offline Session Idle")
		if !t.Offline {
			menu = realmMenu(ssoMenu + " > SSO Session Idle, or use offline_access")
		}
		c.automations(limit{lifeOf(t.RefreshExpires, c.p.now()), menu}, 0)
	}
	return true
}

// refreshOnce sends the refresh token the one time that it is for, and returns the next one.
func (c *check) refreshOnce(ctx context.Context, a Answer, nonce string) (newer oauth.Secret) {
	const name = "refresh"
	b := c.p.Refresh(ctx, RefreshRequest{Token: a.Tokens.Refresh, Subject: a.Claims.Subject, Nonce: nonce})
	b = c.p.Settle(ctx, RefreshRequest{Token: a.Tokens.Refresh, Subject: a.Claims.Subject, Nonce: nonce}, b)
	if b.Outcome != Good {
		c.bad(name, "the refresh came to nothing: "+b.Err.Error(), "look into the provider's log")
		return b.Tokens.Refresh
	}
	c.good(name, "the refresh token brings new tokens")
	if !c.settings {
		c.rotationSeen(b.Tokens.Refresh != "" && b.Tokens.Refresh != a.Tokens.Refresh)
	}
	return b.Tokens.Refresh
}

// rotationSeen judges what one refresh can show. Whether an old token may come again is not tried: a strict provider
// would end the session, and with it what a user has there.
func (c *check) rotationSeen(changed bool) {
	const name = "rotation mode"
	mode := c.p.config.Rotation
	switch {
	case !changed:
		c.good(name, `refresh tokens stay the same: provider.rotation = "none" is right, %q does no harm`, mode)
	default:
		c.warn(name, `the refresh token changes at each refresh; whether an old one may be used again cannot be tried without harm. provider.rotation is "`+string(mode)+`"`,
			`compare it with `+realmMenu("Tokens > Refresh tokens > Revoke Refresh Token")+
				` (off: "none"; on, with Refresh Token Max Reuse from 1: "reuse"; with 0: "strict"), or set provider.admin_client_id`)
	}
}

// userinfo is what a recheck asks (protocol.md §8.1 rule 7).
func (c *check) userinfo(ctx context.Context, a Answer) {
	body, _, err := c.p.Userinfo(ctx, a.Tokens.Access)
	switch {
	case errors.Is(err, ErrNoUserinfo): // said before
	case err != nil:
		c.warn("userinfo", "it does not answer our token: "+err.Error(), "each recheck will spend a refresh; look into the provider's log")
	case Subject(body) != a.Claims.Subject:
		c.bad("userinfo", "it names another subject than the id_token: every recheck would fail",
			c.clientMenu("Advanced > "+fineGrain)+": no pairwise subject for userinfo alone")
	default:
		c.good("userinfo", "it knows our token")
	}
}

// giveBack ends the provider's session of this check.
func (c *check) giveBack(ctx context.Context, token oauth.Secret) {
	if token == "" || c.d.Revocation == "" {
		return
	}
	if err := c.p.Revoke(ctx, token); err != nil {
		c.warn("tokens given back", "the tokens of this check's own sign-in could not be given back: "+err.Error(),
			"Keycloak: Users > the user > Sessions; and look why /revoke fails")
		return
	}
	c.good("tokens given back", "those of this check's own sign-in")
}

// lifeOf is the time until at, rounded up from the moments that the answer took; 0 = none is stated.
func lifeOf(at, now time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return max(at.Sub(now).Round(time.Second), time.Second)
}

// issuedAt reads iat of a JWT without judging it.
func issuedAt(token oauth.Secret) (time.Time, bool) {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	o, err := oauth.ParseObject(payload, 100)
	if err != nil {
		return time.Time{}, false
	}
	return idClaims{o}.time("iat")
}
