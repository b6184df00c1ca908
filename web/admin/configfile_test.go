package admin_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hostedmcp/auth/oauth"
	"hostedmcp/web/admin"
)

type settings struct {
	PublicURL string `toml:"public_url"`
	Tokens    struct {
		AccessTTL oauth.Duration `toml:"access_ttl"`
		CodeTTL   oauth.Duration `toml:"code_ttl"`
	} `toml:"tokens"`
	Clients struct {
		Max        int `toml:"register_max"`
		Registered []struct {
			ID string `toml:"id"`
		} `toml:"registered"`
	} `toml:"clients"`
}

func read(t *testing.T, text string) (settings, *admin.ConfigFile, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var s settings
	f, err := admin.ReadConfig(path, &s)
	if err != nil {
		err = errors.New(strings.ReplaceAll(err.Error(), filepath.Dir(path)+string(filepath.Separator), ""))
	}
	return s, f, err
}

func TestReadConfig(t *testing.T) {
	s, _, err := read(t, "public_url = \"http://localhost\"\n[tokens]\naccess_ttl = \"30d\"\n[[clients.registered]]\nid = \"a\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if s.PublicURL != "http://localhost" || s.Tokens.AccessTTL != oauth.Days(30) || s.Clients.Registered[0].ID != "a" {
		t.Fatalf("read %+v", s)
	}
}

// Every fault has its line, and all come at once: an operator fixes a file in one go.
func TestReadConfigFaults(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"unknown key", "public_ulr = \"x\"\n", []string{"config.toml:1: unknown key public_ulr: did you mean public_url?"}},
		{"key in the wrong section", "access_ttl = \"1h\"\n", []string{"config.toml:1: unknown key access_ttl: did you mean tokens.access_ttl?"}},
		{"far from everything", "zzzzzzzz = 1\n", []string{"config.toml:1: unknown key zzzzzzzz\n"}},
		{"wrong type", "[clients]\nregister_max = \"many\"\n", []string{"config.toml:2: clients.register_max"}},
		{"wrong duration", "[tokens]\naccess_ttl = \"1 hour\"\n", []string{"config.toml:2:", "is not a length of time: write 90s, 10m, 12h or 30d"}},
		{"syntax", "public_url = \n", []string{"config.toml:1:"}},
		{
			"all at once", "public_ulr = \"x\"\n[tokens]\naccess_ttl = \"soon\"\ncode_tll = \"1m\"\n[clients]\nregister_max = true\n",
			[]string{"config.toml:1: unknown key", "config.toml:3:", "config.toml:4: unknown key tokens.code_tll: did you mean tokens.code_ttl?", "config.toml:6:"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := read(t, tt.text)
			if err == nil {
				t.Fatal("no fault found")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error()+"\n", want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
		})
	}
}

func TestReadConfigNoFile(t *testing.T) {
	_, err := admin.ReadConfig(filepath.Join(t.TempDir(), "none.toml"), &settings{})
	if err == nil || !strings.Contains(err.Error(), "config.example.toml") {
		t.Fatalf("got %v, want the way out named", err)
	}
}

func TestLocate(t *testing.T) {
	_, f, err := read(t, "public_url = \"x\"\n\n[tokens]\naccess_ttl = \"1h\"\n\n[[clients.registered]]\nid = \"a\"\n\n[[clients.registered]]\nid = \"a\"\n")
	if err != nil {
		t.Fatal(err)
	}
	faults := errors.Join(errors.New("tokens.access_ttl: too short"), errors.Join(errors.New("tokens.code_ttl: too long")),
		errors.New("clients.registered[1]: id: there twice"), errors.New("provider.issuer: missing"))
	lines := strings.Split(f.Locate(faults).Error(), "\n")
	want := []string{
		":4: tokens.access_ttl: too short", ":3: tokens.code_ttl: too long", ":9: clients.registered[1]: id: there twice",
		".toml: provider.issuer: missing",
	}
	for i, w := range want {
		if !strings.HasSuffix(lines[i], w) {
			t.Errorf("line %d is %q, want it to end in %q", i, lines[i], w)
		}
	}
	if f.Locate(nil) != nil {
		t.Error("no fault became one")
	}
}
