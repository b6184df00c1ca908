package mcp

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// Config is the section `[mcp]` of the configuration (protocol.md §9).
type Config struct {
	Scopes          []string       `toml:"scopes"`            // baseline: what every request needs and a 401 asks for
	Scope           []ScopeConfig  `toml:"scope"`             // further scopes that tools may need
	ListTTL         oauth.Duration `toml:"list_ttl"`          // how long clients may keep lists; 0 = not at all
	SessionIdle     oauth.Duration `toml:"session_idle"`      // a session without requests ends after this
	StreamMax       oauth.Duration `toml:"stream_max"`        // longest life of one stream
	SessionsMax     int            `toml:"sessions_max"`      // living sessions of all users
	SessionsPerUser int            `toml:"sessions_per_user"` // living sessions of one user, over all clients
	StreamsPerUser  int            `toml:"streams_per_user"`  // GET and subscription streams at a time
}

// ScopeConfig is `[[mcp.scope]]`: a scope beyond the baseline.
type ScopeConfig struct {
	Name     string `toml:"name"`
	Sentence string `toml:"sentence"` // what the consent page says it allows
}

// DefaultConfig returns the defaults of protocol.md §9.
func DefaultConfig() Config {
	return Config{
		Scopes:          []string{"mcp"},
		ListTTL:         oauth.Duration(5 * time.Minute),
		SessionIdle:     oauth.Duration(2 * time.Hour),
		StreamMax:       oauth.Duration(time.Hour),
		SessionsMax:     2000,
		SessionsPerUser: 64,
		StreamsPerUser:  32,
	}
}

// Validate reports all faults at once, each with its key path.
func (c Config) Validate() error {
	faults := c.scopeFaults()
	for _, d := range []struct {
		key   string
		value oauth.Duration
	}{{"session_idle", c.SessionIdle}, {"stream_max", c.StreamMax}} {
		if d.value.D() < time.Second {
			faults = append(faults, fmt.Errorf("mcp.%s: %s is too short: write at least 1s", d.key, d.value))
		}
	}
	for _, n := range []struct {
		key   string
		value int
	}{{"sessions_max", c.SessionsMax}, {"sessions_per_user", c.SessionsPerUser}, {"streams_per_user", c.StreamsPerUser}} {
		if n.value < 1 {
			faults = append(faults, fmt.Errorf("mcp.%s: %d would let nobody in: write at least 1", n.key, n.value))
		}
	}
	return errors.Join(faults...)
}

// scopeFaults checks the names. They stand in challenges, in metadata and on the consent page, so each must be one
// scope, and be there once.
func (c Config) scopeFaults() (faults []error) {
	if len(c.Scopes) == 0 {
		faults = append(faults, errors.New(`mcp.scopes: clients need a scope to ask for: write ["mcp"]`))
	}
	seen := map[string]bool{}
	// One map over both lists: a scope that were baseline and extra would be asked for as a step-up that nobody
	// needs.
	check := func(key, name string) {
		switch scope, err := oauth.ParseScope(name); {
		case err != nil || len(scope) != 1 || strings.Contains(name, ","):
			// A comma would break challenges for clients that split on it (protocol.md §2).
			faults = append(faults, fmt.Errorf("%s: %q is not one scope name (RFC 6749 §3.3)", key, name))
		case name == "offline_access":
			faults = append(faults, fmt.Errorf("%s: offline_access is always offered and opens nothing: remove it", key))
		case seen[name]:
			faults = append(faults, fmt.Errorf("%s: %q stands here twice", key, name))
		}
		seen[name] = true
	}
	for _, name := range c.Scopes {
		check("mcp.scopes", name)
	}
	for i, s := range c.Scope {
		key := fmt.Sprintf("mcp.scope[%d]", i)
		check(key+".name", s.Name)
		if oauth.DisplayText(s.Sentence, 200) != s.Sentence || s.Sentence == "" {
			faults = append(faults, fmt.Errorf("%s.sentence: say in one line of at most 200 characters what the scope allows", key))
		}
	}
	return faults
}
