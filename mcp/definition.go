package mcp

// This file reads definitions that connectors offer, as far as this server must understand them. Clients check whole
// lists with strict schemas and drop all tools over one bad one, so a bad one is left out here (MCP "Tools").

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"hostedmcp/mcp/connector"
)

// definition is one tool as its connector offers it.
type definition struct {
	name    string
	reads   bool          // annotations.readOnlyHint
	headers []paramHeader // of inputSchema
}

// parseDefinition reads a tool object. What is optional is checked for its type alone.
func parseDefinition(raw json.RawMessage) (d definition, err error) {
	var schema, output []byte
	var faults []string
	err = members(raw, func(name string, value []byte, _, _ int) bool {
		switch name {
		case "name":
			d.name = text(value)
		case "inputSchema":
			schema = value
		case "outputSchema":
			output = value
		case "annotations":
			d.reads = string(valueOf(value, "readOnlyHint")) == "true"
			faults = append(faults, wrongType(name, value, '{')...)
		case "title", "description":
			faults = append(faults, wrongType(name, value, '"')...)
		case "icons":
			faults = append(faults, wrongType(name, value, '[')...)
		case "_meta":
			faults = append(faults, wrongType(name, value, '{')...)
		}
		return true
	})
	switch {
	case err != nil:
		return d, err
	case d.name == "":
		return d, errors.New("has no name")
	case len(faults) > 0:
		return d, errors.New(strings.Join(faults, ", "))
	case text(valueOf(schema, "type")) != "object":
		return d, errors.New(`inputSchema must have "type": "object"`)
	case output != nil && !isObject(output):
		return d, errors.New("outputSchema must be an object")
	}
	d.headers = paramHeaders(schema)
	return d, nil
}

// wrongType says that a member is there with another type than it must have; open is the first byte of that type.
func wrongType(name string, value []byte, open byte) []string {
	if len(value) > 0 && value[0] == open {
		return nil
	}
	kinds := map[byte]string{'{': "an object", '[': "an array", '"': "a string"}
	return []string{name + " must be " + kinds[open]}
}

// renamed returns a definition under another name. The rest stays as it came, but for white space.
func renamed(raw json.RawMessage, name string) (json.RawMessage, error) {
	out, err := edit(raw, func(n string, value []byte) []byte {
		if n == "name" {
			return quote(name)
		}
		return value
	})
	return out, err
}

// goodName reports why a name cannot be served, "" if it can. own is the connector's, full has the prefix.
func goodName(own, full string) string {
	switch {
	case len(full) > maxToolName:
		return fmt.Sprintf("with its prefix the name has %d characters, %d are allowed: write a shorter prefix", len(full), maxToolName)
	case own == instructionsPin:
		return "the name is reserved"
	}
	for _, r := range own {
		if r <= ' ' || r == 0x7f || len(connector.HiddenText(quote(string(r)))) > 0 {
			return "the name has characters that nobody sees"
		}
	}
	return ""
}

// item is a prompt, a resource or a resource template of a connector.
type item struct {
	key        string // what it is asked for by: the prompt's full name, the URI, the template
	own        string // the connector's own
	definition json.RawMessage
	rule       connector.Rule
	mount      *mounted
}

// parseItem reads a prompt, resource or template; key is the member that names it.
func parseItem(m *mounted, raw json.RawMessage, key string) (item, error) {
	own := text(valueOf(raw, key))
	if own == "" {
		return item{}, errors.New("has no " + key)
	}
	it := item{key: own, own: own, definition: bytes.Clone(raw), rule: m.config.Rule(own, true), mount: m}
	if key != "name" {
		if valueOf(raw, "name") == nil {
			return item{}, errors.New("has no name")
		}
		return it, nil
	}
	it.key = m.prefix + own
	if bad := goodName(own, it.key); bad != "" {
		return item{}, errors.New(bad)
	}
	var err error
	it.definition, err = renamed(raw, it.key)
	return it, err
}

// fits reports whether a URI may belong to a template (RFC 6570), and how many characters of its text say so. The
// connector judges for itself; this only finds out which one to ask.
func (it *item) fits(uri string) (int, bool) {
	head, rest, expression := strings.Cut(it.own, "{")
	if !expression {
		return len(head), head == uri
	}
	_, tail, _ := cutLast(rest, "}")
	if len(head)+len(tail) > len(uri) || !strings.HasPrefix(uri, head) || !strings.HasSuffix(uri, tail) {
		return 0, false
	}
	return len(head) + len(tail), true
}

// cutLast is strings.Cut around the last instance of sep.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
