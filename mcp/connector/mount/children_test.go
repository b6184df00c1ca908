package mount_test

import (
	"fmt"
	"sync"
	"testing"

	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/mount"
)

// A client of the older era costs one child, in which its lists are read too; besides there is at most one for our own
// questions, and one by which was found out that a server of both eras offers the same in both.
func TestChildrenOfSessions(t *testing.T) {
	const clients, ours = 6, 2
	for _, server := range []string{"serve-legacy", "serve-modern", "serve-both"} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprint(server, ", era known ", known), func(t *testing.T) {
				t.Parallel()
				m, ctx := overStdio(t, server), bounded(t)
				if known {
					if _, err := m.Catalog(ctx, nil); err != nil {
						t.Fatal(err)
					}
				}
				var wg sync.WaitGroup
				for i := range clients {
					wg.Go(func() {
						call := by(fmt.Sprint("user", i), fmt.Sprint("session", i), newClient())
						for _, c := range []connector.Call{method(call, "initialize", `{}`), method(call, "tools/list", `{}`)} {
							if got, err := m.Catalog(ctx, &c); err != nil || len(got.Tools) == 0 {
								t.Errorf("%v %v", got, err)
							}
						}
						m.says(ctx, tool(call, "echo", `{}`, ""))
					})
				}
				wg.Wait()
				if n := mount.Links(m.Source); n < clients || n > clients+ours {
					t.Errorf("%d children for %d clients", n, clients)
				}
			})
		}
	}
}

// Definitions are pinned: those of a server that offers each era something else do not depend on who asks.
func TestTwoFacedServer(t *testing.T) {
	m, ctx := overStdio(t, "raw", "two-faced"), bounded(t)
	if _, err := m.Catalog(ctx, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		session := method(by("alice", fmt.Sprint("session", i), nil), "tools/list", `{}`)
		m.do(ctx, tool(session, "any", `{}`, ""))
		if c, err := m.Catalog(ctx, &session); err != nil || string(c.Tools[0]) != `{"name":"as-of 2026-07-28"}` {
			t.Errorf("%s %v", c.Tools, err)
		}
	}
}
