package trace_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/mcp/trace"
)

// TestClients walks hostedmcp as each known client (protocol.md §3.5), up to the login where its answer would go
// elsewhere. The pairs are what the recordings of the real client have and no other habit explains.
func TestClients(t *testing.T) {
	const origin = "http://127.0.0.1:"
	for name, sent := range map[string][]string{
		"chatgpt":    {`"redirect_uris":["https://chatgpt.com/connector_platform_oauth_redirect"]`},
		"claude":     {"client_id=https%3A%2F%2Fclaude.ai%2Foauth%2Fclaude-code-client-metadata", "prompt=consent", "offline_access", `"method":"server/discover"`},
		"claude-ai":  {`"redirect_uris":["https://claude.ai/api/mcp/auth_callback"]`, "crm.write"},
		"codex":      {"client_id=https%3A%2F%2Fchatgpt.com%2Foauth%2Fcodex%2Fclient.json", "GET " + origin, `"protocolVersion":"2025-06-18"`, "scope=mcp+offline_access&"},
		"copilot":    {"client_id=https%3A%2F%2Fgithub.com%2Fcopilot%2Fcli%2Fclient-metadata.json", "prompt=consent"},
		"cursor":     {`"http://localhost:8787/callback","cursor://anysphere.cursor-mcp/oauth/callback","https://www.cursor.com/agents/mcp/oauth/callback"`},
		"fastmcp":    {`"client_name":"FastMCP Client"`, `"application_type":"native"`},
		"gemini":     {"HEAD " + origin, "crm.write", `"protocolVersion":"2025-06-18"`},
		"go-sdk":     {`"client_name":"go-sdk client"`, "server/discover"},
		"inspector":  {`"redirect_uris":["http://127.0.0.1:6276/oauth/callback"]`, "prompt=consent"},
		"mcp-remote": {"GET " + origin, "refresh_token&", "scope=mcp+offline_access"},
		"mcporter":   {`"scope":"mcp"`},
		"opencode":   {`"redirect_uris":["http://127.0.0.1:19876/mcp/oauth/callback"]`},
		"py-mcp":     {"prompt=consent", "server/discover"},
		"ts-v1":      {`"scope":"mcp"`, `"protocolVersion":"2025-11-25"`},
		"ts-v2":      {"prompt=consent", "server/discover"},
		"vscode":     {`"redirect_uris":["http://127.0.0.1:33418/"`, "https://vscode.dev/redirect"},
		"zed":        {`"client_name":"Zed"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, authtest.ServerOptions{})
			seen := &tamper{base: w.HTTP.Transport}
			args := []string{"-as", name, "-json", w.url}
			// these answers go to a fixed port, which may be taken on this computer, or to another one
			if slices.Contains([]string{"chatgpt", "claude-ai", "cursor", "inspector", "opencode", "vscode"}, name) {
				args = append(args, "-callback", "none")
			}
			o := w.run(trace.Env{HTTP: &http.Client{Transport: seen}}, args...)
			if o.err != nil {
				t.Errorf("%v\n%s", o.err, o.stdout)
			}
			all := strings.Join(seen.seen, "\n")
			for _, s := range sent {
				if !strings.Contains(all, s) {
					t.Errorf("never sent %s:\n%s", s, all)
				}
			}
			if name == "opencode" && strings.Count(all, "POST "+w.Issuer+"/register") != 2 {
				t.Error("it registers twice")
			}
		})
	}
	if got := len(trace.Clients()); got != 18 {
		t.Errorf("%d clients, 18 tested", got)
	}
}

// TestBasicHabit: go-sdk with a metadata document sends Basic with its URL, form-encoded, and an empty secret, and no
// client_id in the body (captures; protocol.md §3.5).
func TestBasicHabit(t *testing.T) {
	w := newWorld(t, authtest.ServerOptions{})
	seen := 0
	plant := fault{path: "/token", before: func(r *http.Request) {
		if user, pass, ok := r.BasicAuth(); ok && pass == "" && strings.HasPrefix(user, "https%3A%2F%2Fclaude.ai") {
			seen++
		}
	}}
	p := &tamper{base: w.HTTP.Transport, fault: plant}
	o := w.run(trace.Env{HTTP: &http.Client{Transport: p}}, "-as", "go-sdk", "-client-id", "https://claude.ai/oauth/claude-code-client-metadata", w.url)
	if o.err != nil || seen < 2 {
		t.Errorf("%v, Basic seen %d times\n%s", o.err, seen, o.stdout)
	}
	for _, s := range p.seen {
		if strings.Contains(s, "/token ") && (strings.Contains(s, "client_id=") || strings.Contains(s, "refresh_token&") && strings.Contains(s, "resource=")) {
			t.Errorf("sent in the body: %s", s)
		}
	}
}

// TestShortTokens: a token that lives no longer than a client's margin is noted for that client (Gemini CLI and Claude
// Code refresh 300 s ahead).
func TestShortTokens(t *testing.T) {
	w := newWorld(t, authtest.ServerOptions{})
	short := fault{path: "/token", after: replaces(`"expires_in":3600`, `"expires_in":300`)}
	for name, noted := range map[string]bool{"gemini": true, "ts-v1": false} {
		o := w.run(trace.Env{HTTP: &http.Client{Transport: &tamper{base: w.HTTP.Transport, fault: short}}}, "-as", name, w.url)
		if o.err != nil || strings.Contains(o.stdout, "refreshes 300 s before the end") != noted {
			t.Errorf("%s: %v\n%s", name, o.err, o.stdout)
		}
	}
}

// TestConfidential uses a registered client with its secret, as Basic (RFC 6749 §2.3.1); the wrong secret is a fault of
// the step token.
func TestConfidential(t *testing.T) {
	const id, secret = "crm-agent", "s3cret of a confidential client/+"
	file, other := t.TempDir()+"/secret", t.TempDir()+"/other"
	writeFile(t, file, secret+"\n")
	writeFile(t, other, "not the secret of this client")
	w := newWorld(t, authtest.ServerOptions{Auth: func(o *auth.Options) {
		c := auth.RegisteredClient{ID: id, Name: "CRM agent", RedirectURIs: []string{"http://127.0.0.1/callback"}, Secret: secret}
		o.Clients.Registered = []auth.RegisteredClient{c}
	}})
	sent := ""
	p := &tamper{base: w.HTTP.Transport, fault: fault{path: "/token", before: func(r *http.Request) { _, sent, _ = r.BasicAuth() }}}
	o := w.run(trace.Env{HTTP: &http.Client{Transport: p}}, "-client-id", id, "-client-secret-file", file, w.url)
	if sent != url.QueryEscape(secret) {
		t.Errorf("sent %q: not form-encoded", sent)
	}
	if o.err != nil || strings.Contains(o.stdout, secret) {
		t.Errorf("%v\n%s", o.err, o.stdout)
	}
	wantFault(t, w.run(trace.Env{}, "-client-id", id, "-client-secret-file", other, w.url), "token", "client_auth_failed")
	wantFault(t, w.run(trace.Env{}, "-client-id", "nobody", w.url), "authorize", "client_unknown")
	if o := w.run(trace.Env{}, "-client-id", id, "-client-secret-file", file+"x", w.url); o.err == nil || o.stdout != "" {
		t.Errorf("without the file: %v %q", o.err, o.stdout)
	}
}
