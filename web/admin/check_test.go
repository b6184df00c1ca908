package admin_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
	"hostedmcp/web/admin"
)

// site is a public URL with what a test breaks.
type site struct {
	*httptest.Server
	status   map[string]int // by path
	metadata map[string]any
	resource map[string]any
	header   string // of the 401
	ready    string
}

func newSite(t *testing.T, start func(http.Handler) *httptest.Server) *site {
	s := &site{status: map[string]int{"/mcp": 401}, ready: `{"ready":true}`}
	mux := http.NewServeMux()
	answer := func(path string, body func() any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if path == "/mcp" {
				w.Header().Set("WWW-Authenticate", s.header)
			}
			if code := s.status[path]; code != 0 {
				if code/100 == 3 {
					w.Header().Set("Location", "https://login.example.com/")
				}
				w.WriteHeader(code)
			}
			if text, ok := body().(string); ok {
				fmt.Fprint(w, text)
				return
			}
			_ = json.NewEncoder(w).Encode(body())
		})
	}
	answer("/.well-known/oauth-authorization-server", func() any { return s.metadata })
	answer("/.well-known/oauth-protected-resource/mcp", func() any { return s.resource })
	answer("/mcp", func() any { return "{}" })
	answer("/readyz", func() any { return s.ready })
	answer("/metrics", func() any { return "hostedmcp_grants 1\n" })
	s.Server = start(mux)
	t.Cleanup(s.Close)
	i := s.URL
	s.metadata = map[string]any{
		"issuer": i, "authorization_endpoint": i + "/authorize", "token_endpoint": i + "/token", "jwks_uri": i + "/jwks",
		"code_challenge_methods_supported": []string{"S256"},
	}
	s.resource = map[string]any{"resource": i + "/mcp", "authorization_servers": []string{i}}
	s.header = `Bearer resource_metadata="` + i + `/.well-known/oauth-protected-resource/mcp"`
	return s
}

// machine makes the rig's check look at a sound machine in front of a site.
func (r *rig) machine(s *site) {
	config := filepath.Join(filepath.Dir(r.opts.Dir), "config.toml")
	secret := filepath.Join(filepath.Dir(r.opts.Dir), "secret")
	for _, path := range []string{config, secret} {
		r.must(os.WriteFile(path, []byte("x"), 0o600))
	}
	key := filepath.Join(filepath.Dir(r.opts.Dir), "key")
	r.must(os.Rename(filepath.Join(r.opts.Dir, "master.key"), key))
	r.opts.Config = storage.DefaultConfig()
	r.opts.Config.KeyFile = key
	r.env.Machine = admin.Machine{
		ConfigFile: config, Secrets: []admin.SecretFile{{Key: "provider.client_secret_file", Path: secret}},
		PublicURL: s.URL, Listen: "127.0.0.1:8080", TrustedProxies: true, MetricsListen: strings.TrimPrefix(s.URL, "http://"),
		HTTP:         s.Client(),
		Synchronised: func() bool { return true },
		Disk:         func(string) (admin.Disk, error) { return admin.Disk{Type: unix.EXT4_SUPER_MAGIC, Free: 10 << 30}, nil },
	}
}

// finding runs check and returns its findings by name.
func (r *rig) findings() (map[string]oauth.Finding, result) {
	r.Helper()
	var a struct {
		OK       bool
		Findings []oauth.Finding
	}
	got := r.run("check", "-json")
	if err := json.Unmarshal([]byte(got.out), &a); err != nil {
		r.Fatalf("%v: %+v", err, got)
	}
	all := map[string]oauth.Finding{}
	for _, f := range a.Findings {
		if _, twice := all[f.Name]; twice {
			r.Errorf("%q twice", f.Name)
		}
		if all[f.Name] = f; (f.Fix == "") != (f.Level == oauth.FindingOK) || f.Text == "" {
			r.Errorf("finding without its fix, or with one too many: %+v", f)
		}
	}
	if a.OK != (got.code == 0) {
		r.Errorf("ok is %v, code %d", a.OK, got.code)
	}
	return all, got
}

