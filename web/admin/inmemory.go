package admin

import (
	"io"
	"net/http"
	"sync"
)

// inMemory calls a handler without a connection: what is asked of a closed file goes the way that it would go to a
// server, byte for byte.
type inMemory struct {
	handler http.Handler
	running sync.WaitGroup
}

// RoundTrip implements http.RoundTripper. It returns when the answer begins; its body arrives as it is written.
func (t *inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context()) // a RoundTripper leaves its request alone
	if in.Body == nil {
		in.Body = http.NoBody
	}
	body, out := io.Pipe()
	w := &memoryWriter{header: http.Header{}, out: out, begun: make(chan struct{})}
	t.running.Go(func() { w.serve(t.handler, in) })
	select {
	case <-w.begun:
	case <-r.Context().Done():
		_ = body.CloseWithError(r.Context().Err()) // or the handler would wait for a reader
		return nil, r.Context().Err()
	}
	return &http.Response{
		StatusCode: w.status, Status: http.StatusText(w.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: body, ContentLength: -1, Request: r,
	}, nil
}

// memoryWriter is the writing end. status and sent are read once begun is closed.
type memoryWriter struct {
	header http.Header
	out    *io.PipeWriter
	once   sync.Once
	begun  chan struct{}
	status int
	sent   http.Header
}

// serve runs the handler. An aborted answer ends in an error for its reader, as a cut connection does.
func (w *memoryWriter) serve(h http.Handler, r *http.Request) {
	defer r.Body.Close() // as a RoundTripper must
	defer func() {
		fault := recover()
		w.WriteHeader(http.StatusOK) // an empty answer
		switch fault {
		case nil:
			_ = w.out.Close()
		case http.ErrAbortHandler:
			_ = w.out.CloseWithError(io.ErrUnexpectedEOF)
		default:
			panic(fault)
		}
	}()
	h.ServeHTTP(w, r)
}

// Header implements http.ResponseWriter.
func (w *memoryWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *memoryWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.begun)
	})
}

// Write implements http.ResponseWriter.
func (w *memoryWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.out.Write(p)
}

// Flush implements http.Flusher: nothing is kept back.
func (w *memoryWriter) Flush() {}
