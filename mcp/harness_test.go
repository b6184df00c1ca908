package mcp_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
	"hostedmcp/mcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// since is when every grant of these tests was made.
var since = time.Date(2026, 8, 1, 9, 0, 0, 0, time.UTC)

// authority is a fake authorization server: tokens by their hash, grants that can end or be in trouble.
type authority struct {
	mu      sync.Mutex
	tokens  map[[sha256.Size]byte]*auth.Identity
	refused map[string]error // by token: what Verify says of it
	ended   map[string]chan struct{}
	reason  map[string]oauth.Reason
	trouble error // of the provider, for everybody
	asked   []string
	first   []string
}

func newAuthority() *authority {
	return &authority{tokens: map[[32]byte]*auth.Identity{}, refused: map[string]error{},
		ended: map[string]chan struct{}{}, reason: map[string]oauth.Reason{}}
}

// login makes a grant of subject and client with the given scope, and returns its token. Grant and token are named
// after all three and n.
func (a *authority) login(subject, client, scope string, n int) (token, grant string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	grant = fmt.Sprintf("g.%s.%s.%d", subject, client, n)
	token = fmt.Sprintf("t.%s.%s.%s.%d", subject, client, strings.ReplaceAll(scope, " ", "-"), n)
	parsed, err := oauth.ParseScope(scope)
	if err != nil {
		panic(err)
	}
	a.tokens[sha256.Sum256([]byte(token))] = &auth.Identity{GrantID: grant, Subject: subject, ClientID: client,
		ClientName: "Client " + client, Scope: parsed, Since: since, Until: since.AddDate(0, 1, 0)}
	return token, grant
}

// end ends a grant.
func (a *authority) end(grant string, reason oauth.Reason) {
	ended := a.endedChannel(grant)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reason[grant] = reason
	close(ended)
}

func (a *authority) endedChannel(grant string) chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended[grant] == nil {
		a.ended[grant] = make(chan struct{})
	}
	return a.ended[grant]
}

func (a *authority) grantEnded(grant string) error {
	if reason, ok := a.reason[grant]; ok {
		e := oauth.Fail(oauth.InvalidToken, oauth.GrantEnded)
		e.Ended = reason
		return e
	}
	return nil
}

func (a *authority) verify(_ context.Context, bearer string) (*auth.Identity, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refused[bearer]; err != nil {
		return nil, err
	}
	id := a.tokens[sha256.Sum256([]byte(bearer))]
	if id == nil {
		return nil, oauth.Fail(oauth.InvalidToken, oauth.TokenInvalid)
	}
	if err := a.grantEnded(id.GrantID); err != nil {
		return nil, err
	}
	return id, nil
}

func (a *authority) upstream(_ context.Context, grant string) (oauth.Secret, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, grant)
	if err := a.grantEnded(grant); err != nil {
		return "", err
	}
	if a.trouble != nil {
		return "", a.trouble
	}
	return oauth.Secret("upstream of " + grant), nil
}

func (a *authority) seam() mcp.Authority {
	return mcp.Authority{
		Verify: a.verify,
		Claims: func(_ context.Context, grant string) (auth.UserClaims, error) {
			subject := strings.Split(grant, ".")[1]
			return auth.UserClaims{Name: "Name of " + subject, PreferredUsername: subject,
				Email: subject + "@example.com", Groups: []string{"group of " + subject}}, nil
		},
		UpstreamToken: a.upstream,
		Userinfo: func(ctx context.Context, grant string) (json.RawMessage, error) {
			if _, err := a.upstream(ctx, grant); err != nil {
				return nil, err
			}
			return json.RawMessage(`{"sub":"` + strings.Split(grant, ".")[1] + `","n":9007199254740993}`), nil
		},
		FirstCall: func(_ context.Context, grant string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.first = append(a.first, grant)
		},
		Ended: func(_ context.Context, grant string) <-chan struct{} { return a.endedChannel(grant) },
	}
}

// world is an endpoint on real HTTP with its fake authorization server.
type world struct {
	*authority
	t       testing.TB
	server  *mcp.Server
	http    *httptest.Server
	reg     *prometheus.Registry
	issuer  string
	url     string
	mu      sync.Mutex
	reasons []oauth.Reason // of the answered requests, as the log line has them
}

// newWorld starts one; change adjusts the options.
func newWorld(t testing.TB, change func(*mcp.Options)) *world {
	t.Helper()
	w := &world{authority: newAuthority(), t: t, reg: prometheus.NewRegistry()}
	w.http = httptest.NewUnstartedServer(http.HandlerFunc(w.pipeline))
	w.issuer = "http://" + w.http.Listener.Addr().String()
	w.url = w.issuer + "/mcp"
	o := mcp.Options{Config: mcp.DefaultConfig(), Issuer: w.issuer, Name: "test", Version: "1",
		Authority: w.seam(), Registerer: w.reg}
	if change != nil {
		change(&o)
	}
	server, err := mcp.New(o)
	if err != nil {
		t.Fatal(err)
	}
	w.server = server
	w.http.Start()
	t.Cleanup(w.close)
	return w
}

func (w *world) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.server.Close(ctx); err != nil {
		w.t.Errorf("close: %v", err)
	}
	w.http.Close()
	http.DefaultClient.CloseIdleConnections()
}

// pipeline stands for package web: it makes the RequestInfo and calls the endpoint.
func (w *world) pipeline(rw http.ResponseWriter, r *http.Request) {
	info := &auth.RequestInfo{ID: "request"}
	rw.Header().Set("Cache-Control", "no-store")
	if err := w.server.Endpoint().Handle(rw, r.WithContext(auth.WithRequest(r.Context(), info))); err != nil {
		w.t.Errorf("the endpoint writes its own errors, but returned %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reasons = append(w.reasons, info.Noted())
}

func (w *world) lastReason() oauth.Reason {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.reasons) == 0 {
		return ""
	}
	return w.reasons[len(w.reasons)-1]
}

// answers is the number of requests that the endpoint is done with.
func (w *world) answers() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.reasons)
}

