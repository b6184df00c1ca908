package web_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
	"hostedmcp/web"
)

// TestLogLine: one line at the end of each request, with what was noted and without what nobody may read.
func TestLogLine(t *testing.T) {
	noting := auth.Endpoint{Path: "/noting", Methods: []string{"GET"}, CORS: auth.CORSAny, Handle: func(w http.ResponseWriter, r *http.Request) error {
		auth.Request(r.Context()).Grant("g1", "client1", "hash1")
		return oauth.Fail(oauth.InvalidGrant, oauth.RefreshReuse).Because(errors.New("token hmcp_rt_SECRET came twice"))
	}}
	h := newHarness(t, handling(noting))
	got := h.send("GET", "/noting?code=QUERY&state=QUERY", "", "Authorization", "Bearer HEADER", "Cookie", "x=HEADER", "User-Agent", "HEADER",
		"Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	h.server.Close()
	log := h.log.String()
	if strings.Count(log, "\n") != 1 {
		t.Fatalf("not one line: %s", log)
	}
	for _, secret := range []string{"QUERY", "HEADER", "SECRET"} {
		if strings.Contains(log, secret) {
			t.Errorf("log holds %s: %s", secret, log)
		}
	}
	var line map[string]any
	if err := json.Unmarshal([]byte(log), &line); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"level": "INFO", "msg": "request", "request": got.Header.Get("X-Request-Id"), "trace": "4bf92f3577b34da6a3ce929d0e0e4736", "method": "GET",
		"route": "/noting", "status": 400.0, "bytes": float64(len(got.body)), "grant": "g1", "client": "client1", "subject": "hash1",
		"oauth_error": "invalid_grant", "reason": "refresh_reuse", "cause": "token [redacted] came twice",
	} {
		if line[key] != want {
			t.Errorf("%s: %v, want %v", key, line[key], want)
		}
	}
	if _, ok := line["duration_us"].(float64); !ok {
		t.Errorf("duration %v", line["duration_us"])
	}
}

// TestRequestNamed: every answer, whatever it is, carries the id under which its one line can be found; an error page
// shows it to people (issue "one line per request").
func TestRequestNamed(t *testing.T) {
	away := oauth.Fail(oauth.AccessDenied, oauth.ConsentDenied)
	away.Redirect = "https://sync.example.net/cb?error=access_denied"
	h := newHarness(t, failing("/refused", true, oauth.Fail(oauth.InvalidRequest, oauth.RequestExpired)), failing("/trouble", true, errors.New("disk full")),
		failing("/away", true, away), handling(auth.Endpoint{Path: "/panic", Methods: []string{"GET"}, Page: true,
			Handle: func(http.ResponseWriter, *http.Request) error { panic("fault") }}))
	const html = "text/html"
	for _, c := range []struct {
		what, method, target, accept, body, media string
		status                                    int
		reason                                    oauth.Reason
	}{
		{"well", "GET", "/jwks", "", "", "", 200, oauth.OK},
		{"a page", "GET", "/", html, "", "", 200, oauth.OK},
		{"refused, page", "GET", "/refused", html, "", "", 400, oauth.RequestExpired},
		{"refused, JSON", "GET", "/refused", "", "", "", 400, oauth.RequestExpired},
		{"trouble, page", "GET", "/trouble", html, "", "", 503, oauth.Internal},
		{"trouble, JSON", "GET", "/trouble", "", "", "", 503, oauth.Internal},
		{"panic", "GET", "/panic", html, "", "", 503, oauth.Internal},
		{"redirect", "GET", "/away", html, "", "", 303, oauth.ConsentDenied},
		{"no such page", "GET", "/nothing", html, "", "", 404, oauth.NotFound},
		{"no such endpoint", "POST", "/nothing", "", "", "", 404, oauth.NotFound},
		{"method", "PUT", "/token", "", "", "", 405, oauth.MethodRefused},
		{"media type", "POST", "/token", "", "{}", "application/json", 415, oauth.RequestInvalid},
		{"size", "POST", "/token", "", strings.Repeat("a", 65), form, 413, oauth.RequestInvalid},
		{"preflight", "OPTIONS", "/token", "", "", "", 204, oauth.OK},
		{"ready", "GET", "/readyz", "", "", "", 200, oauth.OK},
		{"static", "GET", "/static/style.css", "", "", "", 200, oauth.OK},
	} {
		before := len(h.log.String())
		got := h.send(c.method, c.target, c.body, "Accept", c.accept, "Content-Type", c.media)
		id := got.Header.Get("X-Request-Id")
		if len(id) != 26 || got.StatusCode != c.status {
			t.Errorf("%s: %d, id %q", c.what, got.StatusCode, id)
		}
		if c.accept == html && c.status >= 400 && !parse(t, got.body, got.Header).says("Request "+id) {
			t.Errorf("%s: the page does not show %s", c.what, id)
		}
		line := requestLine(t, h.log, before)
		if line["request"] != id || line["status"] != float64(c.status) || line["reason"] != string(c.reason) || line["duration_us"] == nil || line["route"] == nil {
			t.Errorf("%s: %v", c.what, line)
		}
	}
}

