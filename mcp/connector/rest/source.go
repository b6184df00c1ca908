package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
)

// Options are what a Source is made of.
type Options struct {
	Config connector.Config // complete and valid, of kind openapi
	Secret oauth.Secret     // the whole header value, with credential static
	Log    *slog.Logger     // nil = discard
	HTTP   *http.Client     // nil = own: no proxy, no redirects
	Now    func() time.Time // nil = time.Now
}

// Source is one REST API.
type Source struct {
	config connector.Config
	secret oauth.Secret
	log    *slog.Logger
	http   *http.Client
	now    func() time.Time

	catalog atomic.Pointer[catalog] // nil until the document was read
	changed atomic.Pointer[func()]
	wake    chan struct{} // told when the API is found to be away
	looked  chan struct{} // closed when Run has looked for the document once, found or not
	look    func()        // closes looked; may be called again

	mu       sync.Mutex // guards the rest
	state    connector.State
	failures int // in a row, of the way to the API
}

// catalog is what a document became; it never changes.
type catalog struct {
	base    *url.URL
	tools   []*operation
	byName  map[string]*operation
	left    []string // what could not become a tool
	offered connector.Catalog
}

// New returns the API of a document. A file is read at once, and its faults are the error; a document behind a URL is
// fetched by Run.
func New(o Options) (*Source, error) {
	s := &Source{config: o.Config, secret: o.Secret, log: o.Log, http: o.HTTP, now: o.Now, wake: make(chan struct{}, 1), looked: make(chan struct{})}
	s.look = sync.OnceFunc(func() { close(s.looked) })
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.http == nil {
		s.http = client(o.Config)
	}
	if remote(s.config.Document) {
		s.state = connector.State{Reason: oauth.ConnectorUnreachable, Text: "Its document has not been fetched yet.", Since: s.now()}
		return s, nil
	}
	if err := s.load(context.Background()); err != nil {
		return nil, fmt.Errorf("connector %s: %w", s.config.Name, err)
	}
	s.state = connector.State{Up: true}
	return s, nil
}

// client follows no redirect, since the credential is for this API alone, and reads no environment.
func client(c connector.Config) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil // an environment variable must not decide who sees users' tokens
	t.MaxIdleConnsPerHost, t.MaxConnsPerHost = c.Parallel, c.Parallel
	t.MaxResponseHeaderBytes = 64 << 10 // net/http would take 10 MB, beside MaxBytes
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Config returns the configuration.
func (s *Source) Config() connector.Config { return s.config }

// Catalog returns the tools of the document, the same for everybody. With no call it says what is known now: a start
// asks so, and must not wait for what comes after it.
func (s *Source) Catalog(ctx context.Context, call *connector.Call) (connector.Catalog, error) {
	if call != nil {
		s.await(ctx)
	}
	c, err := s.known()
	if err != nil {
		return connector.Catalog{}, err
	}
	return c.offered, nil
}

// await waits until Run has looked for the document once, for at most Config.Timeout: right behind a start nothing is
// wrong, and a user's first call must not fail.
func (s *Source) await(ctx context.Context) {
	if s.catalog.Load() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout.D())
	defer cancel()
	select {
	case <-s.looked:
	case <-ctx.Done():
	}
}

// known returns what the document became.
func (s *Source) known() (*catalog, error) {
	c := s.catalog.Load()
	if c == nil {
		return nil, connector.Unreachable(errors.New("the document has not been read"))
	}
	return c, nil
}

// Do calls one operation.
func (s *Source) Do(ctx context.Context, call connector.Call) (json.RawMessage, error) {
	if call.Method != "tools/call" {
		return nil, &connector.Error{Code: connector.CodeMethodNotFound, Message: "Method not found"}
	}
	s.await(ctx)
	c, err := s.known()
	if err != nil {
		return nil, err
	}
	var p struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	}
	if err := json.Unmarshal(call.Params, &p); err != nil || c.byName[p.Name] == nil {
		return nil, &connector.Error{Code: connector.CodeInvalidParams, Message: "unknown tool"}
	}
	result, err := s.send(ctx, c, c.byName[p.Name], p.Arguments, call)
	var f fault
	if errors.As(err, &f) {
		return failed(f.Error()), nil
	}
	return result, err
}

