package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Copying the file is no backup: pages change under the copier's hand. A backup is what one transaction sees.

const (
	backupKey = "backup_at" // in meta of a backup: when it was made
	copyBatch = 8 << 20     // bytes that one transaction writes of a copy
	copySlack = 64 << 10    // bytes that a copy may be longer than it needs; bbolt's own 16 MB are for files that grow
)

// Backup writes the store to w as it is at one moment, while everything goes on; what was committed before the call is
// in it. The copy has no free pages and no reserve, is sealed like the store, and opens with its master key. It is
// gathered in a file beside the store, so that a slow w holds no transaction open, which needs that much room there. n
// is the bytes that w was given. Errors: ErrFolder (no room), ErrUnavailable, those of w and ctx.
func (s *Store) Backup(ctx context.Context, w io.Writer) (n int64, err error) {
	_ = s.flush(ctx, true) // a store that cannot be written can still be read: better a backup without the last uses
	spool, err := s.spool(ctx)
	if err != nil {
		return 0, err
	}
	defer spool.Close()
	return io.Copy(w, untilDone{ctx, spool})
}

// spool makes the copy, in a file that has no name any more.
func (s *Store) spool(ctx context.Context) (*os.File, error) {
	temp := tempName(s.path)
	defer os.Remove(temp)
	var source error // what the store itself could not do
	err := func() error {
		tx, err := s.db.Begin(false)
		if err != nil {
			source = unavailable(err)
			return source
		}
		defer func() { _ = tx.Rollback() }()
		return compact(ctx, tx, temp, s.Now())
	}()
	switch {
	case source != nil:
		return nil, source
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, faultf(ErrFolder, "the backup cannot be gathered beside %s (%v): make room there for a copy", s.path, plainError(err))
	}
	return os.Open(temp)
}

// compact copies what tx sees into a new file, bucket by bucket: whatever the file's own pages were like, those of the
// copy are whole. A time other than zero is noted as that of the backup.
func compact(ctx context.Context, tx *bolt.Tx, path string, at time.Time) error {
	db, err := bolt.Open(path, 0o600, boltOptions())
	if err != nil {
		return err
	}
	db.NoSync = true // a copy that a crash leaves behind is of no use anyway
	db.AllocSize = copySlack
	err = tx.ForEach(func(name []byte, b *bolt.Bucket) error { return copyBucket(ctx, b, db, name) })
	if err == nil && !at.IsZero() {
		err = db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket(metaBucket.raw).Put([]byte(backupKey), binary.BigEndian.AppendUint64(nil, uint64(at.Unix())))
		})
	}
	return errors.Join(err, db.Close())
}

// copyBucket goes in batches, or a large store would have to fit into memory.
func copyBucket(ctx context.Context, from *bolt.Bucket, to *bolt.DB, name []byte) error {
	c := from.Cursor()
	k, v := c.First()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := to.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(name)
			if err != nil {
				return err
			}
			b.FillPercent = 1 // the keys come in order
			for size := 0; k != nil && size < copyBatch && err == nil; k, v = c.Next() {
				size += len(k) + len(v)
				err = b.Put(k, v)
			}
			return err
		})
		if err != nil || k == nil {
			return err
		}
	}
}

// untilDone reads as long as ctx lives.
type untilDone struct {
	ctx context.Context
	io.Reader
}

// Read implements io.Reader.
func (r untilDone) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
