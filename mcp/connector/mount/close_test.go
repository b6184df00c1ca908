package mount_test

import (
	"context"
	"encoding/json"
	"errors"
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

// soon tries a few times what a machine may be too slow for once: to be done before ctx ends, which is longer than Close
// gives servers and children, and shorter than they have at other times.
func soon(t *testing.T, try func(ctx context.Context) error) {
	t.Helper()
	for left := 5; ; left-- {
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
		err := try(ctx)
		cancel()
		if err == nil {
			return
		}
		if left == 0 {
			t.Fatal(err)
		}
	}
}

// Close tells servers once more and does not wait for one that never answers: a stop of the service waits for it.
func TestCloseDoesNotWait(t *testing.T) {
	soon(t, func(ctx context.Context) error {
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
		err := d.await(ctx, "POST tools/call", sessions)
		err = errors.Join(err, m.Close(ctx))
		for range sessions {
			if err := <-failed; err == nil {
				t.Error("a call was answered")
			}
		}
		return errors.Join(err, d.await(ctx, "DELETE ", sessions)) // however little it cared for the cancellations before
	})
}

// await waits until it was asked something n times.
func (d *deaf) await(ctx context.Context, what string, n int) error {
	for n > 0 {
		select {
		case got := <-d.began:
			if got == what {
				n--
			}
		case <-ctx.Done():
			return fmt.Errorf("%d of %q did not come", n, what)
		}
	}
	return nil
}

// A child that does not go by itself is ended soon.
func TestCloseEndsStubbornChild(t *testing.T) {
	soon(t, func(ctx context.Context) error {
		m := newMounted(t, connector.Config{Kind: connector.MCPStdio, Command: command(t, "raw", "legacy", "stubborn")}, nil)
		self, _ := pids(t, m.do(bounded(t), tool(by("alice", "", nil), "whoami", `{}`, "")))
		child := watch(t, self)
		if err := m.Close(ctx); err != nil {
			return err
		}
		if child.lives() {
			t.Error("it lives on")
		}
		return nil
	})
}
