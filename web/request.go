package web

import (
	"net/http"
	"net/netip"
	"strings"
)

// What a request is known by: whose address it carries, and which trace it belongs to. Both come from headers that
// anybody can write, so both are believed as little as possible.

// sources decides which address a request came from.
type sources struct {
	trusted  []netip.Prefix
	loopback bool // a loopback peer is a real client: the issuer is loopback, or somebody vouched for it
}

// address returns the client's address without port, "" where none is known or none may be held against it: a
// loopback peer of a public issuer without trusted_proxies is a proxy that nobody named, and a limit per address
// would punish everybody behind it (protocol.md §9).
func (s sources) address(r *http.Request) string {
	peer, ok := peerOf(r.RemoteAddr)
	switch {
	case !ok:
		return ""
	case s.trusts(peer):
		return s.behind(peer, r.Header.Values("X-Forwarded-For")).String()
	case peer.IsLoopback() && !s.loopback:
		return ""
	}
	return peer.String()
}

// peerOf reads what net/http says of the connection; a Unix socket or a test without one has no address.
func peerOf(remote string) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}, false
	}
	return plainAddr(ap.Addr()), true
}

// plainAddr makes the forms of one address equal.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// trusts reports whether a is one of the proxies that the configuration names.
func (s sources) trusts(a netip.Addr) bool {
	for _, p := range s.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// behind walks X-Forwarded-For from the right, where our own proxies write: the first address that is not one of them
// is the client. What stands further left anybody could have sent. An unreadable entry ends the walk at the last
// proxy that vouched.
func (s sources) behind(peer netip.Addr, lines []string) netip.Addr {
	hops := strings.Split(strings.Join(lines, ","), ",")
	last := peer // so far vouched for
	for i := len(hops) - 1; i >= 0; i-- {
		a, ok := hopAddr(strings.TrimSpace(hops[i]))
		if !ok {
			return last
		}
		if last = a; !s.trusts(a) {
			return a
		}
	}
	return last
}

// hopAddr reads "192.0.2.1", "2001:db8::1", and both with a port, as some proxies write them.
func hopAddr(hop string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(hop); err == nil {
		return plainAddr(a), true
	}
	ap, err := netip.ParseAddrPort(hop)
	return plainAddr(ap.Addr()), err == nil
}

// traceID returns the trace id of a traceparent header (W3C Trace Context §3.2), "" if there is none, more than one,
// or one that breaks the form in any way. It is only logged.
func traceID(h http.Header) string {
	lines := h.Values("Traceparent")
	if len(lines) != 1 {
		return ""
	}
	s := lines[0]
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return ""
	}
	version, trace, parent, flags := s[:2], s[3:35], s[36:52], s[53:55]
	if !lowerHex(version+trace+parent+flags) || version == "ff" || zeros(trace) || zeros(parent) {
		return ""
	}
	if rest := s[55:]; rest != "" && (version == "00" || rest[0] != '-') { // later versions may add fields
		return ""
	}
	return trace
}

// lowerHex: upper case is an error (W3C Trace Context §3.2.2).
func lowerHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
func zeros(s string) bool    { return strings.Trim(s, "0") == "" }
