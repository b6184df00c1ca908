package mount_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"hostedmcp/mcp/connector"
)

// deaf is a server of the older era that begins sessions and calls of tools and never ends any.
type deaf struct {
	began chan string // "METHOD method"
	mu    sync.Mutex
	made  int
}

func (d *deaf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var a asked
	_ = json.Unmarshal(body, &a)
	w.Header().Set("Content-Type", "application/json")
	switch a.Method {
	case "initialize":
		d.mu.Lock()
		d.made++
		w.Header().Set("Mcp-Session-Id", fmt.Sprint("s", d.made))
		d.mu.Unlock()
		fmt.Fprint(w, result(a.ID, `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}}}`))
	case "server/discover":
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, a.ID)
	case "notifications/initialized":
		w.WriteHeader(http.StatusAccepted)
	default:
		d.began <- r.Method + " " + a.Method
		<-r.Context().Done()
	}
}

// closeWithin is longer than what Close says to servers takes, and shorter than what is said to them at other times.
const closeWithin = 4 * time.Second

// Close tells servers once more and does not wait for one that never answers: a stop of the service waits for it.
func TestCloseDoesNotWait(t *testing.T) {
	d := &deaf{began: make(chan string, 100)}
	m := overHTTP(t, newSite(t, d).URL)
	run, stop := context.WithCancel(context.Background()) // it may end after Close
	ran := make(chan struct{})
	go func() { defer close(ran); _ = m.Run(run) }()
	defer func() { stop(); <-ran }()
	const sessions = 3
	failed := make(chan error, sessions)
	for i := range sessions {
		go func() {
			_, err := m.Do(context.Background(), tool(by("alice", fmt.Sprint("session", i), newClient()), "hang", `{}`, ""))
			failed <- err
		}()
	}
	await := func(what string, n int) {
		t.Helper()
		for n > 0 {
			select {
			case got := <-d.began:
				if got == what {
					n--
				}
			case <-time.After(patience):
				t.Fatalf("%d of %q did not come", n, what)
			}
		}
	}
	await("POST tools/call", sessions)
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
	for range sessions {
		if err := <-failed; err == nil {
			t.Error("a call was answered")
		}
	}
	await("DELETE ", sessions) // however little it cared for the cancellations before
}

// A child that does not go by itself is ended soon.
func TestCloseEndsStubbornChild(t *testing.T) {
	m := newMounted(t, connector.Config{Kind: connector.MCPStdio, Command: command(t, "raw", "legacy", "stubborn")}, nil)
	self, _ := pids(t, m.do(bounded(t), tool(by("alice", "", nil), "whoami", `{}`, "")))
	child := watch(t, self)
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
	if child.lives() {
		t.Error("it lives on")
	}
}
