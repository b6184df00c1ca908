package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostedmcp/auth/cimd"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/storage"
)

// Options is what a Server is made of. All are required unless they say otherwise. The configurations must have
// passed their Validate.
type Options struct {
	Issuer string // I: the origin of public_url (protocol.md §2)
	Name   string // resource_name

	Access   AccessConfig
	Tokens   TokensConfig
	Clients  ClientsConfig
	Limits   LimitsConfig
	Upstream upstream.Config

	Baseline []string          // scopes of every MCP client
	Scopes   []string          // further scopes, in their order
	Sentence map[string]string // what a scope means, for the consent page

	Store    *storage.Store
	Provider *upstream.Provider
	Observer *Observer
	Pages    Pages
	// Connectors says how the mounted sources are doing, for operators; nil = there are none. It must not block.
	Connectors func() []PageConnector

	DocumentDialer cimd.Dialer // tests only: lets metadata documents come from loopback
	// Now is the wall clock; nil = time.Now. Log nil = nothing is logged.
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Server is the authorization server. Its endpoints share one state machine, which lives in the store. What it keeps
// in memory besides (flights, pauses, suspicions, verified tokens) may be lost at any time: a restart costs some work
// and no connection.
type Server struct {
	issuer, resource, name string // I, I/mcp, and what people call it
	loopback               bool   // http issuer: cookies without __Host- and Secure

	access   AccessConfig
	tokens   TokensConfig
	clients  ClientsConfig
	limits   *limiters
	upstream upstream.Config

	baseline, known oauth.Scope // what every client gets; all that may be asked for, in order
	sentences       map[string]string
	registered      map[string]client // by client id: those of the operator

	store     *storage.Store
	provider  *upstream.Provider
	documents *cimd.Fetcher
	observer  *Observer
	pages     Pages
	health    health        // of the provider
	searchFor time.Duration // an operator's search is given up then
	// connectors is Options.Connectors; nil = there are none
	connectors func() []PageConnector
	metrics    *metrics
	log        *slog.Logger
	now        func() time.Time // whole seconds, wall clock, as the store keeps them

	// Drawn from the store key, which is never rotated: what they made is compared with what they make.
	csrfKey, clientIDKey, subjectKey, sidKey []byte

	verified  verified
	signing   atomic.Pointer[cachedSigner]
	flights   *flights
	exchanges *exchanges
	refusals  refusals
	suspects  suspects
	retries   retries
	uptime    func() time.Duration // the store's: no step of the wall clock moves it
	started   time.Duration        // for hold-off
	resumed   atomic.Bool          // what an earlier run left under way is in doubt now

	life context.Context // ends when the server closes; work in the background is bound to it
	stop context.CancelFunc
	work sync.WaitGroup

	// closing guards closed: no work begins once Close has begun to wait for it.
	closing sync.RWMutex
	closed  bool
	wake    chan struct{} // holds at most one wake-up of the loop
}

// New returns a Server. It does no network I/O.
func New(o Options) (*Server, error) {
	if o.Store == nil || o.Provider == nil || o.Observer == nil || o.Registerer == nil {
		return nil, errors.New("auth: store, provider, observer and registerer are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		issuer: o.Issuer, resource: o.Issuer + "/mcp", name: o.Name, loopback: strings.HasPrefix(o.Issuer, "http://"),
		access: o.Access, tokens: o.Tokens, clients: o.Clients, limits: newLimiters(o.Limits), upstream: o.Upstream,
		registered: registeredClients(o.Clients.Registered),
		store:      o.Store, provider: o.Provider, observer: o.Observer, pages: o.Pages, connectors: o.Connectors,
		metrics: newMetrics(o.Registerer), log: o.Log,
		// Round(0) drops the monotonic reading, which stands still while the machine sleeps (style.md, 9).
		now:     func() time.Time { return o.Now().Round(0).Truncate(time.Second) },
		csrfKey: o.Store.Key("csrf"), clientIDKey: o.Store.Key("client_id"), subjectKey: o.Store.Key("log-subject"),
		sidKey:   o.Store.Key("sid"),
		verified: verified{claims: map[[sha256.Size]byte]*accessToken{}},
		flights:  newFlights(o.Upstream.Parallel), exchanges: newExchanges(),
		refusals: refusals{of: map[exchangeKey]refusal{}}, uptime: o.Store.Uptime, wake: make(chan struct{}, 1),
		searchFor: longestSearch,
	}
	s.started = s.uptime()
	s.setScopes(o)
	// The same rules for every kind of client, by whichever way its redirect URIs came.
	s.documents = cimd.New(o.Clients.cimd(o.Limits), s.redirectRules(), o.Now, o.DocumentDialer, o.Log)
	s.life, s.stop = context.WithCancel(context.Background())
	o.Registerer.MustRegister(newScrape(s))
	o.Observer.whenEnded(s.exchanges.drop)
	return s, nil
}

// setScopes orders what may be asked for: baseline, further scopes, offline_access. The order is that of
// scopes_supported. A sentence of the configuration wins over ours.
func (s *Server) setScopes(o Options) {
	s.baseline = oauth.Scope(o.Baseline)
	s.known = s.baseline.Union(oauth.Scope(o.Scopes)).Union(oauth.Scope{offlineAccess})
	s.sentences = map[string]string{offlineAccess: "Stay connected while you are away"}
	for _, name := range o.Baseline {
		s.sentences[name] = "Look things up and use tools for you"
	}
	for name, sentence := range o.Sentence {
		s.sentences[name] = sentence
	}
}

// Endpoints returns the rows of the endpoint table (protocol.md §1) that are the authorization server's. Sizes and
// methods stand here and nowhere else; the pipeline holds requests to them before Handle is called.
func (s *Server) Endpoints() []Endpoint {
	get, post := []string{"GET"}, []string{"POST"}
	public := func(path string, body []byte) Endpoint {
		return Endpoint{Path: path, Methods: get, CORS: CORSAny, Cache: Public, Handle: fixed(body)}
	}
	resource := s.resourceMetadata()
	rows := []Endpoint{
		public("/.well-known/oauth-authorization-server", s.serverMetadata()),
		public("/.well-known/oauth-protected-resource", resource),
		public("/.well-known/oauth-protected-resource/mcp", resource),
		{Path: "/jwks", Methods: get, CORS: CORSAny, Cache: Public, Handle: s.jwks},
		{Path: "/authorize", Methods: get, Page: true, Handle: s.authorize},
		{Path: "/consent", Methods: post, Page: true, Form: true, MaxBody: 16 << 10, Handle: s.consent},
		{Path: "/callback", Methods: get, Page: true, Handle: s.callback},
		{Path: "/token", Methods: post, CORS: CORSAny, Form: true, MaxBody: 64 << 10, Handle: s.token},
		{Path: "/revoke", Methods: post, CORS: CORSAny, Form: true, MaxBody: 16 << 10, Handle: s.revoke},
		{Path: "/status", Methods: get, Page: true, Handle: s.status},
		{Path: "/signin", Methods: post, Page: true, Form: true, MaxBody: 4 << 10, Handle: s.startSignIn},
		{Path: "/signout", Methods: post, Page: true, Form: true, MaxBody: 4 << 10, Handle: s.signOut},
		{Path: "/grants/end", Methods: post, Page: true, Form: true, MaxBody: 4 << 10, Handle: s.endGrants},
	}
	// without it /register is a path that does not exist, as the metadata say
	if s.clients.Register {
		rows = append(rows, Endpoint{
			Path: "/register", Methods: post, CORS: CORSAny, MaxBody: 64 << 10, Handle: s.register,
		})
	}
	return rows
}

// FirstCall notes that the grant was used for the first time, apart from the call itself. A call must not wait for a
// commit; if it is lost in a crash, the next call notes it.
func (s *Server) FirstCall(ctx context.Context, grantID string) {
	ev := s.event(ctx, oauth.FirstCall, "")
	s.background(ctx, func(ctx context.Context) {
		if err := s.store.FirstCall(ctx, grantID, ev); err != nil {
			s.log.WarnContext(ctx, "first call of a grant was not noted", "grant", grantID, "error", err)
		}
	})
}

// background runs f with the values of ctx until it returns or the server closes; false says that it is closing and f
// will not run. A panic in it is our own fault, not the end of the process. It goes on when the client hangs up: what
// the provider has been asked must be heard and stored.
func (s *Server) background(ctx context.Context, f func(context.Context)) bool {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return false
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(s.life, cancel)
	s.work.Go(func() {
		defer cancel()
		defer stop()
		defer func() {
			if p := recover(); p != nil {
				s.alarm(ctx, oauth.Internal, "work in the background panicked", fmt.Errorf("%v\n%s", p, debug.Stack()))
			}
		}()
		f(ctx)
	})
	return true
}

// Close takes no new work, waits for that in the background until ctx is done, then cancels it. Tokens that the provider
// has just given are committed before it returns, unless the store itself cannot write.
func (s *Server) Close(ctx context.Context) {
	// The lock waits for nobody's work, only for background to have counted what it has let in.
	s.closing.Lock()
	s.closed = true
	s.closing.Unlock()
	done := make(chan struct{})
	go func() { s.work.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	s.stop()
	<-done
}

// logSubject is a subject as logs may show it: an HMAC, so that lines of one person can be found by who knows the
// subject and by nobody else.
func (s *Server) logSubject(subject string) string {
	if subject == "" {
		return ""
	}
	return hex.EncodeToString(keyedHash(s.subjectKey, []byte(subject))[:8])
}

// keyedHash is HMAC-SHA-256 (RFC 2104): what is found by it can be computed again by us alone. Unlike a plain hash, it
// also hides what could be guessed, such as a user's name.
func keyedHash(key, message []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(message)
	return m.Sum(nil)
}

// hashOf is how credentials are stored, looked up and compared: by SHA-256, without salt, since ours are of full
// randomness.
func hashOf(s string) [sha256.Size]byte { return sha256.Sum256([]byte(s)) }

// isUnavailable says that the store is in trouble, which passes, and has judged nothing.
func isUnavailable(err error) bool { return errors.Is(err, storage.ErrUnavailable) }
