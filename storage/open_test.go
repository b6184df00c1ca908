package storage_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
	"hostedmcp/storage/storagetest"
)

// snapshot is every file below a folder with its mode and content.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		sum := sha256.Sum256(data)
		b.WriteString(path + info.Mode().String() + info.ModTime().String() + hex.EncodeToString(sum[:]) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestOpenRefuses: one clear line with the fix, and nothing touched (issue "a session", bad input).
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	key := func(o *storage.Options) string { return filepath.Join(o.Dir, "master.key") }
	file := func(o *storage.Options) string { return filepath.Join(o.Dir, "hostedmcp.db") }
	meta := func(t *testing.T, o *storage.Options, key, value string) {
		tamper(t, file(o), func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte(key), []byte(value)) })
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		name  string
		spoil func(*testing.T, *storage.Options)
		want  error
		says  []string
	}{
		{"another issuer", func(_ *testing.T, o *storage.Options) { o.Issuer = "https://new.example.com" }, storage.ErrIssuer,
			[]string{"public_url is https://new.example.com", storagetest.Issuer, "set public_url back"}},
		{"key missing", func(t *testing.T, o *storage.Options) { must(t, os.Remove(key(o))) }, storage.ErrKey, []string{"master.key is missing", "restore the key", "sign in again"}},
		{"another key", func(t *testing.T, o *storage.Options) {
			must(t, os.WriteFile(key(o), []byte(strings.Repeat("ab", 32)), 0o600))
		}, storage.ErrKey, []string{"is not the one", "restore the right key"}},
		{"key readable by others", func(t *testing.T, o *storage.Options) { must(t, os.Chmod(key(o), 0o640)) }, storage.ErrKey, []string{"0640", "chmod 600"}},
		{"key is no key", func(t *testing.T, o *storage.Options) { must(t, os.WriteFile(key(o), []byte("hello"), 0o600)) }, storage.ErrKey, []string{"64 hexadecimal digits"}},
		{"configured key missing", func(_ *testing.T, o *storage.Options) { o.Config.KeyFile = filepath.Join(o.Dir, "other.key") }, storage.ErrKey, []string{"other.key is missing"}},
		{"newer schema", func(t *testing.T, o *storage.Options) { meta(t, o, "schema", "\x00\x00\x00\x00\x00\x00\x00\x09") }, storage.ErrSchema, []string{"another version"}},
		{"damaged keys", func(t *testing.T, o *storage.Options) { meta(t, o, "keys", "x") }, storage.ErrSchema, []string{"damaged", "restore a backup"}},
		{"damaged signing keys", func(t *testing.T, o *storage.Options) { meta(t, o, "signing", "x") }, storage.ErrSchema, []string{"signing keys", "restore a backup"}},
		{"no store", func(t *testing.T, o *storage.Options) {
			must(t, os.WriteFile(file(o), []byte(strings.Repeat("not a database ", 9999)), 0o600))
		}, storage.ErrSchema, []string{"is not a store"}},
		{"folder is a file", func(t *testing.T, o *storage.Options) { o.Dir = file(o) }, storage.ErrFolder, []string{"is not a folder"}},
		{"folder cannot be made", func(t *testing.T, o *storage.Options) { o.Dir = filepath.Join(file(o), "x") }, storage.ErrFolder, []string{"cannot be used", "chown"}},
		{"no folder", func(t *testing.T, o *storage.Options) { o.Dir = "" }, storage.ErrFolder, []string{"data_dir is empty"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.connect()
			h.must(h.Close())
			o := h.opts
			o.Config = storage.DefaultConfig()
			row.spoil(t, &o)
			before := snapshot(t, h.opts.Dir)
			s, err := storage.Open(t.Context(), o)
			if !errors.Is(err, row.want) {
				t.Fatalf("Open = %v, %v; want %v", s, err, row.want)
			}
			for _, s := range row.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("the line lacks %q: %v", s, err)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %v", err)
			}
			if after := snapshot(t, h.opts.Dir); after != before {
				t.Errorf("something was touched:\n%s\n%s", before, after)
			}
		})
	}
}

