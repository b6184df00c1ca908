package oauth_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"hostedmcp/auth/oauth"
)

func TestParseParams(t *testing.T) {
	p, err := oauth.ParseParams("a=1&b=x+y%20z&&resource=r1&resource=r2&empty=&bare&%63ode=c&u=%C3%A9&eq=a=b")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a": "1", "b": "x y z", "resource": "r1", "empty": "", "bare": "", "absent": "", "code": "c", "u": "é", "eq": "a=b",
	} {
		if got := p.Get(name); got != want || p.Has(name) != (want != "") {
			t.Errorf("%s = %q, %v", name, got, p.Has(name))
		}
	}
	if got := p.All("resource"); !slices.Equal(got, []string{"r1", "r2"}) {
		t.Errorf("resource = %q", got)
	}
	if p.Count("resource") != 2 || p.Count("empty") != 1 || p.Count("absent") != 0 {
		t.Errorf("counts %d, %d, %d", p.Count("resource"), p.Count("empty"), p.Count("absent"))
	}
	if p.Repeated() != "resource" || p.Repeated("resource") != "" {
		t.Errorf("repeated: %q, %q", p.Repeated(), p.Repeated("resource"))
	}
}

func TestParseParamsRefuses(t *testing.T) {
	for _, row := range []struct{ source, raw string }{
		{"RFC 3986 §2.1 cut escape", "a=%"},
		{"RFC 3986 §2.1 cut escape", "a=%4"},
		{"RFC 3986 §2.1 no hexadecimal", "a=%zz"},
		{"RFC 3986 §2.1 in the name", "%zz=a"},
		{"URL standard: ; is no separator", "a=1;b=2"},
		{"RFC 6749 appendix B UTF-8", "a=%ff"},
		{"RFC 6749 appendix B UTF-8 in the name", "%ff=a"},
	} {
		if _, err := oauth.ParseParams(row.raw); err == nil || strings.Contains(err.Error(), row.raw) {
			t.Errorf("%s: %q: %v", row.source, row.raw, err)
		}
	}
}

// RFC 6749 §3.1: a parameter must not be included more than once, also if one of them is empty or spelled otherwise.
func TestRepeated(t *testing.T) {
	for raw, want := range map[string]string{
		"": "", "a=1&b=2": "", "a=1&a=1": "a", "a=&a=1": "a", "a&a": "a", "%61=1&a=2": "a", "b=1&b=2&a=1&a=2": "a", "A=1&a=1": "",
	} {
		p, err := oauth.ParseParams(raw)
		if err != nil || p.Repeated() != want {
			t.Errorf("%q: %q, %v", raw, p.Repeated(), err)
		}
	}
	if (oauth.Params{}).Repeated() != "" || (oauth.Params{}).Get("a") != "" {
		t.Error("the zero value has parameters")
	}
}

func TestAppendQuery(t *testing.T) {
	for _, row := range []struct{ source, uri, want string }{
		{"RFC 6749 §4.1.2", "https://a.example/cb", "https://a.example/cb?code=c%26%3D&state=a%20b%2B"},
		{"RFC 6749 §3.1.2 own query kept", "https://a.example/cb?t=%7e+1&u", "https://a.example/cb?t=%7e+1&u&code=c%26%3D&state=a%20b%2B"},
		{"empty query", "https://a.example/cb?", "https://a.example/cb?code=c%26%3D&state=a%20b%2B"},
		{"open query", "https://a.example/cb?t=1&", "https://a.example/cb?t=1&code=c%26%3D&state=a%20b%2B"},
		{"RFC 8252 §7.1", "cursor://x/cb", "cursor://x/cb?code=c%26%3D&state=a%20b%2B"},
	} {
		got := oauth.AppendQuery(row.uri, "code", "c&=", "left", "", "state", "a b+")
		if got != row.want {
			t.Errorf("%s: %s", row.source, got)
		}
		u, err := url.Parse(got)
		if err != nil || u.Query().Get("state") != "a b+" || u.Query().Get("code") != "c&=" {
			t.Errorf("%s reads as %v, %v", got, u, err)
		}
	}
	if got := oauth.AppendQuery("https://a.example/cb"); got != "https://a.example/cb" {
		t.Errorf("without parameters: %s", got)
	}
}
