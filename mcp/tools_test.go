package mcp_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
	"hostedmcp/mcp"
)

// result reads a tools/call answer.
func (a answer) result(t *testing.T) (structured map[string]any, text string, isError bool) {
	t.Helper()
	var m struct {
		Result struct {
			StructuredContent map[string]any
			Content           []struct{ Text string }
			IsError           bool
		}
	}
	if err := json.Unmarshal([]byte(a.event()), &m); err != nil || len(m.Result.Content) == 0 {
		t.Fatalf("%v: %d %s", err, a.status, a.body)
	}
	return m.Result.StructuredContent, m.Result.Content[0].Text, m.Result.IsError
}

// TestWhoami: the whole answer of whoami.
func TestWhoami(t *testing.T) {
	w := newWorld(t, nil)
	token, _ := w.login("alice", "c1", "mcp extra", 1)
	a := w.modernCall(token, "whoami")
	_, text, _ := a.result(t)
	const want = `{"subject":"alice","name":"Name of alice","preferred_username":"alice","email":"alice@example.com",` +
		`"groups":["group of alice"],"client":{"id":"c1","name":"Client c1"},"scopes":["mcp","extra"],` +
		`"connected_since":"2026-08-01T09:00:00Z","connected_until":"2026-09-01T09:00:00Z"}`
	if text != want {
		t.Errorf("got %s", text)
	}
	for _, member := range []string{`"structuredContent":` + want, `"resultType":"complete"`,
		`"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"test","version":"1"}}`} {
		if !strings.Contains(a.event(), member) {
			t.Errorf("no %s in %s", member, a.event())
		}
	}
	old := w.send("POST", callBody("1", "whoami", ""), legacy(token, w.openSession(token))...)
	if strings.Contains(old.body, "resultType") || !strings.Contains(old.body, want) {
		t.Errorf("older era: %s", old.body)
	}
}

// TestWhoamiWithoutClaims: trouble of ours is the tool's error, in words of ours.
func TestWhoamiWithoutClaims(t *testing.T) {
	w := newWorld(t, func(o *mcp.Options) {
		o.Authority.Claims = func(context.Context, string) (auth.UserClaims, error) {
			return auth.UserClaims{}, oauth.Unavailable(oauth.StorageUnavailable, errors.New("inner words"))
		}
	})
	token, _ := w.login("alice", "c1", "mcp", 1)
	a := w.modernCall(token, "whoami")
	if _, text, isError := a.result(t); !isError || text != "storage_unavailable: this server cannot save at the moment; try again" {
		t.Errorf("%s", a.body)
	}
}

// TestProvider: a tool that needs the provider gets its token before dispatch; others do not ask (§7 step 6).
func TestProvider(t *testing.T) {
	w := newWorld(t, nil)
	token, grant := w.login("alice", "c1", "mcp", 1)
	w.modernCall(token, "whoami")
	if len(w.asked) != 0 {
		t.Error("whoami asks the provider")
	}
	a := w.modernCall(token, "userinfo")
	if _, text, _ := a.result(t); text != `{"sub":"alice","n":9007199254740993}` {
		t.Errorf("userinfo: %s", text)
	}
	if !slices.Equal(w.asked, []string{grant, grant}) { // before dispatch, and for the request itself
		t.Errorf("asked for %v", w.asked)
	}
	e := oauth.Unavailable(oauth.UpstreamInDoubt, errors.New("inner words"))
	e.RetryAfter = 7e9
	w.trouble = e
	a = w.modernCall(token, "userinfo")
	if a.status != 503 || a.header.Get("Retry-After") != "7" || a.header.Get("WWW-Authenticate") != "" ||
		!strings.Contains(a.body, "upstream_in_doubt: ") || strings.Contains(a.body, "inner") {
		t.Errorf("trouble: %d %s", a.status, a.body)
	}
	if a := w.modernCall(token, "whoami"); a.status != 200 {
		t.Errorf("whoami in trouble: %d", a.status)
	}
	w.trouble = oauth.Fail(oauth.InvalidToken, oauth.GrantEnded)
	w.trouble.(*oauth.Error).Ended = oauth.UpstreamSessionEnded
	a = w.modernCall(token, "userinfo")
	if a.status != 401 || !strings.Contains(a.header.Get("WWW-Authenticate"), "grant_ended upstream_session_ended: ") {
		t.Errorf("ended: %d %v", a.status, a.header)
	}
	for result, n := range map[string]float64{"ok": 1, "unavailable": 1, "ended": 1} {
		if got := w.gauge("hostedmcp_mcp_calls_total", "tool", "userinfo", "result", result); got != n {
			t.Errorf("counter of %s: %v", result, got)
		}
	}
}

