package mcp

import (
	"path"
	"slices"
	"strings"

	"hostedmcp/mcp/connector"
)

// resourceRule is the rule for a URI. One that is not listed may be another spelling of one that is, since connectors
// may read "%61" as "a" and leave out "..": then both spellings must pass.
func (m *mounted) resourceRule(uri string, fit int) connector.Rule {
	r := m.config.Rule(uri, true)
	plain := plainURI(uri)
	if fit >= listed || plain == uri {
		return r
	}
	p := m.config.Rule(plain, true)
	return connector.Rule{Hidden: r.Hidden || p.Hidden, Groups: slices.Concat(r.Groups, p.Groups), Scopes: r.Scopes.Union(p.Scopes)}
}

// plainURI spells a URI in the plainest way (RFC 3986 §6.2.2): lower case in scheme and host, nothing escaped that need
// not be, no dot segments. Slashes count as such when they are escaped, as some servers take them.
func plainURI(uri string) string {
	uri = unescaped(uri)
	end := len(uri)
	if i := strings.IndexAny(uri, "?#"); i >= 0 {
		end = i
	}
	uri, rest := uri[:end], uri[end:]
	scheme, after, found := strings.Cut(uri, ":")
	if !found {
		return uri + rest
	}
	head := strings.ToLower(scheme) + ":"
	if below, ok := strings.CutPrefix(after, "//"); ok {
		host, _, _ := strings.Cut(below, "/")
		head, after = head+"//"+strings.ToLower(host), below[len(host):]
	}
	if !strings.Contains(after, "/") {
		return head + after + rest
	}
	clean := path.Clean(after)
	if strings.HasSuffix(after, "/") && clean != "/" {
		clean += "/"
	}
	return head + clean + rest
}

// unescaped undoes the escapes of unreserved characters and of slashes (RFC 3986 §2.3).
func unescaped(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, ok := hexByte(s[i+1 : i+3]); ok && strings.IndexByte(unreserved+"/", c) >= 0 {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

// hexByte reads two hexadecimal digits.
func hexByte(s string) (byte, bool) {
	const digits = "0123456789abcdef"
	high := strings.IndexByte(digits, s[0]|0x20)
	low := strings.IndexByte(digits, s[1]|0x20)
	return byte(high<<4 | low), high >= 0 && low >= 0
}
