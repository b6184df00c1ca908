package mcp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
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
	event, _, hangUp := b.w.longCall(callBody(`"7"`, "slow", ""), b.token, b.session)
	b.event = event
	hangUp()
	<-b.slow.began
	return b
}

// longCall begins a call in a session and reads how to come back to it; hangUp lets go of the connection.
func (w *world) longCall(body, token, session string) (event string, stream *bufio.Reader, hangUp func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(cancel)
	resp, stream := w.open(ctx, w.request("POST", body, legacy(token, session)...))
	return primed(w.t, stream), stream, func() {
		cancel()
		resp.Body.Close()
	}
}

// primed reads the event with which a stream begins that can be taken up again (SEP-1699), and returns its id.
func primed(t testing.TB, stream *bufio.Reader) string {
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

// TestComeBackWithLess: who takes an answer up needs the rights of the call, in a session with several grants too.
func TestComeBackWithLess(t *testing.T) {
	up := newSource("up", func(c *connector.Config) { c.Scopes = []string{"crm.write"} }, "t")
	release := make(chan struct{})
	up.do = func(context.Context, connector.Call) (json.RawMessage, error) {
		<-release
		return json.RawMessage(echoed), nil
	}
	w := mounting(t, up)
	full, _ := w.login("alice", "c1", "mcp crm.write", 1)
	less, _ := w.login("alice", "c1", "mcp", 2)
	session := w.openSession(full)
	event, stream, _ := w.longCall(callBody("1", "up__t", ""), full, session)
	b := &broken{w: w, event: event}
	close(release)
	readUntil(t, stream, "data: ")
	if a := w.send("GET", "", append(legacy(less, session), "Last-Event-Id", b.event, "Accept", "application/json")...); a.status != 400 {
		t.Errorf("%d %s", a.status, a.body)
	}
	_, again := b.comeBack(full, session, b.event)
	readUntil(t, again, "data: ")
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

// TestTalkWhileAway: what a connector asks while the connection is broken waits for the client to come back, and from then
// on it hears everything.
func TestTalkWhileAway(t *testing.T) {
	up := newSource("up", nil, "ask")
	began, broke := make(chan struct{}), make(chan struct{})
	up.do = func(ctx context.Context, c connector.Call) (json.RawMessage, error) {
		close(began)
		<-broke
		c.Peer.Notify(ctx, "notifications/message", json.RawMessage(`{"level":"error","data":"nobody hears"}`))
		answer, err := c.Peer.Ask(ctx, "elicitation/create", json.RawMessage(`{"message":"who?"}`))
		if err != nil {
			return nil, err
		}
		c.Peer.Notify(ctx, "notifications/message", json.RawMessage(`{"level":"error","data":"heard"}`))
		return json.RawMessage(`{"content":[],"structuredContent":` + string(answer) + `}`), nil
	}
	w := mounting(t, up)
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.send("POST", strings.Replace(initializeBody("0"), `"capabilities":{}`, `"capabilities":{"elicitation":{}}`, 1), bearer(token)...).header.Get("Mcp-Session-Id")
	event, _, hangUp := w.longCall(callBody("1", "up__ask", ""), token, session)
	<-began
	w.await("the call is looked after", func() bool { return w.gauge("hostedmcp_mcp_streams") == 1 })
	hangUp()
	w.await("the connection is known to be broken", func() bool { return w.gauge("hostedmcp_mcp_streams") == 0 })
	close(broke)
	_, again := (&broken{w: w}).comeBack(token, session, event)
	if question := readUntil(t, again, "data: "); !strings.HasPrefix(question, `data: {"jsonrpc":"2.0","id":"hm1","method":"elicitation/create"`) {
		t.Error(question)
	}
	if a := w.send("POST", `{"jsonrpc":"2.0","id":"hm1","result":{"action":"accept","content":{"n":9007199254740993}}}`, legacy(token, session)...); a.status != 202 {
		t.Error(a.status)
	}
	for _, want := range []string{
		`data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"heard"}}`,
		`data: {"jsonrpc":"2.0","id":1,"result":{"content":[],"structuredContent":{"action":"accept","content":{"n":9007199254740993}}}}`,
	} {
		if got := readUntil(t, again, "data: "); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}

// TestForgotten: what is held for clients that come back is given up after a while, and there is a most of it.
func TestForgotten(t *testing.T) {
	b := breakOff(t)
	b.w.server.SetHold(0)
	held := b.w.server.Kept()
	close(b.slow.release)
	b.w.await("nothing is held", func() bool { return b.w.server.Kept() == 0 })
	if held == 0 {
		t.Error("nothing was")
	}
	if a := b.w.send("GET", "", append(legacy(b.token, b.session), "Last-Event-Id", b.event, "Accept", "application/json")...); a.status != 400 {
		t.Errorf("%d %s", a.status, a.body) // as for an id that never was
	}
}

// TestMostHeld: an answer that is too much to hold is sent, and who comes back for it hears that it is lost. It takes
// nothing from other users.
func TestMostHeld(t *testing.T) {
	b := breakOff(t)
	b.slow.answer = func() (*mcp.Result, error) { return mcp.Text(strings.Repeat("x", 17<<20)), nil }
	_, stream := b.comeBack(b.token, b.session, b.event)
	close(b.slow.release)
	if got := readUntil(t, stream, "data: "); !strings.HasPrefix(got, `data: {"jsonrpc":"2.0","id":"7","error":{"code":-32603,`) {
		t.Errorf("%.100q", got)
	}
}

// TestManyBroken: the oldest answers make room for new ones, and calls under way are never given up for others.
func TestManyBroken(t *testing.T) {
	b := breakOff(t)
	var events []string
	for i := range 40 {
		s := newSlow()
		if err := b.w.server.SetTools([]mcp.Tool{s.tool()}); err != nil {
			t.Fatal(err)
		}
		event, stream, hangUp := b.w.longCall(callBody(strconv.Itoa(i), "slow", ""), b.token, b.session)
		events = append(events, event)
		close(s.release)
		readUntil(t, stream, "data: ")
		hangUp()
	}
	_, last := b.comeBack(b.token, b.session, events[39])
	readUntil(t, last, `data: {"jsonrpc":"2.0","id":39`)
	if a := b.w.send("GET", "", append(legacy(b.token, b.session), "Last-Event-Id", events[0], "Accept", "application/json")...); a.status != 400 {
		t.Errorf("%d %s", a.status, a.body)
	}
	_, first := b.comeBack(b.token, b.session, b.event)
	close(b.slow.release)
	readUntil(t, first, `data: {"jsonrpc":"2.0","id":"7"`)
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
		w.send("POST", `{"jsonrpc":"2.0","id":9,"method":"notifications/cancelled","params":{"requestId":`+id+`}}`, legacy(token, session)...)
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

// TestCancelledAtConnector: the connector hears of it, and it is counted as what it is.
func TestCancelledAtConnector(t *testing.T) {
	up, began, _ := waiting()
	w := mounting(t, up)
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	answered := make(chan answer)
	go func() { answered <- w.send("POST", callBody("1", "up__wait", ""), legacy(token, session)...) }()
	<-began
	w.send("POST", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, legacy(token, session)...)
	if a := <-answered; !strings.Contains(a.event(), `"message":"the client cancelled the call"`) {
		t.Error(a.body)
	}
	if n := w.gauge("hostedmcp_connector_calls_total", "result", "cancelled"); n != 1 {
		t.Errorf("%v calls are counted as cancelled", n)
	}
}

// TestErrorStatus: in the modern era some errors have a status of their own (SEP-2575); what a connector says after its
// client has gone reaches nobody, and breaks nothing.
func TestErrorStatus(t *testing.T) {
	up := newSource("up", nil, "t")
	w := mounting(t, up)
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	for code, status := range map[int64]int{-32601: 404, -32602: 400, -32021: 400, -32022: 400, -32603: 200, 7: 200} {
		up.do = func(context.Context, connector.Call) (json.RawMessage, error) {
			return nil, &connector.Error{Code: code, Message: "said <it>", Data: json.RawMessage(`{"n":1e2}`)}
		}
		want := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"error":{"code":%d,"message":"said <it>","data":{"n":1e2}}}`, code)
		if a := w.send("POST", callBody("1", "up__t", ","+meta26), modern(token, "tools/call", "up__t")...); a.status != status || a.body != want {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := w.send("POST", callBody("1", "up__t", ""), legacy(token, session)...); a.status != 200 || a.body != want {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	began, over := make(chan struct{}), make(chan struct{})
	up.do = func(ctx context.Context, c connector.Call) (json.RawMessage, error) {
		close(began)
		<-ctx.Done()
		defer close(over)
		c.Peer.Notify(ctx, "notifications/message", json.RawMessage(`{"level":"error"}`))
		return nil, ctx.Err()
	}
	ctx, hangUp := context.WithCancel(t.Context())
	hungUp := make(chan error)
	go func() {
		_, err := http.DefaultClient.Do(w.request("POST", callBody("1", "up__t", ","+strings.Replace(meta26, `{"`, `{"io.modelcontextprotocol/logLevel":"debug","`, 1)), modern(token, "tools/call", "up__t")...).WithContext(ctx))
		hungUp <- err
	}()
	<-began
	hangUp()
	<-over
	if <-hungUp == nil {
		t.Error("there was an answer")
	}
}

// TestTrouble: what stands in the way of a tool of ours is said in words that help, its cause is not.
func TestTrouble(t *testing.T) {
	w := newWorld(t, func(o *mcp.Options) {
		o.Tools = []mcp.Tool{tool("t", func(context.Context, json.RawMessage) (*mcp.Result, error) {
			return nil, oauth.Unavailable(oauth.UpstreamUnreachable, errors.New("cause"))
		})}
	})
	token, _ := w.login("alice", "c1", "mcp", 1)
	a := w.modernCall(token, "t")
	if !strings.Contains(a.body, `"code":-32603,"message":"upstream_unreachable: `) || strings.Contains(a.body, "cause") {
		t.Error(a.body)
	}
}

// TestEndedWhileAway: the end of the grant ends a call whose client has gone, too.
func TestEndedWhileAway(t *testing.T) {
	up, began, over := waiting()
	w := mounting(t, up)
	token, grant := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	_, _, hangUp := w.longCall(callBody("1", "up__wait", ""), token, session)
	<-began
	hangUp()
	w.end(grant, oauth.UserRevoked)
	<-over
}

// TestAbandoned: a call for whose answer nobody can come back any more is cancelled: its connection broke, and its session
// ended, in either order.
func TestAbandoned(t *testing.T) {
	for _, order := range []string{"connection first", "session first", "server stops"} {
		t.Run(order, func(t *testing.T) {
			up, began, over := waiting()
			w := mounting(t, up)
			token, _ := w.login("alice", "c1", "mcp", 1)
			session := w.openSession(token)
			_, _, leave := w.longCall(callBody("1", "up__wait", ""), token, session)
			<-began
			end := func() {
				if a := w.send("DELETE", "", legacy(token, session)...); a.status != 204 {
					t.Error(a.status)
				}
			}
			switch order {
			case "connection first":
				leave()
				end()
			case "session first":
				end()
				select {
				case <-over:
					t.Error("a call that is still listened to was cancelled")
				default:
				}
				leave()
			case "server stops":
				leave()
				if err := w.server.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
			<-over
			w.await("it is counted", func() bool { return w.gauge("hostedmcp_connector_calls_total", "result", "cancelled") == 1 })
		})
	}
}

// TestIDAgain: who has the whole answer can use its id again at once, on another connection too.
func TestIDAgain(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	w := newWorld(t, func(o *mcp.Options) {
		o.Tools = []mcp.Tool{tool("big", func(context.Context, json.RawMessage) (*mcp.Result, error) { return mcp.Text(big), nil })}
	})
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	for range 100 {
		r := w.request("POST", callBody("1", "big", ""), legacy(token, session)...)
		r.Close = true
		if a := w.do(r); a.status != 200 {
			t.Fatalf("%d %.300s", a.status, a.body)
		}
	}
}

// gated is a connector whose lookup for a call waits.
type gated struct {
	*source
	asked, open chan struct{}
}

func (g gated) Catalog(ctx context.Context, c *connector.Call) (connector.Catalog, error) {
	if c != nil && c.Method == "tools/call" {
		close(g.asked)
		<-g.open
	}
	return g.source.Catalog(ctx, c)
}

// TestAbandonedEarly: a call whose session ends while its tool is looked up ends with its connection, too.
func TestAbandonedEarly(t *testing.T) {
	up, began, over := waiting()
	g := gated{up, make(chan struct{}), make(chan struct{})}
	w := newWorld(t, func(o *mcp.Options) { o.Connectors = []connector.Source{g} })
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if resp, err := http.DefaultClient.Do(w.request("POST", callBody("1", "up__wait", ""), legacy(token, session)...).WithContext(ctx)); err == nil {
			resp.Body.Close()
		}
	}()
	<-g.asked
	if a := w.send("DELETE", "", legacy(token, session)...); a.status != 204 {
		t.Fatal(a.status)
	}
	close(g.open)
	<-began
	hangUp()
	<-over
	<-answered
}
