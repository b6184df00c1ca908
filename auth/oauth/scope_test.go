package oauth_test

import (
	"slices"
	"strings"
	"testing"

	"hostedmcp/auth/oauth"
)

func TestParseScope(t *testing.T) {
	for _, row := range []struct {
		source, scope string
		want          oauth.Scope
		ok            bool
	}{
		{"RFC 6749 §3.3 absent", "", nil, true},
		{"RFC 6749 §3.3", "mcp mcp:admin", oauth.Scope{"mcp", "mcp:admin"}, true},
		{"RFC 6749 §3.3 repeated counts once", "a b a", oauth.Scope{"a", "b"}, true},
		{"RFC 6749 §3.3 every character", "!#[]~ https://a.example/s", oauth.Scope{"!#[]~", "https://a.example/s"}, true},
		{"RFC 6749 §3.3 case counts", "a A", oauth.Scope{"a", "A"}, true},
		{"RFC 6749 §3.3 two spaces", "a  b", nil, false},
		{"RFC 6749 §3.3 space before", " a", nil, false},
		{"RFC 6749 §3.3 space after", "a ", nil, false},
		{"RFC 6749 §3.3 tab", "a\tb", nil, false},
		{"RFC 6749 §3.3 quote", `a"b`, nil, false},
		{"RFC 6749 §3.3 backslash", `a\b`, nil, false},
		{"RFC 6749 §3.3 ASCII", "é", nil, false},
		{"RFC 6749 §3.3 DEL", "a\x7f", nil, false},
		{"protocol §4.1 longest", strings.Repeat("a", 1024), oauth.Scope{strings.Repeat("a", 1024)}, true},
		{"protocol §4.1 too long", strings.Repeat("a", 1025), nil, false},
	} {
		got, err := oauth.ParseScope(row.scope)
		if (err == nil) != row.ok || !slices.Equal(got, row.want) {
			t.Errorf("%s: %.40q: %q, %v", row.source, row.scope, got, err)
		}
	}
}

func TestScopeSets(t *testing.T) {
	s, none := oauth.Scope{"c", "a", "b"}, oauth.Scope(nil)
	if s.String() != "c a b" || none.String() != "" {
		t.Errorf("String: %q, %q", s, none)
	}
	if !s.Has("a") || s.Has("") || s.Has("A") {
		t.Error("Has")
	}
	if !s.Contains(oauth.Scope{"b", "c"}) || !s.Contains(nil) || s.Contains(oauth.Scope{"a", "x"}) || none.Contains(s) {
		t.Error("Contains")
	}
	if got := s.Keep(oauth.Scope{"b", "x", "c"}); got.String() != "c b" {
		t.Errorf("Keep = %q", got)
	}
	if s.Keep(nil) != nil {
		t.Error("Keep of nothing known is not nil")
	}
	if got := s.Without("a"); got.String() != "c b" || s.String() != "c a b" || none.Without("a") != nil {
		t.Errorf("Without = %q, of %q", got, s)
	}
	wide := make(oauth.Scope, 1, 8)
	wide[0] = "a"
	one, two := wide.Union(oauth.Scope{"b", "a", "b"}), wide.Union(oauth.Scope{"c"})
	if one.String() != "a b" || two.String() != "a c" || wide.String() != "a" {
		t.Errorf("Union = %q, %q, of %q", one, two, wide)
	}
}

func TestDisplayText(t *testing.T) {
	for _, row := range []struct{ what, in, want string }{
		{"plain", "Claude Code", "Claude Code"},
		{"trimmed", "  \t Claude \n", "Claude"},
		{"white space collapses", "Claude\r\n\u00a0\u2028 Code", "Claude Code"},
		{"other scripts stay", "Bücher 書店 कि", "Bücher 書店 कि"},
		{"controls", "Cla\x00u\x1bd\x7fe\u0085", "Claude"},
		{"bidirectional (CVE-2021-42574)", "\u202eedualC\u202c \u2066x\u2069\u200f", "edualC x"},
		{"zero width", "Cl\u200bau\u200dde\ufeff\u2060\u00ad", "Claude"},
		{"tags", "Claude\U000e0041\U000e007f", "Claude"},
		{"variation selectors", "A\ufe0f\U000e0100", "A"},
		{"blanks that are no space", "\u3164\u115f\u2800\uffa0", ""},
		{"private use", "A\ue000\U000f0000", "A"},
		{"broken UTF-8", "A\xff\ufffdB", "AB"},
		{"accents stay", "e\u0301\u0323", "e\u0301\u0323"},
		{"no towers of marks", "A" + strings.Repeat("\u0301", 50) + "B\u0301", "A\u0301\u0301\u0301B\u0301"},
		{"empty", " \u200b ", ""},
		{"cut", "1234567890123", "123456789012"},
		{"cut at characters", strings.Repeat("書", 13), strings.Repeat("書", 12)},
		{"cut, then trimmed", "12345678901 23", "12345678901"},
	} {
		if got := oauth.DisplayText(row.in, 12); got != row.want {
			t.Errorf("%s: %q", row.what, got)
		}
	}
}
