package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// pageSize is the number of tools of one page of tools/list (MCP "Pagination"). It is as large as the SDK's own, since
// some clients read the first page only.
const pageSize = 1000

// listTools answers tools/list for one caller: ours, then those of the connectors, in fixed order. The definitions leave
// as they came, but for white space and their names (style.md, trap 3). A connector that is down is left out.
func (s *Server) listTools(ctx context.Context, k *call) (*Result, error) {
	tools, err := k.registry.listFor(ctx, &k.caller)
	if err != nil {
		return nil, err
	}
	mounts, err := s.visibleMounts(ctx, &k.caller)
	if err != nil {
		return nil, err
	}
	for _, v := range s.lookAll(ctx, k, mounts) {
		more, err := v.listFor(ctx, &k.caller)
		if err != nil {
			return nil, err
		}
		tools = append(tools, more...)
	}
	return page(s, k, "tools", tools, func(t *Tool) (string, json.RawMessage) { return t.Name, t.Definition })
}

// page answers one page of a list: what follows the cursor of k. read returns what an entry is called, and what it is.
func page[T any](s *Server, k *call, name string, list []*T, read func(*T) (string, json.RawMessage)) (*Result, error) {
	list, err := after(list, text(valueOf(k.params, "cursor")), read)
	if err != nil {
		return nil, err
	}
	r := &Result{modern: k.modern}
	if len(list) > pageSize {
		list = list[:pageSize]
		last, _ := read(list[pageSize-1])
		r.extra = `"nextCursor":"` + cursorOf(last) + `",`
	}
	switch {
	case k.modern && k.partial.Load(): // the connector that is missing may be back in a moment
		r.extra += cacheable(0)
	case k.modern:
		r.extra += s.cacheable
	}
	definitions := make([]json.RawMessage, len(list))
	for i, entry := range list {
		_, definitions[i] = read(entry)
	}
	r.Members, err = marshal(map[string][]json.RawMessage{name: definitions})
	return r, err
}

// cursorOf names the last entry of a page without naming it: the SDK's own cursor is readable. A hash also stays good
// when the list changes between two pages.
func cursorOf(name string) string {
	// 96 bits: no two entries of a list share them by accident.
	sum := sha256.Sum256([]byte(name))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// after returns what follows the entry that cursor names. Only what the caller may know of is looked at, so that a
// cursor cannot ask whether something hidden exists. An entry that has gone between two pages makes its cursor unknown;
// the client then starts over (MCP "Pagination").
func after[T any](list []*T, cursor string, read func(*T) (string, json.RawMessage)) ([]*T, error) {
	if cursor == "" {
		return list, nil
	}
	for i, entry := range list {
		if name, _ := read(entry); cursorOf(name) == cursor {
			return list[i+1:], nil
		}
	}
	return nil, &jsonrpc.Error{Code: codeInvalidParams, Message: "unknown cursor"}
}
