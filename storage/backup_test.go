package storage_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
	"hostedmcp/storage/storagetest"
)

// backup writes one beside nothing that a store looks at, and returns its path.
func (h *harness) backup() string {
	h.Helper()
	path := filepath.Join(h.TempDir(), "backup.db")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	h.must(err)
	n, err := h.Backup(h.Context(), f)
	h.must(err)
	info, err := f.Stat()
	h.must(err)
	if info.Size() != n || n == 0 {
		h.Errorf("Backup says %d bytes of %d", n, info.Size())
	}
	if used := h.Size(); n > used+1<<20 { // the copy is of what is used
		h.Errorf("a backup of %d bytes, of which %d are used", n, used)
	}
	h.must(f.Close())
	return path
}

// restore closes the store, restores onto its place and opens it again.
func (h *harness) restore(from string) storage.Restored {
	h.Helper()
	h.must(h.Close())
	r, err := storage.Restore(h.Context(), h.opts, from)
	h.must(err)
	h.Store = storagetest.Open(h.TB, h.opts)
	h.check()
	h.onlyFiles()
	return r
}

// onlyFiles: nothing half-made is left in the folder, and nothing that others may read.
func (h *harness) onlyFiles() {
	h.Helper()
	entries, err := os.ReadDir(h.opts.Dir)
	h.must(err)
	for _, e := range entries {
		info, err := e.Info()
		h.must(err)
		if strings.HasSuffix(e.Name(), ".new") || info.Mode().Perm() != 0o600 {
			h.Errorf("the folder holds %s with mode %v", e.Name(), info.Mode())
		}
	}
}

// TestBackupUnderLoad: a backup is one consistent state with everything that was committed before it began, and fits
// in less than the store's own file.
func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.register(testClient)
	var mu sync.Mutex
	done := map[string]uint32{} // what was answered
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for {
				l := h.connectQuietly(i)
				for gen := uint32(1); gen < 6; gen++ {
					if _, _, _, err := h.RotateRefresh(context.Background(), h.present(l, gen)); err != nil {
						t.Error(err)
					}
					mu.Lock()
					done[l] = gen + 1
					mu.Unlock()
					select {
					case <-stop:
						return
					default:
					}
				}
			}
		})
	}
	for round := range 4 {
		for n := 0; n < 20*(round+1); {
			mu.Lock()
			n = len(done)
			mu.Unlock()
			time.Sleep(time.Millisecond)
		}
		mu.Lock()
		before := map[string]uint32{}
		for id, gen := range done {
			before[id] = gen
		}
		mu.Unlock()
		opts := h.opts
		opts.Dir = t.TempDir()
		h.copyKey(opts.Dir)
		storedAs(t, h.backup(), filepath.Join(opts.Dir, "hostedmcp.db"))
		s := storagetest.Open(t, opts)
		storagetest.Check(t, s)
		for id, gen := range before {
			if g, err := s.Grant(id); err != nil || g.Gen < gen {
				t.Errorf("generation %d was answered before the backup, which has %d, %v", gen, g.Gen, err)
			}
		}
	}
	close(stop)
	wg.Wait()
	h.check()
	h.onlyFiles()
}

// connectQuietly is connect from any goroutine.
func (h *harness) connectQuietly(i int) string {
	id, code := rand.Text(), rand.Text()
	n := storage.NewGrant{Grant: storage.Grant{ID: id, ClientID: testClient, Subject: fmt.Sprint("s", i)}, Key: make([]byte, 32), CodeHash: sum(code),
		Code:     storage.Code{ClientID: testClient, RedirectURI: "r", Challenge: "v", Resource: "r", Expires: h.Now().Add(day)},
		Upstream: storage.Upstream{Access: "a", Refresh: "r"}}
	if err := h.CreateGrant(context.Background(), n); err != nil {
		h.Error(err)
	}
	if _, verdict, err := h.RedeemCode(context.Background(), storage.Redeem{Hash: n.CodeHash, ClientID: testClient, Resource: "r", Challenge: "v",
		Memory: day}); err != nil || verdict != "" {
		h.Errorf("%q, %v", verdict, err)
	}
	return id
}

func (h *harness) copyKey(dir string) {
	storedAs(h.TB, filepath.Join(h.opts.Dir, "master.key"), filepath.Join(dir, "master.key"))
}

