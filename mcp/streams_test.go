package mcp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp"
	"hostedmcp/mcp/connector"
)

const keepAlive = ": keep-alive"

func listenBody(id string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},` + meta26 + `}}`
}

// slow is a tool that answers when it is told to, or whose context ends.
type slow struct {
	began, release, cancelled chan struct{}
	answer                    func() (*mcp.Result, error)
}

func newSlow() *slow {
	return &slow{make(chan struct{}, 8), make(chan struct{}), make(chan struct{}, 8),
		func() (*mcp.Result, error) { return mcp.Text("done"), nil }}
}

func (s *slow) tool() mcp.Tool {
	return tool("slow", func(ctx context.Context, _ json.RawMessage) (*mcp.Result, error) {
		s.began <- struct{}{}
		select {
		case <-s.release:
			return s.answer()
		case <-ctx.Done():
			s.cancelled <- struct{}{}
			return nil, ctx.Err()
		}
	})
}

func quick(s *slow, more ...func(*mcp.Options)) func(*mcp.Options) {
	return func(o *mcp.Options) {
		o.Silence = 20 * time.Millisecond
		o.Tools = []mcp.Tool{s.tool()}
		for _, f := range more {
			f(o)
		}
	}
}

// streamKinds opens each kind of stream and returns what comes.
var streamKinds = map[string]func(w *world, token string) (*http.Response, *bufio.Reader){
	"GET": func(w *world, token string) (*http.Response, *bufio.Reader) {
		return w.open(w.t.Context(), w.request("GET", "", legacy(token, w.openSession(token))...))
	},
	"subscription": func(w *world, token string) (*http.Response, *bufio.Reader) {
		return w.open(w.t.Context(), w.request("POST", listenBody("1"), modern(token, "subscriptions/listen", "")...))
	},
	"call": func(w *world, token string) (*http.Response, *bufio.Reader) {
		return w.open(w.t.Context(), w.request("POST", callBody("1", "slow", ""), legacy(token, w.openSession(token))...))
	},
	"modern call": func(w *world, token string) (*http.Response, *bufio.Reader) {
		return w.open(w.t.Context(), w.request("POST", callBody("1", "slow", ","+meta26), modern(token, "tools/call", "slow")...))
	},
}

// TestStreams: headers and comments of every kind of stream, and its end with the grant (protocol.md §7, Streams).
func TestStreams(t *testing.T) {
	for name, open := range streamKinds {
		t.Run(name, func(t *testing.T) {
			s := newSlow()
			w := newWorld(t, quick(s))
			token, grant := w.login("alice", "c1", "mcp", 1)
			resp, stream := open(w, token)
			h := resp.Header
			if resp.StatusCode != 200 || h.Get("Content-Type") != "text/event-stream" ||
				!strings.Contains(h.Get("Cache-Control"), "no-cache") || h.Get("X-Accel-Buffering") != "no" {
				t.Errorf("%d %v", resp.StatusCode, h)
			}
			readUntil(t, stream, keepAlive)
			readUntil(t, stream, keepAlive)
			w.await("the stream is counted", func() bool { return w.gauge("hostedmcp_mcp_streams") == 1 })
			w.end(grant, oauth.UserRevoked)
			if _, err := io.ReadAll(stream); err != nil {
				t.Errorf("not a clean end: %v", err)
			}
			w.await("the stream is not counted any more", func() bool { return w.gauge("hostedmcp_mcp_streams") == 0 })
			w.await("the log line says why", func() bool { return w.lastReason() == oauth.UserRevoked })
			if name == "modern call" {
				<-s.cancelled
			}
			close(s.release)
		})
	}
}

// TestStreamMax: every stream ends at stream_max, and a client can open another.
func TestStreamMax(t *testing.T) {
	for name, open := range streamKinds {
		t.Run(name, func(t *testing.T) {
			s := newSlow()
			w := newWorld(t, quick(s, func(o *mcp.Options) { o.Config.StreamMax = oauth.Duration(60 * time.Millisecond) }))
			token, _ := w.login("alice", "c1", "mcp", 1)
			for range 2 {
				_, stream := open(w, token)
				if _, err := io.ReadAll(stream); err != nil {
					t.Errorf("not a clean end: %v", err)
				}
			}
			close(s.release)
		})
	}
}

// TestSilentInitialize: an answer to initialize does not become a stream before its header names the session, however long
// it takes.
func TestSilentInitialize(t *testing.T) {
	w := newWorld(t, func(o *mcp.Options) { o.Silence = time.Millisecond })
	w.server.HoldInitialize(func() { time.Sleep(20 * time.Millisecond) })
	token, _ := w.login("alice", "c1", "mcp", 1)
	if !w.alive(token, w.openSession(token)) {
		t.Error("there is no session")
	}
}

// TestGrantEndsBeforeAnyByte: a call without a byte so far is answered like the next one would be. In the last version
// with sessions there is one soon: the event that says how to come back.
func TestGrantEndsBeforeAnyByte(t *testing.T) {
	for era, pairs := range map[string]func(w *world, token string) ([]string, string){
		"older session": func(w *world, token string) ([]string, string) {
			return append(bearer(token), "Mcp-Session-Id", w.openSession(token), "Mcp-Protocol-Version", "2025-06-18"), ""
		},
		"modern": func(_ *world, token string) ([]string, string) {
			return modern(token, "tools/call", "slow"), "," + meta26
		},
	} {
		t.Run(era, func(t *testing.T) {
			s := newSlow()
			w := newWorld(t, func(o *mcp.Options) { o.Tools = []mcp.Tool{s.tool()} })
			token, grant := w.login("alice", "c1", "mcp", 1)
			header, extra := pairs(w, token)
			answered := make(chan answer)
			go func() { answered <- w.send("POST", callBody("1", "slow", extra), header...) }()
			<-s.began
			w.end(grant, oauth.AdminRevoked)
			a := <-answered
			if a.status != 401 || !strings.Contains(a.header.Get("WWW-Authenticate"), "grant_ended admin_revoked: ") {
				t.Errorf("%d %v", a.status, a.header)
			}
			close(s.release)
		})
	}
}

// TestLateAnswers: what the SDK says after a stream was committed is framed as an event, whatever its status and type.
func TestLateAnswers(t *testing.T) {
	tests := map[string]struct {
		answer func() (*mcp.Result, error)
		want   string
	}{
		"result": {func() (*mcp.Result, error) { return mcp.Text("a\nb"), nil }, `"text":"a\nb"`},
		"error that would be 400": {func() (*mcp.Result, error) {
			return nil, &jsonrpc.Error{Code: -32602, Message: "late"}
		}, `"error":{"code":-32602,"message":"late"}`},
		"our own fault": {func() (*mcp.Result, error) { return nil, io.ErrShortWrite }, `"code":-32603,"message":"internal: `},
		"panic":         {func() (*mcp.Result, error) { panic("late") }, `"code":-32603`},
	}
	for name, tt := range tests {
		for _, kind := range []string{"call", "modern call"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				s := newSlow()
				s.answer = tt.answer
				w := newWorld(t, quick(s))
				token, _ := w.login("alice", "c1", "mcp", 1)
				_, stream := streamKinds[kind](w, token)
				readUntil(t, stream, keepAlive)
				close(s.release)
				readUntil(t, stream, "event: message")
				if line := readUntil(t, stream, "data: "); !strings.Contains(line, tt.want) || strings.Contains(line, "short write") {
					t.Errorf("%s", line)
				}
				rest, err := io.ReadAll(stream)
				if err != nil || strings.Trim(strings.ReplaceAll(string(rest), keepAlive, ""), "\n") != "" {
					t.Errorf("then %q, %v", rest, err)
				}
			})
		}
	}
}

