package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"hostedmcp/mcp/connector"
)

// view is a catalog as this server offers it: renamed, checked, with the rules of the configuration and of the pins. It
// is made once for each catalog and never changed.
type view struct {
	mount   *mounted
	catalog connector.Catalog
	version uint64 // of the ledger

	registry                     // of the tools
	rules       []connector.Rule // of the tools
	prompts     []item
	resources   []item
	templates   []item
	caps        capabilities
	instruction string   // withheld ones are left out
	problems    []string // what was left out, and why
	collisions  []string // names that belong to others, which are problems too
}

const (
	// maxItems bounds what one connector may offer of each kind.
	maxItems = 5000
	// maxViews is how many catalogs of one connector are remembered: they may differ by user.
	maxViews = 16
	// maxProblems is how many are told.
	maxProblems = 20
)

// view returns the view of a catalog, from memory if it is one of the last ones.
func (m *mounted) view(c connector.Catalog) *view {
	version := m.ledger.Version()
	m.mu.Lock()
	for i, v := range m.views {
		if v.version == version && sameCatalog(&v.catalog, &c) {
			m.views = slices.Insert(slices.Delete(m.views, i, i+1), 0, v)
			m.mu.Unlock()
			return v
		}
	}
	m.mu.Unlock()
	// Not under the lock: it takes long with many tools, and stores pins. Two may read the same; the last one stays.
	v := m.read(c)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.views = slices.Insert(m.views, 0, v)
	m.views = m.views[:min(len(m.views), maxViews)]
	return v
}

// sameCatalog reports whether two catalogs are made of the same slices. Catalogs are not changed, so then they say the
// same; if they say the same in other slices, they are read again.
func sameCatalog(a, b *connector.Catalog) bool {
	return sameSlice(a.Tools, b.Tools) && sameSlice(a.Prompts, b.Prompts) && sameSlice(a.Resources, b.Resources) &&
		sameSlice(a.ResourceTemplates, b.ResourceTemplates) && a.Instructions == b.Instructions &&
		a.Completions == b.Completions && string(a.Capabilities) == string(b.Capabilities)
}

func sameSlice(a, b raw) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// read makes a view and notes what was seen: pins, capabilities, problems.
func (m *mounted) read(c connector.Catalog) *view {
	v := &view{mount: m, catalog: c, caps: parseCapabilities(c)}
	v.readTools(c.Tools)
	for _, kind := range []struct {
		name, key string
		from      raw
		to        *[]item
	}{
		{"prompt", "name", c.Prompts, &v.prompts}, {"resource", "uri", c.Resources, &v.resources},
		{"resource template", "uriTemplate", c.ResourceTemplates, &v.templates},
	} {
		*kind.to = v.readItems(kind.name, kind.key, kind.from)
	}
	if c.Instructions != "" && !m.withheld(instructionsPin, quote(c.Instructions)) {
		v.instruction = c.Instructions
	}
	// After the pins were asked: they have moved it.
	v.version = m.ledger.Version()
	m.caps.Store(&v.caps)
	m.report(v)
	return v
}

// instructionsPin is the name under which a connector's instructions are pinned: they speak to the model as
// descriptions do.
const instructionsPin = "(instructions)"

// readTools checks, renames and judges the tools.
func (v *view) readTools(definitions raw) {
	v.byName = make(map[string]*Tool, len(definitions))
	v.tools = make([]Tool, 0, min(len(definitions), maxItems))
	for i, definition := range definitions {
		if i == maxItems {
			v.problem("tool", "", fmt.Sprintf("%d tools are too many: the first %d are served", len(definitions), maxItems))
			break
		}
		d, err := parseDefinition(definition)
		if err == nil {
			err = v.readTool(d, definition)
		}
		if err != nil {
			v.problem("tool", d.name, err.Error())
		}
	}
	// Only now do they stand still in memory.
	for i := range v.tools {
		v.byName[v.tools[i].Name] = &v.tools[i]
	}
}