// storedAs copies a file.
func storedAs(tb testing.TB, from, to string) {
	tb.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// TestBackupFails: a writer that fails, a context that ends, a disk without room leave nothing behind and the store as
// it was.
func TestBackupFails(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.connect()
	if _, err := h.Backup(t.Context(), failing{}); !errors.Is(err, errDisk) {
		t.Errorf("a writer that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := h.Backup(ctx, writer(func(p []byte) (int, error) { cancel(); return len(p), nil })); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ends while it is written: %v", err)
	}
	if _, err := h.Backup(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
	h.onlyFiles()
	h.check()
	h.must(h.Close())
	if _, err := h.Backup(t.Context(), io.Discard); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("closed: %v", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errDisk }

// TestRestoreElsewhere: onto another path, with the key.
func TestRestoreElsewhere(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.register(testClient)
	l, unclaimed := h.connect(), h.create(alice(1))
	ended := h.connect(alice(2))
	h.end(ended.id)
	h.must(h.SavePins(t.Context(), []storage.Pin{{Connector: "crm", Tool: "get", Definition: definition(1)}}))
	h.must(h.SaveSignIn(t.Context(), storage.SignIn{Hash: sum("browser"), Subject: "alice", Expires: h.Now().Add(day)}))
	request := h.newRequest()
	h.must(h.Approve(t.Context(), request, storage.ApproveLimits{}))
	at := h.Now()
	backup := h.backup()
	h.must(h.Close())

	h.clock.Advance(time.Hour)
	h.opts.Dir = filepath.Join(t.TempDir(), "elsewhere")
	if _, err := storage.Restore(t.Context(), h.opts, backup); !errors.Is(err, storage.ErrKey) {
		t.Errorf("without the key: %v", err)
	}
	storedAs(t, filepath.Join(filepath.Dir(h.Path()), "master.key"), filepath.Join(h.opts.Dir, "master.key"))
	h.told = nil
	r, err := storage.Restore(t.Context(), h.opts, backup)
	h.must(err)
	if r.Grants != 2 || r.Ended != 0 || r.Tombstones != 0 || r.Replaced != "" || r.TombstonesLost != nil || !r.BackupAt.Equal(at) {
		t.Errorf("Restored = %+v", r)
	}
	if len(h.told) != 1 || h.told[0].Reason != oauth.Restored || h.told[0].Grant != "" {
		t.Errorf("OnEvent was told %v", h.told)
	}
	h.Store = storagetest.Open(t, h.opts)
	h.check()
	h.onlyFiles()
	if !h.RestoredAt().Equal(h.Now()) {
		t.Errorf("restored at %s", h.RestoredAt())
	}
	h.wantStory(l.id, "signed_in", "code_redeemed", "restored")
	h.wantCounts(map[string]int64{"in_doubt": 1, "unclaimed": 1, "ended": 1})
	h.wantPins("", `crm/get {"name":"secretTool1"}`)
	if u := h.upstream(l.id); !u.InDoubt || !u.DoubtSince.Equal(h.Now()) || u.Refresh != l.Upstream.Refresh {
		t.Errorf("the provider's tokens: %+v", u)
	}
	if since, n, err := h.OldestDoubt(); n != 1 || !since.Equal(h.Now()) || err != nil {
		t.Errorf("OldestDoubt = %s, %d, %v", since, n, err)
	}
	// What is good for once may have served since the backup.
	if _, verdict, err := h.RedeemCode(t.Context(), unclaimed.redeem()); verdict != oauth.CodeInvalid || err != nil {
		t.Errorf("a code of before the backup: %q, %v", verdict, err)
	}
	if _, err := h.SignIn(sum("browser")); err != storage.ErrNotFound {
		t.Errorf("a sign-in of before the backup: %v", err)
	}
	if err := h.CheckRequest(request.ID, request.StateHash, request.BindHash); err != storage.ErrFinished {
		t.Errorf("a request of before the backup: %v", err)
	}
	// Whoever redeemed the code after the backup goes on; so does the provider's good answer.
	h.must(h.SaveUpstream(t.Context(), h.answer(l.id, 1)))
	if u := h.upstream(l.id); u.InDoubt || h.grant(l.id).State != storage.StateWorking {
		t.Errorf("in doubt after a good answer: %+v", u)
	}
	g, err := h.AdoptAhead(t.Context(), h.present(unclaimed.id, 7))
	h.must(err)
	if g.Gen != 7 || !g.Redeemed {
		t.Errorf("row 9: %+v", g)
	}
	h.clock.Advance(2 * time.Minute)
	h.sweep(storage.SweepLimits{})
	h.wantLiving(unclaimed.id)
	h.check()
}

// TestRestoreOver: what ended by the replaced file has ended, what it knows of the dead is taken over, and nothing
// that ended lives again.
func TestRestoreOver(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.register(testClient)
	kept, revoked, waiting := h.connect(alice(1)), h.connect(alice(2)), h.connect(alice(3))
	buried := h.connect(alice(4))
	h.end(buried.id)
	backup := h.backup()

	h.clock.Advance(time.Hour)
	h.must(h.RotateData(t.Context(), nil)) // the two files then have different data keys
	for gen := uint32(1); gen < 5; gen++ {
		h.rotate(kept.id, gen)
	}
	h.end(revoked.id)
	h.must(h.UpstreamRevoked(t.Context(), revoked.id, true, storage.Event{}))
	h.must(h.SaveUpstream(t.Context(), h.answer(waiting.id, 1)))
	tokens := h.upstream(waiting.id)
	h.end(waiting.id) // and not revoked at the provider yet
	lost, gone := h.connect(alice(5)), h.connect(alice(6))
	h.end(gone.id)
	endedAt := h.Now()
	h.clock.Advance(time.Hour)

	r := h.restore(backup)
	if r.Grants != 1 || r.Ended != 2 || r.Tombstones != 3 || r.TombstonesLost != nil {
		t.Errorf("Restored = %+v", r)
	}
	for _, l := range []login{revoked, waiting, gone} {
		if g := h.grant(l.id); g.Ended != oauth.UserRevoked || !g.EndedAt.Equal(endedAt) {
			t.Errorf("ended %q at %s", g.Ended, g.EndedAt)
		}
		if key, err := h.GrantKey(l.id); err != nil || !sameKey(key, l.Key) {
			t.Errorf("the tombstone lost its family key: %v", err)
		}
		if row, _ := h.rotate(l.id, 1); row != storage.RowEnded {
			t.Errorf("its refresh token: row %d", row)
		}
		h.wantStory(l.id, "signed_in", "code_redeemed", "user_revoked")
	}
	if _, err := h.Upstream(revoked.id); err != storage.ErrNotFound {
		t.Errorf("tokens that were revoked at the provider are back: %v", err)
	}
	if u := h.upstream(waiting.id); u.Refresh != tokens.Refresh {
		t.Error("the tokens to be revoked are not the last ones")
	}
	if due, err := h.RevokeDue(h.Now(), 10); len(due) != 3 || err != nil {
		t.Errorf("to be revoked: %v, %v", due, err)
	}
	if _, err := h.Grant(lost.id); err != storage.ErrNotFound {
		t.Errorf("a grant of after the backup: %v", err)
	}
	h.wantStory(kept.id, "signed_in", "code_redeemed", "restored")
	if row, _ := h.rotate(kept.id, 5); row != storage.RowAhead {
		t.Errorf("a token of after the backup: row %d", row)
	}
	if c, err := h.Client(testClient); err != nil || c.Living != 1 {
		t.Errorf("client %+v, %v", c, err)
	}
	old, err := os.Stat(r.Replaced)
	if err != nil || old.Mode().Perm() != 0o600 || filepath.Dir(r.Replaced) != h.opts.Dir {
		t.Errorf("the replaced file: %v, %v", old, err)
	}
	// And back: the replaced file is a store as well.
	r = h.restore(r.Replaced)
	h.wantCounts(map[string]int64{"in_doubt": 2, "ended": 4})
	if r.Grants != 2 {
		t.Errorf("Restored = %+v", r)
	}
}

// TestRestoreOverBroken: a file that does not open loses its tombstones, which is said, and is kept.
func TestRestoreOverBroken(t *testing.T) {
	t.Parallel()
	garbage := func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("no store "), 1000), 0o600) }
	for _, row := range []struct {
		name  string
		spoil func(h *harness) error
		lost  bool
		ended int
	}{
		{"garbage", func(h *harness) error { return garbage(h.Path()) }, true, 0},
		{"empty", func(h *harness) error { return os.Truncate(h.Path(), 0) }, true, 0},
		{"cut off", func(h *harness) error { return os.Truncate(h.Path(), 3*4096) }, true, 0},
		{"another issuer's", func(h *harness) error {
			tamper(h.TB, h.Path(), func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("issuer"), []byte("https://x")) })
			return nil
		}, true, 0},
		{"under a lost key", func(h *harness) error {
			tamper(h.TB, h.Path(), func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("keys"), []byte("x")) })
			return nil
		}, false, 1},
		{"a damaged grant", func(h *harness) error {
			tamper(h.TB, h.Path(), func(tx *bolt.Tx) error { return tx.Bucket([]byte("grants")).Put([]byte("AAAA"), []byte("x")) })
			return nil
		}, true, 1},
		{"damaged remains", func(h *harness) error {
			tamper(h.TB, h.Path(), func(tx *bolt.Tx) error {
				b := tx.Bucket([]byte("identities"))
				k, _ := b.Cursor().First()
				return b.Put(k, []byte("x"))
			})
			return nil
		}, false, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			l := h.connect()
			backup := h.backup()
			h.end(l.id)
			h.must(h.Close())
			h.must(row.spoil(h))
			before, err := os.ReadFile(h.Path())
			h.must(err)
			r, err := storage.Restore(t.Context(), h.opts, backup)
			h.must(err)
			if (r.TombstonesLost != nil) != row.lost || r.Ended != row.ended || r.Replaced == "" {
				t.Errorf("Restored = %+v", r)
			}
			if after, err := os.ReadFile(r.Replaced); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the replaced file is not as it was: %v", err)
			}
			h.Store = storagetest.Open(t, h.opts)
			h.check()
			if g := h.grant(l.id); g.Living() != (row.ended == 0) {
				t.Errorf("ended %q", g.Ended)
			}
		})
	}
}

