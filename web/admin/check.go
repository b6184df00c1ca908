package admin

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// Machine is what `check` is told of the configuration, to look at files, addresses and the public URL by itself.
type Machine struct {
	ConfigFile string
	Secrets    []SecretFile // that the configuration names

	PublicURL      string
	Listen         string // host:port
	TLS            bool   // the listener speaks it itself
	ACME           *ACME  // its certificate comes from an authority; nil = not
	TrustedProxies bool   // some are configured
	MetricsListen  string // "" = off
	Lives          Lives

	// What is outside of the process; nil = the real one.
	HTTP         *http.Client
	Synchronised func() bool                    // does the system call its clock synchronised?
	Disk         func(dir string) (Disk, error) // what a folder lies on
	Now          func() time.Time
}

// ACME is where certificates come from, and where they are kept.
type ACME struct{ Directory, Folder string }

// SecretFile is a file that nobody else may read, with the key that names it ("provider.client_secret_file").
type SecretFile struct{ Key, Path string }

// Disk is a file system.
type Disk struct {
	Type int64  // statfs(2), f_type
	Free uint64 // bytes that we may still write
}

// Findings are looked at by others: package upstream, cimd and the connectors. nil = there is nothing to look at.
type Findings struct {
	// Provider may go through a sign-in with login, which takes the URL at which the sign-in begins and returns the
	// one at which the browser ended; nil = it must do without.
	Provider              func(ctx context.Context, login func(authURL string) (string, error)) []oauth.Finding
	Documents, Connectors func(context.Context) []oauth.Finding
}

// checkTime bounds each part of the check.
const checkTime = 2 * time.Minute

// loginTime is that bound when a person has to sign in.
const loginTime = 15 * time.Minute

// checker is one run of `check`.
type checker struct {
	c    *call
	m    Machine
	o    storage.Options
	live *pong // nil = no server runs

	all   []oauth.Finding
	fails int
}

// check looks at everything that can be known from here, and prints as it goes.
func check(ctx context.Context, c *call) error {
	k := &checker{c: c, m: c.env.Machine.withDefaults(), all: []oauth.Finding{}}
	if c.env.Options != nil {
		k.o = c.env.Options()
	}
	// In this order: what is at fault on the machine explains what fails further out.
	for _, look := range []func(context.Context) []oauth.Finding{
		k.socket, k.files, k.key, k.disk, k.clock, k.store, k.lives, k.listeners, k.acme, k.metrics, k.public,
		k.provider(), c.env.Findings.Documents, c.env.Findings.Connectors,
	} {
		if look == nil {
			continue
		}
		if err := k.print(k.bounded(ctx, look)); err != nil {
			return err
		}
		// Ctrl-C: what was cut off is no finding
		if ctx.Err() != nil {
			return fmt.Errorf("stopped: %w", ctx.Err())
		}
	}
	if c.opt.json {
		if err := c.printValue(map[string]any{"ok": k.fails == 0, "findings": k.all}); err != nil {
			return err
		}
	}
	// What prints it (main) needs no list: the lines are there. The exit code is for scripts.
	if k.fails > 0 {
		return fmt.Errorf("check: %d of %d are FAIL", k.fails, len(k.all))
	}
	return nil
}

// provider looks at the provider, with a sign-in if -login asks for one.
func (k *checker) provider() func(context.Context) []oauth.Finding {
	look := k.c.env.Findings.Provider
	if look == nil {
		return nil
	}
	return func(ctx context.Context) []oauth.Finding {
		if !k.c.opt.login {
			return look(ctx, nil)
		}
		return look(ctx, k.c.signIn)
	}
}

// maxAddress is the longest address that is read: codes and states of providers have some hundred characters.
const maxAddress = 16 << 10

// signIn lets a person sign in. A server that runs meanwhile does not know the state that comes back to it, and shows
// an error page: nothing is spent by that, and the code stands in the address of the page.
func (c *call) signIn(authURL string) (string, error) {
	if c.env.Stdin == nil {
		return "", errors.New("nobody is there to sign in")
	}
	c.warn("Sign in with a browser:\n\n  %s\n\nIt ends at an error page or at none. Copy the address from the address bar, "+
		"and paste it here:", shown(authURL))
	line, err := bufio.NewReader(io.LimitReader(c.env.Stdin, maxAddress)).ReadString('\n')
	line = strings.TrimSpace(line)
	if line == "" || len(line) >= maxAddress {
		return "", fmt.Errorf("no address was pasted: %w", cmp.Or(err, io.ErrUnexpectedEOF))
	}
	return line, nil
}

