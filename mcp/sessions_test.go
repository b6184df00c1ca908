package mcp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp"
)

// alive reports whether a session answers its owner.
func (w *world) alive(token, session string) bool {
	w.t.Helper()
	switch a := w.send("POST", `{"jsonrpc":"2.0","id":"alive","method":"ping"}`, legacy(token, session)...); a.status {
	case 200:
		return true
	case 404:
		if !strings.Contains(a.body, "session_unknown: this session is unknown; initialize again") {
			w.t.Errorf("404 with %s", a.body)
		}
		return false
	default:
		w.t.Fatalf("ping: %d %s", a.status, a.body)
		return false
	}
}

// TestSessionBinding: a session belongs to subject and client; it authenticates nobody and survives a new login
// (protocol.md §7, Sessions; [C12]).
func TestSessionBinding(t *testing.T) {
	w := newWorld(t, nil)
	alice, grant := w.login("alice", "c1", "mcp", 1)
	aliceAgain, _ := w.login("alice", "c1", "mcp", 2)
	otherClient, _ := w.login("alice", "c2", "mcp", 1)
	bob, _ := w.login("bob", "c1", "mcp", 1)
	session := w.openSession(alice)
	if len(session) < 26 { // base32 of 130 bits
		t.Errorf("session id %q has less than 128 bits", session)
	}
	for name, token := range map[string]string{"another user": bob, "another client": otherClient} {
		if w.alive(token, session) {
			t.Errorf("%s is let in", name)
		}
		for _, method := range []string{"GET", "DELETE"} {
			if a := w.send(method, "", legacy(token, session)...); a.status != 404 {
				t.Errorf("%s by %s: %d", method, name, a.status)
			}
		}
	}
	w.end(grant, oauth.UserRevoked)
	if a := w.send("POST", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, legacy(alice, session)...); a.status != 401 {
		t.Errorf("an ended grant is answered with %d", a.status)
	}
	if !w.alive(aliceAgain, session) {
		t.Error("a new login lost the session")
	}
	if a := w.send("DELETE", "", legacy(aliceAgain, session)...); a.status != 204 || w.alive(aliceAgain, session) {
		t.Errorf("DELETE: %d", a.status)
	}
}

// TestDeleteEndsStreams: the stream of a session ends with it, and a call in it is answered.
func TestDeleteEndsStreams(t *testing.T) {
	s := newSlow()
	w := newWorld(t, func(o *mcp.Options) { o.Tools = []mcp.Tool{s.tool()} })
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	_, stream := w.open(t.Context(), w.request("GET", "", legacy(token, session)...))
	readUntil(t, stream, ": ok")
	answered := make(chan answer)
	go func() { answered <- w.send("POST", callBody("1", "slow", ""), legacy(token, session)...) }()
	<-s.began
	if a := w.send("DELETE", "", legacy(token, session)...); a.status != 204 {
		t.Errorf("DELETE: %d", a.status)
	}
	if _, err := io.ReadAll(stream); err != nil {
		t.Errorf("not a clean end: %v", err)
	}
	close(s.release)
	if a := <-answered; !strings.Contains(a.body, "done") {
		t.Errorf("the call: %d %s", a.status, a.body)
	}
}

