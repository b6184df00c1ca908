package web_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hostedmcp/web"
)

const acmeHost = "mcp.example.com"

// acmeSide is a listener with certificates from an authority.
type acmeSide struct {
	t       *testing.T
	ca      *acmeServer
	o       web.TLSOptions
	c       web.TLSConfig
	log     *lockedBuffer
	address string
}

// lockedBuffer is written by handshakes and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}
func (b *lockedBuffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

func newACMESide(t *testing.T, ca *acmeServer) *acmeSide {
	s := &acmeSide{t: t, ca: ca, log: &lockedBuffer{}, c: web.DefaultTLSConfig()}
	s.c.ACME, s.c.ACMEEmail, s.c.ACMEDirectory = true, "ops@example.com", ca.URL+"/dir"
	s.o = web.TLSOptions{PublicURL: "https://" + acmeHost, Folder: filepath.Join(t.TempDir(), "data", "acme"), Log: web.NewLogger(web.DefaultLogConfig(), s.log)}
	return s
}

// start serves, and tells the authority where.
func (s *acmeSide) start() {
	s.t.Helper()
	config, err := s.c.Server(s.o)
	if err != nil {
		s.t.Fatal(err)
	}
	_, s.address, _ = serving(s.t, web.Listener{TLS: config, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto)
	})})
	s.ca.mu.Lock()
	defer s.ca.mu.Unlock()
	s.ca.target = s.address
}

// dial shakes hands as a client that trusts the authority.
func (s *acmeSide) dial(name string) (*x509.Certificate, error) {
	roots := x509.NewCertPool()
	roots.AddCert(s.ca.root)
	conn, err := tls.Dial("tcp", s.address, &tls.Config{ServerName: name, RootCAs: roots, NextProtos: []string{"h2", "http/1.1"}, InsecureSkipVerify: name == ""})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if p := conn.ConnectionState().NegotiatedProtocol; p != "h2" {
		s.t.Errorf("protocol %q", p)
	}
	return conn.ConnectionState().PeerCertificates[0], nil
}

func (s *acmeSide) asked() (requests, orders int) {
	s.ca.mu.Lock()
	defer s.ca.mu.Unlock()
	return s.ca.requests, s.ca.orders
}

// TestACME: the first handshake for our own name gets a certificate, by a proof on the same listener; for other names
// nobody is asked; after a restart the stored one serves without the authority. What is stored is ours alone.
func TestACME(t *testing.T) {
	ca := newACMEServer(t)
	s := newACMESide(t, ca)
	s.start()
	for _, name := range []string{"other.example.com", "", "example.com", "a." + acmeHost} {
		if _, err := s.dial(name); err == nil {
			t.Errorf("%q got a certificate", name)
		}
	}
	asked, _ := s.asked()
	if _, err := os.Stat(s.o.Folder); asked != 0 || err == nil {
		t.Errorf("%d requests, and a folder: %v, for names that are not ours", asked, err)
	}
	first, err := s.dial(acmeHost)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
	ca.mu.Lock()
	contact := ca.contact
	ca.mu.Unlock()
	if len(contact) != 1 || contact[0] != "mailto:ops@example.com" {
		t.Errorf("contact: %q", contact)
	}
	files := 0
	err = filepath.WalkDir(s.o.Folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		} else {
			files++
		}
		if err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil || files < 2 {
		t.Errorf("%d files: %v", files, err)
	}
	again, err := s.dial("MCP.example.COM")
	// Other requests may still be under way: the library tidies up behind an order in its own time.
	if _, orders := s.asked(); err != nil || !again.Equal(first) || orders != 1 {
		t.Errorf("a second handshake: %v, %d orders", err, orders)
	}
	ca.Close()
	s.start()
	if again, err := s.dial(acmeHost); err != nil || !again.Equal(first) {
		t.Errorf("after a restart, without the authority: %v", err)
	}
	if s.log.String() != "" {
		t.Errorf("log: %s", s.log)
	}
}

// TestACMELate: a certificate that should have been renewed is served and said, once for many handshakes.
func TestACMELate(t *testing.T) {
	ca := newACMEServer(t)
	s := newACMESide(t, ca)
	s.start()
	if _, err := s.dial(acmeHost); err != nil {
		t.Fatal(err)
	}
	for left, want := range map[time.Duration]int{21: 0, 19: 1} {
		s.log = &lockedBuffer{}
		s.o.Log = web.NewLogger(web.DefaultLogConfig(), s.log)
		s.o.Now = func() time.Time { return time.Now().Add((90 - left) * 24 * time.Hour) }
		s.start()
		for range 2 {
			if _, err := s.dial(acmeHost); err != nil {
				t.Error(err)
			}
		}
		if n := strings.Count(s.log.String(), "acme: certificate not renewed"); n != want {
			t.Errorf("%d days left: said %d times: %s", left, n, s.log)
		}
	}
}

// TestACMEFailures: each is one line at level error with the authority's own words and the step that helps, however
// many clients knock.
func TestACMEFailures(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*acmeSide)
		want []string
	}{
		{"the authority refuses", func(s *acmeSide) { s.ca.refuses = "CAA record forbids it" },
			[]string{"acme: no certificate", "CAA record forbids it", "let port 443 of mcp.example.com lead to this listener"}},
		{"nobody answers", func(s *acmeSide) { s.ca.Close() }, []string{"acme: no certificate", "refused", "let this machine reach http://127.0.0.1"}},
		{"no folder can be made", func(s *acmeSide) {
			if err := os.MkdirAll(filepath.Dir(s.o.Folder), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("nowhere/at/all", s.o.Folder); err != nil {
				t.Fatal(err)
			}
		}, []string{"acme: not stored", "let the service write into ", "acme: no certificate", "let the service read and write "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newACMESide(t, newACMEServer(t))
			tt.set(s)
			s.start()
			for range 3 {
				if _, err := s.dial(acmeHost); err == nil {
					t.Error("a certificate came all the same")
				}
			}
			for _, want := range tt.want {
				if !strings.Contains(s.log.String(), want) {
					t.Errorf("%q is not in %s", want, s.log)
				}
			}
			if n := strings.Count(s.log.String(), "acme: no certificate"); n != 1 || strings.Contains(s.log.String(), "level=INFO") {
				t.Errorf("said %d times: %s", n, s.log)
			}
		})
	}
}

// TestACMEFolder: a folder that others can look into holds the start up.
func TestACMEFolder(t *testing.T) {
	s := newACMESide(t, newACMEServer(t))
	if err := os.MkdirAll(s.o.Folder, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := s.c.Server(s.o); err == nil || !strings.Contains(err.Error(), "run: chmod 700 "+s.o.Folder) {
		t.Errorf("mode 0750: %v", err)
	}
	if config, err := web.DefaultTLSConfig().Server(s.o); config != nil || err != nil {
		t.Errorf("without [tls]: %v", err)
	}
}
