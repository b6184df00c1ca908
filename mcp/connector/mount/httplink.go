package mount

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"hostedmcp/mcp/connector"
)

// httpWire is a link over Streamable HTTP: each message is a POST of its own. In the older era the server may name a
// session, and there is a standing stream (GET) besides.
type httpWire struct {
	src  *source
	link *link

	mu      sync.Mutex
	session string // of the server; "" = it holds none
	ended   sync.Once

	listening atomic.Bool // to the standing stream
}

// roundTrip posts c's request and reads what comes back, be it one message or a stream of them.
func (w *httpWire) roundTrip(ctx context.Context, c *call) error {
	header, credential, err := w.head(ctx, c.from)
	if err != nil {
		return err
	}
	if w.link.modern {
		w.src.forms.head(header, c.method, c.params.object)
	}
	// The request ends with the call, but for one that was answered: its stream is read to the end first.
	own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	resp, sent, err := w.src.do(own, http.MethodPost, header, c.body())
	c.sent = sent
	if err != nil {
		stop()
		cancel(nil)
		if credential.Refused != nil && isRefused(err) {
			credential.Refused(ctx) // there may be another one for the next try
		}
		return w.gone(err)
	}
	c.resp = resp
	defer func() {
		if stop() && c.answered && mediaType(c.resp) == mediaStream {
			w.src.discard(c.resp.Body, cancel)
			return
		}
		_ = c.resp.Body.Close()
		cancel(nil)
	}()
	if c.method == methodInitialize {
		if err := w.adopt(resp.Header.Get("Mcp-Session-Id")); err != nil {
			return err
		}
	}
	return w.answer(ctx, c, resp)
}

// answer reads the body of an answer to c.
func (w *httpWire) answer(ctx context.Context, c *call, resp *http.Response) error {
	limit := w.src.cfg.MaxBytes
	switch mediaType(resp) {
	case mediaStream:
		return w.stream(ctx, c, resp)
	case mediaJSON:
	default:
		return errMedia
	}
	data, err := limited(resp, limit)
	if err != nil {
		return err
	}
	m, err := w.link.parse(data)
	bad := resp.StatusCode/100 != 2
	switch {
	case bad && (err != nil || m.fault == nil):
		return w.gone(refusal{code: resp.StatusCode}) // JSON, but no answer of JSON-RPC
	case err != nil:
		return err
	case bad && w.sessionID() != "" && resp.StatusCode == http.StatusNotFound:
		return w.gone(refusal{code: resp.StatusCode}) // a session that is unknown, in JSON
	case bad && m.id == nil:
		m.id = number(c.id) // refused before its id was read
	}
	if done, err := c.handle(ctx, m); done || err != nil {
		return err
	}
	return errNoAnswer
}

// stream reads the answer to c out of a stream.
func (w *httpWire) stream(ctx context.Context, c *call, resp *http.Response) error {
	limit := w.src.cfg.MaxBytes
	whole := int64(mostProgress) * limit
	if c.method == methodListen {
		whole = 0 // it lasts as long as the client listens
	}
	events := newEvents(resp.Body, limit, whole)
	for {
		data, err := events.next()
		if err == nil && data == nil {
			continue // an event without data
		}
		if err != nil {
			if back, resumed := w.resume(ctx, events.id, events.retry, c); resumed {
				_ = c.resp.Body.Close()
				c.resp = back
				events = newEvents(back.Body, limit, whole)
				continue
			}
			if events.goes && events.id == "" && !w.link.modern && ctx.Err() == nil {
				return w.elsewhere(ctx, c)
			}
			return err
		}
		m, err := w.link.parse(data)
		if err != nil {
			return err
		}
		if done, err := c.handle(ctx, m); done || err != nil {
			return err
		}
	}
}

// mostResumed bounds how often one answer's stream is taken up again.
const mostResumed = 10

