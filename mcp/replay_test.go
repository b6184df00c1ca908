package mcp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp"
	"hostedmcp/mcp/connector"
)

// broken is a call of a session that has become a stream, whose connection then broke.
type broken struct {
	w       *world
	slow    *slow
	session string
	token   string
	event   string // id of the first event
}

// breakOff begins a slow call in a session, reads how to come back, and lets go of the connection.
func breakOff(t *testing.T) *broken {
	b := &broken{slow: newSlow()}
	b.w = newWorld(t, func(o *mcp.Options) { o.Tools = []mcp.Tool{b.slow.tool()} })
	b.token, _ = b.w.login("alice", "c1", "mcp", 1)
	b.session = b.w.openSession(b.token)
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	resp, stream := b.w.open(ctx, b.w.request("POST", callBody(`"7"`, "slow", ""), legacy(b.token, b.session)...))
	b.event = primed(t, stream)
	hangUp()
	resp.Body.Close()
	<-b.slow.began
	return b
}

// primed reads the event with which a stream begins that can be taken up again (SEP-1699), and returns its id.
func primed(t *testing.T, stream *bufio.Reader) string {
	t.Helper()
	id := strings.TrimPrefix(readUntil(t, stream, "id: "), "id: ")
	for _, want := range []string{"retry: 1000", "data:", ""} {
		if line, err := stream.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
			t.Errorf("%q, not %q: %v", line, want, err)
		}
	}
	return id
}

// comeBack asks for what came after an event.
func (b *broken) comeBack(token, session, event string) (*http.Response, *bufio.Reader) {
	return b.w.open(b.w.t.Context(), b.w.request("GET", "", append(legacy(token, session), "Last-Event-Id", event)...))
}

// TestBrokenConnection: a call whose connection broke goes on, and its client gets the answer when it comes back, while
// it is under way and after, as often as it asks (MCP 2025-11-25 "Resumability and Redelivery").
func TestBrokenConnection(t *testing.T) {
	b := breakOff(t)
	_, first := b.comeBack(b.token, b.session, b.event)
	close(b.slow.release)
	last := strings.TrimPrefix(readUntil(t, first, "id: "), "id: ")
	if answer := readUntil(t, first, "data: "); answer != `data: {"jsonrpc":"2.0","id":"7","result":{"content":[{"type":"text","text":"done"}]}}` {
		t.Error(answer)
	}
	if _, err := first.ReadString('d'); err == nil {
		t.Error("the stream goes on after the answer")
	}
	_, again := b.comeBack(b.token, b.session, b.event)
	readUntil(t, again, `data: {"jsonrpc":"2.0","id":"7"`)
	// Who has got all of it gets nothing more, and the stream is over at once.
	_, nothing := b.comeBack(b.token, b.session, last)
	if line, err := nothing.ReadString('\n'); err == nil {
		t.Error(line)
	}
	if len(b.slow.cancelled) != 0 {
		t.Error("the call was cancelled with its connection")
	}
}

// TestComeBackElsewhere: nobody else's session leads to a stream, and a session's end takes its streams along.
func TestComeBackElsewhere(t *testing.T) {
	b := breakOff(t)
	close(b.slow.release)
	_, answered := b.comeBack(b.token, b.session, b.event)
	readUntil(t, answered, `data: {"jsonrpc":"2.0","id":"7"`)
	bob, _ := b.w.login("bob", "c1", "mcp", 1)
	if a := b.w.send("GET", "", append(legacy(bob, b.session), "Last-Event-Id", b.event)...); a.status != 404 {
		t.Errorf("with somebody's session: %d %s", a.status, a.body)
	}
	for _, who := range []string{bob, b.token} {
		session := b.w.openSession(who)
		resp, err := b.w.http.Client().Do(b.w.request("GET", "", append(legacy(who, session), "Last-Event-Id", b.event)...))
		if err != nil {
			t.Fatal(err)
		}
		if stream := bufio.NewReader(resp.Body); resp.StatusCode == 200 {
			if line, _ := stream.ReadString('\n'); strings.Contains(line, "id:") || strings.Contains(line, "data:") {
				t.Errorf("another session hears %q", line)
			}
		}
		resp.Body.Close()
	}
	if a := b.w.send("DELETE", "", legacy(b.token, b.session)...); a.status != 204 {
		t.Fatal(a.status)
	}
	if a := b.w.send("GET", "", append(legacy(b.token, b.session), "Last-Event-Id", b.event)...); a.status != 404 {
		t.Errorf("after the session's end: %d %s", a.status, a.body)
	}
	if n := b.w.server.Kept(); n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
}

