package mount_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/mount"
)

// What one client says of itself can make a server refuse the handshake: others go on, and the server is not down.
func TestBadCapabilities(t *testing.T) {
	for _, stdio := range []bool{false, true} {
		t.Run(fmt.Sprint("stdio ", stdio), func(t *testing.T) {
			t.Parallel()
			var m *mounted
			if stdio {
				m = overStdio(t, "serve-legacy")
			} else {
				m = overHTTP(t, newSite(t, handlerOf(everything("legacy"), "legacy")).URL)
			}
			ctx, bad := bounded(t), newClient()
			bad.caps = `{"roots":5,"sampling":"x"}`
			for range 2 {
				m.fails(ctx, tool(by("mallory", "", bad), "whoami", `{}`, ""))
			}
			m.who(ctx, by("alice", "", nil))
			if !m.State().Up {
				t.Errorf("%+v", m.State())
			}
		})
	}
}

// A child that writes without end what is no message does not fill the log.
func TestStdoutFlood(t *testing.T) {
	m := overStdio(t, "raw", "legacy")
	m.do(bounded(t), tool(by("alice", "", nil), "babble", `{}`, ""))
	if n := strings.Count(m.log.String(), "\n"); n > 100 {
		t.Errorf("%d lines in the log", n)
	}
}

// Children of sessions that do nothing make room for others when there is none .
func TestIdleSessionsMakeRoom(t *testing.T) {
	m := newMounted(t, connector.Config{Kind: connector.MCPStdio, Command: command(t, "raw", "legacy"), Timeout: long}, nil)
	defer mount.SetMaxChildren(3)()
	ctx := bounded(t)
	for i := range 5 {
		m.do(ctx, tool(by("alice", fmt.Sprint("s", i), nil), "x", `{}`, ""))
	}
	m.do(ctx, tool(by("bob", "", nil), "x", `{}`, ""))
}

// One user does not get all places, whatever he says of himself: he pays with his own idle ones, and waits for those at
// work.
func TestShareOfChildren(t *testing.T) {
	defer mount.SetMaxChildren(8)() // two for each
	m := newMounted(t, connector.Config{Kind: connector.MCPStdio, Command: command(t, "raw", "legacy")}, nil)
	ctx := bounded(t)
	bobs, _ := pids(t, m.do(ctx, tool(by("bob", "one", nil), "whoami", `{}`, "")))
	mallory := newClient()
	for i := range 12 {
		mallory.caps = fmt.Sprintf(`{"experimental":{"n%d":{}}}`, i)
		call := method(by("mallory", "", mallory), "tools/list", `{}`)
		if _, err := m.Catalog(ctx, &call); err != nil {
			t.Fatal(err)
		}
		if n := mount.Links(m.Source); n > 3 {
			t.Fatalf("%d children after %d lists", n, i+1)
		}
	}
	busy, free := context.WithCancel(ctx)
	var calls sync.WaitGroup
	for i := range 2 {
		began := make(chan struct{})
		c := newClient()
		c.reply = func(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
			close(began)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		calls.Go(func() {
			_, _ = m.Do(busy, tool(by("mallory", fmt.Sprint("s", i), c), "tell and ask", `{}`, `{"progressToken":"t"}`))
		})
		<-began
	}
	if e := m.fails(ctx, tool(by("mallory", "s2", nil), "whoami", `{}`, "")); !strings.Contains(e.Message, "too many connections") {
		t.Error(e)
	}
	m.do(ctx, tool(by("alice", "", nil), "whoami", `{}`, ""))
	if again, _ := pids(t, m.do(ctx, tool(by("bob", "one", nil), "whoami", `{}`, ""))); again != bobs {
		t.Error("another user's child made room")
	}
	free()
	calls.Wait()
	m.do(ctx, tool(by("mallory", "s2", nil), "whoami", `{}`, ""))
}

// A child gets its three pipes and nothing that we were started with ourselves.
func TestInheritedFiles(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	left, err := syscall.Dup(int(w.Fd())) // without close-on-exec, as from a careless starter
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(left)
	ours, err := os.Readlink(fmt.Sprint("/proc/self/fd/", left))
	if err != nil {
		t.Fatal(err)
	}
	m := overStdio(t, "raw", "legacy")
	if got := m.do(bounded(t), tool(by("alice", "", nil), "open", fmt.Sprintf(`{"fd":%d}`, left), "")); strings.Contains(got, ours) {
		t.Errorf("the child has %s", ours)
	}
}

// A child that prints its environment does not put its secret into our log.
func TestSecretOnStderr(t *testing.T) {
	m := newMounted(t, connector.Config{Kind: connector.MCPStdio, Credential: connector.CredentialStatic, Header: "KEY", SecretFile: "x",
		Command: []string{"/bin/sh", "-c", "echo the key is $KEY 1>&2; exec cat >/dev/null"}, Timeout: seconds(3)},
		func(o *mount.Options) { o.Secret = "s3cr3t-of-ours" })
	m.fails(bounded(t), tool(by("alice", "", nil), "x", `{}`, ""))
	if err := m.Close(bounded(t)); err != nil { // the log is complete
		t.Fatal(err)
	}
	if log := m.log.String(); strings.Contains(log, "s3cr3t") || !strings.Contains(log, "the key is [redacted]") {
		t.Error(log)
	}
}
