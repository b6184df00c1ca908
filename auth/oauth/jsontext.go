package oauth

import (
	"strconv"
	"unicode/utf16"
)

// text reads a string (RFC 8259 §7) and returns it with its quotes.
func (s *jsonScanner) text() ([]byte, error) {
	start := s.pos
	if !s.take('"') {
		return nil, s.fail("no string")
	}
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return s.data[start:s.pos], nil
		case c < 0x20:
			return nil, s.fail("control character")
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		default:
			s.pos++
		}
	}
	return nil, s.fail("string without end")
}

func (s *jsonScanner) escape() error {
	s.pos++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		return s.unicode()
	}
	return s.fail("bad escape")
}

// unicode reads \uXXXX, for a surrogate both halves: decoders disagree about what half a pair means (RFC 8259 §8.2).
func (s *jsonScanner) unicode() error {
	first, ok := s.hex4()
	if !ok {
		return s.fail("bad escape")
	}
	if !utf16.IsSurrogate(first) {
		return nil
	}
	if !s.take('\\') {
		return s.fail("half a surrogate pair")
	}
	second, ok := s.hex4()
	if !ok || utf16.DecodeRune(first, second) == '\uFFFD' {
		return s.fail("half a surrogate pair")
	}
	return nil
}

// hex4 reads "uXXXX".
func (s *jsonScanner) hex4() (rune, bool) {
	if !s.take('u') || s.pos+4 > len(s.data) {
		return 0, false
	}
	v, err := strconv.ParseUint(string(s.data[s.pos:s.pos+4]), 16, 16)
	if err != nil {
		return 0, false
	}
	s.pos += 4
	return rune(v), true
}
