package main

import (
	"bufio"
	"context"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"hostedmcp/auth/authtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hostedmcp": main})
}

// The command at a shell: every kind of bad input gets one line with the fixing step, exit code 1, nothing touched.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"freeport": func(ts *testscript.TestScript, _ bool, args []string) { ts.Setenv(args[0], freePort()) },
			"occupy": func(ts *testscript.TestScript, _ bool, args []string) {
				l, err := net.Listen("tcp", "127.0.0.1:"+ts.Getenv(args[0]))
				ts.Check(err)
				ts.Defer(func() { l.Close() })
			},
			"expand": func(ts *testscript.TestScript, _ bool, args []string) {
				text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
			},
			"mode": func(ts *testscript.TestScript, _ bool, args []string) {
				info, err := os.Stat(ts.MkAbs(args[1]))
				ts.Check(err)
				if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
					ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
				}
			},
			"serve": func(ts *testscript.TestScript, _ bool, args []string) { ts.Defer(begin(ts, args[0])) },
			"init":  func(ts *testscript.TestScript, _ bool, args []string) { begin(ts, args[0])() },
		},
	})
}

// begin runs the program on a configuration of the script and returns, once it says that it is ready, what stops it.
func begin(ts *testscript.TestScript, config string) (end func()) {
	ctx, stop := context.WithCancel(context.Background())
	out, in := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		in.CloseWithError(run(ctx, []string{"-config", ts.MkAbs(config)}, in, io.Discard))
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "is ready") {
		stop()
		ts.Fatalf("said %q: %v", line, err)
	}
	go io.Copy(io.Discard, out)
	return func() { stop(); <-done }
}

func freePort() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// config.example.toml is the manual of the configuration: it names every key that exists and none that does not, and
// what it shows as defaults are the defaults.
func TestExampleIsTheManual(t *testing.T) {
	text, err := os.ReadFile("config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	defaults, err := loadConfig("config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	uncommented := shownDefault.ReplaceAllString(string(text), "$1")
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(uncommented), 0o600); err != nil {
		t.Fatal(err)
	}
	shown, err := loadConfig(path)
	if err != nil {
		t.Fatalf("with every default written out: %v", err)
	}
	if got, want := fmt.Sprintf("%+v %+v", *shown, *shown.Demo), fmt.Sprintf("%+v %+v", *defaults, *defaults.Demo); normal(got) != normal(want) {
		t.Errorf("a default in config.example.toml is not the default:\n%s\n%s", normal(got), normal(want))
	}
	for _, key := range tomlKeys(t) {
		if !strings.Contains(string(text), key+" = ") && !strings.Contains(string(text), "["+key+"]") && !strings.Contains(string(text), "."+key+"]") {
			t.Errorf("config.example.toml does not name %s", key)
		}
	}
}

// shownDefault is a line of config.example.toml that shows a default.
var shownDefault = regexp.MustCompile(`(?m)^# (\w+ = |\[\[)`)

// normal hides addresses of pointers.
func normal(s string) string {
	var out []string
	for f := range strings.FieldsSeq(s) {
		if !strings.HasPrefix(f, "Demo:0x") && !strings.HasPrefix(f, "ShortName:") {
			out = append(out, f)
		}
	}
	return strings.Join(out, " ")
}

