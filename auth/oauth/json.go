package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Object is a JSON object by exact member name. encoding/json would also take "Client_ID" for a struct's client_id,
// so that two readers of one document could see two different clients.
type Object map[string]json.RawMessage

// ParseObject reads a document that must be one JSON object and must pass CheckJSON.
func ParseObject(data []byte, maxDepth int) (Object, error) {
	if err := CheckJSON(data, maxDepth); err != nil {
		return nil, err
	}
	var o Object
	if err := json.Unmarshal(data, &o); err != nil || o == nil {
		return nil, errors.New("JSON: not an object")
	}
	return o, nil
}

// Text returns the string under name, "" when it is absent or null. Any other type is an error.
func (o Object) Text(name string) (string, error) {
	var s string
	if err := o.read(name, &s); err != nil {
		return "", fmt.Errorf("%s is not a string", name)
	}
	return s, nil
}

// List returns the array of strings under name, nil when it is absent or null. Any other type is an error.
func (o Object) List(name string) ([]string, error) {
	var l []string
	if err := o.read(name, &l); err != nil {
		return nil, fmt.Errorf("%s is not a list of strings", name)
	}
	return l, nil
}

func (o Object) read(name string, v any) error {
	raw, ok := o[name]
	if !ok {
		return nil
	}
	return json.Unmarshal(raw, v)
}

// CheckJSON reports whether data is exactly one JSON value (RFC 8259) that every reader understands alike: UTF-8
// without lone surrogates and without duplicate names at any level (RFC 7493 §2.1, §2.3), no deeper than maxDepth
// arrays and objects, nothing after it. The error holds an offset and never the content.
func CheckJSON(data []byte, maxDepth int) error {
	if !utf8.Valid(data) {
		return errors.New("JSON: not UTF-8")
	}
	s := jsonScanner{data: data, left: maxDepth}
	s.space()
	if err := s.value(); err != nil {
		return err
	}
	s.space()
	if s.pos < len(s.data) {
		return s.fail("data after the value")
	}
	return nil
}

// jsonScanner walks over data once. left is how many more arrays and objects may open.
type jsonScanner struct {
	data []byte
	pos  int
	left int
}

func (s *jsonScanner) fail(what string) error { return fmt.Errorf("JSON: %s at byte %d", what, s.pos) }

// peek returns the next byte, 0 at the end: no JSON token begins with or contains a raw NUL.
func (s *jsonScanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *jsonScanner) take(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *jsonScanner) space() {
	for s.take(' ') || s.take('\t') || s.take('\n') || s.take('\r') {
	}
}

func (s *jsonScanner) value() error {
	switch c := s.peek(); {
	case c == '{':
		return s.nested(s.object)
	case c == '[':
		return s.nested(s.array)
	case c == '"':
		_, err := s.text()
		return err
	case c == '-' || isDigit(c):
		return s.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if end := s.pos + len(word); end <= len(s.data) && string(s.data[s.pos:end]) == word {
			s.pos = end
			return nil
		}
	}
	return s.fail("no value")
}

// nested bounds the depth, and with it our own stack, before it opens an array or object.
func (s *jsonScanner) nested(read func() error) error {
	if s.left <= 0 {
		return s.fail("too deep")
	}
	s.left--
	s.pos++
	s.space()
	err := read()
	s.left++
	return err
}

func (s *jsonScanner) array() error {
	if s.take(']') {
		return nil
	}
	for {
		if err := s.value(); err != nil {
			return err
		}
		if done, err := s.next(']'); done || err != nil {
			return err
		}
	}
}

func (s *jsonScanner) object() error {
	if s.take('}') {
		return nil
	}
	seen := map[string]struct{}{}
	for {
		if err := s.name(seen); err != nil {
			return err
		}
		if err := s.value(); err != nil {
			return err
		}
		if done, err := s.next('}'); done || err != nil {
			return err
		}
	}
}

// next reads what follows an element: the end, or a comma and the way to the next one.
func (s *jsonScanner) next(end byte) (done bool, err error) {
	s.space()
	if s.take(end) {
		return true, nil
	}
	if !s.take(',') {
		return false, s.fail("no comma")
	}
	s.space()
	return false, nil
}

// name reads a member's name and colon. Names are compared as decoded: "\u0061" is "a".
func (s *jsonScanner) name(seen map[string]struct{}) error {
	raw, err := s.text()
	if err != nil {
		return err
	}
	var name string
	if err := json.Unmarshal(raw, &name); err != nil {
		return s.fail("bad name")
	}
	if _, twice := seen[name]; twice {
		return s.fail("duplicate name")
	}
	seen[name] = struct{}{}
	s.space()
	if !s.take(':') {
		return s.fail("no colon")
	}
	s.space()
	return nil
}

// number reads RFC 8259 §6: no leading zero, no bare point, no sign but minus.
func (s *jsonScanner) number() error {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return s.fail("bad number")
	}
	if s.take('.') && !s.digits() {
		return s.fail("bad number")
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if !s.digits() {
			return s.fail("bad number")
		}
	}
	return nil
}

func (s *jsonScanner) digits() bool {
	start := s.pos
	for isDigit(s.peek()) {
		s.pos++
	}
	return s.pos > start
}
