package admin

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"hostedmcp/auth/oauth"
)

// What check finds in the addresses that the server listens on.

// isLoopback reports whether only this machine reaches an address.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// listeners compares addresses with the public URL. A public server behind a proxy sees one address only, unless it
// may believe the proxy.
func (k *checker) listeners(context.Context) (found []oauth.Finding) {
	if k.m.Listen == "" || !strings.HasPrefix(k.m.PublicURL, "https:") {
		return nil // tried out on this computer
	}
	local := isLoopback(k.m.Listen)
	// The issuer is https, so somebody else ends TLS; from there on it goes in clear.
	if !local && !k.m.TLS {
		found = append(found, oauth.Warn("listen", k.m.Listen+" is reached by others, without TLS: tokens can be read on the way from the proxy",
			"listen on 127.0.0.1 with the proxy on this machine, or set [tls]; else see that only the proxy reaches it"))
	} else {
		found = append(found, oauth.Good("listen", k.m.Listen))
	}
	if k.m.TrustedProxies {
		return append(found, oauth.Good("trusted proxies", "configured"))
	}
	// behind a proxy every user has the proxy's address
	if local {
		return append(found, oauth.Warn("trusted proxies", "none, behind a proxy on this machine: limits per address are off, and the journal "+
			"has no addresses", `trusted_proxies = ["127.0.0.1", "::1"], if that proxy sets X-Forwarded-For itself`))
	}
	return append(found, oauth.Good("trusted proxies", "none: every address is that of the connection"))
}

// metrics looks whether Prometheus gets something, and who else does.
func (k *checker) metrics(ctx context.Context) []oauth.Finding {
	const name = "metrics"
	if k.m.MetricsListen == "" {
		return []oauth.Finding{oauth.Good(name, "off")}
	}
	if k.live == nil {
		return nil
	}
	// past the proxy: no rule of it should publish the metrics
	p, err := k.fetch(ctx, "http://"+dialable(k.m.MetricsListen)+"/metrics")
	switch {
	case err != nil:
		what, _ := whyUnreachable(err)
		return []oauth.Finding{oauth.Warn(name, k.m.MetricsListen+" "+what, "restart hostedmcp: it may run with another metrics.listen")}
	// any name of ours will do: which are there depends on what has happened yet
	case p.status != http.StatusOK || !bytes.Contains(p.body, []byte("hostedmcp_")):
		return []oauth.Finding{oauth.Warn(name, fmt.Sprintf("%s answers %d, and not with our metrics", k.m.MetricsListen, p.status),
			"another program has that address: change metrics.listen and restart")}
	case !isLoopback(k.m.MetricsListen):
		return []oauth.Finding{oauth.Warn(name, k.m.MetricsListen+" is reached by others: they see how much this server is used",
			"see that only Prometheus reaches it, or set metrics.listen to a loopback address")}
	}
	return []oauth.Finding{oauth.Good(name, k.m.MetricsListen+" answers")}
}

// dialable is an address that leads to a listener on all addresses.
func dialable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip, e := netip.ParseAddr(host); err == nil && (host == "" || e == nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}
