package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/story"
	"hostedmcp/storage"
	"hostedmcp/web/admin"
)

// http returns a client of the socket.
func (r *rig) http() *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.socket)
	}}
	r.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// send asks the door itself, past the commands.
func (r *rig) send(h *http.Client, method, path, body string) (status int, answer string) {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), method, "http://x"+path, strings.NewReader(body))
	r.must(err)
	res, err := h.Do(req)
	r.must(err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	r.must(err)
	return res.StatusCode, string(text)
}

// Whoever speaks past the commands meets bounds, and each answer says what was wrong.
func TestHostileRequests(t *testing.T) {
	r := newRig(t)
	r.serve()
	h := r.http()
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/", "", 404, "does not know"},
		{"GET", "/v1/../v1/nothing", "", 404, "does not know"},
		{"PUT", "/v1/grants", "", 404, "does not know"},
		{"GET", "/v1/explain", "", 400, "name a connection"},
		{"GET", "/v1/explain?word=%ff%fe", "", 400, "name a connection"},
		{"GET", "/v1/explain?word=" + strings.Repeat("a", 4000), "", 400, "at most 512"},
		{"GET", "/v1/explain?word=alice&limit=1000000", "", 400, "from 1 to 200"},
		{"GET", "/v1/grants?limit=0", "", 400, "from 1 to 200"},
		{"GET", "/v1/grants?limit=99999999999999999999", "", 400, "from 1 to 200"},
		{"GET", "/v1/grants?state=dead", "", 400, "state must be"},
		{"GET", "/v1/grants?after=" + strings.Repeat("a", 4000), "", 400, "shorter"},
		{"GET", "/v1/grants/" + strings.Repeat("a", 4000), "", 404, "no connection has the id"},
		{"GET", "/v1/grants/%00", "", 404, "no connection has the id"},
		{"POST", "/v1/users/end", "", 400, "cannot be read"},
		{"POST", "/v1/users/end", "{}", 400, "name a connection, a user"},
		{"POST", "/v1/users/end", `{"subject":""}`, 400, "name a connection, a user"},
		{"POST", "/v1/users/end", `{"subject":["alice"]}`, 400, "cannot be read"},
		{"POST", "/v1/users/end", `{"subject":"alice","all":true}`, 400, "cannot be read"},
		{"POST", "/v1/users/end", `{"subject":"` + strings.Repeat("a", 100_000) + `"}`, 400, "too large"},
		{"POST", "/v1/keys/root", "{}", 404, "there is no root key"},
		{"POST", "/v1/keys/master", `{"new_key_file":"relative"}`, 400, "with its whole path"},
		{"POST", "/v1/keys/data", `{"new_key_file":"/x"}`, 400, "is for the master key"},
		{"POST", "/v1/tools", "{}", 400, "name the connector"},
		{"POST", "/v1/tools", `{"connector":"none"}`, 404, "no change waits there"},
	} {
		status, answer := r.send(h, tt.method, tt.path, tt.body)
		var f struct{ Error, Request string }
		if err := json.Unmarshal([]byte(answer), &f); err != nil || status != tt.status || !strings.Contains(f.Error, tt.want) || len(f.Request) != 26 {
			t.Errorf("%s %.60s %.60s: %d %.200s, want %d %q", tt.method, tt.path, tt.body, status, answer, tt.status, tt.want)
		}
	}
	if g := r.grantNow(idAlice); g.Ended != "" {
		t.Error("something ended")
	}
}

// Each operation is one line, with who asked for what and how it went; never the word that was typed.
func TestLogLine(t *testing.T) {
	r := newRig(t)
	var log buffer
	r.door.Log = slog.New(slog.NewJSONHandler(&log, nil))
	r.serve()
	r.run("grants", "end", "-subject", "alice@example.com")
	r.run("explain", "bob@example.com")
	r.run("grants", "end", idBob)
	r.run("explain", "unknown@example.com")
	type line struct {
		Msg, Level, Op, Request, Peer, Grant, Subject, Found string
		Ended                                                int
		Cause                                                string
		Status                                               int
	}
	var lines []line
	for text := range strings.Lines(log.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		if l.Msg != "operator" || len(l.Request) != 26 || !strings.HasPrefix(l.Peer, "uid=") {
			t.Errorf("line %s", text)
		}
		lines = append(lines, l)
	}
	if len(lines) != 5 {
		t.Fatalf("%d lines: %s", len(lines), log.String())
	}
	if l := lines[1]; l.Op != "grants end -subject" || len(l.Subject) != 16 || l.Ended != 2 || l.Level != "INFO" {
		t.Errorf("%+v", l)
	}
	if l := lines[2]; l.Op != "explain" || l.Found != "email" {
		t.Errorf("%+v", l)
	}
	if l := lines[3]; l.Op != "grants end" || l.Grant != idBob || l.Ended != 1 {
		t.Errorf("%+v", l)
	}
	if l := lines[4]; l.Op != "explain" || l.Status != 404 || l.Cause != "" {
		t.Errorf("%+v", l)
	}
	hasNot(t, log.String(), "alice", "bob@", "Alice", "unknown@")
}