// requestLine is the one line "request" that the log got after its first n bytes.
func requestLine(t *testing.T, log *lines, n int) map[string]any {
	t.Helper()
	var found []map[string]any
	for s := range strings.Lines(log.await(n, `"msg":"request"`)) {
		var line map[string]any
		if err := json.Unmarshal([]byte(s), &line); err != nil {
			t.Fatal(err)
		}
		if line["msg"] == "request" {
			found = append(found, line)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d lines: %s", len(found), log.String()[n:])
	}
	return found[0]
}

// TestLogNoSecret: at the level that tells most, nothing that a request or an answer carries is in a line, wherever it
// stands and however the request ends.
func TestLogNoSecret(t *testing.T) {
	const secret = "S3CRET"
	log := &lines{}
	speak := func(err error) func(http.ResponseWriter, *http.Request) error {
		return func(w http.ResponseWriter, r *http.Request) error {
			http.SetCookie(w, &http.Cookie{Name: "signin", Value: secret})
			if err == nil {
				fmt.Fprint(w, "hmcp_rt_"+secret)
			}
			return err
		}
	}
	redirect := oauth.Fail(oauth.AccessDenied, oauth.AccessRule)
	redirect.Redirect = "https://sync.example.net/cb?state=" + secret
	h := newHarness(t, func(o *web.Options) { o.Log = web.NewLogger(web.LogConfig{Level: "debug", Format: "json"}, log) }, handling(
		auth.Endpoint{Path: "/well", Methods: []string{"GET", "POST"}, MaxBody: 1 << 10, Handle: speak(nil)},
		auth.Endpoint{Path: "/refused", Methods: []string{"GET", "POST"}, MaxBody: 1 << 10, Page: true, Handle: speak(oauth.Fail(oauth.InvalidGrant, oauth.CodeInvalid).Because(errors.New("code hmcp_ac_" + secret)))},
		auth.Endpoint{Path: "/away", Methods: []string{"GET", "POST"}, MaxBody: 1 << 10, Page: true, Handle: speak(redirect)},
		auth.Endpoint{Path: "/panic", Methods: []string{"GET", "POST"}, MaxBody: 1 << 10, Handle: func(http.ResponseWriter, *http.Request) error { panic("Bearer " + secret) }}))
	headers := []string{"Authorization", "Bearer " + secret, "Cookie", "__Host-hostedmcp_signin=" + secret, "User-Agent", secret, "Referer", "https://x.example/" + secret,
		"Origin", "https://" + secret, "X-Forwarded-For", secret, "X-Request-Id", secret, "Traceparent", secret, "Tracestate", secret, "Mcp-Session-Id", secret, "Content-Type", form}
	sent := 0
	for _, path := range []string{"/well", "/refused", "/away", "/panic", "/" + secret, "/well/" + secret} {
		for _, method := range []string{"GET", "POST", secret} {
			body := ""
			if method == "POST" {
				body = "refresh_token=" + secret
			}
			h.send(method, path+"?code="+secret, body, headers...)
			sent++
		}
	}
	h.server.Close()
	if got := log.String(); strings.Contains(got, secret) || strings.Count(got, `"msg":"request"`) != sent {
		t.Errorf("log: %s", got)
	}
}

// TestLogClosedSets: what a stranger invents becomes neither a label nor part of a line.
func TestLogClosedSets(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := newHarness(t, func(o *web.Options) { o.Registerer = reg })
	h.send("BREW", "/jwks", "")
	h.send("GET", "/no/such/INVENTED", "")
	h.send("GET", "/static/style.css", "")
	h.server.Close()
	if log := h.log.String(); strings.Contains(log, "BREW") || strings.Contains(log, "INVENTED") {
		t.Errorf("log: %s", log)
	}
	w := httptest.NewRecorder()
	web.MetricsHandler(reg).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`hostedmcp_http_requests_total{method="other",route="/jwks",status="405"} 1`,
		`hostedmcp_http_requests_total{method="GET",route="unmatched",status="404"} 1`,
		`hostedmcp_http_requests_total{method="GET",route="/static/*",status="200"} 1`,
		`hostedmcp_http_request_duration_seconds_count{method="GET",route="/static/*"} 1`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	for target, status := range map[string]int{"/": 404, "/metrics/": 404} {
		w := httptest.NewRecorder()
		web.MetricsHandler(reg).ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if w.Code != status {
			t.Errorf("metrics listener, %s: %d", target, w.Code)
		}
	}
}

type inner struct{ Token string }

// LogValue is how zitadel's authorization request logs: as a group.
func (i inner) LogValue() slog.Value { return slog.GroupValue(slog.String("state", i.Token)) }

// TestRedaction: the second fence of the log.
func TestRedaction(t *testing.T) {
	const secret = "S3CRET"
	for what, log := range map[string]func(*slog.Logger){
		"key":                func(l *slog.Logger) { l.Info("m", "token", secret) },
		"key, other case":    func(l *slog.Logger) { l.Info("m", "Authorization", secret) },
		"header name":        func(l *slog.Logger) { l.Info("m", "Set-Cookie", secret) },
		"suffix":             func(l *slog.Logger) { l.Info("m", "upstream_refresh_token", secret, "client-secret", secret) },
		"in a group":         func(l *slog.Logger) { l.Info("m", slog.Group("a", slog.Group("b", "password", secret))) },
		"group of that name": func(l *slog.Logger) { l.Info("m", slog.Group("cookie", "value", secret)) },
		"WithGroup":          func(l *slog.Logger) { l.WithGroup("g").With("code", secret).Info("m") },
		"not a string":       func(l *slog.Logger) { l.Info("m", "secret", []string{secret}) },
		"typed":              func(l *slog.Logger) { l.Info("m", "x", oauth.Secret(secret)) },
		"our token":          func(l *slog.Logger) { l.Info("m", "x", "got hmcp_ac_"+secret) },
		"in the message":     func(l *slog.Logger) { l.Info("refused hmcp_rt_" + secret + "-_x") },
		"in an error":        func(l *slog.Logger) { l.Info("m", "error", fmt.Errorf("answer: %w", errors.New("Bearer "+secret))) },
		"a JWT":              func(l *slog.Logger) { l.Info("m", "x", "eyJhbGciOi."+secret+".sig") },
		"headers":            func(l *slog.Logger) { l.Info("m", "x", http.Header{"Cookie": {secret}}) },
		"values":             func(l *slog.Logger) { l.Info("m", "x", url.Values{"code": {secret}}) },
		"auth_request":       func(l *slog.Logger) { l.Info("m", "auth_request", inner{secret}) },
		"auth_request, flat": func(l *slog.Logger) { l.Info("m", "auth_request", secret) },
		"oidc_error.parent":  func(l *slog.Logger) { l.Info("m", slog.Group("oidc_error", "parent", secret, "type", "x")) },
		"parent, a group":    func(l *slog.Logger) { l.Info("m", slog.Group("oidc_error", slog.Group("parent", "x", secret))) },
		"parent, dotted":     func(l *slog.Logger) { l.Info("m", "oidc_error.parent", secret) },
	} {
		for _, format := range []string{"json", "text"} {
			var out strings.Builder
			log(web.NewLogger(web.LogConfig{Level: "debug", Format: format}, &out))
			if out.Len() == 0 || strings.Contains(out.String(), secret) {
				t.Errorf("%s, %s: %s", what, format, out.String())
			}
		}
	}
	var out strings.Builder
	web.NewLogger(web.DefaultLogConfig(), &out).Info("listening", "address", "127.0.0.1:8080", "client", "hmcp_ci_abc", "status", 200, "scope", "mcp",
		"error", errors.New("disk full"), slog.Group("oidc_error", "type", "server_error"))
	for _, kept := range []string{`"msg":"listening"`, "127.0.0.1:8080", "hmcp_ci_abc", "200", "mcp", "disk full", "server_error", `"level":"INFO"`, `"time":`} {
		if !strings.Contains(out.String(), kept) {
			t.Errorf("log lost %s: %s", kept, out.String())
		}
	}
}

func TestLoggerLevels(t *testing.T) {
	var out strings.Builder
	l := web.NewLogger(web.LogConfig{Level: "warn", Format: "auto"}, &out)
	l.Info("quiet")
	l.Warn("loud")
	if got := out.String(); strings.Contains(got, "quiet") || !strings.HasPrefix(got, `{"time"`) {
		t.Errorf("warn, auto into no terminal: %s", got)
	}
}

// TestFrame: the demo listener's requests have names, lines and no stack either.
func TestFrame(t *testing.T) {
	log := &lines{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, auth.Request(r.Context()).ID) })
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("demo fault") })
	mux.Handle("GET /static/", web.Static())
	server := httptest.NewServer(web.Frame(web.NewLogger(web.DefaultLogConfig(), log), "demo", mux))
	defer server.Close()
	h := &harness{t: t, server: server}
	if got := h.send("GET", "/login?state=QUERY", ""); got.body == "" || got.body != got.Header.Get("X-Request-Id") {
		t.Errorf("request id %q in %q", got.Header.Get("X-Request-Id"), got.body)
	}
	if got := h.send("GET", "/panic", ""); got.StatusCode != 503 || strings.Contains(got.body, "demo fault") {
		t.Errorf("panic: %d %s", got.StatusCode, got.body)
	}
	for target, status := range map[string]int{"/static/style.css": 200, "/static/mark.svg": 200, "/static/x": 404, "/static/": 404} {
		if got := h.send("GET", target, ""); got.StatusCode != status {
			t.Errorf("%s: %d", target, got.StatusCode)
		}
	}
	server.Close()
	if got := log.String(); !strings.Contains(got, `"route":"demo"`) || strings.Contains(got, "QUERY") || !strings.Contains(got, "demo fault") {
		t.Errorf("log: %s", got)
	}
}