// TestStreamsPerUser: GET and subscriptions are limited for a user; other users are not concerned.
func TestStreamsPerUser(t *testing.T) {
	s := newSlow()
	w := newWorld(t, quick(s, func(o *mcp.Options) { o.Config.StreamsPerUser = 2 }))
	alice, _ := w.login("alice", "c1", "mcp", 1)
	elsewhere, _ := w.login("alice", "c2", "mcp", 1)
	bob, _ := w.login("bob", "c1", "mcp", 1)
	ctx, hangUp := context.WithCancel(t.Context())
	_, first := w.open(ctx, w.request("GET", "", legacy(alice, w.openSession(alice))...))
	readUntil(t, first, keepAlive)
	streamKinds["subscription"](w, elsewhere)
	for _, r := range []*http.Request{
		w.request("GET", "", legacy(alice, w.openSession(alice))...),
		w.request("POST", listenBody("1"), modern(alice, "subscriptions/listen", "")...),
	} {
		if a := w.do(r); a.status != 429 || a.header.Get("Retry-After") == "" {
			t.Errorf("%s beyond the limit: %d", r.Method, a.status)
		}
	}
	if a := w.modernCall(alice, "whoami"); a.status != 200 {
		t.Errorf("a call: %d", a.status)
	}
	if resp, _ := streamKinds["GET"](w, bob); resp.StatusCode != 200 {
		t.Errorf("bob: %d", resp.StatusCode)
	}
	hangUp()
	w.await("room again", func() bool { return w.gauge("hostedmcp_mcp_streams") == 2 })
	if resp, _ := streamKinds["GET"](w, alice); resp.StatusCode != 200 {
		t.Errorf("alice again: %d", resp.StatusCode)
	}
}

