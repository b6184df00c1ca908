//lint:file-ignore SA1019 sampling, roots and logging are deprecated since 2026-07-28, and served as long as clients have them

package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
)

// client is a real SDK client that answers what servers ask.
type client struct {
	*sdk.ClientSession
	mu       sync.Mutex
	progress []string
	logs     []string
	changed  []string
	updated  []string
}

func (c *client) note(list *[]string, entry string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*list = append(*list, entry)
}

func (c *client) noted(list *[]string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(*list)
}

// newClient connects one; name is what it answers to every question.
func (w *world) newClient(token, name, version string) *client {
	w.t.Helper()
	c := &client{}
	options := &sdk.ClientOptions{
		ElicitationHandler: func(_ context.Context, r *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			return &sdk.ElicitResult{Action: "accept", Content: map[string]any{"name": name, "asked": r.Params.Message}}, nil
		},
		CreateMessageHandler: func(_ context.Context, r *sdk.CreateMessageRequest) (*sdk.CreateMessageResult, error) {
			return &sdk.CreateMessageResult{Role: "assistant", Model: "m", Content: &sdk.TextContent{Text: name}}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) {
			c.note(&c.progress, fmt.Sprintf("%v %s", r.Params.ProgressToken, r.Params.Message))
		},
		LoggingMessageHandler: func(_ context.Context, r *sdk.LoggingMessageRequest) {
			c.note(&c.logs, fmt.Sprint(r.Params.Data))
		},
		ToolListChangedHandler:   func(context.Context, *sdk.ToolListChangedRequest) { c.note(&c.changed, "tools") },
		PromptListChangedHandler: func(context.Context, *sdk.PromptListChangedRequest) { c.note(&c.changed, "prompts") },
		ResourceUpdatedHandler: func(_ context.Context, r *sdk.ResourceUpdatedNotificationRequest) {
			c.note(&c.updated, r.Params.URI)
		},
	}
	transport := &http.Transport{}
	inner := sdk.NewClient(&sdk.Implementation{Name: "real", Version: "1"}, options)
	inner.AddRoots(&sdk.Root{URI: "file:///" + name})
	session, err := inner.Connect(context.Background(), &sdk.StreamableClientTransport{Endpoint: w.url, MaxRetries: -1,
		HTTPClient: &http.Client{Transport: tokenTransport{func() string { return token }, transport}}},
		&sdk.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		w.t.Fatal(err)
	}
	c.ClientSession = session
	w.t.Cleanup(func() {
		session.Close()
		transport.CloseIdleConnections()
	})
	return c
}

// versions are one of each era.
var versions = []string{version25, version26}

// asking is a connector whose tool asks its client what its argument `ask` says.
func asking() *source {
	s := newSource("up", nil, "ask")
	s.do = func(ctx context.Context, c connector.Call) (json.RawMessage, error) {
		var p struct {
			Arguments struct{ Ask, Params string }
			Meta      struct {
				ProgressToken json.RawMessage
			} `json:"_meta"`
		}
		if err := json.Unmarshal(c.Params, &p); err != nil {
			return nil, err
		}
		if t := p.Meta.ProgressToken; t != nil {
			c.Peer.Notify(ctx, "notifications/progress", json.RawMessage(`{"progressToken":`+string(t)+`,"progress":1,"message":"for `+c.User.Subject+`"}`))
			c.Peer.Notify(ctx, "notifications/progress", json.RawMessage(`{"progressToken":"stranger","progress":1,"message":"no"}`))
		}
		c.Peer.Notify(ctx, "notifications/message", json.RawMessage(`{"level":"info","data":"log for `+c.User.Subject+`"}`))
		if p.Arguments.Ask == "" {
			return json.RawMessage(`{"content":[]}`), nil
		}
		answer, err := c.Peer.Ask(ctx, p.Arguments.Ask, json.RawMessage(p.Arguments.Params))
		if err != nil {
			return nil, err
		}
		return json.RawMessage(`{"content":[],"structuredContent":` + string(answer) + `}`), nil
	}
	return s
}

const form = `{"message":"who?","requestedSchema":{"type":"object","properties":{}}}`

