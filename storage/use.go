package storage

import (
	"context"
	"sync"
	"time"
)

// Uses of access tokens are noted in memory and flushed, so that a call costs no write (protocol.md §5.3, `used`). A
// crash loses at most the last seconds, and errs to unused: a client whose answer was lost still gets its successor.

// lastUseEvery is how coarse the stored time of last use is: a busy grant is written once a minute, not every flush.
const lastUseEvery = time.Minute

type use struct {
	gen  uint32    // highest generation of which an access token was accepted
	last time.Time // of any call

	savedGen  uint32 // what the file has of both
	savedLast time.Time
}

// uses is what memory knows beyond the file.
type uses struct {
	mu sync.Mutex
	m  map[string]use
}

func (u *uses) note(id string, gen uint32, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.m == nil {
		u.m = map[string]use{}
	}
	e := u.m[id]
	e.gen = max(e.gen, gen)
	if now.After(e.last) {
		e.last = now
	}
	u.m[id] = e
}

// merge adds to a grant what is known of its use.
func (u *uses) merge(g *grantRecord) {
	u.mu.Lock()
	e, ok := u.m[g.ID]
	u.mu.Unlock()
	if !ok {
		return
	}
	// Generation 0 stands for a use that is none of an access token.
	g.Used = g.Used || e.gen == g.Gen && e.gen != 0
	if e.last.After(g.LastUse) {
		g.LastUse = e.last
	}
}

// waiting takes a copy of what is to be written, and drops what has long been.
func (u *uses) waiting(now time.Time, everything bool) map[string]use {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := map[string]use{}
	for id, e := range u.m {
		switch {
		case e.gen == e.savedGen && e.last.Equal(e.savedLast): // not used since the last flush
			delete(u.m, id)
		case e.gen != e.savedGen, now.Sub(e.savedLast) >= lastUseEvery, everything:
			out[id] = e
		}
	}
	return out
}

// saved notes what the file has now; later uses stay.
func (u *uses) saved(batch map[string]use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, e := range batch {
		if now, ok := u.m[id]; ok {
			now.savedGen, now.savedLast = e.gen, e.last
			u.m[id] = now
		}
	}
}

// Use notes that an access token of a grant's generation was accepted. It costs no write and cannot fail.
func (s *Store) Use(id string, gen uint32, now time.Time) { s.uses.note(id, gen, now) }

// FlushUse writes all uses to the file. Errors: ErrUnavailable; nothing is lost then, the next flush has it.
func (s *Store) FlushUse(ctx context.Context) error { return s.flush(ctx, true) }

func (s *Store) flush(ctx context.Context, everything bool) error {
	all := s.uses.waiting(s.Now(), everything)
	for len(all) > 0 {
		batch := map[string]use{}
		for id, e := range all {
			if len(batch) == batchMax {
				break
			}
			batch[id] = e
			delete(all, id)
		}
		if err := s.write(ctx, func(t *txn) error { t.saveUses(batch); return nil }); err != nil {
			return err
		}
		s.uses.saved(batch)
	}
	return nil
}

// saveUses writes what is news to the file. A grant that rotated or ended meanwhile has said more than its uses do.
func (t *txn) saveUses(batch map[string]use) {
	for id, e := range batch {
		g, ok := t.grant(id)
		if !ok || !g.Living() {
			continue
		}
		used := e.gen == g.Gen && e.gen != 0 && !g.Used
		if !used && !e.last.After(g.LastUse) {
			continue
		}
		g.Used = g.Used || used
		if e.last.After(g.LastUse) {
			g.LastUse = e.last
		}
		t.saveGrant(g)
	}
}
