package storage

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

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

// CreateAll makes many grants and redeems their codes by the transitions of CreateGrant and RedeemCode, in one commit
// without a sync. Nothing else may use the store meanwhile.
func (s *Store) CreateAll(grants []NewGrant) error {
	s.db.NoSync = true
	defer func() { s.db.NoSync = false }()
	return s.write(context.Background(), func(t *txn) error {
		for _, n := range grants {
			g := t.newRecord(n)
			t.create(g, n)
			t.saveGrant(g)
			t.redeem(Redeem{Hash: n.CodeHash, ClientID: n.Code.ClientID, Resource: n.Code.Resource, Challenge: n.Code.Challenge, Memory: time.Hour})
		}
		return nil
	})
}

// Waiting is how many transitions the writer has not taken yet.
func (s *Store) Waiting() int { return len(s.jobs) }

// LinksFail makes every second name of a file fail: what some file systems say to all of them. Another error than those
// is one of os.Link itself; nil = none fails.
func (o *Options) LinksFail(err error) {
	o.link = func(file, name string) error { return &os.LinkError{Op: "link", Old: file, New: name, Err: err} }
	if err == nil {
		o.link = os.Link
	}
}

// Keep gives a file its second name.
func (o Options) Keep(ctx context.Context, path string) (string, error) {
	o.Now = func() time.Time { return time.Unix(1, 0) }
	return o.keep(ctx, path)
}

// Remind sets n reminders of the expiry of upstream tokens and of sessions, two a second from now on, without a sync.
func (s *Store) Remind(n int) error {
	s.db.NoSync = true
	defer func() { s.db.NoSync = false }()
	for i := 0; i < n; i += 100_000 {
		err := s.write(context.Background(), func(t *txn) error {
			for _, kind := range []dueKind{dueAccess, dueSession} {
				for j := i; j < min(i+100_000, n); j++ {
					t.due(kind, t.now.Add(time.Duration(j+1)*time.Second/2), fmt.Sprintf("%026d", j))
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Opened returns how many tokens and identities are remembered, and the bytes of both as sealed.
func (s *Store) Opened() (upstreams, identities, bytes int) {
	s.upstreams.mu.RLock()
	defer s.upstreams.mu.RUnlock()
	s.identities.mu.RLock()
	defer s.identities.mu.RUnlock()
	return len(s.upstreams.of), len(s.identities.of), s.upstreams.bytes + s.identities.bytes
}

// Swap puts the sealed upstream tokens and claims of one grant in the place of another's.
func (s *Store) Swap(from, to string) error {
	return s.write(context.Background(), func(t *txn) error {
		for _, b := range []bucket{upstreamBucket, identitiesBucket} {
			t.put(b, to, slices.Clone(t.get(b, from)))
		}
		return nil
	})
}
