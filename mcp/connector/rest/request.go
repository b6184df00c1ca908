package rest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// fault is what is wrong with a call's arguments: told to the model, which can do better.
type fault struct{ error }

func faultf(format string, args ...any) error { return fault{fmt.Errorf(format, args...)} }

// arguments are what a tool is called with.
type arguments struct{ *node }

// readArguments takes them out of the parameters of tools/call, and judges them by the tool's own schema.
func (o *operation) readArguments(params json.RawMessage) (arguments, error) {
	var p struct {
		Arguments json.RawMessage `json:"arguments"`
	}
	if err := json.Unmarshal(params, &p); err != nil {
		return arguments{}, faultf("the call cannot be read")
	}
	if len(p.Arguments) == 0 || string(p.Arguments) == "null" {
		p.Arguments = json.RawMessage("{}")
	}
	n, err := parseJSON(p.Arguments)
	if err != nil || !n.object {
		return arguments{}, faultf("the arguments must be one object: %v", err)
	}
	if judge := o.input(); judge != nil {
		var v any
		if err := json.Unmarshal(p.Arguments, &v); err != nil {
			return arguments{}, faultf("the arguments cannot be read")
		}
		if err := judge.Validate(v); err != nil {
			return arguments{}, faultf("the arguments do not fit the tool's inputSchema: %v", err)
		}
	}
	return arguments{n}, o.known(n)
}

// known refuses arguments that nothing would be made of, also where the schema could not be judged.
func (o *operation) known(n *node) error {
	names := map[string]bool{"body": o.body != nil}
	for _, p := range o.parameters {
		names[p.argument] = true
		if p.required && n.get(p.argument) == nil {
			return faultf("the argument %q is missing", p.argument)
		}
	}
	for _, m := range n.members {
		if !names[m.name] {
			return faultf("there is no argument %q", m.name)
		}
	}
	if o.body != nil && o.body.required && n.get("body") == nil {
		return faultf(`the argument "body" is missing`)
	}
	return nil
}

// request writes the request that the arguments mean. Its URL is the base's but for path and query, whatever they say.
func (o *operation) request(ctx context.Context, base *url.URL, args arguments) (*http.Request, error) {
	path, err := o.writePath(args)
	if err != nil {
		return nil, err
	}
	query, err := o.writeQuery(args)
	if err != nil {
		return nil, err
	}
	target := base.Scheme + "://" + base.Host + strings.TrimSuffix(base.EscapedPath(), "/") + path
	if query != "" {
		target += "?" + query
	}
	content, mediaType, err := o.writeBody(args)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, o.method, target, content)
	if err != nil || r.URL.Host != base.Host || r.URL.User != nil {
		return nil, faultf("the arguments do not make a URL")
	}
	r.Header.Set("Accept", "application/json, */*;q=0.5")
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	return r, o.writeHeader(r.Header, args)
}

// writePath fills in the template. A value stays within its segment: it is encoded whole, and one that some server
// would read as a step up is refused (RFC 3986 §3.3, §5.2.4).
func (o *operation) writePath(args arguments) (string, error) {
	path := o.path
	for _, p := range o.parameters {
		if p.in != "path" {
			continue
		}
		written, err := p.write(args.get(p.argument))
		if err != nil {
			return "", err
		}
		path = strings.ReplaceAll(path, "{"+p.name+"}", written)
	}
	for _, segment := range strings.Split(path, "/") {
		if climbs(segment) {
			return "", faultf("a path argument would leave its place: . and .. are not allowed in it")
		}
	}
	return path, nil
}

// climbs reports whether a segment holds a dot segment at any depth of encoding, as a server would see it that decodes
// before it splits.
func climbs(segment string) bool {
	for range 4 {
		for _, part := range strings.FieldsFunc(segment, func(r rune) bool { return r == '/' || r == '\\' }) {
			part, _, _ = strings.Cut(part, ";") // some servers drop parameters of a segment first
			if dots(part) {
				return true
			}
		}
		plain, err := url.PathUnescape(segment)
		if err != nil || plain == segment {
			return false
		}
		segment = plain
	}
	return true // encoded again and again: nobody means that well
}

