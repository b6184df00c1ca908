package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sync/errgroup"

	"hostedmcp/auth/authtest"
)

func TestMain(m *testing.M) {
	switch os.Getenv("HOSTEDMCP_PROCESS") { // the benchmarks' own processes
	case "hostedmcp":
		main()
		return
	case "bare":
		bareServer()
		return
	}
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

// freePort is one that nobody listens on. It lies below those that the kernel hands out by itself, so that it is still
// free when a server begins, or begins again: the tests of other packages open ports by the hundred meanwhile.
func freePort() string {
	for {
		port := strconv.Itoa(20_000 + rand.IntN(12_000))
		if _, taken := handedOut.LoadOrStore(port, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
}

var handedOut sync.Map // ports that a test of ours has

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

// pointer is a field that holds one.
var pointer = regexp.MustCompile(`^\w+:0x`)

// normal hides addresses of pointers.
func normal(s string) string {
	var out []string
	for f := range strings.FieldsSeq(s) {
		if !pointer.MatchString(f) && !strings.HasPrefix(f, "ShortName:") {
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
	".": {"auth", "auth/demo", "auth/oauth", "auth/story", "auth/upstream", "deploy", "mcp", "mcp/connector", "mcp/connector/mount",
		"mcp/connector/rest", "mcp/trace", "storage", "web", "web/admin"},
	"auth":                {"auth/oauth", "auth/story", "auth/upstream", "auth/cimd", "storage"},
	"auth/oauth":          {},
	"auth/story":          {"auth/oauth", "storage"},
	"auth/upstream":       {"auth/oauth"},
	"auth/cimd":           {"auth/oauth"},
	"auth/demo":           {"auth/oauth"},
	"deploy":              {},
	"mcp":                 {"auth", "auth/oauth", "mcp/connector"},
	"mcp/connector":       {"auth/oauth"},
	"mcp/connector/mount": {"auth/oauth", "mcp/connector"},
	"mcp/connector/rest":  {"auth/oauth", "mcp/connector"},
	"mcp/trace":           {"auth/oauth"},
	"storage":             {"storage/seal", "auth/oauth"},
	"storage/seal":        {},
	"web":                 {"auth", "auth/oauth", "auth/story"},
	"web/admin":           {"auth/oauth", "auth/story", "storage"},
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
	"golang.org/x/crypto/acme":               {"web"},
	"os/exec":                                {"mcp/connector/mount"},
	"go.yaml.in/yaml":                        {"mcp/connector/rest"},
	"github.com/google/jsonschema-go":        {"mcp/connector/rest"},
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

// Who sets the collector up gets it as set; all others get room that is in no page.
func TestHeadroom(t *testing.T) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Setenv(name, "")
	}
	if n := len(gcHeadroom()); n != 16<<20 {
		t.Errorf("%d bytes", n)
	}
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Setenv(name, "100")
		if gcHeadroom() != nil {
			t.Errorf("%s is overruled", name)
		}
		t.Setenv(name, "")
	}
}

// The newcomer's whole story in one process: the example configuration serves, a client registers, its user presses
// Allow and signs in at the demo provider, the demo CRM answers with the user's own deals, an operator reads the story,
// and after a restart everything is as it was.
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
		`# listen = "127.0.0.1:8081"`, `listen = "127.0.0.1:`+sign+`"`, `http://127.0.0.1:8081/crm/`, `http://127.0.0.1:`+sign+`/crm/`,
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
		if deals := askDeals(t, "http://127.0.0.1:"+public+"/mcp", client.Access); deals == 0 {
			t.Error("no deal closes this year")
		}
		if story := command(t, "explain", "alice@example.com", "-config", path); !strings.HasPrefix(story, "first_call: working") {
			t.Errorf("the story of alice's connection: %s", story)
		}
	})
	client.HTTP.CloseIdleConnections() // they led to the process that has ended
	if story := command(t, "-config", path, "explain", "alice@example.com"); !strings.HasPrefix(story, "first_call: working") {
		t.Errorf("the story from the closed file: %s", story)
	}
	withServer(t, path, func() {
		if a, err := client.Renew(); err != nil || a.Status != http.StatusOK {
			t.Fatalf("refresh after a restart: %v %+v", err, a)
		}
	})
}

