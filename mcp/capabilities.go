package mcp

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"hostedmcp/mcp/connector"
)

// capabilities are what of MCP's server capabilities a connector has ("Lifecycle", Capability negotiation).
type capabilities struct {
	prompts, resources, subscribe, completions, logging bool

	ui json.RawMessage // the extension by which tools bring pages along; nil = none
}

// extensionUI works by resources and `_meta` alone, so it passes without our help. Extensions with methods of their own
// are not declared: nobody would answer them.
const extensionUI = "io.modelcontextprotocol/ui"

// parseCapabilities reads what a connector declares, and takes what it has for declared.
func parseCapabilities(c connector.Catalog) capabilities {
	resources := valueOf(c.Capabilities, "resources")
	return capabilities{
		prompts:     len(c.Prompts) > 0 || valueOf(c.Capabilities, "prompts") != nil,
		resources:   len(c.Resources)+len(c.ResourceTemplates) > 0 || resources != nil,
		subscribe:   string(valueOf(resources, "subscribe")) == "true",
		completions: c.Completions || valueOf(c.Capabilities, "completions") != nil,
		logging:     valueOf(c.Capabilities, "logging") != nil,
		ui:          json.RawMessage(valueOf(valueOf(c.Capabilities, "extensions"), extensionUI)),
	}
}

// union adds what o has.
func (c *capabilities) union(o *capabilities) {
	c.prompts = c.prompts || o.prompts
	c.resources = c.resources || o.resources
	c.subscribe = c.subscribe || o.subscribe
	c.completions = c.completions || o.completions
	c.logging = c.logging || o.logging
	if c.ui == nil {
		c.ui = o.ui
	}
}

// JSON writes them as a server declares them. Tools are always there: some are ours.
func (c *capabilities) JSON() []byte {
	out := `{"tools":{"listChanged":true}`
	if c.prompts {
		out += `,"prompts":{"listChanged":true}`
	}
	switch {
	case c.resources && c.subscribe:
		out += `,"resources":{"listChanged":true,"subscribe":true}`
	case c.resources:
		out += `,"resources":{"listChanged":true}`
	}
	if c.completions {
		out += `,"completions":{}`
	}
	if c.logging {
		out += `,"logging":{}`
	}
	if c.ui != nil {
		out += `,"extensions":{"` + extensionUI + `":` + string(c.ui) + `}`
	}
	return []byte(out + "}")
}

// declared reports whether a method belongs to what is declared. The SDK would answer undeclared ones with empty lists,
// by which clients could not tell (MCP, Capability negotiation).
func (c *capabilities) declared(method string) bool {
	family, _, _ := strings.Cut(method, "/")
	switch family {
	case "prompts":
		return c.prompts
	case "resources":
		if method == methodSubscribe || method == methodUnsubscribe {
			return c.subscribe
		}
		return c.resources
	case "completion":
		return c.completions
	case "logging":
		return c.logging
	}
	return true
}

// capabilitiesFor returns the union over the connectors that the caller may know of, as they were last seen. Those that
// were never seen are looked at first: a request of the modern era may be the first that anybody makes.
func (s *Server) capabilitiesFor(ctx context.Context, k *call) (capabilities, error) {
	var all capabilities
	mounts, err := s.visibleMounts(ctx, &k.caller)
	if err != nil {
		return all, err
	}
	var unseen []*mounted
	for _, m := range mounts {
		if m.caps.Load() == nil {
			unseen = append(unseen, m)
		}
	}
	if len(unseen) > 0 {
		wait, cancel := context.WithTimeout(ctx, greetingWait)
		defer cancel()
		s.lookAll(wait, k, unseen)
	}
	for _, m := range mounts {
		if c := m.caps.Load(); c != nil {
			all.union(c)
		}
	}
	return all, nil
}

// greetingWait bounds how long a greeting waits for connectors that were never seen.
const greetingWait = 3 * time.Second

// greet completes the SDK's answer to initialize or server/discover by what connectors declare to this user.
func (s *Server) greet(ctx context.Context, k *call, result sdk.Result) (*Result, error) {
	mounts, err := s.visibleMounts(ctx, &k.caller)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, greetingWait)
	defer cancel()
	var texts []string
	for _, v := range s.lookAll(wait, k, mounts) {
		if v.instruction != "" {
			texts = append(texts, v.heading(len(mounts) > 1)+v.instruction)
		}
	}
	all, err := s.capabilitiesFor(ctx, k)
	if err != nil {
		return nil, err
	}
	object, err := marshal(result)
	if err != nil {
		return nil, err
	}
	if object, err = with(object, "capabilities", all.JSON()); err != nil {
		return nil, err
	}
	if len(texts) > 0 {
		if object, err = with(object, "instructions", quote(strings.Join(texts, "\n\n"))); err != nil {
			return nil, err
		}
	}
	if k.partial.Load() && valueOf(object, "ttlMs") != nil {
		if object, err = with(object, "ttlMs", []byte("0")); err != nil {
			return nil, err
		}
	}
	return s.result(k, object, keepLife)
}

// heading says whose instructions follow, if there are several connectors.
func (v *view) heading(several bool) string {
	if !several {
		return ""
	}
	return v.mount.config.Title + " (" + v.mount.prefix + "*):\n"
}
