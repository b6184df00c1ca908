package upstream_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

func goodConfig() upstream.Config {
	c := upstream.DefaultConfig()
	c.Issuer, c.ClientID, c.ClientSecretFile = "https://sso.example.com/realms/main", "hostedmcp", "secret"
	return c
}

// The defaults of protocol.md §9, and the names of all keys.
func TestConfigKeys(t *testing.T) {
	const text = `
issuer = "https://sso.example.com/realms/main"
client_id = "hostedmcp"
client_secret_file = "secret"
scopes = ["openid", "offline_access"]
refresh = "required"
rotation = "reuse"
claims = ["name", "preferred_username", "email", "groups"]
timeout = "15s"
token_wait = "5s"
margin = "60s"
recheck = "15m"
parallel = 16
holdoff = "10s"
suspect_after = "10m"
jwks_stale = "24h"
keepalive_offline = "24h"
keepalive_online = false
admin_client_id = ""
admin_client_secret_file = ""
`
	var c upstream.Config
	if err := toml.NewDecoder(strings.NewReader(text)).DisallowUnknownFields().Decode(&c); err != nil {
		t.Fatal(err)
	}
	written, err := toml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	defaults, err := toml.Marshal(goodConfig())
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != string(defaults) {
		t.Errorf("defaults differ:\n%s\nwant\n%s", defaults, written)
	}
	if n, want := strings.Count(string(written), " = "), strings.Count(text, " = "); n != want {
		t.Errorf("%d keys, %d in protocol.md", n, want)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestConfigFaults(t *testing.T) {
	for _, row := range []struct {
		words  string
		change func(*upstream.Config)
	}{
		{"provider.issuer: missing", func(c *upstream.Config) { c.Issuer = "" }},
		{"provider.issuer: use https", func(c *upstream.Config) { c.Issuer = "http://sso.example.com" }},
		{"provider.issuer: use https", func(c *upstream.Config) { c.Issuer = "ftp://sso.example.com" }},
		{"provider.issuer: not a URL", func(c *upstream.Config) { c.Issuer = "sso.example.com" }},
		{"provider.issuer: not a URL", func(c *upstream.Config) { c.Issuer = "https://sso.example.com?x" }},
		{"provider.issuer: not a URL", func(c *upstream.Config) { c.Issuer = "https://sso.example.com#" }},
		{"provider.issuer: not a URL", func(c *upstream.Config) { c.Issuer = "https://me@sso.example.com" }},
		{"provider.client_id: missing", func(c *upstream.Config) { c.ClientID = "" }},
		{"provider.client_secret_file: missing", func(c *upstream.Config) { c.ClientSecretFile = "" }},
		{"provider.scopes: add openid", func(c *upstream.Config) { c.Scopes = []string{"email"} }},
		{"provider.scopes: each", func(c *upstream.Config) { c.Scopes = []string{"openid", "a b"} }},
		{"provider.scopes: each", func(c *upstream.Config) { c.Scopes = []string{"openid", "openid"} }},
		{"provider.refresh:", func(c *upstream.Config) { c.Refresh = "no" }},
		{"provider.rotation:", func(c *upstream.Config) { c.Rotation = "" }},
		{"provider.claims:", func(c *upstream.Config) { c.Claims = []string{"name", "name"} }},
		{"provider.parallel:", func(c *upstream.Config) { c.Parallel = 0 }},
		{"provider.timeout:", func(c *upstream.Config) { c.Timeout = 0 }},
		{"provider.token_wait:", func(c *upstream.Config) { c.TokenWait = 0 }},
		{"provider.margin:", func(c *upstream.Config) { c.Margin = oauth.Days(1) }},
		{"provider.recheck:", func(c *upstream.Config) { c.Recheck = 0 }},
		{"provider.holdoff:", func(c *upstream.Config) { c.Holdoff = oauth.Days(1) }},
		{"provider.suspect_after:", func(c *upstream.Config) { c.SuspectAfter = 0 }},
		{"provider.jwks_stale:", func(c *upstream.Config) { c.JWKSStale = 0 }},
		{"provider.keepalive_offline:", func(c *upstream.Config) { c.KeepaliveOffline = oauth.Days(400) }},
		{"provider.admin_client_id:", func(c *upstream.Config) { c.AdminClientID = "doctor" }},
		{"provider.admin_client_id:", func(c *upstream.Config) { c.AdminClientSecretFile = "secret" }},
	} {
		c := goodConfig()
		row.change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), row.words) {
			t.Errorf("%s: got %v", row.words, err)
		}
	}
	if err := (upstream.Config{}).Validate(); strings.Count(err.Error(), "\n") < 8 {
		t.Errorf("not all faults at once:\n%v", err)
	}
	for _, issuer := range []string{"http://127.0.0.1:8180/realms/demo", "http://localhost", "http://[::1]:80", "https://a/"} {
		c := goodConfig()
		c.Issuer = issuer
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", issuer, err)
		}
	}
}

func TestConfigWithDemo(t *testing.T) {
	if err := upstream.DefaultConfig().ValidateDemo(); err != nil {
		t.Error(err)
	}
	c := goodConfig()
	c.Parallel = 0
	err := c.ValidateDemo()
	for _, key := range []string{"provider.issuer", "provider.client_id", "provider.client_secret_file", "provider.parallel"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not named in %v", key, err)
		}
	}
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	for i, row := range []struct {
		content string
		mode    os.FileMode
		want    oauth.Secret
		words   string
	}{
		{"s3cret", 0o600, "s3cret", ""},
		{"s3cret\n", 0o400, "s3cret", ""},
		{"s3cret\r\n", 0o600, "s3cret", ""},
		{" s3cret \n\n", 0o600, " s3cret \n", ""},
		{"s3cret", 0o640, "", "chmod 600 "},
		{"s3cret", 0o604, "", "chmod 600 "},
		{"", 0o600, "", "empty"},
		{"\n", 0o600, "", "empty"},
		{strings.Repeat("x", 64<<10+1), 0o600, "", "longer"},
	} {
		path := filepath.Join(dir, string(rune('a'+i)))
		if err := os.WriteFile(path, []byte(row.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, row.mode); err != nil {
			t.Fatal(err)
		}
		got, err := upstream.ReadSecret(path)
		if got != row.want || (err == nil) != (row.words == "") {
			t.Errorf("row %d: %v", i, err)
		}
		if err != nil && (!strings.Contains(err.Error(), row.words) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("row %d: %v", i, err)
		}
	}
	for path, words := range map[string]string{dir: "not a regular file", filepath.Join(dir, "absent"): "no such file"} {
		if _, err := upstream.ReadSecret(path); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// systemd hands a credential over with an access list, which shows as a group bit.
func TestReadSecretOfSystemd(t *testing.T) {
	const root = "/run/credentials"
	dir := filepath.Join(root, "hostedmcp-test.service")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Skip("only root can make what systemd makes: ", err)
	}
	t.Cleanup(func() {
		os.RemoveAll(dir)
		os.Remove(root) // stays if systemd has others in it
	})
	path := filepath.Join(dir, "provider-secret")
	if err := os.WriteFile(path, []byte("s3cret\n"), 0o440); err != nil {
		t.Fatal(err)
	}
	if got, err := upstream.ReadSecret(path); got != "s3cret" || err != nil {
		t.Errorf("%v", err)
	}
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("s3cret"), 0o440); err != nil {
		t.Fatal(err)
	}
	if _, err := upstream.ReadSecret(dir + "/../../.." + outside); err == nil {
		t.Error("a path that only begins there is taken")
	}
}
