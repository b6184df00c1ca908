package deploy_test

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hostedmcp/deploy"
)

// lines are the settings of a unit, without comments.
func lines(unit []byte) []string {
	var out []string
	for line := range strings.Lines(string(unit)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

// What must stand in every unit: issue 5's hardening, and what keeps sessions at a stop.
func TestUnit(t *testing.T) {
	got := lines(deploy.Unit(deploy.UnitOptions{}))
	for _, want := range []string{
		"Type=notify", "ExecStart=/usr/local/bin/hostedmcp -config /etc/hostedmcp/config.toml", "Restart=on-failure", "DynamicUser=yes",
		"StateDirectory=hostedmcp", "StateDirectoryMode=0700", "UMask=0077", "LoadCredential=hostedmcp-key:/etc/hostedmcp/master.key",
		"LoadCredential=provider-secret:/etc/hostedmcp/provider.secret", "CapabilityBoundingSet=", "NoNewPrivileges=yes",
		"ProtectSystem=strict", "ProtectHome=yes", "PrivateUsers=yes", "MemoryDenyWriteExecute=yes", "SystemCallFilter=@system-service",
		"SystemCallFilter=~@privileged @resources", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6", "LimitCORE=0",
		"NoExecPaths=/", "ExecPaths=/usr/local/bin/hostedmcp",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, line := range got {
		if strings.HasPrefix(line, "WatchdogSec") || strings.HasPrefix(line, "User=") {
			t.Errorf("%s: the program pings no watchdog, and the user is made up", line)
		}
		// the program drains for 10 s
		if seconds, ok := strings.CutPrefix(line, "TimeoutStopSec="); ok {
			if n, err := strconv.Atoi(seconds); err != nil || n <= 10 {
				t.Errorf("%s kills an answer that is under way", line)
			}
		}
	}
}

// Where it stands and as whom it runs.
func TestUnitOptions(t *testing.T) {
	for _, row := range []struct {
		name       string
		o          deploy.UnitOptions
		want, none []string
	}{
		{"a user that stays", deploy.UnitOptions{User: "mcp"}, []string{"User=mcp", "StateDirectory=hostedmcp"}, []string{"DynamicUser=yes"}},
		{"another folder in /var/lib", deploy.UnitOptions{DataDir: "/var/lib/mcp/main/"}, []string{"StateDirectory=mcp/main", "WorkingDirectory=%S/mcp/main", "DynamicUser=yes"}, nil},
		{"a folder elsewhere", deploy.UnitOptions{DataDir: "/srv/mcp"}, []string{"User=hostedmcp", "ReadWritePaths=/srv/mcp", "WorkingDirectory=/srv/mcp"}, []string{"DynamicUser=yes", "StateDirectoryMode=0700"}},
		{"out of /var/lib by dots", deploy.UnitOptions{DataDir: "/var/lib/../etc"}, []string{"ReadWritePaths=/var/etc", "User=hostedmcp"}, nil},
		{"a port below 1024", deploy.UnitOptions{LowPort: true}, []string{"CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "AmbientCapabilities=CAP_NET_BIND_SERVICE",
			"PrivateUsers=no", "NoNewPrivileges=yes"}, []string{"CapabilityBoundingSet=", "AmbientCapabilities=", "PrivateUsers=yes"}},
		{"blanks, quotes, specifiers and variables", deploy.UnitOptions{Binary: `/opt/my apps/100%/$HOME/h`, Config: `/etc/a"b\c.toml`},
			[]string{`ExecStart="/opt/my apps/100%%/$$HOME/h" -config "/etc/a\"b\\c.toml"`, `ExecPaths="/opt/my apps/100%%/$HOME/h"`}, nil},
		{"a line of its own", deploy.UnitOptions{DataDir: "/srv/x\nExecStartPre=/bin/evil", User: "a\nUser=root", Config: "/c\r\nUser=root"},
			[]string{"User=aUser=root", "ReadWritePaths=/srv/xExecStartPre=/bin/evil"}, []string{"User=root", "ExecStartPre=/bin/evil"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := lines(deploy.Unit(row.o))
			for _, want := range row.want {
				if !slices.Contains(got, want) {
					t.Errorf("%s is missing in\n%s", want, strings.Join(got, "\n"))
				}
			}
			for _, none := range row.none {
				if slices.Contains(got, none) {
					t.Errorf("%s is there", none)
				}
			}
		})
	}
}

// The command: flags before and behind the word, one line for each mistake.
func TestPrint(t *testing.T) {
	o := deploy.PrintOptions{
		Unit: func(config string) (deploy.UnitOptions, error) {
			if config == "bad.toml" {
				return deploy.UnitOptions{}, errors.New("bad.toml: a fault")
			}
			return deploy.UnitOptions{Config: "/etc/" + config, LowPort: true}, nil
		},
		KeycloakClient: func(config string) ([]byte, error) { return []byte("client of " + config + "\n\n"), nil },
	}
	for line, want := range map[string]string{
		"unit": "DynamicUser=yes", "unit -user bob": "User=bob", "-config c.toml unit": "-config /etc/c.toml", "unit -config c.toml -user bob": "User=bob",
		"-config c.toml keycloak-client": "client of c.toml\n", "alerts": "alert: ", "dashboard": `"panels"`, "-h": "keycloak-client  our client for import",
		"keycloak-client": "error: print keycloak-client: add -config config.toml", "unit -config bad.toml": "error: bad.toml: a fault",
		"": "error: print what? one of unit, alerts, dashboard, keycloak-client", "unit -x": "see hostedmcp print -h", "-x": "see hostedmcp print -h",
	} {
		var out strings.Builder
		err := deploy.Print(strings.Fields(line), &out, o)
		got := out.String()
		if err != nil {
			got += "error: " + err.Error()
		}
		if !strings.Contains(got, want) || strings.HasSuffix(got, "\n\n") || err != nil && out.Len() > 0 {
			t.Errorf("print %s: %s", line, got)
		}
	}
}

var (
	alertName = regexp.MustCompile(`(?m)^      - alert: (\w+)$`)
	firing    = regexp.MustCompile(`(?m)^      - alertname: (\w+)$`)
	quiet     = regexp.MustCompile(`(?m)^      - \{alertname: (\w+), eval_time: \w+, exp_alerts: \[\]\}$`)
	next      = regexp.MustCompile(`Next: .+`)
)

// Each rule has a case in which it fires and one in which it must not (.ci/promtool runs them), and says what to do.
func TestAlerts(t *testing.T) {
	cases, err := os.ReadFile("alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	named := func(pattern *regexp.Regexp, text []byte) (names []string) {
		for _, m := range pattern.FindAllSubmatch(text, -1) {
			names = append(names, string(m[1]))
		}
		return names
	}
	rules := named(alertName, deploy.Alerts())
	fires, keeps := named(firing, cases), named(quiet, cases)
	for _, r := range rules {
		if !slices.Contains(fires, r) || !slices.Contains(keeps, r) {
			t.Errorf("%s: fires in a case %v, keeps quiet in one %v", r, slices.Contains(fires, r), slices.Contains(keeps, r))
		}
	}
	if steps := len(next.FindAll(deploy.Alerts(), -1)); len(rules) < 15 || steps != len(rules) {
		t.Errorf("%d rules, %d name the next step", len(rules), steps)
	}
}

type panel struct {
	ID      int
	Type    string
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr, RefID string }
}

// Grafana takes it: ids are distinct, no panel lies on another, and each asks something.
func TestDashboard(t *testing.T) {
	var d struct {
		UID, Title string
		Panels     []panel
	}
	if err := json.Unmarshal(deploy.Dashboard(), &d); err != nil || d.UID == "" || len(d.Panels) < 20 {
		t.Fatalf("%v, %d panels", err, len(d.Panels))
	}
	cells := map[[2]int]string{}
	ids := map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d %q", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, q := range p.Targets {
			if !strings.Contains(q.Expr, `instance=~"$instance"`) || q.RefID == "" {
				t.Errorf("%q asks %q", p.Title, q.Expr)
			}
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x > 23 {
					t.Fatalf("%q lies on %q", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
	}
}

// What is handed out is the caller's own.
func TestCopies(t *testing.T) {
	clear(deploy.Alerts())
	clear(deploy.Dashboard())
	if deploy.Alerts()[0] == 0 || deploy.Dashboard()[0] == 0 {
		t.Error("a caller changed what the next one gets")
	}
}
