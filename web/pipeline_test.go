package web_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
	"hostedmcp/web"
)

// TestTable walks the rules of protocol.md §1 that hold whatever an endpoint does.
func TestTable(t *testing.T) {
	h := newHarness(t)
	type row struct {
		what, method, target, body string
		headers                    []string
		status                     int
		want                       map[string]string // headers; "-" = absent
	}
	formType := []string{"Content-Type", form}
	jsonError := map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store"}
	for _, c := range []row{
		{"known", "GET", "/jwks", "", nil, 200, map[string]string{"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "-"}},
		{"HEAD where cacheable", "HEAD", "/jwks", "", nil, 200, map[string]string{"Cache-Control": "public, max-age=300"}},
		{"HEAD where listed", "HEAD", "/mcp", "", nil, 200, nil},
		{"HEAD elsewhere", "HEAD", "/authorize", "", nil, 405, map[string]string{"Allow": "GET"}},
		{"query on GET", "GET", "/jwks?x=1", "", nil, 200, nil},
		{"trailing slash", "GET", "/jwks/", "", nil, 404, map[string]string{"Location": "-"}},
		{"two slashes", "GET", "//jwks", "", nil, 404, map[string]string{"Location": "-"}},
		{"dot segment", "GET", "/x/../jwks", "", nil, 404, map[string]string{"Location": "-"}},
		{"single dot", "GET", "/./jwks", "", nil, 404, map[string]string{"Location": "-"}},
		{"encoded slash", "GET", "/grants%2fend", "", nil, 404, nil},
		{"encoded letter", "GET", "/%6awks", "", nil, 404, nil},
		{"encoded dots", "GET", "/x/%2e%2e/jwks", "", nil, 404, nil},
		{"upper case", "GET", "/JWKS", "", nil, 404, nil},
		{"semicolon", "GET", "/jwks;x", "", nil, 404, nil},
		{"full OIDC discovery", "GET", "/.well-known/openid-configuration", "", nil, 404, jsonError},
		{"path-suffixed metadata", "GET", "/.well-known/oauth-authorization-server/mcp", "", nil, 404, jsonError},
		{"below a file", "GET", "/static/style.css/x", "", nil, 404, nil},
		{"folder", "GET", "/static/", "", nil, 404, nil},
		{"not there", "GET", "/static/../server.go", "", nil, 404, nil},
		{"absolute form", "GET", "http://mcp.example.com/jwks", "", nil, 200, nil},
		{"method", "POST", "/jwks", "", nil, 405, map[string]string{"Allow": "GET, HEAD, OPTIONS", "Cache-Control": "no-store"}},
		{"method of a form", "GET", "/token", "", nil, 405, map[string]string{"Allow": "POST, OPTIONS"}},
		{"unknown method", "BREW", "/authorize", "", nil, 405, map[string]string{"Allow": "GET"}},
		{"OPTIONS without CORS", "OPTIONS", "/authorize", "", nil, 405, map[string]string{"Allow": "GET", "Access-Control-Allow-Origin": "-"}},
		{"form", "POST", "/token", "a=b", formType, 200, map[string]string{"Cache-Control": "no-store", "Access-Control-Allow-Origin": "*"}},
		{"form with charset", "POST", "/token", "a=b", []string{"Content-Type", form + "; charset=UTF-8"}, 200, nil},
		{"form as JSON", "POST", "/token", "{}", []string{"Content-Type", "application/json"}, 415, jsonError},
		{"form without type", "POST", "/token", "a=b", nil, 415, jsonError},
		{"multipart", "POST", "/consent", "a=b", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415, jsonError},
		{"query on POST", "POST", "/token?a=b", "a=b", formType, 400, jsonError},
		{"largest body", "POST", "/token", strings.Repeat("a", 64), formType, 200, nil},
		{"body too large", "POST", "/token", strings.Repeat("a", 65), formType, 413, jsonError},
		{"chunked body too large", "POST", "/token", "", []string{"Transfer-Encoding", "chunked"}, 413, jsonError},
		{"health", "GET", "/healthz", "", nil, 200, map[string]string{"Cache-Control": "no-store"}},
		{"ready", "GET", "/readyz", "", nil, 200, map[string]string{"Cache-Control": "no-store"}},
		{"landing", "GET", "/", "", nil, 200, map[string]string{"Cache-Control": "public, max-age=300"}},
		{"landing, HEAD", "HEAD", "/", "", nil, 200, map[string]string{"Content-Type": "text/html; charset=utf-8"}},
		{"stylesheet", "GET", "/static/style.css?v=x", "", nil, 200, map[string]string{"Cache-Control": "public, max-age=3600", "Content-Type": "text/css; charset=utf-8"}},
		{"mark", "GET", "/static/mark.svg", "", nil, 200, map[string]string{"Content-Type": "image/svg+xml"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			var got answer
			if c.headers != nil && c.headers[0] == "Transfer-Encoding" {
				got = h.chunked(c.target, strings.Repeat("a", 65))
			} else {
				got = h.send(c.method, c.target, c.body, c.headers...)
			}
			if got.StatusCode != c.status {
				t.Errorf("status %d, want %d: %s", got.StatusCode, c.status, got.body)
			}
			for name, want := range c.want {
				if v := got.Header.Get(name); v != want && (want != "-" || v != "") {
					t.Errorf("%s: %q, want %q", name, v, want)
				}
			}
			checkEvery(t, got)
			if reached := h.info.ID == got.Header.Get("X-Request-Id"); reached && got.StatusCode >= 400 && c.what != "chunked body too large" {
				t.Error("the endpoint saw a request that was refused")
			}
			if got.StatusCode >= 400 && c.method != "HEAD" {
				checkJSON(t, got)
			}
		})
	}
}

// chunked sends a body of unknown length.
func (h *harness) chunked(target, body string) answer {
	req, err := http.NewRequest("POST", h.server.URL+target, io.MultiReader(strings.NewReader(body)))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", form)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, _ := io.ReadAll(resp.Body)
	return answer{resp, string(got)}
}

// checkEvery is what every answer carries.
func checkEvery(t *testing.T, got answer) {
	t.Helper()
	if id := got.Header.Get("X-Request-Id"); len(id) != 26 {
		t.Errorf("request id %q", id)
	}
	if got.Header.Get("X-Content-Type-Options") != "nosniff" || got.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("headers of every answer missing: %v", got.Header)
	}
}

// checkJSON holds an error to {"error","error_description"}, the description to "<reason>: <sentence>".
func checkJSON(t *testing.T, got answer) {
	t.Helper()
	var e map[string]string
	if err := json.Unmarshal([]byte(got.body), &e); err != nil || len(e) != 2 || e["error"] == "" {
		t.Fatalf("error body %q", got.body)
	}
	reason, sentence, ok := strings.Cut(e["error_description"], ": ")
	if !ok || oauth.Reason(reason).Sentence() != sentence {
		t.Errorf("description %q", e["error_description"])
	}
}

func TestRequestID(t *testing.T) {
	h := newHarness(t)
	first := h.send("GET", "/jwks", "", "X-Request-Id", "mine").Header.Get("X-Request-Id")
	second := h.send("GET", "/jwks", "").Header.Get("X-Request-Id")
	if first == "mine" || first == second || second != h.info.ID {
		t.Errorf("ids %q, %q, endpoint saw %q", first, second, h.info.ID)
	}
}

// TestForwardedHeaders: no header changes a link, a redirect or a page (CVE-2025-64101).
func TestForwardedHeaders(t *testing.T) {
	h := newHarness(t)
	plain := h.send("GET", "/", "")
	forged := h.send("GET", "/", "", "Host", "evil.example", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http",
		"Forwarded", "host=evil.example", "X-Forwarded-Prefix", "/evil", "X-Original-URL", "/jwks", "X-Http-Method-Override", "DELETE")
	if forged.body != plain.body || forged.StatusCode != 200 {
		t.Error("a header changed the landing page")
	}
}

// TestLoopbackHost: on loopback a page has one name, or its cookies would have several.
func TestLoopbackHost(t *testing.T) {
	site := publicSite()
	site.Issuer = "http://127.0.0.1:8080"
	h := newHarness(t, func(o *web.Options) { o.Pages = newPages(t, site) })
	for _, c := range []struct {
		method, target, host string
		status               int
		location             string
	}{
		{"GET", "/authorize?a=b%20c", "localhost:8080", 303, "http://127.0.0.1:8080/authorize?a=b%20c"},
		{"GET", "/", "evil.example", 303, "http://127.0.0.1:8080/"},
		{"GET", "/authorize", "127.0.0.1:8080", 200, ""},
		{"POST", "/authorize", "localhost:8080", 405, ""},
		{"GET", "/jwks", "localhost:8080", 200, ""},
		{"GET", "/nothing", "localhost:8080", 404, ""},
	} {
		got := h.send(c.method, c.target, "", "Host", c.host)
		if got.StatusCode != c.status || got.Header.Get("Location") != c.location {
			t.Errorf("%s %s at %s: %d %q", c.method, c.target, c.host, got.StatusCode, got.Header.Get("Location"))
		}
		if got.Header.Get("Strict-Transport-Security") != "" {
			t.Error("HSTS over http")
		}
	}
	if public := newHarness(t).send("GET", "/", "", "Host", "localhost"); public.StatusCode != 200 {
		t.Errorf("public issuer, other host: %d", public.StatusCode)
	}
}

func TestPageHeaders(t *testing.T) {
	h := newHarness(t)
	for _, target := range []string{"/", "/authorize", "/nothing"} {
		header := h.send("GET", target, "", "Accept", "text/html").Header
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
			"X-Frame-Options":         "DENY", "Cross-Origin-Opener-Policy": "same-origin", "Referrer-Policy": "same-origin",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s %q", target, name, got)
			}
		}
	}
}

