package mount

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
)

// Options are what New needs.
type Options struct {
	Config  connector.Config // complete and valid; kind mcp-http or mcp-stdio
	Secret  oauth.Secret     // with credential static: the header's whole value, or the environment variable's
	Log     *slog.Logger     // nil = slog.Default
	Version string           // of hostedmcp, said to the server
	Now     func() time.Time // nil = time.Now
}

// source is one mounted server. It implements connector.Source.
type source struct {
	cfg     connector.Config
	secret  oauth.Secret
	log     *slog.Logger
	version string
	self    json.RawMessage // how we introduce ourselves
	now     func() time.Time
	ids     atomic.Int64 // of requests to the server, over all links

	http     *http.Transport // mcp-http
	request  *http.Request   // likewise: what each one to the server begins as
	children *spawner        // mcp-stdio

	health health
	era    era
	forms  forms
	memory memory

	comparing chan struct{} // held while it is found out whether both eras are alike

	mu     sync.Mutex
	slots  map[string]*slot
	levels map[string]string // of logging, by session
	closed bool
	last   bool // Close waits: no goroutine may begin
	work   sync.WaitGroup

	parting context.Context // ends when Close has said goodbye for long enough
	part    context.CancelFunc
}

// New returns a Source for one mounted MCP server. Nothing is connected yet: the server may be down.
func New(o Options) (connector.Source, error) {
	s := &source{
		cfg: o.Config, secret: o.Secret, log: o.Log, version: o.Version, self: implementation(o.Version), now: o.Now, slots: map[string]*slot{}, levels: map[string]string{},
		comparing: make(chan struct{}, 1),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.log = s.log.With("connector", s.cfg.Name)
	if s.now == nil {
		s.now = time.Now
	}
	s.health.since = s.now()
	s.parting, s.part = context.WithCancel(context.Background())
	switch s.cfg.Kind {
	case connector.MCPHTTP:
		s.http = newTransport(s.cfg.Timeout.D())
		request, err := http.NewRequest(http.MethodPost, s.cfg.URL, nil)
		if err != nil {
			return nil, err
		}
		s.request = request
	case connector.MCPStdio:
		s.children = newSpawner(s.cfg, s.secret, s.parting.Done())
	default:
		return nil, errors.New("connector " + s.cfg.Name + " is no MCP server")
	}
	return s, nil
}

// Config returns the configuration.
func (s *source) Config() connector.Config { return s.cfg }

// Do carries out one request. What the other era has no method for is done by its own means.
func (s *source) Do(ctx context.Context, c connector.Call) (json.RawMessage, error) {
	result, err := s.dispatch(ctx, &c)
	if err != nil {
		return nil, s.fault(err)
	}
	return result, nil
}

func (s *source) dispatch(ctx context.Context, c *connector.Call) (json.RawMessage, error) {
	switch c.Method {
	case "ping":
		return json.RawMessage(`{}`), nil
	case methodListen:
		return s.listen(ctx, c)
	case methodSubscribe, methodUnsubscribe:
		return s.subscription(ctx, c)
	case methodSetLevel:
		return s.setLevel(ctx, c)
	}
	if isNotification(c.Method) {
		return nil, s.notify(ctx, c)
	}
	return s.rounds(ctx, c)
}

// exchange sends one request over the caller's link. It is sent a second time only if the server certainly did not
// carry out the first.
func (s *source) exchange(ctx context.Context, c *connector.Call, method string, params json.RawMessage) (json.RawMessage, error) {
	for again := false; ; again = true {
		out, l, slot, err := s.try(ctx, c, method, params)
		if !again && replaceable(c, err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s.health.note(s, out.err)
		if out.err == nil || again || ctx.Err() != nil || !s.mayRepeat(ctx, slot, l, c, method, out) {
			return out.result, out.err
		}
	}
}

// replaceable reports whether there is no link for want of a good token, and the user may have another one by now.
func replaceable(c *connector.Call, err error) bool {
	return c != nil && c.Credential != nil && isRefused(err)
}

// try is one attempt of exchange.
func (s *source) try(ctx context.Context, c *connector.Call, method string, params json.RawMessage) (outcome, *link, *slot, error) {
	slot, l, err := s.acquire(ctx, c)
	if err != nil {
		return outcome{}, nil, nil, err
	}
	defer s.release(slot)
	if err := l.matchLevel(ctx, c); err != nil {
		return outcome{}, nil, nil, err
	}
	return l.ask(ctx, method, params, c, s.cfg.Timeout.D()), l, slot, nil
}

// Codes of the modern era that say that a request was refused before it was looked at (MCP 2026-07-28).
const (
	codeHeaderMismatch     = -32020
	codeUnsupportedVersion = -32022
)

// mayRepeat decides about a second try, and prepares it.
func (s *source) mayRepeat(ctx context.Context, sl *slot, l *link, c *connector.Call, method string, out outcome) bool {
	var theirs *connector.Error
	var status refusal
	switch {
	case errors.As(out.err, &status):
		// The session is unknown, or the credential was refused: nothing was carried out. A new link asks for the
		// credential again.
		if !status.sessionGone && status.code != http.StatusUnauthorized {
			return false
		}
		sl.retire(l, status.sessionGone)
		return true
	case errors.As(out.err, &theirs) && theirs.Reason == "" && theirs.Code == codeUnsupportedVersion:
		s.era.forget()
		sl.retire(l, false)
		return true
	case errors.As(out.err, &theirs) && theirs.Reason == "" && theirs.Code == codeHeaderMismatch:
		return l.modern && method == "tools/call" && s.learnForms(ctx, c) == nil
	}
	return !out.sent && !l.alive() && s.http == nil
}

// notify passes a client's notification on to its own link, if there is one: a server that has never heard of a client
// does not miss it.
func (s *source) notify(ctx context.Context, c *connector.Call) error {
	s.mu.Lock()
	slot := s.slots[s.key(c)]
	var l *link
	if slot != nil {
		l = slot.link
	}
	s.mu.Unlock()
	if l == nil || !l.alive() || l.modern {
		return nil // no notification of a client's outlived the older era but cancelled, which is ours
	}
	p, _ := l.dress(0, c.Params, c)
	return l.wire.send(ctx, request(0, c.Method, p.bytes()), c)
}

// spawn runs f in a goroutine for which Close waits; false after that has begun.
func (s *source) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last {
		return false
	}
	s.work.Go(f)
	return true
}

// How long something is still said to a server when nobody waits for it any more: goodbye, and lastWords when we stop.
const (
	goodbye   = 5 * time.Second
	lastWords = time.Second
)

// background runs a last message.
func (s *source) background(f func(ctx context.Context)) {
	s.spawn(func() {
		ctx, cancel := context.WithTimeout(s.parting, goodbye)
		defer cancel()
		f(ctx)
	})
}

// EndSession ends the link of a downstream session, and the server's session or child with it.
func (s *source) EndSession(session string) {
	s.mu.Lock()
	delete(s.levels, session)
	s.mu.Unlock()
	s.end(func(sl *slot) bool { return session != "" && sl.session == session })
}

// EndGrant ends all links on which a grant was at work.
func (s *source) EndGrant(grantID string) {
	s.end(func(sl *slot) bool { return grantID != "" && sl.grant == grantID })
}

// end closes the links of the slots that which chooses, each in a goroutine: a server may be slow to let go.
func (s *source) end(which func(*slot) bool) {
	s.mu.Lock()
	var gone []*slot
	for key, sl := range s.slots {
		if which(sl) {
			delete(s.slots, key)
			gone = append(gone, sl)
		}
	}
	s.mu.Unlock()
	for _, sl := range gone {
		sl.cancel(errEnded)
		s.spawn(sl.close)
	}
}

// Close ends everything, calls under way included, and waits for it until ctx ends. Servers hear of it within lastWords,
// all at once; children have that time too before they are told to end.
func (s *source) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end(func(*slot) bool { return true })
	defer time.AfterFunc(lastWords, s.part).Stop()
	done := make(chan struct{})
	go func() {
		s.mu.Lock()
		s.last = true
		s.mu.Unlock()
		s.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.part()
		return ctx.Err()
	}
	if s.children != nil {
		s.children.stop()
	}
	if s.http != nil {
		s.http.CloseIdleConnections()
	}
	return nil
}
