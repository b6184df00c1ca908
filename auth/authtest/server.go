package authtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostedmcp/auth"
	"hostedmcp/auth/cimd"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/storage"
	"hostedmcp/web"
)

// Server is a whole authorization server on a loopback port, over a real store and a Provider, on a Clock. Its /mcp is
// a resource that answers with the Identity of the bearer token. Restart puts a new process on the same file.
type Server struct {
	Issuer   string
	Clock    *Clock
	Provider *Provider
	Store    *storage.Store
	Auth     *auth.Server
	Registry *prometheus.Registry
	Log      *Buffer

	HTTP *http.Client // follows redirects; reaches Issuer, whatever its name

	tb      testing.TB
	options ServerOptions
	http    *httptest.Server
	handler swap
	dir     string
}

// ServerOptions change the server that NewServer makes. The functions get the defaults to change; nil changes nothing.
type ServerOptions struct {
	Issuer   string // "" = http on loopback; "https://NAME" is served with TLS, to the clients of NewClient and to HTTP
	Provider []Option
	Auth     func(*auth.Options)
	Upstream func(*upstream.Config)
	Storage  func(*storage.Options)
	Web      func(*web.Options)
}

// Buffer is a log that tests read. Safe for concurrent use.
type Buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns everything logged so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// swap is a handler that Restart replaces while the listener stays.
type swap struct {
	mu   sync.RWMutex
	next http.Handler
}

func (s *swap) set(h http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = h
}

// ServeHTTP implements http.Handler.
func (s *swap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.RLock()
	h := s.next
	s.mu.RUnlock()
	h.ServeHTTP(w, r)
}

// NewServer starts a server that the test's end closes.
func NewServer(tb testing.TB, o ServerOptions) *Server {
	tb.Helper()
	s := &Server{tb: tb, options: o, dir: tb.TempDir(), Clock: NewClock(time.Now().Truncate(time.Second)), Log: &Buffer{}}
	s.listen()
	s.Provider = NewProvider(tb, append([]Option{func(c *ProviderConfig) { c.Now = s.Clock.Now }}, o.Provider...)...)
	s.start()
	tb.Cleanup(func() {
		s.http.Close()
		s.stop()
	})
	return s
}

// listen serves on a loopback port, under the name that the options give it.
func (s *Server) listen() {
	if s.Issuer = s.options.Issuer; s.Issuer == "" {
		s.http = httptest.NewServer(&s.handler)
		s.Issuer, s.HTTP = s.http.URL, &http.Client{Transport: http.DefaultTransport}
		return
	}
	s.http = httptest.NewTLSServer(&s.handler)
	s.HTTP = s.http.Client()
	t := s.HTTP.Transport.(*http.Transport)
	t.TLSClientConfig.ServerName = "example.com" // what httptest's certificate is for
	host := strings.TrimPrefix(s.Issuer, "https://") + ":443"
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == host {
			address = s.http.Listener.Addr().String()
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
}

// Restart ends the process's part of the server and starts a new one on the same file and key.
func (s *Server) Restart() {
	s.tb.Helper()
	s.stop()
	s.start()
}

// Kill starts a new process on the file as it is at this moment, which must be one without a commit under way. What the
// old process does from now on, it does to nobody: it ends with the test, and what it had in memory is lost.
func (s *Server) Kill() {
	s.tb.Helper()
	dir := s.tb.TempDir()
	if err := copyFiles(dir, s.dir); err != nil {
		s.tb.Fatal(err)
	}
	old := &Server{tb: s.tb, Auth: s.Auth, Store: s.Store}
	s.tb.Cleanup(old.stop)
	s.dir = dir
	s.start()
}

// copyFiles keeps the mode that the store insists on.
func copyFiles(to, from string) error {
	files, err := os.ReadDir(from)
	for _, f := range files {
		data, e := os.ReadFile(filepath.Join(from, f.Name()))
		err = errors.Join(err, e, os.WriteFile(filepath.Join(to, f.Name()), data, 0o600))
	}
	return err
}

func (s *Server) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.Auth.Close(ctx)
	if err := s.Store.Close(); err != nil {
		s.tb.Errorf("close store: %v", err)
	}
}

