package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
	"hostedmcp/web/admin"
)

// file is a name beside the data folder.
func (r *rig) file(name string) string { return filepath.Join(filepath.Dir(r.opts.Dir), name) }

func TestBackup(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		path := r.file("backup")
		got := r.run("backup", path)
		if got.code != 0 || !strings.HasPrefix(got.out, path+": ") {
			t.Fatalf("%+v", got)
		}
		has(t, got.err, "master key is not in it")
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
		text, err := os.ReadFile(path)
		r.must(err)
		for _, s := range r.secrets {
			if bytes.Contains(text, []byte(s)) {
				t.Error("a secret in clear")
			}
		}

		// never over a file, unless that is meant; a folder never
		if got = r.run("backup", path); got.code != 1 || !strings.Contains(got.err, "there already: name another file, or overwrite it with -force") {
			t.Errorf("%+v", got)
		}
		if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, text) {
			t.Error("the file was changed")
		}
		if got = r.run("backup", path, "-force"); got.code != 0 {
			t.Errorf("%+v", got)
		}
		for _, own := range []string{"hostedmcp.db", "master.key"} {
			link, before := r.file("link-to-"+own), filepath.Join(r.opts.Dir, own)
			r.must(os.Symlink(before, link))
			is, err := os.Stat(before)
			r.must(err)
			for _, path := range []string{before, link} {
				if got = r.run("backup", path, "-force"); got.code != 1 || !strings.Contains(got.err, "is the store itself, or its master key") {
					t.Errorf("%s: %+v", path, got)
				}
			}
			if now, err := os.Stat(before); err != nil || !os.SameFile(is, now) || is.Size() != now.Size() {
				t.Errorf("%s was replaced", own)
			}
		}
		if got = r.run("backup", filepath.Dir(path), "-force"); got.code != 1 || !strings.Contains(got.err, "is a folder") {
			t.Errorf("%+v", got)
		}
		if got = r.run("backup", r.file("none/backup")); got.code != 1 {
			t.Errorf("%+v", got)
		}

		var a struct {
			File  string
			Bytes int64
		}
		got = r.run("backup", "-json", r.file("b2"))
		if err := json.Unmarshal([]byte(got.out), &a); err != nil || a.File != r.file("b2") || a.Bytes < 1000 {
			t.Errorf("%v: %+v", err, got)
		}
		r.env.Terminal = true
		if got = r.run("backup", r.file("b3")); got.code != 0 || !strings.Contains(got.err, "\r\x1b[K") {
			t.Errorf("no progress: %+v", got)
		}
		if got = r.run("backup", "-"); got.code != 2 || !strings.Contains(got.err, "a backup is no text") {
			t.Errorf("%+v", got)
		}
		r.noLeftovers()
	})
}

// noLeftovers fails if a command left a file that is not whole.
func (r *rig) noLeftovers() {
	r.Helper()
	for _, dir := range []string{filepath.Dir(r.opts.Dir), r.opts.Dir} {
		files, err := os.ReadDir(dir)
		r.must(err)
		for _, f := range files {
			if strings.Contains(f.Name(), ".part") || strings.Contains(f.Name(), ".new") {
				r.Errorf("%s was left", f.Name())
			}
		}
	}
}

// "-" is the same file, on standard output, and nothing else is.
func TestBackupToStdout(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		got := r.run("backup", "-")
		if got.code != 0 {
			t.Fatalf("%+v", got.err)
		}
		path := r.file("piped")
		r.must(os.WriteFile(path, []byte(got.out), 0o600))
		r.close()
		r.must(os.Remove(filepath.Join(r.opts.Dir, "hostedmcp.db")))
		if got = r.run("restore", path); got.code != 0 {
			t.Fatalf("%+v", got)
		}
		if got = r.run("grants", "list"); !strings.Contains(got.out, idBob) {
			t.Errorf("%+v", got)
		}
	})
}

// A backup that was cut off is no file.
func TestBackupCutOff(t *testing.T) {
	r := newRig(t)
	r.close()
	l, err := net.Listen("unix", r.socket)
	r.must(err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodGet {
			io.WriteString(w, `{"server":"hostedmcp"}`)
			return
		}
		io.WriteString(w, strings.Repeat("x", 100_000))
		panic(http.ErrAbortHandler)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	defer func() { server.Close(); <-done }()
	got := r.run("backup", r.file("backup"))
	if _, err := os.Stat(r.file("backup")); got.code != 1 || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v: %+v", err, got)
	}
	r.noLeftovers()
	if got = r.run("backup", "-"); got.code != 1 {
		t.Errorf("cut off on stdout: code %d", got.code)
	}
}