// command runs a command and returns what it said.
func command(t *testing.T, args ...string) string {
	t.Helper()
	var out, faults strings.Builder
	if err := run(t.Context(), args, &out, &faults); err != nil {
		t.Fatalf("%s: %v %s", args, err, faults.String())
	}
	return out.String()
}

// askDeals asks the demo CRM for deals, as an agent does, and returns how many there are.
func askDeals(t *testing.T, endpoint, token string) int {
	t.Helper()
	transport := &sdk.StreamableClientTransport{Endpoint: endpoint, HTTPClient: &http.Client{Transport: bearing(token)}}
	session, err := sdk.NewClient(&sdk.Implementation{Name: "newcomer"}, nil).Connect(t.Context(), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	r, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "crm__list_deals", Arguments: map[string]any{"close_from": "2000-01-01", "limit": 5}})
	if err != nil || r.IsError {
		said, _ := json.Marshal(r)
		t.Fatalf("%v %s", err, said)
	}
	deals, _ := r.StructuredContent.(map[string]any)
	for _, member := range deals {
		if list, ok := member.([]any); ok {
			return len(list)
		}
	}
	return 0
}

// bearing puts a bearer token on each request.
type bearing string

func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
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

// The benchmarks run the whole program as a process of its own, beside the bare SDK server in another, so that the
// figures of one run can be set in relation: machines are noisy.

// process is a server under measurement.
type process struct {
	cmd   *exec.Cmd
	ready string // the first line it said
}

func startProcess(b *testing.B, kind string, args ...string) *process {
	b.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "HOSTEDMCP_PROCESS="+kind)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatalf("%s said %q: %v", kind, line, err)
	}
	go io.Copy(io.Discard, out)
	return &process{cmd, strings.TrimSpace(line)}
}

// anonymous is the process's own memory in megabytes: the mapped file does not count.
func (p *process) anonymous(b *testing.B) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		b.Skip("no /proc: memory is measured on Linux only")
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			var kb float64
			fmt.Sscanf(rest, "%f", &kb)
			return kb / 1024
		}
	}
	return 0
}

// bareServer is the SDK's own server with a whoami made the SDK's own way and nothing around it: what a call costs
// without us.
func bareServer() {
	type identity struct {
		Subject, Name string
		Groups        []string
	}
	server := sdk.NewServer(&sdk.Implementation{Name: "bare", Version: "1"}, nil)
	sdk.AddTool(server, &sdk.Tool{Name: "whoami"},
		func(context.Context, *sdk.CallToolRequest, struct{}) (*sdk.CallToolResult, identity, error) {
			return nil, identity{"alice", "Alice Example", []string{"sales"}}, nil
		})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("http://%s/mcp\n", l.Addr())
	panic(http.Serve(l, sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server },
		&sdk.StreamableHTTPOptions{Stateless: true})))
}

// startProgram starts hostedmcp against a provider that signs alice in without a form.
func startProgram(b *testing.B) (p *process, issuer string) {
	provider := authtest.NewProvider(b, authtest.With(func(c *authtest.Behaviour) { c.AutoLogin = "alice" }))
	dir, port := b.TempDir(), freePort()
	issuer = "http://127.0.0.1:" + port
	text := fmt.Sprintf("public_url = %q\nlisten = %q\ndata_dir = %q\ninsecure_loopback = true\n[metrics]\nlisten = \"\"\n"+
		"[log]\nlevel = \"warn\"\n[limits]\nconsent_per_minute = 1000000\nauthorize_per_minute = 1000000\n[clients]\ngrants_per_user = 1000000\n"+
		"[provider]\nissuer = %q\nclient_id = %q\nclient_secret_file = %q\n",
		issuer, "127.0.0.1:"+port, filepath.Join(dir, "data"), provider.Issuer, provider.ClientID, filepath.Join(dir, "secret"))
	for name, content := range map[string]string{"config.toml": text, "secret": provider.ClientSecret} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return startProcess(b, "hostedmcp", "-config", filepath.Join(dir, "config.toml")), issuer
}