// tomlKeys are the last names of all keys, read from the source: what is decoded is what must be documented.
func tomlKeys(t *testing.T) (keys []string) {
	t.Helper()
	for file := range goFiles(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq(string(text), "`toml:\"") {
			if key, _, ok := strings.Cut(part, "\""); ok && !strings.ContainsAny(key, " \t\n,") && key != "-" && key != "" {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// goFiles yields every Go file that is not a test, with its package folder.
func goFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "data") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			files[path] = filepath.ToSlash(filepath.Dir(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// arrows are the imports of our own packages that each package may have (design.md §2). Packages for tests may import
// anything.
var arrows = map[string][]string{
	".":                   {"auth", "auth/demo", "auth/oauth", "auth/upstream", "mcp", "storage", "web", "web/admin"},
	"auth":                {"auth/oauth", "auth/upstream", "auth/cimd", "storage"},
	"auth/oauth":          {},
	"auth/upstream":       {"auth/oauth"},
	"auth/cimd":           {"auth/oauth"},
	"auth/demo":           {"auth/oauth"},
	"mcp":                 {"auth", "auth/oauth"},
	"storage":             {"storage/seal", "auth/oauth"},
	"storage/seal":        {},
	"web":                 {"auth", "auth/oauth"},
	"web/admin":           {"storage"},
	"auth/authtest":       nil,
	"storage/storagetest": nil,
}

// fences are imports that only some packages may have.
var fences = map[string][]string{
	"go.etcd.io/bbolt":                       {"storage"},
	"github.com/modelcontextprotocol/go-sdk": {"mcp"},
	"github.com/zitadel/oidc/v3/pkg/client":  {"auth/upstream"},
	"github.com/zitadel/oidc/v3/pkg/op":      {"auth/demo", "auth/authtest"},
	"html/template":                          {"web"},
	"testing":                                {"auth/authtest", "storage/storagetest"},
	"github.com/pelletier/go-toml":           {"web/admin"},
	"golang.org/x/crypto/chacha20poly1305":   {"storage/seal", "auth/demo"},
	"os/exec":                                {},
	"encoding/gob":                           {},
	"unsafe":                                 {},
	"github.com/prometheus/client_golang/prometheus/promhttp": {"web"},
}

func TestImports(t *testing.T) {
	for file, dir := range goFiles(t) {
		allowed, known := arrows[dir]
		if !known {
			t.Errorf("%s: package %s has no arrows in the table: is it in design.md §2?", file, dir)
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if own, ok := strings.CutPrefix(path, "hostedmcp/"); ok && allowed != nil && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s: not an arrow of design.md §2", file, own)
			}
			for fenced, may := range fences {
				if (path == fenced || strings.HasPrefix(path, fenced+"/")) && !slices.Contains(may, dir) {
					t.Errorf("%s imports %s: only %v may", file, path, may)
				}
			}
		}
	}
}

// The newcomer's whole story in one process: the example configuration serves, a client registers, its user presses
// Allow and signs in at the demo provider, it calls, and after a restart everything is as it was.
func TestDemo(t *testing.T) {
	dir := t.TempDir()
	public, sign := freePort(), freePort()
	text, err := os.ReadFile("config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer(
		`public_url = "http://127.0.0.1:8080"`, `public_url = "http://127.0.0.1:`+public+`"`,
		`# listen = "127.0.0.1:8080"`, `listen = "127.0.0.1:`+public+`"`,
		`# listen = "127.0.0.1:8081"`, `listen = "127.0.0.1:`+sign+`"`,
		`# listen = "127.0.0.1:9464"`, `listen = ""`,
		`# data_dir = "./data"`, `data_dir = "`+filepath.Join(dir, "data")+`"`,
	).Replace(string(text))
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	client := authtest.NewClient("http://127.0.0.1:" + public)
	withServer(t, path, func() {
		if err := client.Login(); err != nil {
			t.Fatal(err)
		}
	})
	withServer(t, path, func() {
		if a, err := client.Renew(); err != nil || a.Status != http.StatusOK {
			t.Fatalf("refresh after a restart: %v %+v", err, a)
		}
	})
}

// withServer runs the program while f runs.
func withServer(t *testing.T, config string, f func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-config", config}, in, io.Discard)
		in.CloseWithError(fmt.Errorf("the program ended: %v", err))
		done <- err
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, "is ready") {
		t.Fatalf("said %q: %v", line, err)
	}
	go io.Copy(io.Discard, out)
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("stop: %v", err)
		}
	}()
	f()
}
