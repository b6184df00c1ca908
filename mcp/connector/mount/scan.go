package mount

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// This file reads JSON of mounted servers in one pass (RFC 8259; I-JSON, RFC 7493, for duplicate names). Half a
// surrogate pair in an escape is let through: servers that cut texts write it, and it is the client's to judge.

// Why an answer cannot be handed on. The words go to clients, so they quote nothing.
var (
	errSyntax    = errors.New("malformed JSON")
	errUTF8      = errors.New("not UTF-8")
	errDepth     = errors.New("nested too deeply")
	errDuplicate = errors.New("a member name occurs twice")
	errTrailing  = errors.New("data after the message")
)

// scanner walks over one JSON text once.
type scanner struct {
	data  []byte
	pos   int
	left  int  // how many more objects and arrays may open
	space bool // insignificant white space was met
}

// clean checks data and returns the object that it is without insignificant white space, nil if it is another value;
// maxDepth bounds objects and arrays. The bytes may be those of data.
func clean(data []byte, maxDepth int) (o object, err error) {
	if !utf8.Valid(data) {
		return nil, errUTF8
	}
	s := scanner{data: data, left: maxDepth}
	if s.peek() == '{' {
		o, err = s.members()
	} else {
		err = s.value()
	}
	if err != nil {
		return nil, err
	}
	if s.peek(); s.pos < len(s.data) {
		return nil, errTrailing
	}
	if o == nil || !s.space {
		return o, nil
	}
	var out bytes.Buffer
	out.Grow(len(data))
	err = json.Compact(&out, data)
	return objectOf(out.Bytes()), err
}

// value reads one value of any kind.
func (s *scanner) value() error {
	switch c := s.peek(); c {
	case '{':
		return s.object(nil)
	case '[':
		return s.array(nil)
	case '"':
		_, err := s.text()
		return err
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		return s.number()
	}
}

// object reads an object and shows each its members, in their order; the slices are the text's own. Depth is bounded
// before anything recurses.
func (s *scanner) object(each func(key, value []byte)) error {
	if s.left--; s.left < 0 {
		return errDepth
	}
	s.pos++
	var seen names
	for first := true; ; first = false {
		done, err := s.next('}', first)
		if done || err != nil {
			s.left++
			return err
		}
		key, err := s.text()
		if err != nil {
			return err
		}
		if !seen.add(key) {
			return errDuplicate
		}
		if s.peek() != ':' {
			return errSyntax
		}
		s.pos++
		s.peek()
		start := s.pos
		if err := s.value(); err != nil {
			return err
		}
		if each != nil {
			each(key, s.data[start:s.pos])
		}
	}
}

// array reads an array and shows each its elements.
func (s *scanner) array(each func(value []byte)) error {
	if s.left--; s.left < 0 {
		return errDepth
	}
	s.pos++
	for first := true; ; first = false {
		done, err := s.next(']', first)
		if done || err != nil {
			s.left++
			return err
		}
		s.peek()
		start := s.pos
		if err := s.value(); err != nil {
			return err
		}
		if each != nil {
			each(s.data[start:s.pos])
		}
	}
}

// next moves to the next element; done says that close was read instead. A comma before the end is left for the
// caller to stumble over.
func (s *scanner) next(end byte, first bool) (done bool, err error) {
	switch c := s.peek(); {
	case c == end && first:
		s.pos++
		return true, nil
	case first:
	case c == end:
		s.pos++
		return true, nil
	case c == ',':
		s.pos++
	default:
		return false, errSyntax
	}
	return false, nil
}

// text reads a string (RFC 8259 §7) and returns it with its quotes. That it is UTF-8 was checked for the whole.
func (s *scanner) text() ([]byte, error) {
	if s.peek() != '"' {
		return nil, errSyntax
	}
	start := s.pos
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return s.data[start:s.pos], nil
		case c < ' ':
			return nil, errSyntax
		case c == '\\':
			if !s.escape() {
				return nil, errSyntax
			}
		}
	}
	return nil, errSyntax
}

// escape reads an escape sequence but for its last byte.
func (s *scanner) escape() bool {
	s.pos++
	switch s.at() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			s.pos++
			switch c := s.at(); {
			case '0' <= c && c <= '9', 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
			default:
				return false
			}
		}
		return true
	}
	return false
}

func (s *scanner) word(w string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(w)) {
		return errSyntax
	}
	s.pos += len(w)
	return nil
}

// number reads int [frac] [exp] (RFC 8259 §6). Its value is nobody's business here, so none is too large.
func (s *scanner) number() error {
	if s.at() == '-' {
		s.pos++
	}
	if s.at() == '0' {
		s.pos++ // no digit may follow: the next token would not be one
	} else if !s.digits() {
		return errSyntax
	}
	if s.at() == '.' {
		if s.pos++; !s.digits() {
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

func (s *scanner) digits() bool {
	start := s.pos
	for c := s.at(); '0' <= c && c <= '9'; c = s.at() {
		s.pos++
	}
	return s.pos > start
}

// at returns the present byte, 0 at the end: no token begins or goes on with it.
func (s *scanner) at() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// peek skips white space and returns the byte after it, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.space = true
		default:
			return c
		}
	}
	return 0
}

// names are the member names of one object. A few are compared one by one, more by a map, so that an object of a
// million names does not take a million times a million steps.
type names struct {
	few  [8][]byte
	n    int // of few
	many map[string]struct{}
}

// add reports whether key, with its quotes, is new. "a" and "\u0061" are one name to every later reader.
func (n *names) add(key []byte) bool {
	if bytes.IndexByte(key, '\\') >= 0 {
		key = []byte(`"` + unquote(key) + `"`)
	}
	if n.many == nil && n.n < len(n.few) {
		for _, k := range n.few[:n.n] {
			if bytes.Equal(k, key) {
				return false
			}
		}
		n.few[n.n] = key
		n.n++
		return true
	}
	if n.many == nil {
		n.many = make(map[string]struct{}, 64)
		for _, k := range n.few {
			n.many[string(k)] = struct{}{}
		}
	}
	before := len(n.many)
	n.many[string(key)] = struct{}{}
	return len(n.many) > before
}

// unquote returns the value of a checked string. What is not a string reads as "".
func unquote(raw []byte) string {
	if len(raw) >= 2 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	_ = json.Unmarshal(raw, &s) // a checked value: what else it is reads as ""
	return s
}
