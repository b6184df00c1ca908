package mount_test

import (
	"fmt"
	"strings"
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
	m := newMounted(t, connector.Config{Kind: connector.MCPStdio, Command: command(t, "raw", "legacy"), Timeout: seconds(5)},
		nil)
	defer mount.SetMaxChildren(3)()
	ctx := bounded(t)
	for i := range 5 {
		m.do(ctx, tool(by("alice", fmt.Sprint("s", i), nil), "x", `{}`, ""))
	}
	m.do(ctx, tool(by("bob", "", nil), "x", `{}`, ""))
}
