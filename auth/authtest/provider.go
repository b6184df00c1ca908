package authtest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// ProviderConfig is what a Provider starts with. Its zero value is a provider on a free loopback port with the client
// hostedmcp, the users alice and bob, tokens signed with ES256, a login form and no rotation.
type ProviderConfig struct {
	ClientID     string           // "" = hostedmcp
	ClientSecret string           // "" = hostedmcp-test-secret
	RedirectURIs []string         // nil = any
	Listen       string           // "" = 127.0.0.1:0
	Path         string           // path of the issuer, "/realms/demo"; "" = none
	Users        []User           // nil = alice and bob
	Now          func() time.Time // nil = time.Now
	LogMax       int              // calls remembered; 0 = 100,000
	Behaviour    Behaviour
}

// User is somebody who can sign in. Subject is "sub-" + Name.
type User struct {
	Name, Password string
	Groups         []string
	Disabled       bool
}

// Subject returns the user's sub.
func (u User) Subject() string { return "sub-" + u.Name }

// Option changes the configuration of NewProvider.
type Option func(*ProviderConfig)

// With returns an option that changes the behaviour from the start.
func With(change func(*Behaviour)) Option {
	return func(c *ProviderConfig) { change(&c.Behaviour) }
}

// Provider is an OpenID provider on loopback that keeps the rules unless it is told otherwise:
//
//	Set(func(*Behaviour))        lasting: rotation, lifetimes, what is left out of answers, id_token faults
//	Break(endpoint, Fault)       how one endpoint's HTTP goes wrong: held, reset, cut, other status or body; Mend undoes
//	Down, Up                     nothing listens; the state stays
//	Forget                       an empty database behind the same name
//	RotateKey                    a new signing key
//	EndSession, SetUser          what an administrator does
//	SignIn                       the browser's part, headless
//	Calls, Count, Sessions       what was asked, with every refresh token presented, and what became of it
//
// Everything may be called at any time from any goroutine.
type Provider struct {
	Issuer       string
	ClientID     string
	ClientSecret string

	config  ProviderConfig
	handler http.Handler
	address string
	secret  []byte // authenticates tokens, so that there is no table of them

	mu        sync.Mutex
	listener  net.Listener
	server    *http.Server
	closing   chan struct{} // closed by Down and Close: lets hanging answers go
	behaviour Behaviour
	users     []User
	faults    []*armed
	sessions  map[string]*session
	lineages  map[string]*lineage
	codes     map[string]*code
	keys      []signingKey // current first
	log       callLog
}

// NewProvider starts a provider that the test's end closes.
func NewProvider(tb testing.TB, options ...Option) *Provider {
	tb.Helper()
	var config ProviderConfig
	for _, o := range options {
		o(&config)
	}
	p, err := StartProvider(config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

// StartProvider starts a provider outside of a test. Close ends it.
func StartProvider(config ProviderConfig) (*Provider, error) {
	config = config.withDefaults()
	p := &Provider{
		ClientID: config.ClientID, ClientSecret: config.ClientSecret, config: config, address: config.Listen,
		secret: make([]byte, 32), behaviour: config.Behaviour, users: config.Users, log: callLog{most: config.LogMax},
	}
	rand.Read(p.secret)
	p.forget()
	key, err := newSigningKey(p.behaviour.signingAlg())
	if err != nil {
		return nil, err
	}
	p.keys = []signingKey{key}
	p.handler = p.routes()
	return p, p.Up()
}

func (c ProviderConfig) withDefaults() ProviderConfig {
	or := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	or(&c.ClientID, "hostedmcp")
	or(&c.ClientSecret, "hostedmcp-test-secret")
	or(&c.Listen, "127.0.0.1:0")
	if c.Users == nil {
		c.Users = []User{
			{Name: "alice", Password: "alice-pw", Groups: []string{"sales"}},
			{Name: "bob", Password: "bob-pw", Groups: []string{"finance"}},
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.LogMax == 0 {
		c.LogMax = 100_000
	}
	return c
}

// Up listens, at the same address as before if the provider was up once.
func (p *Provider) Up() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		return errors.New("the provider is up")
	}
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	if p.Issuer == "" {
		p.address = l.Addr().String()
		p.Issuer = "http://" + p.address + p.config.Path
	}
	p.listener, p.closing = l, make(chan struct{})
	p.server = &http.Server{Handler: p.handler}
	go p.server.Serve(l)
	return nil
}

// Down closes the listener and every connection. Connecting is refused until Up.
func (p *Provider) Down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return
	}
	close(p.closing)
	p.listener.Close() // the server does not know it before Serve has begun
	p.server.Close()
	p.server = nil
}

// Close ends the provider.
func (p *Provider) Close() { p.Down() }

// Set changes the behaviour from the next request on.
func (p *Provider) Set(change func(*Behaviour)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.behaviour)
}

func (p *Provider) now() time.Time { return p.config.Now() }

// SetUser replaces the user of the same name or adds one.
func (p *Provider) SetUser(u User) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.users {
		if p.users[i].Name == u.Name {
			p.users[i] = u
			return
		}
	}
	p.users = append(p.users, u)
}

// User returns the user of that name; the zero User if there is none.
func (p *Provider) User(name string) User {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.user(name)
}

func (p *Provider) user(name string) User {
	for _, u := range p.users {
		if u.Name == name {
			return u
		}
	}
	return User{}
}
