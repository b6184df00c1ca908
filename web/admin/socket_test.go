package admin_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"hostedmcp/web/admin"
)

// TestMain is also the stranger who asks at the socket: a process of another user.
func TestMain(m *testing.M) {
	if path := os.Getenv("HOSTEDMCP_ASK_SOCKET"); path != "" {
		answer, err := ask(path)
		io.WriteString(os.Stdout, answer)
		if err != nil {
			io.WriteString(os.Stdout, err.Error())
		}
		return
	}
	os.Exit(m.Run())
}

// ask sends a ping and returns the status line and what follows.
func ask(path string) (string, error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /v1/ping HTTP/1.0\r\nHost: hostedmcp\r\n\r\n")
	answer, err := io.ReadAll(bufio.NewReader(conn))
	if len(answer) > 0 {
		err = nil // a peer that is turned away is not read from to the end
	}
	return string(answer), err
}

func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "hm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestListenMode(t *testing.T) {
	for _, umask := range []int{0, 0o077} {
		old := syscall.Umask(umask)
		path := filepath.Join(shortDir(t), "run", "admin.sock")
		l, err := admin.Listen(path)
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != os.ModeSocket|0o600 {
			t.Errorf("umask %#o: mode %v, %v", umask, info.Mode(), err)
		}
		if info, err = os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("umask %#o: folder %v, %v", umask, info.Mode(), err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after Close: %v", err)
		}
	}
}

func TestListenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, dir string) (path string)
		want    []string
	}{
		{"a living server", func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "s")
			l, err := admin.Listen(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			return path
		}, []string{"another hostedmcp answers at", "stop it"}},
		{"a folder that all can write to", func(t *testing.T, dir string) string {
			if err := os.Chmod(dir, os.ModeSticky|0o777); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, "s")
		}, []string{"others can write to the folder", "chmod go-w"}},
		{"a folder that the group can write to", func(t *testing.T, dir string) string {
			if err := os.Chmod(dir, 0o770); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, "s")
		}, []string{"others can write to the folder", "chmod go-w"}},
		{"a folder of somebody else", func(t *testing.T, dir string) string {
			if err := os.Chown(dir, 65534, 65534); err != nil {
				t.Skip("needs root")
			}
			return filepath.Join(dir, "s")
		}, []string{"belongs to another user (uid 65534)", "chown"}},
		{"a file that is no socket", func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "s")
			if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}, []string{"is no socket", "move it away"}},
		{"a link to a socket", func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "s")
			if err := os.Symlink(filepath.Join(dir, "elsewhere"), path); err != nil {
				t.Fatal(err)
			}
			return path
		}, []string{"is no socket"}},
		{"a path that is too long", func(t *testing.T, dir string) string {
			return filepath.Join(dir, strings.Repeat("x", 100), "s")
		}, []string{"longer than 107 bytes", "shorter path"}},
		{"a folder that is a file", func(t *testing.T, dir string) string {
			if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, "f", "s")
		}, []string{"set admin.socket to another path"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := admin.Listen(tt.prepare(t, shortDir(t)))
			if err == nil {
				l.Close()
				t.Fatal("it listens")
			}
			has(t, err.Error(), tt.want...)
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %q", err)
			}
		})
	}
}

// Who may read the folder may lock it: the start says so, and does not wait for ever.
func TestListenLocked(t *testing.T) {
	dir := shortDir(t)
	fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Flock(fd, syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if l, err := admin.Listen(filepath.Join(dir, "s")); err == nil || !strings.Contains(err.Error(), "another process keeps the folder") {
		if l != nil {
			l.Close()
		}
		t.Errorf("%v", err)
	}
}

// What a killed server leaves is replaced.
func TestListenReplacesStale(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	l, err := admin.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// Of many that start at once over a stale socket exactly one listens, and it is reached.
func TestListenRace(t *testing.T) {
	for range 20 {
		path := filepath.Join(shortDir(t), "s")
		stale, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		stale.(*net.UnixListener).SetUnlinkOnClose(false)
		stale.Close()
		var mu sync.Mutex
		var won []net.Listener
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if l, err := admin.Listen(path); err == nil {
					mu.Lock()
					defer mu.Unlock()
					won = append(won, l)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d listen", len(won))
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		won[0].Close()
	}
}

// The kernel says who calls: a process of another user is turned away, whatever the socket's mode has become.
func TestPeers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	dir := shortDir(t)
	path := filepath.Join(dir, "s")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := admin.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var peers []string
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		peers = append(peers, r.RemoteAddr)
		io.WriteString(w, "welcome")
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	defer func() { server.Close(); <-done }()

	// the mode alone keeps others out
	if out := asUser(t, 65534, path); !strings.Contains(out, "permission denied") {
		t.Errorf("mode 0600: uid 65534 got %q", out)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	out := asUser(t, 65534, path)
	if !strings.HasPrefix(out, "HTTP/1.1 403 ") || !strings.Contains(out, "only root and the user who runs hostedmcp") {
		t.Errorf("mode 0666: uid 65534 got %q", out)
	}
	if out := asUser(t, 0, path); !strings.Contains(out, "welcome") {
		t.Errorf("root got %q", out)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(peers) != 1 || !strings.HasPrefix(peers[0], "uid=0 pid=") {
		t.Errorf("the handler saw %v", peers)
	}
}

// asUser asks at the socket as somebody.
func asUser(t *testing.T, uid uint32, path string) string {
	t.Helper()
	// the test's own file may lie where others cannot go
	self := filepath.Join(filepath.Dir(path), "asker")
	text, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(self, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(self)
	cmd := exec.CommandContext(context.Background(), self)
	cmd.Env = append(os.Environ(), "HOSTEDMCP_ASK_SOCKET="+path)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestConfig(t *testing.T) {
	if got := admin.DefaultConfig().Path("data"); got != "data/admin.sock" {
		t.Error(got)
	}
	if got := (admin.Config{Socket: "/run/x/s"}).Path("data"); got != "/run/x/s" {
		t.Error(got)
	}
	for socket, ok := range map[string]bool{"": true, "/run/x/s": true, "s": true, "@abstract": false, "\x00abstract": false, "/run/x/": false} {
		if err := (admin.Config{Socket: socket}).Validate(); (err == nil) != ok || err != nil && !strings.HasPrefix(err.Error(), "admin.socket: ") {
			t.Errorf("%q: %v", socket, err)
		}
	}
}
