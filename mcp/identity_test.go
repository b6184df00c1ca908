package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"hostedmcp/auth"
	"hostedmcp/mcp"
)

// TestIdentityNeverCrosses: two users call with the same ids at the same time, in both eras, and each gets their own
// answers (protocol.md §7, Identity for tools).
func TestIdentityNeverCrosses(t *testing.T) {
	w := newWorld(t, nil)
	const calls = 150
	var wg sync.WaitGroup
	for _, user := range []string{"alice", "bob"} {
		token, _ := w.login(user, "c1", "mcp", 1)
		session := w.openSession(token)
		for worker := range 4 {
			wg.Go(func() {
				for n := range calls {
					id := fmt.Sprint(worker*calls + n) // the same for both users, another for each call in flight
					a := w.send("POST", callBody(id, "whoami", ""), legacy(token, session)...)
					if worker%2 == 0 {
						a = w.send("POST", callBody(id, "whoami", ","+meta26), modern(token, "tools/call", "whoami")...)
					}
					if !strings.Contains(a.body, `"subject":"`+user+`"`) || !strings.Contains(a.body, `"id":`+id+`,`) {
						t.Errorf("%s: %d %s", user, a.status, a.body)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

// TestIdentityOfTheRequest: in a session the identity is that of the present request, not that of initialize.
func TestIdentityOfTheRequest(t *testing.T) {
	look := tool("look", func(ctx context.Context, _ json.RawMessage) (*mcp.Result, error) {
		c := mcp.CallerOf(ctx)
		token, err := c.UpstreamToken(ctx)
		if err != nil {
			return nil, err
		}
		auth.Request(ctx).Reason("key_rotated") // any: the log line of this request must get it
		return mcp.Text(c.GrantID + " " + c.Scope.String() + " " + token.Reveal()), nil
	})
	w := newWorld(t, func(o *mcp.Options) { o.Tools = []mcp.Tool{look} })
	first, _ := w.login("alice", "c1", "mcp", 1)
	second, _ := w.login("alice", "c1", "mcp more", 2)
	var current atomic.Value
	current.Store(first)
	session := w.connect(func() string { return current.Load().(string) }, version25)
	for token, want := range map[string]string{
		first: "g.alice.c1.1 mcp upstream of g.alice.c1.1", second: "g.alice.c1.2 mcp more upstream of g.alice.c1.2",
	} {
		current.Store(token)
		result, err := session.CallTool(context.Background(), &sdk.CallToolParams{Name: "look"})
		if err != nil {
			t.Fatal(err)
		}
		if got := result.Content[0].(*sdk.TextContent).Text; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		w.await("the log line", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return slices.Contains(w.reasons, "key_rotated") })
		w.mu.Lock()
		w.reasons = nil
		w.mu.Unlock()
	}
}

// TestFirstCall: the first dispatch of a grant is told once; refused requests are none.
func TestFirstCall(t *testing.T) {
	w := newWorld(t, nil)
	one, g1 := w.login("alice", "c1", "mcp", 1)
	two, g2 := w.login("alice", "c1", "mcp", 2)
	w.send("POST", "{", bearer(one)...)
	w.send("GET", "", bearer(one)...)
	if len(w.first) != 0 {
		t.Errorf("told %v", w.first)
	}
	for range 3 {
		w.modernCall(one, "whoami")
		w.openSession(two)
	}
	if !slices.Equal(w.first, []string{g1, g2}) {
		t.Errorf("told %v", w.first)
	}
}

// TestNoSecretsOutside: neither tokens nor causes stand in any answer to anything.
func TestNoSecretsOutside(t *testing.T) {
	w := newWorld(t, nil)
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	for _, a := range []answer{
		w.modernCall(token, "userinfo"),
		w.modernCall(token, "whoami"),
		w.send("POST", callBody("1", "userinfo", ""), legacy(token, session)...),
		w.send("GET", "", bearer(token+"x")...),
		w.send("POST", "{", bearer(token)...),
	} {
		all, _ := json.Marshal(a.header)
		if strings.Contains(a.body+string(all), token) || strings.Contains(a.body, "upstream of") {
			t.Errorf("%s %s", all, a.body)
		}
	}
}
