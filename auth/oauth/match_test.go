package oauth_test

import (
	"net/url"
	"slices"
	"testing"

	"hostedmcp/auth/oauth"
)

// The table of protocol.md §3.2 and what else looks alike (RFC 9700 §2.1, RFC 8252 §7.3).
func TestMatchRedirect(t *testing.T) {
	for _, row := range []struct {
		registered     string
		accept, refuse []string
	}{
		{"https://a.example/cb", nil, []string{
			"", "https://a.example/cb/", "https://a.example/CB", "https://a.example/%63b", "https://a.example/cb?x=1",
			"https://a.example/cb?", "https://a.example/cb#", "https://a.example:443/cb", "https://A.example/cb",
			"https:/a.example/cb", "https://a.example@evil/cb", "https://a.example.evil/cb", "https://a.example./cb",
			"HTTPS://a.example/cb", "http://a.example/cb", "https://a.example//cb", "https://a.example/./cb", " https://a.example/cb",
			"https://a.example/cb\x00", `https:\\a.example\cb`, "https://a.example:8443/cb",
		}},
		{"http://127.0.0.1:33418/", []string{"http://127.0.0.1:40000/", "http://127.0.0.1/", "http://127.0.0.1:1/", "http://127.0.0.1:65535/"}, []string{
			"http://127.0.0.1:40000", "http://127.1/", "http://localhost:33418/", "http://[::1]:33418/", "http://127.0.0.1:33418/x",
			"http://127.0.0.1:33418//", "http://127.0.0.1:33418/?x=1", "http://127.0.0.1:33418/#", "http://127.0.0.2:33418/",
			"http://0x7f.0.0.1/", "http://2130706433/", "http://127.0.0.1.evil.example/", "https://127.0.0.1:33418/",
			"http://127.0.0.1:33418@evil.example/", "http://u@127.0.0.1:33418/", "http://127.0.0.1:/", "http://127.0.0.1:33418:1/",
		}},
		{"http://localhost:3000/cb", []string{"http://localhost:3001/cb", "http://localhost/cb"}, []string{
			"http://localhost.:3000/cb", "http://x.localhost/cb", "https://localhost:3000/cb", "http://localhost:080/cb",
			"http://localhost:0/cb", "http://localhost:65536/cb", "http://localhost:/cb", "http://localhost:+3/cb",
			"http://localhost: 3/cb", "http://localhost:3x/cb", "http://localhost:３/cb", "http://LOCALHOST:3000/cb", "HTTP://localhost:3000/cb",
			"http://127.0.0.1:3000/cb", "http://localhost:3001/cb/", "http://localhost:3001/CB", "http://localhost:3001/%63b",
			"http://localhost:3001/cb?x=1", `http://localhost:3001\cb`, `http://localhost:3001\@evil.example/cb`,
			"http://localhost:3001#@evil.example/cb", "http://localhost:3001?/cb", "http://localhost@evil.example/cb",
			"http://localhost:3001@evil.example/cb", "http:/localhost:3001/cb", "http:localhost:3001/cb", "http:///localhost:3001/cb",
			"http://evil.example/http://localhost:3001/cb", "http://localhost%00:3001/cb", "http://localhos\u0074\u200b:3001/cb",
		}},
		{"http://localhost/cb", []string{"http://localhost:58678/cb"}, []string{"http://localhost:58678/"}},
		{"http://localhost", []string{"http://localhost:5"}, []string{"http://localhost:5/", "http://localhost/", "http://localhost:5?"}},
		{"http://localhost?t=1", []string{"http://localhost:5?t=1"}, []string{"http://localhost:5/?t=1", "http://localhost:5?t=2"}},
		{"http://[::1]:9/cb", []string{"http://[::1]/cb", "http://[::1]:10/cb"}, []string{
			"http://[::1%25lo]:9/cb", "http://[0:0:0:0:0:0:0:1]:9/cb", "http://::1:9/cb", "http://[::1]9/cb", "http://[::1].evil:9/cb", "http://127.0.0.1:9/cb",
		}},
		{"cursor://anysphere.cursor-mcp/oauth/callback", nil, []string{
			"cursor://anysphere.cursor-mcp/oauth/callback?x=1", "cursor://anysphere.cursor-mcp:1/oauth/callback", "CURSOR://anysphere.cursor-mcp/oauth/callback",
		}},
		{"com.example.app:/cb", nil, []string{"com.example.app:cb", "com.example.app://cb", "com.example.app:/cb/"}},
		{"", nil, []string{"", "http://localhost"}},
	} {
		for _, p := range row.accept {
			if !oauth.MatchRedirect(row.registered, p) {
				t.Errorf("registered %q: %q refused", row.registered, p)
			}
		}
		for _, p := range row.refuse {
			if oauth.MatchRedirect(row.registered, p) {
				t.Errorf("registered %q: %q accepted", row.registered, p)
			}
		}
		if row.registered != "" && !oauth.MatchRedirect(row.registered, row.registered) {
			t.Errorf("%q does not match itself", row.registered)
		}
	}
}

func TestStripLoopbackPort(t *testing.T) {
	for uri, want := range map[string]string{
		"http://localhost:3000/cb?x=1": "http://localhost/cb?x=1",
		"http://localhost/cb":          "http://localhost/cb",
		"http://127.0.0.1:9":           "http://127.0.0.1",
		"http://[::1]:9/":              "http://[::1]/",
		"https://a.example:8443/cb":    "https://a.example:8443/cb",
		"http://localhost:080/cb":      "http://localhost:080/cb",
		"cursor://localhost:80/cb":     "cursor://localhost:80/cb",
	} {
		if got := oauth.StripLoopbackPort(uri); got != want {
			t.Errorf("%s: %s", uri, got)
		}
	}
}

// FuzzMatchRedirect: whatever is presented, a match of a registered and acceptable URI leads to the same bytes or, as
// an independent parser reads both, to the same host and path on the user's own computer.
func FuzzMatchRedirect(f *testing.F) {
	f.Add("http://localhost:3000/cb", "http://localhost:3001/cb")
	f.Add("http://127.0.0.1/", "http://127.0.0.1:65536/")
	f.Add("http://[::1]:9/cb?x=1", "http://[::1%25lo]/cb?x=1")
	f.Add("https://a.example/cb", "https://a.example@evil/cb")
	f.Fuzz(func(t *testing.T, registered, presented string) {
		if rules.Check(registered) != nil || !oauth.MatchRedirect(registered, presented) || registered == presented {
			return
		}
		if err := rules.Check(presented); err != nil {
			t.Fatalf("%q matches %q but is not acceptable: %v", presented, registered, err)
		}
		r, err1 := url.Parse(registered)
		p, err2 := url.Parse(presented)
		if err1 != nil || err2 != nil {
			t.Fatalf("%q, %q: %v, %v", registered, presented, err1, err2)
		}
		if p.User != nil || !slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, p.Hostname()) || p.Hostname() != r.Hostname() {
			t.Fatalf("%q leads to %q, registered %q", presented, p.Host, registered)
		}
		if r.Port() == p.Port() || r.RequestURI() != p.RequestURI() || p.Fragment != "" || r.Scheme != "http" || p.Scheme != "http" {
			t.Fatalf("%q matches %q", presented, registered)
		}
	})
}
