package mcp_test

import (
	"context"
	"encoding/json"
	"testing"

	"hostedmcp/mcp"
	"hostedmcp/mcp/connector"
)

// noisy is a connector whose server logs while it is asked what it offers.
type noisy struct{ *source }

func (n noisy) Catalog(ctx context.Context, c *connector.Call) (connector.Catalog, error) {
	if c != nil {
		c.Peer.Notify(ctx, "notifications/message", json.RawMessage(`{"level":"info","data":"I am asked"}`))
	}
	return n.source.Catalog(ctx, c)
}

// TestInitializeKeepsSession: what a connector says while it is looked at for initialize does not begin the answer, in whose
// header the id of the session stands.
func TestInitializeKeepsSession(t *testing.T) {
	w := newWorld(t, func(o *mcp.Options) { o.Connectors = []connector.Source{noisy{newSource("up", nil, "t")}} })
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	if a := w.send("POST", callBody("1", "up__t", ""), legacy(token, session)...); a.status != 200 {
		t.Error(a.status, a.body)
	}
}
