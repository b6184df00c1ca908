package admin_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hostedmcp/storage"
	"hostedmcp/web/admin"
)

// Command lines that cannot be meant end with 2, before any configuration is read, and say where help is.
func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		line string
		want string
	}{
		{"frobnicate", `unknown command "frobnicate": see hostedmcp help`},
		{"grants frobnicate", `unknown command "grants frobnicate": see hostedmcp grants -h`},
		{"explain", "hostedmcp explain takes WORD: see hostedmcp explain -h"},
		{"explain a b", "takes WORD"},
		{"grants list x", "takes no arguments"},
		{"grants list -frob", "see hostedmcp grants list -h"},
		{"grants list -limit 0", "-limit must be at least 1"},
		{"grants list -limit x", "see hostedmcp grants list -h"},
		{"grants list -state dead", "-state must be unclaimed, working,"},
		{"grants show", "takes ID"},
		{"grants end", "name one connection, or all of a user with -subject"},
		{"grants end ID -subject S", "name one connection, or all of a user with -subject"},
		{"backup", "takes FILE"},
		{"restore", "takes FILE"},
		{"rotate-key", "say which key: -master, -data or -signing"},
		{"rotate-key -master -data", "say which key"},
		{"rotate-key -data -new-key-file f", "-new-key-file goes with -master"},
		{"clock accept now", "takes no arguments"},
		{"clock set", `unknown command "clock set"`},
		{"tools accept", "takes CONNECTOR [TOOL]"},
		{"tools forget", "takes CONNECTOR [TOOL]"},
		{"tools list a b", "takes [CONNECTOR]"},
		{"check it", "takes no arguments"},
		{"check -config", "see hostedmcp check -h"},
	} {
		words := strings.Fields(tt.line)
		env := admin.Env{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}}
		if strings.Contains(tt.want, "takes") || strings.Contains(tt.want, "see hostedmcp") {
			env.Load = func(string) (admin.Env, error) {
				t.Errorf("%s: the configuration was read", tt.line)
				return admin.Env{}, nil
			}
		}
		err := admin.Run(t.Context(), words[0], words[1:], env)
		if admin.ExitCode(err) != 2 || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.line, err, tt.want)
		}
	}
	if admin.ExitCode(nil) != 0 || admin.ExitCode(errors.New("fault")) != 1 {
		t.Error("exit codes")
	}
}

// Each command and each group has a help text, which needs no configuration; the list names them all.
func TestHelp(t *testing.T) {
	all := admin.Commands()
	if len(all) != 13 {
		t.Errorf("%d commands", len(all))
	}
	for _, c := range all {
		if c.Summary == "" || strings.HasSuffix(c.Summary, ".") {
			t.Errorf("%s: summary %q", c.Name, c.Summary)
		}
		for _, ask := range []string{"-h", "-help", "--help"} {
			var out bytes.Buffer
			env := admin.Env{Stdout: &out, Load: func(string) (admin.Env, error) { return admin.Env{}, errors.New("read") }}
			words := append(strings.Fields(c.Name), ask)
			if err := admin.Run(t.Context(), words[0], words[1:], env); err != nil {
				t.Errorf("%v: %v", words, err)
			}
			has(t, out.String(), "hostedmcp "+strings.TrimSpace(c.Name+" "+c.Args)+" -config FILE", "-json", "2 for a command line")
			for line := range strings.Lines(out.String()) {
				if len(line) > 125 {
					t.Errorf("%s: a line of %d characters: %s", c.Name, len(line), line)
				}
			}
		}
	}
	for _, words := range [][]string{{"grants"}, {"grants", "-h"}, {"tools"}} {
		var out bytes.Buffer
		if err := admin.Run(t.Context(), words[0], words[1:], admin.Env{Stdout: &out}); err != nil {
			t.Error(err)
		}
		has(t, out.String(), "hostedmcp "+words[0]+" ", "COMMAND -h tells more")
	}
}

