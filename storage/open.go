package storage

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"hostedmcp/storage/seal"
)

// Store is the one file. All methods may be called from many goroutines.
type Store struct {
	opt     Options
	path    string
	db      *bolt.DB
	keys    atomic.Pointer[keyring]
	keysMu  sync.Mutex // for who replaces them
	clock   *clock
	reserve *reserve
	metrics *metrics
	boot    string // names this run in upstream intents

	restored           time.Time // the file is a restored backup since then
	createdDB, newKeys bool

	jobs     chan *job
	stopped  chan struct{}
	closing  sync.RWMutex
	closed   bool
	trouble  atomic.Pointer[error]
	commitTx func(*bolt.Tx) error // (*bolt.Tx).Commit; the tests let it fail

	uses     uses
	codes    unanswered[[32]byte, struct{}] // redeemed ones, by hash
	requests unanswered[string, Request]    // taken ones, by id
}

const (
	schemaVersion = 1
	schemaKey     = "schema"
	issuerKey     = "issuer"
	restoredKey   = "restored_at"

	lockWait = time.Second // bbolt's 0 waits for ever
	mapSize  = 1 << 30     // of address space: a growing file then waits for no reader, however long a backup takes
)

// Open opens the store of a data folder and makes it, with its master key, if there is none. It refuses, naming the
// fix and touching nothing: another process on the file (ErrLocked), a file of another version (ErrSchema), of another
// issuer (ErrIssuer, protocol.md §2), under another or no master key (ErrKey), a folder that does not serve (ErrFolder).
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{
		opt: o.withDefaults(), boot: rand.Text(), jobs: make(chan *job, batchMax), stopped: make(chan struct{}),
		commitTx: (*bolt.Tx).Commit,
	}
	s.path = filepath.Join(o.Dir, fileName)
	s.clock = newClock(s.opt)
	master, err := s.prepare()
	if err != nil {
		return nil, err
	}
	if err := s.openFile(); err != nil {
		return nil, err
	}
	if err := s.start(ctx, master); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	go s.writer()
	return s, nil
}

// prepare sees to folder, key and file.
func (s *Store) prepare() (seal.Key, error) {
	if err := makeFolder(s.opt.Dir); err != nil {
		return seal.Key{}, err
	}
	_, err := os.Stat(s.path)
	isNew := errors.Is(err, fs.ErrNotExist)
	master, created, err := s.opt.masterKey(isNew)
	if err != nil {
		return seal.Key{}, err
	}
	s.newKeys = created
	if !isNew {
		return master, nil
	}
	s.createdDB = true
	if err := place(s.path, func(temp string) error { return s.create(temp, master) }); err != nil {
		return seal.Key{}, faultf(ErrFolder, "the store %s cannot be made (%v): make room and let the user who runs hostedmcp "+
			"write there", s.path, plainError(err))
	}
	return master, nil
}

// create fills a new file: every bucket, and what meta must hold.
func (s *Store) create(path string, master seal.Key) error {
	db, err := bolt.Open(path, 0o600, boltOptions())
	if err != nil {
		return err
	}
	keys := seal.NewKeys()
	db.NoSync = true // place brings the whole file to the disk before it has its name
	signing, err := newSigningKey(s.Now())
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.keys.Store(&keyring{master: master, store: keys.Store, ring: keys.Ring})
	err = db.Update(func(tx *bolt.Tx) error {
		if err := makeBuckets(tx); err != nil {
			return err
		}
		t := &txn{Store: s, tx: tx, now: s.Now()}
		t.put(metaBucket, schemaKey, binary.BigEndian.AppendUint64(nil, schemaVersion))
		t.put(metaBucket, issuerKey, []byte(s.opt.Issuer))
		t.put(metaBucket, keysKey, keys.Wrap(master))
		t.saveMeta(signingKey, &signingKeys{[]SigningKey{signing}})
		s.clock.stamp(t)
		return t.fault
	})
	return errors.Join(err, db.Close())
}

// boltOptions: the free list is kept on disk, or a start would walk the whole file; as a map, or a sweep that freed much
// would slow every commit after it.
func boltOptions() *bolt.Options {
	return &bolt.Options{
		Timeout: lockWait, FreelistType: bolt.FreelistMapType, NoStatistics: true, InitialMmapSize: mapSize,
	}
}

// openFile takes the lock. bbolt would make a missing file; prepare has seen to it that there is one.
func (s *Store) openFile() error {
	var err error
	s.db, err = bolt.Open(s.path, 0o600, boltOptions())
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return faultf(ErrLocked, "data_dir %s is in use by another hostedmcp: stop that process, or give this one another data_dir", s.opt.Dir)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return faultf(ErrSchema, "%s is not a store (%v): restore a backup, or start a new data_dir", s.path, err)
	}
	return faultf(ErrFolder, "%s cannot be opened (%v): let the user who runs hostedmcp read and write it", s.path, plainError(err))
}

