package trace_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"hostedmcp/auth/authtest"
	"hostedmcp/mcp/trace"
)

// names lists steps with their verdicts.
func names(steps []trace.Step) (out []string) {
	for _, s := range steps {
		out = append(out, s.Name+" "+string(s.Verdict))
	}
	return out
}

// TestGood walks hostedmcp itself: every step is made and none has even a note.
func TestGood(t *testing.T) {
	w := newWorld(t, authtest.ServerOptions{})
	o := w.run(trace.Env{}, "-json", "-retry", w.url)
	got := o.steps(t)
	if o.err != nil || got.Verdict != "ok" {
		t.Errorf("error %v, verdict %q", o.err, got.Verdict)
	}
	want := []string{"reach ok", "tls ok", "challenge ok", "bad token ok", "resource metadata ok", "server metadata ok",
		"registration ok", "authorize ok", "callback ok", "token ok", "server/discover ok", "tools/list, new era ok",
		"initialize ok", "tools/list ok", "tools/call ok", "refresh ok", "refreshed call ok", "retry ok", "session end ok",
		"revoke ok", "revoked token ok"}
	if have := names(got.Steps); !slices.Equal(have, want) {
		t.Errorf("steps\n%q\nwant\n%q", have, want)
	}
	for _, s := range got.Steps {
		if s.Expected == "" || s.Source == "" || s.Came == "" || len(s.Notes) > 0 {
			t.Errorf("%+v", s)
		}
	}
	if !strings.Contains(o.stderr, w.Issuer+"/authorize?") {
		t.Errorf("the login URL is not shown: %q", o.stderr)
	}
}

// TestLeavesNothing sees that a trace leaves no living connection, even if a step after the login fails; -keep does.
func TestLeavesNothing(t *testing.T) {
	w := newWorld(t, authtest.ServerOptions{})
	o := w.run(trace.Env{}, "-call", "nothing", w.url)
	if trace.ExitCode(o.err) != 1 || !strings.Contains(o.stdout, "FAIL at step: tools/call") {
		t.Errorf("%v\n%s", o.err, o.stdout)
	}
	if !strings.Contains(o.stdout, "revoked token") || living(t, w) != 0 {
		t.Errorf("%d living grants\n%s", living(t, w), o.stdout)
	}
	if o := w.run(trace.Env{}, "-keep", w.url); o.err != nil || living(t, w) != 1 {
		t.Errorf("-keep: %v, %d living grants", o.err, living(t, w))
	}
}

// TestInterrupted: what was issued is revoked although the person pressed Ctrl-C, or the answer with it was faulty.
func TestInterrupted(t *testing.T) {
	w := newWorld(t, authtest.ServerOptions{})
	ctx, interrupt := context.WithCancel(t.Context())
	p := &tamper{base: w.HTTP.Transport, fault: fault{method: "refresh_token", nth: 1, before: func(*http.Request) { interrupt() }}}
	var out authtest.Buffer
	err := trace.Run(ctx, []string{w.url}, trace.Env{Stdout: &out, Stderr: &out, HTTP: &http.Client{Transport: p}, Open: w.person(nil)})
	wantFault(t, outcome{stdout: out.String(), err: err}, "refresh", "canceled")
	if n := living(t, w); n != 0 {
		t.Errorf("%d living grants\n%s", n, out.String())
	}
	for _, grant := range []string{"authorization_code", "refresh_token"} {
		faulty := fault{method: grant, nth: 1, after: replaces("Bearer", "mac")}
		o := w.run(trace.Env{HTTP: &http.Client{Transport: &tamper{base: w.HTTP.Transport, fault: faulty}}}, w.url)
		if n := living(t, w); n != 0 || o.err == nil {
			t.Errorf("%s: %v, %d living grants\n%s", grant, o.err, n, o.stdout)
		}
	}
}

// living counts the grants that have not ended.
func living(t *testing.T, w *world) (n int64) {
	t.Helper()
	counts, err := w.Store.Counts()
	if err != nil {
		t.Fatal(err)
	}
	for state, count := range counts {
		if state != "ended" {
			n += count
		}
	}
	return n
}

