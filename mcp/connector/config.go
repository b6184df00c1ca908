package connector

import (
	"cmp"
	"time"

	"hostedmcp/auth/oauth"
)

// Kind is what a connector mounts.
type Kind string

// The kinds.
const (
	MCPHTTP  Kind = "mcp-http"  // an MCP server behind a URL
	MCPStdio Kind = "mcp-stdio" // an MCP server as a child process
	OpenAPI  Kind = "openapi"   // a REST API, one tool an operation
)

// CredentialKind says as whom a connector is called.
type CredentialKind string

// The kinds of credential.
const (
	CredentialNone     CredentialKind = "none"     // as nobody
	CredentialUser     CredentialKind = "user"     // with the user's upstream access token
	CredentialExchange CredentialKind = "exchange" // with a token for Audience that the provider gives for it (RFC 8693)
	CredentialStatic   CredentialKind = "static"   // with the content of SecretFile
)

// Config is one `[[connector]]` (protocol.md §9). As it is read it lacks its defaults: Complete fills them in. A
// pointer is a key whose absence means something else than its zero value.
type Config struct {
	Name  string `toml:"name"`  // unique; stands in prefixes, metrics and logs
	Title string `toml:"title"` // shown to people; "" = Name
	Kind  Kind   `toml:"kind"`

	URL            string            `toml:"url"`             // mcp-http: the endpoint; openapi: base URL in place of the document's
	Command        []string          `toml:"command"`         // mcp-stdio: program and arguments
	Env            map[string]string `toml:"env"`             // mcp-stdio: the child's whole environment
	Document       string            `toml:"document"`        // openapi: file, or URL with DocumentSHA256
	DocumentSHA256 string            `toml:"document_sha256"` // of the document, in hex; "" = a file that is not pinned

	Prefix *string `toml:"prefix"` // before each tool's and prompt's name; nil = Name + "__", "" = none

	Credential CredentialKind `toml:"credential"`
	Audience   string         `toml:"audience"`    // with exchange
	Header     string         `toml:"header"`      // that carries the credential; for mcp-stdio with static: the environment variable
	SecretFile string         `toml:"secret_file"` // with static: read by main

	Allow    []string `toml:"allow"`     // patterns of the connector's own names (Match); none = all
	Deny     []string `toml:"deny"`      // takes away from Allow
	ReadOnly *bool    `toml:"read_only"` // only tools that say they read; nil = true for openapi, else false
	Scopes   []string `toml:"scopes"`    // all of them are needed
	Groups   []string `toml:"groups"`    // one of them is needed; none = everybody

	AcceptChanges bool `toml:"accept_changes"` // serve changed definitions without asking the operator

	Timeout         oauth.Duration `toml:"timeout"`           // of one call
	MaxBytes        int64          `toml:"max_bytes"`         // of one answer
	MaxDepth        int            `toml:"max_depth"`         // of the JSON of one answer
	Parallel        int            `toml:"parallel"`          // calls at a time
	ParallelPerUser int            `toml:"parallel_per_user"` // of one user

	Tools []ToolConfig `toml:"tool"` // exceptions; the first whose pattern fits a name holds for it
}

// ToolConfig is `[[connector.tool]]`: what holds for some tools, prompts or resources on top of their connector's.
type ToolConfig struct {
	Name     string   `toml:"name"`      // pattern
	ReadOnly *bool    `toml:"read_only"` // in place of the connector's; nil = the connector's
	Scopes   []string `toml:"scopes"`    // needed besides the connector's
	Groups   []string `toml:"groups"`    // one of them is needed besides one of the connector's
}

// Default returns the defaults of protocol.md §9 for a kind. Name, URL, command and document have none.
func Default(kind Kind) Config {
	readOnly := kind == OpenAPI
	return Config{
		Kind: kind, Credential: CredentialNone, ReadOnly: &readOnly, Timeout: oauth.Duration(30 * time.Second),
		MaxBytes: 4 << 20, MaxDepth: 100, Parallel: 16, ParallelPerUser: 4,
	}
}

// Complete returns c with the defaults in place of what it leaves open. Numbers and lengths of 0 are left open.
func (c Config) Complete() Config {
	d := Default(c.Kind)
	c.Title = cmp.Or(c.Title, c.Name)
	c.Credential = cmp.Or(c.Credential, d.Credential)
	if c.Header == "" && c.Kind != MCPStdio {
		c.Header = "Authorization"
	}
	if c.Prefix == nil {
		prefix := c.Name + "__"
		c.Prefix = &prefix
	}
	if c.ReadOnly == nil {
		c.ReadOnly = d.ReadOnly
	}
	c.Timeout = cmp.Or(c.Timeout, d.Timeout)
	c.MaxBytes = cmp.Or(c.MaxBytes, d.MaxBytes)
	c.MaxDepth = cmp.Or(c.MaxDepth, d.MaxDepth)
	c.Parallel = cmp.Or(c.Parallel, d.Parallel)
	c.ParallelPerUser = cmp.Or(c.ParallelPerUser, d.ParallelPerUser)
	return c
}

// CompleteAll is Complete for each.
func CompleteAll(configs []Config) []Config {
	out := make([]Config, len(configs))
	for i, c := range configs {
		out[i] = c.Complete()
	}
	return out
}
