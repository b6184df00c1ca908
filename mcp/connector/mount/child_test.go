package mount_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/mount"
)

// process is one process that a test watches; a pidfd cannot come to mean another.
type process struct {
	t  *testing.T
	fd int
}

func watch(t *testing.T, pid int) process {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("process %d: %v", pid, err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return process{t, fd}
}

// ends waits for the process to end.
func (p process) ends() {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, int(time.Until(deadline).Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 || err != nil {
			p.t.Fatalf("it is alive still: %d %v", n, err)
		}
		return
	}
}

// lives says that it has not ended yet.
func (p process) lives() bool {
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, 0)
	return n == 0
}

// pids returns what a raw child says of itself and its own child.
func pids(t *testing.T, result string) (self, family int) {
	t.Helper()
	var r struct{ PID, Family int }
	if err := json.Unmarshal([]byte(result), &r); err != nil || r.PID == 0 {
		t.Fatalf("%s: %v", result, err)
	}
	return r.PID, r.Family
}

func rawStdio(t *testing.T, manner string) *mounted {
	return newMounted(t, connector.Config{Kind: connector.MCPStdio, Command: command(t, "raw", "legacy", manner), MaxBytes: maxBytes}, nil)
}

// Issue 6 item 5: an empty environment but for what is configured, and a process group of its own.
func TestChildEnvironment(t *testing.T) {
	t.Setenv("HOSTEDMCP_TEST_SECRET", "x")
	cfg := connector.Config{
		Kind: connector.MCPStdio, Command: command(t, "serve-legacy"), Env: map[string]string{"A": "1"},
		Credential: connector.CredentialStatic, Header: "TOKEN", SecretFile: "file",
	}
	m := newMounted(t, cfg, func(o *mount.Options) { o.Secret = "s3cret" })
	var who struct {
		Env []string
		PID int
	}
	if err := json.Unmarshal([]byte(m.says(bounded(t), tool(by("alice", "", nil), "whoami", `{}`, ""))), &who); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(who.Env, " "); got != "A=1 TOKEN=s3cret" {
		t.Errorf("environment %q", got)
	}
	bare := overStdio(t, "serve-legacy")
	if got := bare.says(bounded(t), tool(by("alice", "", nil), "whoami", `{}`, "")); !strings.Contains(got, `"env":[]`) {
		t.Errorf("environment with nothing configured: %s", got)
	}
	if group, err := syscall.Getpgid(who.PID); err != nil || group != who.PID {
		t.Errorf("process group %d of %d: %v", group, who.PID, err)
	}
	if strings.Contains(m.log.String(), "s3cret") {
		t.Error("the secret is in the log")
	}
}

// Issue 6 item 5: a child ends with its users' last session, and all that it has started ends with it.
func TestChildEndsWithSession(t *testing.T) {
	for _, manner := range []string{"", "stubborn"} {
		t.Run("manner "+manner, func(t *testing.T) {
			t.Parallel()
			m, ctx := rawStdio(t, manner), bounded(t)
			one, two := by("alice", "one", nil), by("alice", "two", nil)
			self, family := pids(t, m.do(ctx, tool(one, "family", `{}`, "")))
			other, _ := pids(t, m.do(ctx, tool(two, "whoami", `{}`, "")))
			if self == other {
				t.Fatal("two sessions share a child")
			}
			child, grandchild, sibling := watch(t, self), watch(t, family), watch(t, other)
			m.EndSession("one")
			child.ends()
			grandchild.ends()
			if !sibling.lives() {
				t.Error("another session's child ended too")
			}
			if manner == "" {
				m.EndGrant("grant-of-alice")
				sibling.ends()
			}
		})
	}
}

// Close ends the children and waits for them.
func TestChildEndsWithClose(t *testing.T) {
	m, ctx := rawStdio(t, ""), bounded(t)
	self, family := pids(t, m.do(ctx, tool(by("alice", "", nil), "family", `{}`, "")))
	child, grandchild := watch(t, self), watch(t, family)
	if err := m.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if child.lives() {
		t.Error("Close did not wait")
	}
	grandchild.ends()
	if e := m.fails(ctx, tool(by("alice", "", nil), "whoami", `{}`, "")); e.Reason != oauth.ConnectorUnreachable {
		t.Error(e)
	}
}

