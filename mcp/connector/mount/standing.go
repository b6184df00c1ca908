package mount

import (
	"context"
	"errors"
	"net/http"
	"time"

	"hostedmcp/mcp/connector"
)

// This file reads the standing stream of the older era, and opens streams by GET (MCP 2025-11-25 "Listening for messages
// from the server", "Resumability and redelivery").

// started opens the standing stream of the older era, on which the server says what belongs to no call, unless it is
// open.
func (w *httpWire) started(*connector.Call) {
	if !w.listening.CompareAndSwap(false, true) {
		return
	}
	w.src.spawn(func() {
		defer w.listening.Store(false)
		for fails := 0; w.link.alive() && fails < mostStanding; fails++ {
			began := w.src.now()
			again, last, retry := w.standing(w.link.life)
			if !again {
				return
			}
			if w.src.now().Sub(began) >= longLife || last != "" {
				fails = 0
			}
			if !sleep(w.link.life, max(retry, pause(fails+1))) {
				return
			}
		}
	})
}

// mostStanding bounds how often a standing stream that will not stand is opened.
const mostStanding = 10

// standing reads the standing stream until it ends; again says that it may be opened anew.
func (w *httpWire) standing(ctx context.Context) (again bool, last string, retry time.Duration) {
	resp, err := w.listen(ctx, "", w.link.latest())
	if err != nil {
		var status refusal
		// 405: there is none here (MCP 2025-11-25 "Listening for messages from the server"). Others say 404 or 400.
		return !errors.As(err, &status) || status.trouble(), "", 0
	}
	defer resp.Body.Close()
	events := newEvents(resp.Body, w.src.cfg.MaxBytes, 0)
	var own brake
	for {
		data, err := events.next()
		if err != nil {
			return true, events.id, events.retry
		}
		if data == nil {
			continue
		}
		m, err := w.link.parse(data)
		if err == nil && w.link.belongs(m) {
			continue
		}
		if err != nil || m.method == "" {
			own.warn(w.src.log, "connector says what cannot be read on its standing stream", "error", err)
			continue
		}
		w.link.stray(ctx, m)
	}
}

// belongs hands a message to the call that it names, if there is one: some servers answer on this stream.
func (l *link) belongs(m message) bool {
	id := m.id
	switch {
	case m.method == "notifications/progress":
		id = objectOf(m.params).get("progressToken")
	case m.method != "":
		return false
	}
	c := l.find(id)
	return c != nil && c.push(m)
}

// listen opens a stream by GET: the standing one, or with an event id a broken one anew.
func (w *httpWire) listen(ctx context.Context, after string, from *connector.Call) (*http.Response, error) {
	h, err := w.header(ctx, from)
	if err != nil {
		return nil, err
	}
	h.Del("Content-Type")
	h.Set("Accept", mediaStream)
	if after != "" {
		h.Set("Last-Event-Id", after)
	}
	resp, _, err := w.src.do(ctx, http.MethodGet, h, nil)
	if err != nil {
		return nil, err
	}
	if mediaType(resp) != mediaStream || resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, refusal{code: resp.StatusCode}
	}
	return resp, nil
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
