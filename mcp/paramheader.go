package mcp

// This file compares Mcp-Param-* headers with the arguments that they repeat (MCP 2026-07-28, Streamable HTTP, "Custom
// headers from tool parameters"): proxies route by the headers, tools act by the body. It is asked for tools that the
// caller may know of alone, or it would tell which others there are.

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// paramHeader binds an argument to the header that repeats it.
type paramHeader struct {
	path   []string // of member names below arguments
	header string   // canonical, with Mcp-Param-
}

// maxSchemaDepth bounds how deep annotations are looked for.
const maxSchemaDepth = 32

// paramHeaders returns the x-mcp-header annotations of an input schema. A schema with a bad one gets none: clients leave
// such tools out, and what they send without is not to be refused.
func paramHeaders(schema []byte) []paramHeader {
	if !bytes.Contains(schema, []byte(`x-mcp-header`)) {
		return nil
	}
	var out []paramHeader
	if !collectHeaders(schema, nil, &out) {
		return nil
	}
	seen := map[string]bool{}
	for _, h := range out {
		if seen[h.header] {
			return nil
		}
		seen[h.header] = true
	}
	return out
}

// collectHeaders walks the properties of a schema and reports whether all annotations are good.
func collectHeaders(schema []byte, path []string, out *[]paramHeader) bool {
	good := true
	_ = members(valueOf(schema, "properties"), func(name string, property []byte, _, _ int) bool {
		here := append(path[:len(path):len(path)], name)
		if annotation := valueOf(property, "x-mcp-header"); annotation != nil {
			header, kind := text(annotation), text(valueOf(property, "type"))
			if !isToken(header) || kind != "string" && kind != "integer" && kind != "boolean" {
				good = false
			}
			*out = append(*out, paramHeader{here, http.CanonicalHeaderKey("Mcp-Param-" + header)})
		}
		if len(here) < maxSchemaDepth {
			good = good && collectHeaders(property, here, out)
		}
		return good
	})
	return good
}

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// agreeParams compares the headers of a modern tools/call with its arguments.
func agreeParams(headers []paramHeader, h http.Header, params []byte) *rpcError {
	arguments := valueOf(params, "arguments")
	for _, b := range headers {
		values := h[b.header]
		value := arguments
		for _, name := range b.path {
			value = valueOf(value, name)
		}
		absent := value == nil || string(value) == "null"
		switch {
		case len(values) > 1:
			return badMessage(codeHeaderMismatch, "header mismatch: "+b.header+" is repeated")
		case absent && len(values) == 1:
			return badMessage(codeHeaderMismatch, "header mismatch: "+b.header+" without its argument")
		case absent:
			continue
		case len(values) == 0:
			return badMessage(codeHeaderMismatch, "header mismatch: "+b.header+" is missing")
		}
		if decoded, ok := decodeHeader(values[0]); !ok || !sameParam(decoded, value) {
			return badMessage(codeHeaderMismatch, "header mismatch: "+b.header+" is not the argument of the body")
		}
	}
	return nil
}

// maxSafe bounds the integers that every reader of JSON keeps.
const maxSafe = 1<<53 - 1

// sameParam reports whether a header says what a JSON value says: a string, a boolean, or an integer in any spelling.
func sameParam(header string, value json.RawMessage) bool {
	switch {
	case value[0] == '"':
		return header == text(value)
	case string(value) == "true", string(value) == "false":
		return header == string(value)
	}
	a, errA := strconv.ParseFloat(header, 64)
	b, errB := strconv.ParseFloat(string(value), 64)
	return errA == nil && errB == nil && a == b && a >= -maxSafe && a <= maxSafe && a == float64(int64(a))
}
