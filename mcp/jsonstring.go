package mcp

// This file decodes the strings that jsonscan.go accepted (RFC 8259 §7). Only names, and the few values that the
// endpoint judges by, are decoded; all others are the tools' own.

import (
	"unicode/utf16"
	"unicode/utf8"
)

// str reads a string and returns its value. Half a surrogate pair reads as U+FFFD, as the SDK's reader has it, so that
// two names which it would take for one count as a duplicate here too.
func (s *scanner) str() ([]byte, error) {
	span, escaped, err := s.stringSpan()
	if err != nil || !escaped {
		return span, err
	}
	return unescape(span), nil
}

// optionalString reads a value and returns it if it is a string; any other value reads as absent. A wrong type is no
// fault here: whether it is one depends on the method, which the SDK knows.
func (s *scanner) optionalString() (text string, ok bool, err error) {
	if s.peek() != '"' {
		return "", false, s.value()
	}
	value, err := s.str()
	return string(value), true, err
}

// unescape decodes a span that stringSpan accepted. It cannot fail: the syntax was checked, so no index leaves the
// span.
func unescape(span []byte) []byte {
	out := make([]byte, 0, len(span))
	for i := 0; i < len(span); {
		if span[i] != '\\' {
			out = append(out, span[i])
			i++
			continue
		}
		if span[i+1] != 'u' {
			out = append(out, unescapeByte(span[i+1]))
			i += 2
			continue
		}
		r, size := unescapeRune(span[i:])
		out = utf8.AppendRune(out, r)
		i += size
	}
	return out
}

// unescapeByte decodes the character after a backslash; '"', '\\' and '/' stand for themselves.
func unescapeByte(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// unescapeRune decodes \uXXXX, or two of them that form a surrogate pair, and says how many bytes it read. Characters
// beyond U+FFFF are written so (RFC 8259 §7).
func unescapeRune(span []byte) (r rune, size int) {
	r, _ = hex4(span[2:])
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(span) >= 12 && span[6] == '\\' && span[7] == 'u' {
		low, _ := hex4(span[8:])
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

// hex4 reads four hexadecimal digits.
func hex4(data []byte) (r rune, ok bool) {
	if len(data) < 4 {
		return 0, false
	}
	for _, c := range data[:4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}
