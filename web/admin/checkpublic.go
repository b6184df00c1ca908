package admin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"hostedmcp/auth/oauth"
)

// What check finds at the addresses: does the world reach this server under its public URL, and does it get what this
// server says? Between the two stand names, certificates and reverse proxies.

// page is an answer that was read whole.
type page struct {
	status int
	header http.Header
	body   []byte
	tls    *tls.ConnectionState
}

const (
	fetchTime = 10 * time.Second
	maxPageOf = 1 << 20
)

// fetch gets a URL as a client would, but follows no redirect: a server's documents stand where they are said to.
func (k *checker) fetch(ctx context.Context, address string) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return page{}, err
	}
	h := *k.m.HTTP // a copy: the client is the caller's
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := h.Do(req)
	if err != nil {
		return page{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxPageOf))
	return page{res.StatusCode, res.Header, body, res.TLS}, err
}

// public follows the first steps of a client.
func (k *checker) public(ctx context.Context) []oauth.Finding {
	const name = "public url"
	if k.m.PublicURL == "" {
		return nil
	}
	p, err := k.fetch(ctx, k.m.PublicURL+"/.well-known/oauth-authorization-server")
	if err != nil {
		what, fix := whyUnreachable(err)
		// with nobody behind it, that it does not answer says nothing about the way there
		if k.live == nil {
			return []oauth.Finding{oauth.Warn(name, k.m.PublicURL+" "+what, "start hostedmcp and check again")}
		}
		return []oauth.Finding{oauth.Bad(name, k.m.PublicURL+" "+what, fix)}
	}
	// Something answers there. Whether it is we, the next lines say.
	found := []oauth.Finding{oauth.Good(name, k.m.PublicURL+" answers")}
	found = append(found, k.certificate(p)...)
	if k.live == nil && p.status >= 500 {
		return append(found, oauth.Warn("metadata", fmt.Sprintf("status %d: the proxy has nobody behind it", p.status), "start hostedmcp and check again"))
	}
	return append(found, k.metadata(p), k.resource(ctx), k.challenge(ctx), k.ready(ctx))
}

// whyUnreachable says what a person can do about an error of net/http. The text holds the system's words, not the URL
// again.
func whyUnreachable(err error) (what, fix string) {
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &dns):
		return "has no address: " + dns.Err, "add the name to DNS, or to /etc/hosts of this machine"
	case errors.As(err, &authority):
		return "has a certificate that this machine does not trust", "serve the whole chain (fullchain.pem), or add the authority to the " +
			"trust store: clients do not trust it either"
	case errors.As(err, &host):
		return "has a certificate for another name", "get a certificate for the host of public_url"
	case errors.As(err, &invalid):
		return "has a certificate that is not valid now: " + invalid.Error(), "renew the certificate; look at the clock"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "does not speak TLS", "let the reverse proxy, or [tls], serve https there"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refuses connections", "start the reverse proxy, or let listen be the address of public_url; look at the firewall"
	case errors.Is(err, context.DeadlineExceeded):
		return "does not answer within " + fetchTime.String(), "look at firewall and routes: a server may not reach its own public " +
			"address (hairpin NAT); then check from outside as well"
	}
	if u := new(url.Error); errors.As(err, &u) {
		err = u.Err // the URL stands before it already
	}
	return "cannot be reached: " + err.Error(), "look at reverse proxy and firewall"
}

// certTime is how near a certificate's end may be: automatic renewal comes thirty days before.
const certTime = 14 * 24 * time.Hour

// certificate looks at when the certificate ends. That it serves is known: the request succeeded.
func (k *checker) certificate(p page) []oauth.Finding {
	const name = "tls certificate"
	if p.tls == nil || len(p.tls.PeerCertificates) == 0 {
		return nil
	}
	// the leaf: what is renewed every few weeks
	end := p.tls.PeerCertificates[0].NotAfter
	text := "valid until " + end.UTC().Format("2 January 2006")
	if end.Sub(k.m.Now()) < certTime {
		return []oauth.Finding{oauth.Warn(name, text, "renew it: automatic renewal seems to have failed")}
	}
	return []oauth.Finding{oauth.Good(name, text)}
}

// decode reads a document that must be JSON, or says what came in its place.
func decode(name string, p page, into any) (oauth.Finding, bool) {
	const fix = "let the reverse proxy hand every path of public_url to hostedmcp, without a login, a redirect or a page of its own"
	switch {
	case p.status >= 300 && p.status < 400:
		return oauth.Bad(name, fmt.Sprintf("status %d, a redirect to %s", p.status, p.header.Get("Location")), fix), false
	case p.status != http.StatusOK:
		return oauth.Bad(name, fmt.Sprintf("status %d", p.status), fix), false
	case json.Unmarshal(p.body, into) != nil:
		return oauth.Bad(name, "no JSON, but "+p.header.Get("Content-Type"), fix), false
	}
	return oauth.Finding{}, true
}

