package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// One goroutine writes. It takes all transitions that wait (at most batchMax), runs them in one transaction and
// answers after the commit; while the disk syncs, the next batch gathers. So a commit's two syncs are shared by
// everybody who waits, and a lone caller waits for nobody.
const (
	batchMax   = 256
	probeEvery = 500 * time.Millisecond
)

// job is one transition on its way. run may be called twice (in a batch, then alone), so it sets all that it answers
// anew at each entry and has no side effects but through its txn.
type job struct {
	run  func(*txn) error
	done chan struct{}

	err    error // verdict or fault
	events []Event
	ended  []ended
	late   func() // tells what an earlier commit left in doubt; nil = nothing
}

// write runs one transition and returns its verdict (a refusal) or ErrUnavailable. Once handed over it is waited for,
// whatever becomes of ctx: nobody leaves without knowing whether it happened.
func (s *Store) write(ctx context.Context, run func(*txn) error) error {
	j := &job{run: run, done: make(chan struct{})}
	if err := s.hand(ctx, j); err != nil {
		return unavailable(err)
	}
	<-j.done
	if j.late != nil {
		j.late()
	}
	s.tell(j.events, j.ended)
	var verdict refusal
	if j.err != nil && !errors.As(j.err, &verdict) {
		return unavailable(j.err)
	}
	return j.err
}

var errClosed = errors.New("closed")

// hand gives a job to the writer.
func (s *Store) hand(ctx context.Context, j *job) error {
	s.closing.RLock() // Close waits for this lock before it stops the writer, so no job is left behind
	defer s.closing.RUnlock()
	if s.closed {
		return errClosed
	}
	select {
	case s.jobs <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// view runs one reading. Nothing is held when it returns.
func (s *Store) view(read func(*txn) error) error {
	var verdict error
	err := s.db.View(func(tx *bolt.Tx) error {
		t := &txn{Store: s, tx: tx, now: s.Now()}
		verdict = read(t)
		return t.fault
	})
	if err != nil {
		return unavailable(err)
	}
	return verdict
}

// writer is the goroutine.
func (s *Store) writer() {
	defer close(s.stopped)
	probe := time.NewTicker(probeEvery)
	defer probe.Stop()
	for {
		select {
		case j, ok := <-s.jobs:
			if !ok {
				return
			}
			s.batch(s.gather(j))
		case <-probe.C:
			if s.Ready() != nil {
				s.probe()
			}
		}
	}
}

// probe learns whether the disk takes commits again.
func (s *Store) probe() {
	err := s.settle()
	s.condition(err)
	if err != nil {
		return
	}
	if tell := s.settled(); tell != nil {
		go tell() // whoever is told may call the store, which waits for us
	}
}

// gather takes along whoever waits already. Nobody is waited for.
func (s *Store) gather(first *job) []*job {
	jobs := []*job{first}
	for len(jobs) < batchMax {
		select {
		case j, ok := <-s.jobs:
			if !ok {
				return jobs
			}
			jobs = append(jobs, j)
		default:
			return jobs
		}
	}
	return jobs
}

// batch runs jobs in one commit; if that fails, one by one, so that one bad transition costs no other its answer. If
// the disk itself refuses a commit, the first refusal speaks for the rest. What readers see already is not run again:
// it would meet its own doing, and take a code for replayed.
func (s *Store) batch(jobs []*job) {
	defer func() {
		for _, j := range jobs {
			close(j.done)
		}
	}()
	err := s.commit(jobs)
	var disk diskError
	if err == nil || len(jobs) == 1 || errors.As(err, &disk) && disk.visible {
		return
	}
	for i, j := range jobs {
		if err := s.commit([]*job{j}); errors.As(err, &disk) {
			for _, rest := range jobs[i+1:] {
				rest.forget(diskError{error: disk.error})
			}
			return
		}
	}
}

// forget makes j a transition that did not happen.
func (j *job) forget(err error) { j.err, j.events, j.ended = err, nil, nil }

// wrote tells the jobs that they are on the disk, with everything before them.
func (s *Store) wrote(jobs []*job) {
	tell := s.settled()
	for _, j := range jobs {
		j.late = tell
	}
	s.condition(nil)
}

// diskError is a transaction that could not begin or commit, as opposed to a transition that could not be run.
type diskError struct {
	error
	visible bool // readers see what could not be committed
}

// Unwrap returns the fault of the disk.
func (e diskError) Unwrap() error { return e.error }

// commit runs jobs in one transaction. After an error none of them has happened, as far as anybody can know.
func (s *Store) commit(jobs []*job) error {
	synced, err := s.try(jobs)
	if err == nil {
		if synced {
			s.wrote(jobs)
		}
		return nil
	}
	var disk diskError
	if errors.As(err, &disk) {
		if disk.visible {
			s.indoubt.note(jobs)
		}
		s.condition(err)
	}
	for _, j := range jobs {
		j.forget(err)
	}
	return err
}

// try is one attempt. A batch in which nobody wrote (verdicts only) costs no sync, unless it read what is in doubt.
func (s *Store) try(jobs []*job) (synced bool, err error) {
	tx, err := s.db.Begin(true)
	if err != nil {
		return false, diskError{error: err}
	}
	dirty := s.indoubt.is
	for _, j := range jobs {
		t := &txn{Store: s, tx: tx, now: s.Now()}
		if err := j.attempt(t); err != nil {
			_ = tx.Rollback()
			return false, err
		}
		dirty = dirty || t.dirty
	}
	if !dirty {
		_ = tx.Rollback()
		return false, nil
	}
	s.clock.stamp(&txn{Store: s, tx: tx, now: s.Now()})
	return true, s.sync(tx, len(jobs))
}

// attempt runs the transition. A panic in it is our own fault (503), not the end of the process: nothing of the batch
// is committed.
func (j *job) attempt(t *txn) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("transition panicked: %v", p)
		}
	}()
	j.err = j.run(t)
	j.events, j.ended = t.events, t.ended
	var verdict refusal
	if t.fault == nil && j.err != nil && !errors.As(j.err, &verdict) {
		t.fail(j.err)
	}
	return t.fault
}