// TestTLS walks a server with TLS whose certificate the client knows.
func TestTLS(t *testing.T) {
	w := newWorld(t, authtest.ServerOptions{Issuer: "https://mcp.test"})
	o := w.run(trace.Env{}, w.url)
	if o.err != nil || !strings.Contains(o.stdout, "TLS 1.3, certificate of") {
		t.Errorf("%v\n%s", o.err, o.stdout)
	}
}

// TestBare walks servers without OAuth: the steps of the connection and of MCP.
func TestBare(t *testing.T) {
	for name, stateless := range map[string]bool{"sessions": false, "stateless": true} {
		t.Run(name, func(t *testing.T) {
			o := run("-json", "-call", "echo", bare(t, stateless))
			got := o.steps(t)
			if o.err != nil || got.Verdict != "ok" {
				t.Errorf("%v\n%s", o.err, o.stdout)
			}
			have := names(got.Steps)
			for _, s := range []string{"reach ok", "challenge ok", "initialize ok", "tools/list ok", "tools/call ok"} {
				if !slices.Contains(have, s) {
					t.Errorf("%q lacks %q", have, s)
				}
			}
			if slices.ContainsFunc(have, func(s string) bool { return strings.HasPrefix(s, "token") || strings.HasPrefix(s, "registration") }) {
				t.Errorf("OAuth steps at a server without OAuth: %q", have)
			}
			if slices.Contains(have, "session end ok") == stateless {
				t.Errorf("the session was not ended: %q", have)
			}
		})
	}
}

// run traces with nobody to sign in.
func run(args ...string) outcome {
	var out, aside authtest.Buffer
	err := trace.Run(context.Background(), args, trace.Env{Stdout: &out, Stderr: &aside})
	return outcome{out.String(), aside.String(), err}
}

// TestUsage: what is wrong with the command line is said before anything is sent, as another kind of error.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"mcp.example.com"}, {"ftp://x/mcp"}, {"https://u:p@x/mcp"}, {"https://x/mcp", "https://y/mcp"},
		{"-as", "netscape", "https://x/mcp"}, {"-nonsense", "https://x/mcp"}, {"-args", "[]", "https://x/mcp"},
		{"-client-secret-file", "f", "https://x/mcp"}, {"-callback", "https://evil.example/cb", "https://x/mcp"},
		{"-timeout", "0s", "https://x/mcp"}, {"-scope", "a  b", "https://x/mcp"},
	} {
		if o := run(args...); !errors.Is(o.err, trace.ErrUsage) || trace.ExitCode(o.err) != 2 || o.stdout != "" {
			t.Errorf("%q: %v %q", args, o.err, o.stdout)
		}
	}
	if o := run("-h"); o.err != nil || !strings.Contains(o.stdout, "-as CLIENT") || !strings.Contains(o.stdout, "gemini") {
		t.Errorf("-h: %v %q", o.err, o.stdout)
	}
}

// TestColours: on a terminal only.
func TestColours(t *testing.T) {
	url := bare(t, true)
	for _, terminal := range []bool{true, false} {
		var out, aside authtest.Buffer
		if err := trace.Run(context.Background(), []string{url}, trace.Env{Stdout: &out, Stderr: &aside, Terminal: terminal}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "\x1b[") != terminal {
			t.Errorf("terminal %v: %q", terminal, out.String())
		}
	}
}

// TestNoLogin stops before the login, with the page looked at.
func TestNoLogin(t *testing.T) {
	w := newWorld(t, authtest.ServerOptions{})
	for _, args := range [][]string{{"-no-login"}, {"-callback", "none"}} {
		o := w.run(trace.Env{Open: func(string) { t.Error("a browser was opened") }}, append(args, "-json", w.url)...)
		have := names(o.steps(t).Steps)
		if o.err != nil || have[len(have)-1] != "callback skip" || have[len(have)-2] != "authorize ok" {
			t.Errorf("%q: %v %q", args, o.err, have)
		}
	}
}