// readTool enters one tool.
func (v *view) readTool(d definition, offered json.RawMessage) error {
	m := v.mount
	full := m.prefix + d.name
	if bad := goodName(d.name, full); bad != "" {
		return fmt.Errorf("%s", bad)
	}
	if other := m.server.claimed(full, m); other != "" {
		v.collisions = append(v.collisions, fmt.Sprintf("connector %q: tool %q: the name %q belongs to %s: write another prefix",
			m.config.Name, d.name, full, other))
		return fmt.Errorf("the name %q belongs to %s", full, other)
	}
	if _, twice := v.byName[full]; twice {
		return fmt.Errorf("two tools have this name")
	}
	named, err := renamed(offered, full)
	if err != nil {
		return err
	}
	rule := m.config.Rule(d.name, d.reads)
	t := Tool{
		Name: full, Definition: named, Provider: m.provider, Scopes: rule.Scopes,
		Visible:  func(ctx context.Context, c *Caller) (bool, error) { return c.open(ctx, &rule) },
		mount:    m,
		own:      d.name,
		headers:  d.headers,
		withheld: m.withheld(d.name, offered),
	}
	t.carry = func(ctx context.Context, k *call) (*Result, error) { return m.callTool(ctx, k, &t) }
	v.tools, v.rules = append(v.tools, t), append(v.rules, rule)
	// A place for the second of two with this name to be found by, until they stand still.
	v.byName[full] = nil
	return nil
}

// claimed says to whom a name belongs if not to m, "" if to m.
func (s *Server) claimed(full string, m *mounted) string {
	for _, t := range s.builtin {
		if t.Name == full {
			return "this server's own tool"
		}
	}
	if o := s.owner(full); o != m && o != nil {
		return fmt.Sprintf("connector %q", o.config.Name)
	}
	return ""
}

// readItems checks prompts, resources or templates. The first of two with one name is served.
func (v *view) readItems(kind, key string, definitions raw) []item {
	seen := map[string]bool{}
	out := make([]item, 0, min(len(definitions), maxItems))
	for _, definition := range definitions[:min(len(definitions), maxItems)] {
		it, err := parseItem(v.mount, definition, key)
		switch {
		case err != nil:
		case kind == "prompt" && v.mount.server.owner(it.key) != v.mount:
			err = fmt.Errorf("the name %q belongs to %s", it.key, v.mount.server.claimed(it.key, v.mount))
		case seen[it.key]:
			err = fmt.Errorf("two of them have this name")
		}
		if err != nil {
			v.problem(kind, it.own, err.Error())
			continue
		}
		seen[it.key] = true
		out = append(out, it)
	}
	return out
}

// problem notes what was left out.
func (v *view) problem(kind, name, text string) {
	if len(v.problems) < maxProblems {
		v.problems = append(v.problems, fmt.Sprintf("%s %q: %s", kind, echo(name), text))
	}
}

// withheld asks the pins about a definition, and says in the log what a person should look at.
func (m *mounted) withheld(name string, definition json.RawMessage) bool {
	withheld, fresh := m.ledger.Withheld(name, definition)
	if fresh {
		m.server.log.Warn("a connector changed a definition", "connector", m.config.Name, "tool", name,
			"reason", "connector_changed", "served", !withheld)
	}
	found := connector.HiddenText(definition)
	if len(found) == 0 {
		m.hidden.drop(name)
	} else if m.hidden.put(name, found) {
		m.server.log.Warn("a definition holds characters that nobody sees", "connector", m.config.Name, "tool", name,
			"found", found)
	}
	return withheld
}

// report says in the log what was left out, each thing once, and stores new pins.
func (m *mounted) report(v *view) {
	m.problems.Store(&v.problems)
	for _, p := range v.problems {
		if m.logged.put(p, nil) {
			m.server.log.Warn("connector offers what is not served", "connector", m.config.Name,
				"reason", "connector_bad_answer", "problem", p)
		}
	}
	if err := m.ledger.Flush(context.Background()); err != nil {
		m.server.log.Error("the pins of a connector were not stored", "connector", m.config.Name, "cause", err)
	}
}
