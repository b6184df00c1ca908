package oauth

import "strings"

// loopback is an http URI on the user's own computer, cut around its port.
type loopback struct {
	host string // "127.0.0.1", "[::1]" or "localhost", exactly
	port string // "" if absent
	rest string // path and query: empty or beginning with / or ?
}

// cutLoopback cuts a URI with one of the three hosts exactly and a canonical port or none. Anything between host and
// path that is not such a port ("@evil", ".", a backslash) makes it no loopback URI.
func cutLoopback(s string) (loopback, bool) {
	s, ok := strings.CutPrefix(s, "http://")
	if !ok {
		return loopback{}, false
	}
	authority, rest := s, ""
	if i := strings.IndexAny(s, "/?"); i >= 0 {
		authority, rest = s[:i], s[i:]
	}
	host, port, err := cutPort(authority)
	if err != nil {
		return loopback{}, false
	}
	switch host {
	case "127.0.0.1", "[::1]", "localhost":
		return loopback{host, port, rest}, true
	}
	return loopback{}, false
}

// MatchRedirect reports whether presented is the registered redirect URI: the same bytes (RFC 9700 §2.1), or the same
// but for the port if registered is a loopback URI (RFC 8252 §7.3; for localhost too, since real clients use it). The
// three loopback hosts do not match each other. Nothing is normalised.
func MatchRedirect(registered, presented string) bool {
	if registered == "" || presented == "" {
		return false
	}
	if registered == presented {
		return true
	}
	r, ok := cutLoopback(registered)
	if !ok {
		return false
	}
	p, ok := cutLoopback(presented)
	return ok && r.host == p.host && r.rest == p.rest
}

// StripLoopbackPort returns a loopback URI without its port and everything else as it is: the form in which the
// metadata of a client that binds a random port is the same every time.
func StripLoopbackPort(redirectURI string) string {
	l, ok := cutLoopback(redirectURI)
	if !ok {
		return redirectURI
	}
	return "http://" + l.host + l.rest
}

// IsLoopbackURL reports whether u is http on 127.0.0.1, [::1] or localhost.
func IsLoopbackURL(u string) bool {
	_, ok := cutLoopback(u)
	return ok
}
