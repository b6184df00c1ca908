package storage

import (
	"context"
	"encoding/binary"

	"hostedmcp/auth/oauth"
)

// How a restored backup is brought to the present: it knows neither what ended after it was made nor what was used up.

// restoreBatch is how many records one transaction changes.
const restoreBatch = 500

// present changes the copy, in an order that does not matter: nobody sees it before it is whole.
func (r *restoration) present(ctx context.Context) error {
	if r.old != nil {
		if err := r.takeOver(ctx); err != nil {
			return err
		}
		if err := r.takeSigning(ctx); err != nil {
			return err
		}
	}
	for _, change := range []struct {
		bucket bucket
		after  string
		do     func(*txn, string)
	}{
		{codesBucket, "", (*txn).dropWaitingCode},
		{requestsBucket, requestsEntries, (*txn).finishWaiting},
		{signinsBucket, "", (*txn).endSignIn},
		{grantsBucket, "", r.doubt},
	} {
		if err := r.new.changeAll(ctx, change.bucket, change.after, change.do); err != nil {
			return err
		}
	}
	return r.new.write(ctx, func(t *txn) error {
		t.put(metaBucket, restoredKey, binary.BigEndian.AppendUint64(nil, uint64(t.now.Unix())))
		t.del(metaBucket, backupKey)
		return nil
	})
}

// changeAll runs a change for every key of a bucket behind one, in batches.
func (s *Store) changeAll(ctx context.Context, b bucket, after string, do func(*txn, string)) error {
	var keys []string
	change := func() error {
		batch := keys
		keys = nil
		return s.write(ctx, func(t *txn) error {
			for _, k := range batch {
				do(t, k)
			}
			return nil
		})
	}
	for {
		err := s.scan(ctx, b, after, func(_ *txn, k string, _ []byte) bool {
			keys = append(keys, k)
			return len(keys) < restoreBatch
		})
		if err != nil || len(keys) == 0 {
			return err
		}
		after = keys[len(keys)-1]
		if err := change(); err != nil {
			return err
		}
	}
}

// dropWaitingCode forgets a code that may have been redeemed since. Its grant stays unclaimed: whoever did redeem it
// shows a refresh token (row 9), and a grant that nobody claims idles out.
func (t *txn) dropWaitingCode(key string) {
	var code codeRecord
	if t.load(codesBucket, key, &code) && code.Redeemed.IsZero() {
		t.undue(dueCode, code.look(), key)
		t.del(codesBucket, key)
	}
}

// finishWaiting remembers an authorization request as one that was answered: it may have been.
func (t *txn) finishWaiting(id string) {
	if r, ok := t.request(id); ok && !r.finished {
		t.removeRequest(r)
		t.finish(id, r.until)
	}
}

// doubt puts the provider's tokens of a living grant into doubt. A token that is never sent for another cannot be.
func (r *restoration) doubt(t *txn, id string) {
	g, ok := t.grant(id)
	if !ok || !g.Living() {
		return
	}
	r.Grants++
	if u, ok := t.upstream(id); ok && u.Refresh != "" {
		old := u
		u.doubt(t.now)
		t.saveUpstream(g, &old, u)
	}
	t.journal(g, Event{Reason: oauth.Restored})
	t.saveGrant(g)
}
