package auth

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"hostedmcp/auth/cimd"
	"hostedmcp/auth/oauth"
)

// AccessConfig is `[access]`: who of those that the provider signs in may connect, and who of them looks after
// the others. Empty lists of the first two refuse nobody.
type AccessConfig struct {
	Groups       []string `toml:"groups"`        // at least one of these, compared exactly
	EmailDomains []string `toml:"email_domains"` // domain of a verified e-mail address, compared without case
	Operators    []string `toml:"operators"`     // groups that see and end everybody's connections; none = nobody does
}

// Validate reports all faults at once, each with its key path.
func (c AccessConfig) Validate() error {
	var faults []error
	for _, list := range []struct {
		key    string
		groups []string
	}{{"groups", c.Groups}, {"operators", c.Operators}} {
		if slices.Contains(list.groups, "") {
			faults = append(faults, fmt.Errorf("access.%s: an empty name would match nobody: remove it", list.key))
		}
	}
	for _, d := range c.EmailDomains {
		if d == "" || strings.ContainsAny(d, "@/ *") {
			faults = append(faults, fmt.Errorf("access.email_domains: %q is not a domain: write example.com", d))
		}
	}
	return errors.Join(faults...)
}

// TokensConfig is `[tokens]`: how long what we issue lives.
type TokensConfig struct {
	AccessTTL    oauth.Duration `toml:"access_ttl"`      // life of an access token, and so how often clients refresh
	CodeTTL      oauth.Duration `toml:"code_ttl"`        // from the callback to /token
	CodeMemory   oauth.Duration `toml:"code_memory"`     // a redeemed code is known for so long, to tell a replay
	RefreshIdle  oauth.Duration `toml:"refresh_idle"`    // a grant unused for so long ends (grant_idle)
	RefreshMax   oauth.Duration `toml:"refresh_max_age"` // a grant of this age ends, used or not (grant_max_age)
	RetryWindow  oauth.Duration `toml:"retry_window"`    // a second caller may still get a successor in use (row 6)
	OutageGrace  oauth.Duration `toml:"outage_grace"`    // clients refresh on while the provider is in trouble; 0 = off
	RequestTTL   oauth.Duration `toml:"request_ttl"`     // how long a consent page may lie open
	SigninWait   oauth.Duration `toml:"signin_wait"`     // from Allow to the answer of the provider
	SigninTTL    oauth.Duration `toml:"signin_ttl"`      // sign-in of the status page
	TombstoneTTL oauth.Duration `toml:"tombstone_ttl"`   // how long an ended grant can still say why
}

// DefaultTokens returns the defaults of protocol.md §9.
func DefaultTokens() TokensConfig {
	return TokensConfig{
		AccessTTL: hours(1), CodeTTL: seconds(60), CodeMemory: hours(24), RefreshIdle: oauth.Days(30),
		RefreshMax: oauth.Days(365), RetryWindow: seconds(60), OutageGrace: hours(24), RequestTTL: minutes(10),
		SigninWait: minutes(30), SigninTTL: hours(8), TombstoneTTL: oauth.Days(90),
	}
}

// Validate reports all faults at once. loopback says that the issuer is http on loopback, where access tokens may be
// short for tests: elsewhere clients that refresh 300 s ahead would do so before nearly every call (protocol.md §5.6).
func (c TokensConfig) Validate(loopback bool) error {
	shortest := minutes(10)
	if loopback {
		shortest = seconds(1)
	}
	// A code must be remembered at least while it could still be in time; and a thief's older token must not be good
	// for longer than an hour after its successor is in use.
	bounds := []struct {
		key           string
		value, lo, hi oauth.Duration
	}{
		{"access_ttl", c.AccessTTL, shortest, hours(24)},
		{"code_ttl", c.CodeTTL, seconds(1), minutes(10)},
		{"code_memory", c.CodeMemory, c.CodeTTL, oauth.Days(30)},
		{"refresh_idle", c.RefreshIdle, minutes(1), oauth.Days(3650)},
		{"refresh_max_age", c.RefreshMax, minutes(1), oauth.Days(3650)},
		{"retry_window", c.RetryWindow, 0, hours(1)},
		{"outage_grace", c.OutageGrace, 0, oauth.Days(30)},
		{"request_ttl", c.RequestTTL, seconds(10), hours(24)},
		{"signin_wait", c.SigninWait, seconds(10), hours(24)},
		{"signin_ttl", c.SigninTTL, minutes(1), oauth.Days(30)},
		{"tombstone_ttl", c.TombstoneTTL, oauth.Days(1), oauth.Days(3650)},
	}
	var faults []error
	for _, b := range bounds {
		if b.value < b.lo || b.value > b.hi {
			faults = append(faults, fmt.Errorf("tokens.%s: %s is out of bounds: set it between %s and %s", b.key, b.value, b.lo, b.hi))
		}
	}
	return errors.Join(faults...)
}

