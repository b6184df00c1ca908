package connector

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"hostedmcp/auth/oauth"
)

// fault is one fault of a configuration.
type fault struct{ key, text string }

// faults collects them.
type faults []fault

func (f *faults) add(key, format string, args ...any) {
	*f = append(*f, fault{key, fmt.Sprintf(format, args...)})
}

// join returns them as one error, each key behind path; nil if there are none.
func (f faults) join(path string) error {
	var errs []error
	for _, one := range f {
		errs = append(errs, fmt.Errorf("%s%s: %s", path, one.key, one.text))
	}
	return errors.Join(errs...)
}

// Validate reports all faults at once, each with its key. c must be complete.
func (c Config) Validate() error { return c.faults().join("") }

// ValidateAll reports the faults of all, each with its key path ("connector[0].url"), and names that stand twice.
func ValidateAll(configs []Config) error {
	var errs []error
	seen := map[string]int{}
	for i, c := range configs {
		f := c.faults()
		if first, twice := seen[c.Name]; twice && c.Name != "" {
			f.add("name", "%q is connector[%d] already", c.Name, first)
		} else {
			seen[c.Name] = i
		}
		errs = append(errs, f.join(fmt.Sprintf("connector[%d].", i)))
	}
	return errors.Join(errs...)
}

// ValidateScopes reports scopes that connectors need and nobody can get: known are the baseline and those of
// `[[mcp.scope]]`. A step-up challenge that asks for another would send users in a circle.
func ValidateScopes(configs []Config, known oauth.Scope) error {
	var errs []error
	check := func(key string, scopes []string) {
		for _, s := range scopes {
			if !known.Has(s) {
				errs = append(errs, fmt.Errorf("%s: nobody can get the scope %q: add it to [[mcp.scope]]", key, s))
			}
		}
	}
	for i, c := range configs {
		key := fmt.Sprintf("connector[%d]", i)
		check(key+".scopes", c.Scopes)
		for j, t := range c.Tools {
			check(fmt.Sprintf("%s.tool[%d].scopes", key, j), t.Scopes)
		}
	}
	return errors.Join(errs...)
}

// faults of one connector.
func (c Config) faults() (f faults) {
	// It stands in tool names, labels and URLs of pages: a small alphabet, and room for the tools' own names.
	if !validName(c.Name) {
		f.add("name", "%q is not a name: write 1 to 32 characters of a-z, 0-9, _ and -", c.Name)
	}
	if oauth.DisplayText(c.Title, 80) != c.Title {
		f.add("title", "write one line of at most 80 characters")
	}
	if c.Prefix != nil && (len(*c.Prefix) > 40 || !validToolName(*c.Prefix) && *c.Prefix != "") {
		f.add("prefix", "%q does not fit into a tool's name: write at most 40 characters of a-z, A-Z, 0-9, _, - and .", *c.Prefix)
	}
	c.placeFaults(&f)
	c.credentialFaults(&f)
	c.policyFaults(&f)
	c.limitFaults(&f)
	return f
}

func validName(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// validToolName reports whether s holds only what MCP and model vendors allow in the name of a tool.
func validToolName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.':
		default:
			return false
		}
	}
	return s != ""
}

// placeFaults checks the keys that say where the connector is; which they are depends on the kind. A key of another
// kind would have no effect, so it is a mistake.
func (c Config) placeFaults(f *faults) {
	switch c.Kind {
	case MCPHTTP:
		c.urlFaults(f, true)
	case MCPStdio:
		if len(c.Command) == 0 || c.Command[0] == "" {
			f.add("command", `write the program and its arguments: ["program", "argument"]`)
		}
		// execve(2) takes them as NAME=value up to a zero byte: what cannot be said so would become another variable
		for name := range c.Env {
			if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(c.Env[name], "\x00") {
				f.add("env", "%q cannot be an environment variable", name)
			}
		}
	case OpenAPI:
		c.urlFaults(f, false)
		c.documentFaults(f)
	default:
		f.add("kind", "%q is none: write mcp-http, mcp-stdio or openapi", c.Kind)
		return // of which kind the other keys are nobody can say
	}
	for _, k := range []struct {
		key  string
		set  bool
		only Kind
	}{
		{"command", len(c.Command) > 0, MCPStdio}, {"env", len(c.Env) > 0, MCPStdio},
		{"document", c.Document != "", OpenAPI}, {"document_sha256", c.DocumentSHA256 != "", OpenAPI},
	} {
		if k.set && c.Kind != k.only {
			f.add(k.key, "is for kind %s only: remove it", k.only)
		}
	}
	// url has two kinds, so that it does not fit the table
	if c.Kind == MCPStdio && c.URL != "" {
		f.add("url", "is not for kind %s: remove it", MCPStdio)
	}
}

// urlFaults checks the URL. Credentials leave in clear for this machine only.
func (c Config) urlFaults(f *faults, required bool) {
	if c.URL == "" {
		if required {
			f.add("url", "write the URL of the MCP server")
		}
		return
	}
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "":
		f.add("url", "is not an http or https URL without user and fragment")
	case InClear(u) && c.Credential != CredentialNone:
		f.add("url", "would carry credentials in clear: write https")
	}
}

// documentFaults checks where the document comes from. What a URL serves can change, so it is pinned.
func (c Config) documentFaults(f *faults) {
	hash, err := hex.DecodeString(c.DocumentSHA256)
	remote := strings.HasPrefix(c.Document, "https://") || strings.HasPrefix(c.Document, "http://")
	switch {
	case c.Document == "":
		f.add("document", "write the file or URL of the OpenAPI document")
	case remote && c.DocumentSHA256 == "":
		f.add("document_sha256", "a document from a URL is pinned: write the output of sha256sum")
	}
	if c.DocumentSHA256 != "" && (err != nil || len(hash) != 32) {
		f.add("document_sha256", "is not a SHA-256 in hex: write the output of sha256sum")
	}
}

// InClear reports whether what is said to u leaves this machine unencrypted. That a host is this machine shows in its
// form alone: 127.example.com is somebody else's.
func InClear(u *url.URL) bool {
	a, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && u.Hostname() != "localhost" && (err != nil || !a.IsLoopback())
}
