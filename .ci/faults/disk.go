package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"hostedmcp/auth/authtest"
)

// disk takes the disk away under load: full, read-only, failing. All the while calls with a live token succeed; a
// refresh succeeds or is told 503 with Retry-After and spends nothing, although the provider punishes any second use of
// its tokens; nobody is logged out; and after the cure everybody goes on.
//
// A file system in use cannot be made read-only by hand, so EROFS and EIO come from strace, which fails the system
// calls of the running process. The full disk is a real one.
func disk(r *run) error {
	if err := needStrace(); err != nil {
		return err
	}
	d := &disks{run: r, answers: map[string]int{}}
	if err := d.set(); err != nil {
		return err
	}
	d.fleet.onAnswer = d.judge
	d.fleet.begin()
	d.fleet.settled(time.Now(), patience)
	for _, ill := range []illness{
		{name: "full, reserve left", strike: d.fill, cure: d.empty, harmless: true},
		{name: "full to the last block", strike: d.exhaust, cure: d.empty, mild: true},
		d.injected("read-only", "pwrite64,fallocate,ftruncate", "EROFS", ""),
		d.injected("no page can be written", "pwrite64", "EIO", ""),
		d.injected("nothing can be synced", "fdatasync,fsync", "EIO", ""),
		d.injected("every third write fails", "pwrite64", "EIO", "1+3"),
		d.injected("every third sync fails", "fdatasync", "EIO", "1+3"),
		d.injected("no space", "pwrite64,fallocate", "ENOSPC", ""),
	} {
		if err := d.through(ill); err != nil {
			return fmt.Errorf("%s: %w", ill.name, err)
		}
	}
	d.fleet.halt()
	for _, session := range d.provider.Sessions() {
		if session.Dead != "" {
			r.violation("the provider ended %s: %s", session.User, session.Dead)
		}
	}
	return d.startReadOnly()
}

// diskSize holds the store, its reserve of 16 MB and some growth.
const diskSize = 64 << 20

type disks struct {
	*run
	mount    string
	provider *authtest.Provider
	server   *server
	fleet    *fleet
	tracer   *exec.Cmd

	mu      sync.Mutex
	answers map[string]int
}

// illness is one way in which the disk fails, and its cure.
type illness struct {
	name         string
	strike, cure func() error
	harmless     bool // nobody is to notice
	mild         bool // pages that became free may be enough for refreshes
}

func (d *disks) set() error {
	d.mount = filepath.Join(d.dir, "tmpfs")
	if err := os.Mkdir(d.mount, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", d.mount, "tmpfs", 0, "mode=0700,size="+strconv.Itoa(diskSize)); err != nil {
		return fmt.Errorf("a tmpfs cannot be mounted (root with CAP_SYS_ADMIN is needed): %w", err)
	}
	d.atEnd(func() { syscall.Unmount(d.mount, syscall.MNT_DETACH) })
	var err error
	if d.provider, err = d.newProvider(d.clients, authtest.Behaviour{Rotation: authtest.RotationStrict, AccessLife: 2 * time.Second}); err != nil {
		return err
	}
	if d.server, err = d.newServer("disk", settings{
		issuer: d.provider.Issuer, clientID: d.provider.ClientID, secret: d.provider.ClientSecret,
		data: filepath.Join(d.mount, "data"), provider: []string{`rotation = "strict"`},
	}); err != nil {
		return err
	}
	if err := d.server.start(); err != nil {
		return err
	}
	d.fleet, err = d.newFleet(d.server, d.clients, 100*time.Millisecond)
	return err
}

func (d *disks) judge(c *client, kind string, v verdict, a answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers[fmt.Sprint(kind, " ", a.status)]++
	// an upstream token may run out between the check before a call and its use: then the tool itself says so
	told := kind == "userinfo" && a.status == http.StatusOK
	if v != worked && !told && (kind == "whoami" || a.status != http.StatusServiceUnavailable) {
		d.run.violation("%s of %s got %s", kind, c.user, a)
	}
}

func (d *disks) count() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.answers
	d.answers = map[string]int{}
	return before
}

