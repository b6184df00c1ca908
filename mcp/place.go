package mcp

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"hostedmcp/auth/oauth"
)

// maxBody is the largest message in bytes (protocol.md §1).
const maxBody = 4 << 20

// methods are those of the endpoint table; HEAD is a GET whose challenge some clients read. The table has them all,
// since 405 in the modern era comes after the bearer check (endpoint.go).
var methods = []string{http.MethodPost, http.MethodGet, http.MethodHead, http.MethodDelete}

// allowGood is the Allow header for one who has a good token.
const allowGood = "POST, GET, DELETE"

// place says under which names this server may be spoken to, and from which web pages.
type place struct {
	hosts   []string // lower case, default port removed
	port    string   // default port of the issuer's scheme, with colon
	origins []string
}

// newPlace takes the names from the configuration alone; no header ever adds one. Our own pages are an origin too:
// the issuer is always among them.
func newPlace(issuer string, hosts, origins []string) (place, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return place{}, err
	}
	p := place{port: ":443", origins: append([]string{issuer}, origins...)}
	if u.Scheme == "http" {
		p.port = ":80"
	}
	for _, host := range append([]string{u.Host}, hosts...) {
		p.hosts = append(p.hosts, p.normal(host))
	}
	return p, nil
}

// normal is the form in which hosts are compared: names without case, and without the port that goes without saying
// (RFC 9110 §4.2.3). Nothing else is forgiven, a trailing dot neither.
func (p *place) normal(host string) string {
	return strings.TrimSuffix(strings.ToLower(host), p.port)
}

// check refuses requests that a browser was tricked into (protocol.md §7 step 1): by a name that resolves to us (DNS
// rebinding), or from a foreign page, even with a valid token (CVE-2026-34742).
func (p *place) check(r *http.Request) *refusal {
	// First as it came: nearly always it is spelled as configured, and nothing has to be folded.
	if !slices.Contains(p.hosts, r.Host) && !slices.Contains(p.hosts, p.normal(r.Host)) {
		return refused(http.StatusMisdirectedRequest, oauth.HostRefused)
	}
	if origin := r.Header["Origin"]; len(origin) > 1 || len(origin) == 1 && !slices.Contains(p.origins, origin[0]) {
		return refused(http.StatusForbidden, oauth.OriginRefused)
	}
	return nil
}

// checkForm refuses what no token makes right (protocol.md §7 step 2). A JSON media type also keeps plain HTML forms
// of foreign pages out (CVE-2026-33252).
func checkForm(r *http.Request) *refusal {
	if !slices.Contains(methods, r.Method) {
		return notAllowed(strings.Join(methods, ", "))
	}
	if r.Method != http.MethodPost {
		return nil
	}
	// Repeated is refused: which of the two would the next reader believe?
	if t := r.Header["Content-Type"]; len(t) != 1 || t[0] != "application/json" && mediaType(t[0]) != "application/json" {
		return refused(http.StatusUnsupportedMediaType, oauth.RequestInvalid)
	}
	if r.ContentLength > maxBody {
		return refused(http.StatusRequestEntityTooLarge, oauth.RequestInvalid)
	}
	return nil
}

// mediaType returns the type without parameters, "" if it cannot be parsed.
func mediaType(value string) string {
	t, _, err := mime.ParseMediaType(value)
	if err != nil {
		return ""
	}
	return t
}
