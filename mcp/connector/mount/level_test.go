package mount_test

import (
	"context"
	"syscall"
	"testing"
)

// MCP 2025-11-25 "Logging": what a session has set outlives its link, which may die or make room, and ends with it.
func TestLevelOutlivesLink(t *testing.T) {
	for name, c := range map[string]struct {
		mount func(t *testing.T) (m *mounted, loses func(ctx context.Context))
	}{
		"child dies": {func(t *testing.T) (*mounted, func(context.Context)) {
			m := overStdio(t, "serve-legacy")
			return m, func(ctx context.Context) {
				pid := m.who(ctx, by("alice", "one", newClient())).PID
				child := watch(t, pid)
				_ = syscall.Kill(pid, syscall.SIGKILL)
				child.ends()
			}
		}},
		"server starts anew": {func(t *testing.T) (*mounted, func(context.Context)) {
			old := everything("legacy")
			t.Cleanup(func() {
				for session := range old.Sessions() { // nobody ends those of a server that is gone
					_ = session.Close()
				}
			})
			s := newSite(t, handlerOf(old, "legacy"))
			return overHTTP(t, s.URL), func(context.Context) { s.replace(handlerOf(everything("legacy"), "legacy")) }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, loses := c.mount(t)
			ctx, one := bounded(t), newClient()
			call := by("alice", "one", one)
			m.do(ctx, method(call, "logging/setLevel", `{"level":"info"}`))
			loses(ctx)
			for _, err := m.Do(ctx, tool(call, "echo", `{}`, "")); err != nil; _, err = m.Do(ctx, tool(call, "echo", `{}`, "")) {
				if ctx.Err() != nil {
					t.Fatal(err) // until its death is noticed
				}
			}
			m.says(ctx, tool(call, "log", `{}`, ""))
			if got := one.of("notifications/message"); len(got) != 1 {
				t.Errorf("heard %v", got)
			}
			m.EndSession("one")
			m.says(ctx, tool(call, "log", `{}`, ""))
			if got := one.of("notifications/message"); len(got) != 1 {
				t.Errorf("another session of the same name hears %v", got)
			}
		})
	}
}
