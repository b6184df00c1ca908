package mcp

import (
	"encoding/base64"
	"net/http"
	"strings"
	"unicode/utf8"

	"hostedmcp/mcp/connector"
)

// Headers of the transport, in net/http's spelling. Go looks headers up in this spelling; on the wire case does not
// count (RFC 9110 §5.1).
const (
	headerVersion = "Mcp-Protocol-Version"
	headerSession = "Mcp-Session-Id"
	headerMethod  = "Mcp-Method"
	headerName    = "Mcp-Name"
)

// modernHeader reports whether the headers alone name the modern era.
func modernHeader(h http.Header) bool { return h.Get(headerVersion) >= connector.ModernVersion }

// modern decides the era of a POST (protocol.md §7, Eras). The body counts without a session only: in one, the era
// was settled by initialize.
func (m *message) modern(h http.Header) bool {
	return modernHeader(h) || m.hasVersion && h.Get(headerSession) == ""
}

// repeatedHeader refuses a transport header that stands twice: a proxy on the way may have judged the other one. Nobody
// sends one twice in good faith, in neither era.
func repeatedHeader(h http.Header) *rpcError {
	for _, name := range [...]string{headerVersion, headerSession, headerMethod, headerName} {
		if len(h[name]) > 1 {
			return badMessage(codeHeaderMismatch, "header mismatch: "+name+" is repeated")
		}
	}
	return nil
}

// agree makes sure that the headers of a modern request say what its body says, since proxies route and meter by the
// headers (MCP 2026-07-28, Streamable HTTP, "Standard headers"). It writes the decoded name into h, where the SDK
// compares it as it is.
func (m *message) agree(h http.Header) *rpcError {
	if fault := m.agreeVersion(h.Get(headerVersion)); fault != nil {
		return fault
	}
	if m.method == "" {
		return nil // responses carry neither method nor name
	}
	if h.Get(headerMethod) == "" && m.id == nil {
		h.Set(headerMethod, m.method) // required on requests only; the SDK wants it on notifications too
	}
	switch method := h.Get(headerMethod); {
	case method == "":
		return badMessage(codeHeaderMismatch, "header mismatch: Mcp-Method is missing")
	case method != m.method:
		return badMessage(codeHeaderMismatch, "header mismatch: Mcp-Method is not the method of the body")
	}
	switch m.method {
	case methodToolsCall, methodPromptsGet, methodResourcesRead:
		return m.agreeName(h)
	}
	return nil
}

// agreeVersion compares the version of header and body. A request must carry it in both; notifications have no
// obligatory _meta, and what they say may not contradict. A body that names its version is of the modern era even
// without the header, which is then missing.
func (m *message) agreeVersion(header string) *rpcError {
	switch {
	case header == "":
		return badMessage(codeHeaderMismatch, "header mismatch: MCP-Protocol-Version is missing")
	case m.hasVersion && header != m.version:
		return badMessage(codeHeaderMismatch, "header mismatch: MCP-Protocol-Version is not the version of the body")
	case m.isCall() && !m.hasVersion:
		return badMessage(codeInvalidParams, "missing _meta field "+metaVersion)
	}
	return nil
}

// agreeName compares Mcp-Name with the tool, prompt or resource of the body.
func (m *message) agreeName(h http.Header) *rpcError {
	value := h.Get(headerName)
	if value == "" {
		return badMessage(codeHeaderMismatch, "header mismatch: Mcp-Name is missing")
	}
	name, ok := decodeHeader(value)
	if !ok || name != m.name {
		return badMessage(codeHeaderMismatch, "header mismatch: Mcp-Name is not the name of the body")
	}
	h.Set(headerName, name)
	return nil
}

// decodeHeader reads a header value that may be wrapped because it is not plain ASCII: =?base64?...?= (MCP
// 2026-07-28, "Value encoding"). A value that only looks wrapped is taken as it stands: agreeName compares it then.
func decodeHeader(value string) (string, bool) {
	inner, ok := strings.CutPrefix(value, "=?base64?")
	if ok {
		inner, ok = strings.CutSuffix(inner, "?=")
	}
	if !ok {
		return value, true
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(inner)
	return string(decoded), err == nil && utf8.Valid(decoded)
}
