package mount_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// demanding is a server of both eras with one more tool than everything: it asks in mid-call by a request, which only
// the older era has.
func demanding() *sdk.Server {
	s := everything("both")
	s.AddTool(&sdk.Tool{Name: "elicit", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		r, err := req.Session.Elicit(ctx, &sdk.ElicitParams{Message: "your name?", RequestedSchema: json.RawMessage(`{"type":"object"}`)})
		if err != nil {
			return nil, err
		}
		return text(fmt.Sprint(r.Action, " ", r.Content["name"])), nil
	})
	return s
}

// bothOverHTTP serves each era by its own handler, as the SDK wants it.
func bothOverHTTP(s *sdk.Server) http.Handler {
	legacy, modern := handlerOf(s, "legacy"), handlerOf(s, "modern")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") == "2026-07-28" {
			modern.ServeHTTP(w, r)
			return
		}
		legacy.ServeHTTP(w, r)
	})
}

// Issue 6 item 1: a legacy session keeps its own session upstream, also where the server speaks the newer era too, so
// that it can be asked in mid-call; and what is defined does not depend on who asks.
func TestBothEras(t *testing.T) {
	for name, mount := range map[string]func(t *testing.T) *mounted{
		"http":  func(t *testing.T) *mounted { return overHTTP(t, newSite(t, bothOverHTTP(demanding())).URL) },
		"stdio": func(t *testing.T) *mounted { return overStdio(t, "serve-both") },
	} {
		for _, first := range []string{"modern first", "session first"} {
			t.Run(name+"/"+first, func(t *testing.T) {
				t.Parallel()
				m, ctx, c := mount(t), bounded(t), newClient()
				c.reply = func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
					return json.RawMessage(`{"action":"accept","content":{"name":"Zoë"}}`), nil
				}
				if first == "modern first" {
					m.says(ctx, tool(by("alice", "", c), "echo", `{}`, ""))
				}
				session := by("alice", "one", c)
				for _, name := range []string{"elicit", "ask"} {
					if got := m.says(ctx, tool(session, name, `{}`, "")); got[:len("accept Zoë")] != "accept Zoë" {
						t.Errorf("%s: %s", name, got)
					}
				}
				service, err := m.Catalog(ctx, nil)
				mine, err2 := m.Catalog(ctx, &session)
				if err != nil || err2 != nil || fmt.Sprintf("%s", service.Tools) != fmt.Sprintf("%s", mine.Tools) || string(service.Capabilities) != string(mine.Capabilities) {
					t.Errorf("the catalog of a session is another: %v %v", err, err2)
				}
			})
		}
	}
}

// A modern server without sessions is used in its own era for sessions too: there it can still ask, by its results.
// That it keeps none is found out once.
func TestNoSessions(t *testing.T) {
	for name, both := range map[string]bool{"refuses the handshake": false, "names no session": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			modern := handlerOf(everything("both"), "modern")
			handshakes := make(chan struct{}, 10)
			s := newSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Header.Get("Mcp-Protocol-Version") == "2026-07-28":
					modern.ServeHTTP(w, r)
				case r.Method == http.MethodPost && !both:
					handshakes <- struct{}{}
					http.Error(w, "no such version", http.StatusBadRequest)
				default:
					modern.ServeHTTP(w, r)
				}
			}))
			m, ctx, c := overHTTP(t, s.URL), bounded(t), newClient()
			c.reply = func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
				return json.RawMessage(`{"action":"accept","content":{"name":"Zoë"}}`), nil
			}
			for _, session := range []string{"one", "two"} {
				if got := m.says(ctx, tool(by("alice", session, c), "ask", `{}`, "")); got != "accept Zoë s<1>" {
					t.Errorf("%q", got)
				}
			}
			if n := len(handshakes); !both && n != 1 {
				t.Errorf("%d handshakes were tried", n)
			}
		})
	}
}

// A server that is out of reach for a moment is not one without sessions.
func TestSessionsAfterTrouble(t *testing.T) {
	s := newSite(t, bothOverHTTP(demanding()))
	m, ctx, c := overHTTP(t, s.URL), bounded(t), newClient()
	c.reply = func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
		return json.RawMessage(`{"action":"decline"}`), nil
	}
	m.says(ctx, tool(by("alice", "", c), "echo", `{}`, "")) // the era is known
	good := bothOverHTTP(demanding())
	s.replace(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") == "2026-07-28" {
			good.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	m.says(ctx, tool(by("alice", "one", c), "echo", `{}`, ""))
	s.replace(good)
	if got := m.says(ctx, tool(by("alice", "two", c), "elicit", `{}`, "")); got != "decline <nil>" {
		t.Errorf("%q", got)
	}
}
