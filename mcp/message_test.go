package mcp_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"hostedmcp/mcp"
)

// TestHostileMessages: what two readers could read in two ways is refused (protocol.md §7 step 4; §1 for JSON).
func TestHostileMessages(t *testing.T) {
	w := newWorld(t, nil)
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	many := func(last string) string {
		var b strings.Builder
		for i := range 40 {
			b.WriteString(`"k` + strings.Repeat("x", i) + `":1,`)
		}
		return b.String() + last
	}
	ping := func(members string) string { return `{"jsonrpc":"2.0","id":7,"method":"ping",` + members + `}` }
	const ok, parse, invalid = 0, -32700, -32600
	tests := []struct {
		name, body string
		code       int
	}{
		{"plain", ping(`"params":{}`), ok},
		{"white space", " \t\r\n{ \"jsonrpc\" : \"2.0\" , \"id\" : 7 , \"method\" : \"ping\" } \n", ok},
		{"escaped names are names", `{"js\u006fnrpc":"2.0","\u0069d":7,"method":"p\u0069ng"}`, ok},
		{"params null", ping(`"params":null`), ok},
		{"unknown member", ping(`"x":[1,2.5e-3,-0,true,false,null,"\ud83d\ude00\n"]`), ok},
		{"depth 100", ping(`"x":` + deep(99)), ok},
		{"depth 101", ping(`"x":` + deep(100)), parse},
		{"depth of a bomb", strings.Repeat(`{"a":`, 200_000), parse},
		{"empty", " ", parse},
		{"two messages", ping(`"a":1`) + ping(`"a":1`), parse},
		{"cut off", `{"jsonrpc":"2.0","id":7`, parse},
		{"trailing comma", ping(`"a":1,`), parse},
		{"comment", ping(`/**/"a":1`), parse},
		{"single quotes", ping(`'a':1`), parse},
		{"leading zero", ping(`"a":01`), parse},
		{"plus", ping(`"a":+1`), parse},
		{"NaN", ping(`"a":NaN`), parse},
		{"bare point", ping(`"a":1.`), parse},
		{"bare exponent", ping(`"a":1e`), parse},
		{"control character", ping("\"a\":\"\x01\""), parse},
		{"NUL", ping("\"a\":1\x00"), parse},
		{"byte order mark", "\ufeff" + ping(`"a":1`), parse},
		{"bad escape", ping(`"a":"\x"`), parse},
		{"short escape", ping(`"a":"\u12"`), parse},
		{"not UTF-8", ping("\"a\":\"\xff\""), parse},
		{"overlong UTF-8", ping("\"a\":\"\xc0\xaf\""), parse},
		{"surrogate in UTF-8", ping("\"a\":\"\xed\xa0\x80\""), parse},
		{"method twice", `{"jsonrpc":"2.0","id":7,"method":"ping","method":"tools/list"}`, parse},
		{"method twice, escaped", `{"jsonrpc":"2.0","id":7,"method":"ping","m\u0065thod":"tools/list"}`, parse},
		{"name twice, deep inside", ping(`"x":[{"y":{"a":1,"b":2,"a":3}}]`), parse},
		{"name twice among many", ping(`"x":{` + many(`"kx":2`) + `}`), parse},
		{"many names", ping(`"x":{` + many(`"last":2`) + `}`), ok},
		{"half surrogates that become one", ping(`"x":{"\ud800":1,"\ufffd":2}`), parse},
		{"pair of surrogates and the character", ping(`"x":{"\ud83d\uDE00":1,"😀":2}`), parse},
		{"two surrogates that are no pair", ping(`"x":{"\ud83d\u0041":1,"\ufffdA":2}`), parse},
		{"short escapes and long ones", ping(`"x":{"\b\f\n\r\t\/\"\\":1,"\u0008\u000c\u000A\u000d\u0009\u002F\u0022\u005c":2}`), parse},
		{"literal cut off", ping(`"x":tru`), parse},
		{"member without value", ping(`"x"`), parse},
		{"same name in two objects", ping(`"x":[{"a":1},{"a":2}]`), ok},
		{"batch (left MCP with 2025-06-18)", `[` + ping(`"a":1`) + `]`, invalid},
		{"empty batch", `[]`, invalid},
		{"a number", `1`, parse},
		{"case of members", `{"jsonrpc":"2.0","id":7,"Method":"ping"}`, invalid},
		{"no jsonrpc", `{"id":7,"method":"ping"}`, invalid},
		{"jsonrpc 1.0", `{"jsonrpc":"1.0","id":7,"method":"ping"}`, invalid},
		{"method no string", `{"jsonrpc":"2.0","id":7,"method":1}`, invalid},
		{"id null (MCP, Base protocol)", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, invalid},
		{"id fraction", `{"jsonrpc":"2.0","id":7.5,"method":"ping"}`, invalid},
		{"id exponent", `{"jsonrpc":"2.0","id":7e0,"method":"ping"}`, invalid},
		{"id that float64 loses", `{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}`, invalid},
		{"id object", `{"jsonrpc":"2.0","id":{},"method":"ping"}`, invalid},
		{"params array", ping(`"params":[1]`), invalid},
		{"request and response", ping(`"result":{}`), invalid},
		{"result and error", `{"jsonrpc":"2.0","id":7,"result":{},"error":{}}`, invalid},
		{"neither", `{"jsonrpc":"2.0","id":7}`, invalid},
		{"method case (JSON-RPC 2.0 §4)", `{"jsonrpc":"2.0","id":7,"method":"Ping"}`, -32601},
		{"unknown method", `{"jsonrpc":"2.0","id":"seven","method":"no/such"}`, -32601},
		{"capability not declared", `{"jsonrpc":"2.0","id":"seven","method":"prompts/list"}`, -32601},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := w.send("POST", tt.body, legacy(token, session)...)
			var m struct {
				ID    json.RawMessage
				Error *struct{ Code int }
			}
			if err := json.Unmarshal([]byte(a.event()), &m); err != nil {
				t.Fatalf("%v: %d %q", err, a.status, a.body)
			}
			if tt.code == ok {
				if a.status != 200 || m.Error != nil || string(m.ID) != "7" {
					t.Errorf("refused: %d %s", a.status, a.body)
				}
				return
			}
			if m.Error == nil || m.Error.Code != tt.code {
				t.Fatalf("want %d: %d %s", tt.code, a.status, a.body)
			}
			if sdks := tt.name == "capability not declared"; !sdks && (a.status != 400 || a.header.Get("Content-Type") != "application/json") {
				t.Errorf("%d %v", a.status, a.header)
			}
			if tt.code == -32601 && string(m.ID) == "null" {
				t.Errorf("the answer names no request: %s", a.body)
			}
		})
	}
}

