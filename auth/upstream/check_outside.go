package upstream

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// announced is what only Check reads of the metadata (RFC 8414 §2).
type announced struct {
	Issuer     string   `json:"issuer"`
	Challenges []string `json:"code_challenge_methods_supported"`
	Scopes     []string `json:"scopes_supported"`
	Grants     []string `json:"grant_types_supported"`
	Responses  []string `json:"response_types_supported"`
}

// metadata fetches them once by itself, for the certificate, the Date and the issuer that the document names, then as
// every login does. false = nothing else can be looked at.
func (c *check) metadata(ctx context.Context) bool {
	a := c.fetchMetadata(ctx)
	d, err := c.p.discovered.get(ctx)
	if err != nil {
		if a.Issuer != "" && a.Issuer != c.p.config.Issuer {
			c.bad("issuer", fmt.Sprintf("provider.issuer is %q, the provider calls itself %.200q", c.p.config.Issuer, a.Issuer),
				"write provider.issuer as the provider does, byte for byte; or Keycloak: start it with --hostname and the URL that browsers use")
			return false
		}
		c.bad("discovery", err.Error(), "from this machine: curl -v "+c.p.config.Issuer+"/.well-known/openid-configuration; "+
			"then mend name, route, proxy, certificate or provider.issuer")
		return false
	}
	c.d = d
	c.good("discovery", "%s answers as the issuer that it is", c.p.Host())
	c.announcement(a)
	return true
}

// fetchMetadata leaves trouble to discovery itself, which names it.
func (c *check) fetchMetadata(ctx context.Context) (a announced) {
	ctx, cancel := c.p.timeout(ctx)
	defer cancel()
	var n note
	req, err := http.NewRequestWithContext(noting(ctx, &n), http.MethodGet,
		strings.TrimSuffix(c.p.config.Issuer, "/")+"/.well-known/openid-configuration", nil)
	if err != nil {
		return a
	}
	sent := c.p.now()
	resp, err := c.p.read.Do(req)
	if err != nil {
		return a
	}
	resp.Body.Close()
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.sawClock(at, sent, c.p.now())
	}
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		c.certificate(resp.TLS.PeerCertificates[0])
	} else {
		c.good("tls", "none: the provider is on this machine")
	}
	_ = json.Unmarshal(n.body, &a) // discovery reads it again and complains
	return a
}

// certificateSoon is when an operator wants to know.
const certificateSoon = 14 * 24 * time.Hour

// certificate asks our own clock: a provider whose certificate runs out on Sunday is to be known on Friday.
func (c *check) certificate(cert *x509.Certificate) {
	left := cert.NotAfter.Sub(c.p.now())
	switch {
	case left <= 0:
		c.bad("tls", "the provider's certificate has expired by our clock", "renew it, or set this machine's clock")
	case left < certificateSoon:
		c.warn("tls", "the provider's certificate expires in "+span(left), "have it renewed: without it nobody signs in and no token is refreshed")
	default:
		c.good("tls", "the provider's certificate is good until %s", cert.NotAfter.UTC().Format(time.DateOnly))
	}
}

// announcement judges what the metadata promise. An absent list promises nothing and forbids nothing.
func (c *check) announcement(a announced) {
	c.listed("pkce", a.Challenges, "S256", "code_challenge_methods_supported", "switch PKCE with S256 on at the provider")
	c.listed("code flow", a.Responses, "code", "response_types_supported", "switch the authorization code flow on at the provider")
	c.listed("refresh grant", a.Grants, "refresh_token", "grant_types_supported", "switch refresh tokens on at the provider")
	for _, s := range c.p.config.Scopes {
		if len(a.Scopes) > 0 && !slices.Contains(a.Scopes, s) {
			c.warn("scopes", s+" is not among the provider's scopes_supported", "make it there, or take it out of provider.scopes")
		}
	}
	if len(c.d.AuthMethods) > 0 && !slices.Contains(c.d.AuthMethods, "client_secret_basic") && !slices.Contains(c.d.AuthMethods, "client_secret_post") {
		c.bad("client authentication", "the provider takes neither client_secret_basic nor client_secret_post", "switch one of them on")
	}
	if c.d.IssPromised {
		c.good("iss parameter", "promised and checked (RFC 9207)")
	} else {
		c.good("iss parameter", "not promised; with one provider nothing can be mixed up")
	}
	if c.d.Revocation == "" {
		c.warn("revocation", "no revocation_endpoint: tokens of ended connections live on at the provider until they run out",
			"switch it on (RFC 7009), or keep the provider's session limits short")
	} else {
		c.good("revocation", "tokens of ended connections are given back")
	}
	if c.d.UserinfoURL == "" {
		c.warn("userinfo", "no userinfo_endpoint: each recheck spends a refresh", "switch it on (OpenID Connect Core, section 5.3)")
	}
	if !slices.Contains(c.p.config.Scopes, "offline_access") {
		c.warn("offline_access", "not asked for: connections end with the browser's session at the provider",
			`add "offline_access" to provider.scopes`)
	}
}

