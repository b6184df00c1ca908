package mount

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"hostedmcp/mcp/connector"
)

// pipe is a link over a child's standard streams: one message a line (MCP "stdio").
type pipe struct {
	src   *source
	link  *link
	child *child

	stdin   syscall.RawConn // of the child, for atOnce
	writing sync.Mutex      // held while something is written
	ahead   atomic.Int64    // lines that wait for the writer
	lines   chan []byte     // likewise

	strays chan message // what belongs to no call
	brake  brake        // on what is said of its output
}

// Bounds of a pipe.
const (
	linesAhead  = 16   // lines that wait for a child that does not read
	straysAhead = 64   // messages without a call that wait for a client that does not
	wholeWrite  = 4096 // bytes that a pipe takes as a whole or not at all
	drain       = 16   // times max_bytes of a line that is too long are read to find its end
)

var errExited = errors.New("the process ended")

func (s *source) startChild(ctx context.Context, l *link) (*pipe, error) {
	child, err := s.children.start(ctx)
	if err != nil {
		return nil, err
	}
	stdin, err := child.stdin.SyscallConn()
	if err != nil {
		child.end()
		return nil, err
	}
	l.secrets.note(s.secret)
	return &pipe{
		src: s, link: l, child: child, stdin: stdin, lines: make(chan []byte, linesAhead), strays: make(chan message, straysAhead),
	}, nil
}

// run starts what reads and writes. Each ends with the child or the link.
func (w *pipe) run() {
	for _, f := range []func(){w.write, w.read, w.rest, w.hear} {
		w.src.spawn(f)
	}
}

// roundTrip writes c's request and waits for what the reader hands over.
func (w *pipe) roundTrip(ctx context.Context, c *call) error {
	body, err := w.sign(ctx, c)
	if err != nil {
		return err
	}
	if err := w.post(ctx, body); err != nil {
		return err
	}
	c.sent = true
	return c.await(ctx)
}

// post hands a line to the child: at once where that can be done without waiting, or else to the writer. A change of
// goroutine costs more than all else that is done for a call.
func (w *pipe) post(ctx context.Context, body []byte) error {
	line := append(body, '\n')
	if w.atOnce(line) {
		return nil
	}
	w.ahead.Add(1)
	select {
	case w.lines <- line:
		return nil
	case <-ctx.Done():
		w.ahead.Add(-1)
		return context.Cause(ctx)
	}
}

// atOnce writes a line that the pipe takes as a whole or not at all (pipe(7), PIPE_BUF), unless others wait: none may
// overtake another.
func (w *pipe) atOnce(line []byte) bool {
	if len(line) > wholeWrite || !w.writing.TryLock() {
		return false
	}
	defer w.writing.Unlock()
	if w.ahead.Load() > 0 {
		return false
	}
	n := 0
	err := w.stdin.Write(func(fd uintptr) bool {
		n, _ = syscall.Write(int(fd), line) // what is wrong with it the writer finds out too
		return true
	})
	return err == nil && n == len(line)
}

// sign adds the user's credential to a request: over stdio each carries its own (contract of `_meta`).
func (w *pipe) sign(ctx context.Context, c *call) ([]byte, error) {
	credential, err := w.src.credential(ctx, c.from)
	if err != nil {
		return nil, err
	}
	if credential.Value != "" {
		w.link.secrets.note(credential.Value)
		c.params.meta.set(metaCredential, quote(credential.Value.Reveal()))
	}
	return c.body(), nil
}

func (w *pipe) send(ctx context.Context, body []byte, _ *connector.Call) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(w.link.life, func() { cancel(context.Cause(w.link.life)) })()
	return w.post(ctx, body)
}

// started has nothing to open: a pipe is always there.
func (w *pipe) started(*connector.Call) {}

// close lets the child end: its stdin first.
func (w *pipe) close([]*call) { w.child.end() }

// write feeds the child. A child that does not read holds up its own users only.
func (w *pipe) write() {
	defer w.child.stdin.Close()
	for {
		select {
		case line := <-w.lines:
			w.writing.Lock()
			_, err := w.child.stdin.Write(line)
			w.writing.Unlock()
			if w.ahead.Add(-1); err != nil {
				return // it has ended; the reader says so
			}
		case <-w.link.life.Done():
			return
		}
	}
}

// read takes the child's lines until its stdout ends, which ends the link. What is left of the process goes too: the
// one that holds the pipe may not be the one that we started.
func (w *pipe) read() {
	r := bufio.NewReaderSize(w.child.stdout, 64<<10)
	for {
		line, err := w.line(r)
		if len(line) > 0 {
			w.take(line)
		}
		if err != nil {
			w.link.end(errExited)
			w.child.end()
			return
		}
	}
}

