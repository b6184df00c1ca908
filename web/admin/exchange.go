package admin

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// Each operation goes through one pipeline, as a request of the public listener does: bounds, the work, one answer, one
// line in the log. It is a smaller one: the caller is known and is one person, so that errors carry their causes, and
// there is no limit per address.

// exchange is one operation from request to answer, and its line in the log. It goes with one goroutine.
type exchange struct {
	w    http.ResponseWriter
	r    *http.Request
	log  *slog.Logger
	name string

	id    string // request id, also of the journal events that the operation causes
	begun bool   // the answer has begun: an error can only cut it off,
	told  bool   // unless the answer itself says how it ended
	attrs []slog.Attr
}

// newExchange begins an operation under a request id of its own.
func newExchange(w http.ResponseWriter, r *http.Request, log *slog.Logger, name string) *exchange {
	id := rand.Text()
	return &exchange{w: w, r: r.WithContext(context.WithValue(r.Context(), requestKey{}, id)), log: log, name: name, id: id}
}

// requestKey is where a context has the id.
type requestKey struct{}

// RequestID is the request id of the operation that a function of [Options] is called for, so that its journal events
// name it and explain finds them; "" = ctx is of no operation.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

// note adds to the log line. Never a word that the operator typed: it may be a user's address.
func (x *exchange) note(key string, value any) { x.attrs = append(x.attrs, slog.Any(key, value)) }

// run bounds the request, does the work, answers errors and logs. limit 0 = as long as it takes.
func (x *exchange) run(limit time.Duration, f func(*exchange) error) {
	start := time.Now()
	x.deadlines(time.Time{}, start.Add(max(limit, shortTime)+stall))
	x.r.Body = http.MaxBytesReader(x.w, x.r.Body, maxBody)
	if limit > 0 {
		ctx, cancel := context.WithTimeout(x.r.Context(), limit)
		defer cancel()
		x.r = x.r.WithContext(ctx)
	}
	// A panic passes: net/http writes its stack to the log, and the caller sees a connection that is cut.
	err := f(x)
	if err != nil && !x.begun {
		x.told = true
		x.fail(err)
	}
	x.line(time.Since(start), err)
	if err != nil && !x.told {
		panic(http.ErrAbortHandler) // what was sent must not look whole
	}
}

// deadlines replaces those that a server has for strangers; in memory there is nothing to set. While a reading deadline
// stands it must not pass: net/http takes that for a caller who has gone.
func (x *exchange) deadlines(read, write time.Time) {
	control := http.NewResponseController(x.w)
	_ = control.SetReadDeadline(read)
	_ = control.SetWriteDeadline(write)
}

// line is the one line in the log of an operation. What we refused is told by its status: its text may hold the word
// that was typed. A ping comes before each operation and is none.
func (x *exchange) line(took time.Duration, err error) {
	attrs := []slog.Attr{
		slog.String("op", x.name), slog.String("request", x.id), slog.String("peer", x.peer()), slog.Int64("duration_us", took.Microseconds()),
	}
	level := slog.LevelInfo
	var r *refusal
	switch {
	case errors.As(err, &r):
		attrs = append(attrs, slog.Int("status", r.status))
	case err != nil:
		attrs, level = append(attrs, slog.Any("cause", err)), slog.LevelWarn
	case x.name == "ping":
		level = slog.LevelDebug
	}
	x.log.LogAttrs(context.WithoutCancel(x.r.Context()), level, "operator", append(attrs, x.attrs...)...)
}

// peer is who asked; an operation in memory is our own process.
func (x *exchange) peer() string {
	if x.r.RemoteAddr == "" {
		return "this process"
	}
	return x.r.RemoteAddr
}

// event is the journal's entry for what the operation does.
func (x *exchange) event(reason oauth.Reason) storage.Event {
	return storage.Event{Reason: reason, Request: x.id}
}

// read decodes the body, strictly.
func (x *exchange) read(into any) error {
	control := http.NewResponseController(x.w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTime))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	dec := json.NewDecoder(x.r.Body)
	dec.DisallowUnknownFields() // a field that is not known may be a limit that is not kept
	if err := dec.Decode(into); err != nil {
		return refuse(http.StatusBadRequest, "the request cannot be read: %v", err)
	}
	return nil
}

// answer writes the result.
func (x *exchange) answer(v any) error { return x.write(http.StatusOK, v) }

// write sends an answer that is small enough to be made whole first.
func (x *exchange) write(status int, v any) error {
	// Encoded before the first byte: an answer that cannot be is an error, not half an answer.
	body, err := encode(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	x.begin("application/json")
	x.w.WriteHeader(status)
	_, err = x.w.Write(body)
	return err
}

// encode writes JSON on one line, and "<" as it is: definitions of tools are read by people, and no browser sees this.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// begin sets the headers of an answer; an error after it cuts the connection.
func (x *exchange) begin(contentType string) {
	x.begun = true
	x.w.Header().Set("Content-Type", contentType)
	x.w.Header().Set("X-Request-Id", x.id)
}

// progress gives the next write of a long answer its time.
func (x *exchange) progress() { x.deadlines(time.Time{}, time.Now().Add(stall)) }

// refusal is an error of the door: a status and one line for the operator.
type refusal struct {
	status int
	text   string
}

// Error implements error.
func (r *refusal) Error() string { return r.text }

// refuse is an error for the operator, whose text names the fixing step.
func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// fail is the one exit of errors. They are for the operator of this machine, so they carry their cause.
func (x *exchange) fail(err error) {
	var r *refusal
	status, text := http.StatusInternalServerError, err.Error()
	switch {
	case errors.As(err, &r):
		status = r.status
	case errors.Is(err, storage.ErrUnavailable):
		status = http.StatusServiceUnavailable
		text = fmt.Sprintf("%v: make room on its disk and see the log; it recovers by itself", err)
	case errors.Is(err, storage.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, context.DeadlineExceeded):
		status, text = http.StatusGatewayTimeout, "it took too long: try again, with a smaller -limit if there is one"
	}
	_ = x.write(status, failure{Error: text, Request: x.id}) // the caller may have gone; there is nobody to tell
}
