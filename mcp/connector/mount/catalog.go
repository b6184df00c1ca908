package mount

import (
	"context"
	"encoding/json"
	"errors"

	"hostedmcp/mcp/connector"
)

// Bounds of what a server may offer.
const (
	mostPages = 200
	mostItems = 10_000
	mostBytes = 16 // times max_bytes
)

var (
	errList  = errors.New("a list that is none")
	errPages = errors.New("a list without end")
)

// Catalog returns what the server offers to the caller: all pages of all lists that its capabilities name, from memory
// for requests that name a single thing.
func (s *source) Catalog(ctx context.Context, c *connector.Call) (connector.Catalog, error) {
	key, since := s.key(c), s.State().Since
	if recalls(c) {
		if known, ok := s.memory.recall(key, since, s.now()); ok {
			return known, nil
		}
	}
	changes := s.memory.begin()
	catalog, err := s.catalogOf(ctx, c)
	if err != nil {
		s.memory.forget(key)
		return connector.Catalog{}, s.fault(err)
	}
	return s.memory.put(key, remembered{catalog: catalog, read: s.now(), changes: changes, since: since}), nil
}

func (s *source) catalog(ctx context.Context, c *connector.Call) (connector.Catalog, error) {
	hello, err := s.hello(ctx, c)
	if err != nil {
		return connector.Catalog{}, err
	}
	offered := objectOf(hello.get("capabilities"))
	out := connector.Catalog{
		Capabilities: hello.get("capabilities"), Instructions: hello.text("instructions"), Completions: offered.get("completions") != nil,
	}
	for _, l := range []struct {
		capability, method, key string
		into                    *[]json.RawMessage
	}{
		{"tools", "tools/list", "tools", &out.Tools},
		{"prompts", "prompts/list", "prompts", &out.Prompts},
		{"resources", "resources/list", "resources", &out.Resources},
		{"resources", "resources/templates/list", "resourceTemplates", &out.ResourceTemplates},
	} {
		if offered.get(l.capability) == nil {
			continue
		}
		*l.into, err = s.list(ctx, c, l.method, l.key)
		// Servers with resources need not have templates.
		if isMissing(err) && l.key == "resourceTemplates" {
			err = nil
		}
		if err != nil {
			return connector.Catalog{}, err
		}
	}
	s.forms.learn(out.Tools)
	return out, nil
}

// isMissing reports whether the server does not know a method.
func isMissing(err error) bool {
	var e *connector.Error
	return errors.As(err, &e) && e.Reason == "" && e.Code == connector.CodeMethodNotFound
}

// hello returns what the server says of itself now: in the older era once, when the link is made.
func (s *source) hello(ctx context.Context, c *connector.Call) (object, error) {
	slot, l, err := s.acquire(ctx, c)
	if replaceable(c, err) {
		slot, l, err = s.acquire(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	s.release(slot)
	if !l.modern {
		return l.hello, nil
	}
	result, err := s.exchange(ctx, c, methodDiscover, nil)
	return objectOf(result), err
}

// list reads all pages of one list (MCP "Pagination").
func (s *source) list(ctx context.Context, c *connector.Call, method, key string) ([]json.RawMessage, error) {
	var out []json.RawMessage
	size, cursor := int64(0), json.RawMessage(nil)
	for range mostPages {
		params := object{}
		if cursor != nil {
			params.set("cursor", cursor)
		}
		result, err := s.exchange(ctx, c, method, params.bytes())
		if err != nil {
			return nil, err
		}
		o := objectOf(result)
		items, ok := elements(o.get(key))
		if !ok {
			return nil, errList
		}
		for _, item := range items {
			if item[0] != '{' {
				return nil, errList
			}
		}
		out, size = append(out, items...), size+int64(len(result))
		next := o.get("nextCursor")
		switch {
		case unquote(next) == "":
			return out, nil
		case string(next) == string(cursor), len(out) > mostItems, size > mostBytes*s.cfg.MaxBytes:
			return nil, errPages
		}
		cursor = next
	}
	return nil, errPages
}

// learnForms reads which arguments stand in headers, for a server that missed one.
func (s *source) learnForms(ctx context.Context, c *connector.Call) error {
	tools, err := s.list(ctx, c, "tools/list", "tools")
	if err == nil {
		s.forms.learn(tools)
	}
	return err
}
