package trace_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hostedmcp/auth/authtest"
	"hostedmcp/mcp/trace"
)

// answers replaces the answer.
func answers(status int, contentType, body string) func(int, http.Header, string) (int, string) {
	return func(_ int, h http.Header, _ string) (int, string) {
		h.Set("Content-Type", contentType)
		return status, body
	}
}

// replaces changes the body.
func replaces(old, with string) func(int, http.Header, string) (int, string) {
	return func(status int, _ http.Header, body string) (int, string) {
		return status, strings.ReplaceAll(body, old, with)
	}
}

// spell changes the body of a request.
func spell(old, with string) func(*http.Request) {
	return func(r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		body = bytes.ReplaceAll(body, []byte(old), []byte(with))
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
}

const (
	asPath       = "/.well-known/oauth-authorization-server"
	resourcePath = "/.well-known/oauth-protected-resource/mcp"
)

// TestFaults plants one fault at a time in front of a good server: the faulty step is named, in the last line and in
// the error, and with -json.
func TestFaults(t *testing.T) {
	header := func(name, value string) func(int, http.Header, string) (int, string) {
		return func(status int, h http.Header, body string) (int, string) { h.Set(name, value); return status, body }
	}
	unsent := func(name string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(name) } }
	for _, c := range []struct {
		name  string // with the section that the fault breaks
		step  string
		says  string // in the step's lines
		fault fault
		args  []string
	}{
		{"401 without challenge, RFC 9728 §5.1", "challenge", "without a Bearer challenge",
			fault{path: "/mcp", after: func(s int, h http.Header, b string) (int, string) { h.Del("WWW-Authenticate"); return s, b }}, nil},
		{"403 to everybody, RFC 6750 §3.1", "challenge", "403", fault{path: "/mcp", nth: 1, after: answers(403, "text/plain", "no")}, nil},
		{"challenge leads to http, OAuth 2.1 §1.5", "challenge", "is not https",
			fault{path: "/mcp", after: header("WWW-Authenticate", `Basic x, Bearer resource_metadata="http://mcp.example/x", scope="a"`)}, nil},
		{"malformed scope, RFC 6749 §3.3", "challenge", "malformed",
			fault{path: "/mcp", after: func(s int, h http.Header, b string) (int, string) {
				h.Set("WWW-Authenticate", strings.Replace(h.Get("WWW-Authenticate"), `scope="`, `scope="a  `, 1))
				return s, b
			}}, nil},
		{"made-up token taken, RFC 6750 §3.1", "bad token", "made-up token is accepted",
			fault{path: "/mcp", nth: 2, after: answers(200, "application/json", "{}")}, nil},
		{"made-up token is a fault of the server", "bad token", "500", fault{path: "/mcp", nth: 2, after: answers(500, "text/html", "oops")}, nil},
		{"no PRM, RFC 9728 §3", "resource metadata", "404", fault{path: resourcePath, after: answers(404, "text/plain", "")}, nil},
		{"PRM of another resource, RFC 9728 §3.3", "resource metadata", "clients must not use it",
			fault{path: resourcePath, after: replaces("/mcp\"", "/other\"")}, nil},
		{"PRM without servers, RFC 9728 §2", "resource metadata", "no authorization server",
			fault{path: resourcePath, after: replaces("authorization_servers", "authorization_server")}, nil},
		{"PRM is a page", "resource metadata", "no JSON", fault{path: resourcePath, after: answers(200, "text/html", "<html>")}, nil},
		{"PRM with a duplicate key, RFC 8259 §4", "resource metadata", "duplicate name",
			fault{path: resourcePath, after: replaces("{\"resource\"", "{\"resource\":\"x\",\"resource\"")}, nil},
		{"no AS metadata, RFC 8414 §3.1", "server metadata", "404", fault{path: asPath, after: answers(404, "text/plain", "")}, nil},
		{"issuer with a slash, RFC 8414 §3.3", "server metadata", "RFC 8414 §3.3",
			fault{path: asPath, after: func(s int, h http.Header, b string) (int, string) {
				return s, strings.Replace(b, `","authorization_endpoint`, `/","authorization_endpoint`, 1)
			}}, nil},
		{"no S256, RFC 7636 §4.2", "server metadata", "lacks S256", fault{path: asPath, after: replaces(`"S256"`, `"plain"`)}, nil},
		{"no token endpoint, RFC 8414 §2", "server metadata", "has no token_endpoint", fault{path: asPath, after: replaces("token_endpoint\"", "tok\"")}, nil},
		{"token endpoint in plain http", "server metadata", "is not https",
			fault{path: asPath, after: replaces(`"token_endpoint":"http://127.0.0.1`, `"token_endpoint":"http://mcp.example`)}, nil},
		{"AS metadata endless", "server metadata", "more than 4 MiB",
			fault{path: asPath, after: answers(200, "application/json", strings.Repeat(" ", 4<<20+1))}, nil},
		{"no registration endpoint, RFC 7591 §3", "registration", "give -client-id", fault{path: asPath, after: replaces("registration_endpoint", "r")}, nil},
		{"registration refused, RFC 7591 §3.2.2", "registration", "invalid_redirect_uri",
			fault{path: "/register", after: answers(400, "application/json", `{"error":"invalid_redirect_uri","error_description":"no loopback"}`)}, nil},
		{"registration without id, RFC 7591 §3.2.1", "registration", "no client_id", fault{path: "/register", after: replaces("client_id", "id")}, nil},
		{"another redirect URI registered, RFC 7591 §3.2.1", "registration", "without ours", fault{path: "/register", after: replaces("/callback", "/cb")}, nil},
		{"authorize knows no such client, RFC 6749 §4.1.2.1", "authorize", "400",
			fault{path: "/authorize", before: func(r *http.Request) {
				r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "client_id=", "client_id=x", 1)
			}}, nil},
		{"authorize answers at once with an error", "authorize", "invalid_scope",
			fault{path: "/authorize", after: func(_ int, h http.Header, _ string) (int, string) {
				h.Set("Location", "http://localhost/callback?error=invalid_scope")
				return 302, ""
			}}, []string{"-callback", "http://localhost/callback", "-no-login"}},
		{"authorize is no page", "authorize", "no page", fault{path: "/authorize", after: answers(200, "application/json", "{}")}, nil},
		{"code is refused, RFC 7636 §4.6", "token", "pkce_failed",
			fault{path: "/authorize", nth: 1}, []string{"plant", "verifier"}},
		{"token endpoint down", "token", "503", fault{path: "/token", after: answers(503, "text/html", "x")}, nil},
		{"token answer without token, RFC 6749 §5.1", "token", "without access_token", fault{path: "/token", after: replaces("access_token", "token")}, nil},
		{"token type, RFC 6749 §7.1", "token", "not Bearer", fault{path: "/token", after: replaces("Bearer", "mac")}, nil},
		{"expires_in is no number, RFC 6749 §5.1", "token", "expires_in", fault{path: "/token", after: replaces(`"expires_in":`, `"expires_in":-`)}, nil},
		{"token answer is a page", "token", "no JSON", fault{path: "/token", after: answers(200, "text/html", "<html>")}, nil},
		{"discover fails, MCP 2026-07-28", "server/discover", "500", fault{method: "server/discover", after: answers(500, "text/plain", "x")}, nil},
		{"discover lacks our version", "server/discover", "without 2026-07-28", fault{method: "server/discover", after: replaces("2026-07-28", "2027-01-01")}, nil},
		{"good token refused, RFC 6750 §3.1", "server/discover", "401", fault{method: "server/discover", before: unsent("Authorization")}, nil},
		{"initialize refused, MCP Lifecycle", "initialize", "500", fault{method: "initialize", nth: 3, after: answers(500, "text/plain", "x")}, nil},
		{"initialize speaks an unknown version", "initialize", "1999-01-01", fault{method: "initialize", after: replaces("2025-11-25", "1999-01-01")}, nil},
		{"initialize without serverInfo", "initialize", "no serverInfo", fault{method: "initialize", after: replaces("serverInfo", "info")}, nil},
		{"answer with another id, JSON-RPC 2.0 §5", "initialize", "another request", fault{method: "initialize", after: replaces(`"id":1`, `"id":2`)}, nil},
		{"initialized refused, MCP Lifecycle", "initialize", "notifications/initialized", fault{method: "notifications/initialized", after: answers(400, "text/plain", "x")}, nil},
		{"session forgotten, MCP Streamable HTTP", "tools/list", "session_unknown",
			fault{method: "tools/list", nth: 2, before: func(r *http.Request) { r.Header.Set("Mcp-Session-Id", "gone") }}, nil},
		{"tool without schema, MCP Tools", "tools/list, new era", "no inputSchema", fault{method: "tools/list", after: replaces("inputSchema", "schema")}, nil},
		{"two tools of one name, MCP Tools", "tools/list, new era", "two tools", fault{method: "tools/list", after: replaces(`"userinfo"`, `"whoami"`)}, nil},
		{"endless pages", "tools/list, new era", "never ends", fault{method: "tools/list", before: spell("cursor", "again"), after: replaces(`"tools":`, `"nextCursor":"x","tools":`)}, nil},
		{"the tool is not there", "tools/call", "unknown tool", fault{}, []string{"-call", "nothing"}},
		{"result without content, MCP Tools", "tools/call", "without content", fault{method: "tools/call", after: replaces(`"content"`, `"contents"`)}, nil},
		{"refresh refused, RFC 6749 §6", "refresh", "invalid_grant",
			fault{method: "refresh_token", nth: 1, after: answers(400, "application/json", `{"error":"invalid_grant"}`)}, nil},
		{"refreshed token does not work", "refreshed call", "401", fault{method: "tools/list", nth: 3, before: unsent("Authorization")}, nil},
		{"session cannot be ended", "session end", "500", fault{method: "DELETE", after: answers(500, "text/plain", "")}, nil},
		{"revocation fails, RFC 7009 §2.2", "revoke", "503", fault{path: "/revoke", after: answers(503, "text/plain", "")}, nil},
		{"revocation revokes nothing, RFC 7009 §2.1", "revoked token", "still works",
			fault{path: "/revoke", before: func(r *http.Request) { r.URL.Path = "/healthz"; r.Method = http.MethodGet }}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, authtest.ServerOptions{})
			args := append([]string{w.url}, c.args...)
			env := trace.Env{HTTP: &http.Client{Transport: &tamper{base: w.HTTP.Transport, fault: c.fault}}}
			if c.args != nil && c.args[0] == "plant" { // the browser meets another challenge than ours
				args = args[:1]
				env.Open = w.otherChallenge()
			}
			o := w.run(env, args...)
			wantFault(t, o, c.step, c.says)
		})
	}
}