// Certificates from an authority: who can read the keys, whether the authority reaches us, and we it.
func TestCheckACME(t *testing.T) {
	directory := `{"newOrder":"x"}`
	ca := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/dir" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, directory)
	}))
	defer ca.Close()
	r := newRig(t)
	folder := filepath.Join(r.opts.Dir, "acme")
	r.env.Machine = admin.Machine{PublicURL: "https://mcp.example.invalid", Listen: ":443", TLS: true, ACME: &admin.ACME{Directory: ca.URL + "/dir", Folder: folder}}
	look := func(want map[string]oauth.Level) {
		t.Helper()
		all, _ := r.findings()
		for name, level := range want {
			if all[name].Level != level {
				t.Errorf("%s: %+v", name, all[name])
			}
		}
	}
	look(map[string]oauth.Level{"acme folder": oauth.FindingOK, "acme port": oauth.FindingOK, "acme directory": oauth.FindingOK, "acme files": ""})
	r.must(os.Mkdir(folder, 0o750))
	r.must(os.WriteFile(filepath.Join(folder, "key"), nil, 0o640))
	r.env.Machine.Listen, r.env.Machine.ACME.Directory = ":8443", ca.URL+"/other"
	look(map[string]oauth.Level{"acme folder": oauth.FindingFail, "acme files": oauth.FindingFail, "acme port": oauth.FindingWarn, "acme directory": oauth.FindingFail})
	r.must(os.Chmod(folder, 0o700))
	r.must(os.Chmod(filepath.Join(folder, "key"), 0o600))
	directory, r.env.Machine.Listen, r.env.Machine.ACME.Directory = "<html>", "127.0.0.1:443", ca.URL+"/dir"
	look(map[string]oauth.Level{"acme folder": oauth.FindingOK, "acme files": "", "acme port": oauth.FindingWarn, "acme directory": oauth.FindingFail})
	ca.Close()
	all, _ := r.findings()
	has(t, all["acme directory"].Text+all["acme directory"].Fix, "refuses connections", "tls.acme_directory")
	has(t, all["acme port"].Text, "port 443 of mcp.example.invalid", "127.0.0.1:443")
}

// Times of [tokens] that do not go together: the warning names both keys, and the oldest backup that is safe.
func TestCheckLives(t *testing.T) {
	days := oauth.Days
	for _, tt := range []struct {
		name     string
		lives    admin.Lives
		finding  string
		level    oauth.Level
		text     string
		findings int
	}{
		{"defaults", admin.Lives{days(30), days(90), oauth.Duration(time.Minute)}, "tokens", oauth.FindingOK, "", 1},
		{"as long", admin.Lives{days(90), days(90), 0}, "tokens", oauth.FindingOK, "", 1},
		{"tombstones go first", admin.Lives{days(120), days(90), 0}, "tokens ended", oauth.FindingWarn,
			"set tokens.tombstone_ttl to 120d or more, or tokens.refresh_idle to 90d or less; until then restore no backup older than 90d", 1},
		{"a long retry", admin.Lives{days(30), days(90), oauth.Duration(2 * time.Minute)}, "tokens retried", oauth.FindingWarn, "set tokens.retry_window to 1m or less", 1},
		{"both", admin.Lives{days(120), days(90), oauth.Duration(time.Hour)}, "tokens ended", oauth.FindingWarn, "", 2},
		{"not told", admin.Lives{}, "", "", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.env.Machine.Lives = tt.lives
			all, _ := r.findings()
			n := 0
			for name := range all {
				if strings.HasPrefix(name, "tokens") {
					n++
				}
			}
			if f := all[tt.finding]; f.Level != tt.level || !strings.HasPrefix(f.Fix, tt.text) || n != tt.findings {
				t.Errorf("%d: %+v", n, f)
			}
		})
	}
}

func TestCheckAllWell(t *testing.T) {
	s := newSite(t, httptest.NewServer)
	r := newRig(t)
	r.machine(s)
	r.serve()
	all, got := r.findings()
	if got.code != 0 || len(all) < 13 {
		t.Errorf("%+v", got)
	}
	for _, f := range all {
		if f.Level != oauth.FindingOK {
			t.Errorf("%+v", f)
		}
	}
	text := r.run("check")
	for line := range strings.Lines(text.out) {
		if cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(cells) != 4 || cells[0] != "ok" {
			t.Errorf("line %q", line)
		}
	}
}

