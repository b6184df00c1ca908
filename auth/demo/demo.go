package demo

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"

	"hostedmcp/auth/oauth"
)

// ClientID is the one client that the demo provider knows: hostedmcp itself.
const ClientID = "hostedmcp"

// Lives of what the provider hands out.
const (
	requestLife = 30 * time.Minute // to sign in
	answerLife  = time.Minute      // one redirect
	codeLife    = time.Minute      // RFC 6749 §4.1.2: short
	accessLife  = 5 * time.Minute  // as Keycloak's default
)

// SignIn is what the sign-in page shows.
type SignIn struct {
	Action string // where the form posts to
	Token  string // hidden field token
	Users  []User // who can sign in; a button with name="user" and the user's name signs in without a password
	Failed bool   // the name or the password was wrong
}

// Options are what a Provider is made of.
type Options struct {
	Config      Config
	Key         []byte // 32 bytes of the store's key; everything that must survive a restart comes from it
	RedirectURI string // the one redirect URI of the client

	// Page writes the sign-in page. An error means that nothing was written.
	Page   func(w http.ResponseWriter, r *http.Request, p SignIn) error
	Static http.Handler // answers /static/; nil = 404

	AccessTTL time.Duration    // life of an access token in whole seconds; 0 = 5 minutes. Tests make it short.
	Now       func() time.Time // nil = time.Now; what op signs carries the real time whatever this says
	Log       *slog.Logger     // nil = none
}

// Provider is the demo provider. It is made by New and safe for concurrent use.
type Provider struct {
	opts    Options
	issuer  string
	store   *store
	op      *op.Provider
	guesses *guesses
	handler http.Handler
}

// New checks the configuration and derives the keys. It listens nowhere: main serves Handler on Config.Listen.
func New(opts Options) (*Provider, error) {
	if err := opts.Config.Validate(); err != nil {
		return nil, err
	}
	if len(opts.Key) != 32 || opts.RedirectURI == "" || opts.Page == nil || opts.AccessTTL < 0 {
		return nil, errors.New("demo provider: a key of 32 bytes, a redirect URI, a page and no negative life are needed")
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.AccessTTL == 0 {
		opts.AccessTTL = accessLife
	}
	p := &Provider{opts: opts, issuer: "http://" + opts.Config.Listen, guesses: newGuesses(opts.Config.Users, opts.Now)}
	var err error
	if p.store, err = newStore(opts); err != nil {
		return nil, err
	}
	if p.op, err = p.newOP(); err != nil {
		return nil, fmt.Errorf("demo provider: %w", err)
	}
	p.handler = p.routes()
	return p, nil
}

// newOP sets zitadel's provider up. CORS is off: no page of another origin has business here.
func (p *Provider) newOP() (*op.Provider, error) {
	return op.NewProvider(
		&op.Config{CodeMethodS256: true, AuthMethodPost: true, GrantTypeRefreshToken: true},
		p.store, op.StaticIssuer(p.issuer),
		op.WithAllowInsecure(),
		op.WithCrypto(p.store.codes()),
		op.WithCORSOptions(nil),
		op.WithCustomTokenEndpoint(op.NewEndpoint("token")),
		op.WithAccessTokenVerifierOpts(op.WithSupportedAccessTokenSigningAlgorithms(algorithm)),
		op.WithIDTokenHintVerifierOpts(op.WithSupportedIDTokenHintSigningAlgorithms(algorithm)),
	)
}

// Issuer returns the provider's issuer, http:// and the address of Config.Listen.
func (p *Provider) Issuer() string { return p.issuer }

// Handler returns the provider's whole site.
func (p *Provider) Handler() http.Handler { return p.handler }

// ClientSecret returns the secret of the client for this key, so that nobody has to configure one.
func ClientSecret(key []byte) (oauth.Secret, error) {
	secret, err := derive(key, "client secret")
	return oauth.Secret(base64.RawURLEncoding.EncodeToString(secret)), err
}

// subject returns the user's sub: stable for this key, and another than the name, as a real provider's.
func subject(key []byte, name string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(name))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}
