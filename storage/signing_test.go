package storage_test

import (
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
	"hostedmcp/storage/storagetest"
)

func (h *harness) signingIDs() (ids []string) {
	for _, k := range h.SigningKeys() {
		ids = append(ids, k.ID)
	}
	return ids
}

// TestRestoreSigning: a signing key that a stranger knows is replaced; a backup from before must not bring it back. What
// the replaced file has signed with stays good, unless it was another store's.
func TestRestoreSigning(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.connect()
	leaked, before := h.signingIDs(), h.backup()
	h.clock.Advance(time.Minute)
	_, err := h.RotateSigning(t.Context(), time.Time{})
	h.must(err)
	fresh, after := h.signingIDs(), h.backup()
	h.restore(before)
	if got := h.signingIDs(); !slices.Equal(got, fresh) || slices.Equal(got, leaked) {
		t.Errorf("an older backup: %v, want %v", got, fresh)
	}
	other := newHarness(t)
	other.must(other.Close())
	other.must(os.Remove(other.Path()))
	h.copyKey(other.opts.Dir)
	other.Store = storagetest.Open(t, other.opts)
	own := other.signingIDs()
	if other.restore(before); !slices.Equal(other.signingIDs(), leaked) || slices.Equal(own, leaked) {
		t.Errorf("over another store: %v, want %v", other.signingIDs(), leaked)
	}
	other.clock.Advance(time.Minute)
	if other.restore(after); !slices.Equal(other.signingIDs(), fresh) {
		t.Errorf("a newer backup: %v, want %v", other.signingIDs(), fresh)
	}
}

// TestRotateSigning: a new key signs at once, the one before serves until its last token has expired.
func TestRotateSigning(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	first := h.SigningKeys()[0]
	second, err := h.RotateSigning(t.Context(), h.Now().Add(time.Hour))
	h.must(err)
	wantIDs := func(want ...string) {
		t.Helper()
		if got := h.signingIDs(); !slices.Equal(got, want) {
			t.Errorf("signing keys %v, want %v", got, want)
		}
	}
	wantIDs(second.ID, first.ID)
	if k := h.SigningKeys(); !k[0].RetireAt.IsZero() || !k[1].RetireAt.Equal(h.Now().Add(time.Hour)) || !k[1].Private.Equal(first.Private) {
		t.Errorf("%+v", k)
	}
	h.clock.Advance(time.Minute)
	third, err := h.RotateSigning(t.Context(), h.Now().Add(2*time.Hour))
	h.must(err)
	h.reopen()
	h.check()
	wantIDs(third.ID, second.ID, first.ID)
	h.clock.Advance(59 * time.Minute)
	wantIDs(third.ID, second.ID) // before any sweep
	h.sweep(storage.SweepLimits{})
	h.clock.Step(-30 * time.Minute)
	wantIDs(third.ID, second.ID) // it is gone, not only hidden
	h.reopen()
	wantIDs(third.ID, second.ID)
	if n := len(h.told); n != 2 || h.told[0].Reason != oauth.KeyRotated || h.told[0].Grant != "" {
		t.Errorf("OnEvent was told %v", h.told)
	}
	fourth, err := h.RotateSigning(t.Context(), time.Time{}) // stolen: no token of it lives on
	h.must(err)
	wantIDs(fourth.ID, second.ID)
}

// TestSigningUnderUse: whoever signs meanwhile finds a key that the file knows; more keys than are kept are no fault.
func TestSigningUnderUse(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if k := h.SigningKeys(); len(k) == 0 || !k[0].RetireAt.IsZero() {
					t.Errorf("no current key: %v", k)
					return
				}
			}
		})
	}
	var rotations sync.WaitGroup
	for range 30 {
		rotations.Go(func() {
			if _, err := h.RotateSigning(t.Context(), h.Now().Add(time.Hour)); err != nil {
				t.Error(err)
			}
		})
	}
	rotations.Wait()
	close(stop)
	wg.Wait()
	before := h.signingIDs()
	h.reopen()
	if after := h.signingIDs(); len(after) != 16 || !slices.Equal(before, after) {
		t.Errorf("%d keys, %d after a restart", len(before), len(after))
	}
	h.check()
}

// TestRotateSigningFailed is the pair of a failed commit: memory and file agree after either.
func TestRotateSigningFailed(t *testing.T) {
	t.Parallel()
	for _, happened := range []bool{false, true} {
		h := newHarness(t)
		h.reopen()
		left := 2
		h.FailCommits(func(real func() error) error {
			if left--; left < 0 {
				return real()
			}
			if happened {
				return errors.Join(real(), errDisk)
			}
			return errDisk
		})
		before := h.signingIDs()
		if _, err := h.RotateSigning(t.Context(), h.Now().Add(time.Hour)); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("RotateSigning: %v", err)
		}
		inMemory := h.signingIDs()
		if slices.Equal(before, inMemory) == happened {
			t.Errorf("happened %v: keys %v before, %v after", happened, before, inMemory)
		}
		h.untilReady()
		h.reopen()
		if got := h.signingIDs(); !slices.Equal(got, inMemory) {
			t.Errorf("happened %v: keys %v in memory, %v in the file", happened, inMemory, got)
		}
	}
}