// line reads one line. One that is too long is read to its end within bounds and dropped: whose answer it was cannot
// be known, so all that wait are told.
func (w *pipe) line(r *bufio.Reader) ([]byte, error) {
	var line []byte
	length := int64(0)
	for {
		part, err := r.ReadSlice('\n')
		if length += int64(len(part)); length <= w.src.cfg.MaxBytes {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) && length <= drain*w.src.cfg.MaxBytes {
			continue
		}
		if length > w.src.cfg.MaxBytes {
			for _, c := range w.link.waiting() {
				c.fail(errTooLong)
			}
			line = nil
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, errTooLong
		}
		return bytes.TrimSpace(line), err
	}
}

// take hands a line to whom it belongs.
func (w *pipe) take(line []byte) {
	m, err := w.link.parse(line)
	if err != nil {
		w.broken(line, err)
		return
	}
	l := w.link
	switch {
	case m.method == "":
		if c := l.find(m.id); c != nil && c.push(m) {
			return
		}
		w.unknown(m)
	case m.method == "notifications/progress":
		if c := l.find(objectOf(m.params).get("progressToken")); c != nil {
			c.push(m)
		}
	case m.isRequest():
		m.after = l.marks() // the answer to a modern client is a question, and ends what it hears
		w.aside(m)          // it must not end with a call that it may not belong to
	case m.method == "notifications/cancelled":
		l.unasked(objectOf(m.params).get("requestId"))
	default:
		for _, c := range l.addressed(m) {
			if !c.push(m) {
				w.aside(m)
			}
		}
	}
}

// addressed returns the listening call that a notification names, or those that it concerns without a name.
func (l *link) addressed(m message) []*call {
	id := objectOf(objectOf(m.params).get("_meta")).get(metaSubscription)
	if c := l.find(id); id != nil && c != nil {
		return []*call{c}
	}
	return l.route(m)
}

// aside queues what belongs to no call. What nobody takes in time is dropped: the reader must not wait for a client.
func (w *pipe) aside(m message) {
	select {
	case w.strays <- m:
	default:
		w.brake.warn(w.src.log, "connector says more than its client takes; dropped", "method", m.method)
	}
}

// rest works on what belongs to no call.
func (w *pipe) rest() {
	for {
		select {
		case m := <-w.strays:
			w.link.stray(w.link.life, m)
		case <-w.link.life.Done():
			return
		}
	}
}

// unknown is an answer that nobody waits for. Late ones come after a cancellation; an id that we have never used
// means that somebody waits in vain, and if it can be only one, he is told.
func (w *pipe) unknown(m message) {
	var id int64
	if json.Unmarshal(m.id, &id) == nil && id > 0 && id <= w.src.ids.Load() && string(number(id)) == string(m.id) {
		return
	}
	w.brake.warn(w.src.log, "connector answers a request that there was not", "reason", "connector_bad_answer")
	w.blame(errWrongID)
}

// broken is a line that is no message. Some servers print other things to stdout; only what begins like a message is
// taken for an answer.
func (w *pipe) broken(line []byte, cause error) {
	w.brake.warn(w.src.log, "connector writes to stdout what is no message", "reason", "connector_bad_answer", "error", cause)
	if line[0] != '{' && !bytes.HasPrefix(line, []byte("[{")) {
		return
	}
	var head struct {
		ID json.RawMessage `json:"id"`
	}
	// encoding/json forgives what we do not: enough to know who waits for this
	if json.Unmarshal(line, &head) == nil && head.ID != nil {
		if c := w.link.find(head.ID); c != nil {
			c.fail(cause)
		}
		return
	}
	w.blame(cause)
}

// blame fails the one call that waits; of several nobody knows which.
func (w *pipe) blame(cause error) {
	if waiting := w.link.waiting(); len(waiting) == 1 {
		waiting[0].fail(cause)
	}
}

// stderrLine is how many bytes of a line of a child go into our log.
const stderrLine = 1 << 10

// redact hides what a child was given: some print their environment, or each request.
func (w *pipe) redact(line string) string {
	if secret := w.src.secret; secret != "" {
		line = strings.ReplaceAll(line, secret.Reveal(), secret.String())
	}
	return w.link.secrets.redact(line)
}

// hear puts a child's stderr into the log, line by line, at a bounded rate.
func (w *pipe) hear() {
	defer w.child.stderr.Close()
	r := bufio.NewReaderSize(w.child.stderr, stderrLine)
	var own brake
	for {
		line, long, err := r.ReadLine()
		if err != nil {
			return
		}
		kept := string(bytes.ToValidUTF8(line, []byte("?")))
		for long && err == nil {
			_, long, err = r.ReadLine()
		}
		if dropped, ok := own.pass(); ok {
			w.src.log.Info("connector writes to stderr", "line", w.redact(kept), "dropped", dropped)
		}
	}
}
