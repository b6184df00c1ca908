package storage_test

import (
	"bufio"
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostedmcp/storage"
	"hostedmcp/storage/storagetest"
)

// byCopy at the end of a killed process's work says that its files have no second names.
const byCopy = "-by-copy"

// killedOptions is the store of the process that is killed.
func killedOptions(dir string, copies bool) storage.Options {
	o := storage.Options{Dir: dir, Issuer: storagetest.Issuer}
	if copies {
		o.LinksFail(syscall.EPERM)
	}
	return o
}

// rotateToDeath makes a new key and dies at one commit of that, before it or after it. It says so if it lives longer.
func rotateToDeath(dir, arg string) {
	work, when, _ := strings.Cut(arg, " ")
	work, copies := strings.CutSuffix(work, byCopy)
	var after bool
	var at int
	_, _ = fmt.Sscanf(when, "%d %t", &at, &after)
	s, err := storage.Open(context.Background(), killedOptions(dir, copies))
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	commits := 0
	s.FailCommits(func(real func() error) error {
		if commits++; commits < at {
			return real()
		}
		if after {
			_ = real()
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	})
	if work == "master" {
		_, err = s.RotateMaster(context.Background())
	} else {
		err = s.RotateData(context.Background(), nil)
	}
	fmt.Println("done", err)
}

// TestKillRotation: killed at any commit of a rotation, the store opens with everything in it, the rotation is
// finished by the next, and the old key is not needed any more.
func TestKillRotation(t *testing.T) {
	t.Parallel()
	for _, work := range []string{"master", "master" + byCopy, "data"} {
		t.Run(work, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, func(o *storage.Options) { o.Now, o.Uptime = nil, nil })
			_, check := h.fill()
			for at, lived := 1, false; !lived; at++ {
				for _, after := range []bool{false, true} {
					h.must(h.Close())
					out := h.runKilled(fmt.Sprintf("%s %s %d %t", work, work, at, after), nil)
					lived = strings.HasPrefix(out, "done <nil>")
					if out != "" && !lived {
						t.Fatalf("commit %d: %s", at, out)
					}
					h.reopenTampered()
					check()
				}
			}
			h.finishRotation(check)
		})
	}
}

// finishRotation rotates to the end and sees that one key of each kind is left, and enough.
func (h *harness) finishRotation(check func()) {
	h.Helper()
	_, err := h.RotateMaster(h.Context())
	h.must(err)
	h.must(h.RotateData(h.Context(), nil))
	check()
	h.must(h.Close())
	kept, _ := filepath.Glob(filepath.Join(h.opts.Dir, "master.key.*"))
	for _, old := range kept {
		h.must(os.Remove(old))
	}
	if found := h.sealedUnder(); len(found) != 1 || h.dataKeys() != 1 {
		h.Errorf("%d data keys, values by key: %v", h.dataKeys(), found)
	}
	for _, name := range []string{"keys_next", "keys_handed"} {
		if len(h.meta(name)) != 0 {
			h.Errorf("the file has %s", name)
		}
	}
	h.reopenTampered()
	check()
}

// runKilled runs the process on the folder of the closed store, and returns what it said. die is given each line, and
// the way to kill it.
func (h *harness) runKilled(work string, die func(line string, kill func())) (out string) {
	h.Helper()
	cmd := exec.CommandContext(h.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killEnv+"="+h.opts.Dir, killWorkEnv+"="+work)
	stdout, err := cmd.StdoutPipe()
	h.must(err)
	h.must(cmd.Start())
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		out += lines.Text() + "\n"
		if die != nil {
			die(lines.Text(), func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait() // killed
	return out
}

// TestKillUnderRotation: all keys replaced again and again while eight goroutines write, killed at any moment.
func TestKillUnderRotation(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(o *storage.Options) { o.Now, o.Uptime = nil, nil })
	h.must(h.Close())
	for round := range 6 {
		answered := killAfter(t, h.opts.Dir, " rotating", 60+mathrand.IntN(150*(round+1)))
		h.reopenTampered()
		for id, gen := range answered {
			if g, err := h.Grant(id); err != nil || g.Gen < gen {
				t.Errorf("generation %d was answered, the file has %d, %v", gen, g.Gen, err)
			}
		}
		h.check()
		if round%2 == 1 {
			h.finishRotation(h.check)
		}
		h.must(h.Close())
	}
}

// restoreToDeath restores again and again.
func restoreToDeath(dir, arg string) {
	from, copies := strings.CutSuffix(arg, byCopy)
	for {
		fmt.Println("begin")
		if _, err := storage.Restore(context.Background(), killedOptions(dir, copies), from); err != nil {
			fmt.Println("failed", err)
			return
		}
	}
}

// TestKillRestore: killed at any moment of a restoration, there is the old store or the new one, and nothing that
// ended lives again in either.
func TestKillRestore(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(o *storage.Options) { o.Now, o.Uptime = nil, nil })
	l, ends := h.connect(), h.connect(alice(1))
	for i := range 200 {
		h.connectQuietly(i)
	}
	backup := h.backup()
	h.end(ends.id)
	restored := 0
	for round := range 12 {
		h.must(h.Close())
		started, wait := 0, time.Duration(mathrand.IntN(40))*time.Millisecond
		arg := backup
		if round%4 > 1 {
			arg += byCopy
		}
		out := h.runKilled("restore "+arg, func(line string, kill func()) {
			if started++; started == 1+round%2 {
				time.AfterFunc(wait, kill)
			}
		})
		if strings.Contains(out, "failed") {
			t.Fatal(out)
		}
		if _, err := os.Stat(h.Path()); err != nil {
			t.Fatalf("there is no store: %v", err)
		}
		h.reopenTampered()
		h.check()
		if !h.RestoredAt().IsZero() {
			restored++
		}
		h.wantLiving(l.id)
		if g := h.grant(ends.id); g.Living() {
			t.Error("an ended grant lives again")
		}
	}
	if restored == 0 {
		t.Error("no restoration came to its end")
	}
	h.must(h.Close())
	_, err := storage.Restore(t.Context(), h.opts, backup)
	h.must(err)
	h.reopenTampered()
	h.check()
}
