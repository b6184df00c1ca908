package auth

import (
	"errors"
	"fmt"
	"time"

	"hostedmcp/auth/oauth"
)

// LimitsConfig is `[limits]`. The rates are for one address, an IPv6 address counting as its /64.
type LimitsConfig struct {
	RegisterPerHour    int            `toml:"register_per_hour"`        // only metadata that is not stored yet counts
	AuthorizePerMinute int            `toml:"authorize_per_minute"`     // requests at /authorize
	ConsentPerMinute   int            `toml:"consent_per_minute"`       // answers to them, and sign-ins
	FailedPerMinute    int            `toml:"failed_per_minute"`        // failing answers of /token and /revoke
	CIMDPerHost        int            `toml:"cimd_per_host_per_minute"` // metadata documents fetched from one host
	CIMDParallel       int            `toml:"cimd_parallel"`            // such fetches at once
	PendingMax         int            `toml:"pending_max"`              // approvals that wait for the provider, in all
	PendingPerBrowser  int            `toml:"pending_per_browser"`      // the same, of one binding cookie
	PendingPerAddress  int            `toml:"pending_per_address"`      // the same, of one address
	HeaderMax          int            `toml:"header_max"`               // bytes
	HeaderTimeout      oauth.Duration `toml:"header_timeout"`           // to read a request's header
	BodyTimeout        oauth.Duration `toml:"body_timeout"`             // to read a request's body
}

// DefaultLimits returns the defaults of protocol.md §9.
func DefaultLimits() LimitsConfig {
	return LimitsConfig{
		RegisterPerHour: 30, AuthorizePerMinute: 600, ConsentPerMinute: 120, FailedPerMinute: 60,
		CIMDPerHost: 10, CIMDParallel: 4, PendingMax: 10_000, PendingPerBrowser: 50, PendingPerAddress: 200,
		HeaderMax: 32 << 10, HeaderTimeout: seconds(5), BodyTimeout: seconds(30),
	}
}

// Validate reports all faults at once, each with its key path. Zero is refused everywhere: it would shut an endpoint,
// and never means "no limit".
func (c LimitsConfig) Validate() error {
	faults := belowOne("limits", []count{
		{"register_per_hour", c.RegisterPerHour}, {"authorize_per_minute", c.AuthorizePerMinute},
		{"consent_per_minute", c.ConsentPerMinute}, {"failed_per_minute", c.FailedPerMinute},
		{"cimd_per_host_per_minute", c.CIMDPerHost}, {"cimd_parallel", c.CIMDParallel}, {"pending_max", c.PendingMax},
		{"pending_per_browser", c.PendingPerBrowser}, {"pending_per_address", c.PendingPerAddress},
	})
	if c.HeaderMax < 8<<10 || c.HeaderMax > 1<<20 {
		faults = append(faults, errors.New("limits.header_max: set it between 8192 and 1048576 bytes"))
	}
	for _, d := range []struct {
		key   string
		value oauth.Duration
	}{{"header_timeout", c.HeaderTimeout}, {"body_timeout", c.BodyTimeout}} {
		if d.value < seconds(1) || d.value > minutes(10) {
			faults = append(faults, fmt.Errorf("limits.%s: set it between 1s and 10m", d.key))
		}
	}
	return errors.Join(faults...)
}

// count is a number in the configuration that lets nobody in when it is zero.
type count struct {
	key   string
	value int
}

// belowOne reports those of a section's counts that are.
func belowOne(section string, counts []count) (faults []error) {
	for _, n := range counts {
		if n.value < 1 {
			faults = append(faults, fmt.Errorf("%s.%s: must be at least 1", section, n.key))
		}
	}
	return faults
}

// seconds, minutes and hours spell defaults and bounds as the configuration does.
func seconds(n int) oauth.Duration { return oauth.Duration(time.Duration(n) * time.Second) }
func minutes(n int) oauth.Duration { return oauth.Duration(time.Duration(n) * time.Minute) }
func hours(n int) oauth.Duration   { return oauth.Duration(time.Duration(n) * time.Hour) }
