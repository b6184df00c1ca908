package storage

import (
	"context"
	"fmt"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage/seal"
)

// A new data key seals everything new from its commit on. What is sealed under the old one is then sealed anew, in
// batches between the transitions of everybody else; when nothing is left the old key goes. Where a crash cut it off
// needs no note: each value names its key.

const (
	resealBatch = 256     // values that one transaction seals anew,
	resealBytes = 1 << 20 // if they are no larger together
	resumeAgain = time.Minute
	// ticketsLive is how long a replaced data key still opens what is not stored, such as the ticket in an open
	// consent page. It is then in this process only.
	ticketsLive = time.Hour
)

// RotateData makes a new data key and seals everything anew under it, while everything goes on; then the old key is
// gone from the file. progress is told how many of about how many values have been looked at; nil = nobody. What a
// crash or an error cuts off is finished by Run after the next start, or by the next call, which then makes no further
// key. Errors: ErrKey with the fix, while a key of RotateMasterTo waits to be installed; ErrUnavailable (a damaged
// record: the old key stays), also for a ctx that ended.
func (s *Store) RotateData(ctx context.Context, progress func(done, total int)) error {
	release, err := s.rotation(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := s.newDataKey(ctx); err != nil {
		return err
	}
	return s.finishData(ctx, progress)
}

// resume finishes a rotation that an earlier run began.
func (s *Store) resume(ctx context.Context) {
	for s.keys.Load().ring.Len() > 1 {
		err := s.resumeData(ctx)
		if err == nil {
			return
		}
		s.opt.Log.Warn("the rotation of the data key waits, and is tried again", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(resumeAgain):
		}
	}
}

func (s *Store) resumeData(ctx context.Context) error {
	release, err := s.rotation(ctx)
	if err != nil {
		return err
	}
	defer release()
	if s.keys.Load().ring.Len() == 1 { // somebody else's call has finished it
		return nil
	}
	return s.finishData(ctx, nil)
}

// newDataKey adds one, unless a rotation is unfinished. The file is asked for that, not memory: a commit that failed
// may have happened.
func (s *Store) newDataKey(ctx context.Context) error {
	master := s.keys.Load().master
	var verdict error
	err := s.write(ctx, func(t *txn) error {
		if verdict = t.handedOut(); verdict != nil {
			return nil
		}
		keys, _, err := t.unwrap([]seal.Key{master})
		if err != nil {
			return err
		}
		if keys.Ring.Len() == 1 {
			t.wrap(&keyring{master: master, store: keys.Store, ring: keys.Ring.Add()})
		}
		return nil
	})
	// Only now does anything get sealed with the new key: the ring that knows it is in the file.
	s.reloadKeys(master)
	if err == nil {
		err = verdict
	}
	return err
}

// handedOut refuses to write the ring while it is also wrapped for a key that only the operator has.
func (t *txn) handedOut() error {
	if t.get(metaBucket, keysHandedKey) == nil {
		return nil
	}
	return faultf(ErrKey, "a new master key was made and waits to be installed: restart hostedmcp with it first")
}

// finishData seals anew until nothing is left to do, and lets the old keys go.
func (s *Store) finishData(ctx context.Context, progress func(done, total int)) error {
	done, total := 0, 0
	if progress == nil {
		progress = func(int, int) {}
	}
	err := s.view(func(t *txn) error { total = t.values(); return nil })
	looked := func(n int) { done = min(done+n, total); progress(done, total) }
	for left := -1; left != 0 && err == nil; { // the last round only looks: what it finds nothing in is done
		left = 0
		for _, b := range sealedBuckets() {
			var n int
			if n, err = s.resealAll(ctx, b, looked); err != nil {
				break
			}
			left += n
		}
		looked = func(int) {}
	}
	if err == nil {
		err = s.dropDataKeys(ctx)
	}
	if err == nil {
		progress(total, total)
	}
	return err
}

// sealedBuckets are those with sealed values; of a grant only its family key is.
func sealedBuckets() []bucket {
	sealed := []bucket{grantsBucket}
	for _, b := range buckets {
		if b.sealed {
			sealed = append(sealed, b)
		}
	}
	return sealed
}

// values is about how many there are to look at. The large buckets have a value for each grant at most.
func (t *txn) values() (n int) {
	for _, b := range sealedBuckets() {
		if b.name == pinsBucket.name || b.name == requestsBucket.name || b.name == signinsBucket.name {
			n += t.tx.Bucket(b.raw).Stats().KeyN
			continue
		}
		for _, state := range stateNames {
			n += int(t.counter(state))
		}
	}
	return n
}

// resealAll goes through one bucket and returns how many values it sealed anew.
func (s *Store) resealAll(ctx context.Context, b bucket, looked func(int)) (n int, err error) {
	for after, more := "", true; more; {
		var stale []string
		seen, size := 0, 0
		more = false
		err := s.scan(ctx, b, after, func(t *txn, k string, v []byte) bool {
			after = k
			seen++
			if t.stale(b, k, v) {
				stale = append(stale, k)
				size += len(v)
			}
			more = len(stale) == resealBatch || size >= resealBytes || seen == scanPage
			return !more
		})
		if err == nil && len(stale) > 0 {
			err = s.write(ctx, func(t *txn) error {
				for _, k := range stale {
					t.reseal(b, k)
				}
				return nil
			})
		}
		if err != nil {
			return n, err
		}
		n += len(stale)
		looked(seen)
	}
	return n, nil
}

// stale says whether a value is sealed under another key than the current one.
func (t *txn) stale(b bucket, key string, value []byte) bool {
	if b.name == grantsBucket.name {
		g := &grantRecord{Grant: Grant{ID: key}}
		if !decode(value, g) {
			t.fail(fmt.Errorf("%w in %s", errDamaged, b.name))
			return false
		}
		value = g.key
	}
	return len(value) > 0 && seal.KeyOf(value) != t.ring().Current() // the empty ones are index entries
}

// reseal seals one value anew, if nobody did meanwhile.
func (t *txn) reseal(b bucket, key string) {
	value := t.get(b, key)
	if value == nil || !t.stale(b, key, value) {
		return
	}
	ring := t.ring()
	if g, ok := t.grant(key); ok && b.name == grantsBucket.name {
		plain, err := ring.Open("family", g.key, b.ad(key))
		if err != nil {
			t.fail(fmt.Errorf("%w in %s: %w", errDamaged, b.name, err))
			return
		}
		g.key = ring.Seal("family", plain, b.ad(key))
		t.saveGrant(g)
		return
	}
	plain, err := ring.Open("record/"+b.name, value, b.ad(key))
	if err != nil {
		t.fail(fmt.Errorf("%w in %s: %w", errDamaged, b.name, err))
		return
	}
	t.put(b, key, ring.Seal("record/"+b.name, plain, b.ad(key)))
}

// dropDataKeys seals the signing keys anew and takes the old data keys from the file, in one commit.
func (s *Store) dropDataKeys(ctx context.Context) error {
	before := s.keys.Load()
	var verdict error
	err := s.write(ctx, func(t *txn) error {
		if verdict = t.handedOut(); verdict != nil {
			return nil
		}
		k := *t.keys.Load()
		var signing signingKeys
		if !t.loadMeta(k.ring, signingKey, &signing) {
			return errDamaged
		}
		t.saveMeta(signingKey, &signing)
		k.ring = k.ring.Retire()
		t.wrap(&k)
		t.stamp(&Event{Reason: oauth.KeyRotated, Note: "data"})
		return nil
	})
	if err == nil {
		err = verdict
	}
	if err == nil {
		s.retired.Store(&retiredRing{before.ring, s.Uptime() + ticketsLive})
	}
	s.reloadKeys(before.master)
	return err
}

// retiredRing still opens what is not stored.
type retiredRing struct {
	*seal.Ring
	until time.Duration // uptime
}
