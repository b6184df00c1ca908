package storage_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
	"hostedmcp/storage/seal"
	"hostedmcp/storage/storagetest"
)

// dataKeys returns the number of data keys in the file of a closed store.
func (h *harness) dataKeys() int {
	h.Helper()
	keys, err := seal.Unwrap(readMaster(h.TB, h.opts.Dir), h.meta("keys"))
	h.must(err)
	return keys.Ring.Len()
}

// meta reads a value of meta in the file of a closed store.
func (h *harness) meta(name string) (value []byte) {
	h.Helper()
	tamper(h.TB, h.Path(), func(tx *bolt.Tx) error {
		value = append(value, tx.Bucket([]byte("meta")).Get([]byte(name))...)
		return nil
	})
	return value
}

// sealedUnder counts the sealed values in the file of a closed store by the number of their data key.
func (h *harness) sealedUnder() map[uint32]int {
	h.Helper()
	found := map[uint32]int{}
	tamper(h.TB, h.Path(), func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				switch n := string(name); {
				case n == "grants": // the family key is the last but one field of a record in clear
					for i := range v {
						if v[i] == 1 && len(v)-i > 40 && seal.KeyOf(v[i:]) < 10 && seal.KeyOf(v[i:]) > 0 {
							found[binary.BigEndian.Uint32(v[i+1:])]++
						}
					}
				case n == "upstream", n == "identities", n == "signins", n == "pins", n == "requests" && len(v) > 0, string(k) == "signing":
					found[seal.KeyOf(v)]++
				}
				return nil
			})
		})
	})
	return found
}

func readMaster(tb testing.TB, dir string) seal.Key {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "master.key"))
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		tb.Fatal(err)
	}
	return seal.Key(raw)
}

// fill makes one of everything that is sealed.
func (h *harness) fill() (l login, check func()) {
	h.Helper()
	l = h.connect()
	r := h.newRequest(func(r *storage.Request) { r.Expires = h.Now().Add(day) })
	h.must(h.Approve(h.Context(), r, storage.ApproveLimits{}))
	h.must(h.SaveSignIn(h.Context(), storage.SignIn{Hash: sum("browser"), Subject: "alice", Expires: h.Now().Add(day)}))
	h.must(h.SavePins(h.Context(), []storage.Pin{{Connector: "crm", Tool: "get", Definition: definition(1)}}))
	ended := h.connect(alice(7))
	h.end(ended.id)
	signing := h.SigningKeys()[0]
	return l, func() {
		h.Helper()
		h.check()
		for _, l := range []login{l, ended} {
			if key, err := h.GrantKey(l.id); err != nil || !sameKey(key, l.Key) {
				h.Errorf("family key: %v", err)
			}
			if i, err := h.Identity(l.id); err != nil || i.Name != l.Identity.Name {
				h.Errorf("identity: %v", err)
			}
			if u, err := h.Upstream(l.id); err != nil || u.Refresh != l.Upstream.Refresh {
				h.Errorf("tokens: %v", err)
			}
		}
		h.must(h.CheckRequest(r.ID, r.StateHash, r.BindHash))
		_, err := h.SignIn(sum("browser"))
		h.must(err)
		h.wantPins("", `crm/get {"name":"secretTool1"}`)
		if !h.SigningKeys()[0].Private.Equal(signing.Private) {
			h.Error("another signing key")
		}
	}
}

