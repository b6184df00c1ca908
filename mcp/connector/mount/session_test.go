package mount_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/mount"
)

// who is what the whoami tool of a real server says of one call.
type who struct {
	Header  http.Header
	Meta    map[string]any
	Session string
	PID     int
}

func (m *mounted) who(ctx context.Context, call connector.Call) (w who) {
	m.t.Helper()
	if err := json.Unmarshal([]byte(m.says(ctx, tool(call, "whoami", `{}`, ""))), &w); err != nil {
		m.t.Fatal(err)
	}
	return w
}

// Issue 6 item 1: a legacy session keeps its own session upstream, modern calls share one per user; ends are told to
// the server (MCP 2025-11-25 "Session management").
func TestOwnSessions(t *testing.T) {
	s := newSite(t, handlerOf(everything("legacy"), "legacy"))
	m, ctx := overHTTP(t, s.URL), bounded(t)
	one, again := m.who(ctx, by("alice", "one", nil)).Session, m.who(ctx, by("alice", "one", nil)).Session
	two := m.who(ctx, by("alice", "two", nil)).Session
	shared, sharedAgain := m.who(ctx, by("alice", "", nil)).Session, m.who(ctx, by("alice", "", nil)).Session
	bobs := m.who(ctx, by("bob", "", nil)).Session
	if one != again || shared != sharedAgain {
		t.Error("a session was not kept")
	}
	if all := map[string]bool{one: true, two: true, shared: true, bobs: true}; len(all) != 4 || all[""] {
		t.Errorf("sessions are mixed up: %v", all)
	}
	m.EndSession("one")
	m.EndGrant("grant-of-bob")
	if got := m.who(ctx, by("alice", "two", nil)).Session; got != two {
		t.Error("another session ended too")
	}
	if err := m.Close(ctx); err != nil {
		t.Fatal(err)
	}
	ended := map[string]int{}
	for _, r := range s.requests(http.MethodDelete) {
		ended[r.Header.Get("Mcp-Session-Id")]++
	}
	for _, id := range []string{one, two, shared, bobs} {
		if ended[id] != 1 {
			t.Errorf("session %s was ended %d times", id, ended[id])
		}
	}
}

// EndGrant cuts calls off that are under way.
func TestEndGrantCutsOff(t *testing.T) {
	each(t, func(t *testing.T, m *mounted, session string, _, _ bool) {
		ctx, call := bounded(t), by("alice", session, nil)
		done := make(chan error, 1)
		go func() {
			_, err := m.Do(ctx, tool(call, "slow", `{}`, ""))
			done <- err
		}()
		m.says(ctx, tool(call, "await", `{}`, ""))
		m.EndGrant("grant-of-alice")
		var e *connector.Error
		if err := <-done; !errors.As(err, &e) || e.Reason != oauth.ConnectorUnreachable {
			t.Error(err)
		}
	})
}

// Contract "Headers to connectors are built anew": identity and credential exactly once, and the present ones.
func TestHeaders(t *testing.T) {
	for _, era := range []string{"legacy", "modern"} {
		for _, session := range []string{"", "one"} {
			t.Run(era+" "+session, func(t *testing.T) {
				s := newSite(t, handlerOf(everything(era), era))
				m := newMounted(t, connector.Config{Kind: connector.MCPHTTP, URL: s.URL, Credential: connector.CredentialUser}, nil)
				var n atomic.Int64
				call := by("alice", session, nil)
				call.User.Subject = "zoë\r\nEvil: 1"
				call.Credential = bearer(func() string { return fmt.Sprint("token-", n.Add(1)) })
				first, second := m.who(bounded(t), call).Header, m.who(bounded(t), call).Header
				for name, want := range map[string]string{
					"Hostedmcp-Subject": "=?base64?em/Dqw0KRXZpbDogMQ==?=", "Hostedmcp-Client": "client-of-alice",
					"X-Request-Id": "req-alice", "Traceparent": call.User.Traceparent,
				} {
					if got := second[name]; len(got) != 1 || got[0] != want {
						t.Errorf("%s: %q", name, got)
					}
				}
				a, b := first["Authorization"], second["Authorization"]
				if len(a) != 1 || len(b) != 1 || a[0] == b[0] || second.Get("Evil") != "" {
					t.Errorf("credential %q, then %q", a, b)
				}
				for _, r := range s.requests(http.MethodPost) {
					if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer token-") {
						t.Errorf("a request without its credential: %v", r.Header)
					}
				}
				if strings.Contains(m.log.String(), "token-") {
					t.Error("the credential is in the log")
				}
			})
		}
	}
}

