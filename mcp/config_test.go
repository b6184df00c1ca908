package mcp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp"
)

// TestDefaults: protocol.md §9, `[mcp]`.
func TestDefaults(t *testing.T) {
	c := mcp.DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	out, err := toml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	const want = `scopes = ['mcp']
scope = []
list_ttl = '5m'
session_idle = '2h'
stream_max = '1h'
sessions_max = 2000
sessions_per_user = 64
streams_per_user = 32
`
	if string(out) != want {
		t.Errorf("got %s", out)
	}
}

// TestConfigFaults: all faults at once, each with its key.
func TestConfigFaults(t *testing.T) {
	c := mcp.Config{
		Scopes:      []string{"mcp", "two words", "mcp", "offline_access", "a,b"},
		Scope:       []mcp.ScopeConfig{{"mcp", "again"}, {"crm", ""}, {"", "x"}, {"deals", "line\nline"}},
		SessionIdle: oauth.Duration(time.Millisecond), SessionsMax: -1,
	}
	err := c.Validate()
	for _, want := range []string{
		`mcp.scopes: "two words" is not one scope`, `mcp.scopes: "mcp" stands here twice`, "mcp.scopes: offline_access",
		`mcp.scopes: "a,b"`, `mcp.scope[0].name: "mcp" stands here twice`, "mcp.scope[1].sentence", `mcp.scope[2].name: ""`,
		"mcp.scope[3].sentence", "mcp.session_idle", "mcp.stream_max", "mcp.sessions_max: -1", "mcp.sessions_per_user", "mcp.streams_per_user",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in\n%v", want, err)
		}
	}
	if err := (mcp.Config{}).Validate(); !strings.Contains(err.Error(), `write ["mcp"]`) {
		t.Error(err)
	}
}
