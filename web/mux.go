package web

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

// The mux and what a row demands of a request before its endpoint sees it (protocol.md §1). net/http's own mux would
// clean paths and redirect; ours looks a string up.

// row is one line of the endpoint table with the name it has in logs and metrics.
type row struct {
	auth.Endpoint
	pattern string
}

// table is the mux: exact paths, as they came over the wire. Whatever is not byte-equal (a trailing slash, "//", dot
// segments, percent-encoded letters) is unknown, and is never redirected to what it resembles: two spellings of one
// endpoint are how checks are passed by (protocol.md §1).
type table map[string]row

// newTable reports every row that cannot be served; a program that starts has a whole table.
func newTable(rows []row) (table, error) {
	t := table{}
	var faults []error
	for _, r := range rows {
		switch _, twice := t[r.Path]; {
		case !strings.HasPrefix(r.Path, "/") || r.Handle == nil || len(r.Methods) == 0:
			faults = append(faults, fmt.Errorf("endpoint %q: path, methods or handle missing", r.Path))
		case twice:
			faults = append(faults, fmt.Errorf("endpoint %s: given twice", r.Path))
		}
		if r.pattern == "" {
			r.pattern = r.Path
		}
		t[r.Path] = r
	}
	return t, errors.Join(faults...)
}

// serve takes one request through the steps of the package comment.
func (h *handler) serve(w *response, r *http.Request) {
	row, ok := h.table[r.URL.EscapedPath()]
	if !ok {
		h.exit(w, r, refuse(http.StatusNotFound, oauth.NotFound), true)
		return
	}
	w.route = row.pattern
	w.Header().Set("Cache-Control", cacheControl(row.Cache))
	if row.Page {
		pageHeaders(w.Header())
	}
	if h.elsewhere(r, row) {
		w.Header().Set("Cache-Control", cacheControl(auth.NoStore))
		w.Header().Set("Location", h.pages.site.Issuer+r.URL.RequestURI())
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	if err := h.enter(w, r, row); err != nil {
		h.fail(w, r, err, row.Page)
	}
}

// enter checks what the row says of a request and lets its endpoint work.
func (h *handler) enter(w *response, r *http.Request, row row) error {
	done, err := h.cors(w, r, row)
	if done || err != nil {
		return err
	}
	// HEAD is GET without a body (RFC 9110 §9.3.2): net/http drops what the endpoint writes.
	if !slices.Contains(row.Methods, r.Method) && !(r.Method == http.MethodHead && row.head()) {
		e := refuse(http.StatusMethodNotAllowed, oauth.MethodRefused)
		e.Allow = row.allow()
		return e
	}
	if row.Form && r.Method == http.MethodPost {
		if err := checkForm(r); err != nil {
			return err
		}
	}
	if !limitBody(w, r, row.MaxBody) {
		return refuse(http.StatusRequestEntityTooLarge, oauth.RequestInvalid)
	}
	return row.Handle(w, r)
}

// fail hands an error to the exit. After the answer began there is none to write: the connection is aborted, so that
// nobody takes half an answer for a whole one.
func (h *handler) fail(w *response, r *http.Request, err error, page bool) {
	if w.begun() {
		auth.Request(r.Context()).Fail(h.bridge(w, r, err))
		panic(http.ErrAbortHandler)
	}
	h.exit(w, r, err, page)
}

// elsewhere: on loopback one server has several names, and cookies set under one are not sent under another. A page
// goes to the issuer's own name (protocol.md §1).
func (h *handler) elsewhere(r *http.Request, row row) bool {
	site := h.pages.site
	return row.Page && r.Method == http.MethodGet && site.Loopback() && !site.https() && !strings.EqualFold(r.Host, site.Host())
}

// checkForm holds a form to one media type and one place for its parameters (RFC 6749 §3.2 and appendix B).
func checkForm(r *http.Request) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return refuse(http.StatusUnsupportedMediaType, oauth.RequestInvalid)
	}
	if r.URL.RawQuery != "" {
		return refuse(http.StatusBadRequest, oauth.RequestInvalid)
	}
	return nil
}

// head reports whether HEAD is answered like GET: where the answer is cacheable.
func (r row) head() bool {
	return r.Cache != auth.NoStore && slices.Contains(r.Methods, http.MethodGet)
}

// allow is the Allow header of a 405 (RFC 9110 §15.5.6).
func (r row) allow() string {
	methods := slices.Clone(r.Methods)
	if r.head() && !slices.Contains(methods, http.MethodHead) {
		methods = append(methods, http.MethodHead)
	}
	if r.CORS != auth.CORSNone {
		methods = append(methods, http.MethodOptions)
	}
	return strings.Join(methods, ", ")
}

// cacheControl is the column "cache" of the endpoint table.
func cacheControl(c auth.Cache) string {
	switch c {
	case auth.Public:
		return "public, max-age=300"
	case auth.Static:
		return "public, max-age=3600"
	}
	return "no-store"
}
