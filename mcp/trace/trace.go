package trace

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// Env is what the command has of the world.
type Env struct {
	Stdout, Stderr io.Writer
	Terminal       bool             // Stdout is a terminal: colours
	Open           func(url string) // opens the login URL in a browser, on a goroutine of its own; nil = it is only printed
	HTTP           *http.Client     // nil = our own; redirects, cookies and its timeout are ours in any case
}

// ErrUsage is what errors of wrong flags or arguments are: exit code 2.
var ErrUsage = errors.New("usage")

// Failure says that a step failed: exit code 1.
type Failure struct{ Step string }

// Error names the step.
func (f *Failure) Error() string { return "trace: failed at step " + f.Step }

// ExitCode is the exit code that an error of Run stands for: 0 all good, 2 usage, 1 all else.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrUsage):
		return 2
	}
	return 1
}

const usage = `hostedmcp trace URL shows an MCP server as a client sees it, step by step.

  hostedmcp trace https://mcp.example.com/mcp

  -as CLIENT            behave like this client: %s
  -client-id ID         use this client, register none (a https URL is a client ID metadata document)
  -client-secret-file F its secret
  -scope "A B"          ask for this scope (default: as the server or the client says)
  -no-login             stop before the login
  -callback URL         take the answer at this loopback URL, port 0 = any; none = as -no-login
  -call NAME            call this tool (default: whoami, if there is one)
  -args JSON            its arguments (default {})
  -retry                send the previous refresh token once more; it may end the connection
  -keep                 do not revoke the tokens at the end
  -json                 one JSON object, the steps as an array
  -timeout D            for one answer (default 15s)
  -wait D               for the person to sign in (default 5m)

Exit code: 0 all good, 1 a step failed (the last line names it), 2 usage.
`

// options are the flags.
type options struct {
	target, as, clientID, secretFile, scope, callback, call, args string
	noLogin, retry, keep, json                                    bool
	timeout, wait                                                 time.Duration
}

// Run traces the server that args name. The error is an ErrUsage before anything is sent, a *Failure if a step
// failed, or what kept it from going on at all.
func Run(ctx context.Context, args []string, env Env) error {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, err = fmt.Fprintf(env.Stdout, usage, strings.Join(Clients(), ", "))
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w (see hostedmcp trace -h)", ErrUsage, err)
	}
	t, err := newTracer(o, env)
	if err != nil {
		return err
	}
	defer t.close()
	t.walk(ctx)
	if err := t.report.end(o.target, o.as, t.failed); err != nil {
		return err
	}
	if t.failed != "" {
		return &Failure{t.failed}
	}
	return nil
}

// parse reads the flags, before or after the URL.
func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("trace", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.as, "as", "", "")
	f.StringVar(&o.clientID, "client-id", "", "")
	f.StringVar(&o.secretFile, "client-secret-file", "", "")
	f.StringVar(&o.scope, "scope", "", "")
	f.BoolVar(&o.noLogin, "no-login", false, "")
	f.StringVar(&o.callback, "callback", "", "")
	f.StringVar(&o.call, "call", "", "")
	f.StringVar(&o.args, "args", "{}", "")
	f.BoolVar(&o.retry, "retry", false, "")
	f.BoolVar(&o.keep, "keep", false, "")
	f.BoolVar(&o.json, "json", false, "")
	f.DurationVar(&o.timeout, "timeout", 15*time.Second, "")
	f.DurationVar(&o.wait, "wait", 5*time.Minute, "")
	for {
		if err := f.Parse(args); err != nil {
			return o, err
		}
		if f.NArg() == 0 {
			return o, o.check()
		}
		if o.target != "" {
			return o, fmt.Errorf("%q is one argument too many", f.Arg(0))
		}
		o.target, args = f.Arg(0), f.Args()[1:]
	}
}

// check reports the first wrong flag. What needs the network or a file is no usage error.
func (o options) check() error {
	u, err := url.Parse(o.target)
	_, known := clients[o.as]
	_, badScope := oauth.ParseScope(o.scope)
	_, badArgs := oauth.ParseObject([]byte(o.args), 100)
	switch {
	case o.target == "":
		return errors.New("name the URL of an MCP server")
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Fragment != "" || u.User != nil:
		return errors.New("the URL must be http or https, without user name and fragment")
	case !known:
		return fmt.Errorf("-as %q is not known; known are %s", o.as, strings.Join(Clients(), ", "))
	case badScope != nil:
		return fmt.Errorf("-scope: %w", badScope)
	case badArgs != nil:
		return fmt.Errorf("-args: %w", badArgs)
	case o.secretFile != "" && o.clientID == "":
		return errors.New("-client-secret-file goes with -client-id")
	case o.callback != "" && o.callback != "none" && !oauth.IsLoopbackURL(fixedPort(o.callback)):
		return errors.New("-callback: use http://127.0.0.1:PORT/PATH, or none")
	case o.timeout <= 0 || o.wait <= 0:
		return errors.New("-timeout and -wait must be longer than nothing")
	}
	return nil
}

// readSecret reads the client's secret without the line break that editors add.
func readSecret(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	data, err := os.ReadFile(file)
	return strings.TrimRight(string(data), "\r\n"), err
}
