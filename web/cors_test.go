package web_test

import (
	"strings"
	"testing"

	"hostedmcp/auth/oauth"
	"hostedmcp/web"
)

// TestPreflight holds protocol.md §1 and §7.1 (Fetch standard, CORS-preflight).
func TestPreflight(t *testing.T) {
	h := newHarness(t)
	asks := []string{"Origin", "https://any.example", "Access-Control-Request-Method", "POST",
		"Access-Control-Request-Headers", "Content-Type, authorization,MCP-Protocol-Version, x-evil, cookie, mcp-\"x, last-event-id,accept"}
	got := h.send("OPTIONS", "/token", "", asks...)
	if got.StatusCode != 204 || got.Header.Get("Access-Control-Allow-Origin") != "*" || got.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("any: %d %v", got.StatusCode, got.Header)
	}
	if v := got.Header.Get("Access-Control-Allow-Headers"); v != "content-type, authorization, mcp-protocol-version, last-event-id, accept" {
		t.Errorf("headers echoed: %q", v)
	}
	if got.Header.Get("Access-Control-Allow-Methods") != "POST" || got.Header.Get("Vary") != "Access-Control-Request-Headers" {
		t.Errorf("any: %v", got.Header)
	}
	if got := h.send("OPTIONS", "/token", "", "Origin", "null"); got.StatusCode != 204 || got.Header.Get("Access-Control-Allow-Headers") != "" {
		t.Errorf("nothing asked: %d %v", got.StatusCode, got.Header)
	}
}

// TestPreflightIsBounded: the answer to a list of thousands costs what a browser's does.
func TestPreflightIsBounded(t *testing.T) {
	var names []string
	for i := range 1000 {
		names = append(names, "mcp-"+itoa(i))
	}
	got := newHarness(t).send("OPTIONS", "/token", "", "Access-Control-Request-Headers", strings.Join(names, ","))
	if v := got.Header.Get("Access-Control-Allow-Headers"); v != strings.Join(names[:32], ", ") {
		t.Errorf("headers echoed: %q", v)
	}
}

func TestListedOrigins(t *testing.T) {
	h := newHarness(t)
	for _, c := range []struct {
		what, method, host, origin string
		status                     int
		allow                      string
		reason                     oauth.Reason
	}{
		{"listed", "GET", "mcp.example.com", "https://app.example", 200, "https://app.example", ""},
		{"unlisted: the endpoint's to refuse", "GET", "mcp.example.com", "https://evil.example", 200, "", ""},
		{"null", "GET", "mcp.example.com", "null", 200, "", ""},
		{"preflight, listed", "OPTIONS", "mcp.example.com", "https://app.example", 204, "https://app.example", ""},
		{"preflight, alias", "OPTIONS", "ALIAS.example", "https://app.example", 204, "https://app.example", ""},
		{"preflight, our own origin", "OPTIONS", "mcp.example.com", "https://mcp.example.com", 204, "", ""},
		{"preflight, unlisted", "OPTIONS", "mcp.example.com", "https://evil.example", 403, "", oauth.OriginRefused},
		{"preflight, prefix of a listed one", "OPTIONS", "mcp.example.com", "https://app.example.evil", 403, "", oauth.OriginRefused},
		{"preflight, other host first", "OPTIONS", "evil.example", "https://evil.example", 421, "", oauth.HostRefused},
	} {
		got := h.send(c.method, "/mcp", "", "Host", c.host, "Origin", c.origin, "Access-Control-Request-Method", "POST")
		if got.StatusCode != c.status || got.Header.Get("Access-Control-Allow-Origin") != c.allow {
			t.Errorf("%s: %d, allowed %q", c.what, got.StatusCode, got.Header.Get("Access-Control-Allow-Origin"))
		}
		if !strings.Contains(strings.Join(got.Header.Values("Vary"), ","), "Origin") {
			t.Errorf("%s: Vary %q", c.what, got.Header.Values("Vary"))
		}
		if exposed := got.Header.Get("Access-Control-Expose-Headers"); (exposed != "") != (c.allow != "") {
			t.Errorf("%s: exposed %q", c.what, exposed)
		}
		if c.reason != "" && !strings.Contains(got.body, string(c.reason)+": ") {
			t.Errorf("%s: %s", c.what, got.body)
		}
	}
	none := newHarness(t, func(o *web.Options) { o.AllowedOrigins = nil })
	if got := none.send("GET", "/mcp", "", "Origin", ""); got.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("an empty Origin was echoed")
	}
}