// TestInitializeOnly: only initialize opens a session, and one that fails leaves none.
func TestInitializeOnly(t *testing.T) {
	w := newWorld(t, func(o *mcp.Options) { o.Config.SessionsMax = 1 })
	token, _ := w.login("alice", "c1", "mcp", 1)
	for range 3 {
		a := w.send("POST", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":[]}`, bearer(token)...)
		if a.status == 200 {
			t.Fatalf("bad initialize: %d %s", a.status, a.body)
		}
		a = w.send("POST", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":7}}`, bearer(token)...)
		if !strings.Contains(a.body, `"error"`) {
			t.Fatalf("bad initialize: %d %s", a.status, a.body)
		}
		if a := w.send("POST", `{"jsonrpc":"2.0","id":0,"method":"ping"}`, bearer(token)...); a.status != 400 {
			t.Fatalf("ping without session: %d", a.status)
		}
	}
	if w.gauge("hostedmcp_mcp_sessions") != 0 {
		t.Error("failed initializations count as sessions")
	}
	first := w.openSession(token)
	if !w.alive(token, first) || w.gauge("hostedmcp_mcp_sessions") != 1 {
		t.Error("no session")
	}
}

// TestInitializeAborted: a client that goes away while initialize is under way leaves no session, whatever the SDK has
// made by then, and the caps hold afterwards.
func TestInitializeAborted(t *testing.T) {
	w := newWorld(t, func(o *mcp.Options) { o.Config.SessionsMax = 1 })
	token, _ := w.login("alice", "c1", "mcp", 1)
	began, release := make(chan struct{}), make(chan struct{})
	w.server.HoldInitialize(func() { began <- struct{}{}; <-release })
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			resp, err := http.DefaultClient.Do(w.request("POST", initializeBody("0"), bearer(token)...).WithContext(ctx))
			if err == nil {
				resp.Body.Close()
			}
			left <- err
		}()
		answered := w.answers()
		<-began
		cancel()
		if err := <-left; err == nil {
			t.Fatal("initialize was answered")
		}
		w.await("the request ends", func() bool { return w.answers() > answered })
		release <- struct{}{}
	}
	w.await("the SDK's sessions are closed", func() bool { return w.server.LegacySessions() == 0 })
	if got := w.gauge("hostedmcp_mcp_sessions"); got != 0 {
		t.Errorf("%v sessions in the books", got)
	}
	go func() { <-began; release <- struct{}{} }()
	first := w.openSession(token)
	_, stream := w.open(t.Context(), w.request("GET", "", legacy(token, first)...))
	readUntil(t, stream, ": ok")
	if a := w.send("POST", initializeBody("0"), bearer(token)...); a.status != 429 {
		t.Errorf("above the cap: %d %s", a.status, a.body)
	}
	if a := w.send("DELETE", "", legacy(token, first)...); a.status != 204 || w.gauge("hostedmcp_mcp_sessions") != 0 {
		t.Errorf("DELETE: %d", a.status)
	}
}

// TestSessionCaps: at a cap the oldest idle session goes first; with none idle it is 429.
func TestSessionCaps(t *testing.T) {
	clock := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	w := newWorld(t, func(o *mcp.Options) {
		o.Config.SessionsMax, o.Config.SessionsPerUser = 4, 2
		o.Now = func() time.Time { clock = clock.Add(time.Second); return clock }
	})
	alice, _ := w.login("alice", "c1", "mcp", 1)
	aliceElsewhere, _ := w.login("alice", "c2", "mcp", 1)
	bob, _ := w.login("bob", "c1", "mcp", 1)
	carol, _ := w.login("carol", "c1", "mcp", 1)
	b1 := w.openSession(bob) // the oldest of all, when alice meets her own cap
	a1, a2 := w.openSession(alice), w.openSession(alice)
	if !w.alive(alice, a1) { // now a2 is the oldest
		t.Fatal("a1 is gone")
	}
	a3 := w.openSession(aliceElsewhere)
	if w.alive(alice, a2) || !w.alive(alice, a1) || !w.alive(aliceElsewhere, a3) || !w.alive(bob, b1) {
		t.Error("per user: not the oldest idle one went")
	}
	b2 := w.openSession(bob)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, stream := w.open(ctx, w.request("GET", "", legacy(alice, a1)...)) // a1 is oldest, but not idle
	readUntil(t, stream, ": ok")
	c1 := w.openSession(carol)
	if w.alive(aliceElsewhere, a3) || !w.alive(alice, a1) || !w.alive(bob, b1) || !w.alive(bob, b2) || !w.alive(carol, c1) {
		t.Error("of all: not the oldest idle one went")
	}
	if got := w.gauge("hostedmcp_mcp_sessions"); got != 4 {
		t.Errorf("gauge: %v", got)
	}
	for token, session := range map[string]string{bob: b1, carol: c1} {
		_, s := w.open(ctx, w.request("GET", "", legacy(token, session)...))
		readUntil(t, s, ": ok")
	}
	_, s := w.open(ctx, w.request("GET", "", legacy(bob, b2)...))
	readUntil(t, s, ": ok")
	a := w.send("POST", initializeBody("0"), bearer(alice)...)
	if a.status != 429 || a.header.Get("Retry-After") != "60" || w.lastReason() != oauth.RateLimited {
		t.Errorf("none idle: %d %s", a.status, a.body)
	}
}

