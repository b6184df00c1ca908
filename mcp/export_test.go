package mcp

import (
	"context"
	"slices"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// HoldInitialize runs hold when the SDK has initialized a session of the older era and our books do not know yet.
func (s *Server) HoldInitialize(hold func()) {
	server := sdk.NewServer(&sdk.Implementation{Name: "held", Version: "1"}, nil)
	server.AddReceivingMiddleware(func(next sdk.MethodHandler) sdk.MethodHandler {
		return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
			result, err := next(ctx, method, req)
			if method == methodInitialize {
				hold()
			}
			return result, err
		}
	})
	server.AddReceivingMiddleware(s.receive)
	s.legacyServer = server
}

// LegacySessions is the number of sessions that the SDK holds in the older era.
func (s *Server) LegacySessions() (n int) {
	for range s.legacyServer.Sessions() {
		n++
	}
	return n
}

// Kept is how many bytes are held for clients that come back.
func (s *Server) Kept() int {
	h := &s.sessions.hold
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bytes
}

// SetHold sets how long answers are held.
func (s *Server) SetHold(d time.Duration) { s.sessions.hold.time = d }

// Settled reports whether no change is being gathered.
func (s *Server) Settled() bool {
	return !slices.ContainsFunc(s.mounts, func(m *mounted) bool { return m.telling.Load() })
}

// CursorOf is the cursor that would follow a name.
func CursorOf(name string) string { return cursorOf(name) }

// SetPatience sets how long calls wait for their turn at the connectors.
func (s *Server) SetPatience(d time.Duration) {
	for _, m := range s.mounts {
		m.gate.patience = d
	}
}
