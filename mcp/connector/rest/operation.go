package rest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"

	"hostedmcp/auth/oauth"
)

// operation is one operation of the document as a tool.
type operation struct {
	name       string // of the tool, without the connector's prefix
	method     string // "GET"
	path       string // template: "/accounts/{id}"
	definition json.RawMessage
	parameters []parameter
	names      map[string]bool // of the arguments
	body       *body           // nil = none is sent
	wrapped    bool            // the answer is no object: it stands under "result"
	limits     []string        // arguments that make the answer smaller, for the agent to know

	// input and output judge values by the schemas, made ready at the first call; nil = cannot be judged here.
	input, output func() *jsonschema.Resolved
	hasOutput     bool // clients were shown an output schema
}

// parameter is one argument outside the body.
type parameter struct {
	argument string // name in the tool's arguments
	name     string // name on the wire
	in       string // path, query, header
	style    string
	explode  bool
	json     bool // the value is written as JSON ("content" in place of "schema")
	required bool
	schema   *node
	text     string // description
}

// body is what the argument "body" becomes.
type body struct {
	mediaType string
	required  bool
	schema    *node
	text      string
}

// methods that become tools, in the order in which a path's stand in the list. TRACE shows a request's credential to
// whoever asks; it is left out.
var methods = []string{"get", "head", "options", "post", "put", "patch", "delete"}

// maxOperations bounds the tools of one document.
const maxOperations = 5000

// maxOutput is how many bytes of schema a tool says of its answer. Models read it with every list, and an answer can
// be read without.
const (
	maxInput  = 256 << 10
	maxOutput = 64 << 10
)

// operations turns the document into tools, in its own order. What cannot become a tool is named in left, with its
// place; the rest works.
func (d *document) operations(prefix int) (tools []*operation, left []string, err error) {
	names := map[string]string{} // tool to place
	for _, p := range d.root.get("paths").members {
		if strings.HasPrefix(p.name, "x-") {
			continue
		}
		item, err := d.resolve(p.value)
		if err != nil {
			left = append(left, fmt.Sprintf("paths %q: %v", p.name, err))
			continue
		}
		// in our own order of methods: the document's is that of whoever wrote it, and lists must not jump about
		for _, method := range methods {
			op := item.get(method)
			if op == nil {
				continue
			}
			place := strings.ToUpper(method) + " " + p.name
			o, err := d.operation(method, p.name, item, op, prefix)
			if err != nil {
				left = append(left, place+": "+err.Error())
				continue
			}
			if other, taken := names[o.name]; taken {
				left = append(left, fmt.Sprintf("%s: has the tool name %q of %s: give it another operationId", place, o.name, other))
				continue
			}
			names[o.name] = place
			if tools = append(tools, o); len(tools) > maxOperations {
				return nil, nil, fmt.Errorf("paths: more than %d operations", maxOperations)
			}
		}
	}
	return tools, left, nil
}

// operation reads one. prefix is how many characters of the tool's name are the connector's.
func (d *document) operation(method, path string, item, op *node, prefix int) (*operation, error) {
	if d.elsewhere(item) || d.elsewhere(op) {
		return nil, errors.New("servers: is on another server: mount it as a connector of its own")
	}
	o := &operation{method: strings.ToUpper(method), path: path, name: toolName(op.get("operationId").str(), method, path, 64-prefix)}
	var err error
	if o.parameters, err = d.parameters(item, op); err != nil {
		return nil, err
	}
	if err := o.checkPath(); err != nil {
		return nil, err
	}
	if o.body, err = d.body(op); err != nil {
		return nil, fmt.Errorf("requestBody: %w", err)
	}
	o.nameArguments()
	input, err := o.inputSchema(d)
	if err != nil {
		return nil, err
	}
	output, err := o.outputSchema(d, op)
	if err != nil {
		return nil, fmt.Errorf("responses: %w", err)
	}
	// At the first call: a document of a thousand operations would take seconds, and most are never called.
	o.input = sync.OnceValue(func() *jsonschema.Resolved { return judge(input) })
	o.output = sync.OnceValue(func() *jsonschema.Resolved { return judge(output) })
	o.hasOutput = output != nil
	o.define(op, input, output)
	return o, nil
}

// A credential is for one server. An operation on another one would carry it there, or would be sent to where it is not.

// elsewhere reports whether servers of its own would send a path or an operation to another place than the rest.
func (d *document) elsewhere(n *node) bool {
	servers := n.get("servers")
	return servers != nil && len(servers.items) > 0 && !slices.ContainsFunc(servers.items, func(s *node) bool { return expand(s) == d.home })
}

