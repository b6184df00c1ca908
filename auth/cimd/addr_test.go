package cimd_test

import (
	"net/netip"
	"testing"

	"hostedmcp/auth/cimd"
)

// protocol.md §3.3: refused is all but globally routable unicast, and what carries an IPv4 address.
func TestRoutable(t *testing.T) {
	for _, row := range []struct {
		source string
		addrs  []string
	}{
		{"RFC 791 this network", []string{"0.0.0.0", "0.1.2.3"}},
		{"RFC 1918", []string{"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1"}},
		{"RFC 6598", []string{"100.64.0.1", "100.100.100.200", "100.127.255.255"}},
		{"RFC 1122 loopback", []string{"127.0.0.1", "127.255.255.254", "::1"}},
		{"RFC 3927", []string{"169.254.169.254", "fe80::1", "fe80::1%eth0", "2606:4700::1%eth0"}},
		{"RFC 6890", []string{"192.0.0.8", "192.0.0.192"}},
		{"RFC 5737, RFC 3849, RFC 9637", []string{"192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"}},
		{"RFC 7526", []string{"192.88.99.1"}},
		{"RFC 2544, RFC 5180", []string{"198.18.0.1", "198.19.255.255", "2001:2::1"}},
		{"RFC 5771, RFC 4291 multicast", []string{"224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"}},
		{"RFC 1112 reserved, broadcast", []string{"240.0.0.1", "255.255.255.255"}},
		{"Azure's host", []string{"168.63.129.16"}},
		{"RFC 4291 unspecified", []string{"::"}},
		{"RFC 4193, RFC 3879", []string{"fc00::1", "fd00:ec2::254", "fec0::1"}},
		{"RFC 4291 mapped", []string{"::ffff:127.0.0.1", "::ffff:8.8.8.8"}},
		{"RFC 4291 compatible", []string{"::127.0.0.1", "::8.8.8.8"}},
		{"RFC 3056 6to4", []string{"2002:7f00:1::", "2002:808:808::1"}},
		{"RFC 4380 Teredo", []string{"2001:0:7f00:1::", "2001::1"}},
		{"RFC 6052, RFC 8215 NAT64", []string{"64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1"}},
		{"RFC 5214 ISATAP", []string{"2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1", "2606:4700:0:0:100:5efe:808:808", "fe80::5efe:7f00:1"}},
		{"RFC 6666 discard", []string{"100::1"}},
		{"RFC 9602 SRv6", []string{"5f00::1"}},
		{"not allocated", []string{"4000::1", "1000::1"}},
	} {
		for _, a := range row.addrs {
			if cimd.Routable(netip.MustParseAddr(a)) {
				t.Errorf("%s: %s passes", row.source, a)
			}
		}
	}
	for _, a := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1", "169.253.255.255",
		"172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
		"2606:4700::1", "2a00:1450::1", "2001:200::1", "2400:cb00::1", "2606:4700::5eff:7f00:1", "2606:4700::400:5efe:7f00:1",
	} {
		if !cimd.Routable(netip.MustParseAddr(a)) {
			t.Errorf("%s is refused", a)
		}
	}
	if cimd.Routable(netip.Addr{}) {
		t.Error("no address passes")
	}
}
