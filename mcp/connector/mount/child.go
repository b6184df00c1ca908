package mount

import (
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child is a process that serves one link, with all that it has started itself: they share a process group.
type child struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	stderr *os.File
	over   <-chan struct{} // closed when it has no more time to end by itself

	mu   sync.Mutex // held while it is signalled or collected
	once sync.Once
	gone chan struct{} // closed when the process has been waited for
}

// How long a child may take to end by itself, and after SIGTERM.
const (
	patience = 2 * time.Second
	mercy    = time.Second
)

// wait collects the process, and what is left of its group: nothing of a dead server goes on. The group is killed while
// the process still is a zombie, for as long as that the group's number cannot be another's.
func (c *child) wait() {
	var info unix.Siginfo
	for unix.Waitid(unix.P_PID, c.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	c.mu.Lock()
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // ESRCH: nobody is left
	_ = c.cmd.Wait()                                      // how it ended does not matter: that it did is said by its stdout
	close(c.gone)
	c.mu.Unlock()
	// A stranger to the group may hold the pipes still.
	time.AfterFunc(mercy, c.end)
}

// signal reaches the whole group.
func (c *child) signal(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.gone:
	default:
		_ = syscall.Kill(-c.cmd.Process.Pid, sig) // it is not collected yet, so it can be reached
	}
}

// end ends the child and waits for it: stdin first (MCP "Lifecycle", Shutdown), then SIGTERM, then SIGKILL. Its pipes
// are closed whoever else holds their other ends.
func (c *child) end() {
	c.once.Do(func() {
		_ = c.stdin.Close() // also closed by the writer
		if !c.endsWithin(patience, c.over) {
			c.signal(syscall.SIGTERM)
			if !c.endsWithin(mercy, nil) {
				c.signal(syscall.SIGKILL)
				<-c.gone
			}
		}
		_ = c.stdout.Close()
		_ = c.stderr.Close()
	})
}

// endsWithin reports whether the process ends in time, and before over is closed.
func (c *child) endsWithin(d time.Duration, over <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.gone:
		return true
	case <-over:
	case <-t.C:
	}
	return false
}

// pipes makes the three pipes; each pair is ours and the child's.
func pipes() (ours, theirs [3]*os.File, err error) {
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ours[:])
			closeAll(theirs[:])
			return ours, theirs, err
		}
		if ours[i], theirs[i] = r, w; i == 0 {
			ours[i], theirs[i] = w, r
		}
	}
	return ours, theirs, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// errCommand is why no child can be started at all.
var errCommand = errors.New("its command cannot be run")
