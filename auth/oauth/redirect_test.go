package oauth_test

import (
	"strings"
	"testing"

	"hostedmcp/auth/oauth"
)

var rules = oauth.RedirectRules{
	Issuer:         "https://mcp.example.com",
	PrivateSchemes: []string{"cursor", "claude", "javascript", "data"}, // the last two: a mistake that must not work
}

type uriRow struct{ source, uri string }

func TestRedirectRulesAccept(t *testing.T) {
	for _, row := range []uriRow{
		{"protocol §3.2", "https://a.example/cb"},
		{"protocol §3.2", "https://a.example/cb?t=1"},
		{"protocol §3.2", "http://localhost/callback"},
		{"protocol §3.2", "http://[::1]:9/cb"},
		{"protocol §3.2", "com.example.app:/cb"},
		{"protocol §3.2", "cursor://anysphere.cursor-mcp/oauth/callback"},
		{"protocol §3.5 Claude", "https://claude.ai/api/mcp/auth_callback"},
		{"protocol §3.5 ChatGPT", "https://chatgpt.com/connector/oauth/abc-123_x"},
		{"protocol §3.5 Cursor", "https://www.cursor.com/agents/mcp/oauth/callback"},
		{"protocol §3.5 VS Code", "http://127.0.0.1:33418/"},
		{"protocol §3.5 VS Code", "http://localhost"},
		{"protocol §3.5 VS Code", "https://vscode.dev/redirect"},
		{"port", "https://a.example:8443/cb"},
		{"port", "http://localhost:65535/cb"},
		{"no path", "https://a.example"},
		{"query without path", "https://a.example?t=1"},
		{"RFC 3986 §2 the other characters", "https://a.example/a-b._~!$&'()+,;=:@/c?d/e?f:@g"},
		{"RFC 3986 §2.1 harmless escape", "https://a.example/%C3%A9%20x?q=%22"},
		{"RFC 5890 A-label", "https://xn--bcher-kva.example/cb"},
		{"dots inside names", "https://a.example/.well-known/a..b/...?x=../y"},
		{"names that only look alike", "https://a.example/cb?codes=1&my_state=2&issuer=3&terror=4"},
		{"code as a value", "https://a.example/code?x=code"},
		{"@ after the authority", "https://a.example/@user?to=a@b.example"},
		{"our host, another port", "https://mcp.example.com:8443/cb"},
		{"a host that begins like ours", "https://mcp.example.com.evil.example/cb"},
		{"digits in the last label", "https://a.example1/cb"},
		{"single label", "https://intranet/cb"},
		{"RFC 8252 §7.1", "com.example.app://host/cb"},
		{"longest", "https://a.example/" + strings.Repeat("a", 2048-18)},
	} {
		if err := rules.Check(row.uri); err != nil {
			t.Errorf("%s: %q refused: %v", row.source, row.uri, err)
		}
	}
}

