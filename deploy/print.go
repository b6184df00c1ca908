package deploy

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// PrintOptions is what the command print asks of the program that it prints for. Both get the configuration that
// -config names, never "".
type PrintOptions struct {
	Unit           func(config string) (UnitOptions, error) // all but the user
	KeycloakClient func(config string) ([]byte, error)      // JSON for Keycloak's import
}

// parts is what Print knows, in the order of help.
var parts = []struct{ name, summary string }{
	{"unit", "systemd unit (-user NAME: as this user, not one that systemd makes up)"},
	{"alerts", "Prometheus alert rules"},
	{"dashboard", "Grafana dashboard"},
	{"keycloak-client", "our client for import in Keycloak; needs -config"},
}

// Parts lists what Print knows: "unit|alerts|...".
func Parts() string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return strings.Join(names, "|")
}

// Print is the command print: one part, for a configuration if one is named. args are the words behind "print"; an error
// is for stderr, in one line.
func Print(args []string, stdout io.Writer, o PrintOptions) error {
	flags := flag.NewFlagSet("print", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says it in one line
	config := flags.String("config", "", "")
	user := flags.String("user", "", "")
	err := flags.Parse(args)
	part := flags.Arg(0)
	if err == nil && flags.NArg() > 1 { // flags may stand behind the word
		err = flags.Parse(flags.Args()[1:])
	}
	var out []byte
	switch {
	case errors.Is(err, flag.ErrHelp):
		out = help()
	case err != nil:
		return fmt.Errorf("%w: see hostedmcp print -h", err)
	default:
		out, err = printed(part, *config, *user, o)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\n", bytes.TrimRight(out, "\n"))
	return err
}

// printed makes one part.
func printed(part, config, user string, o PrintOptions) (out []byte, err error) {
	switch part {
	case "alerts":
		return Alerts(), nil
	case "dashboard":
		return Dashboard(), nil
	case "unit":
		var u UnitOptions
		if config != "" {
			u, err = o.Unit(config)
		}
		u.User = user
		return Unit(u), err
	case "keycloak-client":
		if config == "" {
			return nil, errors.New("print keycloak-client: add -config config.toml: the client is made for its public_url")
		}
		return o.KeycloakClient(config)
	}
	return nil, fmt.Errorf("print what? one of %s", strings.ReplaceAll(Parts(), "|", ", "))
}

// help is the text of print -h.
func help() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "hostedmcp print %s [-config FILE]\n\n", Parts())
	for _, p := range parts {
		fmt.Fprintf(&b, "  %-16s %s\n", p.name, p.summary)
	}
	return b.Bytes()
}
