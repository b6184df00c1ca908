package web_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hostedmcp/web"
)

var quiet = slog.New(slog.DiscardHandler)

// serving binds on a free port and serves until the test ends.
func serving(t *testing.T, l web.Listener) (*web.Server, string, chan error) {
	t.Helper()
	l.Key, l.Addr = "listen", "127.0.0.1:0"
	s, err := web.Bind(web.Limits{HeaderMax: 32 << 10, HeaderTimeout: 20 * time.Second}, quiet, l)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	return s, s.Addrs()[0].String(), done
}

// TestBindErrors: one line, with the key and the way out; a listener that could be opened is closed again.
func TestBindErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := free.Addr().String()
	free.Close()
	for address, want := range map[string]string{
		taken.Addr().String(): `address already in use; the port is in use: stop the other program (ss -ltnp shows it) or change "metrics.listen" in the configuration`,
		"192.0.2.1:80":        `this machine has no such address: change "metrics.listen" in the configuration`,
	} {
		_, err := web.Bind(web.Limits{}, quiet, web.Listener{Key: "listen", Addr: first}, web.Listener{Key: "metrics.listen", Addr: address})
		if err == nil || !strings.HasPrefix(err.Error(), "metrics.listen "+address) || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", address, err)
		}
	}
	again, err := net.Listen("tcp", first)
	if err != nil {
		t.Fatalf("the listener before the fault stayed open: %v", err)
	}
	again.Close()
}

// TestShutdown: what is under way is finished, what is new is not taken.
func TestShutdown(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s, address, done := serving(t, web.Listener{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		io.WriteString(w, "whole")
	})})
	body := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + address)
		if err != nil {
			body <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		body <- string(b)
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	for { // the socket closes first
		c, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		c.Close()
	}
	select {
	case err := <-done:
		t.Fatalf("Serve returned before the drain: %v", err)
	default:
	}
	close(leave)
	if got := <-body; got != "whole" {
		t.Errorf("request under way: %q", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestShutdownCuts: the drain has an end.
func TestShutdownCuts(t *testing.T) {
	entered := make(chan struct{})
	s, address, _ := serving(t, web.Listener{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})})
	cut := make(chan error, 1)
	go func() {
		_, err := http.Get("http://" + address)
		cut <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-cut; err == nil {
		t.Error("request outlived the server")
	}
}

func TestShutdownWithoutServe(t *testing.T) {
	s, err := web.Bind(web.Limits{}, quiet, web.Listener{Key: "listen", Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if _, err := net.Dial("tcp", s.Addrs()[0].String()); err == nil {
		t.Error("still listening")
	}
}

// TestHeaderLimits: header_max bounds line and headers together; "OPTIONS *" is a path like any other.
func TestHeaderLimits(t *testing.T) {
	handler, err := web.NewHandler(web.Options{Pages: newPages(t, publicSite())})
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := serving(t, web.Listener{Handler: handler})
	send := func(request string) int {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, request)
		return (&harness{t: t}).read(c, "GET").StatusCode
	}
	get := func(size int) int {
		return send("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: " + strings.Repeat("a", size) + "\r\n\r\n")
	}
	if fits, large := get(31<<10), get(33<<10); fits != 200 || large != 431 {
		t.Errorf("31 KB: %d, 33 KB: %d", fits, large)
	}
	if got := send("OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); got != 404 {
		t.Errorf("OPTIONS *: %d", got)
	}
}

// pair writes a certificate for name and its key.
func pair(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

func write(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path+".new", mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestCertificatesReload: a new pair is served without a restart, a broken one never.
func TestCertificatesReload(t *testing.T) {
	dir := t.TempDir()
	c := web.TLSConfig{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	put := func(cert, key []byte) { write(t, c.CertFile, cert, 0o644); write(t, c.KeyFile, key, 0o600) }
	cert1, key1 := pair(t, "first.example")
	put(cert1, key1)
	var clock atomic.Int64
	log := &lines{}
	certs, err := web.NewCertificates(c, func() time.Time { return noon.Add(time.Duration(clock.Load())) }, web.NewLogger(web.DefaultLogConfig(), log))
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := serving(t, web.Listener{TLS: certs.Config(), Handler: http.NotFoundHandler()})
	served := func(config *tls.Config) string {
		config.InsecureSkipVerify = true
		conn, err := tls.Dial("tcp", address, config)
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	expect := func(step, want string) {
		t.Helper()
		if got := served(&tls.Config{}); got != want {
			t.Errorf("%s: %s, want %s", step, got, want)
		}
	}
	later := func() { clock.Add(int64(time.Second)) }
	expect("at start", "first.example")
	if got := served(&tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); !strings.Contains(got, "protocol version") {
		t.Errorf("TLS 1.1: %s", got)
	}
	cert2, key2 := pair(t, "second.example")
	put(cert2, key2)
	expect("within the second", "first.example")
	later()
	expect("after it", "second.example")
	write(t, c.CertFile, []byte("half a fi"), 0o644)
	later()
	expect("broken", "second.example")
	later()
	expect("still broken", "second.example")
	if n := strings.Count(log.String(), `"level":"ERROR"`); n != 1 {
		t.Errorf("a broken pair was logged %d times: %s", n, log)
	}
	cert3, key3 := pair(t, "third.example")
	write(t, c.CertFile, cert3, 0o644)
	later()
	expect("certificate without its key", "second.example")
	write(t, c.KeyFile, key3, 0o600)
	later()
	expect("and with it", "third.example")
	os.Remove(c.CertFile)
	later()
	expect("gone", "third.example")
	if bytes.Contains([]byte(log.String()), []byte("PRIVATE")) {
		t.Error("a key was logged")
	}
}

// TestCertificatesRefuse: the start says which file and what to do.
func TestCertificatesRefuse(t *testing.T) {
	dir := t.TempDir()
	cert, key := pair(t, "a.example")
	_, other := pair(t, "b.example")
	at := func(name string, data []byte, mode os.FileMode) string {
		write(t, filepath.Join(dir, name), data, mode)
		return filepath.Join(dir, name)
	}
	good, open := at("cert", cert, 0o644), at("open", key, 0o644)
	for want, c := range map[string]web.TLSConfig{
		"tls.cert_file":         {CertFile: filepath.Join(dir, "none"), KeyFile: at("key", key, 0o600)},
		"tls.key_file":          {CertFile: good, KeyFile: filepath.Join(dir, "none")},
		"run: chmod o= " + open: {CertFile: good, KeyFile: open},
		"its own key":           {CertFile: good, KeyFile: at("other", other, 0o640)},
	} {
		if _, err := web.NewCertificates(c, nil, quiet); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q: %v", want, err)
		}
	}
	if _, err := web.NewCertificates(web.TLSConfig{CertFile: good, KeyFile: at("group", key, 0o640)}, nil, quiet); err != nil {
		t.Errorf("key of a group: %v", err)
	}
}
