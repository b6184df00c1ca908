package mcp

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// brokenWriter is a connection that breaks after some writes.
type brokenWriter struct {
	left   int
	header http.Header
	got    bytes.Buffer
}

func (b *brokenWriter) Header() http.Header { return b.header }
func (b *brokenWriter) WriteHeader(int)     {}
func (b *brokenWriter) FlushError() error   { return nil }
func (b *brokenWriter) Write(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errors.New("broken")
	}
	b.left--
	return b.got.Write(p)
}

// resumableWriter is the answer to a call of a session, over a connection that takes so many writes.
func resumableWriter(writes int) (*writer, *sessionPeer, *brokenWriter) {
	under := &brokenWriter{left: writes, header: http.Header{}}
	p := &sessionPeer{hold: &hold{time: time.Hour}}
	w := &writer{under: under, flush: *http.NewResponseController(under), header: http.Header{}, post: true, id: []byte("1"),
		own: new(atomic.Bool), ctx: context.Background()}
	w.resumable(p, nil)
	return w, p, under
}

func (r *replay) text() string {
	events, _, _, _ := r.read(0)
	return string(bytes.Join(events, nil))
}

// TestAskedOnce: a question whose connection breaks under it waits for the client once, not twice.
func TestAskedOnce(t *testing.T) {
	w, p, _ := resumableWriter(1)
	w.prime()
	message := []byte(`{"id":"hm1"}`)
	if w.event(message) != nil && !p.tell(message) && !w.keep(message) { // as sessionPeer.ask
		t.Fatal("nobody hears")
	}
	if text := w.replay.text(); strings.Count(text, "hm1") != 1 {
		t.Error(text)
	}
}

// TestAnswerIsLast: nothing follows the answer of a call, and if that is lost its client hears so.
func TestAnswerIsLast(t *testing.T) {
	w, p, _ := resumableWriter(9)
	w.prime()
	defer w.replay.reading()()
	p.hold.bytes = maxHeld - 300
	w.reply(200, []byte(`{"id":1,"result":"`+strings.Repeat("x", 400)+`"}`))
	w.event([]byte(`{"method":"late"}`))
	defer p.end()
	text := w.replay.text()
	if strings.Contains(text, "late") || !strings.Contains(text, `"error"`) {
		t.Error(text)
	}
}

// TestKeptOrNot: what cannot be kept is not said to be.
func TestKeptOrNot(t *testing.T) {
	w, p, _ := resumableWriter(9)
	w.prime()
	defer p.end()
	p.hold.bytes = maxHeld
	if w.keep([]byte(`{"id":"hm1"}`)) {
		t.Error("kept")
	}
}

// TestReplayAfterEnd: a session that has ended keeps nothing.
func TestReplayAfterEnd(t *testing.T) {
	w, p, _ := resumableWriter(9)
	p.end()
	w.prime()
	w.event([]byte(`{"method":"m"}`))
	if n := p.hold.bytes; n != 0 {
		t.Error(n)
	}
}

// TestHoldIsShared: one user's answers take no room from others, calls under way give way to nobody, and answered ones do.
func TestHoldIsShared(t *testing.T) {
	h := &hold{time: time.Hour}
	big := bytes.Repeat([]byte("x"), 4<<20)
	begin := func(subject string) (*sessionPeer, *replay) {
		p := &sessionPeer{hold: h, subject: subject}
		return p, p.newReplay([]byte("1"), nil)
	}
	fill := func(subject string) (held int) {
		for range 5 {
			p, r := begin(subject)
			if _, ok := r.add(big, true); ok {
				held++
			}
			p.retire(r)
		}
		return held
	}
	if n := fill("alice"); n != 3 {
		t.Errorf("one user has room for %d of them", n)
	}
	_, running := begin("bob")
	if _, held := running.add(big, false); !held {
		t.Error("one user's answers take the room of another")
	}
	for i := range 12 {
		fill(strings.Repeat("c", i+1))
	}
	if _, held := running.add([]byte("y"), false); !held || h.bytes > maxHeld {
		t.Errorf("%v, %d bytes", held, h.bytes)
	}
	if running.text() == "" || running.dropped {
		t.Error("a call under way gave way")
	}
}
