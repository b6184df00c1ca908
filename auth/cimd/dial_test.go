package cimd_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth/cimd"
)

// protocol.md §3.3: the address actually dialled is judged, whatever the name's answer was made of. Nothing arrives.
func TestBlockedAddresses(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	n.serveDocument(document(id, ""))
	for _, addr := range []string{
		"127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "::1", "::", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1",
	} {
		n.point("client.example", addr)
		_, err := n.fetcherWith(cimd.Config{}, n.dialer(nil)).Fetch(t.Context(), id, nil)
		if !errors.Is(err, cimd.ErrBlocked) || errors.Is(err, cimd.ErrFailed) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if n.conns.Load() != 0 {
		t.Errorf("%d connections arrived", n.conns.Load())
	}
	n.point("client.example", "127.0.0.1")
	if _, err := n.fetcher(cimd.Config{}).Fetch(t.Context(), id, nil); err != nil {
		t.Errorf("with Allow: %v", err)
	}
}

// Each candidate of a name is judged for itself: a good one is used, a bad one beside it is not.
func TestEachCandidate(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	n.serveDocument(document(id, ""))
	n.point("client.example", "127.0.0.2", "127.0.0.1", "10.0.0.1")
	var mu sync.Mutex
	seen := map[netip.Addr]bool{}
	allow := func(a netip.Addr) bool {
		mu.Lock()
		defer mu.Unlock()
		seen[a] = true
		return a == loopback
	}
	if _, err := n.fetcherWith(cimd.Config{}, n.dialer(allow)).Fetch(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !seen[loopback] {
		t.Errorf("judged: %v", seen)
	}
}

// DNS rebinding: the name leads elsewhere at the next fetch.
func TestRebinding(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	n.serveDocument(document(id, ""))
	f := n.fetcherWith(cimd.Config{}, n.dialer(func(a netip.Addr) bool { return a == loopback }))
	if _, err := f.Fetch(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	n.point("client.example", "127.0.0.3")
	n.advance(time.Hour)
	if _, err := f.Fetch(t.Context(), id, nil); !errors.Is(err, cimd.ErrBlocked) {
		t.Errorf("after rebinding: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	n := newNetwork(t)
	n.serveDocument("{}")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	n.must(err)
	_, port, err := net.SplitHostPort(closed.Addr().String())
	n.must(err)
	closed.Close()
	for what, id := range map[string]string{
		"no such name":      n.url("nobody.example", "/meta"),
		"nobody listens":    "https://client.example:" + port + "/meta",
		"wrong certificate": n.url("client.test", "/meta"),
	} {
		n.point("client.test", "127.0.0.1")
		_, err := n.fetcher(cimd.Config{}).Fetch(t.Context(), id, nil)
		if !errors.Is(err, cimd.ErrFailed) || errors.Is(err, cimd.ErrBlocked) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n.hits.Load() != 0 {
		t.Error("a request went out under a wrong certificate")
	}
}

// proxy is a CONNECT proxy that leads every name to the TLS server.
type proxy struct {
	*httptest.Server
	refuse  bool
	mu      sync.Mutex
	targets []string
}

func newProxy(n *network) *proxy {
	p := &proxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.targets = append(p.targets, r.Method+" "+r.Host)
		p.mu.Unlock()
		if p.refuse {
			http.Error(w, "SENTINEL", http.StatusForbidden)
			return
		}
		tunnel(w, n.srv.Listener.Addr().String())
	}))
	n.t.Cleanup(p.Close)
	return p
}

func tunnel(w http.ResponseWriter, addr string) {
	up, err := net.Dial("tcp", addr)
	if err != nil {
		http.Error(w, "", http.StatusBadGateway)
		return
	}
	down, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		up.Close()
		return
	}
	_, _ = io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		_, _ = io.Copy(up, down)
		up.Close()
	}()
	_, _ = io.Copy(down, up)
	down.Close()
}

// An explicit proxy owns names and addresses: we look up nothing and connect to it alone, wherever it stands.
func TestProxy(t *testing.T) {
	n := newNetwork(t)
	p := newProxy(n)
	id := "https://elsewhere.example/meta"
	n.serveDocument(document(id, ""))
	f := n.fetcherWith(cimd.Config{Proxy: p.URL}, n.dialer(nil))
	if _, err := f.Fetch(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	if len(p.targets) != 1 || p.targets[0] != "CONNECT elsewhere.example:443" {
		t.Errorf("the proxy was asked %q", p.targets)
	}
	p.refuse = true
	_, err := f.Fetch(t.Context(), "https://elsewhere.example/other", nil)
	if !errors.Is(err, cimd.ErrFailed) || err.Error() != cimd.ErrFailed.Error()+": the proxy answers with status 403" {
		t.Errorf("the proxy refuses: %v", err)
	}
}

// TestMain names proxies where nobody listens, before anything can read the environment: if we looked there, no test
// of this package would fetch anything. They would resolve names for us, behind the guard.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"} {
		os.Setenv(name, "http://127.0.0.1:1")
	}
	os.Unsetenv("NO_PROXY")
	os.Unsetenv("no_proxy")
	os.Exit(m.Run())
}

// protocol.md §3.3: environment proxies are ignored.
func TestEnvironmentProxyIgnored(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	n.serveDocument(document(id, ""))
	req, err := http.NewRequest(http.MethodGet, id, nil)
	n.must(err)
	if p, err := http.ProxyFromEnvironment(req); err != nil || p == nil {
		t.Fatalf("the environment names no proxy: %v, %v", p, err)
	}
	if _, err := n.fetcher(cimd.Config{}).Fetch(t.Context(), id, nil); err != nil {
		t.Error(err)
	}
}

func TestConfigValidate(t *testing.T) {
	for _, good := range []cimd.Config{{}, {Proxy: "http://proxy.example:3128"}, {Proxy: "https://[2001:db8::1]:3128", Stale: time.Hour}} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, bad := range []cimd.Config{
		{Proxy: "proxy.example:3128"}, {Proxy: "socks5://proxy.example"}, {Proxy: "http://"}, {Proxy: "http://u:p@proxy.example"},
		{Proxy: "http://proxy.example/x"}, {Proxy: "http://proxy.example?x"}, {Proxy: ":"},
		{MaxBytes: -1}, {Timeout: -1}, {Stale: -1}, {Max: -1}, {PerHostPerMinute: -1}, {Parallel: -1},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
	// One that was not validated goes nowhere, rather than out without its proxy.
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	n.serveDocument(document(id, ""))
	f := cimd.New(cimd.Config{Proxy: "proxy.example"}, rules, nil, n.dialer(netip.Addr.IsLoopback), nil)
	if _, err := f.Fetch(context.Background(), id, nil); !errors.Is(err, cimd.ErrFailed) || n.conns.Load() != 0 {
		t.Errorf("broken proxy: %v, %d connections", err, n.conns.Load())
	}
}
