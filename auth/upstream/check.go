package upstream

// The provider's part of `hostedmcp check`: what can be known from outside, what one sign-in shows, and what Keycloak's
// administration says of realm and client. Each thing is a Finding of its own, with the step that mends it.

import (
	"context"
	"fmt"
	"time"

	"hostedmcp/auth/oauth"
)

// What automations need of the provider, unless CheckOptions says otherwise: a job that runs once a day or once a week
// must find its connection alive, with some hours to spare.
const (
	needDaily  = 26 * time.Hour
	needWeekly = 8 * 24 * time.Hour
)

// CheckOptions is what Check may use. The zero value looks from outside only.
type CheckOptions struct {
	Daily  time.Duration // longest pause of a daily automation; 0 = 26 h
	Weekly time.Duration // of a weekly one; 0 = 8 d

	// Audiences are those that connectors with credential "exchange" ask for: each is tried with the sign-in's own token.
	Audiences []string

	// AdminSecret is the content of admin_client_secret_file; "" = realm and client are not read.
	AdminSecret oauth.Secret
	// Login takes somebody through a sign-in at authURL and returns the URL that the provider then called, with code
	// and state. nil = what needs a sign-in is named as not looked at.
	Login func(authURL string) (callback string, err error)
}

// Check looks at the live provider and returns what it found, in the order of a login. It spends no token of a grant:
// the tokens of its own sign-in are given back, no refresh token is sent twice, and nothing is logged. It takes as long
// as the provider, each call within Config.Timeout.
func (p *Provider) Check(ctx context.Context, o CheckOptions) []oauth.Finding {
	if o.Daily == 0 {
		o.Daily = needDaily
	}
	if o.Weekly == 0 {
		o.Weekly = needWeekly
	}
	c := &check{p: p, o: o}
	if !c.metadata(ctx) {
		return c.findings
	}
	// In the order of a login: what fails first explains what fails after it. The administration comes before the
	// sign-in, which then need not guess what was read.
	c.keySet(ctx)
	c.credentials(ctx)
	c.authorization(ctx)
	c.administration(ctx)
	c.signIn(ctx)
	c.clock()
	return c.findings
}

// check is one run: what was found so far, and what a later look needs of an earlier one.
type check struct {
	p        *Provider
	o        CheckOptions
	d        *discovery
	findings []oauth.Finding

	skew      time.Duration // the provider's clock ahead of ours
	skewKnown bool
	settings  bool // realm and client were read
}

// A finding's name is constant, so that a program can look for it; its text holds what was found.
func (c *check) good(name, format string, args ...any) {
	c.findings = append(c.findings, oauth.Good(name, fmt.Sprintf(format, args...)))
}

// warn is for what works and costs something, and for what could not be looked at.
func (c *check) warn(name, text, fix string) {
	c.findings = append(c.findings, oauth.Warn(name, text, fix))
}

// bad is for what keeps people from signing in, or signs them out.
func (c *check) bad(name, text, fix string) {
	c.findings = append(c.findings, oauth.Bad(name, text, fix))
}

// The menus of Keycloak 26's console, in its own words.
func (c *check) clientMenu(path string) string {
	return "Keycloak: Clients > " + c.p.config.ClientID + " > " + path
}

func realmMenu(path string) string { return "Keycloak: Realm settings > " + path }

// limit is one limit on how long the provider's session of a connection lives, with the place where it is set.
type limit struct {
	life time.Duration // 0 = none
	menu string
}

// automations holds the shortest pause that ends a connection against what automations need. kept is how often we use
// the session ourselves; 0 = we do not.
func (c *check) automations(idle limit, kept time.Duration) {
	for _, a := range []struct {
		name string
		need time.Duration
	}{{"daily automation", c.o.Daily}, {"weekly automation", c.o.Weekly}} {
		switch {
		case idle.life == 0:
			c.good(a.name, "the provider states no idle limit")
		case idle.life >= a.need:
			c.good(a.name, "the provider forgets a connection after %s without use; %s is needed", span(idle.life), span(a.need))
		// the keep-alive is jittered by a tenth
		case kept > 0 && idle.life > kept+kept/10:
			c.good(a.name, "the provider forgets a connection after %s without use, but each is used every %s (provider.keepalive_offline)",
				span(idle.life), span(kept))
		default:
			c.bad(a.name, fmt.Sprintf("the provider forgets a connection after %s; a pause of %s is to be survived", span(idle.life), span(a.need)),
				idle.menu+": at least "+span(a.need))
		}
	}
}

// span writes a length of time as the configuration does, in whole seconds.
func span(d time.Duration) string { return oauth.Duration(d.Round(time.Second)).String() }
