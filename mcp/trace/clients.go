package trace

import (
	"maps"
	"slices"
)

// client is how a known client behaves where clients differ. The zero value, with a redirect URI, is a public client
// that keeps to the specification and speaks the older era.
type client struct {
	name       string   // client_name
	redirect   string   // port 0 = any; what is not loopback cannot be waited for
	registered string   // path of the redirect URI when it registers; "" = as with a metadata document
	others     []string // further redirect URIs of the registration
	document   string   // client ID metadata document, sent as soon as one is announced; "" = it registers
	uri        string   // client_uri
	native     bool     // registers application_type native
	noScope    bool     // registers no scope

	agent, mcpAgent string // User-Agent at OAuth endpoints and at the resource; "" = Go's
	metaVersion     string // Mcp-Protocol-Version sent while discovering

	offline        bool // asks for offline_access where it is announced
	allScopes      bool // asks for every scope of the server's metadata
	promptConsent  bool // prompt=consent with offline_access
	registersTwice bool
	basic          bool // with a metadata document: Basic with an empty secret, no client_id in the body

	verifierLen, stateLen int // 0 = 43

	refreshNoResource bool
	refreshScope      bool
	ahead             int  // seconds before the end at which it refreshes
	noRefreshOn401    bool // a premature 401 leads to a login, or to silence

	modern   bool   // opens with server/discover
	version  string // of the older era; "" = 2025-11-25
	getFirst bool   // opens with a GET
	head     bool   // reads the challenge from a HEAD
}

// anyPort is the redirect URI of most native programs (RFC 8252 §7.3).
const anyPort = "http://127.0.0.1:0/callback"