// TestBodyTimeout: a body that does not come is the sender's fault, and a stream may outlive the time for a body.
func TestBodyTimeout(t *testing.T) {
	h := newHarness(t, func(o *web.Options) { o.BodyTimeout = blink })
	c, err := net.Dial("tcp", h.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: "+form+"\r\nContent-Length: 10\r\n\r\na=")
	if got := h.read(c, "POST"); got.StatusCode != 400 {
		t.Errorf("slow body: %d", got.StatusCode)
	}
}

// TestStreamOutlivesBodyTimeout: what bounds the body must not bound the answer, in both versions of HTTP.
func TestStreamOutlivesBodyTimeout(t *testing.T) {
	for _, version := range []int{1, 2} {
		patient(t, func(within time.Duration) error {
			stream := auth.Endpoint{Path: "/stream", Methods: []string{"POST"}, MaxBody: 10, Handle: func(w http.ResponseWriter, r *http.Request) error {
				if _, err := io.ReadAll(r.Body); err != nil {
					return err
				}
				w.(http.Flusher).Flush()
				if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
					return err
				}
				select {
				case <-r.Context().Done():
					io.WriteString(w, "cut")
				case <-time.After(4 * within):
					io.WriteString(w, "whole")
				}
				return nil
			}}
			handler, err := web.NewHandler(web.Options{Pages: newPages(t, publicSite()), Endpoints: []auth.Endpoint{stream}, BodyTimeout: within})
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewUnstartedServer(handler)
			server.EnableHTTP2 = version == 2
			server.StartTLS()
			defer server.Close()
			resp, err := server.Client().Post(server.URL+"/stream", "text/plain", strings.NewReader("body"))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); string(got) != "whole" || err != nil || resp.ProtoMajor != version {
				return fmt.Errorf("HTTP/%d: %q, %v", resp.ProtoMajor, got, err)
			}
			return nil
		})
	}
}