// A server ends connections its own way, so that its streams close and its provider hears of it at once.
func TestServerEnds(t *testing.T) {
	r := newRig(t)
	var ended []string
	r.door.End = func(ctx context.Context, id string) error {
		ended = append(ended, id)
		if len(admin.RequestID(ctx)) != 26 {
			t.Errorf("request id %q", admin.RequestID(ctx))
		}
		_, err := r.store.EndGrant(ctx, id, oauth.AdminRevoked, storage.Event{Reason: oauth.AdminRevoked})
		return err
	}
	r.door.EndSubject = func(ctx context.Context, subject string) (int, error) {
		ended = append(ended, subject)
		if len(admin.RequestID(ctx)) != 26 || admin.RequestID(context.Background()) != "" {
			t.Errorf("request id %q", admin.RequestID(ctx))
		}
		return 2, nil
	}
	r.serve()
	r.run("grants", "end", idBob)
	r.run("grants", "end", "-subject", "alice@example.com")
	if strings.Join(ended, " ") != idBob+" alice" {
		t.Errorf("asked to end %v", ended)
	}
}

// At most so many operations run at once; the next is told, and then it goes on.
func TestParallelBound(t *testing.T) {
	r := newRig(t)
	begun, release := make(chan struct{}, 64), make(chan struct{})
	r.door.Refusals = func(string) []story.Refusal { begun <- struct{}{}; <-release; return nil }
	r.serve()
	h := r.http()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() { r.send(h, "GET", "/v1/explain?word=WAITWAITWAITWAITWAITWAITWA", "") })
	}
	for range 16 {
		<-begun
	}
	status, answer := r.send(h, "GET", "/v1/ping", "")
	if status != 503 || !strings.Contains(answer, "try again") {
		t.Errorf("%d %s", status, answer)
	}
	close(release)
	wg.Wait()
	if status, answer = r.send(h, "GET", "/v1/ping", ""); status != 200 {
		t.Errorf("%d %s", status, answer)
	}
}

// What answers at the socket and is no hostedmcp, or one of another version, is said to be that.
func TestForeignServer(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"another program", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"hello":"world"}`) }, "another program answers there"},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `<html>`) }, "use the binary that the server runs"},
		{"an error page", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "x", 404) }, "use the binary that the server runs"},
		{"cut off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		{"an error that paints", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			io.WriteString(w, `{"error":"\u001b[31mred\u202e"}`)
		}, `\u{001b}[31mred`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.close()
			l, err := net.Listen("unix", r.socket)
			r.must(err)
			server := &http.Server{Handler: tt.handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
			done := make(chan struct{})
			go func() { defer close(done); _ = server.Serve(l) }()
			defer func() { server.Close(); <-done }()
			got := r.run("grants", "list")
			if got.code != 1 {
				t.Errorf("%+v", got)
			}
			has(t, got.err, tt.want)
		})
	}
}

// A caller who has gone stops the operation; one who waits too long is told.
func TestInterrupted(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		ctx, stop := context.WithCancel(t.Context())
		stop()
		var out, diag bytes.Buffer
		env := r.env
		env.Stdout, env.Stderr = &out, &diag
		if err := admin.Run(ctx, "grants", []string{"list"}, env); !errors.Is(err, context.Canceled) || out.Len() > 0 {
			t.Errorf("%v: %s", err, out.String())
		}
	})
}

// An answer that cannot be finished is cut off, so that it is not taken for whole; the log has it.
func TestCutOff(t *testing.T) {
	r := newRig(t)
	var log buffer
	h := admin.NewDoor(admin.Options{Store: r.store, Log: slog.New(slog.NewTextHandler(&log, nil))}).Handler()
	defer func() {
		if fault := recover(); fault != http.ErrAbortHandler {
			t.Errorf("got %v", fault)
		}
		has(t, log.String(), "op=backup", "pipe is broken", "level=WARN")
	}()
	h.ServeHTTP(&brokenWriter{ResponseRecorder: httptest.NewRecorder()}, httptest.NewRequest("POST", "/v1/backup", nil))
}

// brokenWriter takes one piece.
type brokenWriter struct {
	*httptest.ResponseRecorder
	pieces int
}

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.pieces++; w.pieces > 1 {
		return 0, errors.New("pipe is broken")
	}
	return w.ResponseRecorder.Write(p)
}

// A server has short deadlines for strangers; an operation has its own.
func TestDeadlines(t *testing.T) {
	r := newRig(t)
	l, err := admin.Listen(r.socket)
	r.must(err)
	server := &http.Server{
		WriteTimeout: time.Millisecond, ReadTimeout: time.Minute,
		Handler: admin.NewDoor(admin.Options{Store: r.store, Log: slog.New(slog.DiscardHandler), Refusals: func(string) []story.Refusal {
			time.Sleep(20 * time.Millisecond) // longer than the server allows: only a deadline that was lifted lets it pass
			return nil
		}}).Handler(),
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	defer func() { server.Close(); <-done }()
	if status, answer := r.send(r.http(), "GET", "/v1/explain?word="+requestSignIn, ""); status != 200 {
		t.Errorf("%d %s", status, answer)
	}
}