// BenchmarkProgram measures the whole program: calls beside the bare SDK server, refreshes, logins, memory.
func BenchmarkProgram(b *testing.B) {
	p, issuer := startProgram(b)
	client := authtest.NewClient(issuer)
	if err := client.Login(); err != nil {
		b.Fatal(err)
	}
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprintf("call/clients=%d", clients), func(b *testing.B) {
			bare := startProcess(b, "bare")
			benchmarkCall(b, clients, issuer+"/mcp", bare.ready, client.Access)
			b.ReportMetric(p.anonymous(b), "MB-RssAnon")
		})
	}
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("refresh/clients=%d", clients), func(b *testing.B) { benchmarkRefresh(b, issuer, clients) })
	}
	b.Run("refresh/rate=500", func(b *testing.B) { benchmarkRate(b, issuer, 500) })
	b.Run("login/clients=8", func(b *testing.B) {
		share(b, 8, func() error { return authtest.NewClient(issuer).Login() })
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "logins/s")
		b.ReportMetric(p.anonymous(b), "MB-RssAnon")
	})
}

// share runs f b.N times on some goroutines.
func share(b *testing.B, workers int, f func() error) {
	b.Helper()
	var g errgroup.Group
	g.SetLimit(workers)
	for range b.N {
		g.Go(f)
	}
	if err := g.Wait(); err != nil {
		b.Error(err)
	}
}

// benchmarkCall sends the same tools/call to both servers in turns; ratio is our throughput over the bare one's.
func benchmarkCall(b *testing.B, workers int, ours, bare, token string) {
	h := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	defer h.CloseIdleConnections()
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{},"_meta":{` +
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},` +
		`"io.modelcontextprotocol/clientCapabilities":{}}}}`
	call := func(url string) error {
		req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			return err
		}
		for k, v := range map[string]string{
			"Authorization": "Bearer " + token, "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
			"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "whoami",
		} {
			req.Header.Set(k, v)
		}
		res, err := h.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if answer, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK || !strings.Contains(string(answer), `"content"`) {
			return fmt.Errorf("%s: %d %s", url, res.StatusCode, answer)
		}
		return nil
	}
	took := map[string]time.Duration{}
	const turn = 100
	for done := 0; done < b.N; done += turn {
		for _, url := range []string{bare, ours} {
			start := time.Now()
			var g errgroup.Group
			g.SetLimit(workers)
			for range min(turn, b.N-done) {
				g.Go(func() error { return call(url) })
			}
			if err := g.Wait(); err != nil {
				b.Fatal(err)
			}
			took[url] += time.Since(start)
		}
	}
	b.ReportMetric(float64(b.N)/took[ours].Seconds(), "calls/s")
	b.ReportMetric(took[bare].Seconds()/took[ours].Seconds(), "ratio")
}

// refreshers are signed-in clients, each with a grant of its own.
func refreshers(b *testing.B, issuer string, n int) chan *authtest.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: n}
	b.Cleanup(transport.CloseIdleConnections)
	clients := make(chan *authtest.Client, n)
	for range n {
		c := authtest.NewClient(issuer)
		c.HTTP.Transport = transport
		if err := c.Login(); err != nil {
			b.Fatal(err)
		}
		clients <- c
	}
	return clients
}

// renew refreshes with a client that is free.
func renew(clients chan *authtest.Client) error {
	c := <-clients
	defer func() { clients <- c }()
	a, err := c.Renew()
	if err == nil && a.Status != http.StatusOK {
		err = fmt.Errorf("refresh: %d %s", a.Status, a.Description)
	}
	return err
}

// benchmarkRefresh refreshes without a provider call: each client its own connection, one after another.
func benchmarkRefresh(b *testing.B, issuer string, n int) {
	clients := refreshers(b, issuer, n)
	b.ResetTimer()
	share(b, n, func() error { return renew(clients) })
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "refreshes/s")
}

// benchmarkRate begins refreshes at a constant rate, whether or not earlier ones are done; a latency counts from the
// moment that the refresh was due.
func benchmarkRate(b *testing.B, issuer string, perSecond int) {
	clients := refreshers(b, issuer, 128)
	took := make([]time.Duration, b.N)
	b.ResetTimer()
	start := time.Now()
	var g errgroup.Group
	for i := range b.N {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
		time.Sleep(time.Until(due))
		g.Go(func() error {
			err := renew(clients)
			took[i] = time.Since(due)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		b.Error(err)
	}
	slices.Sort(took)
	for name, share := range map[string]int{"p50-ms": 50, "p99-ms": 99} {
		b.ReportMetric(float64(took[(b.N-1)*share/100].Microseconds())/1000, name)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "refreshes/s")
}
