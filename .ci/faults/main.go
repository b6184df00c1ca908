package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

var campaigns = map[string]func(*run) error{
	"crash": crash, "cuts": cuts, "storm": storm, "outage": outage, "disk": disk, "keycloak": keycloakCrash,
	"backup": backups, "rotate": rotate, "operator": operations, "secrets": secrets,
}

// run is one run of one campaign: what the flags say, and what was found.
type run struct {
	campaign string
	seed     uint64
	rand     *rand.Rand // used by the campaign's own goroutine only
	bin      string
	dir      string // of this run; removed if nothing was found
	keep     bool

	clients, kills, rounds, callers int
	mode                            string
	strace                          bool
	base, admin                     string

	transcript transcript // of the operator's commands

	start time.Time
	mu    sync.Mutex
	found []string
	end   []func() // what must not outlive the run, last first
}

func main() {
	name := ""
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	if name == childArgument {
		os.Exit(child())
	}
	do := campaigns[name]
	if do == nil {
		fmt.Fprintln(os.Stderr, "faults: which campaign? crash, cuts, storm, outage, disk, keycloak, backup, rotate, operator or secrets; see doc.go")
		os.Exit(2)
	}
	r := &run{campaign: name, start: time.Now()}
	r.flags(os.Args[2:])
	os.Exit(r.do(do))
}

func (r *run) flags(args []string) {
	f := flag.NewFlagSet("faults "+r.campaign, flag.ExitOnError)
	f.Uint64Var(&r.seed, "seed", uint64(time.Now().UnixNano()), "repeats the random choices of an earlier run")
	f.StringVar(&r.bin, "bin", "", "the binary to test (default: a fresh build)")
	f.BoolVar(&r.keep, "keep", false, "leave the folder with data and log")
	f.IntVar(&r.clients, "clients", 24, "clients under load")
	f.IntVar(&r.kills, "kills", 300, "crash, backup, rotate: kills in all; crash shares them by the modes")
	f.StringVar(&r.mode, "mode", "all", "crash, cuts: rotation none, reuse, strict or all")
	f.BoolVar(&r.strace, "strace", false, "crash, rotate: kill at every k-th system call; others: no effect")
	f.IntVar(&r.rounds, "rounds", 20, "storm: rounds of each kind; backup: backups")
	f.IntVar(&r.callers, "callers", 1000, "storm: callers of a round")
	f.StringVar(&r.admin, "admin", "admin:admin", "keycloak: name and password of its administrator")
	f.StringVar(&r.base, "base", "", "keycloak: URL of a running Keycloak with the realms demo, demo-strict, demo-reuse1")
	f.Parse(args) // ExitOnError
}

// do runs the campaign between set-up and clearing away, and returns the exit code.
func (r *run) do(campaign func(*run) error) int {
	r.rand = rand.New(rand.NewPCG(r.seed, 1))
	r.say("seed %d", r.seed)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- r.inFolder(campaign) }()
	var err error
	select {
	case err = <-done:
	case <-interrupted:
		err = fmt.Errorf("interrupted")
	}
	r.clear()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.found = append(r.found, err.Error())
	}
	if len(r.found) == 0 && !r.keep {
		os.RemoveAll(r.dir)
	}
	if len(r.found) == 0 {
		r.say("no violation in %s", time.Since(r.start).Round(time.Second))
		return 0
	}
	r.say("%d violations; repeat with -seed %d; folder %s", len(r.found), r.seed, r.dir)
	if err != nil {
		r.say("VIOLATION %s", err)
	}
	return 1
}

func (r *run) inFolder(campaign func(*run) error) error {
	var err error
	if r.dir, err = os.MkdirTemp("", "faults-"); err != nil {
		return err
	}
	if r.bin == "" {
		r.bin = filepath.Join(r.dir, "hostedmcp")
		build := exec.Command("go", "build", "-o", r.bin, "hostedmcp")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	if r.bin, err = filepath.Abs(r.bin); err != nil {
		return err
	}
	return campaign(r)
}

// say prints a progress line.
func (r *run) say(format string, args ...any) {
	fmt.Printf("%7.1fs %s: %s\n", time.Since(r.start).Seconds(), r.campaign, fmt.Sprintf(format, args...))
}

// violation notes something that must not be, and goes on.
func (r *run) violation(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.mu.Lock()
	r.found = append(r.found, text)
	n := len(r.found)
	r.mu.Unlock()
	if n <= 20 {
		r.say("VIOLATION %s", text)
	}
}

// atEnd has f run when the run ends, however it does.
func (r *run) atEnd(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end = append(r.end, f)
}

func (r *run) clear() {
	r.mu.Lock()
	end := r.end
	r.end = nil
	r.mu.Unlock()
	for i := len(end) - 1; i >= 0; i-- {
		end[i]()
	}
}
