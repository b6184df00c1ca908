package rest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// parameters reads those of the operation and, where it has none of the same name and place, those of its path.
func (d *document) parameters(item, op *node) (out []parameter, err error) {
	// the operation's first: they win over the path's of the same name and place (OpenAPI 3.1 §4.8.10.1)
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
	// "content" in place of "schema" holds exactly one form; whatever that is called, JSON is what we can write
	if content := n.get("content"); content != nil && len(content.members) > 0 {
		p.json, p.schema = true, content.members[0].value.get("schema")
	}
	switch p.in {
	case "path":
		// without a value the path would be another operation's, whatever the document says of it
		p.required, p.style = true, orElse(p.style, "simple")
	case "query":
		p.style = orElse(p.style, "form")
	case "header":
		// a model that is asked for an API key makes one up, or has the user paste it
		if reserved(p.name) || d.ours != "" && headerName(p.name) == d.ours {
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
	// what the style has by default; deepObject knows no other way (OpenAPI 3.1 §4.8.12.2)
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
	name := headerName(header)
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
	return !isToken(header)
}

// headerName is how servers know a header: those that hand headers on as variables (CGI, WSGI) take an underscore for
// a hyphen, so it counts as one here.
func headerName(header string) string {
	return http.CanonicalHeaderKey(strings.ReplaceAll(header, "_", "-"))
}

// isToken reports whether s can be the name of a header (RFC 9110 §5.6.2). One that cannot would fail on its way out,
// as if the API were away.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) })
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

// Of a body in several forms only one becomes an argument: a model cannot choose well between two that mean the same.

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
				if strings.Contains(t, "*") { // the API takes anything: then what carries the schema best
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

// OpenAPI tells parameters apart by name and place, a tool's arguments by name alone. A clash is rare, and most documents
// keep the names that people know from the API's own pages.

// nameArguments gives each parameter its name among the arguments: its own, or, if another place has that too, with
// its place.
func (o *operation) nameArguments() {
	// the body has its name first: it has no place to be told apart by
	o.names = map[string]bool{"body": o.body != nil}
	for i := range o.parameters {
		p := &o.parameters[i]
		p.argument = p.name
		for o.names[p.argument] {
			p.argument += "_in_" + p.in
		}
		o.names[p.argument] = true
		if p.in == "query" && narrows(p.name) {
			o.limits = append(o.limits, p.argument)
		}
	}
}

// narrows reports whether a query parameter is by its name one that makes an answer smaller. Documents have no word for
// it; these are the names that published APIs use. A wrong guess costs the model one more try.
func narrows(name string) bool {
	switch strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(name, "_", ""), "-", "")) {
	case "limit", "pagesize", "perpage", "maxresults", "size", "count", "top", "$top", "first", "page", "offset", "cursor", "after",
		"startingafter", "pagetoken", "fields", "select", "$select", "filter", "$filter", "q", "query", "search":
		return true
	}
	return false
}
