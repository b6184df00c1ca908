package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// systemCall is a place to kill at: before the k-th use of it, counted by strace for each thread.
type systemCall struct {
	name string
	most int // k goes from 1 to this, then round again
}

// What a commit and an answer are made of. Go's net package sends with write(2); sendto is there for the day on which
// it does not.
var systemCalls = []systemCall{{"fdatasync", 40}, {"pwrite64", 120}, {"write", 300}, {"sendto", 2}}

// needStrace returns an error that says what to do when strace is not there or may not trace.
func needStrace() error {
	if _, err := exec.LookPath("strace"); err != nil {
		return errors.New("strace is needed: install the package strace")
	}
	if out, err := exec.Command("strace", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		return fmt.Errorf("strace may not trace here (container without SYS_PTRACE?): %w: %s", err, out)
	}
	return nil
}

// killAt is the command that kills the program at the k-th use of a system call. -D keeps the program our own child (and
// does not go together with --seccomp-bpf).
func killAt(name string, k int) []string {
	return []string{"strace", "-D", "-f", "-qqq", "-o", os.DevNull, "-e", "trace=" + name,
		"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", name, k)}
}

// systemCalls returns n kills at every k-th system call. The process that a kill ends was started under strace by the
// kill before; the first one is plain.
func (c *attacked) systemCalls(n int) (out []kill) {
	if err := needStrace(); err != nil {
		return []kill{{name: "strace", do: func() (time.Time, error) { return time.Time{}, err }}}
	}
	struck := 0
	for i := range n {
		call := systemCalls[i%len(systemCalls)]
		// steps that meet every k of a small range and spread over a large one
		k := 1 + (i/len(systemCalls)*max(1, call.most*len(systemCalls)/max(n, 1)))%call.most
		next := killAt(call.name, k)
		if i+1 == n {
			next = nil // under what everybody settles
		}
		out = append(out, kill{name: "strace", next: next, do: func() (time.Time, error) {
			at, byItself := c.waitForDeath(1500 * time.Millisecond)
			if byItself {
				struck++
			}
			if i+1 == n {
				c.say("%s: %d of %d processes died at a system call, the rest by SIGKILL after 1.5 s", c.mode, struck, n)
			}
			return at, nil
		}})
	}
	return out
}

// waitForDeath waits for the process to be killed by strace; it does so itself when the call was not used that often.
func (c *attacked) waitForDeath(limit time.Duration) (at time.Time, byItself bool) {
	select {
	case <-c.server.died:
		return time.Now(), true
	case <-time.After(limit):
		return c.server.kill(), false
	}
}

// creation kills the very first start at every step of making database and key, on an empty folder each time. The next
// start must find either nothing or something whole.
func (r *run) creation() error {
	provider, err := r.newProvider(1, rotationBehaviour(0))
	if err != nil {
		return err
	}
	died, starts := 0, 0
	// every step that leaves a trace on the disk: temporary files, their modes, syncs and renames
	for _, call := range []string{"openat", "pwrite64", "write", "fsync", "fdatasync", "fallocate", "ftruncate", "rename,renameat,renameat2", "fchmod,fchmodat"} {
		for k := 1; k <= 12; k++ {
			if call == "openat" {
				k += 2 // most of them are the runtime's
			}
			starts++
			srv, err := r.newServer(fmt.Sprintf("creation-%d", starts), settings{
				issuer: provider.Issuer, clientID: provider.ClientID, secret: provider.ClientSecret,
			})
			if err != nil {
				return err
			}
			if err = srv.start(killAt(call, k)...); errors.Is(err, errDied) {
				died++
			}
			srv.kill()
			if err := srv.start(); err != nil {
				r.violation("killed at %s %d while the store was made; the next start: %v\n%s", call, k, err, srv.logTail("", 3))
				continue
			}
			if err := srv.stop(); err != nil {
				r.violation("after %s %d: %v", call, k, err)
			}
			os.RemoveAll(filepath.Join(srv.dir, "data"))
		}
	}
	r.say("creation: killed at %d of %d steps, every next start was good", died, starts)
	return nil
}
