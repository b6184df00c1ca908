package admin

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hostedmcp/auth/story"
	"hostedmcp/storage"
)

// The command line. What is read from it is checked before any configuration is read and before any server is asked, so
// that a typing error costs nothing, and ends with its own exit code: a script can tell "I was called wrongly" from "it
// did not work".

// Env is what a command works with. Run fills in the rest from Load, if that is set: help and a misspelt command
// need no configuration file.
type Env struct {
	Stdin          io.Reader // for one question; nil = nobody answers
	Stdout, Stderr io.Writer
	// Terminal says that a person sits there: tables are aligned, progress is shown, a question may be asked.
	Terminal bool

	// Load reads the configuration that -config names ("" = none was) and returns the fields below. nil = they are set.
	Load func(config string) (Env, error)

	Socket  string                                        // of a server that may be running; "" = there is none
	Open    func(context.Context) (*storage.Store, error) // the closed file
	Options func() storage.Options                        // of the store: where restore puts it
	Site    story.Site                                    // what stories name
	Retire  func() time.Time                              // as Options.Retire, for a closed file
	Hidden  func(definition json.RawMessage) []string     // as Options.Hidden, for a closed file

	Machine  Machine  // what `check` looks at by itself
	Findings Findings // what others look at for it
}

// Command is one command line, for the text of help.
type Command struct {
	Name    string // "grants list"
	Args    string // "ID"; "" = none
	Summary string
}

// Commands lists what Run knows, in the order of help.
func Commands() (out []Command) {
	for _, c := range commands() {
		out = append(out, Command{c.name, c.args, c.summary})
	}
	return out
}

// usageError is a command line that cannot be meant.
type usageError struct{ text string }

// Error implements error.
func (e *usageError) Error() string { return e.text }

// wrongUse is an error for which the exit code is 2: nothing was done, and nothing was looked at.
func wrongUse(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// ExitCode is the exit code for what Run returned: 0 for none, 2 for a command line that cannot be meant, 1 for all else.
func ExitCode(err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return 2
	}
	return 1
}

// call is one command under way.
type call struct {
	env  Env
	opt  options
	args []string
}

// options are the flags of all commands.
type options struct {
	json, yes, force, all  bool
	login                  bool
	master, data, signing  bool
	subject, client, state string
	newKeyFile, config     string
	limit                  int
}

// Run runs a command: name is its first word ("grants"), args what follows. -config FILE, -json and -h may stand
// anywhere behind it. An error is for stderr, one line a fault; ExitCode says how it ends.
func Run(ctx context.Context, name string, args []string, env Env) error {
	cmd, rest, err := find(name, args)
	if err != nil {
		return err
	}
	c := &call{env: env}
	if cmd == nil || wantsHelp(rest) {
		_, err := io.WriteString(env.Stdout, help(name, cmd))
		return err
	}
	if err := c.parse(cmd, rest); err != nil {
		return err
	}
	// Only now: a command line that cannot be meant, and a question for help, need no configuration.
	if env.Load != nil {
		if c.env, err = env.Load(c.opt.config); err != nil {
			return err
		}
		// where a person sits is the caller's to know, not the configuration's
		c.env.Stdin, c.env.Stdout, c.env.Stderr, c.env.Terminal = env.Stdin, env.Stdout, env.Stderr, env.Terminal
	}
	return cmd.run(ctx, c)
}

// find tells the command by one word or two. A group without its second word (nil) is a question for help.
func find(name string, args []string) (*command, []string, error) {
	group := false
	// "hostedmcp -config FILE grants list" comes as grants -config FILE list
	var before []string
	if len(args) > 1 && (args[0] == "-config" || args[0] == "--config") {
		before, args = args[:2], args[2:]
	}
	for _, c := range commands() {
		switch first, second, two := strings.Cut(c.name, " "); {
		case first != name:
		case !two:
			return &c, slices.Concat(before, args), nil
		case len(args) > 0 && args[0] == second:
			return &c, slices.Concat(before, args[1:]), nil
		default:
			group = true
		}
	}
	switch {
	case !group:
		return nil, nil, wrongUse("unknown command %q: see hostedmcp help", name)
	case len(args) == 0 || wantsHelp(args):
		return nil, nil, nil
	}
	return nil, nil, wrongUse("unknown command %q: see hostedmcp %s -h", name+" "+args[0], name)
}

// wantsHelp looks for -h before anything else is judged: who asks for help has often just got something wrong.
func wantsHelp(args []string) bool {
	for _, a := range args {
		switch a {
		case "-h", "-help", "--help":
			return true
		case "--":
			return false
		}
	}
	return false
}

// parse reads flags wherever they stand: people add -json behind what they have typed.
func (c *call) parse(cmd *command, args []string) error {
	flags := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // our usage error says it in one line
	flags.StringVar(&c.opt.config, "config", "", "")
	flags.BoolVar(&c.opt.json, "json", false, "")
	if cmd.flags != nil {
		cmd.flags(flags, &c.opt)
	}
	for {
		if err := flags.Parse(args); err != nil {
			return wrongUse("%v: see hostedmcp %s -h", err, cmd.name)
		}
		// Parse swallows "--" and does not tell: it then stands right before what is left.
		ended := len(args) > flags.NArg() && args[len(args)-flags.NArg()-1] == "--"
		if args = flags.Args(); ended {
			c.args = append(c.args, args...)
			break
		}
		if len(args) == 0 {
			break
		}
		c.args, args = append(c.args, args[0]), args[1:]
	}
	// counted here, so that no command has to
	if n := len(c.args); n < cmd.min || n > cmd.max {
		return wrongUse("hostedmcp %s takes %s: see hostedmcp %s -h", cmd.name, cmd.takes(), cmd.name)
	}
	return nil
}
