package web_test

import (
	"net/netip"
	"strings"
	"testing"

	"hostedmcp/web"
)

// TestAddress: whom limits are held against (protocol.md §1 and §9). The peer of every request is 127.0.0.1.
func TestAddress(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	foreign := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	local := publicSite()
	local.Issuer = "http://127.0.0.1:8080"
	for _, c := range []struct {
		what    string
		site    web.Site
		trusted []netip.Prefix
		header  []string // lines of X-Forwarded-For
		want    string
	}{
		{"a proxy that nobody named", publicSite(), nil, nil, ""},
		{"and what it says", publicSite(), nil, []string{"192.0.2.1"}, ""},
		{"loopback issuer", local, nil, []string{"192.0.2.1"}, "127.0.0.1"},
		{"peer not trusted", publicSite(), foreign, []string{"192.0.2.1"}, "127.0.0.1"},
		{"trusted, silent", publicSite(), loopback, nil, "127.0.0.1"},
		{"trusted", publicSite(), loopback, []string{"192.0.2.1"}, "192.0.2.1"},
		{"client's own entries on the left", publicSite(), loopback, []string{"198.51.100.7, 192.0.2.1"}, "192.0.2.1"},
		{"chain of proxies", publicSite(), loopback, []string{"198.51.100.7, 192.0.2.1, 10.1.2.3"}, "192.0.2.1"},
		{"two lines", publicSite(), loopback, []string{"198.51.100.7", "192.0.2.1,10.9.9.9"}, "192.0.2.1"},
		{"all trusted", publicSite(), loopback, []string{"10.0.0.9, 10.0.0.8"}, "10.0.0.9"},
		{"unreadable", publicSite(), loopback, []string{"192.0.2.1, unknown"}, "127.0.0.1"},
		{"unreadable behind a proxy", publicSite(), loopback, []string{"192.0.2.1, <script>, 10.0.0.8"}, "10.0.0.8"},
		{"with port", publicSite(), loopback, []string{"192.0.2.1:4711"}, "192.0.2.1"},
		{"IPv6 with port", publicSite(), loopback, []string{"[2001:db8:2::1]:4711"}, "2001:db8:2::1"},
		{"mapped", publicSite(), loopback, []string{"192.0.2.1, ::ffff:10.0.0.8"}, "192.0.2.1"},
		{"empty", publicSite(), loopback, []string{""}, "127.0.0.1"},
	} {
		h := newHarness(t, func(o *web.Options) { o.Pages, o.TrustedProxies = newPages(t, c.site), c.trusted })
		var headers []string
		for _, line := range c.header {
			headers = append(headers, "X-Forwarded-For", line)
		}
		h.send("GET", "/jwks", "", append(headers, "Forwarded", "for=203.0.113.9", "X-Real-Ip", "203.0.113.9")...)
		if h.info.Address != c.want {
			t.Errorf("%s: %q, want %q", c.what, h.info.Address, c.want)
		}
	}
}

// TestTraceparent holds W3C Trace Context §3.2.
func TestTraceparent(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	h := newHarness(t)
	for value, want := range map[string]string{
		"00-" + id + "-00f067aa0ba902b7-01":                       id,
		"cc-" + id + "-00f067aa0ba902b7-01":                       id,
		"cc-" + id + "-00f067aa0ba902b7-01-what-comes-later":      id,
		"00-" + id + "-00f067aa0ba902b7-01-more":                  "",
		"cc-" + id + "-00f067aa0ba902b7-01more":                   "",
		"ff-" + id + "-00f067aa0ba902b7-01":                       "",
		"00-" + strings.ToUpper(id) + "-00f067aa0ba902b7-01":      "",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": "",
		"00-" + id + "-0000000000000000-01":                       "",
		"00-" + id + "-00f067aa0ba902b7-0x":                       "",
		"00-" + id[:31] + "-00f067aa0ba902b7-01":                  "",
		"00_" + id + "_00f067aa0ba902b7_01":                       "",
		"00-" + id[:30] + "\"}-00f067aa0ba902b7-01":               "",
		"00-" + id + "-00F067AA0BA902B7-01":                       "",
		"00-" + id + "-00f067aa0ba902b7-0A":                       "",
		"00-" + id + "-00f067aa0ba902b7":                          "",
		"00-" + id + "-00f067aa0ba902b7-01-":                      "",
		"0-" + id + "-00f067aa0ba902b7-01":                        "",
		"00-" + id + "-00f067aa0ba902b7-01, 00-" + id:             "",
		"00-" + id + "-00f067aa0ba902b7_01":                       "",
		"00-" + id + "_00f067aa0ba902b7-01":                       "",
		"00_" + id + "-00f067aa0ba902b7-01":                       "",
		"":                                                        "",
	} {
		h.send("GET", "/jwks", "", "Traceparent", value)
		if h.info.Trace != want {
			t.Errorf("%q: %q", value, h.info.Trace)
		}
	}
	h.send("GET", "/jwks", "", "Traceparent", "00-"+id+"-00f067aa0ba902b7-01", "Traceparent", "00-"+id+"-00f067aa0ba902b7-01")
	if h.info.Trace != "" {
		t.Error("two headers: taken")
	}
}
