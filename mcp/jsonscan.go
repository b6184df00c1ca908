package mcp

import (
	"errors"
	"unicode/utf8"
)

// This file reads JSON-RPC in one pass (RFC 8259; I-JSON, RFC 7493, for duplicate names): what the endpoint judges must
// be what the SDK later acts on, so everything that two readers could read in two ways is refused here.

// maxDepth is the deepest nesting of objects and arrays (protocol.md §1).
const maxDepth = 100

// manyKeys is the number of names up to which an object's names are compared one by one; beyond it a map is cheaper.
// Most objects have fewer, and cost no memory of their own this way.
const manyKeys = 16

// What a client reads of them is a word of ours, and nothing of what it sent.
var (
	errSyntax    = errors.New("malformed JSON")
	errUTF8      = errors.New("not UTF-8")
	errDepth     = errors.New("nested too deeply")
	errDuplicate = errors.New("a member name occurs twice")
	errTrailing  = errors.New("data after the message")
)

// scanner walks over one JSON text. Slices that it hands out point into data, but for strings with escapes. It
// decodes nothing that nobody asks for: most of a message is arguments, which are the tools' own.
type scanner struct {
	data  []byte
	pos   int
	depth int
	names [][]byte // names of the open objects, innermost last
}

// member is called for each member of an object and must consume the value.
type member func(name []byte) error

// object reads an object (RFC 8259 §4). A nil each skips the values. Names are compared as they read, not as they are
// written: "a" and "\u0061" are one name to every later reader.
func (s *scanner) object(each member) error {
	if err := s.enter('{'); err != nil {
		return err
	}
	mark := len(s.names) // the names of this object begin here; those of its ancestors stand before
	var seen map[string]struct{}
	for first := true; ; first = false {
		done, err := s.next('}', first)
		if done || err != nil {
			s.names = s.names[:mark]
			s.depth--
			return err
		}
		name, err := s.str()
		if err != nil {
			return err
		}
		if seen, err = s.distinct(name, mark, seen); err != nil {
			return err
		}
		if err := s.byte(':'); err != nil {
			return err
		}
		if each == nil {
			err = s.value()
		} else {
			err = each(name)
		}
		if err != nil {
			return err
		}
	}
}

// distinct notes name among those of the innermost object, which begin at mark. Few names are compared one by one in
// memory that the whole message shares; from manyKeys on seen holds them, so that an object of a million names does not
// take a million times a million steps.
func (s *scanner) distinct(name []byte, mark int, seen map[string]struct{}) (map[string]struct{}, error) {
	if seen != nil {
		if _, ok := seen[string(name)]; ok {
			return nil, errDuplicate
		}
		seen[string(name)] = struct{}{}
		return seen, nil
	}
	for _, other := range s.names[mark:] {
		if string(other) == string(name) {
			return nil, errDuplicate
		}
	}
	s.names = append(s.names, name)
	if len(s.names)-mark == manyKeys {
		seen = make(map[string]struct{}, 2*manyKeys)
		for _, other := range s.names[mark:] {
			seen[string(other)] = struct{}{}
		}
	}
	return seen, nil
}

// array reads an array (RFC 8259 §5).
func (s *scanner) array() error {
	if err := s.enter('['); err != nil {
		return err
	}
	for first := true; ; first = false {
		done, err := s.next(']', first)
		if done || err != nil {
			s.depth--
			return err
		}
		if err := s.value(); err != nil {
			return err
		}
	}
}

// enter begins an object or array. Depth is bounded here, before anything recurses: the stack is bounded with it.
func (s *scanner) enter(open byte) error {
	if s.depth++; s.depth > maxDepth {
		return errDepth
	}
	return s.byte(open)
}

// next moves to the next element of an object or array; done says that there was none and close was read. A comma
// before the end is left for the caller to stumble over: what follows it must be an element.
func (s *scanner) next(close byte, first bool) (done bool, err error) {
	switch c := s.peek(); {
	case c == close:
		s.pos++
		return true, nil
	case first:
		return false, nil
	case c == ',':
		s.pos++
		return false, nil
	}
	return false, errSyntax
}

// value skips one value of any kind.
func (s *scanner) value() error {
	switch c := s.peek(); c {
	case '{':
		return s.object(nil)
	case '[':
		return s.array()
	case '"':
		return s.skipString()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

// raw skips one value and returns its bytes.
func (s *scanner) raw() ([]byte, error) {
	s.peek()
	start := s.pos
	err := s.value()
	return s.data[start:s.pos], err
}

// literal reads true, false or null. What stands right behind it is the next token's concern: `truex` fails there.
func (s *scanner) literal(word string) error {
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return errSyntax
	}
	s.pos += len(word)
	return nil
}

// number reads int [frac] [exp] (RFC 8259 §6). Its value is nobody's business here, so none is too large.
func (s *scanner) number() error {
	if s.at() == '-' {
		s.pos++
	}
	switch c := s.at(); {
	// no digit may follow a leading zero: the next token would not be one
	case c == '0':
		s.pos++
	case !s.digits():
		return errSyntax
	}
	if s.at() == '.' {
		s.pos++
		if !s.digits() {
			return errSyntax
		}
	}
	if c := s.at(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.at(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return errSyntax
		}
	}
	return nil
}

// digits reads digits and reports whether there were any.
func (s *scanner) digits() bool {
	start := s.pos
	for c := s.at(); c >= '0' && c <= '9'; c = s.at() {
		s.pos++
	}
	return s.pos > start
}

// at returns the present byte, 0 at the end: no JSON token begins or goes on with it.
func (s *scanner) at() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// peek skips white space and returns the byte after it, 0 at the end. Only these four are white space (RFC 8259 §2).
func (s *scanner) peek() byte {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// byte skips white space and reads one structural character.
func (s *scanner) byte(want byte) error {
	if s.peek() != want {
		return errSyntax
	}
	s.pos++
	return nil
}

// end makes sure that nothing but white space is left. Two messages in one body would be judged as one and read as
// two.
func (s *scanner) end() error {
	if s.peek(); s.pos < len(s.data) {
		return errTrailing
	}
	return nil
}

// skipString reads a string for its syntax alone.
func (s *scanner) skipString() error {
	_, _, err := s.stringSpan()
	return err
}

// stringSpan reads a string (RFC 8259 §7) and returns the bytes between its quotes, and whether it has escapes.
// utf8.DecodeRune refuses overlong forms and encoded surrogates, which some readers take for other characters.
func (s *scanner) stringSpan() (span []byte, escaped bool, err error) {
	if err := s.byte('"'); err != nil {
		return nil, false, err
	}
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return s.data[start : s.pos-1], escaped, nil
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return nil, false, err
			}
		// RFC 8259 §7: control characters must be escaped
		case c < ' ':
			return nil, false, errSyntax
		case c < utf8.RuneSelf:
			s.pos++
		default:
			r, size := utf8.DecodeRune(s.data[s.pos:])
			if r == utf8.RuneError && size == 1 {
				return nil, false, errUTF8
			}
			s.pos += size
		}
	}
	return nil, false, errSyntax
}

// escape reads one escape sequence; \u needs four digits, whatever they mean together.
func (s *scanner) escape() error {
	s.pos++
	switch c := s.at(); c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		if _, ok := hex4(s.data[s.pos+1:]); ok {
			s.pos += 5
			return nil
		}
	}
	return errSyntax
}
