package mount_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/mount"
)

// patience bounds what a test waits for; nothing takes so long unless it is broken.
const patience = 2 * time.Minute

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// journal keeps the log of one source.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// mounted is a source under test.
type mounted struct {
	connector.Source
	t   *testing.T
	log *journal
}

func newMounted(t *testing.T, cfg connector.Config, change func(*mount.Options)) *mounted {
	t.Helper()
	cfg.Name = "crm"
	if cfg.Timeout == 0 {
		cfg.Timeout = long
	}
	m := &mounted{t: t, log: &journal{}}
	o := mount.Options{Config: cfg.Complete(), Version: "1.2.3", Log: slog.New(slog.NewJSONHandler(m.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if change != nil {
		change(&o)
	}
	if err := o.Config.Validate(); err != nil {
		t.Fatal(err)
	}
	src, err := mount.New(o)
	if err != nil {
		t.Fatal(err)
	}
	m.Source = src
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := src.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return m
}

// overHTTP mounts a URL.
func overHTTP(t *testing.T, url string) *mounted {
	return newMounted(t, connector.Config{Kind: connector.MCPHTTP, URL: url}, nil)
}

// overStdio mounts the test binary as one of its children.
func overStdio(t *testing.T, args ...string) *mounted {
	return newMounted(t, connector.Config{Kind: connector.MCPStdio, Command: command(t, args...)}, nil)
}

func command(t *testing.T, args ...string) []string {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{self}, args...)
}

// note is one notification that reached a client.
type note struct{ Method, Params string }

// client is the peer behind calls: it notes what it hears, and answers what it is asked.
type client struct {
	mu    sync.Mutex
	notes []note
	heard chan note
	reply func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error)
	caps  string
}

func newClient() *client {
	return &client{heard: make(chan note, 1000), caps: `{"elicitation":{"form":{}},"sampling":{},"roots":{"listChanged":true}}`}
}

func (c *client) peer() connector.Peer {
	return connector.Peer{
		Capabilities: json.RawMessage(c.caps),
		Notify: func(_ context.Context, method string, params json.RawMessage) {
			n := note{method, string(params)}
			c.mu.Lock()
			c.notes = append(c.notes, n)
			c.mu.Unlock()
			c.heard <- n
		},
		Ask: func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
			if c.reply == nil {
				return nil, &connector.Error{Code: connector.CodeMethodNotFound, Message: "cannot be asked"}
			}
			return c.reply(ctx, method, params)
		},
	}
}

// of returns what was heard by method.
func (c *client) of(method string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, n := range c.notes {
		if n.Method == method {
			out = append(out, n.Params)
		}
	}
	return out
}

// await waits for a notification of a method.
func (c *client) await(t *testing.T, method string) string {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case n := <-c.heard:
			if n.Method == method {
				return n.Params
			}
		case <-deadline.C:
			t.Fatalf("%s did not come", method)
		}
	}
}

// by makes a call of one user: a session is one of the older era, "" a modern request.
func by(user, session string, c *client) connector.Call {
	call := connector.Call{
		User: connector.User{
			Subject: user, ClientID: "client-of-" + user, GrantID: "grant-of-" + user, Name: user, Request: "req-" + user,
			Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		},
		Session: session, Modern: session == "",
	}
	if c != nil {
		call.Peer = c.peer()
	}
	return call
}

func tool(call connector.Call, name, arguments, meta string) connector.Call {
	call.Method = "tools/call"
	if meta == "" {
		meta = "{}"
	}
	call.Params = fmt.Appendf(nil, `{"name":%q,"arguments":%s,"_meta":%s}`, name, arguments, meta)
	return call
}

func method(call connector.Call, name, params string) connector.Call {
	call.Method, call.Params = name, json.RawMessage(params)
	return call
}

// do carries a call out and fails the test if it fails.
func (m *mounted) do(ctx context.Context, c connector.Call) string {
	m.t.Helper()
	result, err := m.Do(ctx, c)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", c.Method, err, m.log)
	}
	return string(result)
}

// says carries a tool call out and returns the text of its result.
func (m *mounted) says(ctx context.Context, c connector.Call) string {
	m.t.Helper()
	var result struct {
		Content []struct{ Text string }
		IsError bool
	}
	if err := json.Unmarshal([]byte(m.do(ctx, c)), &result); err != nil || len(result.Content) != 1 || result.IsError {
		m.t.Fatalf("%v %+v", err, result)
	}
	return result.Content[0].Text
}

// fails carries a call out that must fail, and returns the error.
func (m *mounted) fails(ctx context.Context, c connector.Call) *connector.Error {
	m.t.Helper()
	result, err := m.Do(ctx, c)
	var e *connector.Error
	if !errors.As(err, &e) {
		m.t.Fatalf("%s: result %s, error %v", c.Method, result, err)
	}
	return e
}

// bearer is a credential that changes with each question.
func bearer(token func() string) func(context.Context) (connector.Credential, error) {
	return func(context.Context) (connector.Credential, error) {
		return connector.Credential{Header: "Authorization", Value: oauth.Secret("Bearer " + token())}, nil
	}
}
