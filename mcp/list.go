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

// listTools answers tools/list for one caller: what the caller may know of, in fixed order. The definitions leave as
// they came, but for white space (style.md, trap 3); the order is the registry's, so that pages fit together and
// clients can compare lists.
func (s *Server) listTools(ctx context.Context, k *call, cursor string) (*Result, error) {
	tools, err := k.registry.listFor(ctx, &k.caller)
	if err != nil {
		return nil, err
	}
	if tools, err = after(tools, cursor); err != nil {
		return nil, err
	}
	r := &Result{modern: k.modern}
	if len(tools) > pageSize {
		tools = tools[:pageSize]
		r.extra = `"nextCursor":"` + cursorOf(tools[pageSize-1]) + `",`
	}
	if k.modern {
		r.extra += s.cacheable
	}
	definitions := make([]json.RawMessage, len(tools))
	for i, t := range tools {
		definitions[i] = t.Definition
	}
	r.Members, err = marshal(map[string][]json.RawMessage{"tools": definitions})
	return r, err
}

// cursorOf names the last tool of a page without naming it: the SDK's own cursor is readable. A hash also stays good
// when the list changes between two pages.
func cursorOf(t *Tool) string {
	// 96 bits: no two tools of a list share them by accident.
	sum := sha256.Sum256([]byte(t.Name))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// after returns what follows the tool that cursor names. Only tools of the caller are looked at, so that a cursor
// cannot ask whether a hidden one exists. A tool that has gone between two pages makes its cursor unknown; the client
// then starts over (MCP "Pagination").
func after(tools []*Tool, cursor string) ([]*Tool, error) {
	if cursor == "" {
		return tools, nil
	}
	for i, t := range tools {
		if cursorOf(t) == cursor {
			return tools[i+1:], nil
		}
	}
	return nil, &jsonrpc.Error{Code: codeInvalidParams, Message: "unknown cursor"}
}
