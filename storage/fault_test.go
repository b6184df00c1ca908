package storage_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// spoil lets every file descriptor of the store's file lead elsewhere, as a full or read-only disk does: the kernel
// itself refuses the writes, while what is mapped stays readable. cure puts them back.
func (h *harness) spoil(elsewhere string, flags int) (cure func()) {
	h.Helper()
	bad, err := syscall.Open(elsewhere, flags, 0)
	h.must(err)
	saved := map[int]int{}
	entries, err := os.ReadDir("/proc/self/fd")
	h.must(err)
	var ours []int // collected before any is duplicated: a duplicate may get the number of ReadDir's own descriptor
	for _, e := range entries {
		target, _ := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if fd := atoi(e.Name()); target == h.Path() && fd != bad {
			ours = append(ours, fd)
		}
	}
	for _, fd := range ours {
		saved[fd], err = syscall.Dup(fd)
		h.must(err)
		h.must(syscall.Dup3(bad, fd, syscall.O_CLOEXEC))
	}
	if len(saved) == 0 {
		h.Fatal("the store's file is not open")
	}
	h.must(syscall.Close(bad))
	return func() {
		for fd, was := range saved {
			h.must(syscall.Dup3(was, fd, syscall.O_CLOEXEC))
			h.must(syscall.Close(was))
		}
	}
}

func atoi(s string) (n int) {
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	return n
}

// TestDisk: a store that cannot be written loses nothing, serves what it has, says so, and comes back by itself. Not
// parallel: it moves file descriptors of the process.
func TestDisk(t *testing.T) {
	for _, row := range []struct {
		name, elsewhere string
		flags           int
		errno           error
	}{
		{"full", "/dev/full", syscall.O_RDWR, syscall.ENOSPC},
		{"read-only", "", syscall.O_RDONLY, syscall.EBADF},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := newHarness(t)
			l, waiting := h.connect(), h.create(alice(1))
			h.rotate(l.id, 1)
			if row.elsewhere == "" {
				row.elsewhere = h.Path()
			}
			cure := h.spoil(row.elsewhere, row.flags)
			_, _, _, err := h.RotateRefresh(t.Context(), h.present(l.id, 2))
			if !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, row.errno) {
				t.Errorf("RotateRefresh: %v, want ErrUnavailable", err)
			}
			if _, verdict, err := h.RedeemCode(t.Context(), waiting.redeem()); !errors.Is(err, storage.ErrUnavailable) || verdict != "" {
				t.Errorf("RedeemCode: %q, %v", verdict, err)
			}
			if ended, err := h.EndGrant(t.Context(), l.id, oauth.UserRevoked, storage.Event{}); ended || !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("EndGrant: %v, %v", ended, err)
			}
			if err := h.Ready(); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("Ready: %v", err)
			}
			if g, err := h.Grant(l.id); err != nil || g.Gen != 2 || !g.Living() {
				t.Errorf("a living grant is not served: %+v, %v", g, err)
			}
			if row, gen := h.rotate(l.id, 1); row != storage.RowPrevious || gen != 2 {
				t.Errorf("row 6, which writes nothing: row %d, generation %d", row, gen)
			}
			if len(h.ended) != 0 {
				t.Errorf("OnEnd was told of what did not happen: %v", h.ended)
			}
			cure()
			h.untilReady()
			if row, gen := h.rotate(l.id, 2); row != storage.RowCurrent || gen != 3 {
				t.Errorf("after the cure: row %d, generation %d; want 5, 3", row, gen)
			}
			if _, verdict, err := h.RedeemCode(t.Context(), waiting.redeem()); verdict != "" || err != nil {
				t.Errorf("after the cure: RedeemCode = %q, %v", verdict, err)
			}
			h.reopen()
			h.check()
		})
	}
}

var errDisk = errors.New("injected I/O error")

