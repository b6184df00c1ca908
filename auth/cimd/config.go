package cimd

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Config bounds the fetching. The zero value of a bound means its default of protocol.md §9.
type Config struct {
	Proxy            string        // CONNECT proxy as http(s)://host:port, which then owns the address check; "" = none
	MaxBytes         int64         // longest document; 16 KB
	Timeout          time.Duration // from the name's lookup to the last byte, and as long for a free slot before; 5 s
	Stale            time.Duration // how old a copy may be that serves when its host fails; 0 = none may
	Max              int           // documents and failures remembered; 1,000
	PerHostPerMinute int           // fetches from one host; 10
	Parallel         int           // fetches at once; 4
}

func (c Config) withDefaults() Config {
	c.MaxBytes = cmp.Or(c.MaxBytes, 16<<10)
	c.Timeout = cmp.Or(c.Timeout, 5*time.Second)
	c.Max = cmp.Or(c.Max, 1000)
	c.PerHostPerMinute = cmp.Or(c.PerHostPerMinute, 10)
	c.Parallel = cmp.Or(c.Parallel, 4)
	return c
}

// Validate reports all faults at once. The caller names the keys' section.
func (c Config) Validate() error {
	var faults []error
	if _, err := c.proxyURL(); err != nil {
		faults = append(faults, err)
	}
	if c.MaxBytes < 0 || c.Timeout < 0 || c.Stale < 0 || c.Max < 0 || c.PerHostPerMinute < 0 || c.Parallel < 0 {
		faults = append(faults, errors.New("limits of metadata documents are not negative"))
	}
	return errors.Join(faults...)
}

// proxyURL returns nil for no proxy. A password does not belong into the configuration file, hence no user name.
func (c Config) proxyURL() (*url.URL, error) {
	if c.Proxy == "" {
		return nil, nil
	}
	u, err := url.Parse(c.Proxy)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, errors.New("cimd_proxy: write http://host:port or https://host:port")
	}
	if plain := (url.URL{Scheme: u.Scheme, Host: u.Host}); *u != plain {
		return nil, fmt.Errorf("cimd_proxy: write %s, without user name, path or query", plain.String())
	}
	return u, nil
}
