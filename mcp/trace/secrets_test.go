package trace_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"hostedmcp/auth/authtest"
	"hostedmcp/mcp/trace"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// credentials are what a whole run sends and gets that must stay out of its output.
var credentials = regexp.MustCompile(`(?:"(?:access_token|refresh_token|client_secret|id_token)":"|(?:^|[&? ])(?:code|code_verifier|refresh_token|token|client_secret)=)([^"& ]{8,})`)

// TestSecrets: no credential of a run is in its output, in plain or as JSON, whatever the server says and wherever it
// says it: this one repeats every token in errors, names and headers.
func TestSecrets(t *testing.T) {
	for _, args := range [][]string{nil, {"-json"}, {"-retry"}, {"-call", "whoami", "-as", "go-sdk"}, {"-as", "mcp-remote", "-json"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			w := newWorld(t, authtest.ServerOptions{})
			spy := &spy{base: w.HTTP.Transport}
			o := w.run(trace.Env{HTTP: &http.Client{Transport: spy}}, append(args, w.url)...)
			spy.mu.Lock()
			defer spy.mu.Unlock()
			if len(spy.found) < 6 {
				t.Fatalf("only %d credentials seen: %q", len(spy.found), spy.found)
			}
			for _, secret := range spy.found {
				for _, form := range []string{secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)), secret[:len(secret)-4]} {
					if strings.Contains(o.stdout+o.stderr, form) || o.err != nil && strings.Contains(o.err.Error(), form) {
						t.Errorf("%s… is in the output:\n%s", form[:6], o.stdout)
					}
				}
			}
		})
	}
}

// spy collects credentials, and puts all of them into every later answer that is JSON.
type spy struct {
	base http.RoundTripper
	tamper
	found []string
}

func (p *spy) RoundTrip(r *http.Request) (*http.Response, error) {
	p.tamper.base = p.base
	p.tamper.fault = fault{
		before: func(r *http.Request) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.collect(p.seen[len(p.seen)-1])
			if _, secret, ok := strings.Cut(r.Header.Get("Authorization"), "Bearer "); ok && secret != "hostedmcp-trace-made-this-up" {
				p.note(secret)
			}
			if id := r.Header.Get("Mcp-Session-Id"); id != "" {
				p.note(id)
			}
		},
		after: func(status int, h http.Header, body string) (int, string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.collect(body)
			all := strings.Join(p.found, " ")
			h.Set("Server", all)
			body = strings.ReplaceAll(body, `"error_description":"`, `"error_description":"`+all+" ")
			body = strings.ReplaceAll(body, `"message":"`, `"message":"`+all+" ")
			body = strings.ReplaceAll(body, `"serverInfo":{"name":"`, `"serverInfo":{"name":"`+all+" ")
			if status == http.StatusOK && r.URL.Path == "/revoke" {
				return http.StatusServiceUnavailable, `{"error":"` + all + `","error_description":"` + all + `"}`
			}
			return status, body
		},
	}
	return p.tamper.RoundTrip(r)
}

func (p *spy) collect(text string) {
	for _, m := range credentials.FindAllStringSubmatch(text, -1) {
		secret, err := url.QueryUnescape(m[1])
		if err != nil {
			secret = m[1]
		}
		p.note(secret)
	}
}

func (p *spy) note(secret string) {
	for _, f := range p.found {
		if f == secret {
			return
		}
	}
	p.found = append(p.found, secret)
}

// TestHostileWords: what a server says cannot move the cursor, fake a line or fill the screen.
func TestHostileWords(t *testing.T) {
	w := newWorld(t, authtest.ServerOptions{})
	hostile := fault{path: "/register", after: answers(400, "application/json",
		`{"error":"x","error_description":"\u001b[2J\r\nok    token\u202e\u2028`+strings.Repeat("a", 5000)+`"}`)}
	o := w.run(trace.Env{HTTP: &http.Client{Transport: &tamper{base: w.HTTP.Transport, fault: hostile}}}, w.url)
	wantFault(t, o, "registration", "400 x: ?[2J??ok    token??aaa")
	if strings.ContainsAny(o.stdout, "\x1b\r\u202e\u2028") || len(o.stdout) > 5000 {
		t.Errorf("%q", o.stdout)
	}
}
