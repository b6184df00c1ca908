package rest

// What OpenAPI says in its own words, and what published documents get wrong, in the words of JSON Schema 2020-12
// (OpenAPI 3.0 §4.7.24, OpenAPI 3.1 §4.8.24).

// translate finishes a converted schema; schema is what it was.
func (c *converter) translate(schema, out *node) *node {
	out = out.fixTypes()
	if c.request {
		out.dropRequired(schema)
	}
	if example := schema.get("example"); example != nil && out.get("examples") == nil {
		out.add("examples", list(example))
	}
	if p := schema.get("pattern"); p != nil && out.get("pattern") == nil && out.get("$comment") == nil {
		out.add("$comment", text("pattern: "+p.str())) // not portable: nobody judges by it, the API does
	}
	// what OpenAPI 3.0 calls a format is a keyword since 3.1
	if schema.get("format").str() == "byte" && out.get("contentEncoding") == nil {
		out.add("contentEncoding", text("base64"))
	}
	if items := out.get("items"); items != nil && items.array {
		out.rename("items", "prefixItems") // a list of schemas until draft 2019-09
	}
	out.bound("minimum", "exclusiveMinimum")
	out.bound("maximum", "exclusiveMaximum")
	if schema.get("nullable").isTrue() {
		return out.orNull()
	}
	return out
}

// fixTypes leaves out a type that is none.
func (n *node) fixTypes() *node {
	t := n.get("type")
	switch {
	case t == nil:
	case t.array:
		for _, item := range t.items {
			if !types[item.str()] {
				n.remove("type")
				break
			}
		}
	case !types[t.str()]: // "file", "any" and the like
		n.remove("type")
	}
	if r := n.get("required"); r != nil {
		n.replace("required", distinct(r))
	}
	return n
}

// Each of the following changes a copy: the document's own nodes are shared by all tools that refer to them.

// distinct drops repeated names, which the meta-schema forbids.
func distinct(names *node) *node {
	out, seen := list(), map[string]bool{}
	for _, item := range names.items {
		if s := item.str(); s != "" && !seen[s] {
			seen[s] = true
			out.items = append(out.items, item)
		}
	}
	return out
}

// dropRequired lets members be absent that only the API writes.
func (n *node) dropRequired(schema *node) {
	required, properties := n.get("required"), schema.get("properties")
	if required == nil || properties == nil {
		return
	}
	kept := list()
	for _, item := range required.items {
		if !properties.get(item.str()).get("readOnly").isTrue() {
			kept.items = append(kept.items, item)
		}
	}
	n.replace("required", kept)
}

// bound turns 3.0's "exclusiveMinimum: true" beside minimum into the number that it is in JSON Schema.
func (n *node) bound(inclusive, exclusive string) {
	switch e := n.get(exclusive); {
	case e == nil:
	case e.isTrue() && n.get(inclusive) != nil:
		limit := n.get(inclusive)
		n.remove(inclusive)
		n.replace(exclusive, limit)
	case string(e.scalar) == "true", string(e.scalar) == "false":
		n.remove(exclusive)
	}
}

// orNull is 3.0's nullable. With an enum, null must be among its values.
func (n *node) orNull() *node {
	t := n.get("type")
	// where other keywords say what the value is, a wider type would widen nothing
	if t == nil || n.get("allOf") != nil || n.get("oneOf") != nil || n.get("anyOf") != nil {
		return object(member{"anyOf", list(n, object(member{"type", text("null")}))})
	}
	if !t.array {
		n.replace("type", list(t, text("null")))
	}
	if enum := n.get("enum"); enum != nil {
		for _, item := range enum.items {
			if len(item.scalar) == 0 && !item.object && !item.array {
				return n
			}
		}
		n.replace("enum", list(append(enum.items[:len(enum.items):len(enum.items)], &node{})...))
	}
	return n
}

// remove takes a member out.
func (n *node) remove(name string) {
	for i, m := range n.members {
		if m.name == name {
			n.members = append(n.members[:i:i], n.members[i+1:]...)
			break
		}
	}
	if n.index != nil {
		delete(n.index, name)
	}
}

// replace gives a member another value, in its place.
func (n *node) replace(name string, value *node) {
	for i := range n.members {
		if n.members[i].name == name {
			n.members[i].value = value
		}
	}
	if n.index != nil {
		n.index[name] = value
	}
}

// rename gives a member another name.
func (n *node) rename(from, to string) {
	value := n.get(from)
	n.remove(from)
	n.add(to, value)
}