// TestHangUp: closing a modern call cancels it; a call of the older era runs on, and ends into nothing.
func TestHangUp(t *testing.T) {
	s := newSlow()
	w := newWorld(t, quick(s))
	token, _ := w.login("alice", "c1", "mcp", 1)
	ctx, hangUp := context.WithCancel(t.Context())
	session := w.openSession(token)
	for _, r := range []*http.Request{
		w.request("POST", callBody("1", "slow", ","+meta26), modern(token, "tools/call", "slow")...),
		w.request("POST", callBody("1", "slow", ""), legacy(token, session)...),
	} {
		_, stream := w.open(ctx, r)
		readUntil(t, stream, keepAlive)
		<-s.began
	}
	hangUp()
	<-s.cancelled
	close(s.release)
	if !w.alive(token, session) || len(s.cancelled) != 0 {
		t.Error("the session is gone, or the older call was cancelled")
	}
}

// TestListChanged: both eras hear of a changed list.
func TestListChanged(t *testing.T) {
	for _, kind := range []string{"GET", "subscription"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, nil)
			token, _ := w.login("alice", "c1", "mcp", 1)
			_, stream := streamKinds[kind](w, token)
			if kind == "subscription" {
				readUntil(t, stream, `data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged"`)
			} else {
				readUntil(t, stream, ": ok")
			}
			if err := w.server.SetTools([]mcp.Tool{tool("new", nothing)}); err != nil {
				t.Fatal(err)
			}
			readUntil(t, stream, `data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"`)
			if a := w.modernCall(token, "new"); a.status != 200 {
				t.Errorf("the new tool: %d %s", a.status, a.body)
			}
		})
	}
}

// TestUnreadStream: a client that reads nothing is let go when its stream is to end.
func TestUnreadStream(t *testing.T) {
	flood := newSource("up", nil, "flood")
	flood.do = func(ctx context.Context, c connector.Call) (json.RawMessage, error) {
		var params struct {
			Meta struct{ ProgressToken json.RawMessage } `json:"_meta"`
		}
		if err := json.Unmarshal(c.Params, &params); err != nil {
			return nil, err
		}
		progress := fmt.Appendf(nil, `{"progressToken":%s,"progress":1,"message":"%01048576d"}`, params.Meta.ProgressToken, 1)
		for n := 0; n < 64 && ctx.Err() == nil; n++ {
			c.Peer.Notify(ctx, "notifications/progress", progress)
		}
		return json.RawMessage(echoed), ctx.Err()
	}
	w := mounting(t, flood)
	token, grant := w.login("alice", "c1", "mcp", 1)
	conn, err := net.Dial("tcp", w.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := w.request("POST", callBody("1", "up__flood", `,"_meta":{"progressToken":"p",`+strings.TrimPrefix(meta26, `"_meta":{`)), modern(token, "tools/call", "up__flood")...).Write(conn); err != nil {
		t.Fatal(err)
	}
	w.await("the stream is looked after", func() bool { return w.gauge("hostedmcp_mcp_streams") == 1 })
	w.end(grant, oauth.UserRevoked)
	w.await("the stream is closed", func() bool { return w.gauge("hostedmcp_mcp_streams") == 0 })
	w.await("its request is over", func() bool { return w.lastReason() != "" })
}