// TestProviderFailsInTheCall: what goes wrong after dispatch is the tool's error, in words of ours.
func TestProviderFailsInTheCall(t *testing.T) {
	calls := 0
	w := newWorld(t, func(o *mcp.Options) {
		o.Authority.Userinfo = func(context.Context, string) (json.RawMessage, error) {
			if calls++; calls == 1 {
				return nil, oauth.Unavailable(oauth.UpstreamError, errors.New("inner words"))
			}
			return nil, errors.New("inner words")
		}
	})
	token, _ := w.login("alice", "c1", "mcp", 1)
	a := w.modernCall(token, "userinfo")
	if _, text, isError := a.result(t); !isError || text != "upstream_error: the sign-in service answers with errors; try again" {
		t.Errorf("%s", a.body)
	}
	a = w.modernCall(token, "userinfo")
	if !strings.Contains(a.event(), `"error":{"code":-32603,"message":"internal: `) || strings.Contains(a.body, "inner") {
		t.Errorf("%s", a.body)
	}
	for _, result := range []string{"tool_error", "failed"} {
		if got := w.gauge("hostedmcp_mcp_calls_total", "tool", "userinfo", "result", result); got != 1 {
			t.Errorf("counter of %s: %v", result, got)
		}
	}
}

// hidden is a tool that only bob may know of.
func hidden(name string) mcp.Tool {
	h := tool(name, nothing)
	h.Provider, h.Scopes = true, oauth.Scope{"never"}
	h.Visible = func(ctx context.Context, c *mcp.Caller) (bool, error) {
		claims, err := c.Claims(ctx)
		return slices.Contains(claims.Groups, "group of bob"), err
	}
	return h
}

// TestHiddenTools: a hidden tool answers exactly as one that does not exist, in both eras (§7, Lists).
func TestHiddenTools(t *testing.T) {
	w := newWorld(t, func(o *mcp.Options) { o.Tools = []mcp.Tool{hidden("secret"), tool("open", nothing)} })
	alice, _ := w.login("alice", "c1", "mcp", 1)
	bob, _ := w.login("bob", "c1", "mcp", 1)
	session := w.openSession(alice)
	same := func(what string, send func(name string) answer) {
		hidden, missing := send("secret"), send("absent")
		hidden.body = strings.ReplaceAll(hidden.body, "secret", "absent")
		hidden.header.Del("Date")
		missing.header.Del("Date")
		if hidden.status != missing.status || hidden.body != missing.body || fmt.Sprint(hidden.header) != fmt.Sprint(missing.header) {
			t.Errorf("%s: %v\n%v", what, hidden, missing)
		}
		if !strings.Contains(missing.event(), `"error":{"code":-32602,"message":"unknown tool \"absent\""}`) {
			t.Errorf("%s: %s", what, missing.body)
		}
	}
	same("modern", func(name string) answer { return w.modernCall(alice, name) })
	same("older", func(name string) answer {
		return w.send("POST", callBody("1", name, ""), legacy(alice, session)...)
	})
	if a := w.modernCall(alice, "absent"); a.status != 400 {
		t.Errorf("modern: %d", a.status)
	}
	if len(w.asked) != 0 {
		t.Error("the provider was asked for a hidden tool")
	}
	if a := w.modernCall(alice, "secret"); w.lastReason() != oauth.ToolDenied || strings.Contains(a.body, "denied") {
		t.Errorf("logged as %s: %s", w.lastReason(), a.body)
	}
	if a := w.modernCall(bob, "secret"); a.status != 403 {
		t.Errorf("bob, who may know of it: %d", a.status)
	}
	for token, want := range map[string]string{alice: "whoami userinfo open", bob: "whoami userinfo secret open"} {
		if got := strings.Join(w.list(token), " "); got != want {
			t.Errorf("list %s, want %s", got, want)
		}
	}
	if got := w.gauge("hostedmcp_mcp_calls_total", "tool", "other", "result", "unknown"); got != 6 {
		t.Errorf("counter of unknown calls: %v", got)
	}
}