// Each fault is found, with its level; nothing else changes its own.
func TestCheckFinds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(r *rig, s *site)
		found  string
		level  oauth.Level
		want   string // in text or fix
	}{
		{"configuration that others write", func(r *rig, _ *site) { r.must(os.Chmod(r.env.Machine.ConfigFile, 0o666)) }, "configuration", "FAIL", "chmod go-w"},
		{"configuration that others read", func(r *rig, _ *site) { r.must(os.Chmod(r.env.Machine.ConfigFile, 0o644)) }, "configuration", "ok", "0644"},
		{"data folder", func(r *rig, _ *site) { r.must(os.Chmod(r.opts.Dir, 0o750)) }, "data folder", "FAIL", "chmod 700"},
		{"store file", func(r *rig, _ *site) { r.must(os.Chmod(filepath.Join(r.opts.Dir, "hostedmcp.db"), 0o644)) }, "store file", "FAIL", "chmod 600"},
		{"secret", func(r *rig, _ *site) { r.must(os.Chmod(r.env.Machine.Secrets[0].Path, 0o640)) }, "provider.client_secret_file", "FAIL", "chmod 600"},
		{"no secret", func(r *rig, _ *site) { r.must(os.Remove(r.env.Machine.Secrets[0].Path)) }, "provider.client_secret_file", "FAIL", "no such file"},
		{"secret is a folder", func(r *rig, _ *site) { r.env.Machine.Secrets[0].Path = r.opts.Dir }, "provider.client_secret_file", "FAIL", "is no file"},
		{"key that others read", func(r *rig, _ *site) { r.must(os.Chmod(r.opts.Config.KeyFile, 0o644)) }, "master key", "FAIL", "chmod 600"},
		{"key beside the data", func(r *rig, _ *site) {
			beside := filepath.Join(r.opts.Dir, "master.key")
			r.must(os.Rename(r.opts.Config.KeyFile, beside))
			r.opts.Config.KeyFile = ""
		}, "master key apart", "warn", "systemd credential"},
		{"key beside the data by a link", func(r *rig, _ *site) {
			beside := filepath.Join(r.opts.Dir, "k")
			r.must(os.Rename(r.opts.Config.KeyFile, beside))
			r.must(os.Symlink(beside, r.opts.Config.KeyFile))
		}, "master key apart", "warn", "systemd credential"},
		{"key as a credential", func(r *rig, _ *site) {
			r.opts.CredentialsDir = filepath.Dir(r.opts.Dir)
			r.must(os.Rename(r.opts.Config.KeyFile, filepath.Join(r.opts.CredentialsDir, "hostedmcp-key")))
			r.opts.Config.KeyFile = ""
		}, "master key", "ok", "a systemd credential"},
		{"key that only the server has", func(r *rig, _ *site) {
			r.must(os.Remove(r.opts.Config.KeyFile))
			r.opts.Config.KeyFile = ""
		}, "master key", "ok", "running server has it"},
		{"full disk", func(r *rig, _ *site) {
			r.env.Machine.Disk = func(string) (admin.Disk, error) { return admin.Disk{Free: 1 << 20}, nil }
		}, "disk space", "FAIL", "1.0 MB free"},
		{"little room", func(r *rig, _ *site) {
			r.env.Machine.Disk = func(string) (admin.Disk, error) { return admin.Disk{Free: 500 << 20}, nil }
		}, "disk space", "warn", "500.0 MB free"},
		{"NFS", func(r *rig, _ *site) {
			r.env.Machine.Disk = func(string) (admin.Disk, error) { return admin.Disk{Type: unix.NFS_SUPER_MAGIC, Free: 1 << 40}, nil }
		}, "disk", "warn", "lies on NFS"},
		{"memory", func(r *rig, _ *site) {
			r.env.Machine.Disk = func(string) (admin.Disk, error) { return admin.Disk{Type: unix.TMPFS_MAGIC, Free: 1 << 40}, nil }
		}, "disk", "warn", "gone after a restart"},
		{"disk that does not answer", func(r *rig, _ *site) {
			r.env.Machine.Disk = func(string) (admin.Disk, error) { return admin.Disk{}, errors.New("stale handle") }
		}, "disk", "warn", "stale handle"},
		{"clock", func(r *rig, _ *site) { r.env.Machine.Synchronised = func() bool { return false } }, "clock", "warn", "timedatectl"},
		{"socket that others reach", func(r *rig, _ *site) { r.must(os.Chmod(r.socket, 0o666)) }, "admin socket", "warn", "chmod 600"},
		{"issuer of another", func(_ *rig, s *site) { s.metadata["issuer"] = s.URL + "/" }, "metadata", "FAIL", "the issuer there is"},
		{"endpoint of another", func(_ *rig, s *site) { s.metadata["token_endpoint"] = "https://evil.example/token" }, "metadata", "FAIL", "is not below"},
		{"no S256", func(_ *rig, s *site) { delete(s.metadata, "code_challenge_methods_supported") }, "metadata", "FAIL", "S256"},
		{"login in front", func(_ *rig, s *site) { s.status["/.well-known/oauth-authorization-server"] = 302 }, "metadata", "FAIL", "a redirect to https://login.example.com/"},
		{"document missing", func(_ *rig, s *site) { s.status["/.well-known/oauth-protected-resource/mcp"] = 404 }, "resource metadata", "FAIL", "status 404"},
		{"resource of another", func(_ *rig, s *site) { s.resource["resource"] = "https://other.example/mcp" }, "resource metadata", "FAIL", "it is of https://other.example/mcp"},
		{"proxy with a login of its own", func(_ *rig, s *site) { s.status["/mcp"] = 200 }, "mcp endpoint", "FAIL", "status 200 in place of 401"},
		{"header dropped", func(_ *rig, s *site) { s.header = "" }, "mcp endpoint", "FAIL", "keep the header WWW-Authenticate"},
		{"not ready", func(_ *rig, s *site) {
			s.status["/readyz"], s.ready = 503, `{"ready":false,"failed":[{"check":"provider","reason":"upstream_unreachable"}]}`
		}, "readiness", "FAIL", "provider: upstream_unreachable"},
		{"readiness hidden", func(_ *rig, s *site) { s.status["/readyz"] = 404 }, "readiness", "warn", "keeps it from the public"},
		{"metrics off", func(r *rig, _ *site) { r.env.Machine.MetricsListen = "" }, "metrics", "ok", "off"},
		{"metrics of another program", func(_ *rig, s *site) { s.status["/metrics"] = 404 }, "metrics", "warn", "another program"},
		{"metrics not there", func(r *rig, _ *site) { r.env.Machine.MetricsListen = closedAddress(r) }, "metrics", "warn", "refuses connections"},
		{"public site not there", func(r *rig, s *site) { r.env.Machine.PublicURL = "http://" + closedAddress(r) }, "public url", "FAIL", "refuses connections"},
		{"public site without a name", func(r *rig, s *site) { r.env.Machine.PublicURL = "http://nothing.invalid" }, "public url", "FAIL", "nothing.invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, httptest.NewServer)
			r := newRig(t)
			r.machine(s)
			r.serve()
			tt.change(r, s)
			all, got := r.findings()
			f := all[tt.found]
			if f.Level != tt.level || !strings.Contains(f.Text+" "+f.Fix, tt.want) {
				t.Errorf("got %+v, want %s with %q", f, tt.level, tt.want)
			}
			if fails := tt.level == oauth.FindingFail; (got.code == 1) != fails || fails && !strings.Contains(got.err, "check: 1 of ") {
				t.Errorf("code %d: %s", got.code, got.err)
			}
			for name, other := range all {
				if name != tt.found && other.Level != oauth.FindingOK {
					t.Errorf("also %+v", other)
				}
			}
		})
	}
}

