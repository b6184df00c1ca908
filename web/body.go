package web

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// body is a request body with a size and a time. It remembers its own fault, so that whatever the endpoint makes of a
// read error, the exit knows whose it was.
type body struct {
	io.ReadCloser
	err error // what Read met but io.EOF
}

// limitBody puts a row's limits on a request. It returns the refusal for a body that announces itself as too large, so
// that not a byte of it is read.
func limitBody(w *response, r *http.Request, most int64, within time.Duration) bool {
	if most <= 0 || r.Body == nil || r.Body == http.NoBody {
		r.Body = http.NoBody
		return true
	}
	if r.ContentLength > most {
		w.body = &body{err: &http.MaxBytesError{Limit: most}}
		return false
	}
	// The reader is given the server's own writer: it closes the connection of a sender that goes on regardless.
	b := &body{ReadCloser: http.MaxBytesReader(w.ResponseWriter, r.Body, most)}
	if within > 0 {
		// A writer without deadlines (a test's) has none to set.
		_ = http.NewResponseController(w.ResponseWriter).SetReadDeadline(time.Now().Add(within))
	}
	w.body, r.Body = b, b
	return true
}

// Read notes a fault. The deadline needs no lifting: net/http forgets it with the last byte of a body (it has to, since
// it goes on reading to see the client hang up), and it bounds as well what is left of a body that nobody wants.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// tooLarge reports that the sender went over the limit, announced or not. A nil body has no fault.
func (b *body) tooLarge() bool {
	var too *http.MaxBytesError
	return b != nil && errors.As(b.err, &too)
}

// failed reports that the body could not be read to its end: cut off, too slow, badly chunked.
func (b *body) failed() bool { return b != nil && b.err != nil }
