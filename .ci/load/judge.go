package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// oneCall is a call of the tool `work`, from its request to what the connector says it got.
type oneCall struct {
	user      *user
	connector string
	mounted   string // era of the connector
	modern    bool
	n         int // of this user
	heard     *heardOf
}

// token is the progress token, id the JSON-RPC id: the same for all users. In the modern era all calls of a user have
// the same too; a session must tell its own calls apart.
func (c *oneCall) token() string {
	if c.modern {
		return `"p"`
	}
	return fmt.Sprintf(`"p%d"`, c.n)
}

func (c *oneCall) id() string {
	if c.modern {
		return "7"
	}
	return fmt.Sprint(7 + c.n)
}

// asks is what this call asks back.
func (c *oneCall) asks() string {
	if c.connector == "rest" {
		return ""
	}
	var i int
	fmt.Sscanf(strings.TrimPrefix(c.user.name, "user"), "%d", &i)
	return ask(i + c.n)
}

// do calls, goes on when more is asked for, and judges.
func (c *oneCall) do(ctx context.Context) {
	q := &request{modern: c.modern, id: c.id(), method: "tools/call", name: c.connector + "__work", session: c.user.session,
		meta: `,"progressToken":` + c.token(), hear: func(m received) { c.hear(ctx, m) }}
	arguments := fmt.Sprintf(`{"tag":"%s","ask":"%s"}`, c.tag(), c.asks())
	if c.connector == "rest" {
		arguments = fmt.Sprintf(`{"tag":"%s"}`, c.tag())
	}
	q.params = fmt.Sprintf(`"name":"%s","arguments":%s`, q.name, arguments)
	if c.modern {
		q.session = ""
	}
	first := q.params
	for range 3 {
		a, err := c.user.send(ctx, q)
		if err != nil {
			c.fault("%v", err)
			return
		}
		if string(a.last.ID) != q.id || a.status != http.StatusOK {
			c.fault("answer %s: %s", a.last.ID, a)
			return
		}
		more, ok := c.input(a.last.Result)
		if !ok {
			c.judge(a)
			return
		}
		q.params = first + more
	}
	c.fault("it asks for input without end")
}

func (c *oneCall) fault(format string, args ...any) {
	c.user.run.fault("%s: %s", c.tag(), fmt.Sprintf(format, args...))
}

// input answers an unfinished result (MCP 2026-07-28 "Multi round-trip requests"); ok is false for one that is finished.
func (c *oneCall) input(result json.RawMessage) (more string, ok bool) {
	var r struct {
		ResultType    string
		RequestState  string
		InputRequests map[string]received
	}
	if json.Unmarshal(result, &r) != nil || r.ResultType != "input_required" {
		return "", false
	}
	var answers []string
	for key, m := range r.InputRequests {
		answers = append(answers, fmt.Sprintf("%q:%s", key, c.answer(m)))
	}
	state, _ := json.Marshal(r.RequestState)
	return `,"requestState":` + string(state) + `,"inputResponses":{` + strings.Join(answers, ",") + `}`, true
}

// answer is what the user says to a question: who says it, and what was asked.
func (c *oneCall) answer(m received) string {
	c.heard.questions.Add(1)
	if m.Method == "sampling/createMessage" && len(m.Params.Messages) == 1 {
		asked := m.Params.Messages[0].Content.Text
		c.mine("question", asked)
		return fmt.Sprintf(`{"role":"assistant","model":"m","content":{"type":"text","text":"%s says %s"}}`, c.user.name, asked)
	}
	c.mine("question", m.Params.Message)
	return fmt.Sprintf(`{"action":"accept","content":{"user":"%s says %s"}}`, c.user.name, m.Params.Message)
}

// hear judges what comes before the answer, and answers questions.
func (c *oneCall) hear(ctx context.Context, m received) {
	switch m.Method {
	case "notifications/progress":
		c.heard.progress.Add(1)
		if string(m.Params.ProgressToken) != c.token() || m.Params.Message != "at "+c.tag() {
			c.fault("progress of another call: %+v", m.Params)
		}
	case "notifications/message":
		c.heard.logs.Add(1)
		c.mine("log", strings.TrimPrefix(m.Params.Data, "log "))
	case "elicitation/create", "sampling/createMessage":
		a, err := c.user.send(ctx, &request{id: string(m.ID), answers: c.answer(m), session: c.user.session})
		if err != nil || a.status != http.StatusAccepted {
			c.fault("answer to a question: %v %v", err, a)
		}
	default:
		c.fault("heard %s", m.Method)
	}
}

// mine judges the tag of a log or a question. Over the pipes of a session they name no call: they may come with another
// call of the same user, but never of another one.
func (c *oneCall) mine(what, tag string) {
	if tag == c.tag() || c.connector == "pipe" && strings.HasPrefix(tag, c.user.name+"/") {
		return
	}
	c.fault("%s of another call: %q", what, tag)
}

// judge reads what the connector got.
func (c *oneCall) judge(a *reply) {
	var r struct {
		StructuredContent struct {
			Tag    string
			Who    identity
			Answer json.RawMessage
		}
	}
	if err := json.Unmarshal(a.last.Result, &r); err != nil || a.last.Error != nil {
		c.fault("answer: %s", a)
		return
	}
	c.heard.answers.Add(1)
	got := r.StructuredContent
	subject := "sub-" + c.user.name
	switch {
	case got.Tag != c.tag():
		c.fault("answer of another call: %s", a)
	case got.Who.Subject != subject:
		c.fault("the connector was told that %q asks", got.Who.Subject)
	case c.connector != "rest" && c.user.run.site.owner(got.Who.Mark) != subject:
		c.fault("the connector got a credential of %q", c.user.run.site.owner(got.Who.Mark))
	case c.user.run.site.owner(mark(got.Who.Credential)) != "":
		c.fault("a credential that the connector repeats reached the client")
	case len(got.Who.Foreign) > 0:
		c.fault("the connector got %q", got.Who.Foreign)
	case c.asks() != "" && !strings.Contains(string(got.Answer), `"`+c.user.name+" says "+c.tag()+`"`):
		c.fault("the connector was answered %s", got.Answer)
	}
}