// clients are those of protocol.md §3.5, by recordings of the real programs as far as there are any. Claude.ai, ChatGPT,
// Cursor and VS Code cannot be recorded without an account: their redirect URIs and habits are those they document.
var clients = map[string]client{
	"": {name: "hostedmcp trace", redirect: anyPort, native: true, offline: true, modern: true},
	"chatgpt": {name: "ChatGPT", redirect: "https://chatgpt.com/connector_platform_oauth_redirect",
		agent: "openai-mcp/1.0.0", mcpAgent: "openai-mcp/1.0.0", noScope: true},
	"claude": {name: "Claude Code", redirect: "http://localhost:0/callback", native: true, offline: true,
		promptConsent: true, document: "https://claude.ai/oauth/claude-code-client-metadata", agent: "Bun/1.4.4",
		mcpAgent: "claude-code/2.1.330 (sdk-cli)", metaVersion: "2025-11-25", ahead: 300, modern: true},
	"claude-ai": {name: "Claude", redirect: "https://claude.ai/api/mcp/auth_callback", agent: "Claude-User",
		mcpAgent: "Claude-User", allScopes: true},
	"codex": {name: "Codex", redirect: anyPort, native: true, offline: true, agent: "codex-mcp-client/0.169.0",
		mcpAgent: "codex-mcp-client/0.169.0", document: "https://chatgpt.com/oauth/codex/client.json",
		metaVersion: "2024-11-05", stateLen: 22, refreshScope: true, ahead: 30, version: "2025-06-18", getFirst: true},
	// It logs in twice in a row, of which one is traced, and sends /callback with a metadata document.
	"copilot": {name: "GitHub Copilot CLI", redirect: anyPort, registered: "/", offline: true, promptConsent: true,
		document: "https://github.com/copilot/cli/client-metadata.json", agent: "copilot-cli/1.0.102",
		mcpAgent: "copilot/1.0.102", metaVersion: "2026-07-28", refreshScope: true, ahead: 60, noRefreshOn401: true,
		modern: true},
	// One redirect URI refused is all refused (protocol.md §3.5): they go in one registration.
	"cursor": {name: "Cursor", redirect: "http://localhost:8787/callback", others: []string{
		"cursor://anysphere.cursor-mcp/oauth/callback", "https://www.cursor.com/agents/mcp/oauth/callback"},
		agent: "node", mcpAgent: "node"},
	"fastmcp": {name: "FastMCP Client", redirect: "http://localhost:0/callback", native: true, offline: true,
		promptConsent: true, verifierLen: 128, agent: "python-httpx2/2.16.2", mcpAgent: "python-httpx2/2.16.2",
		metaVersion: "2026-07-28", noRefreshOn401: true, modern: true},
	"gemini": {name: "Gemini CLI MCP Client", redirect: "http://localhost:0/oauth/callback", allScopes: true,
		agent: "node", mcpAgent: "node", verifierLen: 86, stateLen: 22, ahead: 300, noRefreshOn401: true,
		version: "2025-06-18", head: true},
	"go-sdk": {name: "go-sdk client", redirect: anyPort, native: true, noScope: true, offline: true,
		agent: "Go-http-client/1.1", mcpAgent: "Go-http-client/1.1", basic: true, stateLen: 26, refreshNoResource: true,
		ahead: 10, noRefreshOn401: true, modern: true},
	"inspector": {name: "MCP Inspector", redirect: "http://127.0.0.1:6276/oauth/callback", native: true, offline: true,
		promptConsent: true, uri: "https://github.com/modelcontextprotocol/inspector", agent: "node", mcpAgent: "node",
		stateLen: 64},
	"mcp-remote": {name: "MCP CLI Proxy", redirect: "http://localhost:0/oauth/callback", native: true, offline: true,
		promptConsent: true, uri: "https://github.com/modelcontextprotocol/mcp-cli", agent: "node", mcpAgent: "undici",
		refreshScope: true, ahead: 60, getFirst: true},
	"mcporter": {name: "mcporter", redirect: anyPort, agent: "node", mcpAgent: "node", ahead: 60},
	"opencode": {name: "OpenCode", redirect: "http://127.0.0.1:19876/mcp/oauth/callback", offline: true,
		promptConsent: true, uri: "https://opencode.ai", registersTwice: true, stateLen: 64, agent: "opencode/1.18.33",
		mcpAgent: "opencode/1.18.33"},
	"py-mcp": {name: "Python SDK client", redirect: anyPort, native: true, offline: true, promptConsent: true,
		verifierLen: 128, agent: "python-httpx2/2.16.2", mcpAgent: "python-httpx2/2.16.2", metaVersion: "2026-07-28",
		noRefreshOn401: true, modern: true},
	"ts-v1": {name: "TypeScript SDK 1 client", redirect: anyPort, agent: "node", mcpAgent: "node"},
	"ts-v2": {name: "TypeScript SDK 2 client", redirect: anyPort, native: true, offline: true, promptConsent: true,
		agent: "node", mcpAgent: "node", modern: true},
	"vscode": {name: "Visual Studio Code", redirect: "http://127.0.0.1:33418/", others: []string{"http://localhost/",
		"http://127.0.0.1/", "https://vscode.dev/redirect", "https://insiders.vscode.dev/redirect"},
		uri: "https://code.visualstudio.com", native: true, agent: "node", mcpAgent: "node"},
	"zed": {name: "Zed", redirect: anyPort, native: true, agent: "Zed", mcpAgent: "Zed"},
}

// Clients are the names that `-as` takes, in order.
func Clients() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(clients)), func(n string) bool { return n == "" })
}

// registration is the body of a dynamic registration (RFC 7591 §2). Clients of the wild leave out what they have not.
func (c client) registration(redirect, scope string) map[string]any {
	body := map[string]any{
		"client_name": c.name, "redirect_uris": append([]string{redirect}, c.others...),
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
		"token_endpoint_auth_method": "none",
	}
	if scope != "" && !c.noScope {
		body["scope"] = scope
	}
	if c.native {
		body["application_type"] = "native"
	}
	if c.uri != "" {
		body["client_uri"] = c.uri
	}
	return body
}

// habits notes what this client makes of an access token's life.
// It is the only place where a habit makes a note: the rest of the habits are requests, and a server's answer to those
// speaks for itself.
func (c client) habits(s *Step, expires int64) {
	if c.ahead > 0 && expires > 0 && expires <= 2*int64(c.ahead) {
		s.warn("this client refreshes %d s before the end: with %d s it does so before many of its calls; use 10 minutes or more", c.ahead, expires)
	}
	if c.noRefreshOn401 {
		s.warn("this client does not refresh on a 401: a token refused before its end costs a login")
	}
}
