package cimd_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"hostedmcp/auth/cimd"
	"hostedmcp/auth/oauth"
)

// vendors answers each of the three documents by its host; one host's answer is replaced.
func (n *network) vendors(host string, instead http.HandlerFunc) {
	n.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == host {
			instead(w, r)
			return
		}
		for _, d := range cimd.BuiltIn() {
			if d.ClientID == "https://"+r.Host+r.URL.Path {
				answerDocument(w, d.ClientID, d.RedirectURIs)
			}
		}
	})
}

func answerDocument(w http.ResponseWriter, id string, uris []string) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"client_id": id, "client_name": "SENTINEL", "redirect_uris": uris})
}

// protocol.md §3.3, last item: the three URLs are fetched, and the ways out named if they cannot be.
func TestCheck(t *testing.T) {
	const claude = "https://claude.ai/oauth/claude-code-client-metadata"
	ways := []string{"claude.ai:443", "[[clients.registered]]", claude, "clients.cimd = false", "2026-11-23"}
	for _, row := range []struct {
		name  string
		plant func(*network, *proxy, *cimd.Config)
		text  string // of Claude Code's finding; "" = ok
		fix   []string
	}{
		{"all there", func(*network, *proxy, *cimd.Config) {}, "", nil},
		{"refused, as to data centres", func(n *network, _ *proxy, _ *cimd.Config) {
			n.vendors("claude.ai", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
		}, "status 403", append(ways, "let the proxy of clients.cimd_proxy reach")},
		{"a page", func(n *network, _ *proxy, _ *cimd.Config) {
			n.vendors("claude.ai", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>SENTINEL") })
		}, "cannot be fetched", ways},
		{"another client's document", func(n *network, _ *proxy, _ *cimd.Config) {
			n.vendors("claude.ai", func(w http.ResponseWriter, _ *http.Request) {
				answerDocument(w, "https://other.example/SENTINEL", []string{"http://localhost/callback"})
			})
		}, "client_id is not the URL", ways},
		{"other redirect URIs than our copy's", func(n *network, _ *proxy, _ *cimd.Config) {
			n.vendors("claude.ai", func(w http.ResponseWriter, _ *http.Request) {
				answerDocument(w, claude, []string{"http://localhost/callback", "https://claude.ai/SENTINEL"})
			})
		}, "no longer names http://127.0.0.1/callback", []string{"update hostedmcp"}},
		{"the proxy refuses", func(_ *network, p *proxy, _ *cimd.Config) { p.refuse = true }, "status 403", ways},
		{"no such name", func(_ *network, _ *proxy, c *cimd.Config) { c.Proxy = "" }, "no such host", append(ways, "name a proxy")},
		{"a private address", func(n *network, _ *proxy, c *cimd.Config) {
			c.Proxy = ""
			n.point("claude.ai", "10.0.0.1")
		}, "address refused", ways},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := newNetwork(t)
			p := newProxy(n)
			n.vendors("", nil)
			cfg := cimd.Config{Proxy: p.URL}
			row.plant(n, p, &cfg)
			findings := n.fetcherWith(cfg, n.dialer(func(netip.Addr) bool { return false })).Check(t.Context())
			if len(findings) != 3 {
				t.Fatalf("%d findings", len(findings))
			}
			f := findings[0]
			if f.Name != "metadata document of Claude Code" || (f.Level == oauth.FindingOK) != (row.text == "") || !strings.Contains(f.Text, row.text) {
				t.Errorf("%+v, want %q", f, row.text)
			}
			for _, want := range row.fix {
				if !strings.Contains(f.Fix, want) {
					t.Errorf("the fix does not name %q: %s", want, f.Fix)
				}
			}
			if strings.Contains(f.Text+f.Fix, "SENTINEL") {
				t.Errorf("a stranger's words in %+v", f)
			}
			for _, f := range findings[1:] {
				if cfg.Proxy != "" && !p.refuse && f.Level != oauth.FindingOK {
					t.Errorf("the others suffer: %+v", f)
				}
			}
		})
	}
}

// Check asks the hosts whatever is remembered, and keeps nothing.
func TestCheckRemembersNothing(t *testing.T) {
	n := newNetwork(t)
	p := newProxy(n)
	n.vendors("", nil)
	f := n.fetcher(cimd.Config{Proxy: p.URL})
	for range 2 {
		f.Check(t.Context())
	}
	if got := n.hits.Load(); got != 6 {
		t.Errorf("%d fetches, want 6", got)
	}
	if _, ok := f.Cached(cimd.BuiltIn()[0].ClientID); ok {
		t.Error("a document is kept")
	}
}
