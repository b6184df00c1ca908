package mcp

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"hostedmcp/auth/oauth"
)

const (
	typeStream = "text/event-stream"
	typeJSON   = "application/json"
)

var errStreamOver = errors.New("the stream is over")

// writer writes one answer: what the SDK says, as whose ResponseWriter it is, and what we say (events.go). The SDK writes
// from several goroutines and sets the status of a late error at its end, while ours goes out in between: so the SDK's headers are its own map, which is read only when the
// SDK writes, and one lock is held over Write and Flush (protocol.md §7, Streams). mu guards all that stands below
// it, and what is written to the connection.
type writer struct {
	under  http.ResponseWriter
	flush  http.ResponseController
	header http.Header // the SDK's
	post   bool        // errors are JSON-RPC answers to id
	id     []byte
	own    *atomic.Bool    // the error texts of this answer are ours
	ctx    context.Context // of the connection: nobody reads any more when it is done
	whole  bool            // the answer must not become a stream before the SDK has set its headers

	mu        sync.Mutex
	peer      *sessionPeer // of a client that can take this answer up again; nil = it cannot
	scopes    oauth.Scope  // that it then needs
	replay    *replay      // its events; nil = none was sent yet
	status    int          // that the SDK set; 0 = none yet
	plain     bool         // the SDK answers an error in plain text, to be translated
	committed bool         // the status is on its way to the client
	stream    bool         // committed as an event stream
	over      bool
}

// Header implements http.ResponseWriter.
func (w *writer) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.setStatus(status)
}

// setStatus notes what the SDK wants to answer. A plain text waits for its body, to be translated with it. mu must be
// held. Only the first status counts, as with net/http.
func (w *writer) setStatus(status int) {
	if w.status != 0 || w.over {
		return
	}
	w.status = status
	w.plain = status >= 400 && strings.HasPrefix(w.header.Get("Content-Type"), "text/plain")
	if !w.plain && !w.committed {
		w.commit()
	}
}

// commit sends status and headers of the SDK. mu must be held. What the pipeline has set stays, unless the SDK's map
// has the same name.
func (w *writer) commit() {
	w.committed = true
	h := w.under.Header()
	w.stream = w.header.Get("Content-Type") == typeStream
	cache := h["Cache-Control"]
	maps.Copy(h, w.header)
	delete(h, "Connection") // the SDK sets it; HTTP/2 has none, and HTTP/1.1 needs none
	if w.stream {
		streamHeader(h)
	} else if cache != nil {
		h["Cache-Control"] = cache // no-store, which the SDK's would weaken
	}
	w.under.WriteHeader(w.status)
}

// streamHeader keeps proxies from holding events back, and everybody from storing them. no-store is ours on top of
// what MCP asks for: events hold what only one user may see.
func streamHeader(h http.Header) {
	h["Content-Type"] = []string{typeStream}
	h["Cache-Control"] = []string{"no-cache, no-store, no-transform"}
	h["X-Accel-Buffering"] = []string{"no"}
}

// Write implements http.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return 0, errStreamOver
	}
	w.setStatus(http.StatusOK)
	body := p
	if w.post && !w.own.Load() {
		body = plainError(p, w.id)
	}
	if w.plain {
		body = w.translate(p)
		if !w.committed {
			w.header.Set("Content-Type", typeJSON)
			w.commit()
		}
	}
	// a comment has made it a stream before the SDK knew what it would answer
	if w.stream && w.header.Get("Content-Type") != typeStream {
		body = frame(body)
	}
	if _, err := w.under.Write(body); err != nil {
		return 0, err
	}
	return len(p), nil
}

// translate turns an error text of the SDK into what clients read: an answer to their request, or, where a session
// ended under it, the words that make them initialize again.
func (w *writer) translate(text []byte) []byte {
	switch {
	case w.status == http.StatusNotFound:
		return refused(w.status, oauth.SessionUnknown).body("")
	case !w.post:
		return refused(w.status, oauth.RequestInvalid).body("")
	}
	e := rpcError{code: codeInvalidRequest, message: strings.TrimSpace(string(text))}
	if strings.HasPrefix(e.message, "JSON RPC not handled") { // the SDK's words for a method it does not know
		e = rpcError{code: codeMethodNotFound, message: noMethod}
	} else if !isHelpful(e.message) {
		e.message = foreignTexts[codeInvalidRequest]
	}
	return e.body(w.id)
}

// FlushError is what http.ResponseController looks for. Before the status is out there is nothing to flush: net/http
// would send 200 for it.
func (w *writer) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || !w.committed {
		return nil
	}
	return w.flush.Flush()
}

// settle lets nothing more through and reports whether an answer was begun. What the SDK said with no body at all is
// sent now. From then on the SDK's goroutines of this request write into nothing.
func (w *writer) settle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status != 0 && !w.committed {
		w.commit()
	}
	w.over = true
	return w.committed
}
