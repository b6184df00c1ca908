package web_test

import (
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"hostedmcp/web"
)

// TestConfig: defaults of protocol.md §9, and every fault named by its key.
func TestConfig(t *testing.T) {
	type file struct {
		TLS     web.TLSConfig     `toml:"tls"`
		Log     web.LogConfig     `toml:"log"`
		Metrics web.MetricsConfig `toml:"metrics"`
	}
	read := func(text string) (file, string) {
		f := file{TLS: web.DefaultTLSConfig(), Log: web.DefaultLogConfig(), Metrics: web.DefaultMetricsConfig()}
		if err := toml.Unmarshal([]byte(text), &f); err != nil {
			t.Fatal(err)
		}
		var faults []string
		for _, err := range []error{f.TLS.Validate("https://mcp.example.com"), f.Log.Validate(), f.Metrics.Validate()} {
			if err != nil {
				faults = append(faults, err.Error())
			}
		}
		return f, strings.Join(faults, "\n")
	}
	f, faults := read("")
	if faults != "" || f.TLS.Enabled() || f.Log != (web.LogConfig{Level: "info", Format: "auto"}) || f.Metrics.Listen != "127.0.0.1:9464" {
		t.Errorf("defaults: %+v %s", f, faults)
	}
	if f, faults := read("[tls]\ncert_file='c'\nkey_file='k'\n[log]\nlevel='debug'\nformat='text'\n[metrics]\nlisten=''"); faults != "" || !f.TLS.Enabled() {
		t.Errorf("good file: %s", faults)
	}
	_, faults = read("[tls]\ncert_file='c'\n[log]\nlevel='INFO+2'\nformat='xml'\n[metrics]\nlisten='9464'")
	for _, key := range []string{"tls.key_file: ", "log.level: ", "log.format: ", "metrics.listen: "} {
		if !strings.Contains(faults, key) {
			t.Errorf("no fault for %s in %s", key, faults)
		}
	}
	if _, faults := read("[tls]\nkey_file='k'"); !strings.HasPrefix(faults, "tls.cert_file: ") {
		t.Errorf("key alone: %s", faults)
	}
	for want, text := range map[string]string{
		"tls.acme: does not go together": "acme=true\ncert_file='c'", "tls.acme_email: is for acme": "acme_email='a@b'",
		"tls.acme_email: \"a\"": "acme=true\nacme_email='a'", "tls.acme_email: \"a@b, c@d\"": "acme=true\nacme_email='a@b, c@d'",
		"tls.acme_directory: \"\"": "acme=true\nacme_directory=''", "tls.acme_directory: \"http://a": "acme=true\nacme_directory='http://a.example/d'",
	} {
		if _, faults := read("[tls]\n" + text); !strings.HasPrefix(faults, want) {
			t.Errorf("%s: %s", text, faults)
		}
	}
	if f, faults := read("[tls]\nacme=true\nacme_email='ops@example.com'\nacme_directory='http://127.0.0.1:14000/dir'"); faults != "" || !f.TLS.Enabled() {
		t.Errorf("acme: %s", faults)
	}
	for _, issuer := range []string{"http://mcp.example.com", "https://192.0.2.1", "https://[2001:db8::1]", "https://intranet", "http://127.0.0.1:8080"} {
		c := web.DefaultTLSConfig()
		c.ACME = true
		if err := c.Validate(issuer); err == nil || !strings.HasPrefix(err.Error(), "tls.acme: an authority gives no certificate for "+issuer) {
			t.Errorf("%s: %v", issuer, err)
		}
	}
	for address, good := range map[string]bool{"127.0.0.1:0": true, ":8080": true, "[::1]:80": true, "x": false, "x:http": false, "x:65536": false, "::1:80": false, "": false} {
		if err := web.CheckListen("listen", address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}
