package mount_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/mount"
)

// lister is an MCP server of the modern era that counts what it is asked, and offers one tool of each asker's own.
type lister struct {
	mu    sync.Mutex
	asked map[string]int
	tool  string
}

func (l *lister) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var a asked
	_ = json.Unmarshal(body, &a)
	l.mu.Lock()
	l.asked[a.Method]++
	name := l.tool + r.Header.Get("Hostedmcp-Subject")
	l.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch a.Method {
	case "server/discover":
		fmt.Fprint(w, result(a.ID, `{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}`))
	case "tools/list":
		fmt.Fprint(w, result(a.ID, `{"tools":[{"name":"`+name+`"}]}`))
	default:
		fmt.Fprint(w, result(a.ID, `{}`))
	}
}

func (l *lister) lists() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked["tools/list"]
}

// The catalog behind a call comes from memory: of that caller alone, for a minute, and until something changes. A list
// is always read anew.
func TestCatalogMemory(t *testing.T) {
	l := &lister{asked: map[string]int{}, tool: "one of "}
	var mu sync.Mutex
	now := time.Now()
	cfg := connector.Config{Kind: connector.MCPHTTP, URL: newSite(t, l).URL}
	m := newMounted(t, cfg, func(o *mount.Options) {
		o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	look := func(user, method, tool string, reads int) connector.Catalog {
		t.Helper()
		call := by(user, "", nil)
		call.Method = method
		before := l.lists()
		c, err := m.Catalog(bounded(t), &call)
		if err != nil || !strings.Contains(fmt.Sprintf("%s", c.Tools), tool) || l.lists()-before != reads {
			t.Fatalf("%s, %s: %s %v, %d lists read", user, method, c.Tools, err, l.lists()-before)
		}
		return c
	}
	first := look("alice", "tools/call", "one of alice", 1)
	look("bob", "tools/call", "one of bob", 1)
	if again := look("alice", "tools/call", "one of alice", 0); &again.Tools[0] != &first.Tools[0] {
		t.Error("what was remembered is another catalog")
	}
	if again := look("alice", "tools/list", "one of alice", 1); &again.Tools[0] != &first.Tools[0] {
		t.Error("what says the same is another catalog")
	}
	l.mu.Lock()
	l.tool = "two of "
	l.mu.Unlock()
	look("alice", "tools/call", "one of alice", 0)
	look("alice", "tools/list", "two of alice", 1)
	look("alice", "tools/call", "two of alice", 0)
	mu.Lock()
	now = now.Add(2 * time.Minute)
	mu.Unlock()
	look("bob", "prompts/get", "two of bob", 1)
}

// Users' catalogs that differ in a tool share all others, and each stays the same while it says the same: however many
// there are.
func TestCatalogsShare(t *testing.T) {
	m := overHTTP(t, newSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var a asked
		_ = json.Unmarshal(body, &a)
		w.Header().Set("Content-Type", "application/json")
		answer, _ := rawAnswer(a, "modern")
		if a.Method == "tools/list" {
			answer = result(a.ID, `{"tools":[{"name":"everybody's"},{"name":"`+r.Header.Get("Hostedmcp-Subject")+`'s"}]}`)
		}
		fmt.Fprint(w, answer)
	})).URL)
	const users = 40
	var first [users]connector.Catalog
	for again := range 2 {
		for i := range users {
			call := method(by(fmt.Sprint("user", i), "", nil), "tools/list", `{}`)
			c, err := m.Catalog(bounded(t), &call)
			if err != nil || string(c.Tools[1]) != fmt.Sprintf(`{"name":"user%d's"}`, i) {
				t.Fatal(c.Tools, err)
			}
			if again == 0 {
				first[i] = c
			} else if &c.Tools[0] != &first[i].Tools[0] {
				t.Errorf("the catalog of user %d is another", i)
			}
			if &c.Tools[0][0] != &first[0].Tools[0][0] {
				t.Errorf("user %d has a definition of their own that is everybody's", i)
			}
		}
	}
}

// Every request to a server of the older era that is made for a user carries that user's credential, those for logs and
// subscriptions too.
func TestCredentialOfSideRequests(t *testing.T) {
	var mu sync.Mutex
	var bare []string
	seen := make(chan string, 100)
	site := newSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var a asked
		_ = json.Unmarshal(body, &a)
		mu.Lock()
		if r.Method == http.MethodPost && r.Header.Get("Authorization") != "Bearer of alice" {
			bare = append(bare, a.Method)
		}
		mu.Unlock()
		seen <- a.Method
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method != http.MethodPost:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case a.ID == nil:
			w.WriteHeader(http.StatusAccepted)
		case a.Method == "initialize":
			fmt.Fprint(w, result(a.ID, `{"protocolVersion":"2025-06-18","capabilities":{"logging":{},"resources":{"subscribe":true}}}`))
		case a.Method == "server/discover":
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, a.ID)
		default:
			fmt.Fprint(w, result(a.ID, `{}`))
		}
	}))
	m := newMounted(t, connector.Config{Kind: connector.MCPHTTP, URL: site.URL, Credential: connector.CredentialUser}, nil)
	call := by("alice", "", newClient())
	call.Credential = bearer(func() string { return "of alice" })
	m.do(bounded(t), tool(call, "any", `{}`, `{"io.modelcontextprotocol/logLevel":"info"}`))
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = m.Do(ctx, method(call, "subscriptions/listen", `{"notifications":{"resourceSubscriptions":["crm://1","crm://2"]}}`))
	}()
	// the second subscription begins when the first is made, which is then taken back
	for i, name := range []string{"logging/setLevel", "resources/subscribe", "resources/subscribe", "resources/unsubscribe"} {
		for got := ""; got != name; {
			select {
			case got = <-seen:
			case <-time.After(patience):
				t.Fatalf("no %s", name)
			}
		}
		if i == 2 {
			cancel()
			<-over
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(bare) > 0 {
		t.Errorf("without the credential: %v", bare)
	}
}