// send writes the request, and hands the answer on.
func (s *Source) send(ctx context.Context, c *catalog, o *operation, raw json.RawMessage, call connector.Call) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout.D())
	defer cancel()
	// judged before a credential is asked for: a call that cannot be sent costs the provider nothing
	args, err := o.readArguments(raw)
	if err != nil {
		return nil, err
	}
	r, err := o.request(ctx, c.base, args)
	if err != nil {
		return nil, err
	}
	resp, sent, err := s.ask(ctx, r, call)
	if err != nil {
		var e *connector.Error
		if errors.As(err, &e) { // of the credential
			return nil, err
		}
		return nil, connector.Unreachable(fmt.Errorf("%s %s: %w", o.method, o.path, withoutURL(err)))
	}
	defer resp.Body.Close()
	return o.result(resp, s.config, sent)
}

// ask sends r as the user of the call, and returns the answer with the credential that it is for. A credential that is
// refused may be dead before its time: if there is another one by then, r is sent once more, since what was answered
// with 401 has not been done (RFC 9110 §15.5.2).
func (s *Source) ask(ctx context.Context, r *http.Request, call connector.Call) (*http.Response, oauth.Secret, error) {
	credential, err := s.credential(ctx, call)
	if err != nil {
		return nil, "", err
	}
	resp, err := s.sendAs(r, credential, call.User)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || credential.Refused == nil {
		return resp, credential.Value, err
	}
	credential.Refused(ctx)
	other, err := s.credential(ctx, call)
	if err == nil && other.Value == credential.Value {
		return resp, credential.Value, nil
	}
	// read to its end, if that is near: the connection is for the next request
	_, _ = io.CopyN(io.Discard, resp.Body, maxErrorText)
	resp.Body.Close()
	again := r.Clone(ctx) // an API that answers early: the transport may still be writing r
	if err == nil && r.GetBody != nil {
		again.Body, err = r.GetBody()
	}
	if err != nil {
		return nil, "", err
	}
	resp, err = s.sendAs(again, other, call.User)
	return resp, other.Value, err
}

// sendAs sends r once: whether a request that got no answer took effect is not known here. It says who asks, each
// header once, whatever stood there before.
func (s *Source) sendAs(r *http.Request, c connector.Credential, user connector.User) (*http.Response, error) {
	if c.Header != "" && c.Value != "" {
		r.Header.Set(c.Header, c.Value.Reveal())
	}
	connector.SetIdentity(r.Header, user)
	r.Header.Set("User-Agent", "hostedmcp")
	// past the client, which would copy the headers for redirects: none is followed
	resp, err := s.transport().RoundTrip(r)
	if err != nil {
		s.failed(r.Context())
		return nil, err
	}
	s.answered()
	return resp, nil
}

// transport is what the client sends by.
func (s *Source) transport() http.RoundTripper {
	if s.http.Transport == nil {
		return http.DefaultTransport
	}
	return s.http.Transport
}

// credential is the call's own, or the static one.
func (s *Source) credential(ctx context.Context, call connector.Call) (connector.Credential, error) {
	switch {
	case s.config.Credential == connector.CredentialStatic:
		return connector.Credential{Header: s.config.CredentialHeader(), Value: s.secret}, nil
	case call.Credential != nil:
		return call.Credential(ctx)
	}
	return connector.Credential{}, nil
}

// EndSession has nothing to end: requests know no sessions.
func (s *Source) EndSession(string) {}

// EndGrant has nothing to end.
func (s *Source) EndGrant(string) {}

// OnChange sets what is called after changes.
func (s *Source) OnChange(changed func()) { s.changed.Store(&changed) }

// tell tells of a change.
func (s *Source) tell() {
	if changed := s.changed.Load(); changed != nil {
		(*changed)()
	}
}