// Names must last: pins, policies and people's habits hang on them. So a clash is never resolved by a number, which would
// move with the order of the document.

// toolName is the operation's id in the characters of a tool's name, or its method and path. A name that is too long
// is cut, and told from others by a hash.
func toolName(id, method, path string, most int) string {
	name := strings.Trim(unsafeTool(id), "_")
	if name == "" {
		name = strings.Trim(unsafeTool(method+"_"+strings.Trim(path, "/")), "_")
	}
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:most-9] + "_" + hex.EncodeToString(sum[:4])
}

// unsafeTool replaces what may not stand in a tool's name; runs of it become one underscore.
func unsafeTool(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < utf8.RuneSelf && (r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'):
			b.WriteRune(r)
		case !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
	}
	return b.String()
}

// define writes the tool's definition (MCP "Tools"). Annotations follow from the method (RFC 9110 §9.2).
func (o *operation) define(op, input, output *node) {
	title := oauth.DisplayText(op.get("summary").str(), 120)
	def := object(member{"name", text(o.name)})
	if title != "" {
		def.add("title", text(title))
	}
	def.add("description", text(o.describe(op)))
	def.add("inputSchema", input)
	if output != nil {
		def.add("outputSchema", output)
	}
	// Policy lets only tools through that say they read, so this must come from the method and not from the document.
	safe := o.safe()
	idempotent := safe || o.method == "PUT" || o.method == "DELETE"
	def.add("annotations", object(
		member{"readOnlyHint", boolean(safe)}, member{"destructiveHint", boolean(!safe && o.method != "POST")},
		member{"idempotentHint", boolean(idempotent)}, member{"openWorldHint", boolean(true)},
	))
	o.definition = def.json()
}

// safe reports whether the method only reads (RFC 9110 §9.2.1).
func (o *operation) safe() bool { return slices.Contains([]string{"GET", "HEAD", "OPTIONS"}, o.method) }

func boolean(b bool) *node {
	if b {
		return literal("true")
	}
	return literal("false")
}

// describe is what the model reads: the document's words, and the request that the tool stands for.
func (o *operation) describe(op *node) string {
	parts := []string{}
	for _, key := range []string{"summary", "description"} {
		if s := strings.TrimSpace(op.get(key).str()); s != "" && !slices.Contains(parts, s) {
			parts = append(parts, s)
		}
	}
	if op.get("deprecated").isTrue() {
		parts = append(parts, "Deprecated.")
	}
	// many documents describe nothing; method and path then are all that tells one tool from another
	return strings.Join(append(parts, o.method+" "+o.path), "\n\n")
}

// checkPath makes sure that every place of the template has its parameter: else a brace would go out.
func (o *operation) checkPath() error {
	// what would end the path, or be read as another one, has no business in a template
	if !strings.HasPrefix(o.path, "/") || strings.ContainsAny(o.path, "?#\\ \t\r\n") {
		return errors.New("path: is no template")
	}
	for _, name := range templateNames(o.path) {
		if !slices.ContainsFunc(o.parameters, func(p parameter) bool { return p.in == "path" && p.name == name }) {
			return fmt.Errorf("parameters: none for {%s} of the path", name)
		}
	}
	for _, segment := range strings.Split(o.path, "/") {
		if dots(segment) {
			return errors.New("path: holds a dot segment")
		}
	}
	return nil
}

// templateNames are the names in braces.
func templateNames(path string) (names []string) {
	for {
		_, rest, open := strings.Cut(path, "{")
		name, after, closed := strings.Cut(rest, "}")
		if !open || !closed {
			return names
		}
		names, path = append(names, name), after
	}
}

// dots reports whether a segment is . or .., however often it is encoded (RFC 3986 §5.2.4).
func dots(segment string) bool {
	for range 4 {
		if segment == "." || segment == ".." {
			return true
		}
		plain, err := url.PathUnescape(segment)
		if err != nil || plain == segment {
			return false
		}
		segment = plain
	}
	return false
}

// judge prepares a schema for checking values. A schema that this reader cannot take, such as one with an expression
// of another language, judges nothing here.
func judge(schema *node) *jsonschema.Resolved {
	if schema == nil {
		return nil
	}
	var s jsonschema.Schema
	if json.Unmarshal(schema.json(), &s) != nil {
		return nil
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		return nil
	}
	return resolved
}