// TestErrorTexts: an error repeats nothing that was sent but the id and a short name, and shows no type of Go's. The
// code stays (JSON-RPC 2.0 §5.1), and the words that clients look for.
func TestErrorTexts(t *testing.T) {
	w := newWorld(t, nil)
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	long := strings.Repeat("é", 1<<15)
	body := func(method, params string) string {
		return `{"jsonrpc":"2.0","id":"seven","method":"` + method + `","params":{` + params + `}}`
	}
	cut := `unknown tool "` + strings.Repeat("é", 64) + `"`
	old := func(...string) []string { return legacy(token, session) }
	tests := []struct {
		name, body string
		pairs      []string
		code       int
		text       string
	}{
		{"cursor no string", body("tools/list", `"cursor":1,"x":"`+long+`"`), old(), -32602, "invalid params"},
		{"cursor no string, modern", body("tools/list", `"cursor":1,"x":"`+long+`",`+meta26), modern(token, "tools/list", ""), -32602, "invalid params"},
		{"name no string", body("tools/call", `"name":["`+long+`"]`), old(), -32602, "invalid params"},
		{"unknown tool", body("tools/call", `"name":"`+long+`"`), old(), -32602, cut},
		{"unknown tool, modern", body("tools/call", `"name":"no",`+meta26), modern(token, "tools/call", "no"), -32602, `unknown tool "no"`},
		{"unknown cursor", body("tools/list", `"cursor":"`+long+`"`), old(), -32602, "unknown cursor"},
		{"unknown method", body(long, ""), old(), -32601, "Method not found"},
		{"unknown method, modern", body("no/such", meta26), modern(token, "no/such", ""), -32601, "Method not found"},
		{"not declared", body("prompts/list", ""), old(), -32601, "Method not found"},
		{"a notification with an id", body("notifications/initialized", ""), old(), -32600, "invalid request"},
		{"initialize", body("initialize", `"capabilities":["`+long+`"]`), bearer(token), -32602, "invalid params"},
		{"initialize twice", body("initialize", `"protocolVersion":"`+version25+`","capabilities":{},"clientInfo":{"name":"x","version":"1"}`), old(), -32600, "invalid request"},
		{"no capabilities", body("tools/list", `"_meta":{"io.modelcontextprotocol/protocolVersion":"`+version26+`"}`), modern(token, "tools/list", ""), -32602, `missing or invalid _meta field "io.modelcontextprotocol/clientCapabilities"`},
		{"no capabilities, of a tool", body("tools/call", `"name":"whoami","_meta":{"io.modelcontextprotocol/protocolVersion":"`+version26+`"}`), modern(token, "tools/call", "whoami"), -32602, `missing or invalid _meta field "io.modelcontextprotocol/clientCapabilities"`},
		{"client info that is none, of a tool", body("tools/call", `"name":"whoami",`+strings.Replace(meta26, `{"`, `{"io.modelcontextprotocol/clientInfo":"x","`, 1)), modern(token, "tools/call", "whoami"), -32602, `invalid _meta field "io.modelcontextprotocol/clientInfo"`},
		{"Accept of a tool", body("tools/call", `"name":"whoami"`), append(old(), "Accept", "application/json"), -32600, "Accept must contain both 'application/json' and 'text/event-stream'"},
		{"Accept", body("ping", ""), append(old(), "Accept", "application/json"), -32600, "Accept must contain both 'application/json' and 'text/event-stream'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := w.send("POST", tt.body, tt.pairs...)
			var got struct {
				ID    string
				Error struct {
					Code    int
					Message string
				}
			}
			if err := json.Unmarshal([]byte(a.event()), &got); err != nil {
				t.Fatalf("%v: %d %.300q", err, a.status, a.body)
			}
			if got.ID != "seven" || got.Error.Code != tt.code || got.Error.Message != tt.text {
				t.Errorf("%d %.300s", a.status, a.body)
			}
		})
	}
}

