package mcp_test

import (
	"bufio"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"hostedmcp/mcp"
)

// TestDeafReader: a client that reads nothing of an answer too large for the connection's buffers is let go, whether the
// answer is one piece or the last event of a stream.
func TestDeafReader(t *testing.T) {
	for name, streamed := range map[string]bool{"one piece": false, "event": true} {
		t.Run(name, func(t *testing.T) {
			s := newSlow()
			s.answer = func() (*mcp.Result, error) { return mcp.Text(strings.Repeat("x", 16<<20)), nil }
			w := newWorld(t, quick(s))
			token, _ := w.login("alice", "c1", "mcp", 1)
			session := w.openSession(token)
			version := version25
			conn, err := net.Dial("tcp", strings.TrimPrefix(w.issuer, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.(*net.TCPConn).SetReadBuffer(4 << 10)
			if !streamed {
				version = "2025-06-18"
				close(s.release)
			}
			before, body := w.answers(), callBody("1", "slow", "")
			if _, err := conn.Write([]byte("POST /mcp HTTP/1.1\r\nHost: " + conn.RemoteAddr().String() +
				"\r\nContent-Type: application/json\r\nAccept: */*\r\nAuthorization: Bearer " + token +
				"\r\nMcp-Session-Id: " + session + "\r\nMcp-Protocol-Version: " + version +
				"\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)); err != nil {
				t.Fatal(err)
			}
			if streamed {
				if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 200 {
					t.Fatal(resp, err)
				}
				close(s.release)
			}
			w.await("it is let go", func() bool { return w.answers() > before })
		})
	}
}

// TestDeleteUnderCall: a call whose session ends is answered nevertheless on the connection that it still has; nobody can
// take it up any more, and nothing of it is held.
func TestDeleteUnderCall(t *testing.T) {
	s := newSlow()
	w := newWorld(t, func(o *mcp.Options) { o.Tools = []mcp.Tool{s.tool()} })
	token, _ := w.login("alice", "c1", "mcp", 1)
	session := w.openSession(token)
	_, stream := w.open(t.Context(), w.request("POST", callBody("1", "slow", ""), legacy(token, session)...))
	event := primed(t, stream)
	if a := w.send("DELETE", "", legacy(token, session)...); a.status != 204 {
		t.Fatal(a.status)
	}
	if a := w.send("GET", "", append(legacy(token, session), "Last-Event-Id", event)...); a.status != 404 {
		t.Error(a.status, a.body)
	}
	close(s.release)
	readUntil(t, stream, `data: {"jsonrpc":"2.0","id":1,"result"`)
	w.await("the session is closed", func() bool { return w.server.LegacySessions() == 0 })
	if n := w.server.Kept(); n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
}
