package mount_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/mount"
)

func seconds(n int) oauth.Duration { return oauth.Duration(time.Duration(n) * time.Second) }

// long is a timeout that only broken things reach.
const long = oauth.Duration(patience / 2)

func hostileHTTP(t *testing.T, url string, timeout oauth.Duration) *mounted {
	return newMounted(t, connector.Config{Kind: connector.MCPHTTP, URL: url, MaxBytes: maxBytes, Timeout: timeout}, nil)
}

// Issue 6 "Bad input": what cannot be handed on fails its own call, with a message that names the connector.
func TestHostileAnswers(t *testing.T) {
	rawWays(t, long, func(t *testing.T, m *mounted, stdio bool) {
		ctx, call := bounded(t), by("alice", "", nil)
		for name := range hostile {
			for _, as := range []string{"plain", "stream"} {
				e := m.fails(ctx, tool(call, name, fmt.Sprintf(`{"as":%q}`, as), ""))
				if e.Reason != oauth.ConnectorBadAnswer || !strings.Contains(e.Message, "connector crm") {
					t.Errorf("%s: %v", name, e)
				}
				if e := m.fails(ctx, tool(call, "error", `{}`, "")); e.Code != -32050 {
					t.Errorf("after %s: %v", name, e)
				}
			}
		}
		if !m.State().Up {
			t.Errorf("%+v", m.State())
		}
	})
}

// "timeout": a call that is never answered ends, and nothing else with it.
func TestTimeout(t *testing.T) {
	rawWays(t, seconds(6), func(t *testing.T, m *mounted, _ bool) {
		ctx, call := bounded(t), by("alice", "", nil)
		hung := make(chan error, 1)
		go func() {
			_, err := m.Do(ctx, tool(call, "hang", `{}`, ""))
			hung <- err
		}()
		if e := m.fails(ctx, tool(call, "error", `{}`, "")); e.Code != -32050 {
			t.Error(e)
		}
		if err := <-hung; err == nil || !strings.Contains(err.Error(), "no answer in time") || !strings.Contains(err.Error(), string(oauth.ConnectorUnreachable)) {
			t.Error(err)
		}
		if e := m.fails(ctx, tool(call, "error", `{}`, "")); e.Code != -32050 {
			t.Error(e)
		}
	})
}

// A server that ignores what it does not know, or ends over it, is one of the older era (MCP 2026-07-28 "stdio",
// "Backward Compatibility").
func TestEraProbe(t *testing.T) {
	for _, manner := range []string{"silent", "ends"} {
		t.Run(manner, func(t *testing.T) {
			t.Parallel()
			m := newMounted(t, connector.Config{Kind: connector.MCPStdio, Command: command(t, "raw", "legacy", manner), Timeout: seconds(12)}, nil)
			if e := m.fails(bounded(t), tool(by("alice", "", nil), "error", `{}`, "")); e.Code != -32050 {
				t.Error(e)
			}
		})
	}
}

// What HTTP servers do wrong.
func TestHostileHTTP(t *testing.T) {
	other := newSite(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { t.Error("the redirect was followed"); w.WriteHeader(500) }))
	json := func(w http.ResponseWriter, body string) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, body)
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		reason oauth.Reason
		word   string
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, oauth.ConnectorBadAnswer, "307"},
		"page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<p>")
		}, oauth.ConnectorBadAnswer, "media type"},
		"500":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, oauth.ConnectorBadAnswer, "500"},
		"503":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, oauth.ConnectorUnreachable, "503"},
		"429":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, oauth.ConnectorUnreachable, "429"},
		"403":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, oauth.ConnectorBadAnswer, "credential"},
		"empty": {func(w http.ResponseWriter, _ *http.Request) { json(w, "") }, oauth.ConnectorBadAnswer, "malformed"},
		"notice only": {func(w http.ResponseWriter, _ *http.Request) {
			json(w, `{"jsonrpc":"2.0","method":"notifications/message"}`)
		}, oauth.ConnectorBadAnswer, "broke off"},
		"endless body": {func(w http.ResponseWriter, _ *http.Request) {
			json(w, `{"jsonrpc":"2.0","id":1,"result":{"a":"`)
			for {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, oauth.ConnectorBadAnswer, "max_bytes"},
		"endless stream": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for {
				if _, err := fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"data\":%q}}\n\n", strings.Repeat("x", 8<<10)); err != nil {
					return
				}
			}
		}, oauth.ConnectorBadAnswer, "max_bytes"},
		"endless event": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for {
				if _, err := fmt.Fprint(w, "data: x\n"); err != nil {
					return
				}
			}
		}, oauth.ConnectorBadAnswer, "max_bytes"},
		"cut stream": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n")
		}, oauth.ConnectorBadAnswer, "broke off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := rawHandler("modern")
			s := newSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Mcp-Name") == "bad" {
					c.answer(w, r)
					return
				}
				good.ServeHTTP(w, r)
			}))
			m := hostileHTTP(t, s.URL, long)
			ctx, call := bounded(t), by("alice", "", nil)
			if e := m.fails(ctx, tool(call, "error", `{}`, "")); e.Code != -32050 {
				t.Fatal(e)
			}
			if e := m.fails(ctx, tool(call, "bad", `{}`, "")); e.Reason != c.reason || !strings.Contains(e.Message, c.word) {
				t.Errorf("%v", e)
			}
		})
	}
}

// Issue 6 item 1: a connector that is down fails at once, says so, and comes back by itself.
func TestDownAndUp(t *testing.T) {
	var now atomic.Int64
	s := newSite(t, rawHandler("legacy"))
	addr := s.Listener.Addr().String()
	m := newMounted(t, connector.Config{Kind: connector.MCPHTTP, URL: s.URL}, func(o *mount.Options) {
		o.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	})
	changes := make(chan struct{}, 100)
	m.OnChange(func() { changes <- struct{}{} })
	ctx, call := bounded(t), by("alice", "", nil)
	s.replace(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	if e := m.fails(ctx, tool(call, "error", `{}`, "")); e.Reason != oauth.ConnectorUnreachable {
		t.Fatal(e)
	}
	<-changes
	if st := m.State(); st.Up || st.Reason != oauth.ConnectorUnreachable || strings.Contains(st.Text, addr) {
		t.Errorf("%+v", st)
	}
	s.replace(rawHandler("legacy"))
	before := len(s.requests(http.MethodPost))
	if e := m.fails(ctx, tool(call, "error", `{}`, "")); !strings.Contains(e.Message, "the server is down") {
		t.Error(e)
	}
	if n := len(s.requests(http.MethodPost)); n != before {
		t.Error("asked during the pause")
	}
	now.Add(5)
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(run) }()
	<-changes
	if st := m.State(); !st.Up || st.Reason != "" {
		t.Errorf("%+v", st)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if e := m.fails(ctx, tool(call, "error", `{}`, "")); e.Code != -32050 {
		t.Error(e)
	}
}

// Nobody listens there at all.
func TestNobodyThere(t *testing.T) {
	s := newSite(t, rawHandler("legacy"))
	s.Close()
	m := overHTTP(t, s.URL)
	if e := m.fails(bounded(t), tool(by("alice", "", nil), "error", `{}`, "")); e.Reason != oauth.ConnectorUnreachable || strings.Contains(e.Message, s.URL) {
		t.Error(e)
	}
}