// wantFault: the last line and the error name the step, and its lines say what came.
func wantFault(t *testing.T, o outcome, step, says string) {
	t.Helper()
	var failure *trace.Failure
	if !errors.As(o.err, &failure) || failure.Step != step || trace.ExitCode(o.err) != 1 {
		t.Errorf("error %v, want step %s\n%s", o.err, step, o.stdout)
	}
	if last := strings.TrimSpace(o.stdout[strings.LastIndex(strings.TrimSpace(o.stdout), "\n")+1:]); last != "FAIL at step: "+step {
		t.Errorf("last line %q", last)
	}
	_, lines, _ := strings.Cut(o.stdout, "FAIL  "+step+"\n")
	lines, _, _ = strings.Cut(lines, "\n\n")
	if !strings.Contains(lines, says) {
		t.Errorf("%q does not say %q", lines, says)
	}
}

// otherChallenge signs in with a challenge that is not that of our verifier: an injected request (RFC 7636 §1).
func (w *world) otherChallenge() func(string) {
	return func(at string) {
		before, after, _ := strings.Cut(at, "code_challenge=")
		_, after, _ = strings.Cut(after, "&")
		w.person(nil)(before + "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&" + after)
	}
}

// TestCallbackFaults spoils the answer between authorization server and client.
func TestCallbackFaults(t *testing.T) {
	cut := func(name string) func(string) string {
		return func(to string) string {
			before, after, _ := strings.Cut(to, name+"=")
			_, after, _ = strings.Cut(after, "&")
			return before + after
		}
	}
	for _, c := range []struct {
		name, says string
		change     func(string) string
	}{
		{"another state, RFC 6749 §10.12", "state is not what we sent", func(to string) string { return strings.Replace(to, "state=", "state=x", 1) }},
		{"no state", "state is not what we sent", cut("state")},
		{"no iss, RFC 9207 §2.4", "no iss although", cut("iss")},
		{"another iss, RFC 9207 §2.4", "iss is", func(to string) string { return strings.Replace(to, "iss=", "iss=x", 1) }},
		{"two codes", "2 times", func(to string) string { return to + "&code=1" }},
		{"no code", "no answer within", func(to string) string { return strings.Replace(to, "code=", "cod=", 1) }},
		{"an error", "access_denied", func(to string) string { return strings.Replace(to, "code=", "error=access_denied&x=", 1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, authtest.ServerOptions{})
			args := []string{w.url}
			if c.name == "no code" {
				args = append(args, "-wait", "1s")
			}
			wantFault(t, w.run(trace.Env{Open: w.person(c.change)}, args...), "callback", c.says)
		})
	}
}

