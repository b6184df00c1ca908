package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// Rotation says what the provider does with a refresh token that is used again (protocol.md §8.3). It is not guessed:
// Keycloak hands out another token at each refresh in every mode.
type Rotation string

// The rotation modes.
const (
	RotationNone   Rotation = "none"   // refresh tokens stay valid (Keycloak: Revoke Refresh Token off)
	RotationReuse  Rotation = "reuse"  // one retry is forgiven (Keycloak: max reuse 1); harmless with a provider of mode none
	RotationStrict Rotation = "strict" // any second use is punished (Keycloak: max reuse 0)
)

// RefreshMode says whether a login without a refresh token from the provider is a fault.
type RefreshMode string

// The refresh modes.
const (
	RefreshRequired RefreshMode = "required" // a login without a refresh token fails as upstream_config
	RefreshOptional RefreshMode = "optional" // the grant then ends with its upstream access token
)

// Config is the section `[provider]` (protocol.md §9). Its zero value is not usable; start from DefaultConfig.
type Config struct {
	Issuer           string         `toml:"issuer"`             // compared byte for byte with the provider's own words
	ClientID         string         `toml:"client_id"`          // ours, at the provider
	ClientSecretFile string         `toml:"client_secret_file"` // read by main with ReadSecret
	Scopes           []string       `toml:"scopes"`             // asked for at each login
	Refresh          RefreshMode    `toml:"refresh"`
	Rotation         Rotation       `toml:"rotation"`
	Claims           []string       `toml:"claims"`            // id_token claims that tools may see
	Timeout          oauth.Duration `toml:"timeout"`           // of one call to the provider
	TokenWait        oauth.Duration `toml:"token_wait"`        // how long /token waits for a refresh under way
	Margin           oauth.Duration `toml:"margin"`            // an upstream access token with less life left is refreshed
	Recheck          oauth.Duration `toml:"recheck"`           // oldest good answer before a call asks in the background
	Parallel         int            `toml:"parallel"`          // calls to the provider at the same time
	Holdoff          oauth.Duration `toml:"holdoff"`           // before a grant in doubt is tried again
	SuspectAfter     oauth.Duration `toml:"suspect_after"`     // between two refusals that end a suspect grant
	JWKSStale        oauth.Duration `toml:"jwks_stale"`        // oldest key set that still verifies while no newer one is to be had
	KeepaliveOffline oauth.Duration `toml:"keepalive_offline"` // how often an idle offline token is used; 0 = never
	KeepaliveOnline  bool           `toml:"keepalive_online"`  // keep online tokens alive too: holds the SSO session open

	// A service account that may read realm and client at Keycloak, for `hostedmcp check` alone; "" = none.
	AdminClientID         string `toml:"admin_client_id"`
	AdminClientSecretFile string `toml:"admin_client_secret_file"` // read by main with ReadSecret, when it checks
}

// DefaultConfig returns the defaults of protocol.md §9. Issuer, client id and secret file have none.
func DefaultConfig() Config {
	return Config{
		Scopes:   []string{"openid", "offline_access"},
		Refresh:  RefreshRequired,
		Rotation: RotationReuse,
		Claims:   []string{"name", "preferred_username", "email", "groups"},
		Timeout:  oauth.Duration(15 * time.Second), TokenWait: oauth.Duration(5 * time.Second),
		Margin: oauth.Duration(time.Minute), Recheck: oauth.Duration(15 * time.Minute),
		Parallel: 16, Holdoff: oauth.Duration(10 * time.Second), SuspectAfter: oauth.Duration(10 * time.Minute),
		JWKSStale: oauth.Days(1), KeepaliveOffline: oauth.Days(1),
	}
}

// Validate reports all faults at once, each with its key path.
func (c Config) Validate() error {
	return errors.Join(c.checkIssuer(), required("client_id", c.ClientID, "the client's name at the provider"),
		required("client_secret_file", c.ClientSecretFile, "a file of mode 0600 with the client's secret"), c.checkRest())
}

// ValidateDemo is Validate for a configuration with [demo]: the demo provider names itself, so that the keys which
// name another provider are refused.
func (c Config) ValidateDemo() error {
	faults := []error{c.checkRest()}
	for _, k := range []struct{ key, value string }{
		{"issuer", c.Issuer}, {"client_id", c.ClientID}, {"client_secret_file", c.ClientSecretFile},
		{"admin_client_id", c.AdminClientID},
	} {
		if k.value != "" {
			faults = append(faults, fmt.Errorf("provider.%s: [demo] is its own provider; remove this key or [demo]", k.key))
		}
	}
	return errors.Join(faults...)
}