// TestRotateData: everything is sealed anew, the old key is gone, and what is not stored opens for an hour.
func TestRotateData(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	_, check := h.fill()
	ticket := h.Seal("ticket", []byte("x"), nil)
	h.told = nil
	var steps [][2]int
	h.must(h.RotateData(t.Context(), func(done, total int) { steps = append(steps, [2]int{done, total}) }))
	if n := len(steps); n == 0 || steps[n-1][0] != steps[n-1][1] || steps[n-1][1] == 0 {
		t.Errorf("progress: %v", steps)
	}
	if len(h.told) != 1 || h.told[0].Reason != oauth.KeyRotated || h.told[0].Note != "data" || h.told[0].Grant != "" {
		t.Errorf("OnEvent was told %v", h.told)
	}
	check()
	opens := func() bool { _, err := h.OpenSealed("ticket", ticket, nil); return err == nil }
	if !opens() {
		t.Error("an open consent page is of no use")
	}
	h.clock.Advance(time.Hour)
	if opens() {
		t.Error("the old key opens tickets for ever")
	}
	h.must(h.Close())
	if n := h.dataKeys(); n != 1 {
		t.Errorf("%d data keys in the file", n)
	}
	if found := h.sealedUnder(); len(found) != 1 || found[2] != 2+2+2+1+1+1+1 {
		t.Errorf("sealed by key: %v", found)
	}
	h.reopenTampered()
	check()
	h.must(h.RotateData(t.Context(), nil))
	h.must(h.RotateData(t.Context(), nil))
	check()
}

// TestRotateDataUnderLoad: whoever writes meanwhile loses nothing and leaves nothing under the old key.
func TestRotateDataUnderLoad(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	_, check := h.fill()
	for i := range 300 {
		h.connectQuietly(i % 7)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			id := h.connectQuietly(i)
			for gen := uint32(1); ; gen++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := h.SaveUpstream(context.Background(), storage.SavedUpstream{GrantID: id, Gen: gen,
					Upstream: storage.Upstream{Access: oauth.Secret(fmt.Sprint("a", gen)), Refresh: "r"}}); err != nil {
					t.Error(err)
				}
				if u, err := h.Upstream(id); err != nil || u.Gen != gen+1 {
					t.Errorf("generation %d, %v", u.Gen, err)
				}
				if _, err := h.GrantKey(id); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		h.must(h.RotateData(t.Context(), nil))
		check()
	}
	close(stop)
	wg.Wait()
	check()
	h.must(h.Close())
	if found := h.sealedUnder(); len(found) != 1 || found[4] == 0 || h.dataKeys() != 1 {
		t.Errorf("sealed by key: %v", found)
	}
}

// TestRotateDataDamaged: a record that does not open keeps the old key; nothing is given up for lost.
func TestRotateDataDamaged(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l, other := h.connect(), h.connect(alice(1))
	h.must(h.Close())
	tamper(t, h.Path(), func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("upstream"))
		bad := append([]byte(nil), b.Get([]byte(l.id))...)
		bad[40] ^= 1
		return b.Put([]byte(l.id), bad)
	})
	h.reopenTampered()
	if err := h.RotateData(t.Context(), nil); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("RotateData: %v", err)
	}
	h.upstream(other.id)
	h.must(h.Close())
	if n := h.dataKeys(); n != 2 {
		t.Errorf("%d data keys", n)
	}
	h.Store = storagetest.Open(t, h.opts)
	h.upstream(other.id)
}

// TestRotateResumes: what was cut off is finished by Run after the next start, or by the next call, which makes no
// third key.
func TestRotateResumes(t *testing.T) {
	t.Parallel()
	for _, byRun := range []bool{true, false} {
		h := newHarness(t)
		_, check := h.fill()
		ctx, cancel := context.WithCancel(t.Context())
		if err := h.RotateData(ctx, func(int, int) { cancel() }); !errors.Is(err, context.Canceled) {
			t.Fatalf("RotateData: %v", err)
		}
		check()
		h.must(h.Close())
		if n := h.dataKeys(); n != 2 {
			t.Errorf("%d data keys after a rotation cut off", n)
		}
		told := make(chan struct{})
		h.opts.OnEvent = func(e storage.Event) {
			if e.Reason == oauth.KeyRotated {
				close(told)
			}
		}
		h.reopenTampered()
		if byRun {
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- h.Run(ctx) }()
			<-told
			stop()
			h.must(<-done)
		} else {
			h.must(h.RotateData(t.Context(), nil))
		}
		check()
		h.must(h.Close())
		if found := h.sealedUnder(); len(found) != 1 || found[2] == 0 || h.dataKeys() != 1 {
			t.Errorf("sealed by key: %v", found)
		}
	}
}

