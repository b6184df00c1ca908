package trace_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hostedmcp/auth/authtest"
	"hostedmcp/mcp/trace"
)

// TestChallengeForms reads WWW-Authenticate as RFC 9110 §11.6.1 has it.
func TestChallengeForms(t *testing.T) {
	w := newWorld(t, authtest.ServerOptions{})
	at := w.Issuer + resourcePath
	for _, c := range []struct{ value, came string }{
		{`bearer Resource_Metadata="` + at + `" , scope = "mcp"`, `resource_metadata="` + at + `" scope="mcp"`},
		{`Negotiate abc==, Basic realm="a, Bearer b", Bearer scope=mcp, resource_metadata="` + at + `"`, `resource_metadata="` + at + `" scope="mcp"`},
		{`Bearer resource_metadata="` + at + `", scope="mcp", error_description="a \"b\" c", Basic realm="x"`, `error_description="a \"b\" c"`},
		{`Bearer`, "clients must guess"},
		{`Bearer error="invalid_token", resource_metadata="` + at + `", scope="mcp"`, "although no token was sent"},
		{`Bearer resource_metadata="` + at + `"`, "no scope in the challenge"},
		{`Bearer resource_metadata="` + at, "no scope in the challenge"},
	} {
		plant := fault{path: "/mcp", nth: 1, after: func(s int, h http.Header, b string) (int, string) { h.Set("WWW-Authenticate", c.value); return s, b }}
		o := w.run(trace.Env{HTTP: &http.Client{Transport: &tamper{base: w.HTTP.Transport, fault: plant}}}, "-no-login", w.url)
		_, lines, _ := strings.Cut(o.stdout, "  challenge\n")
		lines, _, _ = strings.Cut(lines, "bad token")
		if o.err != nil || !strings.Contains(lines, c.came) {
			t.Errorf("%s: %v\n%s", c.value, o.err, o.stdout)
		}
	}
}

// TestNotes: what works for some clients only is a note and no fault.
func TestNotes(t *testing.T) {
	w := newWorld(t, authtest.ServerOptions{})
	moved := func(_ int, h http.Header, _ string) (int, string) {
		h.Set("Location", asPath+"?moved=1")
		return http.StatusTemporaryRedirect, ""
	}
	for _, c := range []struct {
		name, note string
		fault      fault
	}{
		{"resource with a slash", "Gemini CLI refuses that", fault{path: resourcePath, after: replaces(`/mcp"`, `/mcp/"`)}},
		{"no root form", "answers 404", fault{path: "/.well-known/oauth-protected-resource", after: answers(404, "text/plain", "")}},
		{"another root form", "differs from the document", fault{path: "/.well-known/oauth-protected-resource", after: replaces("mcp", "mpc")}},
		{"metadata elsewhere", "some clients follow none", fault{path: asPath, nth: 1, after: moved}},
		{"no public clients", "without none", fault{path: asPath, after: replaces(`"none",`, "")}},
		{"no refresh", "lacks refresh_token", fault{path: asPath, after: replaces(`,"refresh_token"`, "")}},
		{"registered with 200", "200 in place of 201", fault{path: "/register", after: func(_ int, _ http.Header, b string) (int, string) { return 200, b }}},
		{"no redirect_uris", "not echoed", fault{path: "/register", after: replaces("redirect_uris", "uris")}},
		{"another method", "though we asked for none", fault{path: "/register", after: replaces(`"none"`, `"client_secret_basic"`)}},
		{"robots", "a guard against robots", fault{path: "/authorize", after: answers(403, "text/html", "no")}},
		{"wrong error for a bad token", "not invalid_token", fault{path: "/mcp", nth: 2, after: func(s int, h http.Header, b string) (int, string) {
			h.Set("WWW-Authenticate", strings.Replace(h.Get("WWW-Authenticate"), "invalid_token", "invalid", 1))
			return s, b
		}}},
	} {
		o := w.run(trace.Env{HTTP: &http.Client{Transport: &tamper{base: w.HTTP.Transport, fault: c.fault}}}, "-no-login", w.url)
		if o.err != nil || !strings.Contains(o.stdout, c.note) || !strings.HasSuffix(strings.TrimSpace(o.stdout), "1 with a note") {
			t.Errorf("%s: %v\n%s", c.name, o.err, o.stdout)
		}
	}
	for name, f := range map[string]fault{
		"no-store":      {path: "/token", after: func(s int, h http.Header, b string) (int, string) { h.Del("Cache-Control"); return s, b }},
		"no expires_in": {path: "/token", after: replaces(`"expires_in"`, `"expires"`)},
		"without":       {method: "authorization_code", after: replaces(`"scope":"mcp offline_access"`, `"scope":"other"`)},
		"stays the same": {method: "refresh_token", nth: 1, after: func(s int, _ http.Header, b string) (int, string) {
			return s, strings.Replace(b, `"refresh_token"`, `"refreshed"`, 1)
		}},
	} {
		o := w.run(trace.Env{HTTP: &http.Client{Transport: &tamper{base: w.HTTP.Transport, fault: f}}}, w.url)
		if name == "without" {
			name = `granted "other" of the asked`
		}
		if !strings.Contains(o.stdout, "note     ") || !strings.Contains(o.stdout, name) {
			t.Errorf("%s: %v\n%s", name, o.err, o.stdout)
		}
	}
	endless := fault{path: asPath, after: moved}
	wantFault(t, w.run(trace.Env{HTTP: &http.Client{Transport: &tamper{base: w.HTTP.Transport, fault: endless}}}, w.url), "server metadata", "too many redirects")
}