// Ctrl-C in the middle is a fault, on a closed file as well: what was written is not taken for whole.
func TestBackupInterrupted(t *testing.T) {
	for _, live := range []bool{true, false} {
		r := newRig(t)
		// the rest must not be there before Ctrl-C is
		r.between = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.Method == http.MethodPost {
					w = &heldAfterFirst{ResponseWriter: w, gone: req.Context().Done()}
				}
				next.ServeHTTP(w, req)
			})
		}
		if live {
			r.serve()
		} else {
			r.close()
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		env := r.env
		env.Stdout, env.Stderr = stopAtFirst(stop), io.Discard
		if err := admin.Run(ctx, "backup", []string{"-"}, env); admin.ExitCode(err) != 1 {
			t.Errorf("live %v: got %v", live, err)
		}
	}
}

// heldAfterFirst sends one piece of an answer, and the others when the client has gone.
type heldAfterFirst struct {
	http.ResponseWriter
	gone   <-chan struct{}
	pieces int
}

func (w *heldAfterFirst) Write(p []byte) (int, error) {
	if w.pieces++; w.pieces > 1 {
		<-w.gone
	}
	n, err := w.ResponseWriter.Write(p)
	if err == nil {
		err = http.NewResponseController(w.ResponseWriter).Flush()
	}
	return n, err
}

func (w *heldAfterFirst) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// stopAtFirst is the reader of a pipe who presses Ctrl-C when something comes.
type stopAtFirst func()

func (f stopAtFirst) Write(p []byte) (int, error) { f(); return len(p), nil }

func TestRestore(t *testing.T) {
	r := newRig(t)
	r.serve()
	path := r.file("backup")
	if got := r.run("backup", path); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	if got := r.run("grants", "end", idBob); got.code != 0 {
		t.Fatalf("%+v", got)
	}

	// under a running server the ground is not pulled away
	got := r.run("restore", path)
	if got.code != 1 {
		t.Fatalf("%+v", got)
	}
	has(t, got.err, "hostedmcp is running (pid ", "systemctl stop hostedmcp")
	r.stop()
	r.stop = nil
	got = r.run("restore", path)
	if got.code != 1 {
		t.Fatalf("%+v", got)
	}
	has(t, got.err, "has the store open", "systemctl stop hostedmcp")
	r.close()

	got = r.run("restore", path)
	if got.code != 0 || got.out != "Restored 3 living connections.\n" {
		t.Fatalf("%+v", got)
	}
	has(t, got.err, "The backup is of 2026-03-01", "1 connection in it had ended since", "is kept as", "Start hostedmcp")
	if g := r.grantNow(idBob); g.Ended != oauth.AdminRevoked {
		t.Errorf("bob's connection came back: %q", g.Ended)
	}
	if g := r.grantNow(idAlice); g.Ended != "" {
		t.Errorf("alice's connection ended: %q", g.Ended)
	}

	var a map[string]any
	got = r.run("restore", "-json", path)
	if err := json.Unmarshal([]byte(got.out), &a); err != nil || a["grants"] != 3.0 || a["ended"] != 1.0 || a["replaced"] == nil || a["backup_at"] == nil {
		t.Errorf("%v: %+v", err, got)
	}
}

// The replaced file that cannot be read is said aloud: ended connections may live again.
func TestRestoreOverDamage(t *testing.T) {
	r := newRig(t)
	r.serve()
	path := r.file("backup")
	r.run("backup", path)
	r.close()
	r.must(os.WriteFile(filepath.Join(r.opts.Dir, "hostedmcp.db"), bytes.Repeat([]byte("\x1bdamage"), 10_000), 0o600))
	got := r.run("restore", path)
	if got.code != 0 {
		t.Fatalf("%+v", got)
	}
	has(t, got.err, "could not be read (", "live again", "hostedmcp rotate-key -signing")
}

func TestRestoreRefuses(t *testing.T) {
	r := newRig(t)
	r.close()
	garbage := r.file("garbage")
	r.must(os.WriteFile(garbage, []byte("this is no backup"), 0o600))
	before, err := os.ReadFile(filepath.Join(r.opts.Dir, "hostedmcp.db"))
	r.must(err)
	for _, path := range []string{garbage, r.file("none"), filepath.Dir(r.opts.Dir)} {
		if got := r.run("restore", path); got.code != 1 || got.err == "" {
			t.Errorf("%s: %+v", path, got)
		}
	}
	after, err := os.ReadFile(filepath.Join(r.opts.Dir, "hostedmcp.db"))
	if err != nil || !bytes.Equal(before, after) {
		t.Error("the store was changed")
	}
	r.noLeftovers()
}