func TestRedirectRulesRefuse(t *testing.T) {
	for _, row := range []uriRow{
		{"protocol §3.2", "http://a.example/cb"},
		{"protocol §3.2", "http://127.0.0.2/cb"},
		{"protocol §3.2", "http://127.0.0.1:0/cb"},
		{"protocol §3.2", "https://10.0.0.1/cb"},
		{"protocol §3.2", "https://u@a.example/cb"},
		{"protocol §3.2", "https://a.example/cb#x"},
		{"protocol §3.2", "https://a.example/x/%2e%2e/cb"},
		{"protocol §3.2", "https://a.example/cb?code=1"},
		{"protocol §3.2", "https://*.a.example/cb"},
		{"protocol §3.2", "myapp://cb"},
		{"protocol §3.2", "JavaScript:alert(1)"},
		{"protocol §3.2", "https://mcp.example.com/callback"},
		{"absolute", ""},
		{"absolute", "/cb"},
		{"absolute", "//a.example/cb"},
		{"absolute", "a.example/cb"},
		{"absolute", ":"},
		{"scheme in lower case", "HTTPS://a.example/cb"},
		{"scheme in lower case", "Cursor://x/cb"},
		{"scheme", "1https://a.example/cb"},
		{"scheme", "1com.example.app:/cb"},
		{"scheme", ".com.example:/cb"},
		{"scheme", "com_example.app:/cb"},
		{"too long", "https://a.example/" + strings.Repeat("a", 2048-17)},
		{"printable ASCII", "https://a.example/c b"},
		{"printable ASCII", " https://a.example/cb"},
		{"printable ASCII", "https://a.example/cb\n"},
		{"printable ASCII", "https://a.example/\x00"},
		{"printable ASCII", "https://a.example/\x7f"},
		{"printable ASCII", "https://bücher.example/cb"},
		{"printable ASCII: Kelvin sign", "http://localhost\u212a/cb"},
		{"printable ASCII: full-width slash", "https://a.example\uff0fcb"},
		{"backslash", `https://a.example\@evil.example/cb`},
		{"backslash", `https:\\a.example\cb`},
		{"quote", `https://a.example/"onload`},
		{"angle brackets", "https://a.example/<cb"},
		{"angle brackets", "https://a.example/cb>"},
		{"wildcard", "https://a.example/*"},
		{"RFC 3986 §2 not a URI", "https://a.example/{id}"},
		{"RFC 3986 §2 not a URI", "https://a.example/a|b^c`d"},
		{"RFC 3986 §3.2.2 brackets", "https://a.example/[cb]"},
		{"RFC 3986 §3.2.2 brackets", "https://a.example/cb?a[]=1"},
		{"fragment", "https://a.example/cb#"},
		{"fragment", "com.example.app:/cb#x"},
		{"userinfo", "https://@a.example/cb"},
		{"userinfo", "https://u:p@a.example/cb"},
		{"userinfo", "http://localhost@evil.example/cb"},
		{"userinfo", "http://localhost:80@evil.example/cb"},
		{"userinfo", "cursor://u@x/cb"},
		{"dot segment", "https://a.example/../cb"},
		{"dot segment", "https://a.example/./cb"},
		{"dot segment at the end", "https://a.example/x/.."},
		{"dot segment, encoded", "https://a.example/%2E./cb"},
		{"dot segment, encoded", "https://a.example/.%2e/cb"},
		{"dot segment, encoded", "https://a.example/%2e"},
		{"dot segment, loopback", "http://localhost/x/../cb"},
		{"dot segment, private", "com.example.app:/../cb"},
		{"dot segment, opaque", "com.example.app:.."},
		{"encoded slash", "https://a.example/x%2fcb"},
		{"encoded slash", "https://a.example/cb?x=%2F"},
		{"encoded slash in the host", "https://a.example%2f.evil.example/cb"},
		{"encoded backslash", "https://a.example/x%5ccb"},
		{"encoded control", "https://a.example/%0d%0aSet-Cookie:x"},
		{"encoded control", "https://a.example/%00"},
		{"encoded control", "https://a.example/%7F"},
		{"broken escape", "https://a.example/%"},
		{"broken escape", "https://a.example/%4"},
		{"broken escape", "https://a.example/%zz"},
		{"broken escape: case bit", "https://a.example/%\x114"},
		{"broken escape: case bit", "https://a.example/%@A"},
		{"RFC 6749 §4.1.2 names", "https://a.example/cb?state=1"},
		{"RFC 9207 §2 name", "https://a.example/cb?iss=1"},
		{"RFC 6749 §4.1.2.1 names", "https://a.example/cb?error=1"},
		{"RFC 6749 §4.1.2.1 names", "https://a.example/cb?error_description=1"},
		{"names, encoded", "https://a.example/cb?%63ode=1"},
		{"names, encoded", "https://a.example/cb?cod%65=1"},
		{"names, other case", "https://a.example/cb?Code=1"},
		{"names, second", "https://a.example/cb?x=1&state"},
		{"names, after ;", "https://a.example/cb?x=1;code=1"},
		{"names, loopback", "http://localhost/cb?code=1"},
		{"names, private", "com.example.app:/cb?code=1"},
		{"https needs //", "https:/a.example/cb"},
		{"https needs //", "https:a.example/cb"},
		{"empty host", "https:///a.example/cb"},
		{"empty host", "https://"},
		{"empty host", "https://:443/cb"},
		{"trailing dot", "https://a.example./cb"},
		{"host label", "https://a..example/cb"},
		{"host label", "https://-a.example/cb"},
		{"host label", "https://a-.example/cb"},
		{"host label", "https://a_b.example/cb"},
		{"host label", "https://" + strings.Repeat("a", 64) + ".example/cb"},
		{"host length", "https://" + strings.Repeat("a.", 126) + "ab/cb"},
		{"host, encoded", "https://a%2eexample/cb"},
		{"IP literal", "https://[::1]/cb"},
		{"IP literal", "https://[::1%25eth0]/cb"},
		{"IP literal, short", "https://127.1/cb"},
		{"IP literal, decimal", "https://2130706433/cb"},
		{"IP literal, hexadecimal", "https://0x7f000001/cb"},
		{"IP literal, hexadecimal", "https://a.0X7F/cb"},
		{"IP literal, octal", "https://0177.0.0.01/cb"},
		{"port", "https://a.example:/cb"},
		{"port", "https://a.example:0/cb"},
		{"port", "https://a.example:080/cb"},
		{"port", "https://a.example:65536/cb"},
		{"port", "https://a.example:+80/cb"},
		{"port", "https://a.example:80:80/cb"},
		{"port, loopback", "http://localhost:/cb"},
		{"port, loopback", "http://localhost:080/cb"},
		{"port, loopback", "http://localhost:65536/cb"},
		{"port, loopback", "http://[::1]:99999999999999999999/cb"},
		{"loopback exactly", "http://localhost./cb"},
		{"loopback exactly", "http://LOCALHOST/cb"},
		{"loopback exactly", "http://x.localhost/cb"},
		{"loopback exactly", "http://localhost.evil.example/cb"},
		{"loopback exactly", "http://127.1/cb"},
		{"loopback exactly", "http://127.0.0.1.evil.example/cb"},
		{"loopback exactly", "http://0.0.0.0/cb"},
		{"loopback exactly", "http://[::]/cb"},
		{"loopback exactly", "http://[0:0:0:0:0:0:0:1]/cb"},
		{"loopback exactly", "http://[::ffff:127.0.0.1]/cb"},
		{"loopback exactly", "http://[::1%25lo]/cb"},
		{"loopback exactly", "http://[::1]x/cb"},
		{"loopback exactly", "http://::1/cb"},
		{"loopback exactly", "http:/localhost/cb"},
		{"loopback exactly", "http:localhost/cb"},
		{"own origin", "https://MCP.example.com/callback"},
		{"own origin", "https://mcp.example.com:443/x"},
		{"own origin", "https://mcp.example.com"},
		{"never", "javascript:alert(1)"},
		{"never", "javascript://a.example/%0aalert(1)"},
		{"never", "data:text/html,x"},
		{"never", "file:///etc/passwd"},
		{"never", "vbscript:x"},
		{"never", "blob:https://a.example/x"},
		{"never", "about:blank"},
		{"never", "ws://a.example/"},
		{"never", "wss://a.example/"},
		{"never", "filesystem:https://a.example/x"},
		{"never", "intent://x"},
		{"RFC 8252 §7.1 no dot, not listed", "windsurf://x/cb"},
		{"RFC 8252 §7.1 no dot, not listed", "urn:ietf:wg:oauth:2.0:oob"},
		{"RFC 8252 §7.1 no dot, not listed", "ftp://a.example/cb"},
	} {
		err := rules.Check(row.uri)
		if err == nil {
			t.Errorf("%s: %q accepted", row.source, row.uri)
		} else if len(row.uri) > 8 && strings.Contains(err.Error(), row.uri) {
			t.Errorf("%s: the error shows the URI: %v", row.source, err)
		}
	}
}

