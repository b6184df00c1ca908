package rest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

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
		path = strings.ReplaceAll(path, "{"+p.name+"}", written) // written holds no brace: it is encoded
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
		// the separators of all servers: some split at backslashes, or decode before they split
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
	// A header is no URL: what may not stand in one is refused by scalar and writeHeader, not encoded.
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

// writeObject writes an object in the forms of OpenAPI 3.1 §4.8.12.3 (style values): a=1 each if it explodes, else a,1
// in one. Members that are no scalars have no form there: an error.
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

// delimiters of the styles that keep a list in one pair. They are written as they are, for the server splits by them;
// those inside values are encoded.
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
	case len(parts) == 0: // an empty list is no pair: "name=" would be a list of one empty text
		return nil, nil
	case p.explode && v.object:
		return parts, nil
	case p.explode:
		return []string{name + "=" + strings.Join(parts, "&"+name+"=")}, nil
	}
	return []string{name + "=" + strings.Join(parts, delimiters[p.style])}, nil
}

// Brackets are how PHP, Rails and qs read what is nested, and what deepObject means for one level (OpenAPI 3.1 §4.8.12.4
// leaves deeper ones open). Lists have their numbers, so that objects in them stay apart.

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
