package mcp_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"hostedmcp/mcp"
	"hostedmcp/mcp/connector"
)

// gated is a connector whose lookup for a call waits.
type gated struct {
	*source
	asked, open chan struct{}
}

func (g gated) Catalog(ctx context.Context, c *connector.Call) (connector.Catalog, error) {
	if c != nil && c.Method == "tools/call" {
		close(g.asked)
		<-g.open
	}
	return g.source.Catalog(ctx, c)
}

// TestAbandonedEarly: a call whose session ends while its tool is looked up ends with its connection, too.
func TestAbandonedEarly(t *testing.T) {
	up := newSource("up", nil, "wait")
	began, over := make(chan struct{}), make(chan struct{})
	up.do = func(ctx context.Context, _ connector.Call) (json.RawMessage, error) {
		close(began)
		<-ctx.Done()
		close(over)
		return nil, ctx.Err()
	}
	g := gated{up, make(chan struct{}), make(chan struct{})}
	w := newWorld(t, func(o *mcp.Options) { o.Connectors = []connector.Source{g} })
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if resp, err := http.DefaultClient.Do(w.request("POST", callBody("1", "up__wait", ""), legacy(token, session)...).WithContext(ctx)); err == nil {
			resp.Body.Close()
		}
	}()
	<-g.asked
	if a := w.send("DELETE", "", legacy(token, session)...); a.status != 204 {
		t.Fatal(a.status)
	}
	close(g.open)
	<-began
	hangUp()
	<-over
	<-answered
}
