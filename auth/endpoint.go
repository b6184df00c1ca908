package auth

import "net/http"

// Endpoint is one row of the endpoint table (protocol.md §1). The request pipeline enforces what the row says
// (methods, media type, size, CORS, cache headers), so that Handle only does the work. What is held there for all
// cannot be forgotten by one.
type Endpoint struct {
	Path    string
	Methods []string // exactly these; HEAD and OPTIONS follow from Cache and CORS
	CORS    CORS
	Cache   Cache
	MaxBody int64 // bytes of a request body; 0 = none is read
	Page    bool  // a browser's endpoint: errors are pages unless Accept lacks text/html
	Form    bool  // POST takes application/x-www-form-urlencoded only, and no query string

	// Handle answers the request or returns an error before it has written anything. A returned *oauth.Error is
	// written by the pipeline's one exit; any other error is `internal`, 503.
	Handle func(w http.ResponseWriter, r *http.Request) error
}

// CORS says which web origins may read an endpoint's answers.
type CORS int

// CORS modes of the endpoint table.
const (
	CORSNone   CORS = iota // no CORS headers at all
	CORSAny                // "*", never with credentials
	CORSListed             // only `allowed_origins`, echoed
)

// Cache says what Cache-Control an endpoint's answers carry.
type Cache int

// Cache modes of the endpoint table.
const (
	NoStore Cache = iota // no-store
	Public               // public, max-age=300; HEAD is answered too
	Static               // public, max-age=3600; HEAD is answered too
)
