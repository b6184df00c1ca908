package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
	"hostedmcp/web"
)

// TestExitForms: one refusal in its three forms (protocol.md, LOCAL and REDIR).
func TestExitForms(t *testing.T) {
	e := oauth.Fail(oauth.InvalidRequest, oauth.RequestExpired)
	to := *e
	to.Redirect = "cursor://anysphere.cursor-mcp/oauth/callback?x=1&error=access_denied"
	h := newHarness(t, failing("/page", true, e), failing("/api", false, e), failing("/redirect", true, &to))
	for _, c := range []struct {
		target, accept string
		page           bool
	}{
		{"/page", "text/html,application/xhtml+xml,*/*;q=0.8", true},
		{"/page", "application/json, TEXT/HTML;q=0.1", true},
		{"/page", "*/*", false},
		{"/page", "", false},
		{"/page", "application/json", false},
		{"/page", "text/html;q=0", false},
		{"/page", "text/htmlx", false},
		{"/api", "text/html", false},
	} {
		got := h.send("GET", c.target, "", "Accept", c.accept)
		if got.StatusCode != 400 || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %q: %d", c.target, c.accept, got.StatusCode)
		}
		if !c.page {
			checkJSON(t, got)
			continue
		}
		d := parse(t, got.body, got.Header)
		d.expect("This request has run out", "request_expired", got.Header.Get("X-Request-Id"), "23 November 2026, 12:00:00 UTC")
	}
	got := h.send("GET", "/redirect", "", "Accept", "text/html")
	if got.StatusCode != 303 || got.Header.Get("Location") != to.Redirect || got.body != "" || got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("redirect: %d %q %q", got.StatusCode, got.Header.Get("Location"), got.body)
	}
}

// TestExitHeaders: what a status calls for, and no more.
func TestExitHeaders(t *testing.T) {
	unauthorized := oauth.Fail(oauth.InvalidClient, oauth.ClientAuthFailed)
	basic := *unauthorized
	basic.Basic = true
	wait := func(status int, d time.Duration) *oauth.Error {
		e := oauth.Unavailable(oauth.UpstreamUnreachable, nil).With(status)
		e.RetryAfter = d
		return e
	}
	for what, c := range map[string]struct {
		err          error
		status       int
		header, want string
	}{
		"401":                {unauthorized, 401, "Www-Authenticate", ""},
		"401 Basic":          {&basic, 401, "Www-Authenticate", `Basic realm="hostedmcp"`}, // RFC 6749 §5.2
		"503 unsaid":         {wait(503, 0), 503, "Retry-After", "1"},
		"503 negative":       {wait(503, -time.Second), 503, "Retry-After", "1"},
		"503 rounded up":     {wait(503, 1100*time.Millisecond), 503, "Retry-After", "2"},
		"503 long":           {wait(503, 1<<62), 503, "Retry-After", "120"},
		"429":                {wait(429, 30*time.Second), 429, "Retry-After", "30"},
		"400":                {wait(400, 30*time.Second), 400, "Retry-After", ""},
		"a status of ours":   {wait(500, 0).With(200), 503, "Retry-After", "1"},
		"wrapped":            {fmt.Errorf("deep: %w", unauthorized), 401, "Retry-After", ""},
		"an error of inside": {errors.New("open /var/lib/secret"), 503, "Retry-After", "1"},
	} {
		h := newHarness(t, failing("/x", false, c.err))
		got := h.send("GET", "/x", "")
		if got.StatusCode != c.status || got.Header.Get(c.header) != c.want {
			t.Errorf("%s: %d, %s %q", what, got.StatusCode, c.header, got.Header.Get(c.header))
		}
		checkJSON(t, got)
		if strings.Contains(got.body, "secret") {
			t.Errorf("%s: the inside shows outside: %s", what, got.body)
		}
	}
}

