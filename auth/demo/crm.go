package demo

// The demo CRM: a small REST API on the provider's listener, for the newcomer's first question. Errors are problem
// details (RFC 9457), the bearer check is RFC 6750 by the provider's own verification, and crm.openapi.json is the
// contract that crm_test.go holds both sides to.

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// CRMDocumentPath is where the provider's listener serves the OpenAPI document of the demo CRM. It needs no token. Its
// server is relative ("/crm"), so that its bytes, and with them a pinned hash, are the same wherever it listens.
const CRMDocumentPath = "/crm/openapi.json"

//go:embed crm.openapi.json
var crmDocument []byte

// crm is the API. Its records are made anew for each request; only what was written is remembered.
type crm struct {
	who func(*http.Request) (User, error) // errors are those of the bearer token
	now func() time.Time

	mu      sync.Mutex
	changes map[string]*changes // by user name
}

func newCRM(who func(*http.Request) (User, error), now func() time.Time) *crm {
	return &crm{who: who, now: now, changes: map[string]*changes{}}
}

// problem is an error answer (RFC 9457 §3.1). Its type is about:blank: the status says it all.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// Error is the detail.
func (p *problem) Error() string { return p.Detail }

func problemf(status int, format string, args ...any) *problem {
	return &problem{http.StatusText(status), status, fmt.Sprintf(format, args...)}
}

func notFound(what string) *problem {
	return problemf(http.StatusNotFound, "there is no such %s", what)
}

// call is one authenticated request.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	user User
	book *book
}

// endpoint answers a call with what becomes JSON, or with a problem.
type endpoint func(*call) (any, *problem)

// routes is the table of the document's paths. A path knows its methods, so that a wrong one is a problem too.
func (c *crm) routes() http.Handler {
	mux := http.NewServeMux()
	for path, methods := range map[string]map[string]endpoint{
		"accounts":      {"GET": listAccounts},
		"accounts/{id}": {"GET": getAccount},
		"contacts":      {"GET": listContacts},
		"contacts/{id}": {"GET": getContact},
		"deals":         {"GET": listDeals},
		"deals/{id}":    {"GET": getDeal, "PATCH": c.updateDeal},
		"pipeline":      {"GET": getPipeline},
		"activities":    {"GET": listActivities, "POST": c.logActivity},
		"{unknown...}":  {"GET": func(*call) (any, *problem) { return nil, notFound("path; see " + CRMDocumentPath) }},
	} {
		mux.Handle("/crm/"+path, c.authenticated(methods))
	}
	mux.HandleFunc("GET "+CRMDocumentPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(crmDocument) // the connection is gone: nobody to tell
	})
	return mux
}

// authenticated asks who calls before anything else is said: a stranger does not learn which paths there are.
func (c *crm) authenticated(methods map[string]endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := c.who(r)
		if err != nil {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			writeProblem(w, problemf(http.StatusUnauthorized, "send an access token of this provider in the Authorization header"))
			return
		}
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		answer, ok := methods[method]
		if !ok {
			w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(methods)), ", "))
			writeProblem(w, problemf(http.StatusMethodNotAllowed, "this path takes another method"))
			return
		}
		value, fault := answer(&call{w, r, user, c.bookOf(user)})
		if fault != nil {
			writeProblem(w, fault)
			return
		}
		status := http.StatusOK
		if method == http.MethodPost {
			status = http.StatusCreated
		}
		writeJSON(w, status, value)
	})
}

func writeProblem(w http.ResponseWriter, p *problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// bookOf makes the user's records as of today, with what was written since the start.
func (c *crm) bookOf(u User) *book {
	b := newBook(u.Name, c.now())
	c.mu.Lock()
	defer c.mu.Unlock()
	if changed := c.changes[u.Name]; changed != nil {
		changed.apply(b)
	}
	return b
}
