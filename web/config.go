package web

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/acme/autocert"

	"hostedmcp/auth/oauth"
)

// TLSConfig is the section [tls]. The zero value serves plain HTTP, for a reverse proxy in front.
type TLSConfig struct {
	CertFile string `toml:"cert_file"` // PEM, the leaf first; reloaded when it changes
	KeyFile  string `toml:"key_file"`  // PEM, not readable by others; reloaded when it changes

	ACME          bool   `toml:"acme"`           // certificates from an authority, in place of files
	ACMEEmail     string `toml:"acme_email"`     // where the authority writes to; "" = nowhere
	ACMEDirectory string `toml:"acme_directory"` // the authority (RFC 8555 §7.1.1)
}

// DefaultTLSConfig returns no TLS, and Let's Encrypt for whoever switches acme on.
func DefaultTLSConfig() TLSConfig { return TLSConfig{ACMEDirectory: autocert.DefaultACMEDirectory} }

// Enabled reports whether the listener speaks TLS itself.
func (c TLSConfig) Enabled() bool { return c.CertFile != "" || c.KeyFile != "" || c.ACME }

// Validate reports a pair of which one half is missing, and what acme cannot go with. The files themselves are read by
// [TLSConfig.Server].
func (c TLSConfig) Validate(publicURL string) error {
	switch {
	case c.ACME:
		return c.validateACME(publicURL)
	case c.ACMEEmail != "":
		return errors.New("tls.acme_email: is for acme = true: set that, or remove it")
	case c.CertFile != "" && c.KeyFile == "":
		return errors.New("tls.key_file: missing beside cert_file; name the private key's file")
	case c.CertFile == "" && c.KeyFile != "":
		return errors.New("tls.cert_file: missing beside key_file; name the certificate's file")
	}
	return nil
}

// validateACME reports everything that acme cannot go with.
func (c TLSConfig) validateACME(publicURL string) error {
	var faults []error
	if c.CertFile != "" || c.KeyFile != "" {
		faults = append(faults, errors.New("tls.acme: does not go together with cert_file and key_file: remove them, or acme"))
	}
	if _, ok := c.host(publicURL); !ok {
		faults = append(faults, fmt.Errorf("tls.acme: an authority gives no certificate for %s: set public_url to https and a name in the DNS, "+
			"or remove acme", publicURL))
	}
	if strings.ContainsFunc(c.ACMEEmail, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }) || c.ACMEEmail != "" && !strings.Contains(c.ACMEEmail, "@") {
		faults = append(faults, fmt.Errorf("tls.acme_email: %q is not one address: write ops@example.com", c.ACMEEmail))
	}
	if u, err := url.Parse(c.ACMEDirectory); err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && !oauth.IsLoopbackURL(c.ACMEDirectory) {
		faults = append(faults, fmt.Errorf("tls.acme_directory: %q is not the https URL of a directory: write %s", c.ACMEDirectory, autocert.DefaultACMEDirectory))
	}
	return errors.Join(faults...)
}

// host is the name that a certificate can be for.
func (c TLSConfig) host(publicURL string) (host string, ok bool) {
	u, err := url.Parse(publicURL)
	if err != nil || u.Scheme != "https" {
		return "", false
	}
	host = u.Hostname()
	_, err = netip.ParseAddr(host)
	return host, err != nil && strings.Contains(host, ".")
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
