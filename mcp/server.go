package mcp

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/prometheus/client_golang/prometheus"

	"hostedmcp/auth"
	"hostedmcp/mcp/connector"
)

// Options are what a Server is made of.
type Options struct {
	Config         Config
	Issuer         string // I; the resource is I/mcp
	Name           string // of the server, told to clients
	Version        string
	AllowedHosts   []string // further values of Host
	AllowedOrigins []string // further values of Origin
	Authority      Authority
	Tools          []Tool // after the built-in ones

	Connectors  []connector.Source // in the order in which their tools are listed
	Credentials Credentials
	Pins        Pins
	StateKey    []byte // binds what connectors give clients to bring back; nil = a new one at each start

	Log        *slog.Logger          // nil = discard
	Registerer prometheus.Registerer // nil = metrics are counted but not shown
	Now        func() time.Time      // nil = time.Now

	// Silence is how long a stream may be silent before a comment is sent, and how long a POST may be before it
	// becomes a stream; 0 = 15 s (protocol.md §7). Tests shorten it.
	Silence time.Duration
}

// Server is the MCP endpoint. What it holds about sessions and streams is in memory: a restart ends them, and clients
// initialize again.
type Server struct {
	config     Config
	challenges challenges
	place      place
	authority  Authority
	cacheable  string // members of lists in the modern era
	serverMeta []byte // members of `_meta` of each result in the modern era
	silence    time.Duration
	log        *slog.Logger
	now        func() time.Time

	builtin  []Tool                   // first in every list
	registry atomic.Pointer[registry] // replaced as a whole by SetTools
	metrics  *metrics
	sessions *sessions
	streams  *streams
	told     told

	mounts      []*mounted
	credentials Credentials
	stateKey    []byte
	parked      parked
	listeners   listeners
	telling     atomic.Bool    // a change of our own tools is about to be told
	everybody   connector.Rule // of our own tools: the zero value hides nothing
	grants      grants
	background  background // what belongs to no request

	legacy, modern             http.Handler // the SDK's handlers, by era
	legacyServer, modernServer *sdk.Server
	closing                    chan struct{} // closed by Close
	close                      func()
}

// New returns a Server. An error names every fault of the tools or the issuer.
func New(o Options) (*Server, error) {
	where, err := newPlace(o.Issuer, o.AllowedHosts, o.AllowedOrigins)
	if err != nil {
		return nil, err
	}
	s := &Server{
		config:     o.Config,
		challenges: newChallenges(o.Issuer, o.Config.Scopes),
		place:      where,
		authority:  o.Authority,
		cacheable:  cacheable(o.Config.ListTTL.D().Milliseconds()),
		silence:    o.Silence,
		log:        o.Log,
		now:        o.Now,
		builtin:    []Tool{whoami(), userinfo()},
		metrics:    newMetrics(o.Registerer),
		closing:    make(chan struct{}),
	}
	// Close may be called twice: a stop that is asked for again must not panic.
	s.close = sync.OnceFunc(func() { close(s.closing) })
	s.defaults()
	s.sessions = newSessions(o.Config, s.now, s.metrics.sessions)
	s.streams = newStreams(o.Config.StreamsPerUser, s.silence, s.metrics.streams)
	s.sessions.ended = s.endSession
	s.grants = grants{server: s, idle: max(o.Config.SessionIdle.D(), o.Config.StreamMax.D())}
	s.credentials, s.stateKey = o.Credentials, o.StateKey
	if s.stateKey == nil {
		s.stateKey = []byte(rand.Text())
	}
	s.connect(&sdk.Implementation{Name: o.Name, Version: o.Version})
	return s, errors.Join(s.mount(&o), s.SetTools(o.Tools))
}

// endSession lets connectors end what they hold for a session.
func (s *Server) endSession(id string) {
	for _, m := range s.mounts {
		m.source.EndSession(id)
	}
}

// defaults fills in what Options leave open.
func (s *Server) defaults() {
	if s.silence == 0 {
		s.silence = 15 * time.Second
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
}

// connect builds the SDK's side: one server and handler an era, since each request of the modern era is a session of
// its own and would be counted and searched among the living ones of the other.
func (s *Server) connect(impl *sdk.Implementation) {
	name, _ := marshal(impl) // strings always marshal
	s.serverMeta = append(append([]byte(`{"`+metaServerInfo+`":`), name...), '}')
	// Tools are declared although the SDK holds none. List results of the SDK's own (none so far) and server/discover
	// carry the same cache words as ours.
	newServer := func() *sdk.Server {
		server := sdk.NewServer(impl, &sdk.ServerOptions{
			Capabilities: &sdk.ServerCapabilities{Tools: &sdk.ToolCapabilities{ListChanged: true}},
			SetCacheable: func(_ context.Context, _ sdk.Request, c *sdk.Cacheable) {
				c.TTLMs, c.CacheScope = int(s.config.ListTTL.D().Milliseconds()), "private"
			},
		})
		server.AddReceivingMiddleware(s.receive)
		return server
	}
	// Host and Origin are judged by place.go: the SDK's protection of localhost breaks behind a proxy on the same host
	// (style.md, trap 2). Bodies were read and bounded before.
	s.legacyServer, s.modernServer = newServer(), newServer()
	s.legacy = carryIdentity(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s.legacyServer },
		&sdk.StreamableHTTPOptions{DisableLocalhostProtection: true, MaxRequestBodyBytes: -1}))
	s.modern = carryIdentity(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s.modernServer },
		&sdk.StreamableHTTPOptions{DisableLocalhostProtection: true, MaxRequestBodyBytes: -1, Stateless: true,
			PropagateRequestCancellation: true}))
}

// SetTools replaces the tools after the built-in ones, and tells listening clients that the list changed. Calls under
// way keep the tools they found. An error names every fault, and nothing is changed.
func (s *Server) SetTools(tools []Tool) error {
	r, err := newRegistry(append(append([]Tool(nil), s.builtin...), tools...))
	if err != nil {
		return err
	}
	// Before the first request there is nobody to notify.
	first := s.registry.Swap(r) == nil
	s.metrics.expect(r)
	if !first {
		s.changed(nil)
	}
	return nil
}

// Endpoint is the row of the endpoint table. It writes its own errors. They are challenges and JSON-RPC, which the
// pipeline's exit does not know (protocol.md §7).
func (s *Server) Endpoint() auth.Endpoint {
	return auth.Endpoint{
		Path:    "/mcp",
		Methods: methods,
		CORS:    auth.CORSListed,
		Cache:   auth.NoStore,
		MaxBody: maxBody,
		Handle: func(w http.ResponseWriter, r *http.Request) error {
			s.serve(w, r)
			return nil
		},
	}
}

// Close refuses new sessions and streams, closes the open ones, and waits until calls under way are answered or ctx
// is done. The error is that of ctx. Streams go at once, or the drain would wait for stream_max; a call has its
// answer first.
func (s *Server) Close(ctx context.Context) error {
	s.close()
	err := errors.Join(s.sessions.closeAll(ctx), s.closeConnectors(ctx))
	s.background.wait()
	return err
}
