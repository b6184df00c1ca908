package oauth

import (
	"errors"
	"slices"
	"strings"
)

// maxRedirectURI is the longest redirect URI in bytes (protocol.md §3.2).
const maxRedirectURI = 2048

// RedirectRules says which redirect URIs a client may register (protocol.md §3.2), whichever way it is known.
type RedirectRules struct {
	Issuer         string   // our own origin, which no client may name; "" = not compared
	PrivateSchemes []string // schemes without a dot that are allowed in spite of RFC 8252 §7.1
}

var errRedirectKind = errors.New("use https, or http with the host 127.0.0.1, [::1] or localhost, " +
	"or a private-use scheme with a dot in it (or add the scheme to private_schemes)")

// neverSchemes run or open something in the browser itself, whatever the configuration says.
var neverSchemes = []string{
	"javascript", "data", "file", "vbscript", "blob", "about", "ws", "wss", "filesystem", "intent",
}

// Check returns nil for an acceptable redirect URI, else an error that says what to change and shows nothing of it.
func (r RedirectRules) Check(redirectURI string) error {
	if len(redirectURI) > maxRedirectURI {
		return errURILong
	}
	u, err := cutURI(redirectURI)
	if err != nil {
		return err
	}
	if u.answers() {
		return errURIAnswer
	}
	switch u.scheme {
	case "https":
		return r.checkHTTPS(u)
	case "http":
		return r.checkLoopback(redirectURI, u)
	}
	return r.checkPrivate(u)
}

func (r RedirectRules) checkHTTPS(u uri) error {
	if err := u.checkDNSHost(); err != nil {
		return err
	}
	return r.checkForeign(u)
}

// checkDNSHost is shared by redirect URIs and client_id URLs: an IP literal names no organisation.
func (u uri) checkDNSHost() error {
	if !u.slashes {
		return errURISlashes
	}
	host, _, err := cutPort(u.authority)
	if err != nil {
		return err
	}
	if !isDNSName(host) {
		return errURIHost
	}
	return nil
}

func (r RedirectRules) checkLoopback(redirectURI string, u uri) error {
	if _, ok := cutLoopback(redirectURI); ok {
		return r.checkForeign(u)
	}
	if _, _, err := cutPort(u.authority); err != nil {
		return err
	}
	return errRedirectKind
}

// checkForeign refuses our own origin: a code sent there would land in our own log and pages.
func (r RedirectRules) checkForeign(u uri) error {
	own, err := cutURI(r.Issuer)
	if err == nil && own.origin() == u.origin() {
		return errURIOwn
	}
	return nil
}

func (r RedirectRules) checkPrivate(u uri) error {
	allowed := strings.Contains(u.scheme, ".") || slices.Contains(r.PrivateSchemes, u.scheme)
	if !allowed || slices.Contains(neverSchemes, u.scheme) {
		return errRedirectKind
	}
	return nil
}

// Kind says who can receive what is sent to a redirect URI.
type Kind int

// The kinds of redirect URI (RFC 8252 §7). What is neither of the first two counts as the third, which pages warn of.
const (
	KindPrivate  Kind = iota // whichever program owns the private-use scheme
	KindHTTPS                // the holder of the host's certificate
	KindLoopback             // any program on the user's computer
)

// RedirectKind returns the kind of an acceptable redirect URI.
func RedirectKind(redirectURI string) Kind {
	if strings.HasPrefix(redirectURI, "https://") {
		return KindHTTPS
	}
	if _, ok := cutLoopback(redirectURI); ok {
		return KindLoopback
	}
	return KindPrivate
}