// required is the fault of a key that has no default.
func required(key, value, what string) error {
	if value != "" {
		return nil
	}
	return fmt.Errorf("provider.%s: missing; write %s, or use [demo]", key, what)
}

// checkIssuer holds OpenID Connect Discovery §3: https, no query, no fragment. http is for loopback only, since the
// client secret and all tokens go there.
func (c Config) checkIssuer() error {
	if c.Issuer == "" {
		return required("issuer", "", "the provider's issuer, https://sso.example.com/realms/main")
	}
	u, err := url.Parse(c.Issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(c.Issuer, "#"):
		return errors.New("provider.issuer: not a URL of the form https://sso.example.com/realms/main")
	case !secure(u):
		return errors.New("provider.issuer: use https (http is for a provider on 127.0.0.1, [::1] or localhost only)")
	}
	return nil
}

// secure reports whether secrets may be sent to u.
func secure(u *url.URL) bool {
	if u.Scheme == "https" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback())
}

func (c Config) checkRest() error {
	return errors.Join(c.checkScopes(), c.checkModes(), c.checkTimes(), c.checkClaims(), c.checkAdmin())
}

// checkScopes: without openid there is no id_token, and no subject to bind a grant to (OpenID Connect Core §3.1.2.1).
func (c Config) checkScopes() error {
	scope, err := oauth.ParseScope(strings.Join(c.Scopes, " "))
	switch {
	case err != nil || len(scope) != len(c.Scopes):
		return errors.New("provider.scopes: each entry is one scope name, once")
	case !scope.Has("openid"):
		return errors.New("provider.scopes: add openid, or the provider sends no id_token")
	}
	return nil
}

func (c Config) checkModes() error {
	var faults []error
	if c.Refresh != RefreshRequired && c.Refresh != RefreshOptional {
		faults = append(faults, fmt.Errorf("provider.refresh: %q is none of required, optional", c.Refresh))
	}
	if !slices.Contains([]Rotation{RotationNone, RotationReuse, RotationStrict}, c.Rotation) {
		faults = append(faults, fmt.Errorf("provider.rotation: %q is none of none, reuse, strict", c.Rotation))
	}
	if c.Parallel < 1 || c.Parallel > 1024 {
		faults = append(faults, fmt.Errorf("provider.parallel: %d is outside 1..1024", c.Parallel))
	}
	return errors.Join(faults...)
}

// checkTimes bounds what would defeat a rule: no timeout hangs a grant's only flight for ever, an overlong one makes an
// answer to a client impossible, no pause hammers the provider.
func (c Config) checkTimes() error {
	second, hour := oauth.Duration(time.Second), oauth.Duration(time.Hour)
	bounds := []struct {
		key           string
		value, lo, hi oauth.Duration
	}{
		{"timeout", c.Timeout, second, 2 * oauth.Duration(time.Minute)},
		{"token_wait", c.TokenWait, second, oauth.Duration(time.Minute)},
		{"margin", c.Margin, 0, hour},
		{"recheck", c.Recheck, second, oauth.Days(30)},
		{"holdoff", c.Holdoff, 0, hour},
		{"suspect_after", c.SuspectAfter, second, oauth.Days(7)},
		{"jwks_stale", c.JWKSStale, oauth.Duration(time.Minute), oauth.Days(30)},
		{"keepalive_offline", c.KeepaliveOffline, 0, oauth.Days(365)},
	}
	var faults []error
	for _, b := range bounds {
		if b.value < b.lo || b.value > b.hi {
			faults = append(faults, fmt.Errorf("provider.%s: %s is outside %s..%s", b.key, b.value, b.lo, b.hi))
		}
	}
	return errors.Join(faults...)
}

// checkAdmin: one of the two alone would read as set up, and is not.
func (c Config) checkAdmin() error {
	if (c.AdminClientID == "") != (c.AdminClientSecretFile == "") {
		return errors.New("provider.admin_client_id: write admin_client_secret_file beside it, or neither")
	}
	return nil
}

func (c Config) checkClaims() error {
	seen := map[string]bool{}
	for _, name := range c.Claims {
		if name == "" || seen[name] {
			return errors.New("provider.claims: each entry is one claim name, once")
		}
		seen[name] = true
	}
	return nil
}
