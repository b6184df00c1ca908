package oauth_test

import (
	"strings"
	"testing"

	"hostedmcp/auth/oauth"
)

// protocol.md §3.3, draft-ietf-oauth-client-id-metadata-document §3.
func TestCheckClientIDURL(t *testing.T) {
	for _, id := range []string{
		"https://claude.ai/oauth/claude-code-client-metadata",
		"https://chatgpt.com/oauth/codex/client.json",
		"https://a.example:8443/x", "https://a.example/x?v=1", "https://a.example/x/",
		"https://a.example/" + strings.Repeat("a", 512-18),
	} {
		if err := oauth.CheckClientIDURL(id); err != nil {
			t.Errorf("%s refused: %v", id, err)
		}
	}
	for _, id := range []string{
		"", "hmcp_ci_x", "http://a.example/x", "HTTPS://a.example/x", "https://a.example", "https://a.example/", "https://a.example/?x=1",
		"https://a.example/x#", "https://u@a.example/x", "https://a.example/./x", "https://a.example/x/..", "https://a.example/%2e%2E/x",
		"https://10.0.0.1/x", "https://[::1]/x", "https://127.1/x", "https://2130706433/x", "https://a.example./x", "https://a.example:0/x",
		"https:/a.example/x", "https:///x", "https://a.example\\x", "https://a.example/x y", "https://bücher.example/x", "com.example:/x",
		"https://a.example/" + strings.Repeat("a", 512-17),
	} {
		if oauth.CheckClientIDURL(id) == nil {
			t.Errorf("%q accepted", id)
		}
	}
}

// protocol.md §2; RFC 8414 §2.
func TestCheckIssuer(t *testing.T) {
	for _, ok := range []string{
		"https://mcp.example.com", "https://mcp.example.com:8443", "https://localhost", "https://192.0.2.1", "https://[2001:db8::1]:8443",
		"http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost:8080", "http://localhost",
	} {
		if err := oauth.CheckIssuer(ok); err != nil {
			t.Errorf("%s refused: %v", ok, err)
		}
	}
	for bad, fix := range map[string]string{
		"":                              "scheme",
		"mcp.example.com":               "scheme",
		"https://mcp.example.com/":      "write https://mcp.example.com",
		"https://mcp.example.com/mcp":   "write https://mcp.example.com",
		"https://mcp.example.com?x":     "write https://mcp.example.com",
		"https://mcp.example.com#":      "fragment",
		"https://MCP.example.com":       "lower case",
		"HTTPS://mcp.example.com":       "lower case",
		"https://mcp.example.com:443":   "write https://mcp.example.com",
		"http://localhost:80":           "write http://localhost",
		"http://mcp.example.com":        "use https",
		"http://127.0.0.2:8080":         "use https",
		"http://localhost:99999":        "port",
		"ftp://mcp.example.com":         "use https",
		"https:mcp.example.com":         "//",
		"https://":                      "host",
		"https://mcp.example.com.":      "host",
		"https://127.1":                 "host",
		"https://[192.0.2.1]":           "host",
		"https://[::01]":                "host",
		"https://[fe80::1%25eth0]":      "host",
		"https://u@mcp.example.com":     "user name",
		"https://mcp.example.com:08443": "port",
		" https://mcp.example.com":      "characters",
	} {
		if err := oauth.CheckIssuer(bad); err == nil || !strings.Contains(err.Error(), fix) {
			t.Errorf("%q: %v does not name the fix %q", bad, err, fix)
		}
	}
}

func TestIsLoopbackURL(t *testing.T) {
	for u, want := range map[string]bool{
		"http://127.0.0.1:8080": true, "http://localhost/mcp": true, "http://[::1]": true,
		"https://localhost": false, "http://a.example": false, "http://localhost.": false, "": false,
	} {
		if oauth.IsLoopbackURL(u) != want {
			t.Errorf("%q: %v", u, !want)
		}
	}
}

// RFC 8707 §2 as protocol.md §4.1 step 3 reads it.
func TestSameResource(t *testing.T) {
	const r, local = "https://mcp.example.com/mcp", "http://127.0.0.1:8080/mcp"
	for _, same := range []string{r, r + "/", "HTTPS://MCP.Example.COM/mcp", "https://mcp.example.com:443/mcp", "https://mcp.example.com:443/mcp/"} {
		if !oauth.SameResource(same, r) {
			t.Errorf("%s is another resource", same)
		}
	}
	for _, other := range []string{
		"", "https://mcp.example.com", "https://mcp.example.com/", r + "//", "https://mcp.example.com/MCP", "https://mcp.example.com/mc%70",
		r + "?", r + "?x=1", r + "#", r + "/#x", "http://mcp.example.com/mcp", "http://mcp.example.com:443/mcp", "https://mcp.example.com:80/mcp",
		"https://mcp.example.com:0443/mcp", "https://u@mcp.example.com/mcp", "https://mcp.example.com./mcp", "https:/mcp.example.com/mcp",
		"https://mcp.example.com.evil/mcp", "https://mcp.example.com:443:443/mcp", "mcp.example.com/mcp", " " + r,
		"https://mcp.example.com/x/../mcp", "https://m\u212ap.example.com/mcp",
	} {
		if oauth.SameResource(other, r) {
			t.Errorf("%q is taken for %s", other, r)
		}
	}
	if !oauth.SameResource("http://127.0.0.1:8080/mcp/", local) || oauth.SameResource("http://127.0.0.1/mcp", local) {
		t.Error("the port counts")
	}
	if !oauth.SameResource("http://localhost:80/mcp", "http://localhost/mcp") {
		t.Error("80 is http's default port")
	}
	if oauth.SameResource("https://\u212a.example/mcp", "https://k.example/mcp") {
		t.Error("a Kelvin sign is no k")
	}
}
