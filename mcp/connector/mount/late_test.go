package mount_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// lateChild says by one fifo that it has begun, and serves only when the other one opens.
func lateChild(args []string) {
	for i, mode := range []int{os.O_WRONLY, os.O_RDONLY} {
		f, err := os.OpenFile(args[i], mode, 0)
		if err != nil {
			os.Exit(1)
		}
		_ = f.Close()
	}
	serveStdio(everything("legacy"))
}

// A child that takes longer to start than its first caller waits is there for the next one: started anew by each it
// would never come up.
func TestLateChild(t *testing.T) {
	begun, serve := filepath.Join(t.TempDir(), "begun"), filepath.Join(t.TempDir(), "serve")
	for _, fifo := range []string{begun, serve} {
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := overStdio(t, "late", begun, serve)
	call := tool(by("alice", "", nil), "echo", `{"n":1}`, "")
	first, leave := context.WithCancel(bounded(t))
	left := make(chan error, 1)
	go func() {
		_, err := m.Do(first, call)
		left <- err
	}()
	f, err := os.OpenFile(begun, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	leave()
	if err := <-left; err == nil {
		t.Error("it was answered")
	}
	if f, err = os.OpenFile(serve, os.O_RDWR, 0); err != nil { // for reading too: so it does not wait for the child
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if got := m.says(bounded(t), call); got != `{"n":1}` {
		t.Error(got)
	}
}
