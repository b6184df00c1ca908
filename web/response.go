package web

import "net/http"

// The SDK behind /mcp streams for an hour through this writer, sets deadlines and flushes; the log wants to know what was
// answered. Both must hold at once.

// response notes what was answered. Flush and Unwrap keep streams and http.ResponseController working on it.
type response struct {
	http.ResponseWriter
	route  string // pattern of the matched row, for log and metrics
	body   *body  // of the request; nil when none is read
	status int    // 0 = nothing answered yet
	bytes  int64
	fault  bool // the answer hides a fault of ours: logged as an error
}

// WriteHeader notes the final status; informational ones (1xx) begin nothing.
func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write begins the answer with 200 if nothing else did.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Flush sends what was written so far; like net/http's own it begins the answer.
func (w *response) Flush() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush() // a writer that cannot flush has nothing to send
}

// Unwrap lets http.ResponseController reach the connection's deadlines.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// begun reports that it is too late for another answer.
func (w *response) begun() bool { return w.status != 0 }
