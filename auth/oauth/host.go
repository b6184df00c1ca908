package oauth

import (
	"net/netip"
	"strconv"
	"strings"
)

// cutPort cuts an authority without user name into host and port. The port is "" if absent; an empty one after a
// colon is an error. IPv6 keeps its brackets.
func cutPort(authority string) (host, port string, err error) {
	end := strings.LastIndexByte(authority, ']') + 1
	colon := strings.IndexByte(authority[end:], ':')
	if colon < 0 {
		return authority, "", nil
	}
	host, port = authority[:end+colon], authority[end+colon+1:]
	if !validPort(port) {
		return "", "", errURIPort
	}
	return host, port, nil
}

// validPort reports whether s is 1 to 65535 in its one canonical form.
func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0'
}

// isDNSName reports whether s is a host name of RFC 1123 §2.1 in ASCII, absolute or relative to nothing: no trailing
// dot, no underscore, and not one of the many forms that browsers read as an IPv4 address ("127.1", "0x7f.1").
func isDNSName(s string) bool {
	if len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if !isLabel(l) {
			return false
		}
	}
	return !endsInNumber(labels[len(labels)-1])
}

func isLabel(l string) bool {
	if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	for i := range len(l) {
		if !isAlnum(l[i]) && l[i] != '-' {
			return false
		}
	}
	return true
}

// endsInNumber is the browsers' test for "this host is an IPv4 address" (URL standard, ends-in-a-number checker).
func endsInNumber(last string) bool {
	if strings.Trim(last, "0123456789") == "" {
		return true
	}
	hex, ok := strings.CutPrefix(lowerASCII(last), "0x")
	return ok && strings.Trim(hex, "0123456789abcdef") == ""
}

// isIPHost reports whether host is an IP address in its canonical form, IPv6 in brackets.
func isIPHost(host string) bool {
	inner, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		inner = strings.TrimSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(inner)
	if err != nil || addr.Zone() != "" || addr.Is6() != bracketed {
		return false
	}
	return addr.String() == inner
}

// origin returns scheme, host in lower case and port (the default one filled in), for comparing origins.
func (u uri) origin() string {
	host, port, err := cutPort(u.authority)
	if err != nil {
		return ""
	}
	if port == "" {
		port = defaultPort(u.scheme)
	}
	return u.scheme + "://" + lowerASCII(host) + ":" + port
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}