func (s *Server) start() {
	s.tb.Helper()
	s.Registry = prometheus.NewRegistry()
	log := slog.New(slog.NewJSONHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	observer := auth.NewObserver(s.Registry, log)
	var err error
	if s.Store, err = storage.Open(context.Background(), s.storage(observer, log)); err != nil {
		s.tb.Fatal(err)
	}
	s.serve(log, observer)
}

// storage is how the store is opened, and restored.
func (s *Server) storage(observer *auth.Observer, log *slog.Logger) storage.Options {
	so := storage.Options{
		Dir: s.dir, Issuer: s.Issuer, Now: s.Clock.Now, Uptime: s.Clock.Uptime, OnEvent: observer.Event, OnEnd: observer.End, OnAlarm: observer.Alarm, Log: log,
		TombstoneTTL: auth.DefaultTokens().TombstoneTTL.D(),
	}
	if s.options.Storage != nil {
		s.options.Storage(&so)
	}
	return so
}

// serve wires the packages as main does.
func (s *Server) serve(log *slog.Logger, observer *auth.Observer) {
	pages, err := web.NewPages(web.Site{Name: "Test data", ShortName: "test", Issuer: s.Issuer, ProviderHost: "provider.test"}, s.Clock.Now)
	if err != nil {
		s.tb.Fatal(err)
	}
	config := upstream.DefaultConfig()
	config.Issuer, config.ClientID = s.Provider.Issuer, s.Provider.ClientID
	if s.options.Upstream != nil {
		s.options.Upstream(&config)
	}
	o := auth.Options{
		Issuer: s.Issuer, Name: "Test data", Tokens: auth.DefaultTokens(), Clients: auth.DefaultClients(),
		Limits: auth.DefaultLimits(), Upstream: config, Baseline: []string{"mcp"}, Scopes: []string{"crm.write"},
		Sentence: map[string]string{"crm.write": "Create and change customers and deals"},
		Store:    s.Store, Observer: observer, Pages: pages.Auth(), Now: s.Clock.Now, Log: log, Registerer: s.Registry,
		DocumentDialer: cimd.Dialer{Allow: func(netip.Addr) bool { return true }},
		Provider: upstream.New(upstream.Options{
			Config: config, Secret: oauth.Secret(s.Provider.ClientSecret), RedirectURI: s.Issuer + "/callback", Now: s.Clock.Now, Log: log,
		}),
	}
	if s.options.Auth != nil {
		s.options.Auth(&o)
	}
	if s.Auth, err = auth.New(o); err != nil {
		s.tb.Fatal(err)
	}
	wo := web.Options{Pages: pages, Endpoints: append(s.Auth.Endpoints(), s.resource()), Log: log, Registerer: s.Registry}
	if s.options.Web != nil {
		s.options.Web(&wo)
	}
	h, err := web.NewHandler(wo)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.handler.set(h)
}

// resource is the stand-in for the MCP endpoint: it says who asks, in JSON, or the reason why not.
func (s *Server) resource() auth.Endpoint {
	return auth.Endpoint{Path: "/mcp", Methods: []string{"GET"}, Handle: func(w http.ResponseWriter, r *http.Request) error {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		id, err := s.Auth.Verify(r.Context(), token)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		return json.NewEncoder(w).Encode(id)
	}}
}

// NewClient returns a client that has not registered yet.
func (s *Server) NewClient() *Client {
	c := NewClient(s.Issuer)
	c.HTTP = s.HTTP
	c.Browser.client.Transport = s.HTTP.Transport
	return c
}

// Client returns a client that is logged in as alice.
func (s *Server) Client() *Client {
	s.tb.Helper()
	c := s.NewClient()
	if err := c.Login(); err != nil {
		s.tb.Fatal(err)
	}
	return c
}

// Call uses an access token at the resource: who it is for, or the status and reason why it is refused.
func (s *Server) Call(access string) (id auth.Identity, status int, reason string) {
	s.tb.Helper()
	req, err := http.NewRequest(http.MethodGet, s.Issuer+"/mcp", nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+access)
	res, err := s.HTTP.Do(req)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(&id); err != nil {
			s.tb.Fatal(err)
		}
		return id, res.StatusCode, ""
	}
	var e struct {
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(res.Body).Decode(&e); err != nil {
		s.tb.Fatal(err)
	}
	reason, _, _ = strings.Cut(e.Description, ":")
	return id, res.StatusCode, reason
}