// start checks what the file says of itself, and touches it only after that.
func (s *Store) start(ctx context.Context, master seal.Key) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	var size int64
	err := s.db.View(func(tx *bolt.Tx) error {
		size = tx.Size()
		return s.readMeta(&txn{Store: s, tx: tx, now: s.Now()}, master)
	})
	if err != nil {
		return err
	}
	if err := tighten(s.path); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	if err := s.complete(); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	if s.reserve, err = newReserve(s.path, s.opt.Reserve, s.opt.Log); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	s.reserve.keep(size)
	s.metrics = newMetrics(s.opt.Registerer)
	s.metrics.committed(0, 0, size)
	s.metrics.ready(true)
	return nil
}

// complete makes the buckets that an older version of this schema had no use for.
func (s *Store) complete() error {
	missing := func(tx *bolt.Tx) bool {
		return slices.ContainsFunc(buckets, func(b bucket) bool { return tx.Bucket(b.raw) == nil })
	}
	whole := false
	if err := s.db.View(func(tx *bolt.Tx) error { whole = !missing(tx); return nil }); whole || err != nil {
		return err
	}
	return s.db.Update(makeBuckets)
}

func makeBuckets(tx *bolt.Tx) error {
	for _, b := range buckets {
		if _, err := tx.CreateBucketIfNotExists(b.raw); err != nil {
			return err
		}
	}
	return nil
}

// readMeta goes from what anybody may know of the file to what only the key opens.
func (s *Store) readMeta(t *txn, master seal.Key) error {
	for _, b := range buckets {
		if t.tx.Bucket(b.raw) == nil && !b.added {
			return faultf(ErrSchema, "%s is not a store: restore a backup, or start a new data_dir", s.path)
		}
	}
	if v := t.get(metaBucket, schemaKey); len(v) != 8 || binary.BigEndian.Uint64(v) != schemaVersion {
		return faultf(ErrSchema, "%s was written by another version of hostedmcp: run that version, or restore a backup made "+
			"with this one", s.path)
	}
	if pinned := string(t.get(metaBucket, issuerKey)); pinned != s.opt.Issuer {
		return faultf(ErrIssuer, "public_url is %s, but %s was made for %s and its tokens name that: set public_url back, or "+
			"start a new data_dir; all users sign in again", s.opt.Issuer, s.path, pinned)
	}
	keys, err := t.readKeys(master)
	if err != nil {
		return err
	}
	s.keys.Store(keys)
	t.load(metaBucket, clockKey, &s.clock.base)
	if v := t.get(metaBucket, restoredKey); len(v) == 8 {
		s.restored = time.Unix(int64(binary.BigEndian.Uint64(v)), 0).UTC()
	}
	return t.fault
}

// saveMeta and loadMeta keep a sealed record in meta, whose other values are in clear or wrapped.
func (t *txn) saveMeta(key string, r record) {
	t.put(metaBucket, key, t.keys.Load().ring.Seal("record/meta", encode(r), metaBucket.ad(key)))
}

func (t *txn) loadMeta(ring *seal.Ring, key string, r record) bool {
	plain, err := ring.Open("record/meta", t.get(metaBucket, key), metaBucket.ad(key))
	return err == nil && decode(plain, r)
}

// Created reports whether Open made the file, and whether it made the master key.
func (s *Store) Created() (db, key bool) { return s.createdDB, s.newKeys }

// Path is where the file lies.
func (s *Store) Path() string { return s.path }

// Size is how many bytes of the file are in use, free pages included, the reserve excluded. 0 = closed.
func (s *Store) Size() (size int64) {
	_ = s.db.View(func(tx *bolt.Tx) error { size = tx.Size(); return nil })
	return size
}

// Boot names this run of the process: upstream intents that carry another name were cut off by a crash.
func (s *Store) Boot() string { return s.boot }

// Close writes what is only in memory, waits for transitions under way, and lets go of the file. Later calls answer
// ErrUnavailable.
func (s *Store) Close() error {
	err := s.flush(context.Background(), true)
	s.closing.Lock()
	if s.closed {
		s.closing.Unlock()
		return nil
	}
	s.closed = true
	s.closing.Unlock()
	close(s.jobs)
	<-s.stopped
	return errors.Join(err, s.reserve.close(), s.db.Close())
}

// runEvery is how often what is in memory goes to the file (protocol.md §5.3, `used`).
const runEvery = 5 * time.Second

// Run flushes uses and watches the clock until ctx ends. Everything due by time is Sweep's, which the caller drives.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(runEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.Step(ctx)
		}
	}
}

// Step is one round of Run. A flush that fails is tried again at the next one; the writer has said why.
func (s *Store) Step(ctx context.Context) {
	s.clock.step()
	_ = s.flush(ctx, false)
}
