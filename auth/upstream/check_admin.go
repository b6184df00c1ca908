package upstream

// Keycloak's administration (its Admin REST API, 26), read with a service account of its own: what no protocol tells.

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// maxAdmin is the longest representation read, in bytes. A realm with many texts is longer than any token answer.
const maxAdmin = 1 << 20

// The places of Keycloak 26's console, in its own words.
const (
	redirectMenu = "Settings > Access settings > Valid redirect URIs"
	flowMenu     = "Settings > Capability config"
	pkceMenu     = flowMenu + " > Require PKCE: on, PKCE Method: S256"
	exchangeMenu = flowMenu + " > Standard Token Exchange: on"
	scopesMenu   = "Client scopes > Add client scope"
	advanced     = "Advanced > Advanced settings"
	compatModes  = "OpenID Connect Compatibility Modes"
	fineGrain    = "Fine grain OpenID Connect configuration"
	offlineMenu  = "Sessions > Offline session settings"
	ssoMenu      = "Sessions > SSO Session Settings"
)

// administration reads realm and client, if it may.
func (c *check) administration(ctx context.Context) {
	const name = "provider settings"
	base, realm, isKeycloak := c.p.keycloak()
	switch {
	case c.p.config.AdminClientID == "" && isKeycloak:
		c.warn(name, "session limits, rotation mode and back-channel logout are not read",
			"Keycloak: make a client with "+flowMenu+" > Service account roles, give it the roles view-realm and view-clients of realm-management "+
				"(its tab Service account roles > Assign role), and write provider.admin_client_id and admin_client_secret_file")
		return
	case c.p.config.AdminClientID == "":
		c.warn(name, "session limits and rotation mode cannot be read from here",
			"look them up at the provider: a refresh token must survive a pause of "+span(c.o.Weekly))
		return
	case !isKeycloak:
		c.warn(name, "provider.issuer is not of the form .../realms/NAME: only Keycloak's administration can be read", "remove provider.admin_client_id")
		return
	}
	token := c.adminToken(ctx)
	if token == "" {
		return
	}
	defer c.giveBackAccess(ctx, token)
	// Both are read even if one is refused, so that all missing roles are named at once.
	r, ok := c.readRealm(ctx, base+"/admin/realms/"+realm, token)
	k, known := c.readClient(ctx, base+"/admin/realms/"+realm+"/clients", token)
	if ok {
		c.realm(r)
	}
	if known {
		c.client(k)
	}
	if ok && known {
		c.settings = true
		c.sessions(r, k)
	}
}

// keycloak splits an issuer of Keycloak's: base (without a slash at its end) and realm as it stands in the URL.
func (p *Provider) keycloak() (base, realm string, ok bool) {
	base, realm, ok = strings.Cut(p.config.Issuer, "/realms/")
	return base, realm, ok && realm != "" && !strings.Contains(realm, "/")
}

// adminToken signs the service account in (RFC 6749 §4.4). "" = it did not come to that, and a finding says why.
func (c *check) adminToken(ctx context.Context) oauth.Secret {
	const name = "admin client"
	sent := c.p.now()
	n := c.post(ctx, url.Values{"grant_type": {"client_credentials"}}, c.p.config.AdminClientID, c.o.AdminSecret)
	came := c.p.now()
	id := c.p.config.AdminClientID
	switch code := errorOf(n.body).Code; {
	case n.status == http.StatusOK:
		t, _, ok := readTokens(n.body, came)
		if !ok { // 200 and unreadable: something in between answers
			c.bad(name, "the provider's answer holds no access token", "look into the provider's log")
		}
		c.sawToken(t.Access, sent, came)
		return t.Access
	case n.status == http.StatusUnauthorized && code == "unauthorized_client":
		c.bad(name, "the provider refuses admin_client_id: the secret is wrong, or it has no service account",
			"compare admin_client_secret_file with Keycloak: Clients > "+id+" > Credentials > Client Secret; "+
				"Clients > "+id+" > "+flowMenu+" > Service account roles: on")
	case n.status == http.StatusUnauthorized || n.status == http.StatusBadRequest:
		c.bad(name, "the provider does not know admin_client_id, or it is disabled", "compare provider.admin_client_id with Keycloak: Clients")
	default:
		c.warn(name, n.fault("token endpoint", came).Error(), "again when the provider is well")
	}
	return ""
}

// giveBackAccess ends the service account's token early. Nothing depends on it: it lives for minutes.
func (c *check) giveBackAccess(ctx context.Context, token oauth.Secret) {
	if c.d.Revocation != "" {
		c.postTo(ctx, c.d.Revocation, url.Values{"token": {token.Reveal()}, "token_type_hint": {"access_token"}},
			c.p.config.AdminClientID, c.o.AdminSecret)
	}
}

