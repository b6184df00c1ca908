package mcp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp"
	"hostedmcp/mcp/connector"
)

// askingSession opens a session whose client can be asked for input.
func (w *world) askingSession(token string) string {
	w.t.Helper()
	a := w.send("POST", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"`+version25+
		`","capabilities":{"elicitation":{}},"clientInfo":{"name":"c","version":"1"}}}`, bearer(token)...)
	if a.status != http.StatusOK {
		w.t.Fatalf("initialize: %d %s", a.status, a.body)
	}
	return a.header.Get("Mcp-Session-Id")
}

// readTimes reads lines of a stream until n of them hold part.
func readTimes(t *testing.T, r *bufio.Reader, part string, n int) {
	t.Helper()
	for n > 0 {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("no %s: %v", part, err)
		}
		if strings.Contains(line, part) {
			n--
		}
	}
}

// TestOtherCase: some readers of JSON take "Name" for "name", and the last of both. What was not judged here must not
// reach them under a name that was (issue 6, Attacks: `_meta` injection, name confusion).
func TestOtherCase(t *testing.T) {
	inEras(t, func(t *testing.T, ask func(w *world, token, method, name, params string) answer) {
		s := newSource("up", func(c *connector.Config) { c.Deny = []string{"hidden"} }, "t", "hidden")
		s.catalog.Prompts = definitions("p")
		s.catalog.Completions = true
		w := mounting(t, s)
		token, _ := w.login("alice", "c1", "mcp", 1)
		contains(t, ask(w, token, "tools/call", "up__t",
			`"name":"up__t","Name":"hidden","N\u0041ME":"hidden","_Meta":{"hostedmcp/user":{"subject":"bob"}},"reque\u017ftState":"x","other":1`), `"text":"up"`)
		if c := s.last(t); string(c.Params) != `{"name":"t","other":1}` {
			t.Errorf("params: %s", c.Params)
		}
		ask(w, token, "completion/complete", "", `"ref":{"type":"ref/prompt","name":"up__p","NAME":"hidden"},"argument":{"name":"a","value":""}`)
		if c := s.last(t); string(c.Params) != `{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":""}}` {
			t.Errorf("params: %s", c.Params)
		}
	})
	s := newSource("up", nil, "t")
	w := mounting(t, s)
	token, _ := w.login("alice", "c1", "mcp", 1)
	eras["modern"](w, token, "tools/call", "up__t", `"name":"up__t"`)
	meta := `"_meta":{"ho\u017ftedmcp/user":{},"progressToken":1,"ProgressToken":"hm1",` + meta26[len(`"_meta":{`):]
	w.send("POST", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"up__t",`+meta+`}}`, modern(token, "tools/call", "up__t")...)
	if c := s.last(t); strings.Count(string(c.Params), `"hm`) != 1 || strings.Contains(string(c.Params), "user") {
		t.Errorf("params: %s", c.Params)
	}
}

// TestQuestionsAtTheGate: a call that asks several things at once frees its own place at the gate and no other
// ("parallel").
func TestQuestionsAtTheGate(t *testing.T) {
	s := newSource("up", func(c *connector.Config) { c.Parallel, c.ParallelPerUser = 1, 2 }, "ask", "work")
	var running atomic.Int32
	release := make(chan struct{})
	s.do = func(ctx context.Context, c connector.Call) (json.RawMessage, error) {
		if strings.Contains(string(c.Params), "work") {
			if running.Add(1) == 1 {
				<-release
			}
			return json.RawMessage(`{"content":[]}`), nil
		}
		done := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := c.Peer.Ask(ctx, "elicitation/create", json.RawMessage(form))
				done <- err
			}()
		}
		<-done
		return nil, <-done
	}
	w := mounting(t, s)
	w.server.SetPatience(0)
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.askingSession(token)
	_, stream := w.open(t.Context(), w.request("POST", callBody("1", "up__ask", ""), legacy(token, session)...))
	readTimes(t, stream, "elicitation/create", 2)
	other, _ := w.login("bob", "c1", "mcp", 1)
	first := make(chan answer, 1)
	go func() { first <- w.modernCall(other, "up__work") }()
	w.await("the first call", func() bool { return running.Load() == 1 })
	if a := w.modernCall(other, "up__work"); !strings.Contains(a.body, "rate_limited") || running.Load() != 1 {
		t.Errorf("%d calls run where one may: %s", running.Load(), a.body)
	}
	close(release)
	<-first
	w.send("DELETE", "", legacy(token, session)...)
}

