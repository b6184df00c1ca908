package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// run is one run of the program: what the flags say, and what was found.
type run struct {
	bin, dir                                    string
	users, parallel, calls, turns, memory, most int
	site                                        *site

	start time.Time
	mu    sync.Mutex
	found int
	end   []func() // what must not outlive the run, last first
}

var campaigns = map[string]func(*run) error{"isolation": isolation, "fidelity": fidelity, "bench": bench}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		child(os.Args[2:])
		return
	}
	r := &run{start: time.Now()}
	flag.StringVar(&r.bin, "bin", "", "the binary to test (default: a fresh build)")
	flag.IntVar(&r.users, "users", 200, "users at once")
	flag.IntVar(&r.parallel, "parallel", 500, "calls at a time, over all users")
	flag.IntVar(&r.calls, "calls", 3, "calls of each user, of each connector and combination of eras")
	flag.IntVar(&r.turns, "bench", 300, "calls of each measurement")
	flag.IntVar(&r.memory, "memory", 200, "users whose memory is measured")
	flag.IntVar(&r.most, "show", 20, "faults that are printed")
	flag.Parse()
	os.Exit(r.do(flag.Args()))
}

// do runs the campaigns and returns the exit code.
func (r *run) do(names []string) int {
	if len(names) == 0 {
		names = []string{"isolation", "fidelity", "bench"}
	}
	err := r.prepare()
	for _, name := range names {
		if err != nil {
			break
		}
		do := campaigns[name]
		if do == nil {
			err = fmt.Errorf("there is no campaign %q", name)
			break
		}
		r.say("%s ...", name)
		err = do(r)
	}
	if err != nil {
		r.fault("%v", err)
	}
	for i := len(r.end) - 1; i >= 0; i-- {
		r.end[i]()
	}
	if r.found > 0 {
		r.say("%d faults; folder %s", r.found, r.dir)
		return 1
	}
	os.RemoveAll(r.dir)
	r.say("no fault in %s", time.Since(r.start).Round(time.Second))
	return 0
}

// prepare makes the folder, the binary and everything that hostedmcp talks to.
func (r *run) prepare() (err error) {
	if r.dir, err = os.MkdirTemp("", "load"); err != nil {
		return err
	}
	if r.bin == "" {
		r.bin = filepath.Join(r.dir, "hostedmcp")
		if out, err := exec.Command("go", "build", "-o", r.bin, ".").CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	r.site, err = r.newSite()
	return err
}

func (r *run) atEnd(f func()) { r.end = append(r.end, f) }

func (r *run) say(format string, args ...any) {
	fmt.Printf("%6.1fs  %s\n", time.Since(r.start).Seconds(), fmt.Sprintf(format, args...))
}

// fault reports one thing that must not be. The first ones are printed.
func (r *run) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found++; r.found <= r.most {
		fmt.Printf("%6.1fs  FAULT %.600s\n", time.Since(r.start).Seconds(), fmt.Sprintf(format, args...))
	}
}

// each calls f with 0 to n-1, in as many goroutines at a time.
func each(n, atATime int, f func(i int)) {
	var wait sync.WaitGroup
	slots := make(chan struct{}, atATime)
	for i := range n {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wait.Wait()
}
