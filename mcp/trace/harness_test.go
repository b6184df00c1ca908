package trace_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/mcp"
	"hostedmcp/mcp/trace"
	"hostedmcp/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a whole hostedmcp in this process: authorization server, provider, MCP endpoint, on real HTTP.
type world struct {
	*authtest.Server
	t   testing.TB
	url string
}

func newWorld(t testing.TB, o authtest.ServerOptions) *world {
	t.Helper()
	w := &world{t: t}
	issuer := ""
	change := o.Auth
	o.Auth = func(a *auth.Options) {
		issuer = a.Issuer
		if change != nil {
			change(a)
		}
	}
	var server *mcp.Server
	o.Web = func(options *web.Options) {
		var err error
		if server, err = mcp.New(mcp.Options{Config: mcp.DefaultConfig(), Issuer: issuer, Name: "trace test", Version: "1", Authority: w.authority()}); err != nil {
			t.Fatal(err)
		}
		for i, e := range options.Endpoints {
			if e.Path == "/mcp" { // the stand-in of authtest
				options.Endpoints[i] = server.Endpoint()
			}
		}
	}
	w.Server = authtest.NewServer(t, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Close(ctx); err != nil {
			t.Error(err)
		}
		w.HTTP.CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
	})
	w.url = w.Issuer + "/mcp"
	return w
}

// authority asks w.Auth late: it is made after the endpoint.
func (w *world) authority() mcp.Authority {
	return mcp.Authority{
		Verify: func(ctx context.Context, bearer string) (*auth.Identity, error) { return w.Auth.Verify(ctx, bearer) },
		Claims: func(ctx context.Context, grant string) (auth.UserClaims, error) { return w.Auth.Claims(ctx, grant) },
		UpstreamToken: func(ctx context.Context, grant string) (oauth.Secret, error) {
			return w.Auth.UpstreamToken(ctx, grant)
		},
		Userinfo:  func(ctx context.Context, grant string) (json.RawMessage, error) { return w.Auth.Userinfo(ctx, grant) },
		FirstCall: func(ctx context.Context, grant string) { w.Auth.FirstCall(ctx, grant) },
		Ended:     func(ctx context.Context, grant string) <-chan struct{} { return w.Auth.Ended(ctx, grant) },
	}
}

// person returns an Open that signs in as alice; change may spoil the callback on its way to the listener.
func (w *world) person(change func(callback string) string) func(string) {
	return func(at string) { w.signIn(at, change) }
}

// signIn walks from at to the redirect to the client, and follows it as change has it.
func (w *world) signIn(at string, change func(string) string) {
	u, err := url.Parse(at)
	if err != nil {
		w.t.Error(err)
		return
	}
	end, last, err := w.NewClient().Browser.Login(at, u.Query().Get("redirect_uri")+"?")
	if err != nil || end == nil {
		w.t.Errorf("sign-in: %v at %+v", err, last)
		return
	}
	to := end.String()
	if change != nil {
		to = change(to)
	}
	res, err := http.Get(to)
	if err != nil {
		w.t.Errorf("callback: %v", err)
		return
	}
	res.Body.Close()
}

// outcome is what a run left.
type outcome struct {
	stdout, stderr string
	err            error
}

// steps reads the output of -json.
func (o outcome) steps(t testing.TB) (out struct {
	Verdict string
	Failed  string
	Steps   []trace.Step
}) {
	t.Helper()
	if err := json.Unmarshal([]byte(o.stdout), &out); err != nil {
		t.Fatalf("%v: %s", err, o.stdout)
	}
	return out
}

// run traces with alice at the browser.
func (w *world) run(env trace.Env, args ...string) outcome {
	w.t.Helper()
	var out, aside authtest.Buffer
	env.Stdout, env.Stderr = &out, &aside
	if env.HTTP == nil {
		env.HTTP = w.HTTP
	}
	if env.Open == nil {
		env.Open = w.person(nil)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	err := trace.Run(ctx, append([]string{"-wait", "1m"}, args...), env)
	return outcome{out.String(), aside.String(), err}
}

// fault changes one exchange on its way: before is called with the request, after with the answer.
type fault struct {
	path   string // of the URL; "" = every
	method string // HTTP or JSON-RPC method, or grant_type; "" = every
	nth    int    // 0 = each, 1 = the first that fits, and so on
	before func(*http.Request)
	after  func(status int, header http.Header, body string) (int, string)
}

// tamper is a transport that plants a fault in front of a good server.
type tamper struct {
	base http.RoundTripper
	fault
	mu    sync.Mutex
	count int
	seen  []string // requests with body, in order
}

func (p *tamper) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body.Close()
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	hit := p.hits(r, string(body))
	if hit && p.before != nil {
		p.before(r)
	}
	res, err := p.base.RoundTrip(r)
	if err != nil || !hit || p.after == nil {
		return res, err
	}
	defer res.Body.Close()
	text, err := readAnswer(res)
	if err != nil {
		return nil, err
	}
	res.StatusCode, text = p.after(res.StatusCode, res.Header, text)
	res.Header.Del("Content-Length")
	res.ContentLength = int64(len(text))
	res.Body = io.NopCloser(strings.NewReader(text))
	return res, nil
}

// readAnswer reads a body; of a stream only the first event with data, since it may stay open.
func readAnswer(res *http.Response) (string, error) {
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		b, err := io.ReadAll(res.Body)
		return string(b), err
	}
	var all []byte
	buf := make([]byte, 4096)
	for !strings.Contains(string(all), "\n\n") || !strings.Contains(string(all), "data: {") {
		n, err := res.Body.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			break
		}
	}
	return string(all), nil
}

func (p *tamper) hits(r *http.Request, body string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, r.Method+" "+r.URL.String()+" "+body)
	fits := p.method == "" || r.Method == p.method || strings.Contains(body, `"method":"`+p.method+`"`) ||
		strings.Contains(body, "grant_type="+p.method)
	if !fits || p.path != "" && r.URL.Path != p.path {
		return false
	}
	p.count++
	return p.nth == 0 || p.nth == p.count
}

// bare is the SDK's server without OAuth, with one tool.
func bare(t testing.TB, stateless bool) string {
	t.Helper()
	server := sdk.NewServer(&sdk.Implementation{Name: "bare", Version: "1"}, nil)
	server.AddTool(&sdk.Tool{Name: "echo", InputSchema: map[string]any{"type": "object"}},
		func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "hi"}}}, nil
		})
	h := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, &sdk.StreamableHTTPOptions{Stateless: stateless})
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