// TestIssuerWithPath finds metadata of an issuer with a path at each URL that MCP Authorization names, in its order
// (RFC 8414 §3.1, OpenID Connect Discovery §4).
func TestIssuerWithPath(t *testing.T) {
	for _, at := range []string{
		"/.well-known/oauth-authorization-server/realms/a", "/.well-known/openid-configuration/realms/a", "/realms/a/.well-known/openid-configuration",
	} {
		url := tenant(t, at)
		if o := run("-no-login", "-client-id", "me", url+"/mcp"); o.err != nil || !strings.Contains(o.stdout, url+at+": issuer "+url+"/realms/a") {
			t.Errorf("%s: %v\n%s", at, o.err, o.stdout)
		}
	}
	slash := run("-no-login", "-client-id", "me", tenant(t, "/.well-known/openid-configuration/realms/a")+"/mcp/")
	if slash.err != nil || !strings.Contains(slash.stdout, "byte by byte") {
		t.Errorf("%v\n%s", slash.err, slash.stdout)
	}
	wantFault(t, run("-no-login", "-client-id", "me", tenant(t, "/nowhere")+"/mcp"), "server metadata", "realms/a/.well-known/openid-configuration: 404")
}

// tenant is the public face of a protected server whose issuer has a path and keeps its metadata at one URL.
func tenant(t *testing.T, at string) string {
	t.Helper()
	var s *httptest.Server
	say := func(w http.ResponseWriter, format string) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, strings.ReplaceAll(format, "HOST", s.URL))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/mcp/", func(w http.ResponseWriter, r *http.Request) {
		challenge := `Bearer resource_metadata="` + s.URL + resourcePath + `", scope="a"`
		if r.Header.Get("Authorization") != "" {
			challenge += `, error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
	})
	mux.HandleFunc(resourcePath, func(w http.ResponseWriter, _ *http.Request) {
		say(w, `{"resource":"HOST/mcp","authorization_servers":["HOST/realms/a"]}`)
	})
	mux.HandleFunc(at, func(w http.ResponseWriter, _ *http.Request) {
		say(w, `{"issuer":"HOST/realms/a","authorization_endpoint":"HOST/authorize","token_endpoint":"HOST/token",
			"response_types_supported":["code"],"code_challenge_methods_supported":["S256"]}`)
	})
	mux.HandleFunc("/authorize", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/sign-in?session=1", http.StatusFound)
	})
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mcp" { // with and without the slash, and without a redirect between them
			r.URL.Path = "/mcp/"
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestStream takes its answer from a stream on which other messages come first, and of which an event spans lines
// (MCP Streamable HTTP; WHATWG HTML §9.2.6).
func TestStream(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		result := `{}`
		switch {
		case strings.Contains(string(body), `"initialize"`):
			result = `{"protocolVersion":"2025-06-18","serverInfo":{"name":"stream","version":"1"},"capabilities":{}}`
		case strings.Contains(string(body), `tools/list`):
			result = `{"tools":[{"name":"a","inputSchema":{"type":"object"}}]}`
		case strings.Contains(string(body), `server/discover`):
			w.WriteHeader(http.StatusNotFound)
			return
		case strings.Contains(string(body), `notifications/`):
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, ": comment\n\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n")
		fmt.Fprintf(w, "id: 7\ndata: {\"jsonrpc\":\"2.0\",\ndata:\"id\":1,\ndata: \"result\":%s}\n\n", result)
		w.(http.Flusher).Flush()
		<-r.Context().Done() // a stream stays open; whoever waits for its end waits for ever
	}))
	t.Cleanup(s.Close)
	o := run("-timeout", "5s", s.URL)
	if o.err != nil || !strings.Contains(o.stdout, `server "stream" 1`) || !strings.Contains(o.stdout, "1 tools: a") || !strings.Contains(o.stdout, "the server speaks the older era only") {
		t.Errorf("%v\n%s", o.err, o.stdout)
	}
}