// write is the value of a path or header parameter in its style (OpenAPI 3.1 §4.8.12.4).
func (p parameter) write(v *node) (string, error) {
	escaped := escape
	if p.in == "header" {
		escaped = func(s string) string { return s }
	}
	var parts []string
	var err error
	switch {
	case p.json:
		parts = []string{escaped(string(v.json()))}
	case v.object:
		parts, err = p.writeObject(v, escaped)
	case v.array:
		for _, item := range v.items {
			s, e := p.scalar(item)
			parts, err = append(parts, escaped(s)), errors.Join(err, e)
		}
	default:
		var s string
		s, err = p.scalar(v)
		parts = []string{escaped(s)}
	}
	if err != nil {
		return "", err
	}
	if p.in == "path" && strings.Join(parts, "") == "" {
		return "", faultf("the argument %q is empty", p.argument) // the path would be another operation's
	}
	if p.style == "matrix" && p.explode && !v.object {
		for i := range parts {
			parts[i] = escape(p.name) + "=" + parts[i]
		}
	}
	return p.join(parts), nil
}

func (p parameter) writeObject(v *node, escaped func(string) string) (parts []string, err error) {
	for _, m := range v.members {
		s, e := p.scalar(m.value)
		if e != nil {
			return nil, e
		}
		if p.explode {
			parts = append(parts, escaped(m.name)+"="+escaped(s))
		} else {
			parts = append(parts, escaped(m.name), escaped(s))
		}
	}
	return parts, nil
}

// join puts the parts together as the style says.
func (p parameter) join(parts []string) string {
	separator := ","
	switch {
	case p.style == "label":
		if p.explode {
			separator = "."
		}
		return "." + strings.Join(parts, separator)
	case p.style == "matrix" && p.explode:
		return ";" + strings.Join(parts, ";")
	case p.style == "matrix":
		return ";" + escape(p.name) + "=" + strings.Join(parts, ",")
	}
	return strings.Join(parts, separator)
}

// scalar is a single value as text; controls are refused where they could end a header or a line.
func (p parameter) scalar(v *node) (string, error) {
	if v == nil || v.object || v.array {
		return "", faultf("the argument %q is nested deeper than it can be sent", p.argument)
	}
	s := v.plain()
	if p.in != "query" && strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", faultf("the argument %q holds control characters", p.argument)
	}
	return s, nil
}

// plain is a text without its quotation marks, any other scalar as it is written, null as nothing.
func (n *node) plain() string {
	if len(n.scalar) > 0 && n.scalar[0] == '"' {
		return n.str()
	}
	return string(n.scalar)
}

// escape encodes all but the unreserved characters (RFC 3986 §2.3).
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// writeQuery writes the query parameters that are given, in the document's order.
func (o *operation) writeQuery(args arguments) (string, error) {
	var pairs []string
	for _, p := range o.parameters {
		v := args.get(p.argument)
		if p.in != "query" || v == nil {
			continue
		}
		written, err := p.pairs(v)
		if err != nil {
			return "", err
		}
		pairs = append(pairs, written...)
	}
	return strings.Join(pairs, "&"), nil
}

// delimiters of the styles that keep a list in one pair.
var delimiters = map[string]string{"form": ",", "spaceDelimited": "%20", "pipeDelimited": "|", "deepObject": ","}

