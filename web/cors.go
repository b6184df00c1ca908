package web

import (
	"net/http"
	"slices"
	"strings"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

// Cross-origin rules (Fetch standard, "CORS protocol"; protocol.md §1). Three kinds of rows: none at all, where a browser
// keeps foreign pages out by itself; any origin, for what holds no cookie and asks for its own credentials (discovery,
// registration, tokens: browser-based clients such as Inspector live from it); and a list of origins, for /mcp.

// cors sets the CORS headers of a row (Fetch standard, "CORS protocol"; protocol.md §1) and answers a preflight. It
// reports whether the request was answered, or the refusal. Credentials are never allowed: no cookie of ours is for a
// foreign page.
func (h *handler) cors(w *response, r *http.Request, row row) (done bool, err error) {
	switch row.CORS {
	case auth.CORSAny:
		w.Header().Set("Access-Control-Allow-Origin", "*")
	case auth.CORSListed:
		h.listedOrigin(w.Header(), r)
	default:
		return false, nil
	}
	if r.Method != http.MethodOptions {
		return false, nil
	}
	if row.CORS == auth.CORSListed {
		if err := h.admits(r); err != nil {
			return false, err
		}
	}
	preflight(w, r, row)
	return true, nil
}

// exposed is what a page needs of an answer of /mcp: the challenge that starts a login, its session, when to come back.
const exposed = "WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version, Retry-After"

// listedOrigin echoes the origin if it is one of `allowed_origins`, byte by byte. Vary goes out either way, or a cache
// would hand one origin's answer to another.
func (h *handler) listedOrigin(header http.Header, r *http.Request) {
	header.Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); slices.Contains(h.origins, origin) {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Expose-Headers", exposed)
	}
}

// admits judges the preflight of a listed row as the endpoint judges its requests: first the name we are called by
// (a foreign page that made its name point at us), then who asks (protocol.md §7, step 1).
func (h *handler) admits(r *http.Request) error {
	host := strings.ToLower(r.Host)
	if host != h.pages.site.Host() && !slices.Contains(h.hosts, host) {
		return refuse(http.StatusMisdirectedRequest, oauth.HostRefused)
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 || len(origins) == 1 && (origins[0] == h.pages.site.Issuer || slices.Contains(h.origins, origins[0])) {
		return nil
	}
	return refuse(http.StatusForbidden, oauth.OriginRefused)
}

// preflight answers for every method of the row: a browser that asks for another is refused by its own comparison.
func preflight(w *response, r *http.Request, row row) {
	header := w.Header()
	header.Add("Vary", "Access-Control-Request-Headers")
	header.Set("Access-Control-Allow-Methods", strings.Join(row.Methods, ", "))
	if allowed := allowedHeaders(r.Header.Values("Access-Control-Request-Headers")); allowed != "" {
		header.Set("Access-Control-Allow-Headers", allowed)
	}
	w.WriteHeader(http.StatusNoContent)
}

// mostHeaders is how many names of a preflight are looked at: a browser asks for a handful, and an answer must not cost
// more than the question.
const mostHeaders = 32

// allowedHeaders keeps of the headers that were asked for those a client of ours needs. Nothing else is echoed.
func allowedHeaders(lines []string) string {
	var out []string
	seen := 0
	for name := range strings.SplitSeq(strings.ToLower(strings.Join(lines, ",")), ",") {
		if seen++; seen > mostHeaders {
			break
		}
		name = strings.TrimSpace(name)
		known := slices.Contains([]string{"authorization", "content-type", "accept", "last-event-id"}, name) ||
			strings.HasPrefix(name, "mcp-") && headerName(name)
		if known && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

// headerName holds an echoed name to letters, digits and hyphens, narrower than RFC 9110 §5.6.2 allows.
func headerName(name string) bool {
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
