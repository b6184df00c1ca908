package mount

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"hostedmcp/mcp/connector"
)

// This file mirrors what a modern request says into its headers, for proxies that route and meter by them (MCP
// 2026-07-28 "Standard headers", "Custom headers from tool parameters").

// forms are the arguments that tools want to see in headers, by tool; learned from their definitions.
type forms struct {
	mu    sync.Mutex
	tools map[string][]mirrored
}

// mirrored is an argument that is repeated in the header Mcp-Param-<name>.
type mirrored struct {
	path []string // through nested objects
	name string
}

// learn replaces what was known by what these definitions say.
func (f *forms) learn(tools []json.RawMessage) {
	known := map[string][]mirrored{}
	for _, raw := range tools {
		o := objectOf(raw)
		if list := annotations(objectOf(o.get("inputSchema")), nil); len(list) > 0 {
			known[o.text("name")] = list
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tools = known
}

// annotations walks through the properties of a schema, which was checked for its depth.
func annotations(schema object, path []string) (out []mirrored) {
	for _, p := range objectOf(schema.get("properties")) {
		here := append(append([]string{}, path...), unquote(p.key))
		property := objectOf(p.value)
		if name := property.text("x-mcp-header"); isToken(name) {
			out = append(out, mirrored{here, name})
		}
		out = append(out, annotations(property, here)...)
	}
	return out
}

// isToken reports whether s can be part of a header's name (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// head sets the headers of a modern request.
func (f *forms) head(h http.Header, method string, p object) {
	h.Set("Mcp-Method", method)
	switch method {
	case "tools/call":
		name := p.text("name")
		h.Set("Mcp-Name", connector.HeaderValue(name))
		f.mu.Lock()
		list := f.tools[name]
		f.mu.Unlock()
		for _, m := range list {
			if value, ok := argument(objectOf(p.get("arguments")), m.path); ok {
				h.Set("Mcp-Param-"+m.name, connector.HeaderValue(value))
			}
		}
	case "prompts/get":
		h.Set("Mcp-Name", connector.HeaderValue(p.text("name")))
	case "resources/read":
		h.Set("Mcp-Name", connector.HeaderValue(p.text("uri")))
	}
}

// argument returns the value at path as a header says it; false for one that is absent, null, or of a type that
// headers do not carry.
func argument(o object, path []string) (string, bool) {
	raw := o.get(path[0])
	if len(path) > 1 {
		return argument(objectOf(raw), path[1:])
	}
	switch {
	case raw == nil:
		return "", false
	case raw[0] == '"':
		return unquote(raw), true
	case raw[0] == 't', raw[0] == 'f':
		return string(raw), true
	}
	// only integers that every reader of JSON keeps exactly
	n, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || n != math.Trunc(n) || math.Abs(n) > 1<<53-1 {
		return "", false
	}
	return strconv.FormatInt(int64(n), 10), true
}
