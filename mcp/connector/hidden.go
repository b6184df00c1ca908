package connector

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// maxHidden is how many findings of one definition are named.
const maxHidden = 8

// HiddenText names the characters in the strings of a definition that a person who reads it would not see, while a
// model does: controls, bidirectional and invisible format characters, tags ("U+202E in description"). Nothing is
// changed; the operator is told. What joins letters and emoji (U+200C, U+200D, U+FE0F) has honest uses and is left out.
func HiddenText(definition json.RawMessage) []string {
	if plain(definition) {
		return nil
	}
	var v any
	if json.Unmarshal(definition, &v) != nil {
		return nil
	}
	var out []string
	walk(v, "", func(place, text string) {
		for _, r := range text {
			if !hides(r) || len(out) >= maxHidden {
				continue
			}
			if one := fmt.Sprintf("%U in %s", r, place); !slices.Contains(out, one) {
				out = append(out, one)
			}
		}
	})
	slices.Sort(out)
	return out
}

// plain reports whether raw is printable ASCII without escapes but for line breaks and quotes: most definitions are,
// and need no decoding.
func plain(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c >= 0x7f:
			return false
		case c == '\\' && i+1 < len(raw):
			if i++; raw[i] == 'u' || raw[i] == 'b' || raw[i] == 'f' {
				return false
			}
		}
	}
	return true
}

// hides reports whether r has no shape of its own.
func hides(r rune) bool {
	switch r {
	case '\t', '\n', '\r', '\u200c', '\u200d', '\ufe0f', '\ufe0e':
		return false
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Other_Default_Ignorable_Code_Point,
		unicode.Variation_Selector) || r == '\u2028' || r == '\u2029' || r == '\u2800'
}

// walk calls found for each string and each member name, with the name of the member that holds it.
func walk(v any, place string, found func(place, text string)) {
	switch v := v.(type) {
	case string:
		found(place, v)
	case []any:
		for _, e := range v {
			walk(e, place, found)
		}
	case map[string]any:
		for name, e := range v {
			found("a name in "+place, name)
			walk(e, strings.ToValidUTF8(printable(name), "?"), found)
		}
	}
}

// printable keeps a member name, which the connector chose, fit for a log line.
func printable(name string) string {
	out := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || hides(r) {
			return '?'
		}
		return r
	}, name)
	if len(out) > 40 {
		out = out[:40]
	}
	return out
}