// TestAsk: questions of connectors reach the client and their answers come back, in both eras ("Elicitation",
// "Sampling", "Roots"; 2026-07-28 "Multi round-trip requests").
func TestAsk(t *testing.T) {
	for _, version := range versions {
		for _, row := range []struct{ method, params, want string }{
			{"elicitation/create", form, `"asked":"who?"`},
			{"sampling/createMessage", `{"messages":[{"role":"user","content":{"type":"text","text":"hi"}}],"maxTokens":5}`, `"text":"alice"`},
			{"roots/list", `{}`, `file:///alice`},
		} {
			t.Run(version+" "+row.method, func(t *testing.T) {
				w := mounting(t, asking())
				token, _ := w.login("alice", "c1", "mcp", 1)
				c := w.newClient(token, "alice", version)
				r, err := c.CallTool(context.Background(), &sdk.CallToolParams{Name: "up__ask",
					Arguments: map[string]any{"ask": row.method, "params": row.params}})
				if err != nil {
					t.Fatal(err)
				}
				got, _ := json.Marshal(r.StructuredContent)
				if !strings.Contains(string(got), row.want) {
					t.Errorf("answer: %s", got)
				}
			})
		}
	}
}

// TestCannotAsk: what a client has not declared is not asked of it.
func TestCannotAsk(t *testing.T) {
	inEras(t, func(t *testing.T, ask func(w *world, token, method, name, params string) answer) {
		w := mounting(t, asking())
		token, _ := w.login("alice", "c1", "mcp", 1)
		a := ask(w, token, "tools/call", "up__ask", `"name":"up__ask","arguments":{"ask":"elicitation/create","params":"{}"}`)
		if !strings.Contains(a.body, `"code":-32601`) {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

// TestIsolation: with equal ids, tokens and questions, nothing of one user's call reaches another (issue 6, Isolation).
func TestIsolation(t *testing.T) {
	const users, calls = 200, 3
	s := asking()
	s.config.Parallel, s.config.ParallelPerUser = 1000, calls
	w := mounting(t, s)
	var wait sync.WaitGroup
	for i := range users {
		name := fmt.Sprintf("user%03d", i)
		token, _ := w.login(name, "c1", "mcp", 1)
		c := w.newClient(token, name, versions[i%2])
		var own sync.WaitGroup
		for n := range calls {
			params := &sdk.CallToolParams{Name: "up__ask", Arguments: map[string]any{"ask": "elicitation/create", "params": form}}
			params.SetProgressToken(fmt.Sprintf("p%d", n))
			own.Go(func() {
				r, err := c.CallTool(context.Background(), params)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				if got, _ := json.Marshal(r.StructuredContent); !strings.Contains(string(got), `"name":"`+name+`"`) {
					t.Errorf("%s got %s", name, got)
				}
			})
		}
		wait.Go(func() {
			own.Wait()
			w.await("progress", func() bool { return len(c.noted(&c.progress)) >= calls })
			for _, p := range c.noted(&c.progress) {
				if !strings.HasSuffix(p, " for "+name) {
					t.Errorf("%s heard %s", name, p)
				}
			}
			for _, l := range c.noted(&c.logs) {
				if l != "log for "+name {
					t.Errorf("%s heard %s", name, l)
				}
			}
		})
	}
	wait.Wait()
	for _, c := range s.calls {
		if c.User.GrantID != "g."+c.User.Subject+".c1.1" {
			t.Errorf("call: %+v", c.User)
		}
	}
}

// TestParkedState: a call that waits for its client goes on for the same user, client and request alone, and once.
func TestParkedState(t *testing.T) {
	w := mounting(t, asking())
	capable := strings.Replace(meta26, `clientCapabilities":{}`, `clientCapabilities":{"elicitation":{}}`, 1)
	call := func(token, extra string) answer {
		return w.send("POST", callBody("1", "up__ask", `,"arguments":{"ask":"elicitation/create","params":`+string(mustJSON(form))+`}`+extra+`,`+capable),
			modern(token, "tools/call", "up__ask")...)
	}
	alice, _ := w.login("alice", "c1", "mcp", 1)
	bob, _ := w.login("bob", "c1", "mcp", 1)
	other, _ := w.login("alice", "c2", "mcp", 1)
	first := call(alice, "")
	contains(t, first, `"resultType":"input_required"`, `{"method":"elicitation/create","params":{"message":"who?"`)
	var m struct {
		Result struct {
			RequestState  string
			InputRequests map[string]any
		}
	}
	if err := json.Unmarshal([]byte(first.event()), &m); err != nil || len(m.Result.InputRequests) != 1 {
		t.Fatalf("%v: %s", err, first.body)
	}
	retry := `,"requestState":"` + m.Result.RequestState + `","inputResponses":{`
	for key := range m.Result.InputRequests {
		retry += `"` + key + `":{"action":"accept","content":{"n":9007199254740993}}}`
	}
	for name, token := range map[string]string{"another user": bob, "another client": other} {
		if a := call(token, retry); !strings.Contains(a.body, "requestState is unknown") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	contains(t, call(alice, retry), `"structuredContent":{"action":"accept","content":{"n":9007199254740993}}`)
	if a := call(alice, retry); !strings.Contains(a.body, "requestState is unknown") {
		t.Errorf("again: %d %s", a.status, a.body)
	}
}

func mustJSON(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}

// TestBoundState: the requestState of a connector of the modern era comes back to it as it was, from whom it was given
// to alone.
func TestBoundState(t *testing.T) {
	s := newSource("up", nil, "ask", "other")
	s.do = func(_ context.Context, c connector.Call) (json.RawMessage, error) {
		if strings.Contains(string(c.Params), `"requestState":"own <state>"`) {
			return json.RawMessage(`{"content":[{"type":"text","text":"went on"}]}`), nil
		}
		return json.RawMessage(`{"resultType":"input_required","inputRequests":{"q":{"method":"roots/list","params":{}}},"requestState":"own <state>"}`), nil
	}
	w := mounting(t, s)
	alice, _ := w.login("alice", "c1", "mcp", 1)
	bob, _ := w.login("bob", "c1", "mcp", 1)
	call := func(token, tool, extra string) answer {
		return w.send("POST", callBody("1", tool, extra+`,`+meta26), modern(token, "tools/call", tool)...)
	}
	first := call(alice, "up__ask", "")
	contains(t, first, `"inputRequests":{"q":{"method":"roots/list","params":{}}}`, `"resultType":"input_required"`)
	var m struct{ Result struct{ RequestState string } }
	if err := json.Unmarshal([]byte(first.event()), &m); err != nil {
		t.Fatal(err)
	}
	state := `,"requestState":` + string(mustJSON(m.Result.RequestState)) + `,"inputResponses":{"q":{"roots":[]}}`
	contains(t, call(alice, "up__ask", state), "went on")
	for name, a := range map[string]answer{
		"another user": call(bob, "up__ask", state), "another tool": call(alice, "up__other", state),
		"forged": call(alice, "up__ask", `,"requestState":"own <state>"`),
	} {
		if !strings.Contains(a.body, "requestState is unknown") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	contains(t, eras["legacy"](w, alice, "tools/call", "up__ask", `"name":"up__ask"`), "connector_bad_answer")
}

// TestCancel: a call that its client gives up is given up at the connector, in both eras ("Cancellation").
func TestCancel(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			// longer than the test may run: it must be the client's doing
			s := newSource("up", func(c *connector.Config) { c.Timeout = oauth.Duration(time.Hour) }, "wait")
			begun, over := make(chan bool, 1), make(chan error, 1)
			s.do = func(ctx context.Context, _ connector.Call) (json.RawMessage, error) {
				begun <- true
				<-ctx.Done()
				over <- ctx.Err()
				return nil, ctx.Err()
			}
			w := mounting(t, s)
			token, _ := w.login("alice", "c1", "mcp", 1)
			c := w.newClient(token, "alice", version)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() {
				_, err := c.CallTool(ctx, &sdk.CallToolParams{Name: "up__wait"})
				done <- err
			}()
			<-begun
			cancel()
			if err := <-over; !errors.Is(err, context.Canceled) {
				t.Errorf("the connector heard %v", err)
			}
			<-done
		})
	}
}

// TestSessionEnds: connectors hear of the end of a session.
func TestSessionEnds(t *testing.T) {
	s := newSource("up", nil, "t")
	w := mounting(t, s)
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	w.send("POST", callBody("1", "up__t", ""), legacy(token, session)...)
	if c := s.last(t); c.Session != session || c.Modern || c.Peer.ProtocolVersion != version25 {
		t.Errorf("call: %+v", c)
	}
	w.send("DELETE", "", legacy(token, session)...)
	w.await("the connector hears of it", func() bool { return s.ended(&s.sessions, session) })
}

// TestTimeout: a call takes no longer than it may, but the time in which a person is asked does not count.
func TestTimeout(t *testing.T) {
	s := newSource("up", func(c *connector.Config) { c.Timeout = 1 }, "t")
	s.do = func(ctx context.Context, _ connector.Call) (json.RawMessage, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	w := mounting(t, s)
	token, _ := w.login("alice", "c1", "mcp", 1)
	for _, ask := range eras {
		contains(t, ask(w, token, "tools/call", "up__t", `"name":"up__t"`), `connector_unreachable`, `"isError":true`)
	}
}

// TestParallel: a user with too many calls is told to wait, and takes no place from others.
func TestParallel(t *testing.T) {
	s := newSource("up", func(c *connector.Config) { c.Parallel, c.ParallelPerUser = 2, 1 }, "t")
	release := make(chan bool)
	s.do = func(ctx context.Context, c connector.Call) (json.RawMessage, error) {
		if strings.Contains(string(c.Params), "hold") {
			<-release
		}
		return json.RawMessage(`{"content":[]}`), nil
	}
	w := mounting(t, s)
	w.server.SetPatience(0)
	alice, _ := w.login("alice", "c1", "mcp", 1)
	bob, _ := w.login("bob", "c1", "mcp", 1)
	held := make(chan answer)
	go func() {
		held <- eras["modern"](w, alice, "tools/call", "up__t", `"name":"up__t","arguments":{"a":"hold"}`)
	}()
	w.await("the call is under way", func() bool { return s.count() == 1 })
	contains(t, eras["modern"](w, alice, "tools/call", "up__t", `"name":"up__t"`), "rate_limited", `"isError":true`)
	contains(t, eras["modern"](w, bob, "tools/call", "up__t", `"name":"up__t"`), `"content":[]`)
	close(release)
	contains(t, <-held, `"content":[]`)
	contains(t, eras["modern"](w, alice, "tools/call", "up__t", `"name":"up__t"`), `"content":[]`)
	if n := w.gauge("hostedmcp_connector_calls_total", "result", "busy"); n != 1 {
		t.Errorf("busy: %v", n)
	}
}

// TestConnectorErrors: errors of a connector pass in its own words; ours about it say which and why, and no more.
func TestConnectorErrors(t *testing.T) {
	for name, row := range map[string]struct {
		do   func() (json.RawMessage, error)
		want []string
	}{
		"its own": {func() (json.RawMessage, error) {
			return nil, &connector.Error{Code: -7, Message: "own", Data: json.RawMessage(`{"a":1}`)}
		}, []string{`"code":-7,"message":"own","data":{"a":1}`}},
		"bad answer": {func() (json.RawMessage, error) { return nil, connector.BadAnswer(errors.New("secret cause")) }, []string{"connector_bad_answer", `"isError":true`}},
		"no object":  {func() (json.RawMessage, error) { return json.RawMessage(`[]`), nil }, []string{"connector_bad_answer"}},
		"nothing":    {func() (json.RawMessage, error) { return nil, nil }, []string{"connector_bad_answer"}},
		"foreign":    {func() (json.RawMessage, error) { return nil, errors.New("secret cause") }, []string{"internal"}},
		"panic":      {func() (json.RawMessage, error) { panic("secret cause") }, []string{"internal"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource("up", nil, "t")
			s.do = func(context.Context, connector.Call) (json.RawMessage, error) { return row.do() }
			w := mounting(t, s)
			token, _ := w.login("alice", "c1", "mcp", 1)
			for _, ask := range eras {
				a := ask(w, token, "tools/call", "up__t", `"name":"up__t"`)
				contains(t, a, row.want...)
				if strings.Contains(a.body, "secret") {
					t.Errorf("told: %s", a.body)
				}
			}
		})
	}
}
