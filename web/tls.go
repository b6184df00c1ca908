package web

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// TLS without a proxy in front (RFC 8446; RFC 9325 for what to leave out). Certificates are renewed every few weeks, and
// no restart, however short, is due for it.

// Certificates serves a pair of files, and the new pair once they change: certbot and its like replace files and tell
// nobody. A new pair that does not load leaves the old one in service, with one line in the log. Safe for concurrent
// use.
type Certificates struct {
	config TLSConfig
	log    *slog.Logger
	now    func() time.Time

	mu     sync.Mutex
	pair   *tls.Certificate
	seen   pairStamp // of the files that were tried last, whatever came of it
	looked time.Time
}

// lookEvery spaces the looks at the files: a handshake costs far more than two stats, a flood of them does not.
const lookEvery = time.Second

// pairStamp is what changes with the files' content, read without opening them.
type pairStamp [2]struct {
	modified time.Time
	size     int64
}

// NewCertificates loads the pair; the error names the file at fault and the step that helps. now spaces the looks at
// the files; nil means time.Now.
func NewCertificates(c TLSConfig, now func() time.Time, log *slog.Logger) (*Certificates, error) {
	if now == nil {
		now = time.Now
	}
	t := &Certificates{config: c, log: log, now: now, looked: now()}
	var err error
	if t.seen, err = c.stamp(); err != nil {
		return nil, err
	}
	if t.pair, err = c.load(); err != nil {
		return nil, err
	}
	return t, nil
}

// Config is for the listener: TLS 1.2 and later (RFC 9325 §3.1.1), Go's own choice of suites.
func (t *Certificates) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return t.current(), nil },
	}
}

// current returns the pair in service, after a look at the files if the last one is over a second old.
func (t *Certificates) current() *tls.Certificate {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.now(); now.Sub(t.looked) >= lookEvery || now.Before(t.looked) {
		t.looked = now
		t.reload()
	}
	return t.pair
}

// reload tries the files if they are not those tried before, so that a broken pair is reported once. One half may be
// replaced before the other: then the halves do not match, the old pair stays, and the second half is a new try.
func (t *Certificates) reload() {
	stamp, err := t.config.stamp()
	if err == nil && stamp == t.seen {
		return
	}
	t.seen = stamp
	pair := t.pair
	if err == nil {
		pair, err = t.config.load()
	}
	if err != nil {
		t.log.Error("new certificate not usable, the old one stays in service", "error", err)
		return
	}
	t.pair = pair
	t.log.Info("certificate reloaded", "not_after", pair.Leaf.NotAfter)
}

// stamp reads the marks of both files; the error names the key of the one that is missing.
func (c TLSConfig) stamp() (pairStamp, error) {
	var out pairStamp
	for i, f := range []struct{ key, path string }{{"cert_file", c.CertFile}, {"key_file", c.KeyFile}} {
		info, err := os.Stat(f.path)
		if err != nil {
			return out, fmt.Errorf("tls.%s: %w; name a file that the service may read", f.key, err)
		}
		out[i].modified, out[i].size = info.ModTime(), info.Size()
	}
	return out, nil
}

// load reads both files and proves that they belong together.
func (c TLSConfig) load() (*tls.Certificate, error) {
	if err := c.private(); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("tls.cert_file %s and tls.key_file %s: %w; give a PEM certificate and its own key", c.CertFile, c.KeyFile, err)
	}
	return &pair, nil
}

// private refuses a key that every account of the machine can read. A group may: many machines have one for keys.
func (c TLSConfig) private() error {
	info, err := os.Stat(c.KeyFile)
	if err == nil && info.Mode().Perm()&0o007 != 0 {
		err = fmt.Errorf("tls.key_file: %s can be read by others (mode %04o); run: chmod o= %[1]s", c.KeyFile, info.Mode()&fs.ModePerm)
	}
	return err
}