// read fetches one representation. The client's holds its secret: it goes into a struct that leaves it out, and nowhere
// else.
func (c *check) read(ctx context.Context, name, address, role string, token oauth.Secret, into any) bool {
	ctx, cancel := c.p.timeout(ctx)
	defer cancel()
	n := note{most: maxAdmin}
	req, err := http.NewRequestWithContext(noting(ctx, &n), http.MethodGet, address, nil)
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	req.Header.Set("Accept", "application/json")
	if resp, err := c.p.read.Do(req); err == nil {
		resp.Body.Close()
	}
	switch fault := n.fault("administration", c.p.now()); {
	case n.status == http.StatusForbidden:
		c.bad(name, "admin_client_id may not read it", c.roleFix(role))
	case n.status == http.StatusNotFound:
		c.warn(name, "the provider's administration is not at this address", "let /admin/realms/ of the provider be reached from this machine")
	case fault != nil:
		c.warn(name, fault.Error(), "again when the provider is well")
	case json.Unmarshal(n.body, into) != nil:
		c.warn(name, "the provider's answer is not the JSON of Keycloak 26", "tell us the version")
	default:
		return true
	}
	return false
}

// roleFix names one role of realm-management; more than the two that are read is not needed.
func (c *check) roleFix(role string) string {
	return "Keycloak: Clients > " + c.p.config.AdminClientID + " > Service account roles > Assign role > realm-management " + role
}

// realmSettings is what we read of RealmRepresentation. Times are seconds.
type realmSettings struct {
	Enabled           bool   `json:"enabled"`
	Revoke            bool   `json:"revokeRefreshToken"`
	MaxReuse          int    `json:"refreshTokenMaxReuse"`
	AccessLife        *int64 `json:"accessTokenLifespan"` // nil = left out, since we may not see it
	SSOIdle           int64  `json:"ssoSessionIdleTimeout"`
	SSOMax            int64  `json:"ssoSessionMaxLifespan"`
	ClientIdle        int64  `json:"clientSessionIdleTimeout"`
	ClientMax         int64  `json:"clientSessionMaxLifespan"`
	OfflineIdle       int64  `json:"offlineSessionIdleTimeout"`
	OfflineMaxLimited bool   `json:"offlineSessionMaxLifespanEnabled"`
	OfflineMax        int64  `json:"offlineSessionMaxLifespan"`
	ClientOfflineIdle int64  `json:"clientOfflineSessionIdleTimeout"`
	ClientOfflineMax  int64  `json:"clientOfflineSessionMaxLifespan"`
}

func (c *check) readRealm(ctx context.Context, address string, token oauth.Secret) (r realmSettings, ok bool) {
	if !c.read(ctx, "realm settings", address, "view-realm", token, &r) {
		return r, false
	}
	if r.AccessLife == nil { // Keycloak answers 200 with the realm's name alone
		c.bad("realm settings", "admin_client_id may not read them", c.roleFix("view-realm"))
		return r, false
	}
	return r, true
}

// clientSettings is what we read of ClientRepresentation. An absent attribute is Keycloak's default.
type clientSettings struct {
	ClientID       string            `json:"clientId"`
	Enabled        bool              `json:"enabled"`
	Protocol       string            `json:"protocol"`
	Public         bool              `json:"publicClient"`
	Authenticator  string            `json:"clientAuthenticatorType"`
	RedirectURIs   []string          `json:"redirectUris"`
	Standard       bool              `json:"standardFlowEnabled"`
	Implicit       bool              `json:"implicitFlowEnabled"`
	Direct         bool              `json:"directAccessGrantsEnabled"`
	Consent        bool              `json:"consentRequired"`
	FullScope      bool              `json:"fullScopeAllowed"`
	Frontchannel   bool              `json:"frontchannelLogout"`
	DefaultScopes  []string          `json:"defaultClientScopes"`
	OptionalScopes []string          `json:"optionalClientScopes"`
	Attributes     map[string]string `json:"attributes"`
	Mappers        []protocolMapper  `json:"protocolMappers"`
}

// protocolMapper says which claim goes into which token. Mappers of client scopes are not seen here.
type protocolMapper struct {
	Kind   string            `json:"protocolMapper"`
	Config map[string]string `json:"config"`
}

func (c *check) readClient(ctx context.Context, address string, token oauth.Secret) (clientSettings, bool) {
	const name = "client settings"
	var list []clientSettings
	// With query-clients alone Keycloak answers an empty list.
	if !c.read(ctx, name, address+"?clientId="+url.QueryEscape(c.p.config.ClientID), "view-clients", token, &list) {
		return clientSettings{}, false
	}
	for _, k := range list {
		if k.ClientID == c.p.config.ClientID {
			return k, true
		}
	}
	c.bad(name, fmt.Sprintf("no client %q is to be seen in the realm", c.p.config.ClientID),
		c.roleFix("view-clients")+"; or Keycloak: Clients > Import client, with what `hostedmcp print keycloak-client` prints")
	return clientSettings{}, false
}

// seconds reads a time of an attribute; 0 = not set.
func (k clientSettings) seconds(attribute string) time.Duration {
	d, _ := time.ParseDuration(k.Attributes[attribute] + "s")
	return max(d, 0)
}

// on reads a switch among the attributes, which are all strings.
func (k clientSettings) on(attribute string) bool { return k.Attributes[attribute] == "true" }
