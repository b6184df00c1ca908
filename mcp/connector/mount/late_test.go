package mount_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"hostedmcp/mcp/connector"
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

// drowsyChild speaks the newer era, does not answer the first question, and refuses the older era's handshake.
func drowsyChild([]string) {
	in, asleep := bufio.NewReader(os.Stdin), true
	for {
		line, err := in.ReadBytes('\n')
		var a asked
		switch {
		case err != nil:
			return
		case json.Unmarshal(line, &a) != nil:
		case a.Method == "initialize":
			fmt.Printf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32022,"message":"the newer era is spoken here"}}`+"\n", a.ID)
		case a.Method == "server/discover" && asleep:
			asleep = false
		case a.Method == "server/discover":
			fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}}`+"\n", a.ID)
		case a.Method == "tools/call":
			fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"awake"}]}}`+"\n", a.ID)
		}
	}
}

// MCP 2026-07-28 "Backward Compatibility": silence may mean the older era, or a server that is slow to start; its word
// about the handshake tells.
func TestDrowsyChild(t *testing.T) {
	m := newMounted(t, connector.Config{Kind: connector.MCPStdio, Command: command(t, "drowsy"), Timeout: seconds(12)}, nil)
	if got := m.says(bounded(t), tool(by("alice", "", nil), "echo", `{}`, "")); got != "awake" {
		t.Error(got)
	}
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
