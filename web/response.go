package web

import (
	"net/http"
	"strings"
	"time"
)

// The SDK behind /mcp streams for an hour through this writer, sets deadlines and flushes; the log wants to know what was
// answered; and a client that neither sends nor reads must not hold its connection for longer than one that does.

// stall is how long a listener waits for a body to come or an answer to be read, where nothing else is said.
const stall = 30 * time.Second

// limits bound one request of any listener. Zero values are stall.
type limits struct {
	body   time.Duration // for all of the request's body to come
	answer time.Duration // for all of the answer to go out, from its first byte; streams have their own
}

// response notes what was answered. Flush and Unwrap keep streams and http.ResponseController working on it.
type response struct {
	http.ResponseWriter
	route  string // pattern of the matched row, for log and metrics
	body   *body  // of the request; nil when it has none
	answer time.Duration
	http1  bool
	status int   // 0 = nothing answered yet
	bytes  int64 // of the answer's body
	fault  bool  // the answer hides a fault of ours: logged as an error
}

// bound puts the limits on a request before anything is asked of it: net/http reads what is left of a body before it
// lets an answer go, so that a refusal waits for the sender as much as an endpoint does. A request without a body is
// left alone, since net/http is reading already, to see the client hang up: a deadline would look like that. The time
// for writing starts with the answer; until then an endpoint takes as long as it needs, and http.Server.WriteTimeout is
// lifted: after the first read of a body whose sender waits for "100 Continue", which is written then.
func (l limits) bound(under http.ResponseWriter, r *http.Request) *response {
	w := &response{ResponseWriter: under, route: "unmatched", answer: orStall(l.answer), http1: r.ProtoMajor == 1}
	control := http.NewResponseController(under)
	lift := func() { _ = control.SetWriteDeadline(time.Time{}) } // a writer without deadlines (a test's) has none to set
	if r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody {
		_ = control.SetReadDeadline(time.Now().Add(orStall(l.body)))
		w.body = &body{ReadCloser: r.Body}
		r.Body = w.body
		if r.Header.Get("Expect") != "" {
			w.body.first, lift = lift, func() {}
		}
	}
	lift()
	return w
}

func orStall(d time.Duration) time.Duration {
	if d <= 0 {
		return stall
	}
	return d
}

// begin is what comes before the first byte of an answer. A body that nobody has read is not waited for: the answer goes
// out at once and the connection ends after it. HTTP/2 never waits, and would take the header for the connection's end.
// Events are a stream, whose endpoint sets its own deadlines; a fixed one would cut it.
func (w *response) begin(status int) {
	w.status = status
	if w.http1 && w.body != nil && !w.body.begun.Load() {
		w.Header().Set("Connection", "close")
	}
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/event-stream") {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.answer))
	}
}

// WriteHeader notes the final status; informational ones (1xx) begin nothing.
func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write begins the answer with 200 if nothing else did.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Flush sends what was written so far; like net/http's own it begins the answer.
func (w *response) Flush() {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush() // a writer that cannot flush has nothing to send
}

// Unwrap lets http.ResponseController reach the connection's deadlines.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// begun reports that it is too late for another answer.
func (w *response) begun() bool { return w.status != 0 }
