package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
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

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/cimd"
	"hostedmcp/auth/oauth"
)

// vendors is where metadata documents come from: one TLS server on loopback behind every name.
type vendors struct {
	srv   *httptest.Server
	roots *x509.CertPool
	port  string
	hits  atomic.Int32

	mu   sync.Mutex
	body map[string]string // by path; "" = 404

	arrived chan struct{} // one for each request below /slow/, which waits for free
	free    chan struct{}
}

func newVendors(t *testing.T) *vendors {
	t.Helper()
	v := &vendors{
		body: map[string]string{}, roots: x509.NewCertPool(), arrived: make(chan struct{}, 10), free: make(chan struct{}),
	}
	v.srv = httptest.NewUnstartedServer(http.HandlerFunc(v.serve))
	v.srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	v.srv.TLS = &tls.Config{Certificates: []tls.Certificate{v.certificate(t)}}
	v.srv.StartTLS()
	t.Cleanup(v.srv.Close)
	_, v.port, _ = net.SplitHostPort(v.srv.Listener.Addr().String())
	return v
}

func (v *vendors) certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"*.example"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	v.roots.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (v *vendors) serve(w http.ResponseWriter, r *http.Request) {
	v.hits.Add(1)
	if strings.HasPrefix(r.URL.Path, "/slow/") {
		v.arrived <- struct{}{}
		<-v.free
	}
	v.mu.Lock()
	body := v.body[r.URL.Path]
	v.mu.Unlock()
	if body == "" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(body))
}

// publish puts a document at a path; name "" takes it away. It returns the client_id.
func (v *vendors) publish(path, name string, redirectURIs ...string) string {
	id := "https://vendor.example:" + v.port + path
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.body[path] = ""; name != "" {
		v.body[path] = `{"client_id":"` + id + `","client_name":"` + name + `","redirect_uris":["` + strings.Join(redirectURIs, `","`) + `"],
			"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://vendor.example/jwks","grant_types":["authorization_code"]}`
	}
	return id
}

// dialer resolves every name to loopback, and allows it if allow is set.
func (v *vendors) dialer(allow bool) cimd.Dialer {
	d := cimd.Dialer{Roots: v.roots, Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go answerDNS(theirs)
		return ours, nil
	}}}
	if allow {
		d.Allow = netip.Addr.IsLoopback
	}
	return d
}

// answerDNS answers one question over a stream (RFC 1035 §4.2.2): A is 127.0.0.1, of all else there is none.
func answerDNS(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 1500)
	for n := 0; ; {
		more, err := conn.Read(buf[n:])
		if n += more; err != nil {
			return
		}
		if n < 2 || n < 2+int(buf[0])<<8+int(buf[1]) {
			continue
		}
		var m dnsmessage.Message
		if m.Unpack(buf[2:n]) != nil || len(m.Questions) != 1 {
			return
		}
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
				Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
		}
		reply, err := m.Pack()
		if err == nil {
			_, _ = conn.Write(append([]byte{byte(len(reply) >> 8), byte(len(reply))}, reply...))
		}
		return
	}
}

// protocol.md §9 (cimd_parallel): one address that names slow hosts leaves slots for everybody else's clients.
func TestDocumentSlotsPerAddress(t *testing.T) {
	r, v := documentRig(t, true, func(o *auth.Options) { o.Clients.CIMDTimeout = oauth.Duration(30 * time.Second) })
	var slow sync.WaitGroup
	for _, path := range []string{"/slow/1", "/slow/2"} {
		c := *r.c
		c.ID = v.publish(path, "Slow", c.RedirectURI)
		slow.Go(func() { _, _ = http.Get(c.Begin().URL) })
		<-v.arrived
	}
	r.c.ID = v.publish("/client.json", "Client", r.c.RedirectURI)
	if p := r.open(r.c.Begin().URL); p.Status != http.StatusTooManyRequests {
		t.Errorf("a third fetch for one address: %d, want 429", p.Status)
	}
	close(v.free)
	slow.Wait()
	if p := r.open(r.c.Begin().URL); p.Status != http.StatusOK {
		t.Errorf("once the slow ones are done: %d", p.Status)
	}
}

// documentRig is a server that fetches from vendors.
func documentRig(t *testing.T, allow bool, change func(*auth.Options)) (*loginRig, *vendors) {
	t.Helper()
	v := newVendors(t)
	r := newLogin(t, authtest.ServerOptions{Auth: func(o *auth.Options) {
		o.DocumentDialer = v.dialer(allow)
		if change != nil {
			change(o)
		}
	}})
	r.c = r.NewClient()
	return r, v
}

