package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxNesting bounds the depth of a document, maxNodes its size once YAML aliases are followed: a few lines of aliases
// of aliases can mean billions of values.
const (
	maxNesting = 200
	maxNodes   = 2_000_000
)

// Go's own values would lose what must be kept: maps the order of members, which models read from the front, and floats the
// digits of numbers.

// node is one value of a document. Members keep their order and numbers their digits, since schemas leave as they
// came (style.md, trap 3). The zero node is JSON null.
type node struct {
	object  bool
	array   bool
	members []member         // of an object
	items   []*node          // of an array
	scalar  json.RawMessage  // a string, number, true, false or null; empty = null
	index   map[string]*node // of members, made once there are many
}

type member struct {
	name  string
	value *node
}

// parseDocument reads JSON or YAML into nodes. JSON is told by its first byte: YAML readers stumble over escapes that
// JSON allows (surrogate pairs).
func parseDocument(data []byte) (*node, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '{' {
		return parseJSON(data)
	}
	return parseYAML(data)
}

// parseJSON reads one JSON value and nothing after it.
func parseJSON(data []byte) (*node, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // a float would round identifiers above 2^53
	p := jsonParser{d: d}
	n, err := p.value(0)
	if err != nil {
		return nil, fmt.Errorf("JSON, byte %d: %w", d.InputOffset(), err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("JSON, byte %d: something follows the document", d.InputOffset())
	}
	return n, nil
}

type jsonParser struct{ d *json.Decoder }

// value reads the next value, which is at the given depth.
func (p jsonParser) value(depth int) (*node, error) {
	t, err := p.d.Token()
	if err != nil {
		return nil, err
	}
	if depth > maxNesting {
		return nil, fmt.Errorf("nested deeper than %d", maxNesting)
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return p.object(depth)
		}
		return p.array(depth)
	case string:
		return text(t), nil
	case json.Number:
		return &node{scalar: json.RawMessage(t)}, nil
	case bool:
		return &node{scalar: json.RawMessage(strconv.FormatBool(t))}, nil
	}
	return &node{}, nil
}

// object reads members up to the closing brace; the opening one is read.
func (p jsonParser) object(depth int) (*node, error) {
	n := &node{object: true}
	for p.d.More() {
		key, err := p.d.Token()
		if err != nil {
			return nil, err
		}
		value, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		// Which of the two would count is up to each reader: what we judged might not be what the API reads.
		if !n.add(key.(string), value) {
			return nil, fmt.Errorf("two members %q in one object", key)
		}
	}
	_, err := p.d.Token()
	return n, err
}

// array reads items up to the closing bracket; the opening one is read.
func (p jsonParser) array(depth int) (*node, error) {
	n := &node{array: true}
	for p.d.More() {
		value, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, value)
	}
	_, err := p.d.Token()
	return n, err
}

// text is a string.
func text(s string) *node {
	if verbatim(s) {
		return &node{scalar: json.RawMessage(`"` + s + `"`)}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // descriptions are read by models, not by browsers
	_ = e.Encode(s)        // a string always encodes, into memory
	return &node{scalar: bytes.TrimSpace(b.Bytes())}
}

// verbatim reports whether JSON writes each character of s as itself, as it does most names and values: the encoder and
// the decoder need not look at those.
func verbatim[T string | json.RawMessage](s T) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// literal is a scalar written as JSON.
func literal(json string) *node { return &node{scalar: []byte(json)} }

// object is an object of the given members.
func object(members ...member) *node {
	n := &node{object: true}
	for _, m := range members {
		n.add(m.name, m.value)
	}
	return n
}

// list is an array of the given items.
func list(items ...*node) *node { return &node{array: true, items: items} }

// add appends a member, and reports false if there is one of that name.
func (n *node) add(name string, value *node) bool {
	if n.get(name) != nil {
		return false
	}
	n.members = append(n.members, member{name, value})
	if n.index != nil {
		n.index[name] = value
	} else if len(n.members) > 16 { // below that, walking them is as fast
		n.index = make(map[string]*node, 2*len(n.members))
		for _, m := range n.members {
			n.index[m.name] = m.value
		}
	}
	return true
}

// get returns a member, nil if n is no object or has none of that name.
func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	if n.index != nil {
		return n.index[name]
	}
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// str returns a text, "" if n is none.
func (n *node) str() string {
	var s string
	if n != nil && len(n.scalar) > 1 && n.scalar[0] == '"' && verbatim(n.scalar[1:len(n.scalar)-1]) {
		return string(n.scalar[1 : len(n.scalar)-1])
	}
	if n == nil || n.object || n.array || len(n.scalar) == 0 || json.Unmarshal(n.scalar, &s) != nil {
		return ""
	}
	return s
}

// isTrue reports whether n is the value true.
func (n *node) isTrue() bool { return n != nil && string(n.scalar) == "true" }

// Written by hand: encoding/json sorts what it takes from maps, and escapes what was escaped already.

// json writes n as it was read, without white space. It is no MarshalJSON: encoding/json would escape what it gives.
func (n *node) json() json.RawMessage {
	var b bytes.Buffer
	n.write(&b)
	return b.Bytes()
}

// write writes members in the order in which they came: a definition that is made twice must be the same twice, or its pin
// would call it changed. A member that is not there, and an empty scalar, are null.
func (n *node) write(b *bytes.Buffer) {
	switch {
	case n == nil || !n.object && !n.array && len(n.scalar) == 0:
		b.WriteString("null")
	case n.object:
		b.WriteByte('{')
		for i, m := range n.members {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(text(m.name).scalar)
			b.WriteByte(':')
			m.value.write(b)
		}
		b.WriteByte('}')
	case n.array:
		b.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.write(b)
		}
		b.WriteByte(']')
	default:
		b.Write(n.scalar)
	}
}