// resume takes up a stream of the older era that the server broke off before the answer (MCP 2025-11-25 "Resumability
// and redelivery"): it said so by an event id.
func (w *httpWire) resume(ctx context.Context, id string, retry time.Duration, c *call) (*http.Response, bool) {
	if id == "" || w.link.modern || c.resumed >= mostResumed || ctx.Err() != nil {
		return nil, false
	}
	c.resumed++
	if !sleep(ctx, retry) {
		return nil, false
	}
	resp, err := w.listen(ctx, id, c.from)
	return resp, err == nil
}

// elsewhere waits for an answer whose own stream the server has ended with the word that it goes on, but not where: what
// is left is the standing stream.
func (w *httpWire) elsewhere(ctx context.Context, c *call) error {
	w.started(c.from)
	return c.await(ctx)
}

// send posts a notification or an answer.
func (w *httpWire) send(ctx context.Context, body []byte, from *connector.Call) error {
	header, err := w.header(ctx, from)
	if err != nil {
		return err
	}
	resp, _, err := w.src.do(ctx, http.MethodPost, header, body)
	if err != nil {
		return w.gone(err)
	}
	return resp.Body.Close()
}

// header is that of one request on this link.
func (w *httpWire) header(ctx context.Context, from *connector.Call) (http.Header, error) {
	h, _, err := w.head(ctx, from)
	return h, err
}

// head is header with the credential that is in it.
func (w *httpWire) head(ctx context.Context, from *connector.Call) (http.Header, connector.Credential, error) {
	h, credential, err := w.src.header(ctx, w.link, from)
	if err != nil {
		return nil, credential, err
	}
	h.Set("Content-Type", mediaJSON)
	h.Set("Accept", mediaJSON+", "+mediaStream)
	if w.link.hello != nil || w.link.modern {
		h.Set("Mcp-Protocol-Version", w.link.spoken)
	}
	if id := w.sessionID(); id != "" {
		h.Set("Mcp-Session-Id", id)
	}
	return h, credential, nil
}

// adopt takes the session id of an answer to initialize: visible ASCII (MCP 2025-11-25 "Session management").
func (w *httpWire) adopt(id string) error {
	if len(id) > 1024 {
		return errSession
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] >= 0x7f {
			return errSession
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.session = id
	return nil
}

func (w *httpWire) sessionID() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.session
}

// forget drops the session, so that close does not end what the server no longer knows.
func (w *httpWire) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.session = ""
}

// gone marks the refusal of a session: 404 to a request that named one.
func (w *httpWire) gone(err error) error {
	var status refusal
	if errors.As(err, &status) && status.code == http.StatusNotFound && w.sessionID() != "" {
		return refusal{code: status.code, sessionGone: true}
	}
	return err
}

// close ends the server's session, after the calls that are cut off: a server may wait for them. One that will not be
// ended is left to its own timeout.
func (w *httpWire) close(left []*call) { w.ended.Do(func() { w.quit(left) }) }

func (w *httpWire) quit(left []*call) {
	id := w.sessionID()
	if id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	// However late it is by now, the server hears the end itself.
	defer context.AfterFunc(w.src.parting, func() { time.AfterFunc(lastWords/2, cancel) })()
	told := w.cutOff(ctx, left)
	defer func() { <-told }()
	late := time.NewTimer(lastWords / 2)
	defer late.Stop()
	select {
	case <-told:
	case <-late.C:
	}
	h, err := w.header(ctx, w.link.latest())
	w.forget()
	if err != nil {
		return
	}
	resp, _, err := w.src.do(ctx, http.MethodDelete, h, nil)
	if err != nil {
		w.src.log.Debug("connector did not end its session", "error", err)
		return
	}
	_ = resp.Body.Close()
}

// cutOff tells the server of calls for which nobody waits any more; told is closed when it has heard. The end of the
// session says it too, so that need not wait for a server that does not listen.
func (w *httpWire) cutOff(ctx context.Context, left []*call) (told chan struct{}) {
	told = make(chan struct{})
	var all sync.WaitGroup
	for _, c := range left {
		all.Go(func() { _ = w.send(ctx, c.cancelled(), c.from) })
	}
	go func() {
		all.Wait()
		close(told)
	}()
	return told
}