// The error is for whoever writes the client's metadata or our configuration: it names the fix.
func TestRedirectRulesNameTheFix(t *testing.T) {
	for uri, fix := range map[string]string{
		"https:/a.example/cb":     "//",
		"https://a.example./cb":   "trailing dot",
		"https://a.example:/cb":   "port",
		"http://localhost:080/cb": "port",
		"http://a.example/cb":     "use https",
		"myapp://cb":              "private_schemes",
		"HTTPS://a.example/cb":    "lower case",
		"https://a.example/cb#":   "fragment",
		"https://u@a.example/cb":  "before @",
		"https://a.example/..":    "..",
		"https://a.example/?iss=": "iss",
		"https://mcp.example.com": "own address",
	} {
		if err := rules.Check(uri); err == nil || !strings.Contains(err.Error(), fix) {
			t.Errorf("%s: %v does not name %q", uri, err, fix)
		}
	}
}

// While our own issuer is on loopback, a code for it must not be sent to ourselves either.
func TestRedirectRulesOwnLoopback(t *testing.T) {
	r := oauth.RedirectRules{Issuer: "http://127.0.0.1:8080"}
	for uri, ok := range map[string]bool{
		"http://127.0.0.1:8080/callback": false,
		"http://127.0.0.1:8081/callback": true,
		"http://127.0.0.1/callback":      true,
	} {
		if err := r.Check(uri); (err == nil) != ok {
			t.Errorf("%s: %v", uri, err)
		}
	}
	if err := (oauth.RedirectRules{}).Check("https://a.example/cb"); err != nil {
		t.Errorf("without an issuer: %v", err)
	}
}

func TestRedirectKind(t *testing.T) {
	for uri, want := range map[string]oauth.Kind{
		"https://a.example/cb":   oauth.KindHTTPS,
		"http://localhost:1/cb":  oauth.KindLoopback,
		"http://127.0.0.1":       oauth.KindLoopback,
		"http://[::1]/":          oauth.KindLoopback,
		"cursor://x/cb":          oauth.KindPrivate,
		"com.example.app:/cb":    oauth.KindPrivate,
		"http://localhost#@evil": oauth.KindPrivate,
		"http://localhost@evil/": oauth.KindPrivate, // not acceptable, and never taken for loopback
	} {
		if got := oauth.RedirectKind(uri); got != want {
			t.Errorf("%s: kind %d", uri, got)
		}
	}
}
