package cimd

import (
	"net/netip"
	"slices"
)

// globalV6 is all that is allocated for global unicast (RFC 4291 §2.4). Everything outside is refused without a list:
// loopback, link-local, unique local and multicast, and the forms that carry an IPv4 address: mapped ::ffff:0:0/96,
// compatible ::/96, NAT64 64:ff9b::/96 and 64:ff9b:1::/48 (RFC 6052, RFC 8215).
var globalV6 = netip.MustParsePrefix("2000::/3")

// notRoutable are the blocks inside IPv4 and globalV6 that are not globally reachable (RFC 6890 and IANA's registries
// of special-purpose addresses), or that lead to an IPv4 address which we would not see.
var notRoutable = parsePrefixes(
	"0.0.0.0/8",        // this network, RFC 791 §3.2
	"10.0.0.0/8",       // private, RFC 1918
	"100.64.0.0/10",    // shared by carriers, RFC 6598; metadata service of a cloud
	"127.0.0.0/8",      // loopback, RFC 1122 §3.2.1.3
	"168.63.129.16/32", // looks public, but is the host of every Azure machine
	"169.254.0.0/16",   // link-local, RFC 3927; metadata service of most clouds
	"172.16.0.0/12",    // private, RFC 1918
	"192.0.0.0/24",     // protocol assignments, RFC 6890 §2.1; metadata service of a cloud
	"192.0.2.0/24",     // documentation, RFC 5737
	"192.88.99.0/24",   // relays of 6to4, RFC 7526
	"192.168.0.0/16",   // private, RFC 1918
	"198.18.0.0/15",    // benchmarks, RFC 2544
	"198.51.100.0/24",  // documentation, RFC 5737
	"203.0.113.0/24",   // documentation, RFC 5737
	"224.0.0.0/4",      // multicast, RFC 5771
	"240.0.0.0/4",      // reserved and broadcast, RFC 1112 §4
	"2001::/23",        // protocol assignments, RFC 2928: Teredo (RFC 4380), benchmarks, ORCHID
	"2001:db8::/32",    // documentation, RFC 3849
	"2002::/16",        // 6to4, RFC 3056
	"3fff::/20",        // documentation, RFC 9637
)

func parsePrefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}

// Routable reports whether addr is a globally routable unicast address and carries no IPv4 address inside an IPv6 one.
func Routable(addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	// No prefix contains an address with a zone, which refuses those too.
	if addr.Is6() && (!globalV6.Contains(addr) || isISATAP(addr)) {
		return false
	}
	return !slices.ContainsFunc(notRoutable, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// isISATAP reports whether the interface identifier is [u/g bits]00:5efe and an IPv4 address (RFC 5214 §6.1); any
// prefix may stand before it.
func isISATAP(addr netip.Addr) bool {
	b := addr.As16()
	return b[8]&^0x03 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}
