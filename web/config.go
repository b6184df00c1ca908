package web

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
)

// TLSConfig is the section [tls]. The zero value serves plain HTTP, for a reverse proxy in front.
type TLSConfig struct {
	CertFile string `toml:"cert_file"` // PEM, the leaf first; reloaded when it changes
	KeyFile  string `toml:"key_file"`  // PEM, not readable by others; reloaded when it changes
}

// Enabled reports whether the listener speaks TLS itself.
func (c TLSConfig) Enabled() bool { return c.CertFile != "" || c.KeyFile != "" }

// Validate reports a pair of which one half is missing. The files themselves are read by [NewCertificates].
func (c TLSConfig) Validate() error {
	switch {
	case c.CertFile != "" && c.KeyFile == "":
		return errors.New("tls.key_file: missing beside cert_file; name the private key's file")
	case c.CertFile == "" && c.KeyFile != "":
		return errors.New("tls.cert_file: missing beside key_file; name the certificate's file")
	}
	return nil
}

// LogConfig is the section [log].
type LogConfig struct {
	Level  string `toml:"level"`  // debug, info, warn or error
	Format string `toml:"format"` // text, json, or auto: text on a terminal, else json
}

// DefaultLogConfig returns info and auto.
func DefaultLogConfig() LogConfig { return LogConfig{Level: "info", Format: "auto"} }

// Validate reports every value outside its list.
func (c LogConfig) Validate() error {
	var faults []error
	if _, err := c.level(); err != nil {
		faults = append(faults, fmt.Errorf("log.level: %q is none of debug, info, warn, error", c.Level))
	}
	if !slices.Contains([]string{"auto", "text", "json"}, c.Format) {
		faults = append(faults, fmt.Errorf("log.format: %q is none of auto, text, json", c.Format))
	}
	return errors.Join(faults...)
}

// level refuses slog's own extras ("INFO+2", upper case), so that the documented list is the whole truth.
func (c LogConfig) level() (slog.Level, error) {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	l, ok := levels[c.Level]
	if !ok {
		return slog.LevelInfo, errors.New("no such level")
	}
	return l, nil
}

// MetricsConfig is the section [metrics].
type MetricsConfig struct {
	Listen string `toml:"listen"` // host:port of its own listener; "" = no metrics are served
}

// DefaultMetricsConfig returns the loopback address of protocol.md §9.
func DefaultMetricsConfig() MetricsConfig { return MetricsConfig{Listen: "127.0.0.1:9464"} }

// Validate reports an address that cannot be listened on.
func (c MetricsConfig) Validate() error {
	if c.Listen == "" {
		return nil
	}
	return CheckListen("metrics.listen", c.Listen)
}

// CheckListen reports an address that is not host:port with a port number; key names it in the error. An empty host
// is every interface.
func CheckListen(key, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s: %q is not host:port; write 127.0.0.1:8080", key, address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%s: %q is not a port number; write %s", key, port, net.JoinHostPort(host, "8080"))
	}
	return nil
}