// closedAddress is one that nobody listens on.
func closedAddress(r *rig) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	defer l.Close()
	return l.Addr().String()
}

// Without a server what it would answer is not held against it; the file is read instead.
func TestCheckClosed(t *testing.T) {
	s := newSite(t, httptest.NewServer)
	r := newRig(t)
	r.machine(s)
	r.close()
	r.env.Machine.PublicURL = "http://" + closedAddress(r)
	all, got := r.findings()
	if got.code != 0 {
		t.Errorf("%+v", got)
	}
	for name, want := range map[string]oauth.Level{"server": "warn", "store": "ok", "public url": "warn", "metrics": ""} {
		if all[name].Level != want {
			t.Errorf("%s: %+v", name, all[name])
		}
	}
	has(t, all["store"].Text, "every record of ")

	r.must(os.Remove(r.opts.Config.KeyFile))
	if all, got = r.findings(); got.code != 1 || all["master key"].Level != "FAIL" || all["store"].Level != "FAIL" {
		t.Errorf("without the key: %+v", got)
	}
	r.opts.Dir = filepath.Join(r.opts.Dir, "none")
	if all, got = r.findings(); got.code != 0 || !strings.Contains(all["store"].Text, "there is none yet") {
		t.Errorf("without a store: %+v", got)
	}
	if _, err := os.Stat(r.opts.Dir); err == nil {
		t.Error("check made the folder")
	}
}

