package mount_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"hostedmcp/mcp/connector"
)

// ways are the four kinds of mount; each is used by clients of both eras.
var ways = []struct {
	name   string
	modern bool // of the server
	stdio  bool
	mount  func(t *testing.T) *mounted
}{
	{"http legacy", false, false, func(t *testing.T) *mounted {
		return overHTTP(t, newSite(t, handlerOf(everything("legacy"), "legacy")).URL)
	}},
	{"http modern", true, false, func(t *testing.T) *mounted {
		return overHTTP(t, newSite(t, handlerOf(everything("modern"), "modern")).URL)
	}},
	{"stdio legacy", false, true, func(t *testing.T) *mounted { return overStdio(t, "serve-legacy") }},
	{"stdio modern", true, true, func(t *testing.T) *mounted { return overStdio(t, "serve-modern") }},
}

// each runs f for every way and both eras of the client.
func each(t *testing.T, f func(t *testing.T, m *mounted, session string, modern, stdio bool)) {
	for _, w := range ways {
		for _, session := range []string{"", "session-1"} {
			client := "modern client"
			if session != "" {
				client = "legacy client"
			}
			t.Run(w.name+"/"+client, func(t *testing.T) {
				t.Parallel()
				f(t, w.mount(t), session, w.modern, w.stdio)
			})
		}
	}
}

// MCP "Tools", "Prompts", "Resources", "Completion": every request comes back answered.
func TestRequests(t *testing.T) {
	each(t, func(t *testing.T, m *mounted, session string, _, _ bool) {
		ctx, call := bounded(t), by("alice", session, newClient())
		if got := m.says(ctx, tool(call, "echo", `{"z":1,"a":9007199254740993,"e":1e2}`, "")); got != `{"z":1,"a":9007199254740993,"e":1e2}` {
			t.Errorf("echo: %s", got)
		}
		for _, r := range [][3]string{
			{"prompts/get", `{"name":"greet"}`, `"hello"`},
			{"resources/read", `{"uri":"crm://one"}`, `"text":"1"`},
			{"completion/complete", `{"ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"x","value":"p"}}`, `"paris"`},
			{"ping", `{}`, `{}`},
		} {
			if got := m.do(ctx, method(call, r[0], r[1])); !strings.Contains(got, r[2]) {
				t.Errorf("%s: %s", r[0], got)
			}
		}
		e := m.fails(ctx, tool(call, "missing", `{}`, ""))
		if e.Code != connector.CodeInvalidParams || e.Reason != "" {
			t.Errorf("the server's own error: %v", e)
		}
	})
}

// MCP "Pagination": all pages, all lists, capabilities and instructions.
func TestCatalog(t *testing.T) {
	each(t, func(t *testing.T, m *mounted, session string, _, _ bool) {
		call := by("alice", session, newClient())
		for _, who := range []*connector.Call{nil, &call} {
			c, err := m.Catalog(bounded(t), who)
			if err != nil {
				t.Fatal(err, m.log)
			}
			if len(c.Tools) != 10 || len(c.Prompts) != 1 || len(c.Resources) != 1 || len(c.ResourceTemplates) != 1 || !c.Completions {
				t.Errorf("%d tools, %d prompts, %d resources, %d templates", len(c.Tools), len(c.Prompts), len(c.Resources), len(c.ResourceTemplates))
			}
			if c.Instructions != "ask <anything> & more" || !strings.Contains(string(c.Capabilities), "logging") {
				t.Errorf("%q %s", c.Instructions, c.Capabilities)
			}
		}
	})
}

// MCP "Progress": the client's token comes back as it wrote it, in order and before the result.
func TestProgress(t *testing.T) {
	for _, token := range []string{`7`, `"t<é>"`, `"18"`} {
		each(t, func(t *testing.T, m *mounted, session string, _, _ bool) {
			c := newClient()
			m.says(bounded(t), tool(by("alice", session, c), "progress", `{}`, `{"progressToken":`+token+`}`))
			got := c.of("notifications/progress")
			if len(got) != 3 {
				t.Fatalf("%d notifications: %v", len(got), got)
			}
			for i, raw := range got {
				var p struct {
					ProgressToken json.RawMessage
					Progress      int
				}
				if err := json.Unmarshal([]byte(raw), &p); err != nil || string(p.ProgressToken) != token || p.Progress != i {
					t.Errorf("%d: %s", i, raw)
				}
			}
		})
	}
}

// MCP "Elicitation", "Multi Round-Trip Requests": a client is asked in its own era's way, and a modern one gets a modern
// server's unfinished result as it is.
func TestAsk(t *testing.T) {
	each(t, func(t *testing.T, m *mounted, session string, modern, _ bool) {
		c := newClient()
		c.reply = func(_ context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
			if method != "elicitation/create" || !strings.Contains(string(params), "your name?") {
				return nil, errors.New("asked " + method)
			}
			return json.RawMessage(`{"action":"accept","content":{"name":"Zoë"}}`), nil
		}
		ctx, call := bounded(t), tool(by("alice", session, c), "ask", `{}`, "")
		if modern && session == "" {
			got := m.do(ctx, call)
			if !strings.Contains(got, `"input_required"`) {
				t.Fatalf("not handed through: %s", got)
			}
			call.Params = json.RawMessage(`{"name":"ask","arguments":{},"requestState":"s<1>","inputResponses":{"name":{"action":"accept","content":{"name":"Zoë"}}}}`)
		}
		if got := m.says(ctx, call); got != "accept Zoë s<1>" {
			t.Errorf("%q", got)
		}
	})
}

