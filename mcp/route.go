package mcp

// This file finds out which connector a request is for, and whether its caller may know of what it names. The answer is
// the same for lists and calls, and comes before anything else is decided about the request.

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
)

// target is what a request about one prompt or resource is for.
type target struct {
	mount *mounted
	rule  connector.Rule
	own   string // the connector's name for it
}

// keepParams returns the parameters of m for as long as its call lasts.
func (m *message) keepParams() []byte {
	if m.params == nil && m.method != "" {
		return []byte("{}")
	}
	return bytes.Clone(m.params)
}

// find looks up what the request of k names; for what does not exist for this caller it finds nothing. The error means
// that it cannot be known now.
func (s *Server) find(ctx context.Context, k *call) (err error) {
	switch k.method {
	case methodToolsCall:
		return s.findTool(ctx, k)
	case methodPromptsGet:
		k.target, err = s.findPrompt(ctx, k, k.name)
	case methodResourcesRead, methodSubscribe, methodUnsubscribe:
		k.target, err = s.findResource(ctx, k, k.name)
	case methodComplete:
		k.target, err = s.findReference(ctx, k)
	}
	return err
}

// findTool finds the tool of a call: one of ours, or one of the connector to which its name belongs.
func (s *Server) findTool(ctx context.Context, k *call) error {
	r := k.registry
	if owner := s.owner(k.name); owner != nil && r.byName[k.name] == nil {
		if ok, err := k.caller.open(ctx, &owner.whole); err != nil || !ok {
			k.denied(err)
			return err
		}
		v, err := owner.look(ctx, k)
		// Down, or without an answer: there is no saying which tools it has.
		if err != nil {
			k.tool = owner.absent(k.name, err)
			return nil
		}
		k.keep(v)
		r = &v.registry
	}
	var denied bool
	var err error
	if k.tool, denied, err = r.find(ctx, &k.caller, k.name); denied {
		k.denied(err)
	}
	return err
}

// denied notes in the log that what was asked for exists, but not for this caller.
func (k *call) denied(err error) {
	if err == nil {
		k.info.Reason(oauth.ToolDenied)
	}
}

// keep makes the whole request see the same view.
func (k *call) keep(v *view) {
	if k.views == nil {
		k.views = map[*mounted]*view{}
	}
	k.views[v.mount] = v
}

// absent stands for a tool of a connector that cannot say now what it offers. Its call says so, unless the rules hide
// the name from everybody: then it may just as well not exist.
func (m *mounted) absent(name string, why error) *Tool {
	own := strings.TrimPrefix(name, m.prefix)
	rule := m.config.Rule(own, true)
	if rule.Hidden || own == "" || len(name) > maxToolName {
		return nil
	}
	t := &Tool{Name: name, mount: m, own: own, Scopes: m.whole.Scopes, Provider: m.provider}
	t.carry = func(_ context.Context, k *call) (*Result, error) { return m.unavailable(k, why), nil }
	return t
}

// findPrompt finds a prompt by its full name.
func (s *Server) findPrompt(ctx context.Context, k *call, name string) (*target, error) {
	m := s.owner(name)
	if m == nil {
		return nil, nil
	}
	own := strings.TrimPrefix(name, m.prefix)
	t := &target{m, m.config.Rule(own, true), own}
	if ok, err := k.caller.open(ctx, &t.rule); err != nil || !ok {
		k.denied(err)
		return nil, err
	}
	v, err := m.look(ctx, k)
	if err != nil {
		return t, nil // the call itself says what is wrong
	}
	for i := range v.prompts {
		if v.prompts[i].key == name {
			return t, nil
		}
	}
	return nil, nil
}

// findResource finds out whose a URI is: of the connector that lists it, else of that whose template fits it best, else
// of the only one that has resources. Connectors of which the caller may not know are not asked.
func (s *Server) findResource(ctx context.Context, k *call, uri string) (*target, error) {
	mounts, err := s.visibleMounts(ctx, &k.caller)
	if err != nil || len(mounts) == 0 {
		return nil, err
	}
	var found *mounted
	best, several := -1, false
	views := s.lookAll(ctx, k, mounts)
	for _, v := range views {
		k.keep(v) // a subscription may name many
		fit := v.fit(uri)
		switch {
		case fit > best:
			found, best, several = v.mount, fit, false
		case fit == best && fit == 0:
			several = true
		}
	}
	if found == nil && len(views) < len(mounts) && slices.ContainsFunc(mounts, func(m *mounted) bool { return m.provider }) {
		// It may be one that shows nothing without the user's token: trouble with that is not "there is none".
		_, err := k.caller.UpstreamToken(ctx)
		return nil, err
	}
	// Of several that might have it none is asked: a URI can hold what is not for everybody to read.
	if found == nil || several {
		return nil, nil
	}
	t := &target{found, found.resourceRule(uri, best), uri}
	if ok, err := k.caller.open(ctx, &t.rule); err != nil || !ok {
		k.denied(err)
		return nil, err
	}
	return t, nil
}

// listed is the fit of a URI that stands in the list.
const listed = 1 << 30

// fit says how surely a URI belongs to this connector: -1 not, 0 perhaps, more for each character of a template that
// fits, and most for one that is listed.
func (v *view) fit(uri string) int {
	for i := range v.resources {
		if v.resources[i].key == uri {
			return listed
		}
	}
	best := -1
	if v.caps.resources {
		best = 0
	}
	for i := range v.templates {
		if n, ok := v.templates[i].fits(uri); ok {
			best = max(best, n+1)
		}
	}
	return best
}

// findReference finds what completion/complete is about: a prompt, or a resource template ("Completion").
func (s *Server) findReference(ctx context.Context, k *call) (*target, error) {
	ref := valueOf(k.params, "ref")
	switch text(valueOf(ref, "type")) {
	case "ref/prompt":
		return s.findPrompt(ctx, k, text(valueOf(ref, "name")))
	case "ref/resource":
		return s.findResource(ctx, k, text(valueOf(ref, "uri")))
	}
	return nil, nil
}

// needs returns the scopes that the request needs beyond the baseline.
func (k *call) needs() oauth.Scope {
	switch {
	case k.tool != nil:
		return k.tool.Scopes
	case k.target != nil:
		return k.target.rule.Scopes
	}
	return nil
}

// needsProvider reports whether the request needs the user's upstream token.
func (k *call) needsProvider() bool {
	return k.tool != nil && k.tool.Provider || k.target != nil && k.target.mount.provider
}

// traceOf is the traceparent for connectors: the trace of the request, with a parent of our own (W3C Trace Context §3.2).
func traceOf(r *http.Request, trace string) string {
	if trace == "" {
		return ""
	}
	flags := "00"
	if parts := strings.Split(r.Header.Get("Traceparent"), "-"); len(parts) == 4 && parts[3] == "01" {
		flags = parts[3]
	}
	span := make([]byte, 8)
	rand.Read(span) // never fails
	return "00-" + trace + "-" + hex.EncodeToString(span) + "-" + flags
}
