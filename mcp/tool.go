package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"hostedmcp/auth/oauth"
)

// Tool is one tool as this server offers it. Definition and results are raw JSON, since the SDK's types lose unknown
// members, their order and large integers (style.md, trap 3).
type Tool struct {
	Name       string          // unique, 1..64 characters
	Definition json.RawMessage // the tool object of tools/list, with the same name and an inputSchema of type object

	Provider bool        // needs the user's upstream token, which is obtained before a call is dispatched
	Scopes   oauth.Scope // needed beyond the baseline; a call without them gets the step-up challenge

	// Visible says whether the caller may know of the tool: it filters the list and the calls alike. nil = everybody
	// may. An error means that it cannot be known now (503). It is asked at least once a request, and must be cheap.
	Visible func(ctx context.Context, c *Caller) (bool, error)

	// Call does the work, soon: its context carries the caller (CallerOf) and ends when nobody can come for the answer
	// any more; arguments are as they came, nil = none. A *jsonrpc.Error becomes a protocol error, any other error is our own fault and is told to nobody
	// but the log; what the user should read belongs into a Result with IsError.
	Call func(ctx context.Context, arguments json.RawMessage) (*Result, error)

	mount    *mounted      // the connector that has it; nil = this server
	carry    carrier       // does the work of a connector's tool in place of Call
	own      string        // the connector's name for it
	headers  []paramHeader // that repeat its arguments
	withheld bool          // its definition changed and nobody has accepted it: not listed, not called
}

// carrier carries out the call of a connector's tool.
type carrier func(ctx context.Context, k *call) (*Result, error)

// maxToolName is the longest name of a tool, which model vendors have set.
const maxToolName = 64

// check finds what a client or the SDK would stumble over. Once, when it is registered: a client may drop a whole
// list over one bad tool.
func (t *Tool) check() error {
	var d struct {
		Name        string `json:"name"`
		InputSchema struct {
			Type string `json:"type"`
		} `json:"inputSchema"`
	}
	if err := json.Unmarshal(t.Definition, &d); err != nil {
		return fmt.Errorf("tool %q: definition: %w", t.Name, err)
	}
	switch {
	case t.Name == "" || len(t.Name) > maxToolName:
		return fmt.Errorf("tool %q: a name has 1 to %d characters", t.Name, maxToolName)
	case d.Name != t.Name:
		return fmt.Errorf("tool %q: the definition names it %q", t.Name, d.Name)
	case d.InputSchema.Type != "object":
		return fmt.Errorf(`tool %q: inputSchema must have "type": "object"`, t.Name)
	case t.Call == nil:
		return fmt.Errorf("tool %q: nothing to call", t.Name)
	}
	return nil
}

// registry is the set of tools at one time. It is replaced as a whole and never changed. So a request that holds one
// sees the same tools from its lookup to its answer, without a lock.
type registry struct {
	tools  []Tool // in their fixed order
	byName map[string]*Tool
}

// newRegistry reports all faults at once. The tools are kept where they stand, so byName and the list lead to the
// same ones.
func newRegistry(tools []Tool) (*registry, error) {
	r := &registry{tools: tools, byName: make(map[string]*Tool, len(tools))}
	var faults []error
	for i := range tools {
		t := &tools[i]
		if err := t.check(); err != nil {
			faults = append(faults, err)
		}
		if r.byName[t.Name] != nil {
			faults = append(faults, fmt.Errorf("tool %q: two tools have this name", t.Name))
		}
		r.byName[t.Name] = t
	}
	return r, errors.Join(faults...)
}

// visible is the one predicate of lists and calls. It has no result for "visible but refused": what may not be called
// is not shown.
func (t *Tool) visible(ctx context.Context, c *Caller) (bool, error) {
	if t.Visible == nil {
		return true, nil
	}
	return t.Visible(ctx, c)
}

// find returns the tool of that name if c may know of it, else nil. denied says that it exists nevertheless. The
// caller is answered alike in both cases; denied is for our log (tool_denied).
func (r *registry) find(ctx context.Context, c *Caller, name string) (t *Tool, denied bool, err error) {
	t = r.byName[name]
	if t == nil {
		return nil, false, nil
	}
	ok, err := t.visible(ctx, c)
	if err != nil || !ok {
		return nil, err == nil, err
	}
	return t, false, nil
}

// listFor returns the tools that c may know of, in order.
func (r *registry) listFor(ctx context.Context, c *Caller) ([]*Tool, error) {
	out := make([]*Tool, 0, len(r.tools))
	for i := range r.tools {
		if r.tools[i].withheld {
			continue
		}
		ok, err := r.tools[i].visible(ctx, c)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, &r.tools[i])
		}
	}
	return out, nil
}
