package connector_test

import (
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
)

func ptr[T any](v T) *T { return &v }

// minimal is the smallest good configuration of each kind.
func minimal(kind connector.Kind) connector.Config {
	c := connector.Config{Name: "crm", Kind: kind}
	switch kind {
	case connector.MCPHTTP:
		c.URL = "https://crm.example/mcp"
	case connector.MCPStdio:
		c.Command = []string{"crm-mcp"}
	case connector.OpenAPI:
		c.Document = "crm.yaml"
	}
	return c
}

// TestDefaults: protocol.md §9.
func TestDefaults(t *testing.T) {
	for _, kind := range []connector.Kind{connector.MCPHTTP, connector.MCPStdio, connector.OpenAPI} {
		c := minimal(kind).Complete()
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if c.Title != "crm" || *c.Prefix != "crm__" || c.Credential != "none" || *c.ReadOnly != (kind == connector.OpenAPI) ||
			c.Timeout.D() != 30*time.Second || c.MaxBytes != 4<<20 || c.MaxDepth != 100 || c.Parallel != 16 || c.ParallelPerUser != 4 {
			t.Errorf("%s: %+v", kind, c)
		}
		if c.AcceptChanges || len(c.Allow)+len(c.Deny)+len(c.Scopes)+len(c.Groups) != 0 {
			t.Errorf("%s: %+v", kind, c)
		}
	}
	c := minimal(connector.MCPHTTP)
	c.Prefix, c.ReadOnly = ptr(""), ptr(true)
	if c = c.Complete(); *c.Prefix != "" || !*c.ReadOnly {
		t.Errorf("what is written stays: %+v", c)
	}
}

// TestFaults: each fault is reported with its key path (protocol.md §9).
func TestFaults(t *testing.T) {
	for key, change := range map[string]func(*connector.Config){
		"name: ":         func(c *connector.Config) { c.Name = "Größe" },
		"title: ":        func(c *connector.Config) { c.Title = "a\u202eb" },
		"kind: ":         func(c *connector.Config) { c.Kind = "soap" },
		"prefix: ":       func(c *connector.Config) { c.Prefix = ptr("a b") },
		"url: write":     func(c *connector.Config) { c.URL = "" },
		"url: is not":    func(c *connector.Config) { c.URL = "ftp://crm.example" },
		"url: is not an": func(c *connector.Config) { c.URL = "https://user@crm.example" },
		"url: would":     func(c *connector.Config) { c.URL, c.Credential = "http://crm.example", connector.CredentialUser },
		"command: is":    func(c *connector.Config) { c.Command = []string{"x"} },
		"command: write": func(c *connector.Config) { *c = minimal(connector.MCPStdio).Complete(); c.Command = nil },
		"env: ": func(c *connector.Config) {
			*c = minimal(connector.MCPStdio).Complete()
			c.Env = map[string]string{"A=": ""}
		},
		"document: ": func(c *connector.Config) { *c = minimal(connector.OpenAPI).Complete(); c.Document = "" },
		"document_sha256: ": func(c *connector.Config) {
			*c = minimal(connector.OpenAPI).Complete()
			c.Document = "https://a.example/d"
		},
		"document_sha256: is not":       func(c *connector.Config) { *c = minimal(connector.OpenAPI).Complete(); c.DocumentSHA256 = "12" },
		"credential: ":                  func(c *connector.Config) { c.Credential = "own" },
		"audience: credential exchange": func(c *connector.Config) { c.Credential = connector.CredentialExchange },
		"audience: is for":              func(c *connector.Config) { c.Audience = "a" },
		"secret_file: ":                 func(c *connector.Config) { c.Credential = connector.CredentialStatic },
		"header: ":                      func(c *connector.Config) { c.Header = "Mcp-Session-Id" },
		"header: \"Hostedmcp-Subject\"": func(c *connector.Config) { c.Header = "Hostedmcp-Subject" },
		"header: \"a b\"":               func(c *connector.Config) { c.Header = "a b" },
		"allow: ":                       func(c *connector.Config) { c.Allow = []string{""} },
		"deny: ":                        func(c *connector.Config) { c.Deny = []string{""} },
		"scopes: ":                      func(c *connector.Config) { c.Scopes = []string{"a b"} },
		"groups: ":                      func(c *connector.Config) { c.Groups = []string{""} },
		"timeout: ":                     func(c *connector.Config) { c.Timeout = oauth.Duration(time.Millisecond) },
		"max_bytes: ":                   func(c *connector.Config) { c.MaxBytes = 1 },
		"max_depth: ":                   func(c *connector.Config) { c.MaxDepth = -1 },
		"parallel: ":                    func(c *connector.Config) { c.Parallel = -1 },
		"parallel_per_user: ":           func(c *connector.Config) { c.ParallelPerUser = 1 << 20 },
		"tool[0].name: ":                func(c *connector.Config) { c.Tools = []connector.ToolConfig{{}} },
		"tool[0].scopes: ":              func(c *connector.Config) { c.Tools = []connector.ToolConfig{{Name: "a", Scopes: []string{"\""}}} },
	} {
		c := minimal(connector.MCPHTTP).Complete()
		change(&c)
		err := connector.ValidateAll([]connector.Config{c})
		if err == nil || !strings.Contains(err.Error(), "connector[0]."+key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	c := minimal(connector.MCPHTTP).Complete()
	c.URL, c.Credential = "http://127.0.0.1:8081/mcp", connector.CredentialUser
	if err := c.Validate(); err != nil {
		t.Errorf("loopback: %v", err)
	}
	if err := connector.ValidateAll([]connector.Config{c, c}); err == nil || !strings.Contains(err.Error(), "connector[1].name") {
		t.Errorf("twice: %v", err)
	}
}

// TestValidateScopes: a scope that nobody can get would send users in a circle (MCP "Scope challenge handling").
func TestValidateScopes(t *testing.T) {
	c := minimal(connector.MCPHTTP)
	c.Scopes = []string{"mcp", "crm"}
	c.Tools = []connector.ToolConfig{{Name: "a", Scopes: []string{"write"}}}
	err := connector.ValidateScopes([]connector.Config{c}, oauth.Scope{"mcp"})
	if err == nil || !strings.Contains(err.Error(), `connector[0].scopes: nobody can get the scope "crm"`) ||
		!strings.Contains(err.Error(), `connector[0].tool[0].scopes: nobody can get the scope "write"`) {
		t.Errorf("error: %v", err)
	}
	if err := connector.ValidateScopes([]connector.Config{c}, oauth.Scope{"mcp", "crm", "write"}); err != nil {
		t.Error(err)
	}
}
