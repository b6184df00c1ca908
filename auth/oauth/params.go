package oauth

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Params are the parameters of one request, parsed once. A parameter without a value counts as omitted (RFC 6749
// §3.1 and §3.2), except that Repeated counts it. The zero value has none.
type Params struct {
	values map[string][]string
	sent   map[string]int
}

// ParseParams reads a raw query or an application/x-www-form-urlencoded body (RFC 6749 appendix B). A bad escape, a
// bare ';' (some proxies split on it, we do not) and what is not UTF-8 are errors; the error shows nothing of raw.
func ParseParams(raw string) (Params, error) {
	p := Params{values: map[string][]string{}, sent: map[string]int{}}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, err := unescapePair(pair)
		if err != nil {
			return Params{}, err
		}
		p.sent[name]++
		if value != "" {
			p.values[name] = append(p.values[name], value)
		}
	}
	return p, nil
}

var errParams = errors.New("parameters are not application/x-www-form-urlencoded")

func unescapePair(pair string) (name, value string, err error) {
	if strings.Contains(pair, ";") {
		return "", "", errParams
	}
	rawName, rawValue, _ := strings.Cut(pair, "=")
	name, err1 := url.QueryUnescape(rawName)
	value, err2 := url.QueryUnescape(rawValue)
	if err1 != nil || err2 != nil || !utf8.ValidString(name) || !utf8.ValidString(value) {
		return "", "", errParams
	}
	return name, value, nil
}

// Get returns the first value of name, "" if it is absent.
func (p Params) Get(name string) string {
	if v := p.values[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Has reports whether name was sent with a value.
func (p Params) Has(name string) bool { return len(p.values[name]) > 0 }

// All returns every value of name in the order sent.
func (p Params) All(name string) []string { return slices.Clone(p.values[name]) }

// Count returns how often name was sent, with or without a value.
func (p Params) Count(name string) int { return p.sent[name] }

// Repeated returns the alphabetically first name that was sent more than once and is not in except, "" if there is
// none (RFC 6749 §3.1: parameters must not be included more than once; RFC 8707 §2: resource may).
func (p Params) Repeated(except ...string) string {
	found := ""
	for name, n := range p.sent {
		if n > 1 && !slices.Contains(except, name) && (found == "" || name < found) {
			found = name
		}
	}
	return found
}

// AppendQuery adds name, value pairs to the query of a redirect URI whose own query stays as it is, byte for byte
// (RFC 6749 §3.1.2, §4.1.2). Pairs with an empty value are left out. A space becomes %20, which readers of forms
// and readers of URIs decode alike; '+' they do not.
func AppendQuery(uri string, params ...string) string {
	var b strings.Builder
	b.WriteString(uri)
	sep := querySeparator(uri)
	for i := 0; i+1 < len(params); i += 2 {
		if params[i+1] == "" {
			continue
		}
		b.WriteString(sep)
		b.WriteString(escapeQuery(params[i]) + "=" + escapeQuery(params[i+1]))
		sep = "&"
	}
	return b.String()
}

func querySeparator(uri string) string {
	switch {
	case !strings.Contains(uri, "?"):
		return "?"
	case strings.HasSuffix(uri, "?"), strings.HasSuffix(uri, "&"):
		return ""
	}
	return "&"
}

func escapeQuery(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
