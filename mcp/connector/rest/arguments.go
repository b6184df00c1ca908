package rest

import (
	"bytes"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"
)

// parameters reads those of the operation and, where it has none of the same name and place, those of its path.
func (d *document) parameters(item, op *node) (out []parameter, err error) {
	for _, from := range []*node{op, item} {
		listed := from.get("parameters")
		if listed == nil {
			continue
		}
		for i, n := range listed.items {
			p, used, err := d.parameter(n)
			if err != nil {
				return nil, fmt.Errorf("parameters[%d]: %w", i, err)
			}
			same := func(o parameter) bool { return o.name == p.name && o.in == p.in }
			if used && !slices.ContainsFunc(out, same) {
				out = append(out, p)
			}
		}
	}
	return out, nil
}

// parameter reads one. It is not used if OpenAPI says so, or if an argument must not decide it.
func (d *document) parameter(n *node) (p parameter, used bool, err error) {
	if n, err = d.resolve(n); err != nil {
		return p, false, err
	}
	p = parameter{
		name: n.get("name").str(), in: n.get("in").str(), style: n.get("style").str(),
		required: n.get("required").isTrue(), schema: n.get("schema"), text: n.get("description").str(),
	}
	if p.name == "" {
		return p, false, errors.New("has no name")
	}
	if content := n.get("content"); content != nil && len(content.members) > 0 {
		p.json, p.schema = true, content.members[0].value.get("schema")
	}
	switch p.in {
	case "path":
		p.required, p.style = true, orElse(p.style, "simple")
	case "query":
		p.style = orElse(p.style, "form")
	case "header":
		if reserved(p.name) {
			return p, false, nil
		}
		p.style = "simple"
	case "cookie": // cookies are credentials
		if p.required {
			return p, false, fmt.Errorf("needs the cookie %q, which no argument may set", p.name)
		}
		return p, false, nil
	default:
		return p, false, fmt.Errorf("in %q is none: path, query, header or cookie", p.in)
	}
	p.explode = p.style == "form" || p.style == "deepObject"
	if e := n.get("explode"); e != nil {
		p.explode = e.isTrue()
	}
	return p, true, checkStyle(p)
}

