package storage_test

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
	"hostedmcp/storage/storagetest"
)

// model is the refresh rule in its own words: what a client and a thief may see of one grant (protocol.md §5.3).
type model struct {
	gen               uint32
	used, flushed     bool // an access token of gen was accepted; and the file knows
	issued            time.Time
	lastUse, lastDisk time.Time
	made              time.Time
	ended             oauth.Reason
}

func (m *model) refresh(now time.Time, gen uint32, right bool, l storage.Limits) (storage.Row, uint32) {
	if m.ended != "" {
		return storage.RowEnded, 0
	}
	if !right {
		return storage.RowOtherClient, 0
	}
	if now.Sub(m.lastUse) > l.Idle {
		m.ended = oauth.GrantIdle
		return storage.RowTooOld, 0
	}
	if now.Sub(m.made) > l.MaxAge {
		m.ended = oauth.GrantMaxAge
		return storage.RowTooOld, 0
	}
	switch {
	case gen > m.gen:
		return storage.RowAhead, 0
	case gen == m.gen:
		m.gen, m.used, m.flushed = m.gen+1, false, false
		m.issued, m.lastUse, m.lastDisk = now, now, now
		return storage.RowCurrent, m.gen
	case gen+1 == m.gen && (!m.used || now.Sub(m.issued) <= l.RetryWindow):
		m.lastUse = now
		return storage.RowPrevious, m.gen
	case gen+1 == m.gen:
		m.ended = oauth.RefreshReuse
		return storage.RowReuse, 0
	}
	m.ended = oauth.RefreshReuse
	return storage.RowOlder, 0
}

func (m *model) use(now time.Time, gen uint32) {
	if m.ended == "" {
		m.used = m.used || gen == m.gen
		m.lastUse = now
	}
}

func (m *model) flush() {
	if m.ended == "" {
		m.flushed, m.lastDisk = m.used, m.lastUse
	}
}

func (m *model) crash() { m.used, m.lastUse = m.flushed, m.lastDisk }

// Histories run on several stores at a time, and a store is thrown away when it has seen some of them: a crash copies
// the file. -rapid.checks counts the histories of one shard: -rapid.checks=25000 makes 100,000 in all (-v says so).
const (
	modelShards = 4
	modelStore  = 100 // histories
)

// TestModel runs random histories of one grant each against the model. Lost answers are refreshes with an older
// generation; two processes are that too.
func TestModel(t *testing.T) {
	t.Parallel()
	var histories atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d histories", histories.Load())
		checks := int64(atoi(flag.Lookup("rapid.checks").Value.String()))
		if n := histories.Load(); n < modelShards*checks && !testing.Short() && !t.Failed() {
			t.Errorf("%d histories of %d: give it a longer -timeout", n, modelShards*checks)
		}
	})
	for shard := range modelShards {
		t.Run(fmt.Sprint(shard), func(t *testing.T) {
			t.Parallel()
			dir := memory(t)
			h := newHarness(t, func(o *storage.Options) { o.Reserve = 64 << 10; o.OnEvent, o.OnEnd = nil, nil })
			t.Cleanup(func() { h.check(); h.must(h.Close()) })
			seen := 0
			rapid.Check(t, func(rt *rapid.T) {
				if seen%modelStore == 0 {
					h.renew(dir)
				}
				seen++
				h.history(rt)
				histories.Add(1)
			})
		})
	}
}

