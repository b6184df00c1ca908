package cimd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"hostedmcp/auth/oauth"
)

// The ways in which a client's document cannot be had. Outside, ErrBlocked and ErrFailed must look alike.
var (
	// ErrBlocked means that its host leads to an address that is not public: reason cimd_blocked.
	ErrBlocked = errors.New("metadata document: address refused")
	// ErrFailed means that there was no answer, or none that could hold a document: reason cimd_failed.
	ErrFailed = errors.New("metadata document: not fetched")
	// ErrInvalid means a document that breaks a rule, or a client_id that can name none: reason cimd_invalid.
	ErrInvalid = errors.New("metadata document: has errors")
	// ErrBusy means that our own limits kept us from asking; the next minute may be better: reason rate_limited.
	ErrBusy = errors.New("metadata document: busy")
)

// Fetcher fetches and remembers metadata documents. It is safe for concurrent use and needs no closing.
type Fetcher struct {
	cfg       Config
	rules     oauth.RedirectRules
	now       func() time.Time
	log       *slog.Logger
	transport http.RoundTripper
	flights   singleflight.Group
	slots     chan struct{}

	mu      sync.Mutex
	entries map[string]*entry
	hosts   map[string]*rate.Limiter
}

// New returns a Fetcher that keeps of each document what rules accept. cfg must be valid; nil for now means time.Now,
// for log no log.
func New(cfg Config, rules oauth.RedirectRules, now func() time.Time, dialer Dialer, log *slog.Logger) *Fetcher {
	cfg = cfg.withDefaults()
	proxy, err := cfg.proxyURL()
	transport := http.RoundTripper(dialer.transport(proxy, cfg.Timeout))
	if err != nil {
		transport = brokenProxy{err}
	}
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Fetcher{
		cfg: cfg, rules: rules, now: now, log: log, transport: transport,
		slots:   make(chan struct{}, cfg.Parallel),
		entries: map[string]*entry{}, hosts: map[string]*rate.Limiter{},
	}
}

// brokenProxy stands in for a proxy that Validate refuses: going out without it would be the worse surprise.
type brokenProxy struct{ err error }

// RoundTrip fails before anything is sent.
func (b brokenProxy) RoundTrip(*http.Request) (*http.Response, error) { return nil, b.err }

// Fetch returns the client behind clientID. stored is the copy in storage, nil if there is none; it counts like one in
// memory. The host is asked at most once at a time and not again before its answer is stale or its failure a minute
// old; a caller that hangs up leaves the others' answer alone. Errors: ErrInvalid, ErrBlocked, ErrFailed, ErrBusy.
func (f *Fetcher) Fetch(ctx context.Context, clientID string, stored *Document) (Document, error) {
	if err := oauth.CheckClientIDURL(clientID); err != nil {
		return Document{}, fmt.Errorf("%w: client_id: %w", ErrInvalid, err)
	}
	now := f.now().Round(0)
	e := f.lookup(clientID, now)
	last := f.lastGood(clientID, e, stored)
	if last != nil && last.fresh(now) {
		return last.clone(), nil
	}
	err := e.failure
	if err == nil {
		var doc Document
		if doc, err = f.fly(ctx, clientID, last); err == nil {
			return doc.clone(), nil
		}
	}
	return f.fallback(clientID, last, err, now)
}

// Cached returns the document in memory, of whatever age, and never goes out: an approval stores what the user saw.
func (f *Fetcher) Cached(clientID string) (doc Document, ok bool) {
	e := f.lookup(clientID, f.now().Round(0))
	if e.doc == nil {
		return Document{}, false
	}
	return e.doc.clone(), true
}

// lastGood returns the copy in memory, else that of storage, judged by the rules of today: the configuration may have
// changed since it was stored. For the same reason its ETag is dropped: "unchanged" would keep out what is now let in.
func (f *Fetcher) lastGood(clientID string, e entry, stored *Document) *Document {
	if e.doc != nil {
		return e.doc
	}
	if stored == nil || stored.ClientID != clientID || stored.Fetched.IsZero() {
		return nil
	}
	last := *stored
	last.ETag = ""
	if last.RedirectURIs = acceptable(stored.RedirectURIs, f.rules); len(last.RedirectURIs) == 0 {
		return nil
	}
	return &last
}

// fresh also doubts a time further away than we ever promise: the clock was set back, or the copy is not ours.
func (d *Document) fresh(now time.Time) bool {
	left := d.FreshUntil.Sub(now)
	return left > 0 && left <= maxFresh
}

// fly joins or starts the one flight of a URL. It has a time of its own: whoever started it may hang up.
func (f *Fetcher) fly(ctx context.Context, clientID string, last *Document) (Document, error) {
	flight := f.flights.DoChan(clientID, func() (any, error) {
		return f.load(context.WithoutCancel(ctx), clientID, last)
	})
	select {
	case r := <-flight:
		doc, _ := r.Val.(Document)
		return doc, r.Err
	case <-ctx.Done():
		return Document{}, fmt.Errorf("%w: %w", ErrFailed, context.Cause(ctx))
	}
}

// load asks the host and remembers what came of it. Being busy is not the host's failure and is not remembered.
func (f *Fetcher) load(ctx context.Context, clientID string, last *Document) (Document, error) {
	now := f.now().Round(0)
	// A flight may have landed between the caller's look and this one's start.
	if e := f.lookup(clientID, now); e.failure != nil {
		return Document{}, e.failure
	} else if e.doc != nil && e.doc.fresh(now) {
		return *e.doc, nil
	}
	if err := f.spend(clientID, now); err != nil {
		return Document{}, err
	}
	release, err := f.acquire()
	if err != nil {
		return Document{}, err
	}
	defer release()
	doc, err := f.ask(ctx, clientID, last)
	if err != nil {
		f.rememberFailure(clientID, err, f.now().Round(0))
		return Document{}, err
	}
	f.rememberDocument(doc, f.now().Round(0))
	return doc, nil
}

// ask gets the document from its host, or the host's word that the last one still holds (RFC 9110 §13.1.2).
func (f *Fetcher) ask(ctx context.Context, clientID string, last *Document) (Document, error) {
	etag := ""
	if last != nil {
		etag = last.ETag
	}
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
	defer cancel()
	a, err := f.get(ctx, clientID, etag)
	if err != nil {
		return Document{}, err
	}
	var doc Document
	if a.unchanged {
		doc = *last
	} else if doc, err = parseDocument(clientID, a.body, f.rules); err != nil {
		return Document{}, err
	}
	now := f.now().Round(0)
	doc.ETag, doc.Fetched, doc.FreshUntil = a.etag, now, now.Add(a.fresh)
	return doc, nil
}

// fallback answers when the host does not: the last good copy as long as Config.Stale allows, then the built-in one.
// An error that is answered over goes to the log; any other to the caller.
func (f *Fetcher) fallback(clientID string, last *Document, err error, now time.Time) (Document, error) {
	doc, ok := Document{}, false
	if last != nil && now.Sub(last.Fetched) <= f.cfg.Stale {
		doc, ok = last.clone(), true
	} else {
		doc, ok = builtInCopy(clientID)
	}
	if !ok {
		return Document{}, err
	}
	f.log.Warn("metadata document not fetched, an older copy is used",
		"client_id", clientID, "built_in", doc.BuiltIn, "error", err)
	return doc, nil
}