// checkStyle refuses what would be sent otherwise than the document says (OpenAPI 3.1 §4.8.12.2).
func checkStyle(p parameter) error {
	allowed := map[string][]string{
		"path": {"simple", "label", "matrix"}, "query": {"form", "spaceDelimited", "pipeDelimited", "deepObject"}, "header": {"simple"},
	}
	if !slices.Contains(allowed[p.in], p.style) {
		return fmt.Errorf("%q: style %q is not for in %q", p.name, p.style, p.in)
	}
	return nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// reserved names the headers that an argument must not decide: those that OpenAPI leaves to the body and to security
// (OpenAPI 3.1 §4.8.12.2.1), those of the transport, and those by which servers know who asks and from where.
func reserved(header string) bool {
	name := textproto.CanonicalMIMEHeaderKey(header)
	for _, prefix := range []string{"Hostedmcp-", "X-Forwarded-", "Proxy-", "Sec-", "X-Auth-", "X-Remote-", "X-User", "Remote-", "Mcp-", "Cf-", "X-Amzn-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "Accept", "Content-Type", "Authorization", "Cookie", "Host", "Connection", "Content-Length", "Content-Encoding",
		"Transfer-Encoding", "Te", "Trailer", "Upgrade", "Forwarded", "X-Real-Ip", "X-Request-Id", "Traceparent", "Tracestate",
		"Via", "True-Client-Ip", "X-Client-Ip", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Url",
		"X-Rewrite-Url", "Accept-Encoding", "Expect", "Keep-Alive":
		return true
	}
	return strings.ContainsAny(header, " \t\r\n:") || header == ""
}

// bodyTypes are the media types that we write, best first.
var bodyTypes = []func(string) bool{
	isJSON,
	func(t string) bool { return t == "application/x-www-form-urlencoded" },
	func(t string) bool { return t == "multipart/form-data" },
	func(t string) bool { return strings.HasPrefix(t, "text/") },
	func(t string) bool { return t == "*/*" || t == "application/*" },
	func(t string) bool { return !strings.Contains(t, "*") }, // bytes, from base64
}

// isJSON covers application/json and what is built on it (RFC 6839 §3.1).
func isJSON(mediaType string) bool {
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}

// essence is a media type without its parameters, in lower case.
func essence(mediaType string) string {
	t, _, _ := strings.Cut(mediaType, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// body reads the request body: of several forms the one that carries most of the schema.
func (d *document) body(op *node) (*body, error) {
	n, err := d.resolve(op.get("requestBody"))
	if n == nil || err != nil {
		return nil, err
	}
	content := n.get("content")
	if content == nil || len(content.members) == 0 {
		return nil, nil
	}
	for _, fits := range bodyTypes {
		for _, m := range content.members {
			if t := essence(m.name); fits(t) {
				if strings.Contains(t, "*") {
					t = "application/json"
				}
				b := &body{t, n.get("required").isTrue(), m.value.get("schema"), n.get("description").str()}
				if b.bytes() {
					b.schema = object(member{"type", text("string")}, member{"contentEncoding", text("base64")}, member{"contentMediaType", text(t)})
				}
				return b, nil
			}
		}
	}
	return nil, fmt.Errorf("%q cannot be written from arguments", content.members[0].name)
}

// bytes reports whether the body is neither text nor made of members: arguments carry it in base64.
func (b *body) bytes() bool {
	return !slices.ContainsFunc(bodyTypes[:len(bodyTypes)-1], func(fits func(string) bool) bool { return fits(b.mediaType) })
}

// nameArguments gives each parameter its name among the arguments: its own, or, if another place has that too, with
// its place.
func (o *operation) nameArguments() {
	seen := map[string]bool{"body": o.body != nil}
	for i := range o.parameters {
		p := &o.parameters[i]
		p.argument = p.name
		for seen[p.argument] {
			p.argument += "_in_" + p.in
		}
		seen[p.argument] = true
		if p.in == "query" && narrows(p.name) {
			o.limits = append(o.limits, p.argument)
		}
	}
}

// narrows reports whether a query parameter is by its name one that makes an answer smaller.
func narrows(name string) bool {
	switch strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(name, "_", ""), "-", "")) {
	case "limit", "pagesize", "perpage", "maxresults", "size", "count", "top", "$top", "first", "page", "offset", "cursor", "after",
		"startingafter", "pagetoken", "fields", "select", "$select", "filter", "$filter", "q", "query", "search":
		return true
	}
	return false
}

// inputSchema is the schema of the tool's arguments: one property a parameter, and "body".
func (o *operation) inputSchema(d *document) (*node, error) {
	c := newConverter(d, true)
	schemas := map[string]*node{}
	for _, p := range o.parameters {
		schemas[p.argument] = p.schema
	}
	if o.body != nil {
		schemas["body"] = o.body.schema
	}
	for name, s := range schemas {
		if s == nil {
			continue
		}
		if err := c.count(s); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	properties, required := object(), list()
	add := func(name, description string, must bool, schema *node) error {
		s, err := c.property(schema, description)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		properties.add(name, s)
		if must {
			required.items = append(required.items, text(name))
		}
		return nil
	}
	for _, p := range o.parameters {
		if err := add(p.argument, p.text, p.required, p.schema); err != nil {
			return nil, err
		}
	}
	if o.body != nil {
		if err := add("body", o.body.text, o.body.required, o.body.schema); err != nil {
			return nil, err
		}
	}
	out := object(member{"type", text("object")}, member{"properties", properties})
	if len(required.items) > 0 {
		out.add("required", required)
	}
	// a name that the document does not know would be dropped without a word
	out.add("additionalProperties", literal("false"))
	return c.finish(out, maxInput)
}

// property converts the schema of one argument; a description of the parameter counts before the schema's.
func (c *converter) property(schema *node, description string) (*node, error) {
	s, err := c.convert(schema)
	if err != nil {
		return nil, err
	}
	if s == nil || !s.object {
		s = object()
	}
	if description == "" {
		return s, nil
	}
	out := object(member{"description", text(description)})
	for _, m := range s.members {
		out.add(m.name, m.value)
	}
	return out, nil
}

// finish adds what the schema refers to, and refuses one that no client would want to read.
func (c *converter) finish(out *node, most int) (*node, error) {
	if len(c.defs.members) > 0 {
		out.add("$defs", c.defs)
	}
	if n := len(out.json()); n > most {
		return nil, errTooLarge
	}
	return out, nil
}

// outputSchema is the schema of a good answer in JSON, nil if the document names none or it is too long to show. What
// is no object stands under "result": structured content is an object in all versions of MCP.
func (o *operation) outputSchema(d *document, op *node) (*node, error) {
	schema, err := d.answer(op)
	if schema == nil || err != nil {
		return nil, err
	}
	c := newConverter(d, false)
	if err := c.count(schema); err != nil {
		return nil, nil // too large to show; the answer is handed on all the same
	}
	out, err := c.convert(schema)
	if err != nil {
		return nil, err
	}
	if !out.object || out.get("type").str() != "object" {
		if !c.isObject(out) {
			o.wrapped = true
			out = object(member{"type", text("object")}, member{"properties", object(member{"result", orAny(out)})},
				member{"required", list(text("result"))})
		} else {
			typed := object(member{"type", text("object")})
			for _, m := range out.members {
				typed.add(m.name, m.value)
			}
			out = typed
		}
	}
	if out, err = c.finish(out, maxOutput); err != nil {
		return nil, nil
	}
	return out, nil
}

// orAny is a schema that stands for any value if there is none.
func orAny(n *node) *node {
	if n == nil {
		return object()
	}
	return n
}

// isObject reports whether a converted schema without "type":"object" still takes objects alone.
func (c *converter) isObject(n *node) bool {
	for range maxChain {
		ref, ok := strings.CutPrefix(n.get("$ref").str(), "#/$defs/")
		if !ok {
			break
		}
		n = c.defs.get(ref)
	}
	if n.get("type").str() == "object" || n.get("type") == nil && n.get("properties") != nil {
		return true
	}
	if all := n.get("allOf"); all != nil {
		return slices.ContainsFunc(all.items, c.isObject)
	}
	for _, key := range []string{"anyOf", "oneOf"} {
		if any := n.get(key); any != nil {
			return !slices.ContainsFunc(any.items, func(s *node) bool { return !c.isObject(s) })
		}
	}
	return false
}

// answer finds the schema of the good answers in JSON, nil if there is none or they differ.
func (d *document) answer(op *node) (found *node, err error) {
	responses := op.get("responses")
	if responses == nil {
		return nil, nil
	}
	for _, m := range responses.members {
		if !strings.HasPrefix(m.name, "2") {
			continue
		}
		n, err := d.resolve(m.value)
		if err != nil {
			return nil, err
		}
		schema := jsonSchemaOf(n.get("content"))
		if found != nil && schema != nil && !same(found, schema) {
			return nil, nil
		}
		if schema != nil {
			found = schema
		}
	}
	return found, nil
}

// jsonSchemaOf is the schema of the form in JSON, nil if there is none.
func jsonSchemaOf(content *node) *node {
	if content != nil {
		for _, t := range content.members {
			if isJSON(essence(t.name)) {
				return t.value.get("schema")
			}
		}
	}
	return nil
}

// same reports whether two schemas are written alike.
func same(a, b *node) bool {
	return bytes.Equal(a.json(), b.json())
}
