package oauth

import (
	"errors"
	"fmt"
	"strings"
)

// maxClientIDURL is the longest client_id that is a URL, in bytes (protocol.md §3.3).
const maxClientIDURL = 512

// CheckClientIDURL returns nil if id can name a client metadata document: https, a DNS host, a path beyond "/", no
// fragment, user name or dot segment (draft-ietf-oauth-client-id-metadata-document §3). Nothing is fetched.
func CheckClientIDURL(id string) error {
	if len(id) > maxClientIDURL {
		return errURILong
	}
	u, err := cutURI(id)
	if err != nil {
		return err
	}
	if u.scheme != "https" {
		return errURINeedHTTPS
	}
	if err := u.checkDNSHost(); err != nil {
		return err
	}
	if len(u.path) < 2 {
		return errURINeedPath
	}
	return nil
}

// CheckIssuer returns nil if publicURL can be our issuer: an https origin, or an http one on loopback, in the one form
// that everybody compares byte by byte (protocol.md §2; RFC 8414 §2, RFC 9207 §2.4). The error names the fix.
func CheckIssuer(publicURL string) error {
	u, err := cutURI(publicURL)
	if err != nil {
		return err
	}
	if !u.slashes {
		return errURISlashes
	}
	host, port, err := cutPort(u.authority)
	if err != nil {
		return err
	}
	if u.scheme != "https" && !IsLoopbackURL(publicURL) {
		return errors.New("use https (http is for 127.0.0.1, [::1] and localhost only)")
	}
	if u.path != "" || strings.Contains(publicURL, "?") {
		return fmt.Errorf("remove everything after the host: write %s://%s", u.scheme, u.authority)
	}
	return u.checkIssuerHost(host, port)
}

func (u uri) checkIssuerHost(host, port string) error {
	if host != lowerASCII(host) {
		return errors.New("write the host in lower case")
	}
	if !isDNSName(host) && !isIPHost(host) {
		return errURIHost
	}
	if port == defaultPort(u.scheme) {
		return fmt.Errorf("leave out the port: write %s://%s", u.scheme, host)
	}
	return nil
}

// SameResource reports whether presented names resource, our canonical one (RFC 8707 §2). Clients may write scheme
// and host in other letters, the default port, and one trailing slash; nothing else is forgiven.
func SameResource(presented, resource string) bool {
	scheme, rest, ok := strings.Cut(presented, "://")
	if !ok {
		return false
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	scheme, authority = lowerASCII(scheme), lowerASCII(authority)
	authority = strings.TrimSuffix(authority, ":"+defaultPort(scheme))
	return scheme+"://"+authority+strings.TrimSuffix(path, "/") == resource
}