// answer is a whole HTTP answer.
type answer struct {
	status int
	header http.Header
	body   string
}

// event returns the data of the last event of a stream, which is the answer, or the body itself, without insignificant
// white space. The first may be the one that says how to come back, when the machine is slow.
func (a answer) event() string {
	text := a.body
	for line := range strings.Lines(a.body) {
		if data, ok := strings.CutPrefix(line, "data: "); ok && strings.TrimSpace(data) != "" {
			text = strings.TrimSpace(data)
		}
	}
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil {
		return text
	}
	return b.String()
}

// request makes a request to the endpoint with pairs of header names and values; "Host" and "?" (query) are not
// headers. A nil body is none.
func (w *world) request(method, body string, pairs ...string) *http.Request {
	w.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, w.url, reader)
	if err != nil {
		w.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(pairs); i += 2 {
		switch name, value := pairs[i], pairs[i+1]; name {
		case "Host":
			r.Host = value
		case "?":
			r.URL.RawQuery = value
		case "Content-Type", "Accept":
			r.Header.Set(name, value)
		default:
			r.Header.Add(name, value)
		}
	}
	return r
}

// do sends a request and reads the whole answer.
func (w *world) do(r *http.Request) answer {
	w.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func (w *world) send(method, body string, pairs ...string) answer {
	w.t.Helper()
	return w.do(w.request(method, body, pairs...))
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

const version25 = "2025-11-25"

func initializeBody(id string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"initialize","params":{"protocolVersion":"` + version25 +
		`","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}`
}

// openSession initializes a session of the older era and returns its id.
func (w *world) openSession(token string) string {
	w.t.Helper()
	a := w.send("POST", initializeBody("0"), bearer(token)...)
	if a.status != 200 || a.header.Get("Mcp-Session-Id") == "" {
		w.t.Fatalf("initialize: %d %s", a.status, a.body)
	}
	return a.header.Get("Mcp-Session-Id")
}

func legacy(token, session string) []string {
	return append(bearer(token), "Mcp-Session-Id", session, "Mcp-Protocol-Version", version25)
}

const version26 = "2026-07-28"

const meta26 = `"_meta":{"io.modelcontextprotocol/protocolVersion":"` + version26 +
	`","io.modelcontextprotocol/clientCapabilities":{}}`

func modern(token, method, name string) []string {
	pairs := append(bearer(token), "Mcp-Protocol-Version", version26, "Mcp-Method", method)
	if name != "" {
		pairs = append(pairs, "Mcp-Name", name)
	}
	return pairs
}

func callBody(id, tool, extra string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"` + tool + `"` + extra + `}}`
}

// modernCall calls a tool in the modern era.
func (w *world) modernCall(token, tool string) answer {
	w.t.Helper()
	return w.send("POST", callBody("1", tool, ","+meta26), modern(token, "tools/call", tool)...)
}

// connect connects a real SDK client; token is asked for at each request.
func (w *world) connect(token func() string, version string) *sdk.ClientSession {
	w.t.Helper()
	client := sdk.NewClient(&sdk.Implementation{Name: "real", Version: "1"}, nil)
	transport := &http.Transport{}
	session, err := client.Connect(context.Background(), &sdk.StreamableClientTransport{Endpoint: w.url, MaxRetries: -1,
		HTTPClient: &http.Client{Transport: tokenTransport{token, transport}}},
		&sdk.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		session.Close()
		transport.CloseIdleConnections()
	})
	return session
}

type tokenTransport struct {
	token func() string
	base  http.RoundTripper
}

func (t tokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+t.token())
	r.Header.Set("Cookie", "stray=1")
	return t.base.RoundTrip(r)
}

// open sends a request and returns the answer with its body still coming.
func (w *world) open(ctx context.Context, r *http.Request) (*http.Response, *bufio.Reader) {
	w.t.Helper()
	resp, err := http.DefaultClient.Do(r.WithContext(ctx))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { resp.Body.Close() })
	return resp, bufio.NewReader(resp.Body)
}

// readUntil reads lines until one begins with prefix.
func readUntil(t testing.TB, r *bufio.Reader, prefix string) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if strings.HasPrefix(line, prefix) {
			return strings.TrimSpace(line)
		}
		if err != nil {
			t.Fatalf("waiting for %q: %v", prefix, err)
		}
	}
}

// tool is a tool for tests.
func tool(name string, call func(ctx context.Context, arguments json.RawMessage) (*mcp.Result, error)) mcp.Tool {
	return mcp.Tool{Name: name, Call: call,
		Definition: json.RawMessage(`{"name":"` + name + `","inputSchema":{"type":"object"}}`)}
}

func compact(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		t.Fatalf("%v: %s", err, s)
	}
	return b.String()
}

func nothing(context.Context, json.RawMessage) (*mcp.Result, error) {
	return mcp.Text("done"), nil
}

// gauge returns the sum of a metric over its labels; labels are name and value pairs to select by.
func (w *world) gauge(name string, labels ...string) (sum float64) {
	w.t.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			selected := true
			for i := 0; i < len(labels); i += 2 {
				selected = selected && have[labels[i]] == labels[i+1]
			}
			if selected {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// await waits for what happens in another goroutine and sends no signal.
func (w *world) await(what string, done func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain: %s", what)
		}
	}
}
