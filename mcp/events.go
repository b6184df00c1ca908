package mcp

// This file writes what we say ourselves: events beside those of the SDK, and the answers to calls that it does not see
// (WHATWG HTML "Server-sent events"; MCP "Streamable HTTP").

import (
	"bytes"
	"net/http"
	"strconv"

	"hostedmcp/auth/oauth"
)

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
	case w.gone():
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
	return w.gone() && !w.replay.isRead()
}

// gone reports whether nothing can be written to the connection any more. mu must be held.
func (w *writer) gone() bool { return w.over || w.ctx.Err() != nil }

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
	if !w.gone() && !w.committed && w.begin() == nil {
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
	case w.gone():
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
