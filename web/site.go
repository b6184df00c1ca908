package web

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/url"
	"regexp"
	"strings"

	"hostedmcp/auth/oauth"
)

// The names and addresses on pages (protocol.md §1: URLs come only from the configuration).

// Site is what all pages have in common. It comes from the configuration alone; no header ever changes it.
type Site struct {
	Name         string // of the resource, for people: "Example Corp data"
	ShortName    string // for commands: "example-data"; see [ShortName]
	Issuer       string // the origin, without trailing slash
	ProviderHost string // where users sign in

	Demo       []DemoUser  // the embedded provider's users; empty = no demo
	Connectors []Connector // what is behind the endpoint; empty = nothing is said about it

	// How long a connection lives, as the status page tells. Zero = nothing is said.
	Idle, MaxAge oauth.Duration
}

// Connector is one source of tools as people see it.
type Connector struct {
	Title    string
	ReadOnly bool
}

// Access says in words what a client may do there.
func (c Connector) Access() string {
	if c.ReadOnly {
		return "read only"
	}
	return "read and change"
}

// Host is the issuer's host, with its port if it has one.
func (s Site) Host() string {
	_, host, _ := strings.Cut(s.Issuer, "://")
	return host
}

// MCP is the address to give to a program.
func (s Site) MCP() string { return s.Issuer + "/mcp" }

// Loopback reports that the issuer can be reached from this computer only: programs on the internet cannot connect,
// and pages say so (protocol.md §2).
func (s Site) Loopback() bool { return oauth.IsLoopbackURL(s.Issuer) }

// https reports whether cookies can be Secure and HSTS makes sense.
func (s Site) https() bool { return strings.HasPrefix(s.Issuer, "https://") }

// CursorLink installs the address in Cursor. html/template replaces unknown schemes by "#ZgotmplZ", hence the type;
// every part is made here and encoded.
func (s Site) CursorLink() template.URL {
	config, _ := json.Marshal(map[string]string{"url": s.MCP()}) // a map of two strings always marshals
	q := url.Values{"config": {base64.StdEncoding.EncodeToString(config)}}.Encode()
	return template.URL("cursor://anysphere.cursor-deeplink/mcp/install?name=" + url.QueryEscape(s.ShortName) + "&" + q)
}

// shortName is what a shell, JSON and every program's own list of servers take unquoted.
var shortName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// ShortName makes a name for commands out of a name for people: "Example Corp data" becomes "example-corp-data".
// It is "mcp" if nothing is left.
func ShortName(name string) string {
	clean := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return ' '
	}
	s := strings.Join(strings.Fields(strings.Map(clean, strings.ToLower(name))), "-")
	if s = strings.Trim(s[:min(len(s), 40)], "-"); s == "" {
		return "mcp"
	}
	return s
}

// validate refuses what would make wrong commands or links: people paste them into a shell.
func (s Site) validate() error {
	var faults []error
	if s.Name == "" {
		faults = append(faults, errors.New("name: empty"))
	}
	if !shortName.MatchString(s.ShortName) {
		faults = append(faults, fmt.Errorf("short_name: %q: use a-z, 0-9 and -, at most 40", s.ShortName))
	}
	if err := oauth.CheckIssuer(s.Issuer); err != nil {
		faults = append(faults, fmt.Errorf("public_url: %w", err))
	}
	return errors.Join(faults...)
}