// TestErrorPages: every code of the closed list has a page that says what happened and what to do.
func TestErrorPages(t *testing.T) {
	own := map[oauth.Reason]string{
		oauth.StateUnknown: "you pressed Allow again in another tab", oauth.CSRFFailed: "This form did not come from our own page, or the page is a day old. Nothing was changed.",
		oauth.BrowserMismatch: "Finish in the browser where you pressed Allow", oauth.ClientUnknown: "In your program, remove the connection to mcp.example.com.",
		oauth.RedirectRefused: "it wants the answer sent to an address that it did not register.", oauth.NotFound: "There is no such page",
		oauth.CIMDFailed:  "we could not fetch its description from bad.example.",
		oauth.CIMDBlocked: "we could not fetch its description from bad.example.", oauth.CIMDInvalid: "its description at bad.example has errors.",
		oauth.StorageUnavailable: "This server cannot save at the moment. Nothing is lost, and connected programs stay connected.",
		oauth.AccessRule:         "Ask your administrators.", oauth.UpstreamDenied: "You did not sign in", oauth.UpstreamConfig: "Sign-in does not work at the moment",
		oauth.IDTokenInvalid: "Tell your administrators the reason below.", oauth.UpstreamIss: "Sign-in does not work at the moment",
		oauth.UpstreamUnreachable: "login.example.com, where you sign in, is not answering at the moment.", oauth.RequestInvalid: "The program asked wrongly",
	}
	for _, reasons := range oauth.Reasons() {
		for _, reason := range reasons {
			h := newHarness(t, func(o *web.Options) { o.Endpoints = nil }, failing("/authorize", true, oauth.Fail(oauth.InvalidRequest, reason)))
			got := h.send("GET", "/authorize?client_id=https%3A%2F%2Fbad.example%2Fclient", "", "Accept", "text/html")
			d := parse(t, got.body, got.Header)
			d.expect("What to do", "Reason "+string(reason.Wire()), got.Header.Get("X-Request-Id"))
			if sentence, ok := own[reason]; ok {
				d.expect(sentence)
			}
			if reason == oauth.CIMDBlocked {
				d.refuse("cimd_blocked") // no probe of our network
			}
		}
	}
}

// TestErrorPageWays: where a click helps there is a button, and nowhere a link that holds a secret.
func TestErrorPageWays(t *testing.T) {
	back := oauth.Fail(oauth.InvalidTarget, oauth.TargetInvalid)
	back.Back = "https://sync.example.net/cb?t=%61&error=invalid_target&state=9f2c"
	scripted := oauth.Fail(oauth.InvalidTarget, oauth.TargetInvalid)
	scripted.Back = "javascript:alert(1)"
	down := oauth.Unavailable(oauth.UpstreamUnreachable, nil)
	for _, c := range []struct {
		path, method string
		err          error
		link, label  string
	}{
		{"/authorize", "GET", back, back.Back, "Back to sync.example.net"},
		{"/authorize", "GET", scripted, "", ""},
		{"/authorize", "GET", down, "/authorize?code=c&state=s", "Try again"},
		{"/callback", "GET", down, "", ""},
		{"/status", "GET", down, "/status", "Try again"},
		{"/signin", "POST", oauth.Fail(oauth.AccessDenied, oauth.CSRFFailed), "/status", "My connections"},
		{"/callback", "GET", oauth.Fail(oauth.AccessDenied, oauth.AccessRule), "", ""},
	} {
		h := newHarness(t, func(o *web.Options) { o.Endpoints = nil }, failing(c.path, true, c.err))
		got := h.send(c.method, c.path+"?code=c&state=s", "", "Accept", "text/html")
		d := parse(t, got.body, got.Header)
		if c.path == "/signin" {
			d.expect("Open “My connections” again and repeat what you did.")
		}
		link, label := "", ""
		for a := range d.all("a") {
			if attr(a, "class") == "button" {
				link, label = attr(a, "href"), text(a)
			}
		}
		if link != c.link || label != c.label {
			t.Errorf("%s %v: %q %q", c.path, c.err, link, label)
		}
	}
}