// TestCommitFailed is the pair of every failure: it failed, and it failed but had happened.
func TestCommitFailed(t *testing.T) {
	t.Parallel()
	before := func(real func() error) error { return errDisk }
	after := func(real func() error) error {
		if err := real(); err != nil {
			return err
		}
		return errDisk
	}
	for _, row := range []struct {
		name   string
		commit func(func() error) error
		times  int32 // how often the disk fails
		want   error // of the first transition
	}{
		{"failed", before, 1, errDisk},
		{"failed, but had happened, and the disk is well again", after, 1, nil},
		{"failed, but had happened, and the disk stays bad", after, 2, errDisk},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			l, waiting := h.connect(), h.create(alice(1))
			request := h.newRequest()
			h.must(h.Approve(t.Context(), request, storage.ApproveLimits{}))
			h.reopen()
			var left atomic.Int32 // how often the disk still fails
			h.FailCommits(func(real func() error) error {
				if left.Add(-1) >= 0 {
					return row.commit(real)
				}
				return real()
			})
			// The writer looks after a bad disk by itself: a failure that is meant for a transition must not be its.
			fails := func() { h.untilReady(); left.Store(row.times) }
			fails()
			_, _, _, err := h.RotateRefresh(t.Context(), h.present(l.id, 1))
			if !errors.Is(err, row.want) {
				t.Errorf("RotateRefresh: %v, want %v", err, row.want)
			}
			if r, gen := h.rotate(l.id, 1); gen != 2 {
				t.Errorf("asked again: row %d, generation %d; want 2 by row 5 or 6", r, gen)
			}
			fails()
			_, verdict, err := h.RedeemCode(t.Context(), waiting.redeem())
			if !errors.Is(err, row.want) || verdict != "" {
				t.Errorf("RedeemCode: %q, %v, want %v", verdict, err, row.want)
			}
			if row.want != nil {
				if g, verdict, err := h.RedeemCode(t.Context(), waiting.redeem()); verdict != "" || err != nil || g.Gen != 1 {
					t.Errorf("asked again, nobody had an answer: %q, %v, generation %d", verdict, err, g.Gen)
				}
			}
			if _, verdict, _ := h.RedeemCode(t.Context(), waiting.redeem()); verdict != oauth.CodeReplay {
				t.Errorf("and once more: %q, want code_replay", verdict)
			}
			fails()
			got, err := h.TakeRequest(t.Context(), request.ID, request.StateHash, request.BindHash)
			if !errors.Is(err, row.want) || (got.Verifier == request.Verifier) != (err == nil) {
				t.Errorf("TakeRequest: %v, want %v", err, row.want)
			}
			if row.want != nil {
				h.takeAgain(request)
			}
			if _, err := h.TakeRequest(t.Context(), request.ID, request.StateHash, request.BindHash); err != storage.ErrFinished {
				t.Errorf("taken twice: %v, want ErrFinished", err)
			}
			h.must(h.Ready())
			h.check()
		})
	}
}

// untilReady waits until the store has found its disk well: by itself, within half a second.
func (h *harness) untilReady() {
	for h.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
}

// takeAgain takes a request whose taking was answered with ErrUnavailable: not for a stranger, and once.
func (h *harness) takeAgain(r storage.Request) {
	h.Helper()
	for _, wrong := range []struct {
		state, browser [32]byte
		want           error
	}{{sum("x"), r.BindHash, storage.ErrReplaced}, {r.StateHash, sum("x"), storage.ErrBrowser}} {
		if _, err := h.TakeRequest(h.Context(), r.ID, wrong.state, wrong.browser); err != wrong.want {
			h.Errorf("nobody had an answer, another comes: %v, want %v", err, wrong.want)
		}
	}
	h.untilReady()
	h.must(h.CheckRequest(r.ID, r.StateHash, r.BindHash))
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := h.TakeRequest(h.Context(), r.ID, r.StateHash, r.BindHash)
			if err == nil && got.Verifier == r.Verifier {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		h.Errorf("asked again, nobody had an answer: %d winners, want 1", won.Load())
	}
}