// A client that refuses, or cannot be asked, ends nothing but its own call.
func TestAskRefused(t *testing.T) {
	each(t, func(t *testing.T, m *mounted, session string, modern, _ bool) {
		if modern && session == "" {
			t.Skip("nobody is asked")
		}
		ctx, call := bounded(t), by("alice", session, newClient())
		if result, err := m.Do(ctx, tool(call, "ask", `{}`, "")); err == nil && !strings.Contains(string(result), `"isError":true`) {
			t.Errorf("%s", result)
		}
		m.says(ctx, tool(call, "echo", `{}`, ""))
	})
}

// MCP "Logging": a session hears from its level on, a modern request only if it asks.
func TestLog(t *testing.T) {
	each(t, func(t *testing.T, m *mounted, session string, _, _ bool) {
		c, ctx := newClient(), bounded(t)
		call, meta := by("alice", session, c), `{"io.modelcontextprotocol/logLevel":"info"}`
		m.says(ctx, tool(call, "log", `{"n":0}`, "")) // nobody has asked for it
		if session != "" {
			m.do(ctx, method(call, "logging/setLevel", `{"level":"info"}`))
			meta = ""
		}
		m.says(ctx, tool(call, "log", `{"n":1}`, meta))
		if got := c.of("notifications/message"); len(got) != 1 || !strings.Contains(got[0], `n\":1`) {
			t.Errorf("%v", got)
		}
		if session == "" {
			m.says(ctx, tool(call, "log", `{"n":2}`, ""))
			if got := c.of("notifications/message"); len(got) != 1 {
				t.Errorf("unasked: %v", got)
			}
		}
	})
}

// MCP "Cancellation": the server hears that nobody waits any more.
func TestCancel(t *testing.T) {
	each(t, func(t *testing.T, m *mounted, session string, _, _ bool) {
		c, ctx := newClient(), bounded(t)
		c.caps = "{}"
		call := by("alice", session, c)
		slow, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() {
			_, err := m.Do(slow, tool(call, "slow", `{}`, ""))
			done <- err
		}()
		m.says(ctx, tool(call, "await", `{}`, "")) // it is under way
		cancel()
		if err := <-done; err == nil {
			t.Error("a cancelled call succeeded")
		}
		if got := m.says(ctx, tool(call, "await", `{}`, "")); got != "1" {
			t.Errorf("%s cancellations", got)
		}
		m.says(ctx, tool(call, "echo", `{}`, ""))
	})
}

// MCP "Resources" (subscriptions): each era's own way leads to the server's.
func TestSubscribe(t *testing.T) {
	each(t, func(t *testing.T, m *mounted, session string, modern, _ bool) {
		c, ctx := newClient(), bounded(t)
		call := by("alice", session, c)
		if session == "" {
			listen, cancel := context.WithCancel(ctx)
			done := make(chan struct{})
			defer func() { cancel(); <-done }()
			go func() {
				defer close(done)
				_, _ = m.Do(listen, method(call, "subscriptions/listen", `{"notifications":{"resourceSubscriptions":["crm://one"]}}`))
			}()
		} else {
			m.do(ctx, method(call, "resources/subscribe", `{"uri":"crm://one"}`))
		}
		// The subscription may begin after its answer, so the resource changes until that is heard.
		touched, stop := context.WithCancel(ctx)
		defer stop()
		go func() {
			for touched.Err() == nil {
				_, _ = m.Do(touched, tool(call, "touch", `{}`, ""))
			}
		}()
		if got := c.await(t, "notifications/resources/updated"); !strings.Contains(got, "crm://one") || strings.Contains(got, "subscriptionId") {
			t.Errorf("%s", got)
		}
	})
}

// MCP 2026-07-28 "Standard headers": the arguments that a tool wants in headers stand there, encoded if need be.
func TestParamHeaders(t *testing.T) {
	m := ways[1].mount(t)
	ctx, call := bounded(t), by("alice", "", newClient())
	for _, c := range [][2]string{
		{`{"region":"eu","n":{"depth":3}}`, "eu 3"},
		{`{"region":"zoë","n":{"depth":4e0}}`, "=?base64?em/Dqw==?= 4"},
		{`{"region":null}`, " "},
	} {
		// the first of them is refused once, and then the definitions are read
		if got := m.says(ctx, tool(call, "headed", c[0], "")); got != c[1] {
			t.Errorf("%s: %q", c[0], got)
		}
	}
}
