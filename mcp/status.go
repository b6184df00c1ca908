package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
)

// ConnectorStatus is a connector as the operator's page shows it.
type ConnectorStatus struct {
	Name     string
	Title    string
	State    string // "ok", "unreachable", "changed"
	Sentence string // what is the matter, "" if nothing is
	Reason   oauth.Reason
	Since    time.Time // of this state; zero = since the start
}

// Connectors says how the connectors are, in their fixed order.
func (s *Server) Connectors() []ConnectorStatus {
	out := make([]ConnectorStatus, len(s.mounts))
	for i, m := range s.mounts {
		out[i] = m.status()
	}
	return out
}

// status weighs what is the matter: that it is down, then that definitions wait, then that something is left out.
func (m *mounted) status() ConnectorStatus {
	st := m.source.State()
	out := ConnectorStatus{Name: m.config.Name, Title: m.config.Title, State: "ok", Since: st.Since, Sentence: st.Text}
	changed := m.ledger.Changed()
	switch {
	case !st.Up:
		out.State, out.Reason = "unreachable", st.Reason
		if out.Sentence == "" {
			out.Sentence = st.Reason.Sentence()
		}
	case len(changed) > 0:
		out.State, out.Reason, out.Since = "changed", oauth.ConnectorChanged, changed[0].Changed
		out.Sentence = fmt.Sprintf("%d changed definitions wait: hostedmcp tools diff", len(changed))
	case m.hiddenTools() > 0:
		out.Reason = oauth.ConnectorChanged
		out.Sentence = fmt.Sprintf("%d definitions hold characters that nobody sees; the log names them", m.hiddenTools())
	default:
		if p := m.problems.Load(); p != nil && len(*p) > 0 {
			out.Reason = oauth.ConnectorBadAnswer
			out.Sentence = fmt.Sprintf("%d of its definitions are not served: %s", len(*p), (*p)[0])
		}
	}
	return out
}

// hiddenTools counts the definitions with hidden text.
func (m *mounted) hiddenTools() int { return len(m.hidden.all()) }

// ToolChange is something about a tool's definition that the operator should read.
type ToolChange struct {
	Connector string          `json:"connector"`
	Tool      string          `json:"tool"`               // the connector's own name; "(instructions)" are those for the model
	Accepted  json.RawMessage `json:"accepted,omitempty"` // the definition that is pinned
	Offered   json.RawMessage `json:"offered,omitempty"`  // the one that waits; absent = nothing waits
	Since     time.Time       `json:"since,omitzero"`     // when it was first offered
	Hidden    []string        `json:"hidden,omitempty"`   // characters that nobody sees, with their places
}

// ToolChanges returns what waits for the operator and what else is suspicious, by connector and tool.
func (s *Server) ToolChanges() []ToolChange {
	var out []ToolChange
	for _, m := range s.mounts {
		byTool := map[string]ToolChange{}
		for _, p := range m.ledger.Changed() {
			byTool[p.Tool] = ToolChange{Connector: p.Connector, Tool: p.Tool, Accepted: p.Definition, Offered: p.Offered, Since: p.Changed}
		}
		for tool, found := range m.hidden.all() {
			c := byTool[tool]
			c.Connector, c.Tool, c.Hidden = m.config.Name, tool, found
			byTool[tool] = c
		}
		mine := make([]ToolChange, 0, len(byTool))
		for _, c := range byTool {
			mine = append(mine, c)
		}
		slices.SortFunc(mine, func(a, b ToolChange) int { return strings.Compare(a.Tool, b.Tool) })
		out = append(out, mine...)
	}
	return out
}

// errNoConnector is the answer to a name that the configuration does not have.
var errNoConnector = errors.New("no connector has this name")

// AcceptTools serves definitions of a connector that wait, from now on: those of seen, by tool, as ToolChanges gave
// them; one that has changed again since goes on waiting. It returns how many there were. Clients are told that the
// lists changed.
func (s *Server) AcceptTools(ctx context.Context, name string, seen map[string]json.RawMessage) (int, error) {
	return s.pinned(name, func(l *connector.Ledger) (int, error) { return l.Accept(ctx, seen) })
}

// ForgetTools drops the pin of a connector's tool, or with "" of all its tools that no change waits for: what it offers
// next is a first sight. It returns how many there were.
func (s *Server) ForgetTools(ctx context.Context, name, tool string) (int, error) {
	return s.pinned(name, func(l *connector.Ledger) (int, error) { return l.Forget(ctx, tool) })
}