// TestSessionIdle: a session without requests ends; one with a stream does not.
func TestSessionIdle(t *testing.T) {
	// The stream must be open before its session has been idle for so long: a machine that is too slow for one span gets
	// a longer one.
	for span := 80 * time.Millisecond; ; span *= 4 {
		w := newWorld(t, func(o *mcp.Options) { o.Config.SessionIdle = oauth.Duration(span) })
		token, _ := w.login("alice", "c1", "mcp", 1)
		busy := w.openSession(token)
		resp, err := http.DefaultClient.Do(w.request("GET", "", legacy(token, busy)...).WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusNotFound && span < time.Minute {
			continue
		}
		readUntil(t, bufio.NewReader(resp.Body), ": ok")
		w.openSession(token)
		w.await("one session ends", func() bool { return w.gauge("hostedmcp_mcp_sessions") == 1 })
		if !w.alive(token, busy) {
			t.Error("the one with a stream ended")
		}
		return
	}
}

// TestRealClientReinitializes: on 404 the SDK's client learns that its session is gone.
func TestRealClientReinitializes(t *testing.T) {
	w := newWorld(t, func(o *mcp.Options) { o.Config.SessionsPerUser = 1 })
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.connect(func() string { return token }, version25)
	if a := w.send("DELETE", "", legacy(token, session.ID())...); a.status != 204 {
		t.Fatal(a.status)
	}
	_, err := session.CallTool(context.Background(), &sdk.CallToolParams{Name: "whoami"})
	if err == nil || !strings.Contains(err.Error(), "session not found") && !strings.Contains(err.Error(), "session ID") {
		t.Errorf("call in a session that ended: %v", err)
	}
}

// TestClose: a server that is stopped opens no sessions or streams and answers the calls under way.
func TestClose(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(o *mcp.Options) {
		o.Tools = []mcp.Tool{tool("slow", func(context.Context, json.RawMessage) (*mcp.Result, error) {
			close(began)
			<-release
			return mcp.Text("done"), nil
		})}
	})
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	_, stream := w.open(t.Context(), w.request("GET", "", legacy(token, session)...))
	readUntil(t, stream, ": ok")
	_, subscription := streamKinds["subscription"](w, token)
	readUntil(t, subscription, "data: ")
	answered := make(chan answer)
	go func() { answered <- w.send("POST", callBody("1", "slow", ""), legacy(token, session)...) }()
	<-began
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.server.Close(ctx); err == nil {
		t.Error("Close did not wait for the call")
	}
	for _, r := range []io.Reader{stream, subscription} {
		if _, err := io.ReadAll(r); err != nil {
			t.Errorf("not a clean end: %v", err)
		}
	}
	if a := w.send("POST", initializeBody("0"), bearer(token)...); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("initialize: %d", a.status)
	}
	listen := `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},` + meta26 + `}}`
	if a := w.send("POST", listen, modern(token, "subscriptions/listen", "")...); a.status != 503 {
		t.Errorf("listen: %d", a.status)
	}
	close(release)
	if a := <-answered; a.status != 200 || !strings.Contains(a.body, "done") {
		t.Errorf("the call under way: %d %s", a.status, a.body)
	}
}
