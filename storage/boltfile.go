package storage

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// How bbolt opens the file, and what it leaves to others.

const (
	lockWait = time.Second // bbolt's 0 waits for ever
	mapSize  = 1 << 30     // of address space: a growing file then waits for no reader, however long a backup takes
)

// boltOptions: the free list is kept on disk, or a start would walk the whole file; as a map, or a sweep that freed much
// would slow every commit after it.
func boltOptions() *bolt.Options {
	return &bolt.Options{
		Timeout: lockWait, FreelistType: bolt.FreelistMapType, NoStatistics: true, InitialMmapSize: mapSize,
	}
}

// openFile takes the lock. bbolt would make a missing file, and a store of an empty one; prepare has seen to it that there
// is one.
func (s *Store) openFile() error {
	var file *os.File
	options := boltOptions()
	options.OpenFile = func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
		file, err = os.OpenFile(name, flag, mode)
		return file, err
	}
	err := notEmpty(s.path)
	if err == nil {
		err = guarded(func() (err error) {
			s.db, err = bolt.Open(s.path, 0o600, options)
			return err
		})
	}
	if errors.Is(err, errDamaged) && file != nil {
		// bbolt gave up in the midst of it. What it has mapped would hold the lock as long as we live.
		_ = unix.Flock(int(file.Fd()), unix.LOCK_UN)
		_ = file.Close()
	}
	if err == nil {
		err = s.checkFile(file)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return faultf(ErrLocked, "data_dir %s is in use by another hostedmcp: stop that process, or give this one another data_dir", s.opt.Dir)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, errDamaged):
		return faultf(ErrSchema, "%s is not a store (%v): restore a backup, or start a new data_dir", s.called, err)
	}
	return faultf(ErrFolder, "%s cannot be opened (%v): let the user who runs hostedmcp read and write it", s.called, plainError(err))
}

// checkFile looks at what bbolt leaves to others: that the file is whole, and that it still is the one at the path. A
// Restore may have renamed another over it while we waited for the lock.
func (s *Store) checkFile(file *os.File) error {
	held, err := file.Stat()
	if err != nil {
		return errors.Join(err, s.db.Close())
	}
	if now, err := os.Stat(s.path); err != nil || !os.SameFile(held, now) {
		return errors.Join(bolterrors.ErrTimeout, s.db.Close())
	}
	if err := whole(s.db, held.Size()); err != nil {
		return errors.Join(err, s.db.Close())
	}
	return nil
}

func notEmpty(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Size() == 0 {
		return fmt.Errorf("%w: the file is empty", errDamaged)
	}
	return err
}

// whole holds the size of a file against what its pages need.
func whole(db *bolt.DB, size int64) error {
	var needs int64
	err := db.View(func(tx *bolt.Tx) error { needs = tx.Size(); return nil })
	if err == nil && size < needs {
		err = fmt.Errorf("%w: %d bytes of %d", errDamaged, size, needs)
	}
	return err
}

// guarded runs what reads a file that may be damaged in any way: bbolt panics over a page that makes no sense, and
// what a file lacks that was cut off faults where it is mapped.
func guarded(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return read()
}
