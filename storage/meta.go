package storage

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"hostedmcp/storage/seal"
)

// What the bucket meta holds, but for keys and counters, and what makes a file a store.

const (
	schemaVersion = 1
	schemaKey     = "schema"
	issuerKey     = "issuer"
	restoredKey   = "restored_at"
)

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

// complete makes the buckets that an older version of this schema had no use for, and goes on with a master key that
// had taken its place before a crash.
func (s *Store) complete(settled bool) error {
	whole := false
	err := s.db.View(func(tx *bolt.Tx) error {
		whole = !slices.ContainsFunc(buckets, func(b bucket) bool { return tx.Bucket(b.raw) == nil })
		return nil
	})
	if err != nil || whole && settled {
		return err
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		t := &txn{Store: s, tx: tx, now: s.Now()}
		if !settled {
			t.wrap(s.keys.Load())
		}
		return errors.Join(t.fault, makeBuckets(tx))
	})
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
func (s *Store) readMeta(t *txn, masters []seal.Key) (settled bool, err error) {
	if err := s.readClear(t); err != nil {
		return false, err
	}
	keys, settled, err := t.readKeys(masters)
	if err != nil {
		return false, err
	}
	s.keys.Store(keys)
	t.load(metaBucket, clockKey, &s.clock.base)
	if v := t.get(metaBucket, restoredKey); len(v) == 8 {
		s.restored = time.Unix(int64(binary.BigEndian.Uint64(v)), 0).UTC()
	}
	return settled, t.fault
}

// readClear checks that the file is a store, of this version and of this issuer.
func (s *Store) readClear(t *txn) error {
	for _, b := range buckets {
		if t.tx.Bucket(b.raw) == nil && !b.added {
			return faultf(ErrSchema, "%s is not a store: restore a backup, or start a new data_dir", s.called)
		}
	}
	if v := t.get(metaBucket, schemaKey); len(v) != 8 || binary.BigEndian.Uint64(v) != schemaVersion {
		return faultf(ErrSchema, "%s was written by another version of hostedmcp: run that version, or restore a backup made "+
			"with this one", s.called)
	}
	if pinned := string(t.get(metaBucket, issuerKey)); pinned != s.opt.Issuer {
		return faultf(ErrIssuer, "public_url is %s, but %s was made for %s and its tokens name that: set public_url back, or "+
			"start a new data_dir; all users sign in again", s.opt.Issuer, s.called, pinned)
	}
	return nil
}

// saveMeta and loadMeta keep a sealed record in meta, whose other values are in clear or wrapped.
func (t *txn) saveMeta(key string, r record) {
	t.put(metaBucket, key, t.ring().Seal("record/meta", encode(r), metaBucket.ad(key)))
}

func (t *txn) loadMeta(ring *seal.Ring, key string, r record) bool {
	plain, err := ring.Open("record/meta", t.get(metaBucket, key), metaBucket.ad(key))
	return err == nil && decode(plain, r)
}
