package rest

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// Where JSON Schema 2020-12 has schemas inside a schema.
var (
	schemaMaps   = words("properties patternProperties dependentSchemas $defs definitions")
	schemaLists  = words("allOf anyOf oneOf prefixItems")
	schemaSingle = words("items additionalProperties not if then else contains propertyNames unevaluatedItems unevaluatedProperties contentSchema")
	// dropped says nothing to a JSON Schema reader: it is about XML, web pages, or names inside the document.
	dropped = words("xml externalDocs discriminator nullable example $schema $id $anchor $dynamicAnchor additionalItems")
	// annotations say something about a value but do not judge it: beside a reference they win over what it names.
	annotations = words("title description default examples deprecated readOnly writeOnly $comment summary")
	types       = words("string number integer boolean object array null")
)

func words(s string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(s) {
		set[w] = true
	}
	return set
}

// A tool's schema goes to clients of all kinds, and one that a client's reader cannot take costs the user the whole list.
// So everything is written in the one dialect that MCP names, holds no reference to elsewhere, and what is unsound in a
// published document is left out rather than handed on: the API judges by its own rules anyway.

// converter turns the document's schemas into one JSON Schema 2020-12 without references outside itself. What is
// referred to once stands in its place, what is referred to more often, or holds itself, under $defs.
type converter struct {
	doc     *document
	request bool              // for what is sent; readOnly members are then not required (OpenAPI 3.0 §4.7.24)
	uses    map[string]int    // by reference
	open    map[string]bool   // references being walked: one met again holds itself
	names   map[string]string // reference to its name under $defs
	taken   map[string]bool   // names under $defs
	defs    *node
	budget  int // schemas left, or one that is referred to in many ways would be walked without end
}

// How many schemas the walk of one tool's may meet. What a tool says of its answer is cut off earlier, as it is in bytes.
const (
	maxRequestSchemas = 40_000
	maxAnswerSchemas  = 4_000
)

func newConverter(d *document, request bool) *converter {
	budget := maxAnswerSchemas
	if request {
		budget = maxRequestSchemas
	}
	return &converter{
		doc: d, request: request, uses: map[string]int{}, open: map[string]bool{}, names: map[string]string{},
		taken: map[string]bool{}, defs: object(), budget: budget,
	}
}

// errTooLarge is the fault of a schema that no model would want to read.
var errTooLarge = errors.New("its schema is too large to be shown to a model")

// count walks everything that a schema reaches, and notes how often each reference is met: a reference that holds
// itself counts as many.
func (c *converter) count(schema *node) error {
	if c.budget--; c.budget < 0 {
		return errTooLarge
	}
	if ref := reference(schema); ref != "" {
		first := c.uses[ref] == 0
		c.uses[ref]++
		if c.open[ref] {
			c.uses[ref]++
		}
		if first {
			target, err := c.doc.find(ref)
			if err != nil {
				return err
			}
			c.open[ref] = true
			if err := c.count(target); err != nil {
				return err
			}
			delete(c.open, ref) // met again from elsewhere it is only used twice
		}
	}
	return eachSchema(schema, c.count)
}

// reference is the target of a schema that refers to another.
func reference(schema *node) string {
	if ref := schema.get("$ref").str(); ref != "" {
		return ref
	}
	return schema.get("$dynamicRef").str()
}