// pairs are name=value of one query parameter.
func (p parameter) pairs(v *node) ([]string, error) {
	name := escape(p.name)
	switch {
	case p.json:
		return []string{name + "=" + escape(string(v.json()))}, nil
	case p.style == "deepObject" && v.object:
		return deep(p.name, v), nil
	case !v.object && !v.array:
		return []string{name + "=" + escape(v.plain())}, nil
	}
	var parts []string
	for _, item := range v.items {
		s, err := p.scalar(item)
		if err != nil {
			return nil, err
		}
		parts = append(parts, escape(s))
	}
	if v.object {
		var err error
		if parts, err = p.writeObject(v, escape); err != nil {
			return nil, err
		}
	}
	switch {
	case len(parts) == 0:
		return nil, nil
	case p.explode && v.object:
		return parts, nil
	case p.explode:
		return []string{name + "=" + strings.Join(parts, "&"+name+"=")}, nil
	}
	return []string{name + "=" + strings.Join(parts, delimiters[p.style])}, nil
}

// deep writes name[member]=value, and what is nested likewise.
func deep(name string, v *node) (out []string) {
	switch {
	case v.object:
		for _, m := range v.members {
			out = append(out, deep(name+"["+m.name+"]", m.value)...)
		}
	case v.array:
		for i, item := range v.items {
			out = append(out, deep(fmt.Sprintf("%s[%d]", name, i), item)...)
		}
	default:
		out = []string{escape(name) + "=" + escape(v.plain())}
	}
	return out
}

// writeHeader sets the header parameters that are given.
func (o *operation) writeHeader(h http.Header, args arguments) error {
	for _, p := range o.parameters {
		v := args.get(p.argument)
		if p.in != "header" || v == nil {
			continue
		}
		written, err := p.write(v)
		if err != nil {
			return err
		}
		if strings.ContainsFunc(written, func(r rune) bool { return r > 0x7e }) {
			return faultf("the argument %q goes into a header: plain ASCII only", p.argument)
		}
		h.Set(p.name, written)
	}
	return nil
}

// writeBody writes the body in its media type.
func (o *operation) writeBody(args arguments) (io.Reader, string, error) {
	if o.body == nil {
		return nil, "", nil
	}
	v := args.get("body")
	if v == nil {
		return nil, "", nil
	}
	switch t := o.body.mediaType; {
	case isJSON(t):
		return bytes.NewReader(v.json()), t, nil
	case strings.HasPrefix(t, "text/"):
		return strings.NewReader(v.plain()), t + "; charset=utf-8", nil
	case o.body.bytes():
		raw, err := base64.StdEncoding.DecodeString(v.plain())
		if err != nil {
			return nil, "", faultf(`the argument "body" is not base64`)
		}
		return bytes.NewReader(raw), t, nil
	case !v.object:
		return nil, "", faultf(`the argument "body" must be an object`)
	case t == "multipart/form-data":
		return writeMultipart(v)
	}
	var pairs []string
	for _, m := range v.members {
		pairs = append(pairs, deep(m.name, m.value)...)
	}
	return strings.NewReader(strings.Join(pairs, "&")), o.body.mediaType, nil
}

// writeMultipart writes one part a member: texts as they are, all else as JSON (RFC 7578; OpenAPI 3.1 §4.8.14.4).
func writeMultipart(v *node) (io.Reader, string, error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, m := range v.members {
		h := textproto.MIMEHeader{}
		h.Set("Content-Disposition", `form-data; name="`+quoteName(m.name)+`"`)
		content := m.value.plain()
		if m.value.object || m.value.array {
			content = string(m.value.json())
			h.Set("Content-Type", "application/json")
		}
		part, err := w.CreatePart(h)
		if err != nil {
			return nil, "", err
		}
		if _, err := io.WriteString(part, content); err != nil {
			return nil, "", err
		}
	}
	return &b, w.FormDataContentType(), w.Close()
}

// quoteName keeps a name inside its quotation marks (RFC 7578 §2, WHATWG "multipart/form-data").
func quoteName(s string) string {
	return strings.NewReplacer("\r", "%0D", "\n", "%0A", `"`, "%22").Replace(s)
}
