package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"hostedmcp/auth/oauth"
)

// Restored tells what Restore did.
type Restored struct {
	Grants     int    // that live in the restored store
	Ended      int    // that lived in the backup and have ended since
	Tombstones int    // taken over from the replaced file: the Ended ones, and those of grants made after the backup
	Replaced   string // where the replaced file lies now, "" = there was none
	// TombstonesLost is why the replaced file could not be read, or not all of it: connections that ended after the
	// backup may live again. nil = it was read, or there was none.
	TombstonesLost error
	BackupAt       time.Time // when the backup was made, or last written if it is a plain copy
}

// restoration is one Restore under way.
type restoration struct {
	Restored
	opt  Options
	path string // of the store
	from string
	temp string
	old  *replaced // nil = nothing to replace
	new  *Store    // at temp
}

// Restore makes a backup the store of a data folder, which no process may have open. The backup is read and verified
// first, as a whole, and must belong to this issuer and open with the folder's master key, or with one that RotateMaster
// left beside it. What it says is then brought to the present:
//
//   - a grant that has ended since, by the file that it replaces, has ended; tombstones are taken over
//   - the provider's tokens are in doubt, for they may have been used since (protocol.md §8.3); each living grant's
//     journal says `restored`. Our own refresh tokens that are ahead of the backup are row 9 of §5.3
//   - of the signing keys of both files, if they are of one store, the newer ones stay: one that was replaced never
//     signs again
//   - what is good for once or short is gone: codes not redeemed, requests on their way, sign-ins of browsers
//
// It is made beside the store and renamed over it: a crash at any point leaves the old file or the new one. The
// replaced file is kept. Errors: ErrLocked, ErrFolder, ErrKey, ErrIssuer, ErrSchema (damaged, or no backup), each with
// the fix; those of ctx.
func Restore(ctx context.Context, o Options, from string) (Restored, error) {
	tell := o.OnEvent
	o.OnEvent, o.OnEnd, o.Registerer = nil, nil, nil // no server listens, and no line for each of a million grants
	r := &restoration{opt: o.withDefaults(), path: filepath.Join(o.Dir, fileName), from: from}
	defer r.close()
	for _, phase := range []func(context.Context) error{r.take, r.copy, r.verify, r.present, r.install} {
		if err := ctx.Err(); err != nil {
			return Restored{}, err
		}
		if err := phase(ctx); err != nil {
			return Restored{}, err
		}
	}
	if tell != nil {
		now := r.opt.Now().Round(0)
		tell(Event{At: now, Last: now, Count: 1, Reason: oauth.Restored})
	}
	return r.Restored, nil
}

// close lets go of everything, whatever came of it.
func (r *restoration) close() {
	if r.new != nil {
		_ = r.new.Close()
	}
	if r.temp != "" {
		_ = os.Remove(r.temp)
	}
	if r.old != nil {
		r.old.close()
	}
}

// take locks the file that is to be replaced, until the new one is in its place.
func (r *restoration) take(context.Context) error {
	if err := makeFolder(r.opt.Dir); err != nil {
		return err
	}
	old, err := takeReplaced(r.opt, r.path)
	r.old = old
	return err
}

// copy reads the backup into a file of its own beside the store.
func (r *restoration) copy(ctx context.Context) error {
	db, err := openBackup(r.from)
	if err != nil {
		return err
	}
	defer db.Close()
	r.temp = tempName(r.path)
	err = guarded(func() error {
		return db.View(func(tx *bolt.Tx) error { return compact(ctx, tx, r.temp, time.Time{}) })
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errDamaged):
		return faultf(ErrSchema, "%s is damaged (%v): restore another backup", r.from, err)
	case err != nil:
		return faultf(ErrFolder, "a copy of %s cannot be written beside %s (%v): make room there", r.from, r.path, plainError(err))
	}
	return nil
}

// openBackup opens it for reading; a store that a server has open is none.
func openBackup(path string) (db *bolt.DB, err error) {
	options := boltOptions()
	options.ReadOnly, options.InitialMmapSize = true, 0
	info, err := os.Stat(path)
	if err == nil {
		err = guarded(func() (err error) {
			if db, err = bolt.Open(path, 0o600, options); err != nil {
				return err
			}
			return whole(db, info.Size())
		})
	}
	if err != nil && db != nil {
		_ = db.Close()
	}
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, faultf(ErrLocked, "%s is the open store of a hostedmcp, not a backup: make one with: hostedmcp backup FILE", path)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return nil, faultf(ErrFolder, "%s cannot be read: %v", path, plainError(err))
	}
	return nil, faultf(ErrSchema, "%s is not a backup (%v): restore another file", path, err)
}

// verify opens the copy and reads all of it.
func (r *restoration) verify(ctx context.Context) error {
	masters, err := r.opt.masterKeys()
	if err != nil {
		return err
	}
	err = guarded(func() error {
		var err error
		if r.new, err = openCopy(ctx, r.opt, r.temp, r.from, masters); err != nil {
			return err
		}
		r.new.db.NoSync = true // install brings it to the disk
		if err := r.new.Verify(); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		r.BackupAt = r.new.clock.base.wall
		return r.new.view(func(t *txn) error {
			if v := t.get(metaBucket, backupKey); len(v) == 8 {
				r.BackupAt = time.Unix(int64(binary.BigEndian.Uint64(v)), 0).UTC()
			}
			return nil
		})
	})
	if errors.Is(err, errDamaged) {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return faultf(ErrSchema, "%s is damaged (%s): restore another backup", r.from, first)
	}
	return err
}

// install puts the new file in the place of the old one.
func (r *restoration) install(ctx context.Context) error {
	s := r.new
	r.new = nil
	err := s.Close()
	if err == nil {
		err = owned(r.temp, r.path)
	}
	if err == nil {
		err = syncPath(r.temp)
	}
	if err == nil && r.old != nil {
		r.Replaced, err = r.opt.keep(ctx, r.path)
	}
	if err == nil {
		if r.old != nil {
			err = os.Rename(r.temp, r.path)
		} else {
			err = renameNew(r.temp, r.path)
		}
	}
	if err == nil {
		err = syncPath(filepath.Dir(r.path))
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return faultf(ErrLocked, "a store was made in %s meanwhile: stop the hostedmcp that did, and restore again", r.opt.Dir)
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return faultf(ErrFolder, "the restored store cannot take its place in %s (%v): let the user who runs hostedmcp write there, "+
			"and make room", r.opt.Dir, plainError(err))
	}
	return nil
}