// eachSchema calls f with every schema directly inside a schema, until one returns an error. What only looks like a
// schema, a property called "items" or an example, stands under names that the three tables do not have here.
func eachSchema(schema *node, f func(*node) error) error {
	if schema == nil {
		return nil
	}
	for _, m := range schema.members {
		inside := []*node(nil)
		switch {
		case schemaMaps[m.name] && m.value.object:
			for _, p := range m.value.members {
				inside = append(inside, p.value)
			}
		// items was a list too, until prefixItems took its place (JSON Schema 2020-12, §10.3.1)
		case schemaLists[m.name] || schemaSingle[m.name] && m.value.array:
			inside = m.value.items
		case schemaSingle[m.name]:
			inside = append(inside, m.value)
		}
		for _, s := range inside {
			if err := f(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// convert returns the schema in 2020-12. count must have seen it.
func (c *converter) convert(schema *node) (*node, error) {
	if schema == nil || !schema.object {
		return schema, nil // true and false are schemas too
	}
	if ref := reference(schema); ref != "" {
		return c.convertRef(schema, ref)
	}
	out := object()
	for _, m := range schema.members {
		value, err := c.member(m)
		if err != nil {
			return nil, err
		}
		if value != nil {
			out.add(m.name, value)
		}
	}
	return c.translate(schema, out), nil
}

// member converts one keyword; nil leaves it out.
func (c *converter) member(m member) (*node, error) {
	switch {
	// Extensions mean something to their makers alone, and are often longer than the schema itself.
	case dropped[m.name], strings.HasPrefix(m.name, "x-"):
		return nil, nil
	case schemaMaps[m.name]:
		return c.convertMap(m.value)
	case schemaLists[m.name]:
		return c.convertList(m.value)
	case schemaSingle[m.name] && m.value.object:
		return c.convert(m.value)
	case !sound(m):
		return nil, nil
	}
	return m.value, nil
}

// convertMap converts schemas by name (properties, $defs); nil = it is no object, and is left out.
func (c *converter) convertMap(n *node) (*node, error) {
	if !n.object {
		return nil, nil
	}
	out := object()
	for _, p := range n.members {
		s, err := c.convert(p.value)
		if err != nil {
			return nil, err
		}
		if s == nil || !s.object && string(s.scalar) != "true" && string(s.scalar) != "false" {
			s = object() // a property without a schema may be anything
		}
		out.add(p.name, s)
	}
	return out, nil
}

// convertList converts a list of schemas (allOf, prefixItems); nil = it is empty, and is left out.
func (c *converter) convertList(n *node) (*node, error) {
	out := list()
	for _, item := range n.items {
		s, err := c.convert(item)
		if err != nil {
			return nil, err
		}
		out.items = append(out.items, s)
	}
	if len(out.items) == 0 {
		return nil, nil // the meta-schema asks for one at least
	}
	return out, nil
}

// convertRef puts the target in its place, or names it under $defs. Siblings of a reference say nothing in 3.0; in
// 3.1 annotations win, and what judges the value holds as well.
func (c *converter) convertRef(schema *node, ref string) (*node, error) {
	siblings := object()
	for _, m := range schema.members {
		if m.name == "$ref" || m.name == "$dynamicRef" || c.doc.v30 && m.name != "description" {
			continue
		}
		value, err := c.member(m)
		if err != nil {
			return nil, err
		}
		if value != nil {
			siblings.add(m.name, value)
		}
	}
	// once: a model reads it where it stands; more often: a copy at each place could be of any size
	if c.uses[ref] > 1 {
		return c.named(ref, siblings)
	}
	target, err := c.doc.find(ref)
	if err != nil {
		return nil, err
	}
	in, err := c.convert(target)
	if err != nil || len(siblings.members) == 0 {
		return in, err
	}
	return besides(in, siblings), nil
}

// besides adds the siblings of a reference to what it named.
func besides(in, siblings *node) *node {
	out := object()
	for _, m := range siblings.members {
		if !annotations[m.name] {
			if all := siblings.get("allOf"); all != nil {
				siblings.replace("allOf", list(append(all.items[:len(all.items):len(all.items)], in)...))
			} else {
				siblings.add("allOf", list(in))
			}
			return siblings
		}
		out.add(m.name, m.value)
	}
	for _, m := range in.members {
		out.add(m.name, m.value)
	}
	return out
}

// named refers to a schema under $defs, which is converted at its first use.
func (c *converter) named(ref string, siblings *node) (*node, error) {
	name, known := c.names[ref]
	if !known {
		name = c.name(ref)
		c.names[ref] = name
		target, err := c.doc.find(ref)
		if err != nil {
			return nil, err
		}
		// entered before it is converted: it may hold itself
		place := object()
		c.defs.add(name, place)
		in, err := c.convert(target)
		if err != nil {
			return nil, err
		}
		*place = *in
	}
	// in 2020-12 siblings of a reference hold as well (JSON Schema Core §8.2.3.1)
	out := object(member{"$ref", text("#/$defs/" + name)})
	for _, m := range siblings.members {
		out.add(m.name, m.value)
	}
	return out, nil
}

// name is the last part of a reference in characters that need no escape in a pointer or a URI.
func (c *converter) name(ref string) string {
	base := unsafeName.ReplaceAllString(ref[strings.LastIndexByte(ref, '/')+1:], "_")
	name := base
	for i := 2; c.taken[name]; i++ {
		name = base + "_" + strconv.Itoa(i)
	}
	c.taken[name] = true
	return name
}

var unsafeName = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)
