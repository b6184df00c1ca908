package mount_test

import (
	"fmt"
	"testing"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
)

// rawWays are raw servers over both transports, in both eras.
func rawWays(t *testing.T, timeout oauth.Duration, f func(t *testing.T, m *mounted, stdio bool)) {
	for _, era := range []string{"legacy", "modern"} {
		t.Run("http "+era, func(t *testing.T) {
			t.Parallel()
			f(t, hostileHTTP(t, newSite(t, rawHandler(era)).URL, timeout), false)
		})
		t.Run("stdio "+era, func(t *testing.T) {
			t.Parallel()
			f(t, newMounted(t, connector.Config{Kind: connector.MCPStdio, Command: command(t, "raw", era), MaxBytes: maxBytes, Timeout: timeout}, nil), true)
		})
	}
}

// Issue 6 item 1, "Lossless": definitions and results are those of the server but for white space.
func TestFidelity(t *testing.T) {
	rawWays(t, long, func(t *testing.T, m *mounted, stdio bool) {
		ctx, call := bounded(t), by("alice", "", nil)
		c, err := m.Catalog(ctx, &call)
		if err != nil {
			t.Fatal(err, m.log)
		}
		if len(c.Tools) != len(corpus()) {
			t.Fatalf("%d definitions", len(c.Tools))
		}
		for i, want := range corpus() {
			want = compact(want)
			if got := string(c.Tools[i]); got != want {
				t.Fatalf("definition %d:\n got %s\nwant %s", i, got, want)
			}
			for _, as := range []string{"plain", "stream"} {
				if got := m.do(ctx, tool(call, "give", fmt.Sprintf(`{"n":%d,"as":%q}`, i, as), "")); got != want {
					t.Fatalf("result %d:\n got %s\nwant %s", i, got, want)
				}
			}
		}
	})
}

// JSON-RPC 2.0 §5.1: the server's own errors are handed on whole.
func TestErrors(t *testing.T) {
	rawWays(t, long, func(t *testing.T, m *mounted, _ bool) {
		e := m.fails(bounded(t), tool(by("alice", "", nil), "error", `{}`, ""))
		if e.Code != -32050 || e.Message != "no <b>" || string(e.Data) != `{"z":1e2,"a":[]}` || e.Reason != "" {
			t.Errorf("%+v", e)
		}
	})
}
