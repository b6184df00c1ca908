package cimd_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/cimd"
	"hostedmcp/auth/oauth"
)

// sends is what the real clients present at /authorize with their vendor's URL (captured, see protocol.md §3.5).
var sends = map[string]string{
	"https://claude.ai/oauth/claude-code-client-metadata":   "http://localhost:58678/callback",
	"https://chatgpt.com/oauth/codex/client.json":           "http://127.0.0.1:40827/callback",
	"https://github.com/copilot/cli/client-metadata.json":   "http://127.0.0.1:43175/callback",
	"https://github.com/copilot/cli/client-metadata.json#2": "http://127.0.0.1:33418/",
}

// protocol.md §3.3: with no way out to the vendors and no copy, the three clients are known all the same.
func TestBuiltIn(t *testing.T) {
	n := newNetwork(t)
	if len(cimd.BuiltIn()) != 3 {
		t.Errorf("%d built-in copies", len(cimd.BuiltIn()))
	}
	for id, presented := range sends {
		id = strings.TrimSuffix(id, "#2")
		doc, err := n.fetcher(cimd.Config{Stale: time.Hour}).Fetch(t.Context(), id, nil) // its name does not resolve
		if err != nil || !doc.BuiltIn || doc.CopyDate != "2026-11-23" || doc.ClientID != id || doc.Name == "" || !doc.Fetched.IsZero() {
			t.Fatalf("%s: %+v, %v", id, doc, err)
		}
		matched := false
		for _, uri := range doc.RedirectURIs {
			matched = matched || oauth.MatchRedirect(uri, presented)
			if oauth.RedirectKind(uri) != oauth.KindLoopback || rules.Check(uri) != nil {
				t.Errorf("%s: %s leads elsewhere", id, uri)
			}
		}
		if !matched {
			t.Errorf("%s: %s does not match %q", id, presented, doc.RedirectURIs)
		}
	}
	if !strings.Contains(n.log.String(), "built_in=true") {
		t.Errorf("log %q", n.log.String())
	}
	if _, err := n.fetcher(cimd.Config{}).Fetch(t.Context(), "https://claude.ai/oauth/claude-code-client-metadata2", nil); err == nil {
		t.Error("another URL of the vendor's host has a copy")
	}
}

// It is the last resort: the vendor's own document wins, then its last good copy.
func TestBuiltInIsLast(t *testing.T) {
	const id = "https://claude.ai/oauth/claude-code-client-metadata"
	n := newNetwork(t)
	p := newProxy(n)
	down := false
	n.serve(func(w http.ResponseWriter, _ *http.Request) {
		if down {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, document(id, ""))
	})
	cfg := cimd.Config{Proxy: p.URL, Stale: time.Hour}
	f := n.fetcher(cfg)
	live, err := f.Fetch(t.Context(), id, nil)
	if err != nil || live.BuiltIn || live.Name != "Test Client" {
		t.Fatalf("%+v, %v", live, err)
	}
	down = true
	n.advance(time.Hour)
	for _, f := range []*cimd.Fetcher{f, n.fetcher(cfg)} {
		if doc, err := f.Fetch(t.Context(), id, &live); err != nil || doc.BuiltIn || doc.Name != "Test Client" {
			t.Errorf("stale: %+v, %v", doc, err)
		}
	}
	n.advance(time.Minute)
	if doc, err := f.Fetch(t.Context(), id, &live); err != nil || !doc.BuiltIn {
		t.Errorf("too old: %+v, %v", doc, err)
	}
}

// A built-in copy that somebody stored all the same does not pass for the vendor's word.
func TestBuiltInStored(t *testing.T) {
	n := newNetwork(t)
	stored := cimd.BuiltIn()[0]
	doc, err := n.fetcher(cimd.Config{Stale: time.Hour}).Fetch(t.Context(), stored.ClientID, &stored)
	if err != nil || !doc.BuiltIn {
		t.Errorf("%+v, %v", doc, err)
	}
	doc.RedirectURIs[0] = "changed by a caller"
	if cimd.BuiltIn()[0].RedirectURIs[0] == "changed by a caller" {
		t.Error("the built-in copy can be changed")
	}
}
