package storage

import (
	"context"

	bolt "go.etcd.io/bbolt"
)

// FailCommits puts a fault in front of, or behind, the store's commits: what the disk does at a moment that no test
// can choose from outside. Call it before the store is used.
func (s *Store) FailCommits(commit func(real func() error) error) {
	s.commitTx = func(tx *bolt.Tx) error {
		err := commit(tx.Commit)
		if err != nil {
			_ = tx.Rollback() // as bbolt does; after a real commit it does nothing
		}
		return err
	}
}

// Poison runs a transition that fails as a damaged record does, after it has written.
func (s *Store) Poison(err error) error {
	return s.write(context.Background(), func(t *txn) error {
		t.put(metaBucket, "poison", []byte{1})
		if err == nil {
			panic("poison")
		}
		return err
	})
}