// pinned does something to the pins of a connector, by name, and tells clients if it did.
func (s *Server) pinned(name string, do func(*connector.Ledger) (int, error)) (int, error) {
	for _, m := range s.mounts {
		if name != m.config.Name {
			continue
		}
		n, err := do(m.ledger)
		if n > 0 {
			s.changed(m)
		}
		if err != nil {
			err = fmt.Errorf("connector %q: %w", name, err)
		}
		return n, err
	}
	return 0, errNoConnector
}

// CheckConnectors is the connectors' part of `hostedmcp check`: what each says of itself, what of its catalog is not
// served and why, and how many tools each group sees.
func (s *Server) CheckConnectors(ctx context.Context) []oauth.Finding {
	var out []oauth.Finding
	for _, m := range s.mounts {
		out = append(out, m.source.Check(ctx)...)
		catalog, err := m.source.Catalog(ctx, nil)
		name := "connector " + m.config.Name
		if err != nil {
			out = append(out, oauth.Warn(name+" tools", "what it offers is not known without a user: "+err.Error(),
				"look at its tools as a user who may call them"))
			continue
		}
		v := m.view(catalog)
		for _, c := range v.collisions {
			out = append(out, oauth.Bad(name+" names", c, "set prefix of one of them"))
		}
		if len(v.problems) > len(v.collisions) {
			out = append(out, oauth.Warn(name+" definitions", strings.Join(v.problems, "; "), "tell the connector's owner"))
		}
		if n := len(m.ledger.Changed()); n > 0 {
			out = append(out, oauth.Warn(name+" changes", fmt.Sprintf("%d changed definitions wait", n), "hostedmcp tools diff, then hostedmcp tools accept"))
		}
		out = append(out, oauth.Good(name+" tools", v.audience()))
	}
	return out
}

// audience says how many tools each group sees.
func (v *view) audience() string {
	groups := slices.Clone(v.mount.config.Groups)
	for _, t := range v.mount.config.Tools {
		groups = append(groups, t.Groups...)
	}
	slices.Sort(groups)
	count := func(groups []string) (n int) {
		for i := range v.rules {
			if !v.tools[i].withheld && v.rules[i].Open(groups) {
				n++
			}
		}
		return n
	}
	out := fmt.Sprintf("%d offered, %d for everybody", len(v.tools), count(nil))
	for _, g := range slices.Compact(groups) {
		out += fmt.Sprintf(", %d for group %s", count([]string{g}), g)
	}
	return out
}

// Run keeps the connectors going until ctx ends. One that fails takes nothing else along.
func (s *Server) Run(ctx context.Context) error {
	var group errgroup.Group
	for _, m := range s.mounts {
		group.Go(func() error {
			m.keepGoing(ctx)
			return nil
		})
	}
	return group.Wait()
}

// runAgain is how long a connector that stopped is left alone.
const runAgain = 10 * time.Second

// keepGoing runs one connector, again if it stops, and looks at it once, so that its capabilities are known.
func (m *mounted) keepGoing(ctx context.Context) {
	go func() {
		defer m.server.recovered("catalog")
		if catalog, err := m.source.Catalog(ctx, nil); err == nil {
			m.view(catalog)
		}
	}()
	for ctx.Err() == nil {
		err := func() (err error) {
			defer m.server.recovered("run of connector " + m.config.Name)
			return m.source.Run(ctx)
		}()
		if ctx.Err() != nil {
			return
		}
		m.server.log.Error("a connector stopped", "connector", m.config.Name, "cause", err)
		select {
		case <-ctx.Done():
		case <-time.After(runAgain):
		}
	}
}

// recovered keeps a panic in the background from taking the whole server down; defer it.
func (s *Server) recovered(where string) {
	if p := recover(); p != nil {
		s.log.Error("panic in the background", "where", where, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
}

// closeConnectors ends them all, after the calls under way have their answers or ctx is done.
func (s *Server) closeConnectors(ctx context.Context) error {
	s.parked.closeAll()
	var errs []error
	for _, m := range s.mounts {
		if err := m.gate.drain(ctx); err != nil {
			errs = append(errs, fmt.Errorf("connector %q still has calls: %w", m.config.Name, err))
		}
		if err := m.source.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close connector %q: %w", m.config.Name, err))
		}
	}
	return errors.Join(errs...)
}