func TestNewHandlerRefuses(t *testing.T) {
	for what, rows := range map[string][]auth.Endpoint{
		"twice":     {{Path: "/", Methods: []string{"GET"}, Handle: func(http.ResponseWriter, *http.Request) error { return nil }}},
		"no handle": {{Path: "/x", Methods: []string{"GET"}}},
		"no path":   {{Methods: []string{"GET"}, Handle: func(http.ResponseWriter, *http.Request) error { return nil }}},
	} {
		if _, err := web.NewHandler(web.Options{Pages: newPages(t, publicSite()), Endpoints: rows}); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if _, err := web.NewHandler(web.Options{}); err == nil {
		t.Error("no pages: accepted")
	}
}

func TestReady(t *testing.T) {
	var store, provider error
	h := newHarness(t, func(o *web.Options) {
		o.Checks = []web.Check{{Name: "storage", Check: func() error { return store }}, {Name: "provider", Check: func() error { return provider }}}
	})
	if got := h.send("GET", "/readyz", ""); got.StatusCode != 200 || got.body != `{"ready":true}` {
		t.Errorf("ready: %d %s", got.StatusCode, got.body)
	}
	store, provider = oauth.Unavailable(oauth.StorageUnavailable, errors.New("disk /dev/sda1 full")), errors.New("secret detail")
	got := h.send("GET", "/readyz", "")
	want := `{"ready":false,"failed":[{"check":"storage","reason":"storage_unavailable"},{"check":"provider","reason":"internal"}]}`
	if got.StatusCode != 503 || got.body != want {
		t.Errorf("not ready: %d %s", got.StatusCode, got.body)
	}
	if got := h.send("GET", "/healthz", ""); got.StatusCode != 200 {
		t.Errorf("health of a server that is not ready: %d", got.StatusCode)
	}
}
