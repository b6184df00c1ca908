package upstream

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// realm judges what holds for all clients of the realm.
func (c *check) realm(r realmSettings) {
	if !r.Enabled {
		c.bad("realm enabled", "the realm is disabled: nobody signs in, no token is refreshed", realmMenu("Enabled (the switch at the top): on"))
	} else {
		c.good("realm enabled", "it is")
	}
	c.rotation(r)
}

// rotation compares Keycloak's mode with ours (protocol.md §8.3). Too lenient an idea of it loses sessions to a retry,
// too strict a one loses them to caution.
func (c *check) rotation(r realmSettings) {
	const name = "rotation mode"
	theirs := RotationNone
	switch {
	case r.Revoke && r.MaxReuse > 0:
		theirs = RotationReuse
	case r.Revoke:
		theirs = RotationStrict
	}
	ours := c.p.config.Rotation
	write := fmt.Sprintf("write provider.rotation = %q", theirs)
	relax := realmMenu("Tokens > Refresh tokens > Revoke Refresh Token: off, or Refresh Token Max Reuse: 1")
	found := fmt.Sprintf("the realm's mode is %q, provider.rotation is %q", theirs, ours)
	// from the most forgiving to the least
	rank := []Rotation{RotationNone, RotationReuse, RotationStrict}
	switch {
	case theirs == RotationStrict && ours == RotationStrict:
		c.warn(name, found+": an answer that is lost on its way costs a login", relax+`, then write provider.rotation to match ("none" or "reuse")`)
	case slices.Index(rank, ours) < slices.Index(rank, theirs):
		c.bad(name, found+": a retry after a lost answer would end the user's session", write+", or "+relax)
	case ours == RotationStrict:
		c.warn(name, found+": connections end that a retry would save", write)
	default:
		c.good(name, "%s", found)
	}
}

// sessions judges how long a connection lives at Keycloak: the client's own limits stand before the realm's, within them.
func (c *check) sessions(r realmSettings, k clientSettings) {
	access := limit{seconds(*r.AccessLife), realmMenu("Tokens > Access tokens > Access Token Lifespan")}
	if own := k.seconds("access.token.lifespan"); own > 0 {
		access = limit{own, c.clientMenu(advanced + " > Access Token Lifespan")}
	}
	c.accessLife(access.life, access.menu)
	// Which limits count hangs on what logins ask for: an offline session knows nothing of the browser's.
	offline := slices.Contains(c.p.config.Scopes, "offline_access")
	idle, longest := c.onlineLimits(r, k)
	kept := time.Duration(0)
	switch {
	case offline:
		idle, longest = c.offlineLimits(r, k)
		kept = c.p.config.KeepaliveOffline.D()
	case c.p.config.KeepaliveOnline:
		kept = idle.life / 2 // §8.1 rule 8
	}
	c.automations(idle, kept)
	const name = "session max"
	switch {
	case longest.life == 0:
		c.good(name, "a connection that is used does not end at the provider")
	case longest.life < c.o.Weekly:
		c.bad(name, "every connection ends "+span(longest.life)+" after its sign-in, used or not", longest.menu+": off, or months")
	default:
		c.warn(name, "every connection ends "+span(longest.life)+" after its sign-in, used or not", longest.menu+": off, or as long as users may stay connected")
	}
}

// offlineLimits are those of offline_access. Keycloak counts a longest life only where the realm switches it on, the
// client's own one too.
func (c *check) offlineLimits(r realmSettings, k clientSettings) (idle, longest limit) {
	idle = shortest(limit{seconds(r.OfflineIdle), realmMenu(offlineMenu + " > Offline Session Idle")},
		c.override(k, "client.offline.session.idle.timeout", "Client Offline Session Idle", r.ClientOfflineIdle, offlineMenu))
	if r.OfflineMaxLimited {
		longest = shortest(limit{seconds(r.OfflineMax), realmMenu(offlineMenu + " > Offline Session Max Limited, Offline Session Max")},
			c.override(k, "client.offline.session.max.lifespan", "Client Offline Session Max", r.ClientOfflineMax, offlineMenu))
	}
	return idle, longest
}

