package mcp_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"hostedmcp/mcp/connector"
)

// TestLastNumber: an event id is a client's word; the largest number in it is answered like any other that was not given yet.
func TestLastNumber(t *testing.T) {
	b := breakOff(t)
	close(b.slow.release)
	_, answered := b.comeBack(b.token, b.session, b.event)
	readUntil(t, answered, `data: {"jsonrpc":"2.0","id":"7"`)
	id, _, _ := strings.Cut(b.event, "-")
	for _, number := range []string{"0", "1", "2", "9223372036854775806", "9223372036854775807", "9223372036854775808", "-1", "+0", ""} {
		before := b.w.answers()
		a := b.w.send("GET", "", append(legacy(b.token, b.session), "Last-Event-Id", id+"-"+number, "Accept", "application/json")...)
		if b.w.answers() == before {
			t.Errorf("%q: panicked", number)
		}
		if number != "0" && number != "1" && number != "+0" && a.status != 400 {
			t.Errorf("%q: %d %s", number, a.status, a.body)
		}
	}
}

// TestCarriageReturn: JSON may hold carriage returns between its tokens, and each ends a line of an event.
func TestCarriageReturn(t *testing.T) {
	up := newSource("up", nil, "t")
	for name, out := range map[string]string{"result": "{\r\"content\":[],\r\r\"x\":\r\n1}", "error": ""} {
		up.do = func(ctx context.Context, c connector.Call) (json.RawMessage, error) {
			c.Peer.Notify(ctx, "notifications/message", json.RawMessage(`{"level":"error","data":"said"}`))
			if out == "" {
				return nil, &connector.Error{Code: 7, Message: "m", Data: json.RawMessage("[1,\r\r2]")}
			}
			return json.RawMessage(out), nil
		}
		w := mounting(t, up)
		token, _ := w.login("alice", "c1", "mcp", 1)
		session := w.openSession(token)
		a := w.send("POST", callBody("1", "up__t", ""), legacy(token, session)...)
		if strings.Contains(a.body, "\r") {
			t.Errorf("%s: %q", name, a.body)
		}
	}
}
