package upstream

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/pkg/client/rp"

	"hostedmcp/auth/oauth"
)

// Options is what a Provider is made of.
type Options struct {
	Config      Config
	Secret      oauth.Secret // content of client_secret_file
	RedirectURI string       // ours, as registered at the provider: I/callback

	// HTTP sends every request if it is set; nil = transports of our own: a fresh HTTP/1.1 connection for each call
	// that spends something, kept ones for the rest. One that calls no httptrace hooks makes every failure one after
	// sending.
	HTTP  http.RoundTripper
	Proxy func(*http.Request) (*url.URL, error) // for our own transports; nil = none. main hands in the environment's

	Now func() time.Time // nil = time.Now
	Log *slog.Logger     // nil = nothing is logged
}

// Provider is the OpenID provider as its relying party sees it. Safe for concurrent use.
type Provider struct {
	config      Config
	secret      oauth.Secret
	redirectURI string
	now         func() time.Time
	log         *slog.Logger

	spend *http.Client // calls that spend a token or code: fresh connection, never repeated
	read  *http.Client // calls that may be repeated

	discovered *document[*discovery]
	keys       *document[keySet]

	given sync.Map // audience → time.Time at which somebody was last given a token for it
}

// New returns a Provider. It does no I/O; discovery runs at the first need.
func New(o Options) *Provider {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Provider{config: o.Config, secret: o.Secret, redirectURI: o.RedirectURI, now: o.Now, log: o.Log}
	p.spend, p.read = newClient(o.HTTP, freshTransport(o.Proxy)), newClient(o.HTTP, keptTransport(o.Proxy))
	// The key set goes stale, the metadata do not: an endpoint that moved fails by itself, a withdrawn key does not.
	p.discovered = newDocument(p, "discovery", p.discover, discoveryFresh, backoff)
	p.keys = newDocument(p, "key set", p.fetchKeys, min(keysFresh, o.Config.JWKSStale.D()/2), keysBrake)
	p.keys.stale = o.Config.JWKSStale.D()
	return p
}

// Issuer returns the configured issuer.
func (p *Provider) Issuer() string { return p.config.Issuer }

// Host returns the host of the issuer, for pages that say where the browser goes next.
func (p *Provider) Host() string {
	u, err := url.Parse(p.config.Issuer)
	if err != nil {
		return p.config.Issuer
	}
	return u.Host
}

// Discover fetches the provider's metadata if there is no copy yet, and starts on its key set. main calls it once in
// the background after start, so that the first login need not wait. The error is a *Failure.
func (p *Provider) Discover(ctx context.Context) error {
	_, err := p.discovered.get(ctx)
	if err == nil {
		_ = p.keys.ready()
	}
	return err
}

// Ready returns nil when the provider's metadata is known, else the last discovery's *Failure, for /readyz. It does not
// wait; but when an attempt is due it starts one, so that a provider that comes back is noticed without a login.
func (p *Provider) Ready() error { return p.discovered.ready() }

// Close stops fetches under way and closes kept connections. Only tests need it: a process that ends closes them too.
func (p *Provider) Close() {
	p.discovered.stop()
	p.keys.stop()
	p.read.CloseIdleConnections()
	p.spend.CloseIdleConnections()
}

// timeout bounds one call. A caller's own shorter deadline stays.
func (p *Provider) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, p.config.Timeout.D())
}

// AuthRequest is one authorization request to the provider. All three values are fresh and belong to it alone.
type AuthRequest struct {
	State    string
	Nonce    string
	Verifier string // PKCE; only its S256 challenge is sent
	SignIn   bool   // a sign-in to the status page: offline_access is not asked for
}

// String hides the values.
func (AuthRequest) String() string { return redacted }

// GoString hides the values.
func (AuthRequest) GoString() string { return redacted }

// LogValue hides the values.
func (AuthRequest) LogValue() slog.Value { return slog.StringValue(redacted) }

const redacted = "[redacted]"

// AuthURL returns where to send the browser (protocol.md §4.4): response_type=code, our client_id and redirect_uri, the
// configured scopes, state, nonce and the S256 challenge (RFC 7636), and nothing else. The error is a *Failure.
func (p *Provider) AuthURL(ctx context.Context, r AuthRequest) (string, error) {
	d, err := p.discovered.get(ctx)
	if err != nil {
		return "", err
	}
	scopes := oauth.Scope(p.config.Scopes)
	if r.SignIn {
		scopes = without(scopes, "offline_access")
	}
	// The library would write its own PKCE cookie and state; the caller keeps those with the authorization request.
	party := d.asking(scopes, p.spend)
	return rp.AuthURL(r.State, party, rp.WithCodeChallenge(oauth.S256(r.Verifier)),
		rp.AuthURLOpt(rp.WithURLParam("nonce", r.Nonce))), nil
}

// without leaves the configured list as it is and returns a shorter one.
func without(scopes oauth.Scope, name string) oauth.Scope {
	var out oauth.Scope
	for _, s := range scopes {
		if s != name {
			out = append(out, s)
		}
	}
	return out
}

// CheckIss judges the iss parameter of the provider's redirect (RFC 9207 §2.4): if present it is the issuer, and it is
// present if the provider's metadata promises it. The error is a *Failure with reason upstream_iss, or the discovery's
// if the metadata is not known: then nothing may be exchanged either.
func (p *Provider) CheckIss(iss string, present bool) error {
	if present && iss != p.config.Issuer {
		return failure(oauth.UpstreamIss, "the redirect names another issuer (RFC 9207)")
	}
	if present {
		return nil
	}
	d, err := p.discovered.get(context.Background())
	if err != nil {
		return err
	}
	if d.IssPromised {
		return failure(oauth.UpstreamIss, "the redirect names no issuer although the provider promises one (RFC 9207)")
	}
	return nil
}
