package cimd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth/cimd"
)

// fetch expects hits requests at the server so far.
func (n *network) fetch(f *cimd.Fetcher, id string, stored *cimd.Document, hits int32) (cimd.Document, error) {
	n.t.Helper()
	doc, err := f.Fetch(n.t.Context(), id, stored)
	if got := n.hits.Load(); got != hits {
		n.t.Errorf("%d requests, want %d", got, hits)
	}
	return doc, err
}

// protocol.md §3.3 "Cache": max-age (RFC 9111 §5.2.2) clamped to 1 min..24 h.
func TestFreshness(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": time.Minute, "max-age=600": 10 * time.Minute, "public, MAX-AGE=600": 10 * time.Minute, "max-age=0": time.Minute,
		"max-age=1": time.Minute, "max-age=86400": 24 * time.Hour, "max-age=86401": 24 * time.Hour, "max-age=2147483647": 24 * time.Hour,
		"max-age=99999999999999999999": time.Minute, "max-age=-5": time.Minute, "max-age=x": time.Minute, "max-age": time.Minute,
		"no-store, max-age=600": time.Minute, "max-age=600, no-cache": time.Minute, "s-maxage=600": time.Minute, "x-max-age=600": time.Minute,
	} {
		n := newNetwork(t)
		id := n.url("client.example", "/meta")
		n.serveDocument(document(id, ""), "Cache-Control", header)
		f := n.fetcher(cimd.Config{})
		doc, err := n.fetch(f, id, nil, 1)
		if err != nil || doc.FreshUntil.Sub(n.clock()) != want {
			t.Errorf("%q: fresh for %v, %v", header, doc.FreshUntil.Sub(n.clock()), err)
		}
		n.advance(want - time.Second)
		_, _ = n.fetch(f, id, nil, 1)
		n.advance(time.Second)
		_, _ = n.fetch(f, id, nil, 2)
	}
}

// RFC 9110 §13.1.2: an unchanged document is not sent again.
func TestETag(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	asked := ""
	n.serve(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("If-None-Match")
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("ETag", `W/"one"`)
		w.Header().Set("Cache-Control", "max-age=120")
		if asked == `W/"one"` {
			w.Header().Del("ETag")
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, document(id, ""))
	})
	f := n.fetcher(cimd.Config{})
	first, err := n.fetch(f, id, nil, 1)
	if err != nil || asked != "" || first.ETag != `W/"one"` {
		t.Fatalf("%+v, asked %q, %v", first, asked, err)
	}
	n.advance(2 * time.Minute)
	second, err := n.fetch(f, id, nil, 2)
	if err != nil || asked != `W/"one"` || second.Name != first.Name || !second.Fetched.Equal(n.clock()) || second.FreshUntil.Sub(n.clock()) != 2*time.Minute || second.ETag != first.ETag {
		t.Errorf("%+v, asked %q, %v", second, asked, err)
	}
	_, _ = n.fetch(f, id, nil, 2)
	// A new process may have other rules for redirect URIs: it wants to see the whole document.
	n.advance(2 * time.Minute)
	if _, err := n.fetch(n.fetcher(cimd.Config{}), id, &second, 3); err != nil || asked != "" {
		t.Errorf("after a restart: asked %q, %v", asked, err)
	}
}

func TestETagNotKept(t *testing.T) {
	for _, tag := range []string{`"` + strings.Repeat("x", 300) + `"`, "\"\u00e9\"", `"a b"`} {
		n := newNetwork(t)
		id := n.url("client.example", "/meta")
		n.serveDocument(document(id, ""), "ETag", tag)
		if doc, err := n.fetch(n.fetcher(cimd.Config{}), id, nil, 1); err != nil || doc.ETag != "" {
			t.Errorf("%.20q: kept %q, %v", tag, doc.ETag, err)
		}
	}
}

// protocol.md §3.3: refetch failed or invalid → last good copy, up to Stale, from memory or storage.
func TestStaleCopy(t *testing.T) {
	breakage := map[string]func(n *network){
		"failed":  func(n *network) { n.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }) },
		"invalid": func(n *network) { n.serveDocument(`{"client_id":"SENTINEL"}`) },
		"blocked": func(n *network) { n.point("client.example", "10.0.0.1") },
		"gone":    func(n *network) { n.point("client.example") },
	}
	for what, breakIt := range breakage {
		for _, restart := range []bool{false, true} {
			n := newNetwork(t)
			id := n.url("client.example", "/meta")
			n.serveDocument(document(id, ""))
			cfg := cimd.Config{Stale: 24 * time.Hour}
			f := n.fetcher(cfg)
			good, err := f.Fetch(t.Context(), id, nil)
			n.must(err)
			breakIt(n)
			if restart {
				f = n.fetcher(cfg)
			}
			n.advance(24 * time.Hour)
			doc, err := f.Fetch(t.Context(), id, &good)
			if err != nil || doc.Name != good.Name || !doc.Fetched.Equal(good.Fetched) || doc.BuiltIn {
				t.Errorf("%s, restart %v: %+v, %v", what, restart, doc, err)
			}
			if log := n.log.String(); !strings.Contains(log, "older copy") || strings.Contains(log, "SENTINEL") {
				t.Errorf("%s: log %q", what, log)
			}
			n.advance(time.Second)
			if _, err := f.Fetch(t.Context(), id, &good); err == nil {
				t.Errorf("%s, restart %v: served after Stale", what, restart)
			}
		}
	}
}