// A damaged file is found.
func TestCheckDamaged(t *testing.T) {
	r := newRig(t)
	r.machine(newSite(t, httptest.NewServer))
	r.close()
	path := filepath.Join(r.opts.Dir, "hostedmcp.db")
	text, err := os.ReadFile(path)
	r.must(err)
	// a record is sealed to its key: under another name it does not open
	text = []byte(strings.ReplaceAll(string(text), idBob, idBob[:len(idBob)-1]+"B"))
	r.must(os.WriteFile(path, text, 0o600))
	all, got := r.findings()
	if f := all["store"]; got.code != 1 || f.Level != "FAIL" || !strings.Contains(f.Fix, "restore") {
		t.Errorf("%+v", f)
	}
}

// Certificates: trusted, of whom, until when.
func TestCheckTLS(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(r *rig, s *site)
		found  string
		level  oauth.Level
		want   string
	}{
		{"valid", func(*rig, *site) {}, "tls certificate", "ok", "valid until"},
		{"about to end", func(r *rig, s *site) {
			r.env.Machine.Now = func() time.Time { return s.Certificate().NotAfter.Add(-day) }
		}, "tls certificate", "warn", "renew"},
		{"of an authority that nobody knows", func(r *rig, _ *site) { r.env.Machine.HTTP = tlsClient(&tls.Config{RootCAs: x509.NewCertPool()}) }, "public url", "FAIL", "whole chain"},
		{"of another name", func(r *rig, s *site) {
			pool := x509.NewCertPool()
			pool.AddCert(s.Certificate())
			r.env.Machine.HTTP = tlsClient(&tls.Config{RootCAs: pool, ServerName: "other.test"})
		}, "public url", "FAIL", "another name"},
		{"ended", func(r *rig, s *site) {
			pool := x509.NewCertPool()
			pool.AddCert(s.Certificate())
			r.env.Machine.HTTP = tlsClient(&tls.Config{RootCAs: pool, Time: func() time.Time { return s.Certificate().NotAfter.Add(time.Hour) }})
		}, "public url", "FAIL", "not valid now"},
		{"none", func(r *rig, _ *site) {
			plain := newSite(t, httptest.NewServer)
			r.env.Machine.PublicURL = strings.Replace(plain.URL, "http:", "https:", 1)
		}, "public url", "FAIL", "does not speak TLS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, httptest.NewTLSServer)
			r := newRig(t)
			r.machine(s)
			r.env.Machine.MetricsListen = ""
			r.serve()
			tt.change(r, s)
			all, _ := r.findings()
			if f := all[tt.found]; f.Level != tt.level || !strings.Contains(f.Text+" "+f.Fix, tt.want) {
				t.Errorf("got %+v, want %s with %q", f, tt.level, tt.want)
			}
		})
	}
}

func tlsClient(c *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: c}}
}