// TestEndInDoubt: an end that readers see and the disk may not have is told once, when it is certain, and no call rests
// on it before.
func TestEndInDoubt(t *testing.T) {
	t.Parallel()
	for _, retry := range []bool{true, false} {
		ends := map[string]int{}
		var mu sync.Mutex
		h := newHarness(t, func(o *storage.Options) {
			o.OnEnd = func(id string, _ oauth.Reason) { mu.Lock(); defer mu.Unlock(); ends[id]++ }
		})
		told := func(id string) int { mu.Lock(); defer mu.Unlock(); return ends[id] }
		l, other := h.connect(), h.connect(alice(1))
		h.reopen()
		var bad atomic.Bool
		h.FailCommits(func(real func() error) error {
			if err := real(); err != nil || !bad.Load() {
				return err
			}
			return errDisk
		})
		bad.Store(true)
		for range 3 {
			if ended, err := h.EndGrant(t.Context(), l.id, oauth.UserRevoked, storage.Event{}); ended || !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("while the disk is bad: %v, %v", ended, err)
			}
		}
		if n, err := h.EndSubject(t.Context(), "alice", oauth.UserRevoked, storage.Event{}); n != 0 || !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("EndSubject: %d, %v", n, err)
		}
		if told(l.id) != 0 {
			t.Error("OnEnd was told of what is not certain")
		}
		h.mu.Lock()
		h.told = nil
		h.mu.Unlock()
		bad.Store(false)
		if retry {
			if _, err := h.EndGrant(t.Context(), l.id, oauth.UserRevoked, storage.Event{}); err != nil {
				t.Errorf("the retry: %v", err)
			}
		}
		for told(l.id) == 0 { // without a retry by itself, within half a second
			time.Sleep(time.Millisecond)
		}
		if ended, err := h.EndGrant(t.Context(), l.id, oauth.UserRevoked, storage.Event{}); ended || err != nil {
			t.Errorf("once more: %v, %v", ended, err)
		}
		if told(l.id) != 1 || told(other.id) != 0 {
			t.Errorf("OnEnd was told %v", ends)
		}
		h.wantStory(l.id, "signed_in", "code_redeemed", "user_revoked")
		h.mu.Lock()
		if len(h.told) != 1 || h.told[0].Reason != oauth.UserRevoked {
			t.Errorf("OnEvent was told %v", h.told)
		}
		h.mu.Unlock()
		h.check()
	}
}

// TestVerdictsMakeNoDiskWell: a transition that only reads says nothing of the disk.
func TestVerdictsMakeNoDiskWell(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	h.end(l.id)
	h.reopen()
	var bad atomic.Bool
	h.FailCommits(func(real func() error) error {
		if bad.Load() {
			return errDisk
		}
		return real()
	})
	bad.Store(true)
	if err := h.SavePins(t.Context(), []storage.Pin{{Connector: "crm", Tool: "find", Definition: []byte("{}")}}); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("SavePins: %v", err)
	}
	if _, err := h.EndGrant(t.Context(), l.id, oauth.UserRevoked, storage.Event{}); err != nil {
		t.Errorf("a verdict by reading: %v", err)
	}
	if h.Ready() == nil {
		t.Error("ready, although no commit went through")
	}
}

// TestBatchInDoubt: a batch whose commit failed but had happened is not run again, job by job: the code would be a
// replay of itself, the request finished.
func TestBatchInDoubt(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	waiting, request := h.create(alice(1)), h.newRequest()
	h.must(h.Approve(t.Context(), request, storage.ApproveLimits{}))
	h.reopen()
	held, goOn := make(chan bool), make(chan bool)
	commits := 0
	h.FailCommits(func(real func() error) error {
		switch commits++; commits {
		case 1: // while this one is under way the batch gathers
			held <- true
			<-goOn
		case 2, 3: // the batch, and the attempt to settle it
			return errors.Join(real(), errDisk)
		}
		return real()
	})
	var wg sync.WaitGroup
	wg.Go(func() { h.register("another") })
	<-held
	wg.Go(func() {
		if _, verdict, err := h.RedeemCode(t.Context(), waiting.redeem()); verdict != "" || !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("RedeemCode: %q, %v, want ErrUnavailable", verdict, err)
		}
	})
	wg.Go(func() {
		if _, err := h.TakeRequest(t.Context(), request.ID, request.StateHash, request.BindHash); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("TakeRequest: %v, want ErrUnavailable", err)
		}
	})
	for h.Waiting() < 2 {
		time.Sleep(time.Millisecond)
	}
	close(goOn)
	wg.Wait()
	if _, verdict, err := h.RedeemCode(t.Context(), waiting.redeem()); verdict != "" || err != nil {
		t.Errorf("RedeemCode again: %q, %v", verdict, err)
	}
	h.takeAgain(request)
	h.wantLiving(waiting.id)
	h.check()
}

// TestOneBadTransition: neither a damaged record nor a panic costs the others of the batch their answer.
func TestOneBadTransition(t *testing.T) {
	t.Parallel()
	for _, poison := range []error{errDisk, nil} {
		h := newHarness(t)
		ids := make([]string, 8)
		for i := range ids {
			ids[i] = h.connect(alice(i)).id
		}
		var wg sync.WaitGroup
		for _, id := range ids {
			wg.Go(func() {
				if row, _ := h.rotate(id, 1); row != storage.RowCurrent {
					t.Errorf("row %d", row)
				}
			})
			wg.Go(func() {
				if err := h.Poison(poison); !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("the bad transition: %v", err)
				}
			})
		}
		wg.Wait()
		h.must(h.Ready())
		h.check()
	}
}

