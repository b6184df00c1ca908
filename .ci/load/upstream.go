package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
)

// The mounted MCP server, whatever the transport (MCP 2025-11-25 and 2026-07-28). It speaks one era, tells and asks in
// the middle of calls, offers each user something of their own, and guards nothing of it: that is hostedmcp's part.

// message is a JSON-RPC message as the server reads it.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Result json.RawMessage `json:"result"`
	Params struct {
		Name          string `json:"name"`
		URI           string `json:"uri"`
		Notifications struct {
			URIs []string `json:"resourceSubscriptions"`
		} `json:"notifications"`
		Arguments struct {
			Tag string `json:"tag"`
			Ask string `json:"ask"`
			N   int    `json:"n"`
		} `json:"arguments"`
		Meta           map[string]json.RawMessage `json:"_meta"`
		InputResponses map[string]json.RawMessage `json:"inputResponses"`
		RequestState   string                     `json:"requestState"`
	} `json:"params"`
}

// identity is what came with a request about who asks, and what should not have come with it.
type identity struct {
	Subject    string   `json:"subject"`
	Credential string   `json:"credential"` // in answers hidden by hostedmcp
	Mark       string   `json:"mark"`       // in answers: by which the credential is known nevertheless
	Foreign    []string `json:"foreign,omitempty"`
}

// mark is a name of a credential that says nothing of it.
func mark(credential string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(credential))) }

// name returns the user's name, "" of nobody.
func (i identity) name() string { return strings.TrimPrefix(i.Subject, "sub-") }

// turn is a request under way: who asks, and how to say something meanwhile.
type turn struct {
	who  identity
	tell func(method, params string)
	ask  func(method, params string) json.RawMessage // of the older era; nil = cannot ask
	stay func()                                      // waits until the client goes
	stir func(uri string)                            // tells of an update, on the session's own stream
}

// upstream is one server.
type upstream struct {
	modern bool
	corpus bool // offers the corpus in place of what is personal
	many   int  // further tools
}

func result(id json.RawMessage, object string) string {
	return `{"jsonrpc":"2.0","id":` + string(id) + `,"result":` + object + `}`
}

func unknown(id json.RawMessage) string {
	return `{"jsonrpc":"2.0","id":` + string(id) + `,"error":{"code":-32601,"message":"Method not found"}}`
}

func (u *upstream) handle(m *message, t *turn) string {
	who := t.who.name()
	if u.many > 0 {
		who = "everybody" // what is measured is the same for all
	}
	switch m.Method {
	case "server/discover":
		if !u.modern {
			return unknown(m.ID)
		}
		return result(m.ID, `{"supportedVersions":["2026-07-28"],"capabilities":`+capabilities+`,"resultType":"complete"}`)
	case "initialize":
		if u.modern {
			return unknown(m.ID)
		}
		return result(m.ID, `{"protocolVersion":"2025-11-25","capabilities":`+capabilities+`,"serverInfo":{"name":"load","version":"1"}}`)
	case "tools/list":
		return result(m.ID, `{"tools":[`+strings.Join(u.tools(who), ",")+`]}`)
	case "prompts/list":
		return result(m.ID, `{"prompts":[{"name":"note_`+who+`"}]}`)
	case "resources/list":
		return result(m.ID, `{"resources":[{"uri":"note://`+who+`","name":"note"}]}`)
	case "prompts/get":
		return result(m.ID, `{"messages":[{"role":"user","content":{"type":"text","text":"of `+m.Params.Name+`"}}]}`)
	case "resources/read":
		return result(m.ID, `{"contents":[{"uri":"`+m.Params.URI+`","text":"of `+m.Params.URI+`"}]}`)
	case "resources/templates/list":
		return unknown(m.ID)
	case "resources/subscribe":
		t.stir(m.Params.URI)
	case "subscriptions/listen":
		u.listen(m, t)
	case "tools/call":
		if u.corpus {
			return result(m.ID, corpus()[m.Params.Arguments.N].result)
		}
		return result(m.ID, u.work(m, t))
	}
	return result(m.ID, `{}`)
}

