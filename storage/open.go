package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"hostedmcp/storage/seal"
)

// Store is the one file. All methods may be called from many goroutines.
type Store struct {
	opt      Options
	path     string
	called   string // path, in words to the operator
	db       *bolt.DB
	keys     atomic.Pointer[keyring]
	keysMu   sync.Mutex // for who replaces them
	retired  atomic.Pointer[retiredRing]
	rotating chan struct{} // holds one while a master or data key is being replaced
	clock    *clock
	reserve  *reserve
	metrics  *metrics
	boot     string // names this run in upstream intents

	restored           time.Time // the file became one of a backup then; zero = it did not
	createdDB, newKeys bool

	jobs     chan *job
	stopped  chan struct{}
	closing  sync.RWMutex
	closed   bool
	indoubt  indoubt
	trouble  atomic.Pointer[error]
	commitTx func(*bolt.Tx) error // (*bolt.Tx).Commit; the tests let it fail

	uses uses
	// what Tokens and Identity have read
	upstreams  opened[Upstream]
	identities opened[Identity]
	codes      unanswered[[32]byte, struct{}] // redeemed ones, by hash
	requests   unanswered[string, Request]    // taken ones, by id
}

// Open opens the store of a data folder and makes it, with its master key, if there is none. It refuses, naming the
// fix and touching nothing: another process on the file (ErrLocked), a file of another version (ErrSchema), of another
// issuer (ErrIssuer, protocol.md §2), under another or no master key (ErrKey), a folder that does not serve (ErrFolder).
func Open(ctx context.Context, o Options) (*Store, error) {
	s := newStore(o.withDefaults(), filepath.Join(o.Dir, fileName))
	master, err := s.prepare()
	if err != nil {
		return nil, err
	}
	if err := s.begin(ctx, []seal.Key{master}); err != nil {
		return nil, err
	}
	s.tidy()
	return s, nil
}

// openCopy opens a file beside the store, which the operator knows by another name.
func openCopy(ctx context.Context, o Options, path, called string, masters []seal.Key) (*Store, error) {
	s := newStore(o, path)
	s.called = called
	if err := s.begin(ctx, masters); err != nil {
		return nil, err
	}
	return s, nil
}

func newStore(o Options, path string) *Store {
	return &Store{
		opt: o, path: path, called: path, boot: rand.Text(), clock: newClock(o), commitTx: (*bolt.Tx).Commit,
		jobs: make(chan *job, batchMax), stopped: make(chan struct{}),
		rotating: make(chan struct{}, 1),
	}
}

// begin opens the file and lets the writer go.
func (s *Store) begin(ctx context.Context, masters []seal.Key) error {
	if err := s.openFile(); err != nil {
		return err
	}
	if err := s.start(ctx, masters); err != nil {
		return errors.Join(err, s.db.Close())
	}
	go s.writer()
	return nil
}

// tidy removes what a crash left beside the store and its key, which nobody else writes while the store is open.
func (s *Store) tidy() {
	dropTemps(s.path)
	if key, credential := s.opt.keyPath(); !credential {
		dropTemps(key)
	}
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

// start checks what the file says of itself, and touches it only after that.
func (s *Store) start(ctx context.Context, masters []seal.Key) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	var size int64
	settled := false
	err := s.db.View(func(tx *bolt.Tx) (err error) {
		size = tx.Size()
		settled, err = s.readMeta(&txn{Store: s, tx: tx, now: s.Now()}, masters)
		return err
	})
	if err != nil {
		return err
	}
	if err := tighten(s.path); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	if err := s.complete(settled); err != nil {
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

// Created reports whether Open made the file, and whether it made the master key.
func (s *Store) Created() (db, key bool) { return s.createdDB, s.newKeys }

// Path is where the file lies.
func (s *Store) Path() string { return s.path }

// RestoredAt is when the store was last restored from a backup; zero = never.
func (s *Store) RestoredAt() time.Time { return s.restored }

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

// Run flushes uses, watches the clock and finishes what RotateData began before a crash, until ctx ends. Everything due
// by time is Sweep's, which the caller drives.
func (s *Store) Run(ctx context.Context) error {
	var resumed sync.WaitGroup
	defer resumed.Wait()
	resumed.Go(func() { s.resume(ctx) })
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