// ClientsConfig is `[clients]`: which programs may ask.
type ClientsConfig struct {
	Register       bool               `toml:"register"`        // dynamic registration is offered (RFC 7591)
	RegisterMax    int                `toml:"register_max"`    // registrations kept; the longest unused gives way
	UnusedTTL      oauth.Duration     `toml:"unused_ttl"`      // a registration unused for so long goes
	PrivateSchemes []string           `toml:"private_schemes"` // schemes without a dot that redirect URIs may have ([C3])
	CIMD           bool               `toml:"cimd"`            // metadata documents are advertised and fetched
	CIMDProxy      string             `toml:"cimd_proxy"`      // CONNECT proxy, which then owns the address check; "" = none
	CIMDMaxBytes   int64              `toml:"cimd_max_bytes"`  // of one document
	CIMDTimeout    oauth.Duration     `toml:"cimd_timeout"`    // of one fetch
	CIMDStale      oauth.Duration     `toml:"cimd_stale"`      // the last good copy serves for so long when a fetch fails
	CIMDMax        int                `toml:"cimd_max"`        // documents kept
	GrantsPerUser  int                `toml:"grants_per_user"` // of one client; one more evicts another (grant_evicted)
	Registered     []RegisteredClient `toml:"registered"`      // clients that the operator vouches for
}

// RegisteredClient is one `[[clients.registered]]`: a client that the operator vouches for. Its ID may be the URL of a
// metadata document, which is then never fetched (a pinned document).
type RegisteredClient struct {
	ID           string   `toml:"id"`
	Name         string   `toml:"name"`
	RedirectURIs []string `toml:"redirect_uris"`
	SecretFile   string   `toml:"secret_file"` // "" = public client

	Secret oauth.Secret `toml:"-"` // read from SecretFile by main
}

// DefaultClients returns the defaults of protocol.md §9.
func DefaultClients() ClientsConfig {
	return ClientsConfig{
		Register: true, RegisterMax: 10_000, UnusedTTL: oauth.Days(400),
		PrivateSchemes: []string{"cursor", "claude", "windsurf", "vscode", "vscode-insiders"},
		CIMD:           true, CIMDMaxBytes: 16 << 10, CIMDTimeout: seconds(5), CIMDStale: oauth.Days(30), CIMDMax: 1000,
		GrantsPerUser: 20,
	}
}

// Validate reports all faults at once; issuer is ours, whose pages no client may name as its redirect URI.
func (c ClientsConfig) Validate(issuer string) error {
	faults := belowOne("clients", []count{
		{"register_max", c.RegisterMax}, {"cimd_max", c.CIMDMax}, {"grants_per_user", c.GrantsPerUser},
	})
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("clients."+format, args...)) }
	if c.CIMDMaxBytes < 1<<10 || c.CIMDMaxBytes > 1<<20 {
		fault("cimd_max_bytes: set it between 1024 and 1048576")
	}
	if c.CIMDTimeout < seconds(1) || c.CIMDTimeout > seconds(30) {
		fault("cimd_timeout: set it between 1s and 30s")
	}
	if u, err := url.Parse(c.CIMDProxy); c.CIMDProxy != "" && (err != nil || u.Scheme != "http" || u.Host == "") {
		fault("cimd_proxy: %q is not a proxy: write http://proxy.example.com:3128", c.CIMDProxy)
	}
	for _, s := range c.PrivateSchemes {
		if s == "" || strings.ContainsAny(s, ":/. ") || s != strings.ToLower(s) {
			fault("private_schemes: %q is not a scheme name: write it in lower case without ':'", s)
		}
	}
	rules := oauth.RedirectRules{Issuer: issuer, PrivateSchemes: c.PrivateSchemes}
	seen := map[string]bool{}
	for i, r := range c.Registered {
		for _, err := range r.faults(rules, seen) {
			fault("registered[%d]: %w", i, err)
		}
	}
	return errors.Join(faults...)
}

// faults reports what is wrong with one client; seen holds the ids before it. An id under our own prefix could be one
// that a registration will derive.
func (r RegisteredClient) faults(rules oauth.RedirectRules, seen map[string]bool) (out []error) {
	switch {
	case r.ID == "" || len(r.ID) > maxClientID:
		out = append(out, errors.New("id: must be 1 to 512 characters"))
	case strings.HasPrefix(r.ID, clientIDPrefix):
		out = append(out, fmt.Errorf("id: %s is the prefix of our own registrations: choose another", clientIDPrefix))
	case seen[r.ID]:
		out = append(out, fmt.Errorf("id: %q is there twice: remove one", r.ID))
	}
	seen[r.ID] = true
	if oauth.DisplayText(r.Name, maxClientName) == "" {
		out = append(out, errors.New("name: must be set; people see it on the consent page"))
	}
	if len(r.RedirectURIs) == 0 {
		out = append(out, errors.New("redirect_uris: must hold at least one"))
	}
	for _, u := range r.RedirectURIs {
		if err := rules.Check(u); err != nil {
			out = append(out, fmt.Errorf("redirect_uris: %q: %w", u, err))
		}
	}
	return out
}

// cimd is the part that the fetcher lives by.
func (c ClientsConfig) cimd(l LimitsConfig) cimd.Config {
	return cimd.Config{
		Proxy: c.CIMDProxy, MaxBytes: c.CIMDMaxBytes, Timeout: c.CIMDTimeout.D(), Stale: c.CIMDStale.D(), Max: c.CIMDMax,
		PerHostPerMinute: l.CIMDPerHost, Parallel: l.CIMDParallel,
	}
}