// TestQuickAnswer: a call that does not take long is answered in one piece, and one of an older version gets no events
// that its client may not understand.
func TestQuickAnswer(t *testing.T) {
	s := newSlow()
	w := newWorld(t, quick(s))
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	a := w.send("POST", callBody("1", "whoami", ""), legacy(token, session)...)
	if a.status != 200 || a.header.Get("Content-Type") != "application/json" || !strings.Contains(a.body, `"sub`) {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	_, stream := w.open(t.Context(), w.request("POST", callBody("1", "slow", ""), append(bearer(token), "Mcp-Session-Id", session, "Mcp-Protocol-Version", "2025-06-18")...))
	if line, err := stream.ReadString('\n'); err != nil || strings.TrimSpace(line) != keepAlive {
		t.Errorf("%q %v", line, err)
	}
	close(s.release)
	readUntil(t, stream, `data: {"jsonrpc":"2.0","id":1`)
}

// TestQuestionWhileAway: what a connector asks while the connection is broken waits for the client to come back.
func TestQuestionWhileAway(t *testing.T) {
	up := newSource("up", nil, "ask")
	began, broke := make(chan struct{}), make(chan struct{})
	up.do = func(ctx context.Context, c connector.Call) (json.RawMessage, error) {
		close(began)
		<-broke
		answer, err := c.Peer.Ask(ctx, "elicitation/create", json.RawMessage(`{"message":"who?"}`))
		if err != nil {
			return nil, err
		}
		return json.RawMessage(`{"content":[],"structuredContent":` + string(answer) + `}`), nil
	}
	w := mounting(t, up)
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.send("POST", strings.Replace(initializeBody("0"), `"capabilities":{}`, `"capabilities":{"elicitation":{}}`, 1), bearer(token)...).header.Get("Mcp-Session-Id")
	ctx, hangUp := context.WithCancel(t.Context())
	resp, stream := w.open(ctx, w.request("POST", callBody("1", "up__ask", ""), legacy(token, session)...))
	event := primed(t, stream)
	<-began
	hangUp()
	resp.Body.Close()
	close(broke)
	b := &broken{w: w}
	_, again := b.comeBack(token, session, event)
	question := readUntil(t, again, `data: {"jsonrpc":"2.0","id":"hm1","method":"elicitation/create"`)
	if !strings.Contains(question, `"who?"`) {
		t.Error(question)
	}
	if a := w.send("POST", `{"jsonrpc":"2.0","id":"hm1","result":{"action":"accept","content":{"n":9007199254740993}}}`, legacy(token, session)...); a.status != 202 {
		t.Error(a.status)
	}
	readUntil(t, again, `data: {"jsonrpc":"2.0","id":1,"result":{"content":[],"structuredContent":{"action":"accept","content":{"n":9007199254740993}}}}`)
}

// TestCancelled: a client of the older era takes its own call back, by whatever spelling of the id, and no other; ids
// under way cannot be used twice.
func TestCancelled(t *testing.T) {
	s := newSlow()
	w := newWorld(t, func(o *mcp.Options) { o.Tools = []mcp.Tool{s.tool()} })
	token, _ := w.login("alice", "c1", "mcp", 1)
	session, other := w.openSession(token), w.openSession(token)
	for id, spelt := range map[string]string{"1": "1", `"a"`: `"\u0061"`, "0": "-0"} {
		answered := make(chan answer)
		go func() { answered <- w.send("POST", callBody(id, "slow", ""), legacy(token, session)...) }()
		<-s.began
		if a := w.send("POST", callBody(id, "slow", ""), legacy(token, session)...); a.status != 400 || !strings.Contains(a.body, `"code":-32600,"message":"a request with this id is under way"`) {
			t.Errorf("a second %s: %d %s", id, a.status, a.body)
		}
		cancel := func(session, id string) {
			body := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `}}`
			if a := w.send("POST", body, legacy(token, session)...); a.status != 202 {
				t.Error(a.status, a.body)
			}
		}
		cancel(other, id)
		cancel(session, `"1"`)
		cancel(session, "99")
		if len(s.cancelled) != 0 {
			t.Fatalf("%s: cancelled by what is about another call", id)
		}
		cancel(session, spelt)
		<-s.cancelled
		if a := <-answered; !strings.Contains(a.body, `"error"`) {
			t.Error(a.body)
		}
	}
}

// TestEndedWhileAway: the end of the grant ends a call whose client has gone, too.
func TestEndedWhileAway(t *testing.T) {
	up := newSource("up", nil, "wait")
	began, over := make(chan struct{}), make(chan struct{})
	up.do = func(ctx context.Context, _ connector.Call) (json.RawMessage, error) {
		close(began)
		<-ctx.Done()
		close(over)
		return nil, ctx.Err()
	}
	w := mounting(t, up)
	token, grant := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	ctx, hangUp := context.WithCancel(t.Context())
	resp, stream := w.open(ctx, w.request("POST", callBody("1", "up__wait", ""), legacy(token, session)...))
	primed(t, stream)
	<-began
	hangUp()
	resp.Body.Close()
	w.end(grant, oauth.UserRevoked)
	<-over
}
