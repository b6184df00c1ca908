package mount

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"runtime"
	"sort"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
)

// spawner starts the children of one connector, all from one thread of its own.
//
// A child asks the kernel to be killed when its parent dies (Pdeathsig), so that none outlives even our SIGKILL. To
// Linux the parent is the thread that forked, not the process (prctl(2), PR_SET_PDEATHSIG), and Go ends threads as it
// pleases: a child started from any goroutine could be killed at any time. So one goroutine is locked to its thread
// and stays until all children have ended.
type spawner struct {
	args []string
	path string // of the program; looked up once
	fail error  // why there is none
	env  []string
	over <-chan struct{} // closed when children have no more time to end by themselves

	begin sync.Once
	jobs  chan func()
	quit  chan struct{}
	end   sync.Once
}

// newSpawner looks the program up: in our PATH, or as an absolute path. The child's environment is what is configured
// and nothing else, not even PATH; a static credential is one of its variables.
func newSpawner(cfg connector.Config, secret oauth.Secret, over <-chan struct{}) *spawner {
	p := &spawner{args: cfg.Command, env: []string{}, over: over, jobs: make(chan func()), quit: make(chan struct{})}
	for name, value := range cfg.Env {
		p.env = append(p.env, name+"="+value)
	}
	if cfg.Credential == connector.CredentialStatic && secret != "" {
		p.env = append(p.env, cfg.Header+"="+secret.Reveal())
	}
	sort.Strings(p.env)
	p.path, p.fail = exec.LookPath(cfg.Command[0])
	return p
}

// thread is the goroutine that owns the thread.
func (p *spawner) thread() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// What the unit lets us do, such as listening on a low port, is not for children: only what is ambient would pass to
	// them (capabilities(7)). It is this thread's own.
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) // before Linux 4.3 there is nothing to clear
	for {
		select {
		case job := <-p.jobs:
			job()
		case <-p.quit:
			return
		}
	}
}

// stop lets the thread go. All children must have ended.
func (p *spawner) stop() { p.end.Do(func() { close(p.quit) }) }

// start runs the program once more.
func (p *spawner) start(ctx context.Context) (*child, error) {
	if p.fail != nil {
		return nil, fmt.Errorf("%w: %w", errCommand, p.fail)
	}
	p.begin.Do(func() { go p.thread() })
	var c *child
	var err error
	done := make(chan struct{})
	job := func() {
		defer close(done)
		c, err = p.fork()
	}
	select {
	case p.jobs <- job:
		<-done
		return c, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-p.quit:
		return nil, errEnded
	}
}

// fork starts the process; the calling thread becomes its parent.
func (p *spawner) fork() (*child, error) {
	ours, theirs, err := pipes()
	if err != nil {
		return nil, err
	}
	defer closeAll(theirs[:])
	// What our own starter left open to us is none of the child's business; all that we open ourselves is marked so.
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) // before Linux 5.11 they pass
	cmd := &exec.Cmd{
		Path: p.path, Args: p.args, Env: p.env,
		Stdin: theirs[0], Stdout: theirs[1], Stderr: theirs[2],
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	if err := cmd.Start(); err != nil {
		closeAll(ours[:])
		return nil, fmt.Errorf("%w: %w", errCommand, err)
	}
	c := &child{cmd: cmd, stdin: ours[0], stdout: ours[1], stderr: ours[2], over: p.over, gone: make(chan struct{})}
	go c.wait()
	return c, nil
}