// Flags may stand anywhere; -- ends them.
func TestFlagsAnywhere(t *testing.T) {
	r := newRig(t)
	r.serve()
	for _, line := range [][]string{
		{"explain", "-json", idBob}, {"explain", idBob, "-json"}, {"explain", "-json", "--", idBob}, {"explain", "--json", idBob, "-limit", "3"},
	} {
		if got := r.run(line...); got.code != 0 || !strings.HasPrefix(got.out, "{") {
			t.Errorf("%v: %+v", line, got)
		}
	}
	if got := r.run("explain", "--", "a", "-json"); got.code != 2 {
		t.Errorf("%+v", got)
	}
	if got := r.run("explain", "--", "-json"); got.code != 1 || !strings.Contains(got.err, "nothing is known of -json") {
		t.Errorf("%+v", got)
	}
}

// -config is handed to Load; what Load says is the answer.
func TestLoad(t *testing.T) {
	r := newRig(t)
	r.serve()
	env := r.env
	var asked string
	r.env = admin.Env{Load: func(config string) (admin.Env, error) { asked = config; return env, nil }}
	if got := r.run("grants", "list", "-config", "x.toml"); got.code != 0 || asked != "x.toml" || !strings.Contains(got.out, idBob) {
		t.Errorf("asked for %q: %+v", asked, got)
	}
	for _, line := range [][]string{
		{"grants", "-config", "y.toml", "list"}, {"grants", "list", "--config=y.toml"}, {"explain", "-config", "y.toml", idBob}, {"explain", idBob, "-config", "y.toml"},
	} {
		if got := r.run(line...); got.code != 0 || asked != "y.toml" {
			t.Errorf("%v asked for %q: %+v", line, asked, got)
		}
		asked = ""
	}
	r.env.Load = func(string) (admin.Env, error) { return admin.Env{}, errors.New("x.toml:3: unknown key") }
	if got := r.run("grants", "list"); got.code != 1 || got.err != "x.toml:3: unknown key\n" {
		t.Errorf("%+v", got)
	}
}

// A command says what is in its way, and makes nothing where there is nothing.
func TestConnect(t *testing.T) {
	t.Run("no store", func(t *testing.T) {
		r := newRig(t)
		r.close()
		r.opts.Dir = filepath.Join(filepath.Dir(r.opts.Dir), "elsewhere")
		got := r.run("grants", "list")
		has(t, got.err, "no hostedmcp is running, and there is no store", "is data_dir right")
		if _, err := os.Stat(r.opts.Dir); got.code != 1 || err == nil {
			t.Errorf("code %d, folder made: %v", got.code, err)
		}
	})
	t.Run("a server with another socket", func(t *testing.T) {
		r := newRig(t) // holds the file
		got := r.run("grants", "list")
		if got.code != 1 {
			t.Errorf("%+v", got)
		}
		has(t, got.err, "a hostedmcp has the store open, but none answers at "+r.socket, "admin.socket")
	})
	t.Run("a fault of the store", func(t *testing.T) {
		r := newRig(t)
		r.close()
		r.env.Open = func(context.Context) (*storage.Store, error) {
			return nil, errors.New("the master key is missing: restore it")
		}
		if got := r.run("grants", "list"); got.code != 1 || got.err != "the master key is missing: restore it\n" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a stale socket", func(t *testing.T) {
		r := newRig(t)
		r.serve()
		text := r.socket + ".keep"
		if err := os.Link(r.socket, text); err != nil {
			t.Fatal(err)
		}
		r.close()
		if err := os.Rename(text, r.socket); err != nil {
			t.Fatal(err)
		}
		if got := r.run("grants", "list"); got.code != 0 || !strings.Contains(got.out, idBob) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("no socket configured", func(t *testing.T) {
		r := newRig(t)
		r.close()
		r.env.Socket = ""
		if got := r.run("grants", "list"); got.code != 0 {
			t.Errorf("%+v", got)
		}
	})
}