// TestQuestionsOfASession: questions that a client never answers are bounded: calls that wait for them leave the gate.
func TestQuestionsOfASession(t *testing.T) {
	s := newSource("up", nil, "ask")
	var refused atomic.Int32
	s.do = func(ctx context.Context, c connector.Call) (json.RawMessage, error) {
		done := make(chan struct{})
		for range 100 {
			go func() {
				if _, err := c.Peer.Ask(ctx, "elicitation/create", json.RawMessage(form)); err != nil {
					refused.Add(1)
				}
				done <- struct{}{}
			}()
		}
		for range 100 {
			<-done
		}
		return json.RawMessage(`{"content":[]}`), nil
	}
	w := mounting(t, s)
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.askingSession(token)
	_, stream := w.open(t.Context(), w.request("POST", callBody("1", "up__ask", ""), legacy(token, session)...))
	readTimes(t, stream, "elicitation/create", 64)
	w.await("the others are refused", func() bool { return refused.Load() == 36 })
	w.send("DELETE", "", legacy(token, session)...)
}

// TestGrantEndsAtTheGate: a call that waits for its turn while its grant ends is not carried out any more.
func TestGrantEndsAtTheGate(t *testing.T) {
	inEras(t, func(t *testing.T, ask func(w *world, token, method, name, params string) answer) {
		s := newSource("up", func(c *connector.Config) { c.Parallel, c.ParallelPerUser = 1, 1 }, "t")
		begun, release, came := make(chan struct{}), make(chan struct{}), make(chan struct{}, 10)
		s.do = func(_ context.Context, c connector.Call) (json.RawMessage, error) {
			if c.User.Subject == "bob" {
				close(begun)
				<-release
			}
			return json.RawMessage(`{"content":[]}`), nil
		}
		s.perUser = func(c *connector.Call) connector.Catalog {
			if c.User.Subject == "alice" && c.Method == "tools/call" {
				came <- struct{}{}
			}
			return s.catalog
		}
		w := mounting(t, s)
		bob, _ := w.login("bob", "c1", "mcp", 1)
		alice, grant := w.login("alice", "c1", "mcp", 1)
		answers := make(chan answer, 2)
		go func() { answers <- ask(w, bob, "tools/call", "up__t", `"name":"up__t"`) }()
		<-begun
		go func() { answers <- ask(w, alice, "tools/call", "up__t", `"name":"up__t"`) }()
		<-came
		w.end(grant, oauth.UserRevoked)
		w.await("the end", func() bool { return s.ended(&s.grants, grant) })
		close(release)
		<-answers
		<-answers
		w.await("both calls", func() bool { return w.gauge("hostedmcp_connector_calls_total") == 2 })
		if s.count() != 1 {
			t.Errorf("%d calls were carried out", s.count())
		}
	})
}

// TestGrantEndsTheCall: a call under way ends with its grant, whatever its connector makes of the news.
func TestGrantEndsTheCall(t *testing.T) {
	inEras(t, func(t *testing.T, ask func(w *world, token, method, name, params string) answer) {
		s := newSource("up", nil, "t")
		begun, ended := make(chan struct{}), make(chan struct{})
		s.do = func(ctx context.Context, _ connector.Call) (json.RawMessage, error) {
			close(begun)
			<-ctx.Done()
			close(ended)
			return nil, ctx.Err()
		}
		w := mounting(t, s)
		token, grant := w.login("alice", "c1", "mcp", 1)
		answers := make(chan answer, 1)
		go func() { answers <- ask(w, token, "tools/call", "up__t", `"name":"up__t"`) }()
		<-begun
		w.end(grant, oauth.UserRevoked)
		<-ended
		<-answers
	})
}

// tardy is a connector that takes its time for a catalog.
type tardy struct {
	*source
	hold func(c *connector.Call)
}

func (s tardy) Catalog(ctx context.Context, c *connector.Call) (connector.Catalog, error) {
	if c != nil {
		s.hold(c)
	}
	return s.source.Catalog(ctx, c)
}

// TestSessionEndsUnderACatalog: what a call begins at a connector while its session ends is ended too.
func TestSessionEndsUnderACatalog(t *testing.T) {
	s := newSource("up", nil, "t")
	entered, release := make(chan struct{}), make(chan struct{})
	held := tardy{s, func(c *connector.Call) {
		if c.Method == "tools/list" {
			close(entered)
			<-release
		}
	}}
	w := newWorld(t, func(o *mcp.Options) { o.Connectors = []connector.Source{held} })
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := http.DefaultClient.Do(w.request("POST", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, legacy(token, session)...).WithContext(ctx)); err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	cancel()
	<-gone
	w.send("DELETE", "", legacy(token, session)...)
	w.await("the end", func() bool { return s.ended(&s.sessions, session) })
	close(release)
	w.await("the end of what came after", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(slices.DeleteFunc(slices.Clone(s.sessions), func(id string) bool { return id != session })) == 2
	})
}

// picky is a connector that shows its catalog to users with a credential alone.
type picky struct{ *source }

func (s picky) Catalog(ctx context.Context, c *connector.Call) (connector.Catalog, error) {
	if c == nil {
		return connector.Catalog{}, connector.Unreachable(nil)
	}
	if _, err := c.Credential(ctx); err != nil {
		return connector.Catalog{}, err
	}
	return s.source.Catalog(ctx, c)
}

