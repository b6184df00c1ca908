package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostedmcp/auth/oauth"
)

// Config is the section `[storage]` of the configuration (protocol.md §9).
type Config struct {
	// KeyFile holds the master key: 64 hexadecimal digits or 32 raw bytes, mode 0600. "" = the systemd credential
	// `hostedmcp-key`, else master.key in the data folder.
	KeyFile string `toml:"key_file"`
	// EventsPerGrant is how many journal events a grant keeps; the first ones and those of its end always stay.
	EventsPerGrant int `toml:"events_per_grant"`
	// EventsTTL is the age at which events of a living grant go.
	EventsTTL oauth.Duration `toml:"events_ttl"`
}

// DefaultConfig returns the defaults of protocol.md §9.
func DefaultConfig() Config {
	return Config{EventsPerGrant: 50, EventsTTL: oauth.Days(90)}
}

// leastEvents leaves room for the funnel of a login, some life, and an end.
const leastEvents = 2 * eventsFirst

// Validate reports all faults of the section at once.
func (c Config) Validate() error {
	var faults []error
	if c.EventsPerGrant < leastEvents || c.EventsPerGrant > 10_000 {
		faults = append(faults, fmt.Errorf("storage.events_per_grant is %d: set %d to 10000", c.EventsPerGrant, leastEvents))
	}
	if c.EventsTTL.D() < 24*time.Hour {
		faults = append(faults, fmt.Errorf("storage.events_ttl is %s: set at least 1d", c.EventsTTL))
	}
	return errors.Join(faults...)
}

// Options is what a store needs to open.
type Options struct {
	Dir            string // data folder, made with mode 0700 if absent
	Issuer         string // protocol.md §2; pinned at creation
	Config         Config // zero = DefaultConfig
	CredentialsDir string // systemd's $CREDENTIALS_DIRECTORY, "" = none
	TombstoneTTL   time.Duration

	// Now is the wall clock; nil = time.Now.
	Now func() time.Time
	// Uptime is the time since boot, sleep included, which no clock setting moves. nil = CLOCK_BOOTTIME; with a Now
	// of its own and no Uptime, Now serves as both and the clock is always trusted.
	Uptime func() time.Duration
	// Synchronised says whether the system calls its wall clock synchronised. nil = adjtimex.
	Synchronised func() bool

	// OnEvent is called once for each journal event after its commit, from many goroutines. May be nil.
	OnEvent func(Event)
	// OnEnd is called after the commit of a grant's end, from many goroutines. May be nil.
	OnEnd func(grantID string, reason oauth.Reason)
	// OnAlarm is called when an operator must look (protocol.md, "Alarm r"). nil = a log line at level error.
	OnAlarm func(reason oauth.Reason, err error)

	// Reserve is how many bytes of the disk are held in real blocks ahead of the data: a disk that others filled up
	// stops no commit before they are used up. 0 = 16 MB.
	Reserve int64

	Log        *slog.Logger          // nil = slog.Default
	Registerer prometheus.Registerer // nil = no metrics

	link func(file, name string) error // os.Link; the tests let it fail
}

// defaultTombstone is `tombstone_ttl` of protocol.md §9.
const defaultTombstone = 90 * 24 * time.Hour

// withDefaults fills what was left out.
func (o Options) withDefaults() Options {
	if o.Config == (Config{}) {
		o.Config = DefaultConfig()
	}
	if o.TombstoneTTL == 0 {
		o.TombstoneTTL = defaultTombstone
	}
	if o.Reserve <= 0 {
		o.Reserve = defaultReserve
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Synchronised == nil {
		o.Synchronised = systemSynchronised
	}
	if o.link == nil {
		o.link = os.Link
	}
	o.clocks()
	if o.OnEvent == nil {
		o.OnEvent = func(Event) {}
	}
	if o.OnEnd == nil {
		o.OnEnd = func(string, oauth.Reason) {}
	}
	if o.OnAlarm == nil {
		log := o.Log
		o.OnAlarm = func(reason oauth.Reason, err error) { log.Error("alarm", "reason", string(reason), "error", err) }
	}
	return o
}

// clocks chooses the pair of clocks; see the fields.
func (o *Options) clocks() {
	own := o.Now
	if own == nil {
		o.Now = time.Now
	}
	if o.Uptime != nil {
		return
	}
	o.Uptime = systemUptime
	if own != nil {
		start := own()
		o.Uptime = func() time.Duration { return own().Sub(start) }
	}
}
