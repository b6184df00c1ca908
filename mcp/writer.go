package mcp

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"strconv"
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

// writer is the ResponseWriter of the SDK. The SDK writes from several goroutines and sets the status of a late error
// at its end, while our comments go out in between: so the SDK's headers are its own map, which is read only when the
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

// frame makes an event of a message, in one line: a line break, which stands between the tokens of JSON only, would end it
// (WHATWG HTML "Server-sent events", where a carriage return is one too).
func frame(message []byte) []byte {
	const begin, end = "event: message\ndata: ", "\n\n"
	out := append(make([]byte, 0, len(begin)+len(message)+len(end)), begin...)
	for _, c := range bytes.TrimSpace(message) {
		if c == '\r' || c == '\n' {
			c = ' '
		}
		out = append(out, c)
	}
	return append(out, end...)
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

// begin makes a stream of an answer that has not begun, with an event first that says how to take it up again where that
// is possible. mu must be held.
func (w *writer) begin() error {
	switch {
	case w.committed:
		return nil
	case w.whole:
		return errStreamOver
	}
	w.committed, w.stream = true, true
	streamHeader(w.under.Header())
	w.under.WriteHeader(http.StatusOK)
	if w.peer != nil {
		w.replay = w.peer.newReplay(w.id, w.scopes)
	}
	if w.replay == nil {
		return nil
	}
	event, _ := w.replay.add(nil, false)
	_, err := w.under.Write(event)
	return err
}

// send writes what is a whole number of events or comments. mu must be held.
func (w *writer) send(events []byte) error {
	if _, err := w.under.Write(events); err != nil {
		return err
	}
	return w.flush.Flush()
}

// comment keeps a silent stream open on its way through proxies. It makes a stream of an answer that has not begun.
// An answer that is on its way in another type is left alone: a comment would be part of its body.
func (w *writer) comment() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over:
		return errStreamOver
	case w.committed && !w.stream, w.plain, w.whole && !w.committed:
		return nil
	}
	if err := w.begin(); err != nil {
		return err
	}
	return w.send([]byte(": keep-alive\n\n"))
}

// event sends a message of ours on the stream, between those of the SDK, which writes each of its own in one piece. It
// makes a stream of an answer that has not begun. message is one line of JSON. When the connection is gone, it goes to
// those who have taken the stream up again.
func (w *writer) event(message []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over, w.ctx.Err() != nil:
		if w.replay.isRead() {
			if event, _ := w.replay.add(message, false); event != nil {
				return nil
			}
		}
		return errStreamOver
	case w.plain, w.committed && !w.stream:
		return errStreamOver
	}
	if err := w.begin(); err != nil {
		return err
	}
	if w.replay == nil {
		return w.send(frame(message))
	}
	event, held := w.replay.add(message, false)
	// When the connection breaks under it, the client finds what is held when it comes back.
	if err := w.send(event); err != nil && !held {
		return err
	}
	return nil
}

// isDeaf reports whether there is nobody to hear an event.
func (w *writer) isDeaf() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return (w.over || w.ctx.Err() != nil) && !w.replay.isRead()
}

// keep holds a message for a client that may come back, and reports whether it can.
func (w *writer) keep(message []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.replay == nil {
		return false
	}
	_, held := w.replay.add(message, false)
	return held
}

// resumable lets the client of a session take this answer up again if it becomes a stream, with the scopes that the call
// needs.
func (w *writer) resumable(p *sessionPeer, scopes oauth.Scope) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peer, w.scopes = p, scopes
}

// prime makes a stream of an answer that has not begun, so that its client knows how to come back.
func (w *writer) prime() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over && !w.committed && w.ctx.Err() == nil && w.begin() == nil {
		w.flush.Flush()
	}
}

// reply writes the answer to a call, the last that is written: in one piece if nothing was said before, else as an event.
// It is kept for a client that has gone and may come back.
func (w *writer) reply(status int, body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var event []byte
	if w.replay != nil {
		event, _ = w.replay.add(body, true)
		w.peer.retire(w.replay)
	}
	switch {
	case w.over, w.ctx.Err() != nil:
	case w.committed:
		if event == nil {
			event = frame(body)
		}
		w.under.Write(event) // the client may be gone; nobody else is to be told
	default:
		w.committed = true
		w.under.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
		writeJSON(w.under, status, body)
	}
	w.over = true
}

// repeat writes events that were sent before, on another connection.
func (w *writer) repeat(events [][]byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return errStreamOver
	}
	if err := w.begin(); err != nil {
		return err
	}
	for _, event := range events {
		if _, err := w.under.Write(event); err != nil {
			return err
		}
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
