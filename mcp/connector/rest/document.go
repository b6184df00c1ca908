package rest

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// document is an OpenAPI description (OpenAPI 3.0 and 3.1). Everything it refers to is in itself: a reference that
// leaves it is a fault, never a request.
type document struct {
	root *node
	v30  bool   // the schemas are those of OpenAPI 3.0, no JSON Schema yet
	home string // URL of the server that the document is about, as written; "" = it names none
	ours string // header that carries the connector's credential, which no argument may decide; "" = none does
}

// readDocument reads a document of either version.
func readDocument(data []byte) (*document, error) {
	root, err := parseDocument(data)
	if err != nil {
		return nil, err
	}
	d := &document{root: root}
	switch version := root.get("openapi").str(); {
	case strings.HasPrefix(version, "3.0."):
		d.v30 = true
	case strings.HasPrefix(version, "3.1."):
	case root.get("swagger") != nil: // told apart, since a converter for it is easy to find
		return nil, errors.New("swagger: this is version 2: convert it to OpenAPI 3")
	default:
		return nil, fmt.Errorf("openapi: version %q is neither 3.0 nor 3.1", version)
	}
	if root.get("paths") == nil { // allowed in 3.1 beside webhooks, but it makes no tool
		return nil, errors.New("paths: the document describes no operations")
	}
	d.home = home(root)
	return d, nil
}

// home is the first server of the document, or, where it names none as a whole, of its first path.
func home(root *node) string {
	places := []*node{root}
	for _, p := range root.get("paths").members {
		places = append(places, p.value)
	}
	for _, n := range places {
		if servers := n.get("servers"); servers != nil && len(servers.items) > 0 {
			return expand(servers.items[0])
		}
	}
	return ""
}

// find follows a reference inside the document (RFC 6901). The error names what to change.
func (d *document) find(ref string) (*node, error) {
	pointer, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil, fmt.Errorf("$ref %q leaves the document: put what it names under components", ref)
	}
	n := d.root
	for token := range strings.SplitSeq(pointer, "/") {
		// a reference is a URI, so what a pointer holds is encoded once more (RFC 6901 §6)
		if plain, err := url.PathUnescape(token); err == nil {
			token = plain
		}
		n = n.step(strings.NewReplacer("~1", "/", "~0", "~").Replace(token))
		if n == nil {
			return nil, fmt.Errorf("$ref %q names nothing", ref)
		}
	}
	return n, nil
}

// step goes to a member, or to an item by its number.
func (n *node) step(token string) *node {
	if !n.array {
		return n.get(token)
	}
	var i int
	if _, err := fmt.Sscanf(token, "%d", &i); err != nil || i < 0 || i >= len(n.items) {
		return nil
	}
	return n.items[i]
}

// maxChain bounds references to references, which may go round in circles.
const maxChain = 20

// OpenAPI lets a reference stand for a parameter, a body, an answer or a path; those of schemas are the converter's, which
// keeps them where they are needed.

// resolve follows n while it is a reference: to a parameter, a body, an answer, a path.
func (d *document) resolve(n *node) (*node, error) {
	for range maxChain {
		ref := n.get("$ref")
		if ref == nil {
			return n, nil
		}
		var err error
		if n, err = d.find(ref.str()); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("$ref goes round in circles")
}

// server returns the URL of the document's server; relative to base, where the document came from.
func (d *document) server(base string) (*url.URL, error) {
	if d.home == "" {
		return nil, errors.New("servers: the document names none: set url")
	}
	u, err := url.Parse(d.home)
	if err == nil && base != "" {
		var from *url.URL
		if from, err = url.Parse(base); err == nil {
			u = from.ResolveReference(u)
		}
	}
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("servers[0].url: %q is no web address: set url", d.home)
	}
	return u, nil
}

// expand is a server's URL with the defaults of its variables in their places. Nothing of a call may choose among their
// other values: which host is asked is the operator's decision.
func expand(server *node) string {
	raw := server.get("url").str()
	if variables := server.get("variables"); variables != nil {
		for _, m := range variables.members {
			raw = strings.ReplaceAll(raw, "{"+m.name+"}", m.value.get("default").str())
		}
	}
	return raw
}