// bounded looks with a time of its own: a provider that does not answer keeps the rest of the lines from nobody.
func (k *checker) bounded(ctx context.Context, look func(context.Context) []oauth.Finding) []oauth.Finding {
	limit := checkTime
	if k.c.opt.login {
		limit = loginTime
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return look(ctx)
}

// withDefaults puts the real world where a test has put nothing.
func (m Machine) withDefaults() Machine {
	if m.HTTP == nil {
		m.HTTP = &http.Client{}
	}
	if m.Synchronised == nil {
		m.Synchronised = synchronised
	}
	if m.Disk == nil {
		m.Disk = disk
	}
	if m.Now == nil {
		m.Now = time.Now
	}
	return m
}

// colours of the levels on a terminal.
var colours = map[oauth.Level]string{oauth.FindingOK: "\x1b[32m", oauth.FindingWarn: "\x1b[33m", oauth.FindingFail: "\x1b[31m"}

// print writes findings: for a person with the fixing step below, for a program in one line with tabs.
func (k *checker) print(found []oauth.Finding) error {
	for _, f := range found {
		// a provider, a connector or a proxy may have put its own words in there
		f.Name, f.Text, f.Fix = shown(f.Name), shown(f.Text), shown(f.Fix)
		k.all = append(k.all, f)
		if f.Level == oauth.FindingFail {
			k.fails++
		}
		if k.c.opt.json {
			continue
		}
		if err := k.printLine(f); err != nil {
			return err
		}
	}
	return nil
}

// printLine prints as soon as it is known: some of what is looked at takes its time.
func (k *checker) printLine(f oauth.Finding) error {
	// grep FAIL must find the fixing step as well
	if !k.c.env.Terminal {
		return k.c.say("%s\t%s\t%s\t%s", f.Level, f.Name, f.Text, f.Fix)
	}
	if err := k.c.say("%s%-4s\x1b[0m  %s: %s", colours[f.Level], f.Level, f.Name, f.Text); err != nil || f.Fix == "" {
		return err
	}
	return k.c.say("      %s", f.Fix)
}

// socket looks for a server that runs; most of what follows depends on it.
func (k *checker) socket(ctx context.Context) []oauth.Finding {
	const name = "admin socket"
	a, err := k.c.dial(ctx)
	if errors.Is(err, errNoServer) {
		return []oauth.Finding{oauth.Warn("server", "no hostedmcp is running: what it would answer was not looked at",
			"start it and check again")}
	}
	if err != nil {
		return []oauth.Finding{oauth.Warn(name, err.Error(), "run check as root, or as the user who runs hostedmcp")}
	}
	_ = a.close() // the connection was only to learn who answers
	k.live = a.live
	f := oauth.Good(name, fmt.Sprintf("%s answers (pid %d)", k.c.env.Socket, a.live.PID))
	// not a FAIL: the kernel's word on each caller still keeps others out
	if m := modeOf(k.c.env.Socket); m&0o077 != 0 {
		f = oauth.Warn(name, fmt.Sprintf("%s has mode %#o", k.c.env.Socket, m), "chmod 600 "+k.c.env.Socket)
	}
	return []oauth.Finding{f}
}

// store reads the whole file, if nobody has it open.
func (k *checker) store(ctx context.Context) []oauth.Finding {
	const name = "store"
	switch {
	case k.live != nil:
		return []oauth.Finding{oauth.Good(name, "open in the running server: "+k.live.Store)}
	case k.c.env.Open == nil:
		return nil
	case !exists(k.storePath()):
		return []oauth.Finding{oauth.Good(name, "there is none yet: the first start makes "+k.storePath())}
	}
	// Opening checks key, issuer and version, and Verify every record and index.
	s, err := k.c.env.Open(ctx)
	if err != nil {
		return []oauth.Finding{oauth.Bad(name, "it does not open", err.Error())}
	}
	defer s.Close()
	if err := s.Verify(); err != nil {
		return []oauth.Finding{oauth.Bad(name, fmt.Sprintf("%s is damaged: %v", s.Path(), err), "restore a backup: hostedmcp restore FILE")}
	}
	return []oauth.Finding{oauth.Good(name, "every record of "+s.Path()+" reads")}
}

// clock asks the system, as the store does before it lets anything end by time.
func (k *checker) clock(context.Context) []oauth.Finding {
	if k.m.Synchronised() {
		return []oauth.Finding{oauth.Good("clock", "the system calls it synchronised")}
	}
	return []oauth.Finding{oauth.Warn("clock", "the system does not call it synchronised: a wrong one makes the provider's tokens look "+
		"expired or not yet valid", "timedatectl set-ntp true, or start another time service; in a container, on its host")}
}

// synchronised asks the kernel's clock discipline (adjtimex(2)), which every time service reports to.
func synchronised() bool {
	state, err := unix.Adjtimex(&unix.Timex{})
	return err == nil && state != unix.TIME_ERROR
}
