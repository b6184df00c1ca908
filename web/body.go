package web

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// body is a request body with a size. It remembers its own fault, so that whatever the endpoint makes of a
// read error, the exit knows whose it was.
type body struct {
	io.ReadCloser
	err   error       // what Read met but io.EOF
	first func()      // after the first Read, if not nil
	begun atomic.Bool // somebody wants it; the answer may begin on another goroutine
}

// limitBody puts a row's limits on a request. It returns the refusal for a body that announces itself as too large, so
// that not a byte of it is read.
func limitBody(w *response, r *http.Request, most int64) bool {
	if most <= 0 || w.body == nil {
		r.Body = http.NoBody
		return true
	}
	if r.ContentLength > most {
		w.body.err = &http.MaxBytesError{Limit: most}
		return false
	}
	// The reader is given the server's own writer: it closes the connection of a sender that goes on regardless.
	w.body.ReadCloser = http.MaxBytesReader(w.ResponseWriter, w.body.ReadCloser, most)
	return true
}

// Read notes a fault. The deadline needs no lifting: net/http forgets it with the last byte of a body (it has to, since
// it goes on reading to see the client hang up), and it bounds as well what is left of a body that nobody wants.
func (b *body) Read(p []byte) (int, error) {
	again := b.begun.Swap(true)
	n, err := b.ReadCloser.Read(p)
	if !again && b.first != nil {
		b.first()
	}
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
