package mcp

// This file changes single members of JSON objects and leaves every other byte as it came (style.md, trap 3). What it
// reads was judged before: messages of clients by parseMessage, answers by their connector. So it only finds its way.

import (
	"bytes"
	"encoding/json"
	"errors"
)

var errObject = errors.New("not a JSON object")

// members calls each for the members of an object, with the name as it reads and the value as it stands. start and end
// are where the member stands in object, with its name. It ends early when each returns false.
func members(object []byte, each func(name string, value []byte, start, end int) bool) error {
	s := scanner{data: object}
	if s.byte('{') != nil {
		return errObject
	}
	for first := true; ; first = false {
		if done, err := s.next('}', first); done || err != nil {
			return err
		}
		s.peek()
		start := s.pos
		name, err := s.str()
		if err != nil {
			return err
		}
		if err := s.byte(':'); err != nil {
			return err
		}
		s.peek()
		from := s.pos
		if s.pos = skip(object, from); s.pos <= from {
			return errObject
		}
		if !each(string(name), object[from:s.pos], start, s.pos) {
			return nil
		}
	}
}

// skip returns the position after the value that begins at pos. It counts brackets and does not recurse, so that depth
// is no matter here.
func skip(data []byte, pos int) int {
	depth := 0
	for pos < len(data) {
		switch c := data[pos]; c {
		case '{', '[':
			depth++
			pos++
		case '}', ']':
			depth--
			pos++
		case '"':
			pos = skipText(data, pos)
		case ',', ':', ' ', '\t', '\n', '\r':
			pos++
			continue
		default:
			for pos < len(data) && !bytes.ContainsRune([]byte(",:]} \t\n\r"), rune(data[pos])) {
				pos++
			}
		}
		if depth == 0 {
			return pos
		}
	}
	return -1
}

// skipText returns the position after the string that begins at pos.
func skipText(data []byte, pos int) int {
	for pos++; pos < len(data); pos++ {
		switch data[pos] {
		case '\\':
			pos++
		case '"':
			return pos + 1
		}
	}
	return len(data)
}

// edit returns object with each value as change returns it; nil drops the member. Names and order stay. object itself
// is not changed.
func edit(object []byte, change func(name string, value []byte) []byte) ([]byte, error) {
	out := append(make([]byte, 0, len(object)+64), '{')
	err := members(object, func(name string, value []byte, start, end int) bool {
		changed := change(name, value)
		if changed == nil {
			return true
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(out, object[start:end-len(value)]...), changed...)
		return true
	})
	return append(out, '}'), err
}

// with returns object with one more member at its end, or with name changed if it is there.
func with(object []byte, name string, value []byte) ([]byte, error) {
	found := false
	out, err := edit(object, func(n string, v []byte) []byte {
		if n != name {
			return v
		}
		found = true
		return value
	})
	if err != nil || found {
		return out, err
	}
	out = out[:len(out)-1]
	if len(out) > 1 {
		out = append(out, ',')
	}
	out = append(append(append(out, quote(name)...), ':'), value...)
	return append(out, '}'), nil
}

// valueOf returns the value of one member, nil if there is none.
func valueOf(object []byte, name string) (found []byte) {
	_ = members(object, func(n string, value []byte, _, _ int) bool {
		if n == name {
			found = value
		}
		return found == nil
	})
	return found
}

// text returns the value of a JSON string; "" if it is none.
func text(raw []byte) string {
	if len(raw) == 0 || raw[0] != '"' {
		return ""
	}
	s := scanner{data: raw}
	value, err := s.str()
	if err != nil {
		return ""
	}
	return string(value)
}

// quote writes a JSON string.
func quote(s string) []byte {
	out, _ := marshal(s) // strings always marshal
	return out
}

// oneLine removes white space, so that the JSON fits into one line of an event.
func oneLine(raw json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return nil
	}
	return b.Bytes()
}