// sync commits tx. If the disk fails after the new state has become visible (bbolt writes its meta page, then syncs
// it), whether it happened depends on what comes next: a further commit that succeeds makes it durable, since bbolt
// synced the pages before it wrote the meta page.
func (s *Store) sync(tx *bolt.Tx, n int) error {
	id, start := tx.ID(), time.Now()
	size := tx.Size()
	err := s.commitTx(tx)
	visible := err != nil && s.visible(id)
	if visible {
		err = s.settle()
	}
	if err != nil {
		return diskError{err, visible}
	}
	s.metrics.committed(n, time.Since(start), size)
	s.reserve.keep(size)
	return nil
}

// visible says whether readers see the transaction with this number.
func (s *Store) visible(id int) bool {
	seen := false
	_ = s.db.View(func(tx *bolt.Tx) error { seen = tx.ID() >= id; return nil })
	return seen
}

// settle commits nothing, to learn whether the disk takes commits.
func (s *Store) settle() error {
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	return s.commitTx(tx) // writes a free list and a meta page, and syncs both
}

// condition notes whether the last commit went through, and says so when that changes.
func (s *Store) condition(err error) {
	if err != nil {
		err = unavailable(err)
	}
	before := s.trouble.Swap(&err)
	switch {
	case err != nil && (before == nil || *before == nil):
		s.opt.Log.Error("the store cannot be written: make room or repair the disk, it goes on by itself", "error", err)
	case err == nil && before != nil && *before != nil:
		s.opt.Log.Info("the store can be written again")
	}
	s.metrics.ready(err == nil)
}

// Ready returns nil, or ErrUnavailable while the last commit failed. It recovers by itself: the writer tries twice a
// second.
func (s *Store) Ready() error {
	if err := s.trouble.Load(); err != nil {
		return *err
	}
	return nil
}