// TestErrorPageNamesClient: who asked wrongly is named as it names itself, in quotation marks (protocol.md §4.1), and on
// no page or answer that is not about its request.
func TestErrorPageNamesClient(t *testing.T) {
	const rest = " sent a request that we cannot accept: it asks for access to another server. It is not your fault, and nothing has been allowed."
	for name, want := range map[string]string{
		"Pipeline Sync": "“Pipeline Sync”" + rest, "": "The program" + rest, "<b>x": "“<b>x”" + rest, "a\u202eb": "“ab”" + rest, "\u200b": "The program" + rest,
	} {
		e := oauth.Fail(oauth.InvalidTarget, oauth.TargetInvalid)
		e.Client = name
		expired := oauth.Fail(oauth.InvalidRequest, oauth.RequestExpired)
		expired.Client = name
		h := newHarness(t, failing("/wrong", true, e), failing("/late", true, expired))
		d := parse(t, h.send("GET", "/wrong", "", "Accept", "text/html").body, nil)
		if !d.says(want) {
			t.Errorf("%q: page does not say %q", name, want)
		}
		if late := parse(t, h.send("GET", "/late", "", "Accept", "text/html").body, nil); name != "" && late.says("“") {
			t.Errorf("%q: named where its request is not at fault", name)
		}
		checkJSON(t, h.send("GET", "/wrong", ""))
	}
}

// TestPanic: `internal` outside, the stack in the log alone.
func TestPanic(t *testing.T) {
	early := auth.Endpoint{Path: "/early", Methods: []string{"GET"}, Page: true, Handle: func(http.ResponseWriter, *http.Request) error { panic("early fault") }}
	late := func(end func()) func(http.ResponseWriter, *http.Request) error {
		return func(w http.ResponseWriter, r *http.Request) error {
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			end()
			return errors.New("late error")
		}
	}
	h := newHarness(t, handling(early, auth.Endpoint{Path: "/late", Methods: []string{"GET"}, Handle: late(func() { panic("late fault") })},
		auth.Endpoint{Path: "/error", Methods: []string{"GET"}, Handle: late(func() {})},
		auth.Endpoint{Path: "/abort", Methods: []string{"GET"}, Handle: late(func() { panic(http.ErrAbortHandler) })}))
	got := h.send("GET", "/early", "", "Accept", "text/html")
	if got.StatusCode != 503 || !strings.Contains(got.body, "fault of its own") || strings.Contains(got.body, "early fault") || strings.Contains(got.body, ".go") {
		t.Errorf("panic before the answer: %d %s", got.StatusCode, got.body)
	}
	for _, target := range []string{"/late", "/error", "/abort"} {
		resp, err := http.Get(h.server.URL + target)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: half an answer looked whole: %q", target, body)
		}
		resp.Body.Close()
	}
	log := h.log.String()
	for _, want := range []string{"early fault", "late fault", "exit_test.go", `"cause":"late error"`, `"route":"/abort"`} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q", want)
		}
	}
}

// TestClientGone: a client that hangs up is no fault of ours.
func TestClientGone(t *testing.T) {
	seen := make(chan struct{})
	wait := auth.Endpoint{Path: "/wait", Methods: []string{"GET"}, Handle: func(w http.ResponseWriter, r *http.Request) error {
		close(seen)
		<-r.Context().Done()
		return context.Cause(r.Context())
	}}
	h := newHarness(t, handling(wait))
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "GET", h.server.URL+"/wait", nil)
	go func() { <-seen; cancel() }()
	if _, err := http.DefaultClient.Do(req); err == nil {
		t.Fatal("no error")
	}
	h.server.Close() // waits for the request to end
	if log := h.log.String(); strings.Contains(log, "internal") || !strings.Contains(log, `"level":"INFO"`) {
		t.Errorf("log: %s", log)
	}
}