// A stored copy counts like one in memory, if it is what it says.
func TestStoredCopy(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	n.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	now := n.clock()
	good := cimd.Document{ClientID: id, Name: "Stored", RedirectURIs: []string{"https://client.example/cb"}, Fetched: now.Add(-time.Hour), FreshUntil: now.Add(time.Hour)}
	with := func(change func(*cimd.Document)) *cimd.Document {
		d := good
		change(&d)
		return &d
	}
	cfg := cimd.Config{Stale: 24 * time.Hour}
	if doc, err := n.fetch(n.fetcher(cfg), id, &good, 0); err != nil || doc.Name != "Stored" {
		t.Errorf("fresh: %+v, %v", doc, err)
	}
	for what, stored := range map[string]*cimd.Document{
		"of another client":               with(func(d *cimd.Document) { d.ClientID += "x" }),
		"never fetched":                   with(func(d *cimd.Document) { d.Fetched = time.Time{} }),
		"nothing acceptable by our rules": with(func(d *cimd.Document) { d.RedirectURIs = []string{"myapp://cb"} }),
	} {
		if _, err := n.fetcher(cfg).Fetch(t.Context(), id, stored); !errors.Is(err, cimd.ErrFailed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	before := n.hits.Load()
	tighter := with(func(d *cimd.Document) { d.RedirectURIs = []string{"myapp://cb", "https://client.example/cb"} })
	if doc, err := n.fetch(n.fetcher(cfg), id, tighter, before); err != nil || len(doc.RedirectURIs) != 1 {
		t.Errorf("rules of today: %+v, %v", doc, err)
	}
	// Fresh for longer than we ever promise: a clock was set back. The copy serves, but the host is asked.
	if doc, err := n.fetch(n.fetcher(cfg), id, with(func(d *cimd.Document) { d.FreshUntil = now.Add(48 * time.Hour) }), before+1); err != nil || doc.Name != "Stored" {
		t.Errorf("far future: %+v, %v", doc, err)
	}
}

// No copy: the failure is remembered for 60 s.
func TestNegativeCache(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	n.serveDocument(`{}`)
	f := n.fetcher(cimd.Config{})
	for _, step := range []struct {
		wait time.Duration
		hits int32
	}{{0, 1}, {59 * time.Second, 1}, {time.Second, 2}} {
		n.advance(step.wait)
		if _, err := n.fetch(f, id, nil, step.hits); !errors.Is(err, cimd.ErrInvalid) {
			t.Errorf("after %v: %v", step.wait, err)
		}
	}
	n.serveDocument(document(id, ""))
	n.advance(time.Minute)
	if _, err := n.fetch(f, id, nil, 3); err != nil {
		t.Errorf("healed: %v", err)
	}
	if _, err := n.fetch(f, id, nil, 3); err != nil {
		t.Errorf("healed, again: %v", err)
	}
}

// A stale copy spares its host as well: one question a minute, not one a login.
func TestFailureWithCopyIsRemembered(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	n.serveDocument(document(id, ""))
	f := n.fetcher(cimd.Config{Stale: 24 * time.Hour})
	_, err := n.fetch(f, id, nil, 1)
	n.must(err)
	n.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	n.advance(time.Hour)
	for range 3 {
		if _, err := n.fetch(f, id, nil, 2); err != nil {
			t.Error(err)
		}
	}
}

// One flight per URL; a caller that hangs up does not take it down.
func TestOneFlight(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	arrived, release := make(chan struct{}), make(chan struct{})
	n.serve(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, document(id, ""))
	})
	f := n.fetcher(cimd.Config{})
	first, hangUp := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := f.Fetch(first, id, nil)
		gone <- err
	}()
	<-arrived
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			doc, err := f.Fetch(t.Context(), id, nil)
			if err != nil || doc.Name != "Test Client" {
				t.Errorf("%+v, %v", doc, err)
			}
			doc.RedirectURIs[0] = "changed by a caller"
		})
	}
	hangUp()
	if err := <-gone; !errors.Is(err, cimd.ErrFailed) || !errors.Is(err, context.Canceled) {
		t.Errorf("hung up: %v", err)
	}
	close(release)
	callers.Wait()
	for range 2 {
		doc, err := n.fetch(f, id, nil, 1)
		if err != nil || doc.RedirectURIs[0] != "https://client.example/cb" {
			t.Errorf("%+v, %v", doc, err)
		}
		doc.RedirectURIs[0] = "changed by a caller"
	}
}

// At the cap failures go before documents, then the longest unused.
func TestMax(t *testing.T) {
	n := newNetwork(t)
	n.serve(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/bad") {
			w.WriteHeader(404)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "max-age=86400")
		_, _ = io.WriteString(w, document(n.url("client.example", r.URL.Path), ""))
	})
	f := n.fetcher(cimd.Config{Max: 3})
	get := func(path string, hits int32) {
		t.Helper()
		n.advance(time.Second)
		if _, err := n.fetch(f, n.url("client.example", path), nil, hits); (err != nil) != strings.HasPrefix(path, "/bad") {
			t.Errorf("%s: %v", path, err)
		}
	}
	get("/a", 1)
	get("/b", 2)
	for i := range int32(5) {
		get(fmt.Sprintf("/bad%d", i), 3+i)
	}
	get("/a", 7) // both documents are still there
	get("/b", 7)
	get("/c", 8) // in place of the last failure
	get("/a", 8)
	get("/d", 9) // in place of b
	get("/a", 9)
	get("/c", 9)
	get("/b", 10)
}