// TestRotateFails: a disk that fails at any commit of a rotation, before or after it happened, leaves a store that
// opens, and the next call succeeds.
func TestRotateFails(t *testing.T) {
	t.Parallel()
	for what, rotate := range map[string]func(*harness) error{
		"data":   func(h *harness) error { return h.RotateData(h.Context(), nil) },
		"master": func(h *harness) error { _, err := h.RotateMaster(h.Context()); return err },
	} {
		for _, happened := range []bool{false, true} {
			for failing := 1; ; failing++ {
				h := newHarness(t, func(o *storage.Options) { o.Dir = memory(t) })
				_, check := h.fill()
				h.reopen()
				var on, failed atomic.Bool
				commits := 0
				h.FailCommits(func(real func() error) error {
					if !on.Load() {
						return real()
					}
					if commits++; commits < failing || commits > failing+1 { // a commit in doubt is settled by another
						return real()
					}
					failed.Store(true)
					if happened {
						return errors.Join(real(), errDisk)
					}
					return errDisk
				})
				on.Store(true)
				err := rotate(h)
				on.Store(false)
				if !failed.Load() {
					h.must(err)
					if failing < 3 {
						t.Errorf("%s: %d commits", what, commits)
					}
					break
				}
				if !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("%s, commit %d failed (happened %v): %v", what, failing, happened, err)
				}
				h.must(h.SavePins(t.Context(), []storage.Pin{{Connector: "crm", Tool: "get", Definition: definition(1), Seen: time.Unix(1, 0)}}))
				h.must(h.Ready())
				check()
				h.reopen()
				check()
				h.must(rotate(h))
				h.reopen()
				check()
				h.must(h.Close())
				if h.dataKeys() != 1 {
					t.Errorf("%s: %d data keys", what, h.dataKeys())
				}
			}
		}
	}
}

// TestRotateMaster: the store opens with the new key only; the old one stays for the backups of its time.
func TestRotateMaster(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l, check := h.fill()
	backup := h.backup()
	old := readMaster(t, h.opts.Dir)
	h.told = nil
	file, err := h.RotateMaster(t.Context())
	h.must(err)
	if file != filepath.Join(h.opts.Dir, "master.key") || readMaster(t, h.opts.Dir) == old {
		t.Errorf("the new key is in %s", file)
	}
	if len(h.told) != 1 || h.told[0].Reason != oauth.KeyRotated || h.told[0].Note != "master" {
		t.Errorf("OnEvent was told %v", h.told)
	}
	h.onlyFiles()
	check()
	h.must(h.RotateData(t.Context(), nil))
	h.reopen()
	check()
	h.must(h.Close())
	kept, err := filepath.Glob(file + ".replaced-*")
	if len(kept) != 1 || err != nil {
		t.Fatalf("the old key: %v, %v", kept, err)
	}
	newKey, err := os.ReadFile(file)
	h.must(err)
	storedAs(t, kept[0], file)
	if _, err := storage.Open(t.Context(), h.opts); !errors.Is(err, storage.ErrKey) {
		t.Errorf("with the old key: %v", err)
	}
	h.must(os.WriteFile(file, newKey, 0o600))

	// A backup of before opens with the key that was kept, and is under the new one then.
	_, err = storage.Restore(t.Context(), h.opts, backup)
	h.must(err)
	h.must(os.Remove(kept[0]))
	h.Store = storagetest.Open(t, h.opts)
	h.check()
	h.wantLiving(l.id)
	h.must(h.Close())
	if _, err := storage.Restore(t.Context(), h.opts, backup); !errors.Is(err, storage.ErrKey) {
		t.Errorf("a backup of a key that is gone: %v", err)
	}
}