// TestRestoreRefuses: what is no backup of this store changes nothing.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	good := h.backup()
	other := func(change func(tx *bolt.Tx) error) string {
		path := filepath.Join(t.TempDir(), "bad.db")
		storedAs(t, good, path)
		tamper(t, path, change)
		return path
	}
	put := func(b, k, v string) string {
		return other(func(tx *bolt.Tx) error { return tx.Bucket([]byte(b)).Put([]byte(k), []byte(v)) })
	}
	cut := filepath.Join(t.TempDir(), "cut.db")
	storedAs(t, good, cut)
	h.must(os.Truncate(cut, 5*4096))
	text := filepath.Join(t.TempDir(), "text")
	h.must(os.WriteFile(text, []byte(strings.Repeat("no store ", 1000)), 0o600))
	stranger := newHarness(t)
	strangers := stranger.backup()
	if _, err := storage.Restore(t.Context(), h.opts, good); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("while a server runs: %v", err)
	}
	if _, err := storage.Restore(t.Context(), stranger.opts, h.Path()); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("over an open store: %v", err)
	}
	h.must(stranger.Close())
	if _, err := storage.Restore(t.Context(), stranger.opts, h.Path()); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("from an open store: %v", err)
	}
	h.must(h.Close())
	before, err := os.ReadFile(h.Path())
	h.must(err)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, row := range []struct {
		name, from string
		ctx        context.Context
		want       error
	}{
		{"no file", filepath.Join(h.opts.Dir, "none"), t.Context(), storage.ErrFolder},
		{"text", text, t.Context(), storage.ErrSchema},
		{"cut off", cut, t.Context(), storage.ErrSchema},
		{"another version's", put("meta", "schema", "12345678"), t.Context(), storage.ErrSchema},
		{"another issuer's", put("meta", "issuer", "https://other.example.com"), t.Context(), storage.ErrIssuer},
		{"another key's", strangers, t.Context(), storage.ErrKey},
		{"a record damaged", put("upstream", l.id, "damaged"), t.Context(), storage.ErrSchema},
		{"an index without a grant", put("by_subject", "sx\x00"+strings.Repeat("A", 26), ""), t.Context(), storage.ErrSchema},
		{"a counter of no shape", put("meta", "count/working", "1"), t.Context(), storage.ErrSchema},
		{"a bucket missing", other(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("events")) }), t.Context(), storage.ErrSchema},
		{"ended context", good, cancelled, context.Canceled},
	} {
		r, err := storage.Restore(row.ctx, h.opts, row.from)
		if !errors.Is(err, row.want) || r != (storage.Restored{}) {
			t.Errorf("%s: %+v, %v; want %v", row.name, r, err, row.want)
		}
		if err != nil && strings.Contains(err.Error(), ".new") {
			t.Errorf("%s: the operator is told of a file that is gone: %v", row.name, err)
		}
	}
	after, err := os.ReadFile(h.Path())
	h.must(err)
	if !bytes.Equal(before, after) {
		t.Error("a refused backup changed the store")
	}
	h.onlyFiles()
	h.reopenTampered()
	h.wantLiving(l.id)
}
