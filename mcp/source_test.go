package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp"
	"hostedmcp/mcp/connector"
)

// source is a connector in this process. do answers calls; the catalog can be exchanged.
type source struct {
	config  connector.Config
	do      func(ctx context.Context, c connector.Call) (json.RawMessage, error)
	perUser func(c *connector.Call) connector.Catalog // nil = catalog for everybody

	mu       sync.Mutex
	catalog  connector.Catalog
	down     bool
	changed  func()
	calls    []connector.Call
	sessions []string // ended
	grants   []string // ended
}

func (s *source) Config() connector.Config { return s.config }

func (s *source) Catalog(_ context.Context, c *connector.Call) (connector.Catalog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return connector.Catalog{}, connector.Unreachable(nil)
	}
	if s.perUser != nil && c != nil {
		return s.perUser(c), nil
	}
	return s.catalog, nil
}

func (s *source) Do(ctx context.Context, c connector.Call) (json.RawMessage, error) {
	s.mu.Lock()
	s.calls = append(s.calls, c)
	down := s.down
	s.mu.Unlock()
	if down {
		return nil, connector.Unreachable(nil)
	}
	if s.do == nil {
		return json.RawMessage(`{"content":[{"type":"text","text":"` + s.config.Name + `"}]}`), nil
	}
	return s.do(ctx, c)
}

func (s *source) EndSession(id string) { s.note(&s.sessions, id) }
func (s *source) EndGrant(id string)   { s.note(&s.grants, id) }

func (s *source) note(list *[]string, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, id)
}

func (s *source) ended(list *[]string, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(*list, id)
}

func (s *source) State() connector.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return connector.State{Reason: oauth.ConnectorUnreachable}
	}
	return connector.State{Up: true}
}

func (s *source) OnChange(changed func())               { s.changed = changed }
func (s *source) Check(context.Context) []oauth.Finding { return nil }
func (s *source) Run(ctx context.Context) error         { <-ctx.Done(); return ctx.Err() }
func (s *source) Close(context.Context) error           { return nil }

// set exchanges the catalog and says so.
func (s *source) set(c connector.Catalog, down bool) {
	s.mu.Lock()
	s.catalog, s.down = c, down
	s.mu.Unlock()
	s.changed()
}

// last is the newest call.
func (s *source) last(t testing.TB) connector.Call {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) == 0 {
		t.Fatal("the connector was not called")
	}
	return s.calls[len(s.calls)-1]
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// newSource returns a connector with the given tools; change adjusts its configuration before it is completed.
func newSource(name string, change func(*connector.Config), tools ...string) *source {
	c := connector.Config{Name: name, Kind: connector.MCPStdio, Command: []string{"none"}}
	if change != nil {
		change(&c)
	}
	return &source{config: c.Complete(), catalog: connector.Catalog{Tools: definitions(tools...)}, changed: func() {}}
}

// definitions are tool objects: names, or whole definitions.
func definitions(tools ...string) (out []json.RawMessage) {
	for _, t := range tools {
		if !strings.HasPrefix(t, "{") {
			t = fmt.Sprintf(`{"name":%q,"inputSchema":{"type":"object"}}`, t)
		}
		out = append(out, json.RawMessage(t))
	}
	return out
}

// mounting starts a world with connectors.
func mounting(t testing.TB, sources ...*source) *world {
	t.Helper()
	return newWorld(t, func(o *mcp.Options) {
		o.Config.Scope = []mcp.ScopeConfig{{Name: "crm.write", Sentence: "Write."}}
		for _, s := range sources {
			o.Connectors = append(o.Connectors, s)
		}
	})
}

// waiting is a connector whose tool waits until its call ends; began and over are closed when it is called, and when it
// knows of the end.
func waiting() (up *source, began, over chan struct{}) {
	up, began, over = newSource("up", nil, "wait"), make(chan struct{}), make(chan struct{})
	up.do = func(ctx context.Context, _ connector.Call) (json.RawMessage, error) {
		close(began)
		<-ctx.Done()
		close(over)
		return nil, ctx.Err()
	}
	return up, began, over
}

// eras are the ways of sending one request: in a session, and alone.
var eras = map[string]func(w *world, token, method, name, params string) answer{
	"legacy": func(w *world, token, method, _, params string) answer {
		session := w.openSession(token)
		return w.send("POST", `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{`+params+`}}`, legacy(token, session)...)
	},
	"modern": func(w *world, token, method, name, params string) answer {
		if params != "" {
			params += ","
		}
		return w.send("POST", `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{`+params+meta26+`}}`, modern(token, method, name)...)
	},
}

// inEras runs a test in both eras.
func inEras(t *testing.T, f func(t *testing.T, ask func(w *world, token, method, name, params string) answer)) {
	for era, ask := range eras {
		t.Run(era, func(t *testing.T) { f(t, ask) })
	}
}

// names are the values of a member in a list of an answer.
func names(t testing.TB, a answer, list, key string) (out []string) {
	t.Helper()
	var m struct {
		Result map[string]json.RawMessage `json:"result"`
	}
	var entries []map[string]any
	if err := json.Unmarshal([]byte(a.event()), &m); err != nil || json.Unmarshal(m.Result[list], &entries) != nil {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, e := range entries {
		out = append(out, e[key].(string))
	}
	return out
}

// wantEvent compares the result or error of an answer, without `_meta` of the modern era.
func contains(t testing.TB, a answer, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(a.event(), p) {
			t.Errorf("no %s in %d %s", p, a.status, a.body)
		}
	}
}
