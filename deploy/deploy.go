package deploy

import (
	"bytes"
	_ "embed"
	"path"
	"strings"
	"text/template"
)

//go:embed hostedmcp.service
var unit string

//go:embed alerts.yml
var alerts []byte

//go:embed dashboard.json
var dashboard []byte

// stateRoot is where systemd makes the folder of StateDirectory.
const stateRoot = "/var/lib"

// UnitOptions is what the unit names. Every zero value has a default; paths are absolute.
type UnitOptions struct {
	Binary  string // "" = /usr/local/bin/hostedmcp
	Config  string // "" = /etc/hostedmcp/config.toml
	User    string // "" = DynamicUser: systemd makes one up. A data folder outside of /var/lib needs a user that stays
	DataDir string // "" = /var/lib/hostedmcp; the same as data_dir in the configuration
	LowPort bool   // it listens below 1024, for which it needs a capability. Without: it gets none
}

// withDefaults fills in what is empty, and drops what would be more than a word of its line.
func (o UnitOptions) withDefaults() UnitOptions {
	or := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	or(&o.Binary, "/usr/local/bin/hostedmcp")
	or(&o.Config, "/etc/hostedmcp/config.toml")
	or(&o.DataDir, stateRoot+"/hostedmcp")
	for _, s := range []*string{&o.Binary, &o.Config, &o.User, &o.DataDir} {
		*s = strings.Map(noControl, *s)
	}
	o.DataDir = path.Clean(o.DataDir)
	if o.User == "" && o.State() == "" {
		o.User = "hostedmcp"
	}
	return o
}

// State returns the data folder as StateDirectory names it, "" if it does not lie in /var/lib.
func (o UnitOptions) State() string {
	name, ok := strings.CutPrefix(o.DataDir, stateRoot+"/")
	if !ok {
		return ""
	}
	return name
}

var unitTemplate = template.Must(template.New("unit").Funcs(template.FuncMap{"word": word, "argument": argument}).Parse(unit))

// Unit returns the systemd unit for o. It is complete and hardened; every setting that somebody may have to change says
// so in a comment.
func Unit(o UnitOptions) []byte {
	var b bytes.Buffer
	if err := unitTemplate.Execute(&b, o.withDefaults()); err != nil {
		panic(err) // our own template over our own struct: deploy_test runs it
	}
	return b.Bytes()
}

// noControl drops what would begin a line of its own in a unit.
func noControl(r rune) rune {
	if r < ' ' || r == 0x7f {
		return -1
	}
	return r
}

// word writes a path so that systemd reads it back as one: quotes for blanks, and its specifiers taken literally
// (systemd.syntax(7), systemd.unit(5)).
func word(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(s)
	if strings.ContainsAny(s, " '\"") {
		return `"` + s + `"`
	}
	return s
}

// argument is a word of a command, where a dollar would name a variable (systemd.service(5)).
func argument(s string) string { return strings.ReplaceAll(word(s), "$", "$$") }

// Alerts returns the alert rules as Prometheus reads them (rule_files).
func Alerts() []byte { return bytes.Clone(alerts) }

// Dashboard returns the dashboard as Grafana imports it.
func Dashboard() []byte { return bytes.Clone(dashboard) }
