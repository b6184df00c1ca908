package cimd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"hostedmcp/auth/cimd"
	"hostedmcp/auth/oauth"
)

// network is a small internet on loopback: a DNS server, one TLS server behind every name, a CA, a clock and a log.
type network struct {
	t     *testing.T
	srv   *httptest.Server
	roots *x509.CertPool
	dns   net.PacketConn
	hits  atomic.Int32 // requests that the TLS server saw
	conns atomic.Int32 // connections it saw

	mu      sync.Mutex
	names   map[string][]netip.Addr
	handler http.HandlerFunc
	now     time.Time
	log     strings.Builder
}

var loopback = netip.MustParseAddr("127.0.0.1")

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{t: t, names: map[string][]netip.Addr{"client.example": {loopback}}, now: time.Unix(1_800_000_000, 0)}
	n.srv = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.hits.Add(1)
		n.mu.Lock()
		h := n.handler
		n.mu.Unlock()
		h(w, r)
	}))
	n.srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	n.srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			n.conns.Add(1)
		}
	}
	n.srv.TLS = &tls.Config{Certificates: []tls.Certificate{n.certificate()}, MinVersion: tls.VersionTLS12}
	n.srv.StartTLS()
	t.Cleanup(n.srv.Close)
	n.startDNS()
	return n
}

// certificate makes a self-signed one for every name of the tests and puts it among the roots.
func (n *network) certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	n.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"*.example", "claude.ai", "chatgpt.com", "github.com"},
		IsCA:     true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	n.must(err)
	cert, err := x509.ParseCertificate(der)
	n.must(err)
	n.roots = x509.NewCertPool()
	n.roots.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (n *network) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// startDNS answers from n.names; unknown names do not exist.
func (n *network) startDNS() {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	n.must(err)
	n.dns = conn
	n.t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:size]) != nil || len(m.Questions) != 1 {
				continue
			}
			reply, err := n.answer(m).Pack()
			if err == nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
}

func (n *network) answer(m dnsmessage.Message) *dnsmessage.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := m.Questions[0]
	addrs, known := n.names[strings.TrimSuffix(q.Name.String(), ".")]
	m.Response, m.RecursionAvailable, m.Authoritative, m.Additionals = true, true, true, nil
	if !known {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range addrs {
		h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		if a.Is4() && q.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		}
		if a.Is6() && q.Type == dnsmessage.TypeAAAA {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return &m
}

// point lets a name lead to other addresses from now on.
func (n *network) point(name string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[name] = nil
	for _, a := range addrs {
		n.names[name] = append(n.names[name], netip.MustParseAddr(a))
	}
}

func (n *network) serve(h http.HandlerFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handler = h
}

// serveDocument answers with a body and header name, value pairs.
func (n *network) serveDocument(body string, headers ...string) {
	n.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		_, _ = io.WriteString(w, body)
	})
}

func (n *network) clock() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

func (n *network) advance(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = n.now.Add(d)
}

// url is a client_id on the TLS server.
func (n *network) url(host, path string) string {
	_, port, err := net.SplitHostPort(n.srv.Listener.Addr().String())
	n.must(err)
	return "https://" + host + ":" + port + path
}

func (n *network) dialer(allow func(netip.Addr) bool) cimd.Dialer {
	return cimd.Dialer{Allow: allow, Roots: n.roots, Resolver: &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "udp", n.dns.LocalAddr().String())
		},
	}}
}

// Write collects the log.
func (n *network) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.Write(p)
}

var rules = oauth.RedirectRules{Issuer: "https://mcp.example.com", PrivateSchemes: []string{"cursor"}}

// fetcher has loopback allowed and no rate to speak of, unless cfg says otherwise.
func (n *network) fetcher(cfg cimd.Config) *cimd.Fetcher {
	return n.fetcherWith(cfg, n.dialer(netip.Addr.IsLoopback))
}

func (n *network) fetcherWith(cfg cimd.Config, dialer cimd.Dialer) *cimd.Fetcher {
	if cfg.PerHostPerMinute == 0 {
		cfg.PerHostPerMinute = 1000
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	n.must(cfg.Validate())
	return cimd.New(cfg, rules, n.clock, dialer, slog.New(slog.NewTextHandler(n, nil)))
}

// document is a good one for id; more members may follow, beginning with a comma.
func document(id, more string) string {
	return fmt.Sprintf(`{"client_id":%q,"client_name":"Test Client","redirect_uris":["https://client.example/cb"]%s}`, id, more)
}
