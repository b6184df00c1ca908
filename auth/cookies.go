package auth

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"time"
)

// Our three cookies (protocol.md §4.2), each 32 random bytes, so that all are of constant size. Over https they carry
// the __Host- prefix (RFC 6265bis §4.1.3.2): no other host or path can set them. On an http loopback issuer the
// prefix and Secure are left out, as browsers would drop them; under https the bare names are ignored.
const (
	csrfCookie   = "hostedmcp_csrf"
	bindCookie   = "hostedmcp_bind"
	signinCookie = "hostedmcp_signin"

	hostPrefix = "__Host-"
	cookieSize = 32
	csrfTTL    = 24 * time.Hour
)

// cookie returns the value of a cookie of ours, "" when it is absent or not of our form. One that is not 32 bytes in
// canonical base64url was not set by us and counts as absent: it is replaced, not answered with an error that would
// come back at every visit.
func (s *Server) cookie(r *http.Request, name string) string {
	c, err := r.Cookie(s.cookieName(name))
	if err != nil {
		return ""
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(c.Value)
	if err != nil || len(raw) != cookieSize {
		return ""
	}
	return c.Value
}

// keepCookie returns the cookie's value, a new one if the browser sent none, and sends it with its full life: all tabs
// of a browser go on sharing one value (FastMCP #4818).
func (s *Server) keepCookie(w http.ResponseWriter, r *http.Request, name string, ttl time.Duration) string {
	value := s.cookie(r, name)
	if value == "" {
		value = randomValue()
	}
	s.setCookie(w, name, value, ttl)
	return value
}

// setCookie sends a cookie; ttl below zero deletes it.
func (s *Server) setCookie(w http.ResponseWriter, name, value string, ttl time.Duration) {
	// Lax, not Strict: the way back from the provider is a navigation from another site, and must bring the binding
	// cookie. No Domain: sub-domains have their own owners.
	c := &http.Cookie{
		Name: s.cookieName(name), Value: value, Path: "/", MaxAge: int(ttl / time.Second),
		HttpOnly: true, Secure: !s.loopback, SameSite: http.SameSiteLaxMode,
	}
	if ttl < 0 {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// cookieName is the name on the wire, as the issuer's scheme has it.
func (s *Server) cookieName(name string) string {
	if s.loopback {
		return name
	}
	return hostPrefix + name
}

// randomValue returns 256 random bits in base64url. Nobody guesses one, so that a hash without salt is enough to
// store it.
func randomValue() string {
	raw := make([]byte, cookieSize)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(raw)
}