// A session that the server has forgotten, or a credential that it refuses: nothing was carried out, so the call is
// made once more, with a new session and a fresh credential. A second refusal stands.
func TestRefusedOnce(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusUnauthorized} {
		for _, refusals := range []int64{1, 2} {
			t.Run(fmt.Sprint(status, " ", refusals, " times"), func(t *testing.T) {
				server := everything("legacy")
				real := handlerOf(server, "legacy")
				t.Cleanup(func() {
					for session := range server.Sessions() { // it was never told that it does not know them
						_ = session.Close()
					}
				})
				var left, carried, fresh atomic.Int64
				s := newSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodPost && r.Header.Get("Mcp-Session-Id") != "" && left.Load() > 0 && r.Header.Get("X-Request-Id") == "req-alice" {
						left.Add(-1)
						w.WriteHeader(status)
						return
					}
					carried.Add(1)
					real.ServeHTTP(w, r)
				}))
				m := newMounted(t, connector.Config{Kind: connector.MCPHTTP, URL: s.URL, Credential: connector.CredentialUser}, nil)
				call, ctx := by("alice", "one", nil), bounded(t)
				var told atomic.Int64
				call.Credential = func(ctx context.Context) (connector.Credential, error) {
					c, err := bearer(func() string { return fmt.Sprint(fresh.Add(1)) })(ctx)
					c.Refused = func(context.Context) { told.Add(1) }
					return c, err
				}
				before := m.who(ctx, call).Session
				left.Store(refusals)
				if refusals == 1 {
					if after := m.who(ctx, call).Session; after == before {
						t.Error("the session was not made anew")
					}
					if n := told.Load(); (status == http.StatusUnauthorized) != (n == 1) {
						t.Errorf("it was told %d times that the credential was refused", n)
					}
					return
				}
				// the second refusal falls on what follows the new handshake
				if e := m.fails(ctx, tool(call, "whoami", `{}`, "")); e.Reason == "" {
					t.Error(e)
				}
			})
		}
	}
}

// A user's token that is dead from the start is told, and the first call carries the one that follows it.
func TestRefusedAtOnce(t *testing.T) {
	for _, era := range []string{"legacy", "modern"} {
		real := rawHandler(era)
		s := newSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer token-1" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			real.ServeHTTP(w, r)
		}))
		for name, first := range map[string]func(m *mounted, c connector.Call) error{
			"a list": func(m *mounted, c connector.Call) error { _, err := m.Catalog(bounded(t), &c); return err },
			"a call": func(m *mounted, c connector.Call) error { _, err := m.Do(bounded(t), c); return err },
		} {
			m := newMounted(t, connector.Config{Kind: connector.MCPHTTP, URL: s.URL, Credential: connector.CredentialUser}, nil)
			var refused atomic.Int64
			call := tool(by("alice", "one", nil), "whoami", `{}`, "")
			call.Credential = func(ctx context.Context) (connector.Credential, error) {
				c, err := bearer(func() string { return fmt.Sprint("token-", refused.Load()) })(ctx)
				c.Refused = func(context.Context) { refused.Add(1) }
				return c, err
			}
			if err := first(m, call); err != nil || refused.Load() != 1 {
				t.Errorf("%s, %s: %v, refused %d times", era, name, err, refused.Load())
			}
		}
	}
}

// A connection that breaks after the request left is no reason to send it again: it may have been carried out.
func TestNotTwice(t *testing.T) {
	for _, era := range []string{"legacy", "modern"} {
		t.Run(era, func(t *testing.T) {
			real := rawHandler(era)
			var calls atomic.Int64
			s := newSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Request-Id") == "req-bob" {
					calls.Add(1)
					panic(http.ErrAbortHandler)
				}
				real.ServeHTTP(w, r)
			}))
			m := overHTTP(t, s.URL)
			call := by("alice", "one", nil)
			m.do(bounded(t), tool(call, "whoami", `{}`, ""))
			call.User.Request = "req-bob"
			if e := m.fails(bounded(t), tool(call, "whoami", `{}`, "")); e.Reason != oauth.ConnectorUnreachable {
				t.Error(e)
			}
			if n := calls.Load(); n != 1 {
				t.Errorf("sent %d times", n)
			}
		})
	}
}