// capabilities of the server: all that there are.
const capabilities = `{"tools":{"listChanged":true},"prompts":{},"resources":{"subscribe":true},"logging":{}}`

// tools are the definitions for one user.
func (u *upstream) tools(who string) (out []string) {
	if u.corpus {
		for _, c := range corpus() {
			out = append(out, c.definition)
		}
		return out
	}
	names := []string{"work"}
	if who != "" && u.many == 0 {
		names = append(names, "only_"+who)
	}
	for i := range u.many {
		names = append(names, fmt.Sprintf("tool_%04d", i))
	}
	for _, name := range names {
		out = append(out, `{"name":"`+name+`","description":"Works for whoever asks, says what came, and asks back when it is told to.",`+
			`"inputSchema":{"type":"object","properties":{"tag":{"type":"string","description":"Comes back"},"ask":{"type":"string"}}},`+
			`"annotations":{"readOnlyHint":true}}`)
	}
	return out
}

// listen tells of one update of each resource, and of nothing else for as long as the client listens.
func (u *upstream) listen(m *message, t *turn) {
	meta := `"_meta":{"io.modelcontextprotocol/subscriptionId":` + string(m.ID) + `}`
	uris, _ := json.Marshal(m.Params.Notifications.URIs)
	t.tell("notifications/subscriptions/acknowledged", `{"notifications":{"resourceSubscriptions":`+string(uris)+`},`+meta+`}`)
	for _, uri := range m.Params.Notifications.URIs {
		t.tell("notifications/resources/updated", `{"uri":"`+uri+`",`+meta+`}`)
	}
	t.stay()
}

// work is the one tool: it tells, asks and answers, each with the tag of the call.
func (u *upstream) work(m *message, t *turn) string {
	tag := m.Params.Arguments.Tag
	token := m.Params.Meta["progressToken"]
	progress := func(n int) {
		if token != nil {
			t.tell("notifications/progress", fmt.Sprintf(`{"progressToken":%s,"progress":%d,"message":"at %s"}`, token, n, tag))
		}
	}
	progress(1)
	if !u.modern || m.Params.Meta["io.modelcontextprotocol/logLevel"] != nil {
		t.tell("notifications/message", `{"level":"info","data":"log `+tag+`"}`)
	}
	answer := json.RawMessage("null")
	if ask := m.Params.Arguments.Ask; ask != "" {
		method, params := question(ask, tag)
		switch {
		case !u.modern:
			answer = t.ask(method, params)
		case m.Params.InputResponses == nil:
			return `{"resultType":"input_required","inputRequests":{"q":{"method":"` + method + `","params":` + params + `}},"requestState":"state ` + tag + `"}`
		default:
			answer = m.Params.InputResponses["q"]
			if m.Params.RequestState != "state "+tag {
				t.who.Foreign = append(t.who.Foreign, "requestState "+m.Params.RequestState)
			}
		}
	}
	progress(2)
	t.who.Mark = mark(t.who.Credential)
	who, _ := json.Marshal(t.who)
	kind := ""
	if u.modern {
		kind = `"resultType":"complete",`
	}
	return fmt.Sprintf(`{%s"content":[{"type":"text","text":"%s"}],"structuredContent":{"tag":"%s","who":%s,"answer":%s}}`, kind, tag, tag, who, answer)
}

// question is what the tool asks.
func question(ask, tag string) (method, params string) {
	if ask == "sample" {
		return "sampling/createMessage", `{"messages":[{"role":"user","content":{"type":"text","text":"` + tag + `"}}],"maxTokens":5}`
	}
	return "elicitation/create", `{"message":"` + tag + `","requestedSchema":{"type":"object","properties":{"user":{"type":"string"}}}}`
}
