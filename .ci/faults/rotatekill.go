package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// How a rotation is cut off.

// round kills one rotation, and has it finished.
func (o *rotating) round(i int) error {
	key := keys[i%len(keys)]
	var tracer *exec.Cmd
	if o.strace {
		var err error
		if tracer, err = o.attach(key, i/len(keys)); err != nil {
			return err
		}
	}
	cmd, err := o.server.operator("rotate-key", "-"+key)
	if err != nil {
		return err
	}
	o.strike(tracer)
	if out, err := cmd.wait(); err == nil {
		o.struck["after it"]++
	} else if o.struck["during it"]++; out != "" || cmd.err.Len() == 0 {
		o.violation("rotate-key -%s, cut off, says %q and %q", key, out, cmd.err.String())
	}
	back := time.Now()
	if err := o.server.start(); err != nil {
		return fmt.Errorf("start after a kill during rotate-key -%s: %w\n%s", key, err, o.server.logTail("", 3))
	}
	if err := o.finish(key); err != nil {
		return err
	}
	if !o.fleet.settled(back, patience) {
		return fmt.Errorf("nobody goes on after rotate-key -%s", key)
	}
	return nil
}

// strike ends the server some time after the command was given: when strace does, or at random.
func (o *rotating) strike(tracer *exec.Cmd) {
	if tracer == nil {
		time.Sleep(rand.N(30 * time.Millisecond)) // the command itself takes that long
		o.server.kill()
		return
	}
	select {
	case <-o.server.died:
		o.struck["system call"]++
	case <-time.After(2 * time.Second): // the call was not used that often
	}
	tracer.Process.Kill()
	tracer.Wait()
	o.server.kill()
}

// Steps of a rotation, and of what goes on beside it, counted from the moment at which strace is there. A key file is
// replaced by the first ones; commits are all that the other rotations are made of.
var stepsOfRotation = map[string][]systemCall{
	"master":  {{"rename,renameat,renameat2", 2}, {"link,linkat", 1}, {"fsync", 3}, {"fchmod,fchmodat", 2}, {"fdatasync", 9}, {"pwrite64", 40}},
	"data":    {{"fdatasync", 15}, {"pwrite64", 60}},
	"signing": {{"fdatasync", 7}, {"pwrite64", 30}, {"write", 20}},
}

// attach has strace kill the running server at a system call of the rotation that follows.
func (o *rotating) attach(key string, n int) (*exec.Cmd, error) {
	if err := needStrace(); err != nil {
		return nil, err
	}
	calls := stepsOfRotation[key]
	call := calls[n%len(calls)]
	k := 1 + n/len(calls)*7%call.most // 7 meets every k in the long run, and spreads in a short one
	log := filepath.Join(o.dir, "strace.log")
	os.Remove(log)
	said, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer said.Close()
	cmd := exec.Command("strace", "-f", "-o", os.DevNull, "-e", "trace="+call.name,
		"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call.name, k), "-p", fmt.Sprint(o.server.pid()))
	cmd.Stderr, cmd.SysProcAttr = said, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for range 200 { // "strace: Process N attached"; not waiting longer costs one kill's aim, no more
		if text, _ := os.ReadFile(log); bytes.Contains(text, []byte("attached")) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return cmd, nil
}
