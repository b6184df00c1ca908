package admin

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
)

// The table of commands, with everything that is said of each.

// command is one line of the table that dispatch, usage errors and help all read.
type command struct {
	name     string // one word or two
	args     string // what it takes, as help shows it
	min, max int    // how many of them
	summary  string // one line
	text     string // the rest of its help
	flags    func(*flag.FlagSet, *options)
	run      func(context.Context, *call) error
}

// takes is what a usage error says.
func (c *command) takes() string {
	if c.args == "" {
		return "no arguments"
	}
	return c.args
}

// commands is the table. A variable could not be: help, which it leads to, reads it.
func commands() []command {
	return slices.Concat(connectionCommands(), toolCommands(), serverCommands())
}

// Texts of help stand here, beside the flags that they explain: package flag would print its own list without an order
// or a reason.

// connectionCommands are about people and what they have connected.
func connectionCommands() []command {
	return []command{
		{
			name: "explain", args: "WORD", min: 1, max: 1, run: explain,
			summary: "why a connection is as it is, and what to change",
			text: `WORD is the id of a connection, a user's subject or e-mail address, or a request id from an error page, an error
answer or the log: what it is, is found out by looking it up. Connections that ended are remembered for
tokens.tombstone_ttl (90 days). Requests that were refused before there was a connection are remembered by a running
server only, the latest 10,000.

  -limit N    connections of a user that are told (20)`,
			flags: func(f *flag.FlagSet, o *options) { f.IntVar(&o.limit, "limit", defaultStories, "") },
		},
		{
			name: "grants list", run: listGrants,
			summary: "connections, one a line",
			text: `  -subject S  of one user: subject or e-mail address
  -client C   of a client: its id, or part of its name
  -state S    unclaimed, working, trouble, in_doubt, quarantined, ended; living = all but ended
  -limit N    at most N (50)
  -all        all of them`,
			flags: func(f *flag.FlagSet, o *options) {
				f.StringVar(&o.subject, "subject", "", "")
				f.StringVar(&o.client, "client", "", "")
				f.StringVar(&o.state, "state", "", "")
				f.IntVar(&o.limit, "limit", defaultPage, "")
				f.BoolVar(&o.all, "all", false, "")
			},
		},
		{name: "grants show", args: "ID", min: 1, max: 1, run: showGrant, summary: "one connection; explain tells its story"},
		{
			name: "grants end", args: "ID, or -subject S", max: 1, run: endGrants,
			summary: "end one connection, or all of a user",
			text: `The client's tokens are dead at once, and the provider is asked to revoke its own; a server that does not run asks when
it is started. The user can connect again: to keep somebody out, switch the account off at the provider first.

  -subject S  all connections of a user: subject or e-mail address
  -yes        do not ask on a terminal`,
			flags: func(f *flag.FlagSet, o *options) {
				f.StringVar(&o.subject, "subject", "", "")
				f.BoolVar(&o.yes, "yes", false, "")
			},
		},
	}
}

