package connector_test

import (
	"slices"
	"strings"
	"testing"

	"hostedmcp/mcp/connector"
)

// TestMatch: * is any part of a name, and all else is itself.
func TestMatch(t *testing.T) {
	for _, row := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true}, {"*", "x", true}, {"a", "a", true}, {"a", "A", false}, {"a", "ab", false}, {"ab", "a", false},
		{"a*", "a", true}, {"a*", "ba", false}, {"*a", "ba", true}, {"*_b_*", "a_b_c", true}, {"a*b*c", "a_bb_c", true},
		{"a*b*c", "a_c_b", false}, {"**", "x", true}, {"?", "x", false}, {"[a]", "a", false}, {"a*", "a/b", true},
		{"*b", "abab", true}, {"a*b", "a*cb", true}, {"", "", true}, {"", "x", false}, {"file:///*", "file:///é", true},
		{strings.Repeat("*a", 50) + "b", strings.Repeat("a", 5000), false},
	} {
		if got := connector.Match(row.pattern, row.name); got != row.want {
			t.Errorf("Match(%.20q, %.20q) = %v", row.pattern, row.name, got)
		}
	}
}

// TestRule: one decision for lists and calls (protocol.md §7, Lists).
func TestRule(t *testing.T) {
	c := connector.Config{
		Allow: []string{"*_account", "audit"}, Deny: []string{"drop_*"}, ReadOnly: ptr(true), Scopes: []string{"mcp"}, Groups: []string{"sales", "boss"},
		Tools: []connector.ToolConfig{
			{Name: "edit_*", ReadOnly: ptr(false), Scopes: []string{"write", "mcp"}, Groups: []string{"boss"}},
			{Name: "edit_account", ReadOnly: ptr(true)}, // the first one that fits holds
			{Name: "find_account"},
		},
	}
	for _, row := range []struct {
		name   string
		reads  bool
		groups []string
		open   bool
		scopes string
	}{
		{"find_account", true, []string{"sales"}, true, "mcp"},
		{"find_account", true, []string{"boss"}, true, "mcp"},
		{"find_account", true, []string{"other"}, false, "mcp"},
		{"find_account", true, nil, false, "mcp"},
		{"find_account", false, []string{"sales"}, false, "mcp"},
		{"edit_account", false, []string{"boss"}, true, "mcp write"},
		{"edit_account", false, []string{"sales"}, false, "mcp write"},
		{"drop_account", true, []string{"boss"}, false, ""},
		{"find_deal", true, []string{"boss"}, false, ""},
	} {
		r := c.Rule(row.name, row.reads)
		if r.Open(row.groups) != row.open || r.Scopes.String() != row.scopes {
			t.Errorf("%s %v %q: %v, scopes %q", row.name, row.reads, row.groups, r.Open(row.groups), r.Scopes)
		}
	}
	if whole := c.Whole(); !whole.Open([]string{"sales"}) || whole.Open(nil) || !slices.Equal(c.Scopes, []string{"mcp"}) {
		t.Errorf("whole: %+v", whole)
	}
}