// Issue 6 "Isolation": equal progress tokens and questions of many users at once; nobody hears what is another's, and
// each call carries its own credential.
func TestIsolation(t *testing.T) {
	users, calls := 12, 8
	for _, w := range ways {
		for _, session := range []string{"", "session"} {
			t.Run(w.name+"/"+session, func(t *testing.T) {
				t.Parallel()
				n := users
				if w.stdio {
					n = 4
				}
				m := w.mount(t)
				ctx := bounded(t)
				var wg sync.WaitGroup
				for u := range n {
					name := fmt.Sprint("user", u)
					own := session
					if own != "" {
						own += name
					}
					c := newClient()
					c.reply = func(_ context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
						return json.RawMessage(`{"action":"accept","content":{"name":"` + name + `"}}`), nil
					}
					for k := range calls {
						wg.Go(func() {
							call := by(name, own, c)
							mark := fmt.Sprintf(`{"mark":"%s-%d"}`, name, k)
							result, err := m.Do(ctx, tool(call, "echo", mark, `{"progressToken":1}`))
							if err != nil || !strings.Contains(string(result), fmt.Sprintf(`%s-%d`, name, k)) {
								t.Errorf("%s: %s %v", mark, result, err)
							}
							if _, err := m.Do(ctx, tool(call, "progress", mark, `{"progressToken":1}`)); err != nil {
								t.Error(err)
							}
							if w.modern && own == "" {
								return
							}
							if result, err := m.Do(ctx, tool(call, "ask", `{}`, "")); err != nil || !strings.Contains(string(result), "accept "+name+" s") {
								t.Errorf("%s %v\n%s", result, err, m.log)
							}
						})
					}
					t.Cleanup(func() {
						got := c.of("notifications/progress")
						if len(got) != 3*calls {
							t.Errorf("%s heard %d times of progress", name, len(got))
						}
						for _, p := range got {
							if !strings.Contains(p, name+"-") || !strings.Contains(p, `"progressToken":1`) {
								t.Errorf("%s heard %s", name, p)
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

// MCP "Tools" (list_changed): the catalog is said to have changed, whoever's link heard it.
func TestCatalogChanges(t *testing.T) {
	each(t, func(t *testing.T, m *mounted, session string, _, stdio bool) {
		changes := make(chan struct{}, 100)
		m.OnChange(func() { changes <- struct{}{} })
		ctx, stop := context.WithCancel(bounded(t))
		done := make(chan struct{})
		go func() { defer close(done); _ = m.Run(ctx) }()
		defer func() { stop(); <-done }()
		call := by("alice", session, newClient())
		if stdio && session == "" { // a modern client hears of it by listening
			listened := make(chan struct{})
			go func() {
				defer close(listened)
				_, _ = m.Do(ctx, method(call, "subscriptions/listen", `{"notifications":{"toolsListChanged":true}}`))
			}()
			defer func() { stop(); <-listened }()
		}
		// The SDK waits until a server has been quiet for 10 ms before it says that its lists changed, and says nothing to
		// those who do not listen yet; and while a child is busy its user's call goes to another. So it grows again when no
		// word has come for a while, or from another child.
		for grown := false; !grown; {
			m.says(ctx, tool(call, "grow", `{}`, ""))
			select {
			case <-changes:
				c, err := m.Catalog(ctx, &call)
				if err != nil {
					t.Fatal(err)
				}
				grown = strings.Contains(fmt.Sprintf("%s", c.Tools), `"grown"`)
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
}

// `hostedmcp check` says what there is, and what to do.
func TestCheck(t *testing.T) {
	refuses := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	good := handlerOf(everything("modern"), "modern")
	for _, c := range []struct {
		name    string
		handler http.Handler
		kind    connector.CredentialKind
		level   oauth.Level
		text    string
	}{
		{"reachable", good, connector.CredentialNone, oauth.FindingOK, "10 tools, 1 prompts, 2 resources"},
		{"credential accepted", good, connector.CredentialStatic, oauth.FindingOK, "accepts the credential"},
		{"credential refused", refuses, connector.CredentialStatic, oauth.FindingFail, "refuses the credential"},
		{"wants a credential", refuses, connector.CredentialNone, oauth.FindingFail, "wants a credential"},
		{"wants the user's", refuses, connector.CredentialUser, oauth.FindingOK, "user's own credential"},
		{"nothing there", http.NotFoundHandler(), connector.CredentialNone, oauth.FindingFail, "404"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := connector.Config{Kind: connector.MCPHTTP, URL: newSite(t, c.handler).URL, Credential: c.kind}
			if c.kind == connector.CredentialStatic {
				cfg.SecretFile = "crm.secret"
			}
			m := newMounted(t, cfg, func(o *mount.Options) { o.Secret = "Bearer s3cret" })
			all := m.Check(bounded(t))
			last := all[len(all)-1]
			if last.Level != c.level || !strings.Contains(last.Text, c.text) || (last.Fix == "") != (c.level == oauth.FindingOK) {
				t.Errorf("%+v", all)
			}
			if strings.Contains(fmt.Sprint(all)+m.log.String(), "s3cret") {
				t.Error("the secret is told")
			}
		})
	}
	clear := newMounted(t, connector.Config{Kind: connector.MCPHTTP, URL: "http://192.0.2.1:1/mcp"}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if f := clear.Check(ctx); f[0].Level != oauth.FindingWarn || !strings.Contains(f[0].Fix, "https") {
		t.Errorf("%+v", f)
	}
}