func TestRotateKey(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		key := filepath.Join(r.opts.Dir, "master.key")
		before, err := os.ReadFile(key)
		r.must(err)
		got := r.run("rotate-key", "-master")
		if got.code != 0 || !strings.Contains(got.out, "The master key is replaced: "+key) {
			t.Fatalf("%+v", got)
		}
		after, err := os.ReadFile(key)
		if err != nil || bytes.Equal(before, after) {
			t.Error("the key is as it was")
		}
		hasNot(t, got.out+got.err, strings.TrimSpace(string(after)), strings.TrimSpace(string(before)))

		r.env.Terminal = true
		got = r.run("rotate-key", "-data")
		if got.code != 0 || !strings.Contains(got.out, "every record sealed anew") || !strings.Contains(got.err, " records") {
			t.Fatalf("%+v", got)
		}
		r.env.Terminal = false

		var a struct {
			Key, ID string
			Retire  string
		}
		got = r.run("rotate-key", "-signing", "-json")
		if err := json.Unmarshal([]byte(got.out), &a); err != nil || a.Key != "signing" || len(a.ID) != 43 || a.Retire != "2026-03-02T14:00:00Z" {
			t.Errorf("%v: %+v", err, got)
		}
		golden(t, "rotate.json", r.run("rotate-key", "-data", "-json").out)
		r.noLeftovers()
		if r.store == nil {
			r.open()
		}
		r.must(r.store.Verify())
		if keys := r.store.SigningKeys(); len(keys) != 2 || keys[0].ID != a.ID {
			t.Errorf("%d signing keys", len(keys))
		}
	})
}

// A key that we cannot replace is written where the operator says, as a path of the operator's own folder.
func TestRotateToFile(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		t.Chdir(filepath.Dir(r.opts.Dir))
		got := r.run("rotate-key", "-master", "-new-key-file", "new.key")
		if got.code != 0 || !strings.Contains(got.out, "The new master key is in "+r.file("new.key")) {
			t.Fatalf("%+v", got)
		}
		if got = r.run("rotate-key", "-master", "-new-key-file", "new.key"); got.code != 1 || !strings.Contains(got.err, "exists: name a new file") {
			t.Errorf("%+v", got)
		}
		r.close()
		r.opts.Config = storage.DefaultConfig()
		r.opts.Config.KeyFile = r.file("new.key")
		r.open()
	})
}

// One long operation at a time.
func TestLongOperationsAlone(t *testing.T) {
	r := newRig(t)
	r.serve()
	h := r.http()
	slow, err := net.Dial("unix", r.socket)
	r.must(err)
	defer slow.Close()
	// a rotation whose body does not come holds its place
	_, err = io.WriteString(slow, "POST /v1/keys/data HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
	r.must(err)
	status, answer := 0, ""
	for range 20 { // until the server has seen the rotation
		if status, answer = r.send(h, "POST", "/v1/backup", ""); status == http.StatusConflict {
			break
		}
	}
	has(t, answer, "is running already: wait")
	_, err = io.WriteString(slow, "{}")
	r.must(err)
	line := make([]byte, 12)
	_, err = io.ReadFull(slow, line)
	if err != nil || string(line) != "HTTP/1.1 200" {
		t.Errorf("%q %v", line, err)
	}
}

// What goes wrong on the way is the last line; the client says it, and the log has it.
func TestRotateFails(t *testing.T) {
	r := newRig(t)
	r.serve()
	r.must(r.store.Close()) // as a disk that fails
	got := r.run("rotate-key", "-signing")
	if got.code != 1 || got.out != "" {
		t.Errorf("%+v", got)
	}
	has(t, got.err, "storage: unavailable", "make room on its disk")
	has(t, r.log.String(), "rotate-key", "level=WARN")
	if got = r.run("grants", "list"); got.code != 1 || !strings.Contains(got.err, "storage: unavailable") {
		t.Errorf("%+v", got)
	}
	if got = r.run("backup", r.file("backup")); got.code != 1 {
		t.Errorf("%+v", got)
	}
	r.noLeftovers()
	r.stop()
	r.stop, r.store = nil, nil
}

// An answer without its last line was cut off, whatever came before.
func TestRotateCutOff(t *testing.T) {
	r := newRig(t)
	r.close()
	l, err := net.Listen("unix", r.socket)
	r.must(err)
	var last string
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodGet {
			io.WriteString(w, `{"server":"hostedmcp"}`)
			return
		}
		io.WriteString(w, `{"done":1,"total":10}`+"\n"+last)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	defer func() { server.Close(); <-done }()
	for text, want := range map[string]string{
		"": "the answer was cut off", `{"error":"no room\u001b[31m"}`: `no room\u{001b}`, "<html>": "cannot be read",
	} {
		last = text
		got := r.run("rotate-key", "-data")
		if got.code != 1 || !strings.Contains(got.err, want) {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// A door of its own says when the old key's tokens have run out.
func TestRetire(t *testing.T) {
	r := newRig(t)
	r.door.Retire = func() time.Time { return r.clock.Now().Add(3600e9) }
	r.serve()
	has(t, r.run("rotate-key", "-signing").out, "those of the old one are accepted until 2026-03-01T15:00:00Z")
}
