package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
)

// library is a connector with prompts and resources.
func library(name string, change func(*connector.Config)) *source {
	s := newSource(name, change)
	s.catalog = connector.Catalog{
		Prompts:           []json.RawMessage{json.RawMessage(`{"name":"greet","x":9007199254740993}`)},
		Resources:         []json.RawMessage{json.RawMessage(`{"uri":"` + name + `://a","name":"a"}`)},
		ResourceTemplates: []json.RawMessage{json.RawMessage(`{"uriTemplate":"` + name + `://t/{id}.json","name":"t"}`)},
		Capabilities:      json.RawMessage(`{"prompts":{},"resources":{"subscribe":true},"completions":{},"logging":{},"tasks":{},"extensions":{"io.modelcontextprotocol/ui":{"a":1},"x/y":{}}}`),
		Instructions:      "Instructions of " + name + ".",
	}
	s.do = func(ctx context.Context, c connector.Call) (json.RawMessage, error) {
		if c.Method == "subscriptions/listen" {
			c.Peer.Notify(ctx, "notifications/resources/updated", json.RawMessage(`{"uri":"`+name+`://stranger"}`))
			c.Peer.Notify(ctx, "notifications/resources/updated", json.RawMessage(`{"uri":"`+name+`://a"}`))
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return json.RawMessage(`{"from":"` + name + `","ttlMs":1500,"cacheScope":"public","contents":[{"uri":"u","text":"<"}],"messages":[],"completion":{"values":["v"]}}`), nil
	}
	return s
}

// TestFamilies: prompts, resources, templates and completion find their connector, in both eras (issue 6, item 1).
func TestFamilies(t *testing.T) {
	inEras(t, func(t *testing.T, ask func(w *world, token, method, name, params string) answer) {
		a, b := library("a", nil), library("b", func(c *connector.Config) { c.Deny = []string{"*secret*"} })
		b.catalog.Prompts = append(b.catalog.Prompts, json.RawMessage(`{"name":"secret"}`))
		b.catalog.Resources = append(b.catalog.Resources, json.RawMessage(`{"uri":"b://secret","name":"s"}`))
		w := mounting(t, a, b)
		token, _ := w.login("alice", "c1", "mcp", 1)
		for _, row := range []struct{ method, list, key, want string }{
			{"prompts/list", "prompts", "name", "a__greet b__greet"}, {"resources/list", "resources", "uri", "a://a b://a"},
			{"resources/templates/list", "resourceTemplates", "uriTemplate", "a://t/{id}.json b://t/{id}.json"},
		} {
			if got := strings.Join(names(t, ask(w, token, row.method, "", ""), row.list, row.key), " "); got != row.want {
				t.Errorf("%s: %s", row.method, got)
			}
		}
		contains(t, ask(w, token, "prompts/list", "", ""), `{"name":"b__greet","x":9007199254740993}`)
		contains(t, ask(w, token, "prompts/get", "b__greet", `"name":"b__greet","arguments":{"a":"b"}`), `"from":"b"`)
		if p := string(b.last(t).Params); p != `{"name":"greet","arguments":{"a":"b"}}` {
			t.Errorf("params: %s", p)
		}
		contains(t, ask(w, token, "resources/read", "b://a", `"uri":"b://a"`), `"from":"b"`)
		contains(t, ask(w, token, "resources/read", "b://t/7.json", `"uri":"b://t/7.json"`), `"from":"b"`)
		contains(t, ask(w, token, "completion/complete", "", `"ref":{"type":"ref/prompt","name":"b__greet"},"argument":{"name":"a","value":"b"}`), `"from":"b"`)
		if p := string(b.last(t).Params); p != `{"ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"a","value":"b"}}` {
			t.Errorf("params: %s", p)
		}
		contains(t, ask(w, token, "completion/complete", "", `"ref":{"type":"ref/resource","uri":"b://t/{id}.json"},"argument":{"name":"id","value":""}`), `"from":"b"`)
		calls := a.count() + b.count()
		for _, uri := range []string{"b://secret", "b://t/secret.json", "c://nobody"} {
			contains(t, ask(w, token, "resources/read", uri, `"uri":"`+uri+`"`), `"message":"Resource not found"`)
		}
		for _, name := range []string{"b__none", "b__secret", "none"} {
			contains(t, ask(w, token, "prompts/get", name, `"name":"`+name+`"`), `unknown prompt`)
		}
		contains(t, ask(w, token, "completion/complete", "", `"ref":{"type":"ref/prompt","name":"b__none"},"argument":{"name":"a","value":"b"}`), `unknown ref`)
		if a.count()+b.count() != calls {
			t.Error("what is hidden or nobody's reached a connector")
		}
	})
}

// TestScopedFamilies: prompts and resources need the scopes of their connector, and its user's token, as tools do.
func TestScopedFamilies(t *testing.T) {
	for method, params := range map[string]string{"resources/read": `"uri":"a://a"`, "prompts/get": `"name":"a__greet"`} {
		name := map[string]string{"resources/read": "a://a", "prompts/get": "a__greet"}[method]
		s := library("a", func(c *connector.Config) { c.Scopes, c.Credential = []string{"crm.write"}, connector.CredentialUser })
		w := mounting(t, s)
		token, _ := w.login("alice", "c1", "mcp", 1)
		if a := eras["modern"](w, token, method, name, params); a.status != 403 || !strings.Contains(a.header.Get("WWW-Authenticate"), `scope="mcp crm.write"`) {
			t.Errorf("%s: %d %v", method, a.status, a.header)
		}
		token, _ = w.login("alice", "c1", "mcp crm.write", 2)
		contains(t, eras["modern"](w, token, method, name, params), `"from":"a"`)
		w.trouble = oauth.Unavailable(oauth.UpstreamUnreachable, nil)
		if a := eras["modern"](w, token, method, name, params); a.status != 503 {
			t.Errorf("%s in trouble: %d %s", method, a.status, a.body)
		}
	}
}

// TestReadLife: how long a resource may be kept is the connector's to say, but it is the user's own.
func TestReadLife(t *testing.T) {
	w := mounting(t, library("a", nil))
	token, _ := w.login("alice", "c1", "mcp", 1)
	a := eras["modern"](w, token, "resources/read", "a://a", `"uri":"a://a"`)
	contains(t, a, `"ttlMs":1500,"cacheScope":"private"`)
	if a = eras["legacy"](w, token, "resources/read", "a://a", `"uri":"a://a"`); strings.Contains(a.body, "cacheScope") || strings.Contains(a.body, "ttlMs") {
		t.Errorf("legacy: %s", a.body)
	}
}

// TestHiddenFamilies: whoever may not know of a connector may know of nothing in it, nor of what it can.
func TestHiddenFamilies(t *testing.T) {
	inEras(t, func(t *testing.T, ask func(w *world, token, method, name, params string) answer) {
		s := library("a", func(c *connector.Config) { c.Groups = []string{"group of bob"} })
		w := mounting(t, s)
		token, _ := w.login("alice", "c1", "mcp", 1)
		for method, params := range map[string]string{"prompts/list": "", "resources/list": "", "resources/read": `"uri":"a://a"`,
			"prompts/get": `"name":"a__greet"`, "completion/complete": `"ref":{"type":"ref/prompt","name":"a__greet"},"argument":{"name":"a","value":"b"}`} {
			name := map[string]string{"resources/read": "a://a", "prompts/get": "a__greet"}[method]
			if a := ask(w, token, method, name, params); !strings.Contains(a.body, `"code":-32601`) {
				t.Errorf("%s: %d %s", method, a.status, a.body)
			}
		}
		bob, _ := w.login("bob", "c1", "mcp", 1)
		ask(w, bob, "prompts/list", "", "")
		contains(t, ask(w, bob, "prompts/get", "a__greet", `"name":"a__greet"`), `"from":"a"`)
		if a := ask(w, token, "prompts/get", "a__greet", `"name":"a__greet"`); !strings.Contains(a.body, `"code":-32601`) {
			t.Errorf("alice: %s", a.body)
		}
	})
}

// TestGreeting: a client is told what the connectors that it may know of have, and their instructions ("Lifecycle").
func TestGreeting(t *testing.T) {
	hidden := library("hidden", func(c *connector.Config) { c.Groups = []string{"group of bob"} })
	w := mounting(t, library("a", nil), newSource("plain", nil, "t"), hidden)
	token, _ := w.login("alice", "c1", "mcp", 1)
	for name, a := range map[string]answer{
		"initialize":      w.send("POST", initializeBody("0"), bearer(token)...),
		"server/discover": eras["modern"](w, token, "server/discover", "", ""),
	} {
		contains(t, a, `"capabilities":{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true},"completions":{},"logging":{},"extensions":{"io.modelcontextprotocol/ui":{"a":1}}}`,
			`"instructions":"a (a__*):\nInstructions of a."`)
		if strings.Contains(a.body, "hidden") {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

// TestUpdates: who watches a resource hears of its updates, and of no other ("Subscriptions").
func TestUpdates(t *testing.T) {
	t.Run("legacy", func(t *testing.T) {
		s := library("a", nil)
		w := mounting(t, s)
		token, _ := w.login("alice", "c1", "mcp", 1)
		c := w.newClient(token, "alice", version25)
		if err := c.Subscribe(context.Background(), &sdk.SubscribeParams{URI: "a://a"}); err != nil {
			t.Fatal(err)
		}
		peer := s.last(t).Peer
		w.await("an update", func() bool {
			// the session's own stream may just be opening
			peer.Notify(context.Background(), "notifications/resources/updated", json.RawMessage(`{"uri":"a://stranger"}`))
			peer.Notify(context.Background(), "notifications/resources/updated", json.RawMessage(`{"uri":"a://a"}`))
			return len(c.noted(&c.updated)) > 0
		})
		if err := c.Unsubscribe(context.Background(), &sdk.UnsubscribeParams{URI: "a://a"}); err != nil {
			t.Fatal(err)
		}
		if got := c.noted(&c.updated); slices.Contains(got, "a://stranger") {
			t.Errorf("updates: %q", got)
		}
	})
	t.Run("modern", func(t *testing.T) {
		w := mounting(t, library("a", nil), library("b", nil))
		token, _ := w.login("alice", "c1", "mcp", 1)
		eras["modern"](w, token, "resources/list", "", "")
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		resp, stream := w.open(ctx, w.request("POST", `{"jsonrpc":"2.0","id":"s","method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["a://a","c://nobody"]},`+meta26+`}}`,
			modern(token, "subscriptions/listen", "")...))
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
		if ack := readUntil(t, stream, "data: "); !strings.Contains(ack, `"resourceSubscriptions":["a://a"]`) || !strings.Contains(ack, `"io.modelcontextprotocol/subscriptionId":"s"`) {
			t.Errorf("ack: %s", ack)
		}
		if update := readUntil(t, stream, "data: "); !strings.Contains(update, `"params":{"uri":"a://a","_meta":{"io.modelcontextprotocol/subscriptionId":"s"}}`) {
			t.Errorf("update: %s", update)
		}
	})
}

// TestUndeclared: what no connector declares is no method ("Capability negotiation").
func TestUndeclared(t *testing.T) {
	s := library("a", nil)
	s.catalog.Capabilities = json.RawMessage(`{"resources":{}}`)
	w := mounting(t, s)
	token, _ := w.login("alice", "c1", "mcp", 1)
	for method, params := range map[string]string{"resources/subscribe": `"uri":"a://a"`, "logging/setLevel": `"level":"info"`,
		"completion/complete": `"ref":{"type":"ref/prompt","name":"a__greet"},"argument":{"name":"a","value":"b"}`} {
		if a := eras["legacy"](w, token, method, "", params); !strings.Contains(a.body, `"code":-32601`) || s.count() != 0 {
			t.Errorf("%s: %d %s", method, a.status, a.body)
		}
	}
}

// TestChangedLists: who may know of a connector hears that its lists changed, in both eras.
func TestChangedLists(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			s := library("a", func(c *connector.Config) { c.Groups = []string{"group of alice"} })
			w := mounting(t, s)
			alice, _ := w.login("alice", "c1", "mcp", 1)
			bob, _ := w.login("bob", "c1", "mcp", 1)
			yes, no := w.newClient(alice, "alice", version), w.newClient(bob, "bob", version)
			w.await("both changes", func() bool {
				s.set(s.catalog, false)
				got := yes.noted(&yes.changed)
				return slices.Contains(got, "tools") && slices.Contains(got, "prompts")
			})
			if got := no.noted(&no.changed); len(got) != 0 {
				t.Errorf("bob heard %q", got)
			}
		})
	}
}

// TestLogLevel: log messages reach the client from its own level on; in the modern era it says so with the request
// ("Logging").
func TestLogLevel(t *testing.T) {
	s := library("a", nil)
	s.catalog.Tools = definitions("t")
	s.do = func(ctx context.Context, c connector.Call) (json.RawMessage, error) {
		for _, level := range []string{"debug", "warning", "nonsense"} {
			c.Peer.Notify(ctx, "notifications/message", json.RawMessage(`{"level":"`+level+`","data":"at `+level+`"}`))
		}
		return json.RawMessage(`{}`), nil
	}
	w := mounting(t, s)
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	set := `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"notice"}}`
	if a := w.send("POST", set, legacy(token, session)...); !strings.Contains(a.body, `"result":{}`) || s.last(t).Method != "logging/setLevel" {
		t.Errorf("setLevel: %s", a.body)
	}
	a := w.send("POST", callBody("2", "a__t", ""), legacy(token, session)...)
	b := w.send("POST", callBody("1", "a__t", ","+strings.Replace(meta26, "{", `{"io.modelcontextprotocol/logLevel":"notice",`, 1)), modern(token, "tools/call", "a__t")...)
	for _, got := range []answer{a, b} {
		if !strings.Contains(got.body, "at warning") || strings.Contains(got.body, "at debug") || strings.Contains(got.body, "nonsense") {
			t.Errorf("messages: %s", got.body)
		}
	}
	if c := w.modernCall(token, "a__t"); strings.Contains(c.body, "at warning") {
		t.Errorf("unasked: %s", c.body)
	}
}

// TestRestlessConnector: a connector whose lists change without end costs one goroutine for a client that reads nothing,
// and when that reads again, it hears of the last change.
func TestRestlessConnector(t *testing.T) {
	up := library("a", nil)
	full := make(chan struct{})
	up.do = func(ctx context.Context, c connector.Call) (json.RawMessage, error) {
		big := fmt.Appendf(nil, `{"uri":"a://a","_meta":{"x":"%01048576d"}}`, 1)
		for n := 0; ctx.Err() == nil && n < 32; n++ { // more than the buffers on the way hold
			if n == 1 {
				close(full)
			}
			c.Peer.Notify(ctx, "notifications/resources/updated", big)
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	w := mounting(t, up)
	token, _ := w.login("alice", "c1", "mcp", 1)
	eras["modern"](w, token, "resources/list", "", "")
	_, stream := w.open(t.Context(), w.request("POST", `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a://a"]},`+meta26+`}}`,
		modern(token, "subscriptions/listen", "")...))
	<-full
	before := runtime.NumGoroutine()
	for range 40 {
		up.changed()
		w.await("the change is gathered", w.server.Settled)
	}
	if more := runtime.NumGoroutine() - before; more > 20 {
		t.Errorf("%d goroutines more", more)
	}
	for range 2 { // of the first change, and once more of all that followed
		readUntil(t, stream, `data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"`)
	}
}
