package web

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

// Options is what the public listener is made of.
type Options struct {
	Pages     *Pages          // required
	Endpoints []auth.Endpoint // of the authorization server and of /mcp; web adds /, /healthz, /readyz, /static/*
	Checks    []Check         // of /readyz, in this order; none = always ready

	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed; none = nobody's
	AllowedHosts   []string       // further names for CORSListed rows
	AllowedOrigins []string       // web origins that CORSListed rows may be called from

	BodyTimeout   time.Duration         // for a whole request body; 0 = 30 s
	AnswerTimeout time.Duration         // for an answer to be read, streams apart; 0 = 30 s
	Log           *slog.Logger          // nil = nothing is logged
	Refusals      *Refusals             // remembers what was refused; nil = nothing is
	Registerer    prometheus.Registerer // nil = nothing is counted
}

// NewHandler returns the pipeline and mux of the public listener (protocol.md §1). Its errors name every endpoint that
// is given twice or incomplete.
func NewHandler(o Options) (http.Handler, error) {
	if o.Pages == nil {
		return nil, errors.New("web: no pages")
	}
	h := &handler{pages: o.Pages, origins: o.AllowedOrigins, hosts: lower(o.AllowedHosts), checks: o.Checks}
	h.pipeline = newPipeline(o.Log, newMetrics(o.Registerer))
	h.refusals = o.Refusals
	h.limits = limits{body: o.BodyTimeout, answer: o.AnswerTimeout}
	site := o.Pages.site // every URL we write comes from here, none from a request
	h.hsts = site.https()
	h.sources = sources{trusted: o.TrustedProxies, loopback: site.Loopback() || len(o.TrustedProxies) > 0}
	rows := append(h.ownRows(), staticRows()...)
	for _, e := range o.Endpoints {
		rows = append(rows, row{Endpoint: e})
	}
	var err error
	if h.table, err = newTable(rows); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	h.inner, h.broken = h.serve, func(w *response, r *http.Request, err error) { h.exit(w, r, err, h.table[r.URL.EscapedPath()].Page) }
	return h, nil
}

// handler is the public listener: the frame of every listener around the endpoint table. It is read-only once made, so
// that requests share it without a lock.
type handler struct {
	*pipeline
	pages   *Pages
	table   table
	origins []string
	hosts   []string
	checks  []Check
}

// ownRows are the endpoints of this package but the static files. Health and readiness are for machines: no page.
func (h *handler) ownRows() []row {
	get := []string{http.MethodGet}
	return []row{
		{Endpoint: auth.Endpoint{Path: "/", Methods: get, Cache: auth.Public, Page: true, Handle: h.pages.Landing}},
		{Endpoint: auth.Endpoint{Path: "/healthz", Methods: get, Handle: healthz}},
		{Endpoint: auth.Endpoint{Path: "/readyz", Methods: get, Handle: h.readyz}},
	}
}

// Frame wraps a listener that brings its own mux (the demo provider's) in what every listener has: request id, log
// line, recover. name stands for the route in the log. A panic is answered with 503.
func Frame(log *slog.Logger, name string, next http.Handler) http.Handler {
	p := newPipeline(log, newMetrics(nil))
	p.sources.loopback = true
	p.inner = func(w *response, r *http.Request) { w.route = name; next.ServeHTTP(w, r) }
	p.broken = func(w *response, r *http.Request, err error) {
		e := oauth.Unavailable(oauth.Internal, err)
		auth.Request(r.Context()).Fail(e)
		challenge(w.Header(), e)
		writeJSON(w, e.Status, describe(e))
	}
	return p
}

// pipeline is what every request of every listener goes through, whatever it is for.
type pipeline struct {
	log      *slog.Logger
	metrics  *metrics
	refusals *Refusals // nil = nobody asks later
	limits   limits
	sources  sources
	hsts     bool
	inner    func(w *response, r *http.Request)
	broken   func(w *response, r *http.Request, err error) // answers after a panic
}

// newPipeline returns a frame that logs to nobody if log is nil.
func newPipeline(log *slog.Logger, m *metrics) *pipeline {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &pipeline{log: log, metrics: m}
}

// ServeHTTP gives the request a name of our own (an incoming X-Request-Id is ignored: anybody could make two requests
// look like one) and sees it to its end.
func (p *pipeline) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	info := &auth.RequestInfo{ID: rand.Text(), Address: p.sources.address(r), Trace: traceID(r.Header)}
	r = r.WithContext(auth.WithRequest(r.Context(), info)) // a copy: what net/http knows of the body stays
	out := p.limits.bound(w, r)
	header := out.Header()
	header.Set("X-Request-Id", info.ID)
	header.Set("X-Content-Type-Options", "nosniff")
	if p.hsts {
		header.Set("Strict-Transport-Security", "max-age=31536000")
	}
	// A panic inside our own steps must not skip the log line; it aborts the connection like one of the endpoint.
	aborted := true
	defer func() {
		p.end(out, r, info, time.Since(start))
		if aborted {
			panic(http.ErrAbortHandler) // net/http closes the connection without a word
		}
	}()
	aborted = p.guard(out, r)
}

// guard runs the request. A panic becomes the answer `internal` if none has begun, and is logged with its stack, which
// goes nowhere else. It reports that the connection must be cut because half an answer is out.
func (p *pipeline) guard(w *response, r *http.Request) (abort bool) {
	defer func() {
		switch v := recover(); {
		case v == nil:
		case v == http.ErrAbortHandler:
			abort = true
		default:
			w.fault, abort = true, w.begun()
			p.log.ErrorContext(r.Context(), "panic", slog.String("request", auth.Request(r.Context()).ID),
				slog.Any("value", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
			if auth.Request(r.Context()).Fail(oauth.Unavailable(oauth.Internal, errors.New("panic"))); !abort {
				p.broken(w, r, errors.New("panic"))
			}
		}
	}()
	if p.inner(w, r); !w.begun() {
		w.WriteHeader(http.StatusOK) // as net/http does for a handler that wrote nothing
	}
	return false
}

// end writes the one line and counts. The path and the query are left out: the route says enough, and a query may
// hold a code or a state.
func (p *pipeline) end(w *response, r *http.Request, info *auth.RequestInfo, took time.Duration) {
	status := w.status
	if status == 0 {
		status = http.StatusOK // net/http answers so for a handler that wrote nothing
	}
	method := knownMethod(r.Method)
	p.metrics.observe(w.route, method, status, took)
	// Error is for what we must mend, warn for trouble that passes; a refusal is the sender's affair.
	level := slog.LevelInfo
	switch {
	case w.fault:
		level = slog.LevelError
	case status >= 500:
		level = slog.LevelWarn
	}
	attrs := append(info.LogAttrs(), slog.String("method", method), slog.String("route", w.route), slog.Int("status", status),
		slog.Int64("bytes", w.bytes), slog.Int64("duration_us", took.Microseconds()))
	p.refusals.note(attrs, info.Noted(), status) // whatever the log's level is
	p.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// knownMethod keeps labels and log lines to a closed set.
func knownMethod(m string) string {
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, m) {
		return m
	}
	return "other"
}

// lower: host names compare without case (RFC 9110 §4.2.3).
func lower(items []string) []string {
	out := make([]string, len(items))
	for i, s := range items {
		out[i] = strings.ToLower(s)
	}
	return out
}