// metadata compares the authorization server's document (RFC 8414 §3.3) with public_url: an issuer that differs in one
// byte ends every login.
func (k *checker) metadata(p page) oauth.Finding {
	const name = "metadata"
	var doc struct {
		Issuer    string   `json:"issuer"`
		Authorize string   `json:"authorization_endpoint"`
		Token     string   `json:"token_endpoint"`
		JWKS      string   `json:"jwks_uri"`
		Methods   []string `json:"code_challenge_methods_supported"`
	}
	if f, ok := decode(name, p, &doc); !ok {
		return f
	}
	// Byte for byte, as clients compare (RFC 8414 §3.3, RFC 9207 §2.4): a trailing slash is another issuer.
	i := k.m.PublicURL
	if doc.Issuer != i {
		return oauth.Bad(name, "the issuer there is "+doc.Issuer+", not "+i, "another server answers, or one with an older "+
			"configuration: look where the name leads, and restart hostedmcp")
	}
	// A proxy that rewrites host names in bodies changes these, and sends users to a name that nobody serves.
	for _, endpoint := range []string{doc.Authorize, doc.Token, doc.JWKS} {
		if !strings.HasPrefix(endpoint, i+"/") {
			return oauth.Bad(name, endpoint+" is not below "+i, "something between changes the document: let the proxy leave bodies alone")
		}
	}
	// clients refuse to go on without it (RFC 9700 §2.1.1; MCP authorization)
	if !slices.Contains(doc.Methods, "S256") {
		return oauth.Bad(name, "S256 is not offered", "something between changes the document: let the proxy leave bodies alone")
	}
	return oauth.Good(name, "as configured")
}

// resource compares the protected resource's document (RFC 9728 §3.3).
func (k *checker) resource(ctx context.Context) oauth.Finding {
	const name = "resource metadata"
	p, err := k.fetch(ctx, k.m.PublicURL+"/.well-known/oauth-protected-resource/mcp")
	if err != nil {
		what, fix := whyUnreachable(err)
		return oauth.Bad(name, what, fix)
	}
	var doc struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
	}
	if f, ok := decode(name, p, &doc); !ok {
		return f
	}
	if doc.Resource != k.m.PublicURL+"/mcp" || !slices.Equal(doc.Servers, []string{k.m.PublicURL}) {
		return oauth.Bad(name, "it is of "+doc.Resource, "another server answers, or one with an older configuration: look where the name leads")
	}
	return oauth.Good(name, "as configured")
}

// challenge asks for what every client asks first: /mcp without a token must be 401 with the way to the document
// (RFC 9728 §5.1). A proxy that asks for a login of its own, or drops the header, shows here.
func (k *checker) challenge(ctx context.Context) oauth.Finding {
	const name = "mcp endpoint"
	p, err := k.fetch(ctx, k.m.PublicURL+"/mcp")
	if err != nil {
		what, fix := whyUnreachable(err)
		return oauth.Bad(name, what, fix)
	}
	header := p.header.Get("WWW-Authenticate")
	switch {
	case p.status != http.StatusUnauthorized:
		return oauth.Bad(name, fmt.Sprintf("status %d in place of 401", p.status), "let the reverse proxy hand /mcp to hostedmcp as it comes, "+
			"without a login of its own")
	case !strings.Contains(header, `resource_metadata="`+k.m.PublicURL+`/`):
		return oauth.Bad(name, "the 401 does not name the metadata: "+header, "let the reverse proxy keep the header WWW-Authenticate")
	}
	return oauth.Good(name, "asks for a token and says where to get one")
}

// ready asks the server how it is.
func (k *checker) ready(ctx context.Context) oauth.Finding {
	const name = "readiness"
	p, err := k.fetch(ctx, k.m.PublicURL+"/readyz")
	if err != nil {
		what, fix := whyUnreachable(err)
		return oauth.Bad(name, what, fix)
	}
	var state struct {
		Failed []struct{ Check, Reason string } `json:"failed"`
	}
	// Only reason codes are public; their causes are in the log.
	switch {
	case p.status == http.StatusOK:
		return oauth.Good(name, "ready")
	case p.status != http.StatusServiceUnavailable || json.Unmarshal(p.body, &state) != nil:
		return oauth.Warn(name, fmt.Sprintf("/readyz answers %d", p.status), "nothing to do if the reverse proxy keeps it from the public")
	}
	var what []string
	for _, f := range state.Failed {
		what = append(what, f.Check+": "+f.Reason)
	}
	return oauth.Bad(name, "not ready: "+strings.Join(what, ", "), "the lines below, and the log, say why")
}