// TestMetaSize: a `_meta` of more than 64 KiB is refused in both eras, before the SDK reads it.
func TestMetaSize(t *testing.T) {
	w := newWorld(t, nil)
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	meta := func(size int) string { // size is that of `_meta` in bytes
		inner := strings.TrimSuffix(strings.TrimPrefix(meta26, `"_meta":`), "}") + `,"x":"`
		return `"_meta":` + inner + strings.Repeat("x", size-len(inner)-2) + `"}`
	}
	for _, tt := range []struct {
		name   string
		size   int
		status int
	}{{"64 KiB", 64 << 10, 200}, {"one byte more", 64<<10 + 1, 400}, {"much more", 1 << 20, 400}} {
		list := `{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{` + meta(tt.size) + `}}`
		for era, a := range map[string]answer{
			"modern": w.send("POST", list, modern(token, "tools/list", "")...),
			"older":  w.send("POST", strings.Replace(list, "protocolVersion", "protocolVersioX", 1), legacy(token, session)...),
		} {
			const refusal = `{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"invalid params: _meta is too large"}}`
			if a.status != tt.status || (tt.status == 400) != (a.body == refusal) {
				t.Errorf("%s, %s: %d %.300s", tt.name, era, a.status, a.body)
			}
		}
	}
}

// TestSmuggling: headers must say what the body says (MCP 2026-07-28, Streamable HTTP; error -32020), and the era is
// what protocol.md §7 makes it.
func TestSmuggling(t *testing.T) {
	w := newWorld(t, func(o *mcp.Options) { o.Tools = []mcp.Tool{tool("café", nothing)} })
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	whoami := callBody("1", "whoami", ","+meta26)
	list := `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + meta26 + `}}`
	with := func(pairs ...string) []string { return append(bearer(token), pairs...) }
	const v, m, n, s = "Mcp-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Session-Id"
	tests := []struct {
		name, body string
		pairs      []string
		status     int
		code       int
	}{
		{"in agreement", whoami, with(v, version26, m, "tools/call", n, "whoami"), 200, 0},
		{"spelling of header names", whoami, with("mcp-PROTOCOL-version", version26, "MCP-method", "tools/call", "mcp-name", "whoami"), 200, 0},
		{"session id is nothing to the modern era", whoami, with(v, version26, m, "tools/call", n, "whoami", s, "unknown"), 200, 0},
		{"other method", whoami, with(v, version26, m, "tools/list", n, "whoami"), 400, -32020},
		{"method in other case", whoami, with(v, version26, m, "Tools/Call", n, "whoami"), 400, -32020},
		{"no method", whoami, with(v, version26, n, "whoami"), 400, -32020},
		{"two methods", whoami, with(v, version26, m, "tools/call", m, "tools/call", n, "whoami"), 400, -32020},
		{"other name", whoami, with(v, version26, m, "tools/call", n, "userinfo"), 400, -32020},
		{"no name", whoami, with(v, version26, m, "tools/call"), 400, -32020},
		{"two names", whoami, with(v, version26, m, "tools/call", n, "userinfo", n, "whoami"), 400, -32020},
		{"name in base64", whoami, with(v, version26, m, "tools/call", n, "=?base64?d2hvYW1p?="), 200, 0},
		{"name in base64, another", whoami, with(v, version26, m, "tools/call", n, "=?base64?dXNlcmluZm8=?="), 400, -32020},
		{"name in bad base64", whoami, with(v, version26, m, "tools/call", n, "=?base64?d2hvYW1?="), 400, -32020},
		{"name beyond ASCII", callBody("1", "café", ","+meta26), with(v, version26, m, "tools/call", n, "=?base64?Y2Fmw6k=?="), 200, 0},
		{"resource named by its URI", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"name":"x","uri":"crm://a",` + meta26 + `}}`, with(v, version26, m, "resources/read", n, "x"), 400, -32020},
		{"resources are not declared", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"name":"x","uri":"crm://a",` + meta26 + `}}`, with(v, version26, m, "resources/read", n, "crm://a"), 404, -32601},
		{"_meta no object", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":7}}`, with(v, version26, m, "tools/list"), 400, -32602},
		{"no name needed", list, with(v, version26, m, "tools/list"), 200, 0},
		{"version in the body only", whoami, with(m, "tools/call", n, "whoami"), 400, -32020},
		{"version older in the header", whoami, with(v, version25, m, "tools/call", n, "whoami"), 400, -32020},
		{"version newer in the header", whoami, with(v, "2099-01-01", m, "tools/call", n, "whoami"), 400, -32020},
		{"version in the header only", callBody("1", "whoami", ""), with(v, version26, m, "tools/call", n, "whoami"), 400, -32602},
		{"version no string", strings.Replace(whoami, `"2026-07-28"`, `1`, 1), with(m, "tools/call", n, "whoami"), 400, -32020},
		{"two versions", whoami, with(v, version26, v, version25, m, "tools/call", n, "whoami"), 400, -32020},
		{"two sessions", callBody("1", "whoami", ""), with(v, version25, s, session, s, "other"), 400, -32020},
		{"version of the future", strings.ReplaceAll(whoami, version26, "2099-01-01"), with(v, "2099-01-01", m, "tools/call", n, "whoami"), 400, -32022},
		{"modern body in a session", whoami, with(v, version25, s, session), 400, -32022},
		{"modern method in the older era", `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}`, with(v, version25, s, session), 200, -32601},
		{"older method in the modern era", strings.Replace(list, "tools/list", "ping", 1), with(v, version26, m, "ping"), 404, -32601},
		{"unknown method in the modern era", strings.Replace(list, "tools/list", "no/such", 1), with(v, version26, m, "no/such"), 404, -32601},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := w.send("POST", tt.body, tt.pairs...)
			var got struct {
				ID    json.RawMessage
				Error struct{ Code int }
			}
			if err := json.Unmarshal([]byte(a.event()), &got); err != nil {
				t.Fatal(err, a.body)
			}
			if a.status != tt.status || got.Error.Code != tt.code {
				t.Errorf("got %d %d %s, want %d %d", a.status, got.Error.Code, a.body, tt.status, tt.code)
			}
		})
	}
	for name, pairs := range map[string][]string{
		"without Mcp-Method": with(v, version26), "with it": with(v, version26, m, "notifications/cancelled"),
	} {
		if a := w.send("POST", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, pairs...); a.status != 202 {
			t.Errorf("notification %s: %d %s", name, a.status, a.body)
		}
	}
}

// FuzzMessage holds the scanner against encoding/json: what it lets through is JSON, in UTF-8, without duplicates, and
// the message that the SDK then reads.
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{
		callBody("1", "whoami", ""), initializeBody("1"), `{"jsonrpc":"2.0","id":"\ud800","result":{"a":[1e9,-0.5]}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized","params":{"_meta":{"io.modelcontextprotocol\/protocolVersion":"\u0032"}}}`,
	} {
		f.Add([]byte(seed))
	}
	w := newWorld(f, nil)
	token, _ := w.login("alice", "c1", "mcp", 1)
	handle := w.server.Endpoint().Handle
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", w.url, bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Mcp-Session-Id", "none")
		r.Header.Set("Mcp-Protocol-Version", version25)
		rec := httptest.NewRecorder()
		if err := handle(rec, r); err != nil {
			t.Fatal(err)
		}
		if accepted := rec.Code == 404; accepted && (!json.Valid(body) || !utf8.Valid(body)) {
			t.Errorf("accepted %q", body)
		}
	})
}
