package cimd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// Dialer is how connections are made. The zero value is for production: the system's resolver and roots, and only
// routable addresses. No configuration key reaches it; tests have their servers on loopback.
type Dialer struct {
	Allow    func(netip.Addr) bool // adds to Routable; nil adds nothing
	Resolver *net.Resolver         // nil = the system's
	Roots    *x509.CertPool        // nil = the system's
}

var errAddress = errors.New("the address is not globally routable")

// control runs after the name is resolved and before the socket connects, once for each candidate: what is judged is
// what is connected to (CVE-2026-54450: a check of an earlier lookup can be told another address).
func (d Dialer) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return errAddress
	}
	if Routable(ap.Addr()) || d.Allow != nil && d.Allow(ap.Addr()) {
		return nil
	}
	return errAddress
}

// transport returns a transport of one connection a request. With a proxy the address check is the proxy's: it alone
// resolves the name, and it may itself stand in a private network.
func (d Dialer) transport(proxy *url.URL, timeout time.Duration) *http.Transport {
	// The request's context ends the wait, not the dialling; these timeouts end that too.
	dialer := &net.Dialer{Timeout: timeout, Resolver: d.Resolver, KeepAlive: -1}
	t := &http.Transport{
		TLSClientConfig:        &tls.Config{RootCAs: d.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    timeout,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 32 << 10,
	}
	if proxy != nil {
		t.Proxy, t.OnProxyConnectResponse = http.ProxyURL(proxy), checkConnect
	} else {
		dialer.Control = d.control
	}
	t.DialContext = dialer.DialContext
	return t
}

// proxyError is the status with which the proxy refused to connect; its words are not ours to pass on.
type proxyError int

// Error is for the log: the number is all that a proxy's refusal needs.
func (e proxyError) Error() string { return "the proxy answers with status " + strconv.Itoa(int(e)) }

// checkConnect stands before the transport's own check, which would put the proxy's status line into the error.
func checkConnect(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return proxyError(resp.StatusCode)
	}
	return nil
}