// TestSwappedRecords: a sealed record serves only in its place (design.md decision 9).
func TestSwappedRecords(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	mallory, victim := h.connect(alice(1)), h.connect(alice(2))
	h.must(h.SaveSignIn(t.Context(), storage.SignIn{Hash: sum("mallory"), Subject: "mallory", Expires: h.Now().Add(day)}))
	h.must(h.Close())
	tamper(t, h.Path(), func(tx *bolt.Tx) error {
		for _, name := range []string{"upstream", "identities"} {
			b := tx.Bucket([]byte(name))
			if err := b.Put([]byte(mallory.id), append([]byte(nil), b.Get([]byte(victim.id))...)); err != nil {
				return err
			}
		}
		v, m := sum("victim"), sum("mallory")
		b := tx.Bucket([]byte("signins"))
		return b.Put(v[:], append([]byte(nil), b.Get(m[:])...))
	})
	h.reopenTampered()
	if u, err := h.Upstream(mallory.id); !errors.Is(err, storage.ErrUnavailable) || u.Access != "" {
		t.Errorf("another grant's tokens are served: %v", err)
	}
	if i, err := h.Identity(mallory.id); !errors.Is(err, storage.ErrUnavailable) || i.Name != "" {
		t.Errorf("another grant's identity is served: %v", err)
	}
	if _, err := h.SignIn(sum("victim")); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a copied sign-in is served: %v", err)
	}
	if _, err := h.Upstream(victim.id); err != nil {
		t.Errorf("the record in its place: %v", err)
	}
	if h.Verify() == nil {
		t.Error("Verify sees nothing")
	}
	h.must(h.Ready())
}

func (h *harness) reopenTampered() {
	h.Helper()
	s, err := storage.Open(h.Context(), h.opts)
	h.must(err)
	h.Cleanup(func() { h.must(s.Close()) })
	h.Store = s
}

// TestDamagedGrant: a record that was cut anywhere is our own trouble, never a verdict.
func TestDamagedGrant(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	h.must(h.Close())
	var whole []byte
	tamper(t, h.Path(), func(tx *bolt.Tx) error {
		whole = append(whole, tx.Bucket([]byte("grants")).Get([]byte(l.id))...)
		return nil
	})
	for cut := 0; cut < len(whole); cut += 11 {
		tamper(t, h.Path(), func(tx *bolt.Tx) error { return tx.Bucket([]byte("grants")).Put([]byte(l.id), whole[:cut]) })
		s, err := storage.Open(t.Context(), h.opts)
		h.must(err)
		_, err = s.GrantKey(l.id)
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("cut to %d of %d bytes: %v, want ErrUnavailable", cut, len(whole), err)
		}
		_, _ = s.Grant(l.id) // must not panic
		h.must(s.Close())
	}
	h.Store, _ = storage.Open(t.Context(), h.opts)
	h.must(h.Close())
}

// TestClosed: later calls answer that, and nobody waits for ever.
func TestClosed(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for gen := uint32(1); ; {
				g, _, _, err := h.RotateRefresh(t.Context(), h.present(l.id, gen))
				if err != nil {
					if !errors.Is(err, storage.ErrUnavailable) {
						t.Errorf("after Close: %v", err)
					}
					return
				}
				gen = g.Gen
			}
		})
	}
	h.must(h.Close())
	wg.Wait()
	if _, err := h.Grant(l.id); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Grant after Close: %v", err)
	}
	h.must(h.Close())
}

// TestReserve: real blocks are held ahead of the data, at the start and as the file grows.
func TestReserve(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	held := func() int64 {
		var st syscall.Stat_t
		h.must(syscall.Stat(h.Path(), &st))
		return st.Blocks * 512
	}
	if held() < 16<<20 {
		t.Errorf("%d bytes held after the start", held())
	}
	big := strings.Repeat("x", 64<<10)
	for i := 0; h.Size() < 24<<20; i++ {
		h.must(h.SaveDocument(t.Context(), storage.Client{ID: big[:i+1], Name: big[:1000] + big}))
		if free := held() - h.Size(); free < 8<<20-1<<20 {
			t.Fatalf("%d bytes held ahead of %d", free, h.Size())
		}
	}
}