// protocol.md §3.3: a client with a metadata document logs in; its page says whose it is; the copy is stored with the
// approval and not before; /token and /revoke never fetch, after a restart either.
func TestDocumentLogin(t *testing.T) {
	r, v := documentRig(t, true, nil)
	r.c.ID = v.publish("/client", "Vendor’s tool", "http://localhost/callback", "myapp://not-acceptable")
	r.c.RedirectURI = "http://localhost:4711/callback"
	a := r.c.Begin()
	var p *authtest.Page
	r.unwritten("GET /authorize", func() { p = r.open(a.URL) })
	if p.Status != 200 || !strings.Contains(p.Body, "Vendor’s tool") || !strings.Contains(p.Body, "vendor.example") {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if _, err := r.Store.Client(r.c.ID); err == nil {
		t.Error("stored before the approval")
	}
	r.Restart() // the document is no longer in memory: what the user saw counts
	hits := v.hits.Load()
	allowed := r.press(p, "approve")
	if rec, err := r.Store.Client(r.c.ID); err != nil || rec.Document == nil || rec.Name != "Vendor’s tool" {
		t.Errorf("stored %+v %v", rec, err)
	}
	v.publish("/client", "")
	code := r.location(r.open(r.signIn(allowed))).Query().Get("code")
	if tokens, err := r.c.Redeem(a, code); err != nil || tokens.Status != 200 {
		t.Fatalf("token: %v %+v", err, tokens)
	}
	r.Restart()
	if tokens, err := r.c.Renew(); err != nil || tokens.Status != 200 {
		t.Fatalf("refresh: %v %+v", err, tokens)
	}
	r.post("/token", changed(r.redemption(a, "x"), "client_id", "https://vendor.example/unknown")).refused(t, 401, oauth.InvalidClient, oauth.ClientUnknown)
	if v.hits.Load() != hits {
		t.Error("the document was fetched after /authorize")
	}
}

// protocol.md §3.3: the stored copy serves while the document cannot be had, up to cimd_stale; then 400.
func TestDocumentStale(t *testing.T) {
	r, v := documentRig(t, true, nil)
	r.c.ID, r.c.RedirectURI = v.publish("/client", "Tool", "http://127.0.0.1/cb"), "http://127.0.0.1:1234/cb"
	r.must(r.c.Login())
	v.publish("/client", "")
	r.Restart()
	r.Clock.Advance(29 * 24 * time.Hour)
	if p := r.open(r.c.Begin().URL); p.Status != 200 {
		t.Errorf("within cimd_stale: %d", p.Status)
	}
	r.Clock.Advance(2 * 24 * time.Hour)
	r.local(r.open(r.c.Begin().URL), 400, oauth.CIMDFailed)
	v.publish("/client", "Tool again", "http://127.0.0.1/cb")
	r.local(r.open(r.c.Begin().URL), 400, oauth.CIMDFailed) // negative cache, 60 s
	r.Clock.Advance(time.Minute)
	if p := r.open(r.c.Begin().URL); p.Status != 200 || !strings.Contains(p.Body, "Tool again") {
		t.Errorf("fetched again: %d", p.Status)
	}
}

// protocol.md §3.3, §4.1: what a stranger hears of a document that cannot be had.
func TestDocumentRefused(t *testing.T) {
	r, v := documentRig(t, true, nil)
	base := "https://vendor.example:" + v.port
	v.mu.Lock()
	v.body["/other"] = `{"client_id":"` + base + `/client","client_name":"x","redirect_uris":["http://127.0.0.1/cb"]}`
	v.body["/secret"] = `{"client_id":"` + base + `/secret","client_name":"x","redirect_uris":["http://127.0.0.1/cb"],"client_secret":"x"}`
	v.mu.Unlock()
	for id, reason := range map[string]oauth.Reason{
		base + "/missing": oauth.CIMDFailed, base + "/other": oauth.CIMDInvalid, base + "/secret": oauth.CIMDInvalid,
		base + "/": oauth.ClientUnknown, base + "/a/../b": oauth.ClientUnknown, "https://127.0.0.1/c": oauth.ClientUnknown,
		base + "/c#f": oauth.ClientUnknown, base + "/" + strings.Repeat("x", 512): oauth.ClientUnknown,
	} {
		r.c.ID = id
		r.unwritten(id, func() { r.local(r.open(r.c.Begin().URL), 400, reason) })
	}
	id := v.publish("/redirects", "Tool", "http://127.0.0.1/cb")
	r.c.ID, r.c.RedirectURI = id, "https://evil.example/cb"
	r.local(r.open(r.c.Begin().URL), 400, oauth.RedirectRefused)
}

// protocol.md §3.3: a blocked address looks like an unreachable one outside, and the log knows better.
func TestDocumentBlocked(t *testing.T) {
	r, v := documentRig(t, false, nil)
	r.c.ID = v.publish("/client", "Tool", "http://127.0.0.1/cb")
	p := r.open(r.c.Begin().URL)
	r.local(p, 400, oauth.CIMDFailed)
	if strings.Contains(p.Body, "blocked") || v.hits.Load() != 0 || !strings.Contains(r.Log.String(), "cimd_blocked") {
		t.Errorf("%d hits, page %s", v.hits.Load(), p.Body)
	}
}

// protocol.md §3.3: a pre-registered client whose id is such a URL is never fetched (a pinned document).
func TestDocumentPinned(t *testing.T) {
	const id = "https://vendor.example/pinned.json"
	r, v := documentRig(t, true, func(o *auth.Options) {
		o.Clients.Registered = []auth.RegisteredClient{{ID: id, Name: "Pinned", RedirectURIs: []string{"http://127.0.0.1/cb"}}}
	})
	r.c.ID, r.c.RedirectURI = id, "http://127.0.0.1:99/cb"
	r.must(r.c.Login())
	if v.hits.Load() != 0 {
		t.Error("fetched")
	}
	if p := r.open(r.c.Begin().URL); !strings.Contains(p.Body, "Registered by the administrators") {
		t.Error("the page does not call it known")
	}
}

// protocol.md §3.3: the copy in the binary is the last resort; loopback only, the page says so, and after its approval
// it is no good copy of the real document.
func TestDocumentBuiltIn(t *testing.T) {
	r, _ := documentRig(t, false, nil) // its host is "blocked": nothing leaves this machine
	r.c.ID, r.c.RedirectURI = cimd.BuiltIn()[0].ClientID, "http://localhost:54321/callback"
	for range 2 {
		p := r.open(r.c.Begin().URL)
		if p.Status != 200 || !strings.Contains(p.Body, "could not be reached") || !strings.Contains(p.Body, cimd.BuiltIn()[0].CopyDate) {
			t.Fatalf("%d %s", p.Status, p.Body)
		}
		r.must(r.c.Login())
		r.Restart()
	}
	if tokens, err := r.c.Renew(); err != nil || tokens.Status != 200 {
		t.Errorf("refresh: %v %+v", err, tokens)
	}
	r.c.RedirectURI = "https://claude.ai/callback"
	r.local(r.open(r.c.Begin().URL), 400, oauth.RedirectRefused)
}

// protocol.md §3.3: cimd = false: no document opens a login, stored or not; grants that live go on.
func TestDocumentSwitchedOff(t *testing.T) {
	on := true
	r, v := documentRig(t, true, func(o *auth.Options) { o.Clients.CIMD = on })
	r.c.ID, r.c.RedirectURI = v.publish("/client", "Tool", "http://127.0.0.1/cb"), "http://127.0.0.1/cb"
	r.must(r.c.Login())
	on = false
	r.Restart()
	hits := v.hits.Load()
	r.local(r.open(r.c.Begin().URL), 400, oauth.ClientUnknown)
	if tokens, err := r.c.Renew(); err != nil || tokens.Status != 200 || v.hits.Load() != hits {
		t.Errorf("refresh: %v %+v", err, tokens)
	}
}

// protocol.md §9: at cimd_per_host_per_minute a further document of the host is 429, nothing is remembered of it.
func TestDocumentBusy(t *testing.T) {
	r, v := documentRig(t, true, func(o *auth.Options) { o.Limits.CIMDPerHost = 1 })
	r.c.RedirectURI = "http://127.0.0.1/cb"
	for i, status := range []int{200, 429} {
		r.c.ID = v.publish("/"+string(rune('a'+i)), "Tool", "http://127.0.0.1/cb")
		if p := r.open(r.c.Begin().URL); p.Status != status {
			t.Errorf("document %d: %d", i, p.Status)
		}
	}
	r.Clock.Advance(time.Minute)
	if p := r.open(r.c.Begin().URL); p.Status != 200 {
		t.Errorf("a minute later: %d", p.Status)
	}
}
