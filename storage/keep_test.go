package storage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hostedmcp/storage"
	"hostedmcp/storage/storagetest"
)

// TestKeep: what is replaced is under its own name until another is renamed over it, with second names and without;
// several within a second stay apart.
func TestKeep(t *testing.T) {
	t.Parallel()
	for _, no := range []error{nil, syscall.EPERM, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.EXDEV, syscall.ENOSYS} {
		t.Run(fmt.Sprint(no), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			was, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			var o storage.Options
			o.LinksFail(no)
			for _, want := range []string{path + ".replaced-1", path + ".replaced-2"} {
				kept, err := o.Keep(t.Context(), path)
				if kept != want || err != nil {
					t.Errorf("kept as %s, %v", kept, err)
				}
				for _, name := range []string{path, want} {
					data, err := os.ReadFile(name)
					info, statErr := os.Stat(name)
					if err != nil || statErr != nil || string(data) != "x" || info.Mode() != 0o600 {
						t.Errorf("%s: %q, %v, %v", name, data, info, err)
					} else if copied := !os.SameFile(info, was); copied != (no != nil && name != path) {
						t.Errorf("%s is another file: %v", name, copied)
					}
				}
			}
			if names, _ := filepath.Glob(path + "*"); len(names) != 3 {
				t.Errorf("the folder holds %v", names)
			}
		})
	}
}

// TestKeepFails: a link that fails for another reason is no cause for a copy, a copy that fails leaves nothing.
func TestKeepFails(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	var o storage.Options
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, row := range []struct {
		link, want error
		ctx        context.Context
		path       string
	}{
		{syscall.EACCES, syscall.EACCES, t.Context(), path},
		{syscall.ENOSPC, syscall.ENOSPC, t.Context(), path},
		{syscall.EPERM, context.Canceled, over, path},
		{syscall.EPERM, os.ErrNotExist, t.Context(), path + "2"},
	} {
		o.LinksFail(row.link)
		if kept, err := o.Keep(row.ctx, row.path); kept != "" || !errors.Is(err, row.want) {
			t.Errorf("%v: kept as %q, %v", row.link, kept, err)
		}
	}
	if names, _ := filepath.Glob(path + "*"); len(names) != 1 {
		t.Errorf("the folder holds %v", names)
	}
}

// TestWithoutLinks: on a file system without second names a master key is replaced and a backup restored all the same,
// and what they replaced is there.
func TestWithoutLinks(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(o *storage.Options) { o.LinksFail(syscall.EPERM) })
	l, check := h.fill()
	backup := h.backup()
	file, err := h.RotateMaster(t.Context())
	h.must(err)
	h.onlyFiles()
	h.reopen()
	check()
	if kept, _ := filepath.Glob(file + ".replaced-*"); len(kept) != 1 {
		t.Fatalf("the old key: %v", kept)
	}
	h.end(l.id)
	r := h.restore(backup) // which opens with the key that was kept
	if r.Ended != 1 || h.grant(l.id).Living() {
		t.Errorf("an ended grant: %+v", r)
	}
	// What was replaced is a whole store, under the new key.
	o := h.opts
	o.Dir = t.TempDir()
	storedAs(t, file, filepath.Join(o.Dir, "master.key"))
	storedAs(t, r.Replaced, filepath.Join(o.Dir, "hostedmcp.db"))
	was := storagetest.Open(t, o)
	storagetest.Check(t, was)
	if g, err := was.Grant(l.id); err != nil || g.Living() || !was.RestoredAt().IsZero() {
		t.Errorf("%+v, %v", g, err)
	}
}

// TestWithoutLinksOrRoom: a copy that cannot be made leaves everything as it was, and is named.
func TestWithoutLinksOrRoom(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(o *storage.Options) { o.LinksFail(syscall.EMLINK) })
	_, check := h.fill()
	backup := h.backup()
	old := readMaster(t, h.opts.Dir)
	if _, err := h.RotateMaster(t.Context()); !errors.Is(err, storage.ErrKey) || !strings.Contains(err.Error(), "too many links") {
		t.Errorf("rotate: %v", err)
	}
	h.reopen()
	check()
	if readMaster(t, h.opts.Dir) != old {
		t.Error("the key was replaced")
	}
	h.must(h.Close())
	if _, err := storage.Restore(t.Context(), h.opts, backup); !errors.Is(err, storage.ErrFolder) || !strings.Contains(err.Error(), "too many links") {
		t.Errorf("restore: %v", err)
	}
	h.onlyFiles()
	h.reopenTampered()
	check()
	if !h.RestoredAt().IsZero() {
		t.Error("the backup took the store's place")
	}
}