// No child outlives us, even if we are killed and can do nothing any more (prctl(2), PR_SET_PDEATHSIG).
func TestChildDiesWithUs(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(bounded(t), self, "parent")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := pids(t, line)
	child := watch(t, pid)
	if !child.lives() {
		t.Fatal("it ended before")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	child.ends()
}

// What a unit lets us do is not for children (capabilities(7), "Ambient").
func TestChildHasNoCapabilities(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(bounded(t), self, "parent")
	cmd.SysProcAttr = &syscall.SysProcAttr{AmbientCaps: []uintptr{unix.CAP_NET_BIND_SERVICE}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip("who runs this has no capabilities to pass on: ", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil || !strings.Contains(line, `"ambient":""`) {
		t.Errorf("%s %v", line, err)
	}
}

// parentChild is a process that mounts a child which would not go by itself, and waits to be killed.
func parentChild([]string) {
	self, _ := os.Executable()
	cfg := connector.Config{Name: "crm", Kind: connector.MCPStdio, Command: []string{self, "raw", "legacy", "stubborn"}}
	src, err := mount.New(mount.Options{Config: cfg.Complete()})
	if err != nil {
		os.Exit(1)
	}
	result, err := src.Do(context.Background(), tool(by("alice", "", nil), "whoami", `{}`, ""))
	if err != nil {
		os.Exit(2)
	}
	fmt.Println(string(result))
	select {}
}

// A child does not die with the thread on which somebody first asked for it.
func TestChildOutlivesThread(t *testing.T) {
	m, ctx := rawStdio(t, ""), bounded(t)
	var first [4]string // several: the program's first thread never ends
	var wg sync.WaitGroup
	for i := range first {
		wg.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
			result, _ := m.Do(ctx, tool(by(fmt.Sprint("user", i), "", nil), "whoami", `{}`, ""))
			first[i] = string(result)
		})
	}
	wg.Wait()
	for i, was := range first {
		before, _ := pids(t, was)
		if after, _ := pids(t, m.do(ctx, tool(by(fmt.Sprint("user", i), "", nil), "whoami", `{}`, ""))); after != before {
			t.Errorf("child %d was started anew", i)
		}
	}
}

// A child that dies fails its own calls, starts again at once, and after pauses if it dies again.
func TestChildRestarts(t *testing.T) {
	var now atomic.Int64
	cfg := connector.Config{Kind: connector.MCPStdio, Command: command(t, "raw", "legacy")}
	m := newMounted(t, cfg, func(o *mount.Options) { o.Now = func() time.Time { return time.Unix(now.Load(), 0) } })
	ctx, alice, bob := bounded(t), by("alice", "", nil), by("bob", "", nil)
	bobs, _ := pids(t, m.do(ctx, tool(bob, "whoami", `{}`, "")))
	for range 2 {
		if e := m.fails(ctx, tool(alice, "die", `{}`, "")); e.Reason != oauth.ConnectorUnreachable || !strings.Contains(e.Message, "process ended") {
			t.Fatal(e)
		}
	}
	if e := m.fails(ctx, tool(alice, "whoami", `{}`, "")); !strings.Contains(e.Message, "down") {
		t.Error(e)
	}
	if again, _ := pids(t, m.do(ctx, tool(bob, "whoami", `{}`, ""))); again != bobs {
		t.Error("bob's child was touched")
	}
	if !m.State().Up {
		t.Error("one user's trouble took the connector down")
	}
	now.Add(2)
	m.do(ctx, tool(alice, "whoami", `{}`, ""))
}

// What a child wrote before its end counts.
func TestChildLastWords(t *testing.T) {
	m, ctx := rawStdio(t, ""), bounded(t)
	if got := m.do(ctx, tool(by("alice", "", nil), "die after the answer", `{}`, "")); got != `{"last":true}` {
		t.Error(got)
	}
}

// A child that cannot start, or dies at start, takes the connector down with a clear word.
func TestChildDoesNotStart(t *testing.T) {
	for _, c := range []struct {
		command []string
		word    string
	}{
		{[]string{"/nonexistent/program"}, "command cannot be run"},
		{[]string{"no-such-program-anywhere"}, "command cannot be run"},
		{[]string{"/bin/false"}, "process ended"},
		{[]string{"/bin/cat"}, "refuses the handshake"}, // answers each request with itself
	} {
		t.Run(c.command[0], func(t *testing.T) {
			m := newMounted(t, connector.Config{Kind: connector.MCPStdio, Command: c.command, Timeout: long}, nil)
			turned := make(chan struct{}, 10)
			m.OnChange(func() { turned <- struct{}{} })
			e := m.fails(bounded(t), tool(by("alice", "", nil), "whoami", `{}`, ""))
			if e.Reason != oauth.ConnectorUnreachable || !strings.Contains(e.Message, c.word) {
				t.Errorf("%v", e)
			}
			<-turned
			if m.State().Up {
				t.Errorf("%+v", m.State())
			}
			if f := m.Check(bounded(t)); len(f) == 0 || f[len(f)-1].Level != oauth.FindingFail || f[len(f)-1].Fix == "" {
				t.Errorf("%+v", f)
			}
		})
	}
}

// Output that is no message, or too much of it, is bounded in memory and in the log.
func TestChildOutput(t *testing.T) {
	m, ctx := rawStdio(t, ""), bounded(t)
	call := by("alice", "", nil)
	m.do(ctx, tool(call, "print", `{}`, ""))
	m.do(ctx, tool(call, "stderr", `{}`, ""))
	if e := m.fails(ctx, tool(call, "endless", `{}`, "")); e.Reason != oauth.ConnectorBadAnswer || !strings.Contains(e.Message, "max_bytes") {
		t.Error(e)
	}
	m.EndGrant("grant-of-alice")
	if err := m.Close(ctx); err != nil { // the log is complete
		t.Fatal(err)
	}
	log := m.log.String()
	if n := strings.Count(log, "stderr"); n < 5 || n > 60 {
		t.Errorf("%d lines of stderr in the log", n)
	}
	if len(log) > 200<<10 {
		t.Errorf("%d bytes of log", len(log))
	}
}

// Who asks is said in `_meta`, with the present credential in every request; what a client wrote there is not.
func TestChildIdentity(t *testing.T) {
	cfg := connector.Config{Kind: connector.MCPStdio, Command: command(t, "raw", "legacy"), Credential: connector.CredentialUser}
	m, ctx := newMounted(t, cfg, nil), bounded(t)
	var n atomic.Int64
	call := by("alice", "", nil)
	call.User.Groups = []string{"sales <1>"}
	call.Credential = bearer(func() string { return fmt.Sprint("token-", n.Add(1)) })
	var seen []string
	for range 2 {
		var r struct {
			Meta map[string]json.RawMessage
			PID  int
		}
		got := m.do(ctx, tool(call, "whoami", `{}`, `{"hostedmcp/user":{"subject":"root"},"hostedmcp/credential":"x","keep":1}`))
		if err := json.Unmarshal([]byte(got), &r); err != nil {
			t.Fatal(err)
		}
		if who := string(r.Meta["hostedmcp/user"]); !strings.Contains(who, `"subject":"alice"`) || !strings.Contains(who, `"client":"client-of-alice"`) || strings.Contains(who, "root") {
			t.Errorf("%s", who)
		}
		if string(r.Meta["keep"]) != "1" || !strings.Contains(string(r.Meta["traceparent"]), "4bf92f") {
			t.Errorf("%s", got)
		}
		seen = append(seen, string(r.Meta["hostedmcp/credential"]))
	}
	if seen[0] == seen[1] || !strings.HasPrefix(seen[0], `"Bearer token-`) {
		t.Errorf("%v", seen)
	}
	if strings.Contains(m.log.String(), "token-") {
		t.Error("the credential is in the log")
	}
}

// Lines that a pipe takes as a whole are written at once, others by the writer: neither cuts into the other.
func TestLongAndShortLines(t *testing.T) {
	m, ctx := rawStdio(t, ""), bounded(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 50 {
				size := []int{1, 60_000, 3_000, 5_000}[(i+k)%4]
				result, err := m.Do(ctx, tool(by("alice", "one", nil), "weigh", `{"x":"`+strings.Repeat("x", size)+`"}`, ""))
				if want := fmt.Sprintf(`{"bytes":%d}`, size+2); err != nil || string(result) != want {
					t.Errorf("%s, not %s: %v", result, want, err)
				}
			}
		})
	}
	wg.Wait()
}