// TestRotateMasterRefuses: where the key cannot be written, or is not the store's, nothing changes.
func TestRotateMasterRefuses(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	_, check := h.fill()
	h.must(h.Close())
	creds := t.TempDir()
	h.must(os.Rename(filepath.Join(h.opts.Dir, "master.key"), filepath.Join(creds, "hostedmcp-key")))
	h.opts.CredentialsDir = creds
	h.Store = storagetest.Open(t, h.opts)
	if _, err := h.RotateMaster(t.Context()); !errors.Is(err, storage.ErrKey) || !strings.Contains(err.Error(), "-new-key-file") {
		t.Errorf("a systemd credential: %v", err)
	}
	h.must(os.WriteFile(filepath.Join(creds, "hostedmcp-key"), []byte(strings.Repeat("ab", 32)), 0o600))
	if err := h.RotateMasterTo(t.Context(), filepath.Join(creds, "new")); !errors.Is(err, storage.ErrKey) {
		t.Errorf("the key file holds another key: %v", err)
	}
	if _, err := os.Stat(filepath.Join(creds, "new")); err == nil {
		t.Error("a key that opens nothing was left")
	}
	check()
}

// TestRotateMasterTo: a systemd credential is replaced by the operator; until then the old one serves through restarts.
func TestRotateMasterTo(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	_, check := h.fill()
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	h.must(h.RotateMasterTo(t.Context(), first))
	if err := h.RotateMasterTo(t.Context(), first); !errors.Is(err, storage.ErrKey) {
		t.Errorf("over a key: %v", err)
	}
	h.must(h.RotateMasterTo(t.Context(), second))
	if err := h.RotateData(t.Context(), nil); !errors.Is(err, storage.ErrKey) {
		t.Errorf("a data key while a master key waits: %v", err)
	}
	check()
	h.reopen()
	check()
	h.must(h.Close())
	key := filepath.Join(h.opts.Dir, "master.key")
	storedAs(t, key, key+".old")
	storedAs(t, first, key)
	if _, err := storage.Open(t.Context(), h.opts); !errors.Is(err, storage.ErrKey) {
		t.Errorf("with the key that another one came after: %v", err)
	}
	storedAs(t, second, key)
	h.Store = storagetest.Open(t, h.opts)
	check()
	h.must(h.RotateData(t.Context(), nil))
	h.reopen()
	check()
	h.must(h.Close())
	storedAs(t, key+".old", key)
	if _, err := storage.Open(t.Context(), h.opts); !errors.Is(err, storage.ErrKey) {
		t.Errorf("with the old key: %v", err)
	}
}

// TestRotateMasterAgain: after a rotation that failed at its last commit the key file is ahead of the ring. At every
// commit of the next one the files, as a crash would leave them, open.
func TestRotateMasterAgain(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	h.reopen()
	commits, left := 0, []string{}
	h.FailCommits(func(real func() error) error {
		if commits++; commits == 2 {
			return errDisk
		}
		err := real()
		dir := t.TempDir()
		storedAs(t, h.Path(), filepath.Join(dir, "hostedmcp.db"))
		h.copyKey(dir)
		left = append(left, dir)
		return err
	})
	if _, err := h.RotateMaster(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("RotateMaster: %v", err)
	}
	_, err := h.RotateMaster(t.Context())
	h.must(err)
	if len(left) < 3 {
		t.Errorf("%d commits", len(left))
	}
	for i, dir := range left {
		opts := h.opts
		opts.Dir = dir
		s, err := storage.Open(t.Context(), opts)
		if err != nil {
			t.Errorf("after commit %d: %v", i+1, err)
			continue
		}
		if key, err := s.GrantKey(l.id); err != nil || !sameKey(key, l.Key) {
			t.Errorf("after commit %d: %v", i+1, err)
		}
		h.must(s.Close())
	}
}