// TestSecondProcess: the lock is waited for one second at most.
func TestSecondProcess(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	_, err := storage.Open(t.Context(), h.opts)
	if !errors.Is(err, storage.ErrLocked) || !strings.Contains(err.Error(), "in use by another hostedmcp") {
		t.Errorf("Open = %v, want ErrLocked", err)
	}
	h.connect()
	h.check()
}

// TestNotWritable: a folder of somebody else. The super-user may write everywhere, so only the line is at stake then.
func TestNotWritable(t *testing.T) {
	t.Parallel()
	dir, fix := t.TempDir(), "chown"
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // whom no mode stops: a place where nobody can make a folder
		dir, fix = "/proc/hostedmcp", "/proc/hostedmcp"
	}
	_, err := storage.Open(t.Context(), storage.Options{Dir: dir, Issuer: storagetest.Issuer})
	if !errors.Is(err, storage.ErrFolder) || !strings.Contains(err.Error(), fix) {
		t.Errorf("Open = %v, want ErrFolder with %q", err, fix)
	}
}

// TestModes: 0600 and 0700 whatever the umask. Not parallel: the umask is the process's.
func TestModes(t *testing.T) {
	for _, umask := range []int{0, 0o777} {
		old := syscall.Umask(umask)
		dir := filepath.Join(t.TempDir(), "a", "data")
		if umask == 0o777 { // the parent is not ours to make then
			syscall.Umask(old)
			if err := os.Mkdir(filepath.Dir(dir), 0o700); err != nil {
				t.Fatal(err)
			}
			syscall.Umask(umask)
		}
		s, err := storage.Open(context.Background(), storage.Options{Dir: dir, Issuer: storagetest.Issuer})
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		if db, key := s.Created(); !db || !key {
			t.Errorf("Created = %v, %v", db, key)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 2 {
			t.Errorf("the folder holds %v, %v", entries, err)
		}
		for _, name := range []string{"", "hostedmcp.db", "master.key"} {
			info, err := os.Stat(filepath.Join(dir, name))
			want := fs.FileMode(0o600)
			if name == "" {
				want = fs.ModeDir | 0o700
			}
			if err != nil || info.Mode() != want {
				t.Errorf("umask %#o: %q has mode %v, %v; want %v", umask, name, info.Mode(), err, want)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTighten: rights that somebody gave to others are taken back.
func TestTighten(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.must(os.Chmod(h.Path(), 0o644))
	h.reopen()
	if info, err := os.Stat(h.Path()); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if db, key := h.Created(); db || key {
		t.Errorf("Created = %v, %v at the second start", db, key)
	}
}

// TestKeySources: which key is taken, and that the store opens with the same bytes from elsewhere.
func TestKeySources(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	h.must(h.Close())
	text, err := os.ReadFile(filepath.Join(h.opts.Dir, "master.key"))
	h.must(err)
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	h.must(err)
	h.must(os.Remove(filepath.Join(h.opts.Dir, "master.key")))

	elsewhere := t.TempDir()
	h.must(os.WriteFile(filepath.Join(elsewhere, "hostedmcp-key"), text, 0o440)) // systemd's access lists show as group bits
	h.opts.CredentialsDir = elsewhere
	h.Store = storagetest.Open(t, h.opts)
	h.wantLiving(l.id)
	h.must(h.Close())

	h.opts.Config = storage.DefaultConfig()
	h.opts.Config.KeyFile = filepath.Join(elsewhere, "raw.key")
	h.must(os.WriteFile(h.opts.Config.KeyFile, raw, 0o600))
	h.Store = storagetest.Open(t, h.opts)
	h.wantLiving(l.id)
	h.check()
}

// TestFirstStarts: two processes start on nothing at once; one store comes of it, and the other says that it is in use.
func TestFirstStarts(t *testing.T) {
	t.Parallel()
	o := storage.Options{Dir: t.TempDir(), Issuer: storagetest.Issuer}
	type result struct {
		s   *storage.Store
		err error
	}
	results := make(chan result, 4)
	for range cap(results) {
		go func() { s, err := storage.Open(context.Background(), o); results <- result{s, err} }()
	}
	opened := 0
	for range cap(results) {
		r := <-results
		if r.err == nil {
			opened++
			defer r.s.Close()
		} else if !errors.Is(r.err, storage.ErrLocked) {
			t.Errorf("Open: %v", r.err)
		}
	}
	if opened != 1 {
		t.Errorf("%d processes opened the store", opened)
	}
	if entries, _ := os.ReadDir(o.Dir); len(entries) != 2 {
		t.Errorf("the folder holds %v", entries)
	}
}

// TestKeysStay: what hangs on keys survives a restart, and differs between stores.
func TestKeysStay(t *testing.T) {
	t.Parallel()
	h, other := newHarness(t), storagetest.New(t)
	key, signing := string(h.Key("sid")), h.SigningKeys()
	sealed := h.Seal("ticket", []byte("content"), []byte("ad"))
	if len(signing) != 1 || signing[0].ID == "" || !signing[0].RetireAt.IsZero() {
		t.Fatalf("SigningKeys = %v", signing)
	}
	h.reopen()
	if got := h.SigningKeys(); len(got) != 1 || got[0].ID != signing[0].ID || !got[0].Private.Equal(signing[0].Private) {
		t.Error("another signing key after a restart")
	}
	if string(h.Key("sid")) != key || string(h.Key("email")) == key || string(other.Key("sid")) == key {
		t.Error("Key hangs on something else than store and label")
	}
	for _, row := range []struct {
		name, label, ad string
		s               *storage.Store
		ok              bool
	}{{"same", "ticket", "ad", h.Store, true}, {"other label", "csrf", "ad", h.Store, false}, {"other ad", "ticket", "x", h.Store, false}, {"other store", "ticket", "ad", other, false}} {
		if plain, err := row.s.OpenSealed(row.label, sealed, []byte(row.ad)); (err == nil) != row.ok || row.ok && string(plain) != "content" {
			t.Errorf("%s: OpenSealed = %q, %v", row.name, plain, err)
		}
	}
}

// TestConfig: all faults at once, with their keys.
func TestConfig(t *testing.T) {
	t.Parallel()
	if err := storage.DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	err := storage.Config{EventsPerGrant: 1, EventsTTL: oauth.Duration(time.Minute)}.Validate()
	if err == nil || !strings.Contains(err.Error(), "storage.events_per_grant") || !strings.Contains(err.Error(), "storage.events_ttl") {
		t.Errorf("Validate = %v", err)
	}
}

// tamper changes the file of a closed store behind its back.
func tamper(t testing.TB, path string, change func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestTempsOfACrash: what a killed backup, restore or rotation left beside the store goes with a later start, and nothing
// else does.
func TestTempsOfACrash(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	dir := h.opts.Dir
	left := map[string]bool{
		"hostedmcp.db." + rand.Text() + ".new": false, "master.key." + rand.Text() + ".new": false,
		"hostedmcp.db.mine.new": true, "other." + rand.Text() + ".new": true, "hostedmcp.db.replaced-1": true,
	}
	young := "hostedmcp.db." + rand.Text() + ".new"
	for name := range left {
		h.must(os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
		h.must(os.Chtimes(filepath.Join(dir, name), time.Time{}, time.Now().Add(-2*time.Hour)))
	}
	h.must(os.WriteFile(filepath.Join(dir, young), []byte("x"), 0o600))
	left[young] = true
	h.reopen()
	for name, stays := range left {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != stays {
			t.Errorf("%s: %v, stays %v", name, err, stays)
		}
	}
}