// TestUnreachable: nothing listens; nothing answers; the certificate is a stranger's; plain http speaks where TLS should.
func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String() + "/mcp"
	l.Close()
	wantFault(t, run(closed), "reach", "refused")

	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(func() { close(release); silent.Close() })
	wantFault(t, run("-timeout", "50ms", silent.URL), "reach", "no answer within 50ms")

	stranger := httptest.NewUnstartedServer(http.NotFoundHandler())
	stranger.Config.ErrorLog = log.New(io.Discard, "", 0)
	stranger.StartTLS()
	t.Cleanup(stranger.Close)
	wantFault(t, run(stranger.URL), "tls", "certificate")

	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.StartTLS()
	t.Cleanup(old.Close)
	wantFault(t, run(old.URL), "tls", "protocol version")

	// as if the name stood for another computer
	elsewhere := strings.TrimPrefix(bare(t, true), "http://")
	far := &tamper{base: http.DefaultTransport, fault: fault{before: func(r *http.Request) { r.URL.Host = elsewhere }}}
	var out authtest.Buffer
	err = trace.Run(t.Context(), []string{"http://mcp.example/mcp"}, trace.Env{Stdout: &out, Stderr: &out, HTTP: &http.Client{Transport: far}})
	wantFault(t, outcome{stdout: out.String(), err: err}, "tls", "plain http beyond this computer")
	http.DefaultClient.CloseIdleConnections()

	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	wantFault(t, run(strings.Replace(plain.URL, "http:", "https:", 1)), "tls", "HTTP response")
}