// onlineLimits are those of the browser's session, which other applications end as well.
func (c *check) onlineLimits(r realmSettings, k clientSettings) (idle, longest limit) {
	const clients = "Sessions > Client session settings"
	idle = shortest(limit{seconds(r.SSOIdle), realmMenu(ssoMenu + " > SSO Session Idle")},
		c.override(k, "client.session.idle.timeout", "Client Session Idle", r.ClientIdle, clients))
	longest = shortest(limit{seconds(r.SSOMax), realmMenu(ssoMenu + " > SSO Session Max")},
		c.override(k, "client.session.max.lifespan", "Client Session Max", r.ClientMax, clients))
	return idle, longest
}

// override is the client's own limit, else the realm's for all clients.
func (c *check) override(k clientSettings, attribute, label string, realm int64, menu string) limit {
	if own := k.seconds(attribute); own > 0 {
		return limit{own, c.clientMenu(advanced + " > " + label)}
	}
	return limit{seconds(realm), realmMenu(menu + " > " + label)}
}

// shortest picks the limit that strikes first; 0 is none.
func shortest(a, b limit) limit {
	if b.life > 0 && (a.life == 0 || b.life < a.life) {
		return b
	}
	return a
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// client judges our own client, one row a setting that is right or wrong.
func (c *check) client(k clientSettings) {
	a := k.Attributes
	for _, row := range []struct {
		wrong           bool
		name, text, fix string
	}{
		{!k.Enabled, "client enabled", "our client is disabled", "the switch at the top right of " + c.clientMenu("Settings") + ": on"},
		{cmp.Or(k.Protocol, "openid-connect") != "openid-connect", "client protocol", "it is not OpenID Connect", "make a new client of that type"},
		{k.Public, "client authentication", "our client is public: it has no secret", c.clientMenu(flowMenu + " > Client authentication: on")},
		{!k.Public && cmp.Or(k.Authenticator, "client-secret") != "client-secret", "client authentication", "our client is to authenticate by something else than its secret",
			c.clientMenu("Credentials > Client Authenticator: Client Id and Secret")},
		{!k.Standard, "standard flow", "it is off: nobody can sign in", c.clientMenu(flowMenu + " > Standard flow: on")},
		{a["pkce.code.challenge.method"] == "plain", "pkce", "the client wants PKCE plain, we send S256", c.clientMenu(pkceMenu)},
		{a["use.refresh.tokens"] == "false", "use refresh tokens", "no refresh tokens are issued", c.clientMenu("Advanced > " + compatModes + " > Use refresh tokens: on")},
		{k.on("dpop.bound.access.tokens"), "dpop", "tokens are to be bound by DPoP, which hostedmcp does not do", c.clientMenu(flowMenu + " > Require DPoP bound tokens: off")},
		{k.on("tls.client.certificate.bound.access.tokens"), "mutual tls", "tokens are to be bound to a certificate, which hostedmcp has not",
			c.clientMenu(advanced + " > OAuth 2.0 Mutual TLS Certificate Bound Access Tokens Enabled: off")},
		{k.on("require.pushed.authorization.requests"), "pushed requests", "they are required, and hostedmcp sends none", c.clientMenu(advanced + " > Pushed authorization request required: off")},
		{strings.HasPrefix(a["id.token.signed.response.alg"], "HS"), "id_token", "it is signed with the client's secret",
			c.clientMenu("Advanced > " + fineGrain + " > ID token signature algorithm: RS256")},
		{a["id.token.encrypted.response.alg"] != "", "id_token", "it is encrypted, and hostedmcp has no key for it",
			c.clientMenu("Advanced > " + fineGrain + " > ID token encryption key management algorithm: none")},
	} {
		if row.wrong {
			c.bad(row.name, row.text, row.fix)
		}
	}
	c.redirects(k)
	c.scopes(k)
	c.clientHabits(k)
	c.mappers(k)
	if len(c.o.Audiences) > 0 && !k.on("standard.token.exchange.enabled") {
		c.bad("token exchange", "it is off, and connectors need it", c.clientMenu(exchangeMenu))
	}
}

// clientHabits are settings that work and yet cost something.
func (c *check) clientHabits(k clientSettings) {
	if k.Attributes["backchannel.logout.url"] == "" {
		c.good("back-channel logout", "no URL is set")
	} else {
		c.warn("back-channel logout", "a URL is set; hostedmcp takes no logout tokens, and offline connections outlive a logout anyway",
			c.clientMenu("Settings > Logout settings > Backchannel logout URL: empty"))
	}
	for _, row := range []struct {
		odd             bool
		name, text, fix string
	}{
		{k.Attributes["pkce.code.challenge.method"] == "", "pkce required", "Keycloak takes a login of our client without PKCE too", c.clientMenu(pkceMenu)},
		{k.on("backchannel.logout.revoke.offline.tokens"), "back-channel logout", "a logout in a browser is to revoke offline sessions too",
			c.clientMenu("Settings > Logout settings > Backchannel logout revoke offline sessions: off")},
		{k.Frontchannel && k.Attributes["frontchannel.logout.url"] != "", "front-channel logout", "a URL is set; hostedmcp serves none",
			c.clientMenu("Settings > Logout settings > Front channel logout: off")},
		{k.Consent, "consent required", "users are asked twice, by hostedmcp and by Keycloak; withdrawing it at Keycloak ends all their connections",
			c.clientMenu("Settings > Login settings > Consent required: off")},
		{k.FullScope, "full scope", "tokens carry every role of the user, not those that connectors need",
			c.clientMenu("Client scopes > " + k.ClientID + "-dedicated > Scope > Full scope allowed: off")},
		{k.Implicit, "implicit flow", "it is on and not needed (RFC 9700, section 2.1.2)", c.clientMenu(flowMenu + " > Implicit flow: off")},
		{k.Direct, "direct access grants", "they are on and not needed (RFC 9700, section 2.4)", c.clientMenu(flowMenu + " > Direct access grants: off")},
	} {
		if row.odd {
			c.warn(row.name, row.text, row.fix)
		}
	}
}

// redirects: ours exactly, and no pattern beside it (RFC 9700 §2.1).
func (c *check) redirects(k clientSettings) {
	const name = "redirect uris"
	ours := c.p.redirectURI
	fix := c.clientMenu(redirectMenu) + ": " + ours + " alone"
	var beside []string
	found := false
	for _, uri := range k.RedirectURIs {
		switch {
		case strings.Contains(uri, "*"):
			c.bad(name, "a pattern is registered: "+strings.ToValidUTF8(uri, "?"), fix)
			return
		case uri == ours || samePortless(uri, ours):
			found = true
		default:
			beside = append(beside, uri)
		}
	}
	switch {
	case !found:
		c.bad(name, ours+" is not among them", fix)
	case len(beside) > 0:
		c.warn(name, fmt.Sprintf("%d more than ours are registered", len(beside)), fix)
	default:
		c.good(name, "%s and no other", ours)
	}
}

// samePortless: Keycloak takes a loopback URI without a port for any port (RFC 8252 §7.3), one with a port for that.
func samePortless(registered, ours string) bool {
	r, err := url.Parse(registered)
	return err == nil && r.Port() == "" && oauth.MatchRedirect(registered, ours)
}

// scopes: Keycloak refuses a login that asks for one that the client has not, openid apart.
func (c *check) scopes(k clientSettings) {
	for _, s := range c.p.config.Scopes {
		optional, standard := slices.Contains(k.OptionalScopes, s), slices.Contains(k.DefaultScopes, s)
		switch {
		case s == "openid":
		case !optional && !standard && s == "offline_access":
			c.bad(s, "our client may not ask for it", c.clientMenu(scopesMenu)+" > offline_access: Optional")
		case !optional && !standard:
			c.bad("scopes", "our client may not ask for "+s, c.clientMenu(scopesMenu)+" > "+s+": Optional")
		case s == "offline_access" && standard:
			c.warn(s, "it is a default scope: a sign-in to the status page makes an offline session too",
				c.clientMenu("Client scopes > offline_access > Assigned type: Optional"))
		case s == "offline_access":
			c.good(s, "our client may ask for it")
		}
	}
}

// mappers: groups must stand in the id_token, where [access] and policies read them.
func (c *check) mappers(k clientSettings) {
	const name = "groups mapper"
	if !slices.Contains(c.p.config.Claims, "groups") {
		return
	}
	for _, m := range k.Mappers {
		if m.Config["claim.name"] != "groups" {
			continue
		}
		switch {
		case m.Config["id.token.claim"] != "true":
			c.bad(name, "it does not add groups to the id_token", c.groupsFix())
		case m.Config["full.path"] == "true":
			c.good(name, `it sends full paths: a rule names "/sales", not "sales"`)
		default:
			c.good(name, "groups stand in the id_token")
		}
		return
	}
	c.warn(name, "our client has none: unless a client scope has one, no group rule of [access] or of a connector matches anybody", c.groupsFix())
}
