package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// The operator's side: the commands of the binary under test, run as a person at a shell of the machine runs them.

// command is one command under way.
type command struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
	name     string
}

// operator begins a command against the server, or on its closed file if it does not run.
func (s *server) operator(args ...string) (*command, error) {
	c := &command{name: strings.Join(args, " ")}
	c.cmd = exec.Command(s.run.bin, append(args, "-config", s.config)...)
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.err
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c, c.cmd.Start()
}

// wait returns what it printed on stdout. An exit code that is not 0 is an error with the words of stderr.
func (c *command) wait() (string, error) {
	err := c.cmd.Wait()
	var code *exec.ExitError
	if errors.As(err, &code) {
		err = fmt.Errorf("hostedmcp %s: %w: %s", c.name, err, strings.TrimSpace(c.err.String()))
	}
	return c.out.String(), err
}

// do runs a command to its end.
func (s *server) do(args ...string) (string, error) {
	c, err := s.operator(args...)
	if err != nil {
		return "", err
	}
	out, err := c.wait()
	s.run.transcript.add(s.name+": "+c.name, out+c.err.String())
	return out, err
}

// ask runs a command with -json and reads its answer.
func (s *server) ask(answer any, args ...string) error {
	out, err := s.do(append(args, "-json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), answer); err != nil {
		return fmt.Errorf("hostedmcp %v: %w in %s", args, err, out)
	}
	return nil
}

// transcript is everything that commands printed.
type transcript struct {
	mu    sync.Mutex
	texts []text
}

// text is something that was shown to somebody.
type text struct{ from, said, owner string }

func (t *transcript) add(from, said string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.texts = append(t.texts, text{from: from, said: said})
}

// grantLine is what this program reads of a line of grants list.
type grantLine struct{ ID, State, Reason string }

// grantsOf lists the connections of a user.
func (s *server) grantsOf(user string) ([]grantLine, error) {
	var page struct{ Grants []grantLine }
	err := s.ask(&page, "grants", "list", "-subject", "sub-"+user, "-all")
	return page.Grants, err
}

// story is what this program reads of explain.
type story struct {
	Reason, State, Headline string
}

type explanation struct {
	Found            string
	Stories, Refused []story
}

func (s *server) explain(word string) (e explanation, err error) {
	err = s.ask(&e, "explain", word)
	return e, err
}

// withKeys gives another server's data folder the master keys of this one: all an operator needs besides a backup.
func (s *server) withKeys(to *server) error {
	if err := os.MkdirAll(to.data, 0o700); err != nil {
		return err
	}
	keys, err := filepath.Glob(filepath.Join(s.data, "master.key*"))
	if err != nil {
		return err
	}
	for _, path := range keys {
		if err := copyFile(filepath.Join(to.data, filepath.Base(path)), path); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(to, from string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}