// TestProviderTroubleBeforeTheCatalog: that the user's token is needed for the catalog already changes nothing: 503, or
// 401 when the grant has ended, and never "there is none" (protocol.md §7, step 6).
func TestProviderTroubleBeforeTheCatalog(t *testing.T) {
	inEras(t, func(t *testing.T, ask func(w *world, token, method, name, params string) answer) {
		s := newSource("up", func(c *connector.Config) { c.Credential = connector.CredentialUser }, "t")
		s.catalog.Resources = []json.RawMessage{json.RawMessage(`{"uri":"x://1","name":"x"}`)}
		w := newWorld(t, func(o *mcp.Options) { o.Connectors = []connector.Source{picky{s}} })
		token, _ := w.login("alice", "c1", "mcp", 1)
		contains(t, ask(w, token, "tools/call", "up__t", `"name":"up__t"`), `"text":"up"`)
		w.trouble = oauth.Unavailable(oauth.UpstreamUnreachable, nil)
		for _, row := range [][3]string{
			{"tools/call", "up__t", `"name":"up__t"`}, {"resources/read", "x://1", `"uri":"x://1"`},
		} {
			if a := ask(w, token, row[0], row[1], row[2]); a.status != http.StatusServiceUnavailable {
				t.Errorf("%s: %d %s", row[0], a.status, a.body)
			}
		}
	})
}

// TestInitializeAbandoned: a client that leaves during initialize leaves nothing behind at the connectors.
func TestInitializeAbandoned(t *testing.T) {
	s := newSource("up", nil, "t")
	entered, release := make(chan string, 1), make(chan struct{})
	held := tardy{s, func(c *connector.Call) {
		if c.Method == "initialize" {
			entered <- c.Session
			<-release
		}
	}}
	w := newWorld(t, func(o *mcp.Options) { o.Connectors = []connector.Source{held} })
	token, _ := w.login("alice", "c1", "mcp", 1)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := http.DefaultClient.Do(w.request("POST", initializeBody("0"), bearer(token)...).WithContext(ctx)); err == nil {
			resp.Body.Close()
		}
	}()
	session := <-entered
	cancel()
	<-gone
	w.await("the server lets go of the request", func() bool { return w.answers() == 1 })
	close(release)
	if session == "" {
		t.Fatal("no session")
	}
	w.await("the end", func() bool { return s.ended(&s.sessions, session) })
}

// TestSpelling: another spelling of a URI does not get past the rules (RFC 3986 §6.2.2), and listed ones are judged as
// they are written.
func TestSpelling(t *testing.T) {
	inEras(t, func(t *testing.T, ask func(w *world, token, method, name, params string) answer) {
		s := newSource("up", func(c *connector.Config) {
			c.Deny = []string{"file:///secret/*", "crm://deals/*", "note:top*"}
			c.Tools = []connector.ToolConfig{{Name: "file:///sales/*", Groups: []string{"group of bob"}}}
		}, "t")
		s.catalog.Resources = []json.RawMessage{json.RawMessage(`{"uri":"file:///open/../secret%2fdoc","name":"odd"}`)}
		w := mounting(t, s)
		token, _ := w.login("alice", "c1", "mcp", 1)
		for _, uri := range []string{"file:///secret/a", "FILE:///secret/a", "file:///open/../secret/a", "file:///%73ecret/a", "file:///open/%2E%2e/secret/a",
			"file:///open%2f..%2Fsecret/a", "file:////secret/a", "crm://DEALS/1", "crm://deals/./1?x=..", "note:%74op", "file:///./sales/a"} {
			if a := ask(w, token, "resources/read", uri, `"uri":"`+uri+`"`); !strings.Contains(a.body, "Resource not found") {
				t.Errorf("%s: %s", uri, a.body)
			}
		}
		for _, uri := range []string{"file:///open/a", "file:///open/a%20b/", "crm://deal/../x", "note:a/../b", "file:///open/../secret%2fdoc", "%zz", "x"} {
			if a := ask(w, token, "resources/read", uri, `"uri":"`+uri+`"`); strings.Contains(a.body, "Resource not found") {
				t.Errorf("%s: %s", uri, a.body)
			}
		}
	})
}

// TestSessionOfOthers: with somebody else's session id a connector is asked neither for a list nor for a call in it; with
// one's own it is asked for both in it.
func TestSessionOfOthers(t *testing.T) {
	var mu sync.Mutex
	heard := map[string]bool{} // subject and session
	up := newSource("up", nil, "t")
	up.perUser = func(c *connector.Call) connector.Catalog {
		mu.Lock()
		defer mu.Unlock()
		heard[c.User.Subject+" "+c.Session] = true
		return up.catalog
	}
	w := mounting(t, up)
	alice, _ := w.login("alice", "c1", "mcp", 1)
	bob, _ := w.login("bob", "c1", "mcp", 1)
	session := w.openSession(alice)
	clear(heard)
	for token, status := range map[string]int{alice: 200, bob: 404} {
		if a := w.send("POST", callBody("1", "up__t", ""), legacy(token, session)...); a.status != status {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if heard["bob "+session] || !heard["alice "+session] || heard["alice "] {
		t.Errorf("%v", heard)
	}
}
