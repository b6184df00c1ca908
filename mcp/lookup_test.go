package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"hostedmcp/mcp"
	"hostedmcp/mcp/connector"
)

// chatty is a connector whose server talks all the time, by the peer of whatever request came last, as a session's standing
// stream does.
type chatty struct {
	*source
	stop chan struct{}
	wait *sync.WaitGroup
}

func (c *chatty) Catalog(ctx context.Context, call *connector.Call) (connector.Catalog, error) {
	if call != nil && call.Method == "tools/call" {
		notify := call.Peer.Notify
		began := make(chan struct{})
		c.wait.Go(func() {
			for i := 0; i < 2000; i++ {
				notify(context.Background(), "notifications/progress", json.RawMessage(`{"progressToken":"hm`+strconv.Itoa(i)+`","progress":1}`))
				notify(context.Background(), "notifications/message", json.RawMessage(`{"level":"error","data":1}`))
				if i == 0 {
					close(began)
				}
				select {
				case <-c.stop:
					return
				default:
				}
			}
		})
		<-began
	}
	return c.source.Catalog(ctx, call)
}

// TestLookupTalks: what a server says on the way of a lookup may still come while the call is prepared and carried out.
func TestLookupTalks(t *testing.T) {
	up := newSource("up", nil, "t")
	up.do = func(context.Context, connector.Call) (json.RawMessage, error) {
		return json.RawMessage(`{"content":[]}`), nil
	}
	c := &chatty{up, make(chan struct{}), new(sync.WaitGroup)}
	w := newWorld(t, func(o *mcp.Options) { o.Connectors = []connector.Source{c} })
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	for i := range 20 {
		a := w.send("POST", callBody(fmt.Sprint(i), "up__t", `,"_meta":{"progressToken":`+fmt.Sprint(i)+`}`), legacy(token, session)...)
		if a.status != 200 {
			t.Error(a.status, a.body)
		}
	}
	for range 20 {
		if a := w.modernCall(token, "up__t"); a.status != 200 {
			t.Error(a.status, a.body)
		}
	}
	close(c.stop)
	c.wait.Wait()
}
