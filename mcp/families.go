package mcp

// This file answers the requests of MCP that belong to connectors alone: prompts, resources, completion and logging.

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"hostedmcp/mcp/connector"
)

// family answers a method of a family that connectors have; ok is false for methods of none.
func (s *Server) family(ctx context.Context, k *call, method string) (r *Result, ok bool, err error) {
	switch method {
	case methodPromptsList, methodResourcesList, methodTemplatesList, methodPromptsGet, methodResourcesRead, methodSubscribe,
		methodUnsubscribe, methodComplete, methodSetLevel:
	default:
		return nil, false, nil
	}
	all, err := s.capabilitiesFor(ctx, k)
	if err != nil {
		return nil, true, err
	}
	sessions := method == methodSubscribe || method == methodUnsubscribe || method == methodSetLevel
	if !all.declared(method) || sessions && k.session == nil {
		return nil, true, errNoMethod
	}
	switch method {
	case methodPromptsList, methodResourcesList, methodTemplatesList:
		r, err = s.listItems(ctx, k)
	case methodSetLevel:
		r, err = s.setLevel(ctx, k)
	default:
		r, err = s.pass(ctx, k)
	}
	return r, true, wireError(err)
}

// pass hands a request about one prompt or resource to its connector.
func (s *Server) pass(ctx context.Context, k *call) (*Result, error) {
	t := k.target
	if t == nil {
		return nil, k.unknown()
	}
	params, life := k.params, dropLife
	var err error
	switch k.method {
	case methodPromptsGet:
		params, err = renamedParams(params, t.own)
	case methodComplete:
		params, err = k.renamedReference(t.own)
	case methodResourcesRead:
		life = readLife
	case methodSubscribe:
		// Noted before it is asked for: the first update may overtake the answer.
		if !k.session.peer.subscribe(k.name, t.mount) {
			return nil, busy()
		}
	}
	if err != nil {
		return nil, err
	}
	r, err := t.mount.forward(ctx, k, params, life)
	if k.method == methodUnsubscribe || k.method == methodSubscribe && err != nil {
		k.session.peer.unsubscribe(k.name)
	}
	return r, err
}

// renamedReference returns the parameters of completion/complete with the connector's own name.
func (k *call) renamedReference(own string) ([]byte, error) {
	ref := valueOf(k.params, "ref")
	if text(valueOf(ref, "type")) != "ref/prompt" {
		return k.params, nil
	}
	changed, err := renamedParams(ref, own)
	if err != nil {
		return nil, err
	}
	return with(k.params, "ref", changed)
}

// unknown is the answer about what does not exist for the caller. For resources the eras have codes of their own
// ("Resources", Error handling).
func (k *call) unknown() error {
	switch k.method {
	case methodPromptsGet:
		return &jsonrpc.Error{Code: codeInvalidParams, Message: "unknown prompt " + string(quote(echo(k.name)))}
	case methodComplete:
		return &jsonrpc.Error{Code: codeInvalidParams, Message: "unknown ref"}
	}
	code := int64(connector.CodeResourceNotFound)
	if k.modern {
		code = codeInvalidParams
	}
	return &jsonrpc.Error{Code: code, Message: "Resource not found", Data: json.RawMessage(`{"uri":` + string(quote(echoURI(k.name))) + `}`)}
}

// echoURI cuts a URI that a client sent to what an error may repeat.
func echoURI(uri string) string { return uri[:min(len(uri), 512)] }

// setLevel tells all connectors with logs which the session wants ("Logging"). One that cannot be told now says nothing
// about the others.
func (s *Server) setLevel(ctx context.Context, k *call) (*Result, error) {
	level := text(valueOf(k.params, "level"))
	if !slices.Contains(levels, level) {
		return nil, &jsonrpc.Error{Code: codeInvalidParams, Message: "unknown level"}
	}
	k.session.peer.level.Store(&level)
	mounts, err := s.visibleMounts(ctx, &k.caller)
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		if c := m.caps.Load(); c == nil || !c.logging || !k.caller.Scope.Contains(m.whole.Scopes) {
			continue
		}
		if _, err := m.forward(ctx, k, k.params, dropLife); err != nil {
			s.log.Debug("connector did not take the log level", "connector", m.config.Name, "cause", err)
		}
	}
	return &Result{Members: json.RawMessage("{}")}, nil
}

// listItems answers a list of prompts, resources or templates: what the caller may know of, over all connectors in
// their fixed order. Of two resources with one URI the first is listed, and it is the one that is read.
func (s *Server) listItems(ctx context.Context, k *call) (*Result, error) {
	mounts, err := s.visibleMounts(ctx, &k.caller)
	if err != nil {
		return nil, err
	}
	var items []*item
	seen := map[string]bool{}
	for _, v := range s.lookAll(ctx, k, mounts) {
		var from []item
		switch k.method {
		case methodPromptsList:
			from = v.prompts
		case methodResourcesList:
			from = v.resources
		case methodTemplatesList:
			from = v.templates
		}
		for i := range from {
			ok, err := k.caller.open(ctx, &from[i].rule)
			if err != nil {
				return nil, err
			}
			if ok && !seen[from[i].key] {
				seen[from[i].key] = true
				items = append(items, &from[i])
			}
		}
	}
	return page(s, k, listNames[k.method], items, func(it *item) (string, json.RawMessage) { return it.key, it.definition })
}

// listNames are the members under which lists stand in their results.
var listNames = map[string]string{methodPromptsList: "prompts", methodResourcesList: "resources", methodTemplatesList: "resourceTemplates"}

// tellRoots hands on that the roots of a session's client have changed ("Roots").
func (s *Server) tellRoots(ctx context.Context, k *call) {
	if k.session == nil {
		return
	}
	mounts, err := s.visibleMounts(ctx, &k.caller)
	if err != nil {
		return
	}
	for _, m := range mounts {
		c, err := m.callFor(ctx, k, k.params)
		if err != nil || !k.caller.Scope.Contains(m.whole.Scopes) {
			continue
		}
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.config.Timeout.D())
		go func() {
			defer s.recovered(notifyRoots)
			defer cancel()
			_, _ = m.source.Do(wait, c) // a notification has no answer, and its failure no reader
		}()
	}
}
