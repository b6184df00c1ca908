package trace

// The steps, by the name that is printed.
const (
	stepReach        = "reach"
	stepTLS          = "tls"
	stepChallenge    = "challenge"
	stepBadToken     = "bad token"
	stepResource     = "resource metadata"
	stepServer       = "server metadata"
	stepRegistration = "registration"
	stepAuthorize    = "authorize"
	stepCallback     = "callback"
	stepToken        = "token"
	stepInitialize   = "initialize"
	stepTools        = "tools/list"
	stepDiscover     = "server/discover"
	stepModernTools  = "tools/list, new era"
	stepCall         = "tools/call"
	stepRefresh      = "refresh"
	stepRefreshed    = "refreshed call"
	stepRetry        = "retry"
	stepSession      = "session end"
	stepRevoke       = "revoke"
	stepRevoked      = "revoked token"
)

// rule is what a client may expect of a step, and who says so.
type rule struct{ expected, source string }

// rules has one entry a step. MCP stands for the specification of 2025-11-25 unless another date is named.
var rules = map[string]rule{
	stepReach:     {"an HTTP answer", "RFC 9110 §3"},
	stepTLS:       {"a certificate for this name, TLS 1.2 or newer; plain http on loopback only", "RFC 9325 §3.1.1, OAuth 2.1 §1.5"},
	stepChallenge: {"401 with a Bearer challenge that names resource_metadata; or an answer, if no authorization is asked", "RFC 9728 §5.1, RFC 6750 §3, MCP Authorization"},
	stepBadToken:  {"401 with a Bearer challenge for a token that nobody issued", "RFC 6750 §3.1"},
	stepResource:  {"200 and JSON whose resource is this URL and that names an authorization server, at the URL of the challenge and at both well-known forms alike", "RFC 9728 §2, §3.1, §3.3"},
	stepServer:    {"200 and JSON whose issuer is the one asked for byte by byte, with S256, the code flow and https endpoints", "RFC 8414 §2, §3.1, §3.3, RFC 7636 §4.2, MCP Authorization"},
	stepRegistration: {"a client id, and our redirect URI as we sent it", "RFC 7591 §3.2.1, " +
		"draft-ietf-oauth-client-id-metadata-document, MCP Authorization"},
	stepAuthorize:   {"a page for the person, or a redirect to one", "RFC 6749 §4.1.1, RFC 8707 §2, RFC 7636 §4.3"},
	stepCallback:    {"a code with our state, and iss if the server announces it", "RFC 6749 §4.1.2, RFC 9207 §2.4"},
	stepToken:       {"200 and JSON with access_token, token_type Bearer, expires_in, refresh_token; not stored by caches", "RFC 6749 §5.1, RFC 7636 §4.5"},
	stepInitialize:  {"a protocol version and the server's name; 202 for notifications/initialized", "MCP Lifecycle, Streamable HTTP"},
	stepTools:       {"tools with distinct names and an inputSchema of type object", "MCP Tools"},
	stepDiscover:    {"supportedVersions with ours and capabilities; or a refusal, if the server speaks the older era only", "MCP 2026-07-28 Lifecycle"},
	stepModernTools: {"tools with distinct names and an inputSchema of type object, without a session", "MCP 2026-07-28 Tools"},
	stepCall:        {"a result with content", "MCP Tools"},
	stepRefresh:     {"200 and another access token; another refresh token too, since we are a public client", "RFC 6749 §6, OAuth 2.1 §4.3.1"},
	stepRefreshed:   {"the new access token works", "RFC 6750 §2.1"},
	stepRetry:       {"the previous refresh token, within seconds: the same answer again, so that a lost one costs no login", "FAPI 2.0 §5.3.2.1, RFC 9700 §4.14.2"},
	stepSession:     {"2xx, or 405 if sessions cannot be ended", "MCP Streamable HTTP, Session Management"},
	stepRevoke:      {"200 with an empty body", "RFC 7009 §2.2"},
	stepRevoked:     {"neither the refresh token nor the access token works any more", "RFC 7009 §2.1"},
}