// through is one illness from end to end.
func (d *disks) through(ill illness) error {
	d.count()
	if err := ill.strike(); err != nil {
		return err
	}
	time.Sleep(4 * time.Second)
	ready := d.server.ready()
	if err := ill.cure(); err != nil {
		return err
	}
	cured := time.Now()
	for d.server.ready() != http.StatusOK && time.Since(cured) < patience {
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(cured)
	d.fleet.settled(time.Now(), patience)
	said := d.count()
	d.say("%-23s %v; /readyz %d meanwhile, 200 again %s after the cure", ill.name, said, ready, took.Round(time.Millisecond))
	if ill.harmless && said["refresh 503"]+said["userinfo 503"] > 0 {
		d.violation("%s: refused in spite of the reserve", ill.name)
	}
	if !ill.harmless && !ill.mild && said["refresh 503"] == 0 {
		d.violation("%s: nothing failed; the campaign is at fault", ill.name)
	}
	if took >= patience {
		d.violation("%s: not ready %s after the cure", ill.name, patience)
	}
	return nil
}

func (d *disks) ballast() string { return filepath.Join(d.mount, "ballast") }

// fill takes every block that is left.
func (d *disks) fill() error {
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size >= 4096; { // down to one page of a tmpfs
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (d *disks) empty() error { return os.Remove(d.ballast()) }

// exhaust also uses up what the server holds in reserve, by registering clients with much to say until it has no room.
func (d *disks) exhaust() error {
	for n := 0; n < 100_000; n += 8 {
		if err := d.fill(); err != nil { // blocks that were freed or cut off
			return err
		}
		full := make(chan error, 8)
		for i := range 8 {
			go func() { full <- d.register(n + i) }()
		}
		for range 8 {
			if err := <-full; err != nil {
				d.say("no room after %d registrations (%v)", n, err)
				return nil
			}
		}
	}
	return errors.New("100,000 registrations did not fill the disk")
}

func (d *disks) register(n int) error {
	var uris []string
	for i := range 8 {
		uris = append(uris, fmt.Sprintf("https://client-%d.example.com/callback/%d/%s", n, i, strings.Repeat("x", 400)))
	}
	body, err := json.Marshal(map[string]any{"client_name": fmt.Sprint("Client ", n), "redirect_uris": uris})
	if err != nil {
		return err
	}
	res, err := http.Post(d.server.url+"/register", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		return errors.New(res.Status)
	}
	return nil
}

// injected has system calls of the running process fail; when is strace's expression, "" = always.
func (d *disks) injected(name, calls, errno, when string) illness {
	if when != "" {
		when = ":when=" + when
	}
	// attached to the running process: what is under way when the disk fails is the point
	strike := func() error {
		d.tracer = exec.Command("strace", "-f", "-o", filepath.Join(d.dir, "strace.out"), "-e", "trace="+calls,
			"-e", "inject="+calls+":error="+errno+when, "-p", strconv.Itoa(d.server.pid()))
		out, err := d.tracer.StderrPipe()
		if err != nil {
			return err
		}
		if err := d.tracer.Start(); err != nil {
			return err
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if !strings.Contains(line, "attached") {
			return fmt.Errorf("strace said %q: %v", line, err)
		}
		return nil
	}
	cure := func() error {
		d.tracer.Process.Signal(os.Interrupt)
		d.tracer.Wait() // its exit code is that of the signal
		return nil
	}
	return illness{name: name, strike: strike, cure: cure}
}

// startReadOnly stops the server, makes its disk read-only in earnest and starts it: it must say so and end, and work
// again once the disk does.
func (d *disks) startReadOnly() error {
	if err := d.server.stop(); err != nil {
		d.violation("%v", err)
	}
	remount := func(flags uintptr) error {
		return syscall.Mount("", d.mount, "", syscall.MS_REMOUNT|flags, "size="+strconv.Itoa(diskSize))
	}
	if err := remount(syscall.MS_RDONLY); err != nil {
		return fmt.Errorf("remount: %w", err)
	}
	if err := d.server.start(); !errors.Is(err, errDied) {
		d.violation("started on a read-only disk: %v", err)
	}
	d.say("start on a read-only disk: %s", strings.TrimSpace(d.server.logTail("hostedmcp:", 1)))
	if err := remount(0); err != nil {
		return fmt.Errorf("remount: %w", err)
	}
	if err := d.server.start(); err != nil {
		d.violation("not started on the mended disk: %v", err)
		return nil
	}
	for _, c := range d.fleet.clients {
		if v, a, err := c.refresh(); v != worked {
			d.violation("%s after the disk was mended: %v %v", c.user, a, err)
		}
	}
	return d.server.stop()
}