// Addresses of a public server.
func TestCheckListeners(t *testing.T) {
	for _, tt := range []struct {
		name           string
		listen, public string
		tls, proxies   bool
		found          string
		level          oauth.Level
	}{
		{"behind a proxy that is known", "127.0.0.1:8080", "https://x", false, true, "trusted proxies", "ok"},
		{"behind a proxy that is not known", "127.0.0.1:8080", "https://x", false, false, "trusted proxies", "warn"},
		{"localhost", "localhost:8080", "https://x", false, false, "trusted proxies", "warn"},
		{"open without TLS", "0.0.0.0:8080", "https://x", false, true, "listen", "warn"},
		{"open without TLS, short", ":8080", "https://x", false, true, "listen", "warn"},
		{"open with TLS", ":443", "https://x", true, false, "listen", "ok"},
		{"open with TLS, no proxy", ":443", "https://x", true, false, "trusted proxies", "ok"},
		{"tried out", "127.0.0.1:8080", "http://127.0.0.1:8080", false, false, "listen", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.machine(newSite(t, httptest.NewServer))
			r.close()
			m := &r.env.Machine
			m.Listen, m.PublicURL, m.TLS, m.TrustedProxies = tt.listen, tt.public, tt.tls, tt.proxies
			m.HTTP = &http.Client{Transport: refusing{}}
			if all, _ := r.findings(); all[tt.found].Level != tt.level {
				t.Errorf("%+v", all[tt.found])
			}
		})
	}
}

// refusing is a network on which nobody answers.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, unix.ECONNREFUSED }

// What others look at comes after, is cleaned for the terminal, and weighs the same.
func TestCheckOthers(t *testing.T) {
	r := newRig(t)
	r.machine(newSite(t, httptest.NewServer))
	r.serve()
	r.env.Findings = admin.Findings{
		Provider: func(_ context.Context, login func(string) (string, error)) []oauth.Finding {
			if login != nil {
				t.Error("a sign-in without -login")
			}
			return []oauth.Finding{oauth.Good("discovery", "issuer equal")}
		},
		Documents: func(context.Context) []oauth.Finding { return []oauth.Finding{oauth.Warn("documents", "slow", "wait")} },
		Connectors: func(context.Context) []oauth.Finding {
			return []oauth.Finding{oauth.Bad("connector crm", "no\x1b[2Jreach\u202e", "start\nit")}
		},
	}
	got := r.run("check")
	if got.code != 1 {
		t.Errorf("%+v", got)
	}
	tail := strings.Split(strings.TrimSpace(got.out), "\n")
	want := []string{"ok\tdiscovery\tissuer equal\t", "warn\tdocuments\tslow\twait", "FAIL\tconnector crm\tno[2Jreach\tstart it"}
	for i, w := range want {
		if line := tail[len(tail)-3+i]; line != w {
			t.Errorf("line %q, want %q", line, w)
		}
	}
	r.env.Terminal = true
	has(t, r.run("check").out, "\x1b[31mFAIL\x1b[0m  connector crm: no[2Jreach\n      start it\n", "\x1b[32mok  \x1b[0m  discovery: issuer equal\n")
}

// The real machine answers as well.
func TestCheckRealMachine(t *testing.T) {
	r := newRig(t)
	r.machine(newSite(t, httptest.NewServer))
	r.serve()
	r.env.Machine.Disk, r.env.Machine.Synchronised, r.env.Machine.HTTP = nil, nil, nil
	all, _ := r.findings()
	for _, name := range []string{"disk", "disk space", "clock", "metadata"} {
		if all[name].Level == "" {
			t.Errorf("no %s", name)
		}
	}
}

// With -login somebody signs in: the URL is told, and the address that is pasted comes back.
func TestCheckLogin(t *testing.T) {
	for pasted, want := range map[string]string{
		"http://mcp.example/callback?code=c&state=s\n": "ok\tsign-in\thttp://mcp.example/callback?code=c&state=s", "": "FAIL\tsign-in\tno address was pasted",
		"\n": "FAIL\tsign-in\tno address was pasted", strings.Repeat("x", 20<<10): "FAIL\tsign-in\tno address was pasted",
	} {
		r := newRig(t)
		r.machine(newSite(t, httptest.NewServer))
		r.serve()
		r.input = pasted
		r.env.Findings.Provider = func(_ context.Context, login func(string) (string, error)) []oauth.Finding {
			end, err := login("https://login.example/auth?state=s")
			switch {
			case err != nil:
				return []oauth.Finding{oauth.Bad("sign-in", err.Error(), "again")}
			}
			return []oauth.Finding{oauth.Good("sign-in", end)}
		}
		got := r.run("check", "-login")
		if !strings.Contains(got.out, want) || !strings.Contains(got.err, "https://login.example/auth?state=s") {
			t.Errorf("%.40q: %+v", pasted, got)
		}
	}
}
