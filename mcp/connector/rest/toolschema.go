package rest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

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
	// Counted over all arguments first: a type that two of them share stands once.
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
	// first, as models read from the front
	out := object(member{"description", text(description)})
	for _, m := range s.members {
		out.add(m.name, m.value)
	}
	return out, nil
}

// finish adds what the schema refers to, and refuses one that no client would want to read, or could not.
func (c *converter) finish(out *node, most int) (*node, error) {
	if c.endless() {
		return nil, errEndless
	}
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
	if c.endless() {
		return nil, nil // neither do we see whether it means an object
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

// A tool has one output schema, whatever the status. Two different ones, say of 200 and 202, could be joined by anyOf; few
// clients read that, and a model does not need it.

// answer finds the schema of the good answers in JSON, nil if there is none or they differ.
func (d *document) answer(op *node) (found *node, err error) {
	responses := op.get("responses")
	if responses == nil {
		return nil, nil
	}
	// "default" stands for errors as well, so it promises nothing
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