// memory is a folder whose syncs cost nothing, if the machine has one and nobody asked for another.
func memory(t *testing.T) string {
	t.Helper()
	if info, err := os.Stat("/dev/shm"); err != nil || !info.IsDir() || os.Getenv("TMPDIR") != "" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "hostedmcp-model-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// renew checks the store, throws it away and goes on with a new one.
func (h *harness) renew(root string) {
	h.Helper()
	h.check()
	h.must(h.Close())
	h.must(os.RemoveAll(h.opts.Dir))
	dir, err := os.MkdirTemp(root, "")
	h.must(err)
	h.opts.Dir, h.secrets, h.clock = dir, nil, storagetest.NewClock() // centuries would not fit into a duration
	h.clock.Use(&h.opts)
	h.Store, err = storage.Open(h.Context(), h.opts)
	h.must(err)
	h.register(testClient)
}

// history is one grant's life, step by step beside the model.
func (h *harness) history(rt *rapid.T) {
	l := h.connect()
	m := &model{gen: 1, issued: h.Now(), lastUse: h.Now(), lastDisk: h.Now(), made: h.Now()}
	now := func() time.Time { return h.Now().Truncate(time.Second) }
	rt.Repeat(map[string]func(*rapid.T){
		"": func(rt *rapid.T) {
			g := h.grant(l.id)
			if g.Gen != m.gen || g.Ended != m.ended || m.ended == "" && g.Used != m.used {
				rt.Fatalf("store: generation %d, used %v, ended %q; model: %d, %v, %q", g.Gen, g.Used, g.Ended, m.gen, m.used, m.ended)
			}
		},
		"refresh": func(rt *rapid.T) {
			gen := uint32(max(1, int(m.gen)-rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2, -1}).Draw(rt, "behind")))
			p := h.present(l.id, gen)
			right := rapid.IntRange(0, 9).Draw(rt, "client") > 0
			if !right {
				p.ClientID = "other"
			}
			wantRow, wantGen := m.refresh(now(), gen, right, h.limits)
			g, row, _, err := h.RotateRefresh(h.Context(), p)
			if err != nil || row != wantRow || wantGen != 0 && g.Gen != wantGen {
				rt.Fatalf("refresh of %d: row %d, generation %d, %v; want %d, %d", gen, row, g.Gen, err, wantRow, wantGen)
			}
		},
		"use": func(rt *rapid.T) {
			gen := uint32(max(1, int(m.gen)-rapid.IntRange(0, 1).Draw(rt, "behind")))
			m.use(now(), gen)
			h.Use(l.id, gen, now())
		},
		"time": func(rt *rapid.T) {
			h.clock.Advance(time.Duration(rapid.SampledFrom([]int{1, 20, 59, 61, 3600, 86400, 20 * 86400}).Draw(rt, "seconds")) * time.Second)
		},
		"flush": func(rt *rapid.T) {
			m.flush()
			h.must(h.FlushUse(h.Context()))
		},
		"crash": func(rt *rapid.T) {
			if rapid.IntRange(0, 3).Draw(rt, "rarely") == 0 {
				m.crash()
				h.crash()
			}
		},
		"revoke": func(rt *rapid.T) {
			if rapid.IntRange(0, 9).Draw(rt, "rarely") == 0 {
				_, err := h.EndGrant(h.Context(), l.id, oauth.UserRevoked, storage.Event{})
				h.must(err)
				if m.ended == "" {
					m.ended = oauth.UserRevoked
				}
			}
		},
	})
}

// crash goes on with what the file holds now, as after a SIGKILL; the old store keeps a file of its own to close into.
func (h *harness) crash() {
	h.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(h.opts.Dir), "")
	h.must(err)
	for _, name := range []string{"hostedmcp.db", "master.key"} {
		from, err := os.Open(filepath.Join(h.opts.Dir, name))
		h.must(err)
		to, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY, 0o600)
		h.must(err)
		_, err = io.CopyN(to, from, max(h.Size(), 1<<16)) // the rest is reserve
		if err != io.EOF {
			h.must(err)
		}
		h.must(from.Close())
		h.must(to.Close())
	}
	old, was := h.Store, h.opts.Dir
	h.opts.Dir = dir
	h.Store, err = storage.Open(h.Context(), h.opts)
	h.must(err)
	h.must(old.Close())
	h.must(os.RemoveAll(was))
}