// list returns the names of all pages of tools/list.
func (w *world) list(token string) (names []string) {
	w.t.Helper()
	for cursor := ""; ; {
		body := `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"` + cursor + `",` + meta26 + `}}`
		a := w.send("POST", body, modern(token, "tools/list", "")...)
		var m struct {
			Result struct {
				Tools      []struct{ Name string }
				NextCursor string
				TTLMs      int
				CacheScope string
			}
		}
		if err := json.Unmarshal([]byte(a.event()), &m); err != nil || a.status != 200 {
			w.t.Fatalf("%d %s", a.status, a.body)
		}
		if m.Result.TTLMs != 300_000 || m.Result.CacheScope != "private" {
			w.t.Errorf("cache: %d %s", m.Result.TTLMs, m.Result.CacheScope)
		}
		for _, tool := range m.Result.Tools {
			names = append(names, tool.Name)
		}
		if cursor = m.Result.NextCursor; cursor == "" {
			return names
		}
		if decoded, _ := base64.RawURLEncoding.DecodeString(cursor); strings.Contains(string(decoded), "tool-") {
			w.t.Errorf("cursor %q names a tool", decoded)
		}
	}
}

// TestPages: pages cover all visible tools once, in order, and a cursor cannot ask for a hidden one.
func TestPages(t *testing.T) {
	var tools []mcp.Tool
	for i := range 2100 {
		name := fmt.Sprintf("tool-%04d", 2100-i)
		if i%3 == 1 {
			tools = append(tools, hidden(name))
		} else {
			tools = append(tools, tool(name, nothing))
		}
	}
	w := newWorld(t, func(o *mcp.Options) { o.Tools = tools })
	alice, _ := w.login("alice", "c1", "mcp", 1)
	bob, _ := w.login("bob", "c1", "mcp", 1)
	names := w.list(bob)
	if len(names) != 2102 || names[2] != "tool-2100" || names[2101] != "tool-0001" {
		t.Errorf("%d names", len(names))
	}
	if got := len(w.list(alice)); got != 1402 {
		t.Errorf("alice sees %d", got)
	}
	body := func(cursor string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"` + cursor + `",` + meta26 + `}}`
	}
	first := w.send("POST", body(""), modern(bob, "tools/list", "")...).event()
	cursor := strings.SplitN(strings.SplitN(first, `"nextCursor":"`, 2)[1], `"`, 2)[0]
	// bob's first page ends with tool-1103, the 998th after the built-in ones, which is hidden from alice.
	for _, bad := range []string{cursor, "x", "AAAAAAAAAAAAAAAA"} {
		if a := w.send("POST", body(bad), modern(alice, "tools/list", "")...); a.status != 400 || !strings.Contains(a.body, `"code":-32602,"message":"unknown cursor"`) {
			t.Errorf("cursor %s: %d %.200s", bad, a.status, a.body)
		}
	}
}

// TestPolicyUnreadable: when it cannot be known whether a tool is visible, nobody is told anything about it.
func TestPolicyUnreadable(t *testing.T) {
	broken := tool("broken", nothing)
	broken.Visible = func(context.Context, *mcp.Caller) (bool, error) {
		return false, oauth.Unavailable(oauth.StorageUnavailable, errors.New("inner words"))
	}
	w := newWorld(t, func(o *mcp.Options) { o.Tools = []mcp.Tool{broken} })
	token, _ := w.login("alice", "c1", "mcp", 1)
	if a := w.modernCall(token, "broken"); a.status != 503 || !strings.Contains(a.body, "storage_unavailable") {
		t.Errorf("%d %s", a.status, a.body)
	}
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + meta26 + `}}`
	a := w.send("POST", body, modern(token, "tools/list", "")...)
	if !strings.Contains(a.event(), `"code":-32603`) || strings.Contains(a.body, "inner") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestLossless: definitions and results leave as they came but for white space (style.md, trap 3).
func TestLossless(t *testing.T) {
	const definition = `{ "z" : 1e2, "name":"raw", "inputSchema":{"$schema":"x","type":"object", "big":9007199254740993, "unknown":{"b":1,"a":2}}, "description":"<b> & \u00e9 é" }`
	const members = ` { "z":1e2, "content":[{"type":"text","text":"<&>","unknown":9007199254740993}] , "a":1.0 } `
	raw := mcp.Tool{Name: "raw", Definition: json.RawMessage(definition),
		Call: func(context.Context, json.RawMessage) (*mcp.Result, error) {
			return &mcp.Result{Members: json.RawMessage(members)}, nil
		}}
	empty := tool("empty", func(context.Context, json.RawMessage) (*mcp.Result, error) {
		return &mcp.Result{Members: json.RawMessage(" { } ")}, nil
	})
	w := newWorld(t, func(o *mcp.Options) { o.Tools = []mcp.Tool{raw, empty} })
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	list := w.send("POST", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, legacy(token, session)...)
	if !strings.Contains(list.event(), compact(t, definition)) {
		t.Errorf("list: %s", list.body)
	}
	for body, want := range map[string]string{
		callBody("1", "raw", ""):   `"result":` + compact(t, members) + `}`,
		callBody("1", "empty", ""): `"result":{}}`,
	} {
		if a := w.send("POST", body, legacy(token, session)...); !strings.HasSuffix(a.event(), want) {
			t.Errorf("call: %s", a.body)
		}
	}
	inner := strings.TrimPrefix(compact(t, members), "{")
	if a := w.modernCall(token, "raw"); !strings.HasSuffix(a.event(), `"resultType":"complete",`+inner+`}`) {
		t.Errorf("modern call: %s", a.body)
	}
	if a := w.modernCall(token, "empty"); !strings.HasSuffix(a.event(), `"resultType":"complete"}}`) {
		t.Errorf("modern empty: %s", a.body)
	}
}

// TestBadTools: all faults of the tools are told at once.
func TestBadTools(t *testing.T) {
	twice := tool("whoami", nothing)
	long := tool(strings.Repeat("x", 65), nothing)
	other := tool("other", nothing)
	other.Definition = json.RawMessage(`{"name":"another","inputSchema":{"type":"object"}}`)
	array := tool("array", nothing)
	array.Definition = json.RawMessage(`{"name":"array","inputSchema":{"type":"array"}}`)
	broken := tool("broken", nothing)
	broken.Definition = json.RawMessage(`{`)
	_, err := mcp.New(mcp.Options{Config: mcp.DefaultConfig(), Issuer: "https://mcp.example.com",
		Tools: []mcp.Tool{twice, long, other, array, broken, tool("idle", nil)}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`"whoami": two tools`, "1 to 64", `names it "another"`, `"type": "object"`, `"broken": definition`, `"idle": nothing to call`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in %v", want, err)
		}
	}
}
