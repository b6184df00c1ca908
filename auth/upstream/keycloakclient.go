package upstream

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"hostedmcp/auth/oauth"
)

// KeycloakClientOptions is what a client for import is made of. Only PublicURL is required.
type KeycloakClientOptions struct {
	ClientID    string        // "" = hostedmcp
	PublicURL   string        // ours; the redirect URI is its /callback, exactly
	Scopes      []string      // provider.scopes: those that Keycloak does not give by itself become optional scopes of the client
	Audiences   []string      // client ids that upstream access tokens are to name in aud; the connectors' APIs
	Exchange    bool          // connectors with credential "exchange": standard token exchange (RFC 8693) is on
	OfflineIdle time.Duration // idle limit of offline sessions of this client, within the realm's; 0 = 30 d
	AccessLife  time.Duration // of its access tokens; 0 = 5 min
}

// representation is the part of Keycloak 26's ClientRepresentation that is written, in the order in which it reads.
type representation struct {
	ClientID           string                 `json:"clientId"`
	Name               string                 `json:"name"`
	Description        string                 `json:"description"`
	Protocol           string                 `json:"protocol"`
	Enabled            bool                   `json:"enabled"`
	BaseURL            string                 `json:"baseUrl"`
	RedirectURIs       []string               `json:"redirectUris"`
	WebOrigins         []string               `json:"webOrigins"`
	PublicClient       bool                   `json:"publicClient"`
	Authenticator      string                 `json:"clientAuthenticatorType"`
	StandardFlow       bool                   `json:"standardFlowEnabled"`
	ImplicitFlow       bool                   `json:"implicitFlowEnabled"`
	DirectAccess       bool                   `json:"directAccessGrantsEnabled"`
	ServiceAccounts    bool                   `json:"serviceAccountsEnabled"`
	FrontchannelLogout bool                   `json:"frontchannelLogout"`
	ConsentRequired    bool                   `json:"consentRequired"`
	FullScope          bool                   `json:"fullScopeAllowed"`
	Attributes         map[string]string      `json:"attributes"`
	DefaultScopes      []string               `json:"defaultClientScopes"`
	OptionalScopes     []string               `json:"optionalClientScopes"`
	Mappers            []mapperRepresentation `json:"protocolMappers"`
}

type mapperRepresentation struct {
	Name     string            `json:"name"`
	Protocol string            `json:"protocol"`
	Mapper   string            `json:"protocolMapper"`
	Config   map[string]string `json:"config"`
}

// KeycloakClient returns our client at Keycloak 26 as its console imports it (Clients > Import client), with every
// setting that Check looks at as it should be. It holds no secret: Keycloak makes one at the import.
func KeycloakClient(o KeycloakClientOptions) ([]byte, error) {
	if err := oauth.CheckIssuer(o.PublicURL); err != nil {
		return nil, fmt.Errorf("public_url: %w", err)
	}
	if o.OfflineIdle < 0 || o.AccessLife < 0 {
		return nil, errors.New("keycloak client: a lifetime is negative")
	}
	r := representation{
		ClientID: cmp.Or(o.ClientID, "hostedmcp"), Name: "hostedmcp", Protocol: "openid-connect", Enabled: true,
		Description:   "MCP clients act as the user who signed in through it",
		BaseURL:       o.PublicURL + "/status",
		RedirectURIs:  []string{o.PublicURL + "/callback"},
		WebOrigins:    []string{},
		Authenticator: "client-secret", StandardFlow: true,
		// basic holds sub. offline_access is optional, since a sign-in to the status page does not ask for it.
		DefaultScopes:  defaultScopes,
		OptionalScopes: o.optional(),
		Attributes:     o.attributes(),
		Mappers:        o.mappers(),
	}
	out, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(out, '\n'), nil
}

var defaultScopes = []string{"basic", "profile", "email", "roles"}

// optional scopes are given to a login that asks for them.
func (o KeycloakClientOptions) optional() []string {
	out := []string{"offline_access"}
	for _, s := range o.Scopes {
		if s != "openid" && !slices.Contains(defaultScopes, s) && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// attributes are all strings at Keycloak. The lifetimes are written out for whoever reads them; a shorter idle limit of
// the realm still wins.
func (o KeycloakClientOptions) attributes() map[string]string {
	return map[string]string{
		"pkce.code.challenge.method": "S256",
		"use.refresh.tokens":         "true",
		// Keycloak would post a logout_token here even while offline tokens live on: obeying it kicks the user out.
		"backchannel.logout.url":                   "",
		"backchannel.logout.session.required":      "false",
		"backchannel.logout.revoke.offline.tokens": "false",
		"standard.token.exchange.enabled":          strconv.FormatBool(o.Exchange),
		"access.token.lifespan":                    inSeconds(cmp.Or(o.AccessLife, 5*time.Minute)),
		"client.offline.session.idle.timeout":      inSeconds(cmp.Or(o.OfflineIdle, 30*24*time.Hour)),
	}
}

func inSeconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// mappers: groups for [access] and policies, and the audiences that the connectors' APIs insist on.
func (o KeycloakClientOptions) mappers() []mapperRepresentation {
	out := []mapperRepresentation{{
		Name: "groups", Protocol: "openid-connect", Mapper: "oidc-group-membership-mapper",
		Config: map[string]string{
			"claim.name": "groups", "full.path": "false", "id.token.claim": "true", "access.token.claim": "true",
			"userinfo.token.claim": "true", "introspection.token.claim": "true",
		},
	}}
	// once each: Keycloak refuses a client with two mappers of one name
	for _, a := range slices.Compact(slices.Sorted(slices.Values(o.Audiences))) {
		out = append(out, mapperRepresentation{
			Name: "audience " + a, Protocol: "openid-connect", Mapper: "oidc-audience-mapper",
			Config: map[string]string{
				"included.client.audience": a, "id.token.claim": "false", "access.token.claim": "true",
				"introspection.token.claim": "true",
			},
		})
	}
	return out
}
