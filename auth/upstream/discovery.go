package upstream

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	"golang.org/x/oauth2"

	"hostedmcp/auth/oauth"
)

// discoveryFresh is how old the metadata may grow before they are fetched again in the background.
const discoveryFresh = 24 * time.Hour

// metadata is what we read of OpenID Connect Discovery 1.0 §3 and RFC 8414 §2 beside what the library reads.
type metadata struct {
	Issuer      string   `json:"issuer"`
	Authorize   string   `json:"authorization_endpoint"`
	Token       string   `json:"token_endpoint"`
	KeySet      string   `json:"jwks_uri"`
	UserinfoURL string   `json:"userinfo_endpoint"`
	Revocation  string   `json:"revocation_endpoint"`
	IDTokenAlgs []string `json:"id_token_signing_alg_values_supported"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	IssPromised bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 §3
}

// discovery is one good copy of the provider's metadata, with the library's relying party made from it.
type discovery struct {
	metadata
	party rp.RelyingParty
	style oauth2.AuthStyle
}

// discover fetches the metadata through the library and reads them a second time from the note, since the library
// drops members that we need.
func (p *Provider) discover(ctx context.Context) (*discovery, error) {
	var n note
	party, err := rp.NewRelyingPartyOIDC(noting(ctx, &n), p.config.Issuer, p.config.ClientID, p.secret.Reveal(),
		p.redirectURI, p.config.Scopes, rp.WithHTTPClient(p.read))
	if fault := n.fault("discovery", p.now()); fault != nil {
		return nil, fault
	}
	var m metadata
	if json.Unmarshal(n.body, &m) != nil {
		return nil, failure(oauth.UpstreamBadAnswer, "discovery: not the JSON of OpenID Connect Discovery")
	}
	// Byte for byte: an issuer that only looks like ours is another one (OpenID Connect Discovery §4.3).
	if m.Issuer != p.config.Issuer {
		return nil, failure(oauth.UpstreamConfig, "discovery: the provider calls itself another issuer than provider.issuer")
	}
	if err != nil {
		return nil, failure(oauth.UpstreamBadAnswer, "discovery: not the JSON of OpenID Connect Discovery")
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return &discovery{metadata: m, party: party, style: m.authStyle()}, nil
}

// check refuses metadata that would send a secret in the clear. Only the first three endpoints must be there.
func (m metadata) check() error {
	for _, e := range []struct {
		name, address string
		needed        bool
	}{
		{"authorization_endpoint", m.Authorize, true}, {"token_endpoint", m.Token, true}, {"jwks_uri", m.KeySet, true},
		{"userinfo_endpoint", m.UserinfoURL, false}, {"revocation_endpoint", m.Revocation, false},
	} {
		if e.address == "" && !e.needed {
			continue
		}
		u, err := url.Parse(e.address)
		if err != nil || u.Host == "" || !secure(u) {
			return failure(oauth.UpstreamConfig, "discovery: "+e.name+" is not an https address")
		}
	}
	return nil
}

// authStyle picks how we authenticate: always one way, said explicitly, since the library's guess sends a refused
// request twice. client_secret_basic is what every provider must know (RFC 6749 §2.3.1) and the default of an absent list.
func (m metadata) authStyle() oauth2.AuthStyle {
	if !slices.Contains(m.AuthMethods, "client_secret_basic") && slices.Contains(m.AuthMethods, "client_secret_post") {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

// party is the library's relying party with three answers of our own. Safe for concurrent use: each call gets its own.
type party struct {
	rp.RelyingParty
	config oauth2.Config
	http   *http.Client
}

// OAuthConfig implements rp.RelyingParty: our auth style, and only the scopes that this call is to send.
func (p party) OAuthConfig() *oauth2.Config { return &p.config }

// HttpClient implements rp.RelyingParty.
func (p party) HttpClient() *http.Client { return p.http }

// IsOAuth2Only implements rp.RelyingParty: true makes the library hand over tokens without judging an id_token, so that
// a rotated refresh token is never thrown away with it.
func (p party) IsOAuth2Only() bool { return true }

// asking returns the library's relying party that names scopes (nil = sends no scope parameter) over client.
func (d *discovery) asking(scopes oauth.Scope, client *http.Client) party {
	old := d.party.OAuthConfig()
	endpoint := old.Endpoint
	endpoint.AuthStyle = d.style
	return party{d.party, oauth2.Config{ClientID: old.ClientID, ClientSecret: old.ClientSecret, RedirectURL: old.RedirectURL,
		Endpoint: endpoint, Scopes: scopes}, client}
}