// serverCommands are about the store, its keys and the machine.
func serverCommands() []command {
	return []command{
		{
			name: "backup", args: "FILE", min: 1, max: 1, run: backup,
			summary: "a consistent copy of the store, while the server runs",
			text: `FILE gets mode 0600 and is whole or not there; "-" is standard output. The master key is not in it: keep a copy of it
elsewhere, for without it no backup can be read.

  -force      overwrite FILE`,
			flags: func(f *flag.FlagSet, o *options) { f.BoolVar(&o.force, "force", false, "") },
		},
		{
			name: "restore", args: "FILE", min: 1, max: 1, run: restore,
			summary: "put a backup in the place of the store; the server must be stopped",
			text: `FILE is verified first. Connections that ended since the backup stay ended, if the file that is replaced can be read.
That file is kept beside the new one. What the provider has given since is in doubt, and is asked for anew.`,
		},
		{
			name: "rotate-key", args: "-master, -data or -signing", run: rotateKey,
			summary: "replace a key, while the server runs",
			text: `  -master     the key outside of the store, which opens it
  -data       the key that seals the records: all are sealed anew
  -signing    the key that signs access tokens; the old one is accepted until its tokens have run out
  -new-key-file FILE
              with -master: write the new key there, for one that cannot be replaced in its place (a systemd credential)`,
			flags: func(f *flag.FlagSet, o *options) {
				f.BoolVar(&o.master, "master", false, "")
				f.BoolVar(&o.data, "data", false, "")
				f.BoolVar(&o.signing, "signing", false, "")
				f.StringVar(&o.newKeyFile, "new-key-file", "", "")
			},
		},
		{
			name: "clock accept", run: acceptClock,
			summary: "the clock is right: things end by time again",
			text: `After a jump of more than an hour that the system does not vouch for, nothing ends by time (reason clock_jump). Look at
the date that it shows first.`,
		},
		{
			name: "check", run: check,
			summary: "look at the machine, the provider and the connectors",
			text: `A line for each thing looked at: ok, warn or FAIL, with the step that mends it. It ends with 1 if there is a FAIL.
Run it as the user who runs hostedmcp, on the machine that it runs on.

  -login      go through a sign-in at the provider as well: is a refresh token really issued, for how long, and does it
              change? What it is given is given back`,
			flags: func(f *flag.FlagSet, o *options) { f.BoolVar(&o.login, "login", false, "") },
		},
	}
}

// toolCommands are about the definitions that connectors give.
func toolCommands() []command {
	return []command{
		{
			name: "tools diff", args: "[CONNECTOR]", max: 1, run: diffTools,
			summary: "tool definitions that changed and wait to be accepted",
			text: `Characters that cannot be seen are shown as \u{200b}; a definition that holds some is named, changed or not. Where a
connector gives its users different definitions of a tool, they wait one after another.`,
		},
		{
			name: "tools accept", args: "CONNECTOR [TOOL]", min: 1, max: 2, run: acceptTools,
			summary: "serve changed tool definitions from now on",
			text: `A terminal shows what changed, and asks. What changes once more in the meantime is not accepted.

  -yes        do not ask on a terminal`,
			flags: func(f *flag.FlagSet, o *options) { f.BoolVar(&o.yes, "yes", false, "") },
		},
		{
			name: "tools list", args: "[CONNECTOR]", max: 1, run: listTools,
			summary: "the tools whose definitions are pinned",
			text: `A definition is pinned when it is first seen. ACCEPTED counts those that are served: more than one where users get
different ones. A tool that its connector offers no more stays pinned: it must come back as it was.`,
		},
		{
			name: "tools forget", args: "CONNECTOR [TOOL]", min: 1, max: 2, run: forgetTools,
			summary: "drop what is pinned: the next definition is a first sight",
			text: `It makes room when a connector has had too many tools, and cleans up after one that was taken out of the configuration.
Without TOOL it keeps the tools that a changed definition waits for.

  -yes        do not ask on a terminal`,
			flags: func(f *flag.FlagSet, o *options) { f.BoolVar(&o.yes, "yes", false, "") },
		},
	}
}

// help is the text for a command, or for a group of them.
func help(name string, cmd *command) string {
	var b strings.Builder
	// a group alone: what there is in it
	if cmd == nil {
		for _, c := range commands() {
			if strings.HasPrefix(c.name, name+" ") {
				fmt.Fprintf(&b, "  hostedmcp %-32s %s\n", strings.TrimSpace(c.name+" "+c.args), c.summary)
			}
		}
		fmt.Fprintf(&b, "\nhostedmcp %s COMMAND -h tells more.\n", name)
		return b.String()
	}
	fmt.Fprintf(&b, "hostedmcp %s -config FILE\n\n%s%s.\n", strings.TrimSpace(cmd.name+" "+cmd.args),
		strings.ToUpper(cmd.summary[:1]), cmd.summary[1:])
	if cmd.text != "" {
		fmt.Fprintf(&b, "\n%s\n", cmd.text)
	}
	b.WriteString("\n" + common)
	return b.String()
}

// common ends the help of each command.
const common = `  -config FILE  the configuration that the server runs with
  -json         the answer as JSON

It asks the running server through its unix socket, or opens the store if none runs. It ends with 0, with 1 for a
fault, with 2 for a command line that cannot be meant.
`
