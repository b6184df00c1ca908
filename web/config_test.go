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
		f := file{Log: web.DefaultLogConfig(), Metrics: web.DefaultMetricsConfig()}
		if err := toml.Unmarshal([]byte(text), &f); err != nil {
			t.Fatal(err)
		}
		var faults []string
		for _, err := range []error{f.TLS.Validate(), f.Log.Validate(), f.Metrics.Validate()} {
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
	for address, good := range map[string]bool{"127.0.0.1:0": true, ":8080": true, "[::1]:80": true, "x": false, "x:http": false, "x:65536": false, "::1:80": false, "": false} {
		if err := web.CheckListen("listen", address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}
