package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNesting bounds the depth of a document, maxNodes its size once YAML aliases are followed: a few lines of aliases
// of aliases can mean billions of values.
const (
	maxNesting = 200
	maxNodes   = 2_000_000
)

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
	d.UseNumber()
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
		if !n.add(key.(string), value) {
			return nil, fmt.Errorf("two members %q in one object", key)
		}
	}
	_, err := p.d.Token()
	return n, err
}

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

// parseYAML reads one YAML document (YAML 1.2 with the JSON schema of types).
func parseYAML(data []byte) (*node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, errors.New("YAML: the document is empty")
	}
	p := yamlParser{left: maxNodes}
	return p.value(doc.Content[0], 0)
}

type yamlParser struct{ left int }

// value turns a YAML value into ours. Aliases are followed; the count of all values ends those that explode, the depth
// those that contain themselves.
func (p *yamlParser) value(y *yaml.Node, depth int) (*node, error) {
	if p.left--; p.left < 0 {
		return nil, fmt.Errorf("YAML: more than %d values", maxNodes)
	}
	if depth > maxNesting {
		return nil, fmt.Errorf("YAML, line %d: nested deeper than %d", y.Line, maxNesting)
	}
	switch y.Kind {
	case yaml.AliasNode:
		return p.value(y.Alias, depth+1)
	case yaml.MappingNode:
		return p.mapping(y, depth)
	case yaml.SequenceNode:
		n := &node{array: true}
		for _, item := range y.Content {
			v, err := p.value(item, depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, v)
		}
		return n, nil
	}
	return scalarOf(y)
}

// mapping reads an object; keys such as 200 and true are texts. A merge key stands for the members of another object.
func (p *yamlParser) mapping(y *yaml.Node, depth int) (*node, error) {
	n := &node{object: true}
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := y.Content[i]
		value, err := p.value(y.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		if key.Tag == "!!merge" {
			for _, m := range value.members {
				n.add(m.name, m.value) // what stands in the object itself was or will be kept
			}
			continue
		}
		if key.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("YAML, line %d: a key that is not a text", key.Line)
		}
		if !n.add(key.Value, value) {
			return nil, fmt.Errorf("YAML, line %d: two members %q in one object", key.Line, key.Value)
		}
	}
	return n, nil
}

// scalarOf keeps numbers digit for digit where JSON can write them; dates and the like are texts.
func scalarOf(y *yaml.Node) (*node, error) {
	switch y.ShortTag() {
	case "!!null":
		return &node{}, nil
	case "!!bool":
		var b bool
		if err := y.Decode(&b); err != nil {
			return nil, fmt.Errorf("YAML, line %d: %w", y.Line, err)
		}
		return &node{scalar: json.RawMessage(strconv.FormatBool(b))}, nil
	case "!!int", "!!float":
		return number(y)
	}
	return text(y.Value), nil
}

// number writes what YAML calls a number in JSON's way; what JSON cannot write (.inf) stays a text.
func number(y *yaml.Node) (*node, error) {
	if json.Valid([]byte(y.Value)) {
		return &node{scalar: json.RawMessage(y.Value)}, nil
	}
	if i, ok := new(big.Int).SetString(strings.ReplaceAll(y.Value, "_", ""), 0); ok {
		return &node{scalar: json.RawMessage(i.String())}, nil
	}
	var f float64
	if err := y.Decode(&f); err == nil {
		if raw, err := json.Marshal(f); err == nil {
			return &node{scalar: raw}, nil
		}
	}
	return text(y.Value), nil
}

// text is a string.
func text(s string) *node {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes, into memory
	return &node{scalar: bytes.TrimSpace(b.Bytes())}
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
	} else if len(n.members) > 16 {
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
	if n == nil || n.object || n.array || len(n.scalar) == 0 || json.Unmarshal(n.scalar, &s) != nil {
		return ""
	}
	return s
}

// isTrue reports whether n is the value true.
func (n *node) isTrue() bool { return n != nil && string(n.scalar) == "true" }

// json writes n as it was read, without white space. It is no MarshalJSON: encoding/json would escape what it gives.
func (n *node) json() json.RawMessage {
	var b bytes.Buffer
	n.write(&b)
	return b.Bytes()
}

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
