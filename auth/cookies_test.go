package auth_test

import (
	"net/http"
	"strings"
	"testing"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
)

// cookies returns what a page sets, by name.
func cookies(p *authtest.Page) map[string]*http.Cookie {
	out := map[string]*http.Cookie{}
	for _, line := range p.Header.Values("Set-Cookie") {
		if c, err := http.ParseSetCookie(line); err == nil {
			out[c.Name] = c
		}
	}
	return out
}

// protocol.md §4.2: the three cookies under https and under http on loopback, their attributes, life and size, and
// that the values are kept.
func TestCookies(t *testing.T) {
	for _, row := range []struct {
		issuer, prefix string
		secure         bool
	}{
		{"https://mcp.example.net", "__Host-", true},
		{"", "", false},
	} {
		t.Run("issuer "+row.issuer, func(t *testing.T) {
			r := newLogin(t, authtest.ServerOptions{Issuer: row.issuer})
			held := func(p *authtest.Page, name string, maxAge int) string {
				t.Helper()
				set := cookies(p)
				c := set[row.prefix+name]
				if c == nil || len(set) != 1 {
					t.Fatalf("%s sets %v, want only %s", p.URL.Path, set, row.prefix+name)
				}
				if c.Secure != row.secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" ||
					c.MaxAge != maxAge || len(c.Value) != 43 {
					t.Errorf("%s", c.Raw)
				}
				return c.Value
			}
			p := r.open(r.c.Begin().URL)
			csrf := held(p, "hostedmcp_csrf", 24*3600)
			if held(r.open(r.Issuer+"/status"), "hostedmcp_csrf", 24*3600) != csrf {
				t.Error("another csrf cookie on another page")
			}
			bind := held(r.press(p, "approve"), "hostedmcp_bind", 1800)
			if held(r.press(r.open(r.c.Begin().URL), "approve"), "hostedmcp_bind", 1800) != bind {
				t.Error("another binding cookie at the second approval")
			}
			start := r.form(r.open(r.Issuer+"/status"), nil, nil)
			if held(start, "hostedmcp_bind", 1800) != bind {
				t.Error("another binding cookie at a sign-in")
			}
			end := r.open(r.signIn(start))
			if signin := held(end, "hostedmcp_signin", 8*3600); signin == csrf || signin == bind {
				t.Error("one value for two cookies")
			}
			if csrf == bind {
				t.Error("one value for two cookies")
			}
		})
	}
}

// protocol.md §4.2: under https the names without __Host- are ignored: any host of the domain could set them.
func TestCookieNamesUnderHTTPS(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{Issuer: "https://mcp.example.net"})
	p := r.open(r.c.Begin().URL)
	value := r.c.Browser.Cookie(r.Issuer, "__Host-hostedmcp_csrf")
	r.local(r.form(p, map[string]string{"answer": "approve"}, http.Header{"Cookie": {"hostedmcp_csrf=" + value}}), 403, oauth.CSRFFailed)
	planted := http.Header{"Cookie": {"hostedmcp_bind=" + strings.Repeat("A", 43) + "; __Host-hostedmcp_csrf=" + value}}
	if c := cookies(r.form(p, map[string]string{"answer": "approve"}, planted))["__Host-hostedmcp_bind"]; c == nil || c.Value == strings.Repeat("A", 43) {
		t.Errorf("binding cookie %v", c)
	}
}

// protocol.md §4.2: a value that is not of our form is none: it is not kept.
func TestCookieForm(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	for _, planted := range []string{"AAAA", strings.Repeat("A", 42), strings.Repeat("A", 42) + "B", strings.Repeat("A", 86), strings.Repeat("=", 43)} {
		r.c.Browser.Header = http.Header{"Cookie": {"hostedmcp_csrf=" + planted}}
		p := r.open(r.c.Begin().URL)
		csrf := cookies(p)["hostedmcp_csrf"].Value
		if csrf == planted || len(csrf) != 43 {
			t.Errorf("csrf %q", csrf)
		}
		both := http.Header{"Cookie": {"hostedmcp_csrf=" + csrf + "; hostedmcp_bind=" + planted}}
		if bind := cookies(r.form(p, map[string]string{"answer": "approve"}, both))["hostedmcp_bind"]; bind == nil || bind.Value == planted {
			t.Errorf("bind %v", bind)
		}
	}
}

// protocol.md §4.3: the headers of our pages; no form-action, and HSTS only under https.
func TestPageHeaders(t *testing.T) {
	for _, issuer := range []string{"https://mcp.example.net", ""} {
		t.Run("issuer "+issuer, func(t *testing.T) {
			r := newLogin(t, authtest.ServerOptions{Issuer: issuer})
			for _, target := range []string{r.c.Begin().URL, r.Issuer + "/status", r.Issuer + "/callback"} {
				h := r.open(target).Header
				for name, want := range map[string]string{
					"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
					"X-Frame-Options":         "DENY", "Cross-Origin-Opener-Policy": "same-origin", "X-Content-Type-Options": "nosniff",
					"Referrer-Policy": "same-origin", "Cache-Control": "no-store", "Access-Control-Allow-Origin": "",
				} {
					if h.Get(name) != want {
						t.Errorf("%s: %s is %q", target, name, h.Get(name))
					}
				}
				if hsts := h.Get("Strict-Transport-Security") != ""; hsts != (issuer != "") {
					t.Errorf("%s: HSTS %v", target, hsts)
				}
			}
		})
	}
}