// listed holds one promise of the metadata against what we need. Of PKCE alone silence is a sign: a provider that does
// not know it ignores it (RFC 9700 §2.1.1).
func (c *check) listed(name string, list []string, value, member, fix string) {
	if len(list) > 0 && !slices.Contains(list, value) {
		c.bad(name, value+" is not in the provider's "+member, fix)
		return
	}
	if len(list) == 0 && name == "pkce" {
		c.warn(name, "the provider does not say that it knows PKCE", fix)
		return
	}
	c.good(name, "%s is offered", value)
}

// keySet: without a key that we can use every login fails as id_token_invalid.
func (c *check) keySet(ctx context.Context) {
	set, err := c.p.keys.get(ctx)
	switch {
	case err != nil:
		c.bad("key set", err.Error(), "from this machine: curl -v "+c.d.KeySet)
	case len(set) == 0:
		c.bad("key set", "no public signing key that we take (RSA from 2048 bits, EC, Ed25519)", realmMenu("Keys > Add providers > rsa-generated"))
	case len(c.d.algorithms()) == 0:
		c.bad("key set", "the provider signs id_tokens with none of RS, PS, ES 256 to 512 or EdDSA", c.clientMenu("Advanced > "+fineGrain+" > ID token signature algorithm: RS256"))
	default:
		c.good("key set", "%d signing keys", len(set))
	}
}

// credentials refreshes with a token that never was: who is told so was let in (RFC 6749 §5.2).
func (c *check) credentials(ctx context.Context) {
	const name = "client credentials"
	n := c.post(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"hostedmcp-check-" + rand.Text()}}, c.p.config.ClientID, c.p.secret)
	code := errorOf(n.body).Code
	// Keycloak says unauthorized_client with 401 for a wrong secret and invalid_client for a client that is unknown or
	// disabled (measured on 26.7); RFC 6749 §5.2 means a grant that the client may not use by the former.
	fixSecret := "compare provider.client_id and client_secret_file with " + c.clientMenu("Credentials > Client Secret")
	switch {
	case n.status == 0 || n.status == http.StatusTooManyRequests || n.status >= 500:
		c.warn(name, n.fault("token endpoint", c.p.now()).Error(), "again when the provider is well")
	case (n.status == 400 || n.status == 401) && code == "invalid_grant":
		c.good(name, "the provider takes our client id and secret")
	case code == "invalid_client":
		c.bad(name, "the provider does not know our client, or it is disabled, or the secret is wrong", fixSecret)
	case code == "unauthorized_client" && n.status == 401:
		c.bad(name, "the provider refuses our secret", fixSecret+"; is "+c.clientMenu("Credentials > Client Authenticator")+" Client Id and Secret?")
	case code == "unauthorized_client", code == "unsupported_grant_type":
		c.bad(name, "our client may not refresh tokens", c.clientMenu("Advanced > "+compatModes+" > Use refresh tokens: on"))
	case code == "access_denied":
		c.bad(name, "the provider refuses everybody: is the realm disabled?", realmMenu("Enabled (the switch at the top): on"))
	default:
		c.bad(name, fmt.Sprintf("the token endpoint answered %d in words that no provider should", n.status), "is provider.issuer the right one?")
	}
}

// post sends one form to the token endpoint as a client.
func (c *check) post(ctx context.Context, form url.Values, id string, secret oauth.Secret) *note {
	return c.postTo(ctx, c.d.Token, form, id, secret)
}

// postTo notes whatever comes and judges nothing: each caller reads its own meaning out of a status.
func (c *check) postTo(ctx context.Context, address string, form url.Values, id string, secret oauth.Secret) *note {
	ctx, cancel := c.p.timeout(ctx)
	defer cancel()
	n := new(note)
	req, err := postAs(noting(ctx, n), address, form, c.d.style, id, secret)
	if err != nil {
		return n
	}
	if resp, err := c.p.spend.Do(req); err == nil {
		resp.Body.Close()
	}
	return n
}

// The clocks may differ by the leeway of id_tokens; half of it is a sign.
func (c *check) clock() {
	const name, fix = "clock skew", "synchronise both clocks: timedatectl set-ntp true here, and the same on the provider's machine"
	skew := span(c.skew.Abs())
	switch {
	case !c.skewKnown:
		c.warn(name, "the provider did not tell its time", "a sign-in during the check shows it, or admin_client_id does")
	case c.skew.Abs() > leeway:
		c.bad(name, "the provider's clock and ours differ by "+skew+": its id_tokens are refused above "+span(leeway), fix)
	case c.skew.Abs() > leeway/2:
		c.warn(name, "the provider's clock and ours differ by "+skew, fix)
	default:
		c.good(name, "the provider's clock and ours agree within %s", span(leeway/2))
	}
}

// sawClock takes the provider's time of an answer that came between two of ours. A second of it is rounding.
func (c *check) sawClock(theirs, sent, came time.Time) {
	c.skewKnown = true
	switch {
	case theirs.Before(sent.Add(-time.Second)):
		c.skew = theirs.Sub(sent)
	case theirs.After(came.Add(time.Second)):
		c.skew = theirs.Sub(came)
	default:
		c.skew = 0
	}
}

// sawToken reads the iat of a JWT that was issued between two of our times. Its signature does not matter here.
func (c *check) sawToken(token oauth.Secret, sent, came time.Time) {
	if iat, ok := issuedAt(token); ok {
		c.sawClock(iat, sent, came)
	}
}
