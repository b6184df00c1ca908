package web_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
	"hostedmcp/web"
)

// noon is the time that pages tell.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func publicSite() web.Site {
	return web.Site{
		Name: "Example Corp data", ShortName: "example-data", Issuer: "https://mcp.example.com", ProviderHost: "login.example.com",
		Idle: oauth.Days(30), MaxAge: oauth.Days(365),
	}
}

func newPages(t *testing.T, site web.Site) *web.Pages {
	t.Helper()
	p, err := web.NewPages(site, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lines is a log that tests read while the server writes it.
type lines struct {
	mu    sync.Mutex
	buf   strings.Builder
	grown *sync.Cond // of mu; nil until somebody waits
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.grown != nil {
		l.grown.Broadcast()
	}
	return l.buf.Write(p)
}

// await returns what was written after the first n bytes, once that holds s: an answer may reach its client before
// its line is written.
func (l *lines) await(n int, s string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.grown == nil {
		l.grown = sync.NewCond(&l.mu)
	}
	for !strings.Contains(l.buf.String()[n:], s) {
		l.grown.Wait()
	}
	return l.buf.String()[n:]
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// harness is the real pipeline behind real HTTP with a few rows of the endpoint table.
type harness struct {
	t      *testing.T
	server *httptest.Server
	log    *lines
	info   auth.RequestInfo // of the last request that reached a row: only the fields set by the pipeline
	body   string           // what that row read
}

func newHarness(t *testing.T, change ...func(*web.Options)) *harness {
	t.Helper()
	h := &harness{t: t, log: &lines{}}
	o := web.Options{
		Pages: newPages(t, publicSite()), Endpoints: h.rows(), Log: web.NewLogger(web.DefaultLogConfig(), h.log),
		AllowedOrigins: []string{"https://app.example"}, AllowedHosts: []string{"alias.example"}, BodyTimeout: 10 * time.Second,
	}
	for _, c := range change {
		c(&o)
	}
	handler, err := web.NewHandler(o)
	if err != nil {
		t.Fatal(err)
	}
	h.server = httptest.NewServer(handler)
	t.Cleanup(h.server.Close)
	return h
}

func (h *harness) rows() []auth.Endpoint {
	answer := func(w http.ResponseWriter, r *http.Request) error {
		info := auth.Request(r.Context())
		h.info.ID, h.info.Address, h.info.Trace = info.ID, info.Address, info.Trace
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(err)
		}
		h.body = string(body)
		_, err = io.WriteString(w, "answer")
		return err
	}
	get, post := []string{"GET"}, []string{"POST"}
	return []auth.Endpoint{
		{Path: "/jwks", Methods: get, CORS: auth.CORSAny, Cache: auth.Public, Handle: answer},
		{Path: "/token", Methods: post, CORS: auth.CORSAny, MaxBody: 64, Form: true, Handle: answer},
		{Path: "/authorize", Methods: get, Page: true, Handle: answer},
		{Path: "/consent", Methods: post, Page: true, Form: true, MaxBody: 64, Handle: answer},
		{Path: "/mcp", Methods: []string{"POST", "GET", "HEAD", "DELETE"}, CORS: auth.CORSListed, MaxBody: 64, Handle: answer},
	}
}

// failing adds a row that fails with err.
func failing(path string, page bool, err error) func(*web.Options) {
	return handling(auth.Endpoint{Path: path, Methods: []string{"GET", "POST"}, Page: page, Handle: func(http.ResponseWriter, *http.Request) error { return err }})
}

func handling(rows ...auth.Endpoint) func(*web.Options) {
	return func(o *web.Options) { o.Endpoints = append(o.Endpoints, rows...) }
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// send makes a request whose target goes over the wire as it is written, followed by nothing of the client's own.
func (h *harness) send(method, target, body string, headers ...string) answer {
	h.t.Helper()
	c, err := net.Dial("tcp", h.server.Listener.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	host := "mcp.example.com"
	var extra strings.Builder
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			host = headers[i+1]
			continue
		}
		extra.WriteString(headers[i] + ": " + headers[i+1] + "\r\n")
	}
	if body != "" {
		extra.WriteString("Content-Length: " + itoa(len(body)) + "\r\n")
	}
	io.WriteString(c, method+" "+target+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n"+extra.String()+"\r\n"+body)
	return h.read(c, method)
}

func (h *harness) read(c net.Conn, method string) answer {
	h.t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		h.t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{resp, string(got)}
}

func itoa(n int) string { return slog.IntValue(n).String() }

const form = "application/x-www-form-urlencoded"
