package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseYAML reads one YAML document (YAML 1.2 with the JSON schema of types).
func parseYAML(data []byte) (*node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, errors.New("YAML: the document is empty")
	}
	// The library keeps aliases as such, so the document is still as small as it was written.
	p := yamlParser{left: maxNodes}
	return p.value(doc.Content[0], 0)
}

// yamlParser counts down how many values it may still make, aliases each time that they are followed: a document of some
// hundred bytes can stand for billions ("billion laughs").
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

// mapping reads an object; keys such as 200 and true are texts. A merge key stands for the members of another object,
// or of several; those of the object itself win wherever the key stands, so it is followed last.
func (p *yamlParser) mapping(y *yaml.Node, depth int) (*node, error) {
	n, merged := &node{object: true}, []*node(nil)
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := y.Content[i]
		value, err := p.value(y.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		if key.Tag == "!!merge" {
			merged = append(append(merged, value), value.items...) // one object, or a list of them: whichever it is not has no members
			continue
		}
		if key.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("YAML, line %d: a key that is not a text", key.Line)
		}
		if !n.add(key.Value, value) {
			return nil, fmt.Errorf("YAML, line %d: two members %q in one object", key.Line, key.Value)
		}
	}
	for _, from := range merged {
		for _, m := range from.members {
			n.add(m.name, m.value) // false = the object has it already, and keeps its own
		}
	}
	return n, nil
}

// YAML 1.1 took yes, no, on and off for truth, and 12:30 for a number. The library decides by 1.2 where it is not asked to
// decode into a type, and it is asked for truth alone.

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
	case "!!int", "!!float": // not decoded: 1.50 is a version number as often as it is a number
		return number(y)
	}
	return text(y.Value), nil
}

// number writes what YAML calls a number in JSON's way; what JSON cannot write (.inf) stays a text.
func number(y *yaml.Node) (*node, error) {
	if json.Valid([]byte(y.Value)) {
		return &node{scalar: json.RawMessage(y.Value)}, nil
	}
	// 0x1F, 0o17, 1_000: whole numbers in other clothes
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
