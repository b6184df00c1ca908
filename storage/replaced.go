package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// replaced is the file that a backup takes the place of: locked, so that no server starts on it, and read for what
// ended in it, so far as it can be read. Nothing is written to it.
type replaced struct {
	store *Store   // nil = it does not open
	lock  *os.File // then
	why   error
}

// takeReplaced takes the file at path; nil if there is none. Errors: ErrLocked.
func takeReplaced(o Options, path string) (*replaced, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	s := newStore(o, path)
	err := s.openFile()
	if err == nil {
		err = guarded(func() error { return s.db.View(func(tx *bolt.Tx) error { return s.readOld(tx) }) })
		if err == nil {
			return &replaced{store: s}, nil
		}
		_ = s.db.Close()
	}
	if errors.Is(err, ErrLocked) {
		return nil, err
	}
	lock, lockErr := lockFile(path)
	if lockErr != nil {
		return nil, faultf(ErrLocked, "%s is in use by another hostedmcp, or cannot be opened (%v): stop that process", path, plainError(lockErr))
	}
	return &replaced{lock: lock, why: err}, nil
}

// readOld checks that the file is a store of this issuer. Without its keys it still says which grants have ended.
func (s *Store) readOld(tx *bolt.Tx) error {
	t := &txn{Store: s, tx: tx, now: s.Now()}
	if err := s.readClear(t); err != nil {
		return err
	}
	if masters, err := s.opt.masterKeys(); err == nil {
		if keys, _, err := t.readKeys(masters); err == nil {
			s.keys.Store(keys)
		}
	}
	return t.fault
}

// lockFile locks as bbolt does, for a file that bbolt cannot open.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (o *replaced) close() {
	if o.store != nil {
		_ = o.store.db.Close()
	}
	if o.lock != nil {
		_ = o.lock.Close()
	}
}

// takeOver brings every tombstone of the replaced file into the new one. What cannot be read is said, and stops
// nothing: the operator restores because something is broken.
func (r *restoration) takeOver(ctx context.Context) error {
	if r.old.store == nil {
		r.TombstonesLost = r.old.why
		return nil
	}
	var wrong error // of the new store
	err := guarded(func() error {
		var ended []*grantRecord
		flush := func() { wrong = r.bury(ctx, ended); ended = nil }
		err := r.old.store.scan(ctx, grantsBucket, "", func(t *txn, id string, v []byte) bool {
			g := &grantRecord{Grant: Grant{ID: id}}
			if !decode(v, g) {
				r.TombstonesLost = fmt.Errorf("%w in %s", errDamaged, grantsBucket.name)
			} else if !g.Living() {
				ended = append(ended, g)
			}
			if len(ended) == restoreBatch {
				flush()
			}
			return wrong == nil
		})
		if err == nil && wrong == nil {
			flush()
		}
		return err
	})
	if wrong == nil && err != nil {
		if wrong = ctx.Err(); wrong == nil {
			r.TombstonesLost = err
		}
	}
	return wrong
}

// takeSigning takes over the signing keys of the replaced file if they are the newer ones: a key may have been replaced
// because a stranger knew it, and must not sign again. Those of another store say nothing about this one.
func (r *restoration) takeSigning(ctx context.Context) error {
	if r.old.store == nil || r.old.store.keys.Load() == nil {
		return nil
	}
	was, is := r.old.store.keys.Load(), r.new.keys.Load()
	if was.store != is.store || is.signing[0].Created.After(was.signing[0].Created) {
		return nil
	}
	return r.new.changeSigning(ctx, func(*txn, []SigningKey) []SigningKey { return slices.Clone(was.signing) })
}

// bury takes over a batch of tombstones in one commit. One whose parts cannot be read still ends what lives.
func (r *restoration) bury(ctx context.Context, ended []*grantRecord) error {
	parts := make([]*remains, len(ended))
	for i, g := range ended {
		parts[i] = r.old.store.remains(g)
	}
	return r.new.write(ctx, func(t *txn) error {
		for i, g := range ended {
			was, known := t.grant(g.ID)
			lives := known && was.Living()
			switch {
			case parts[i] != nil:
				t.entomb(was, g, parts[i])
			case lives:
				t.end(was, g.Ended, Event{At: g.EndedAt})
				t.saveGrant(was)
			default:
				continue
			}
			if lives {
				r.Ended++
			}
			if lives || !known {
				r.Tombstones++
			}
		}
		return nil
	})
}

// remains is what hangs from a tombstone.
type remains struct {
	key      []byte // family key, in clear
	identity Identity
	upstream *Upstream // to be revoked at the provider; nil = it was
	events   []Event
}

// remains reads them; nil if they do not all open.
func (s *Store) remains(g *grantRecord) *remains {
	var out remains
	err := s.view(func(t *txn) (err error) {
		if s.keys.Load() == nil {
			return errDamaged
		}
		t.load(identitiesBucket, g.ID, &out.identity)
		if u, ok := t.upstream(g.ID); ok {
			out.upstream = &u
		}
		out.events = t.eventsOf(g)
		out.key, err = s.keys.Load().ring.Open("family", g.key, grantsBucket.ad(g.ID))
		return err
	})
	if err != nil {
		return nil
	}
	return &out
}

// entomb writes a tombstone of another file, in the place of what is known of its grant here (nil = nothing).
func (t *txn) entomb(was, g *grantRecord, parts *remains) {
	if was != nil {
		t.forget(was)
	}
	g.key = t.ring().Seal("family", parts.key, grantsBucket.ad(g.ID))
	g.State = 0
	t.setState(g, StateEnded)
	t.index(subjectPrefix(indexEnded, g.Subject), g.ID)
	t.due(dueTombstone, g.look, g.ID)
	t.saveIdentity(g.ID, parts.identity)
	if parts.upstream != nil {
		t.saveUpstream(g, nil, *parts.upstream)
	}
	for _, e := range parts.events {
		t.saveEvent(g, e)
	}
	t.saveGrant(g)
}
