package mount

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// object is a JSON object whose members keep their order and their bytes. nil is an absent object.
type object []member

type member struct {
	key   json.RawMessage // as written, with its quotes
	value json.RawMessage
}

// unbounded is the depth for texts that were checked before.
const unbounded = 1 << 30

// objectOf reads a checked object; anything else reads as an empty one.
func objectOf(raw json.RawMessage) object {
	s := scanner{data: raw, left: unbounded}
	if s.peek() != '{' {
		return object{}
	}
	o, _ := s.members() // checked before
	return o
}

// members reads an object.
func (s *scanner) members() (object, error) {
	o := make(object, 0, usualMembers)
	err := s.object(func(key, value []byte) { o = append(o, member{key, value}) })
	return o, err
}

// usualMembers is how many members there is room for at first, some of ours included.
const usualMembers = 8

// elements reads a checked array; anything else reads as none.
func elements(raw json.RawMessage) (out []json.RawMessage, ok bool) {
	s := scanner{data: raw, left: unbounded}
	if s.peek() != '[' {
		return nil, false
	}
	err := s.array(func(value []byte) { out = append(out, value) })
	return out, err == nil
}

// get returns a member's value, nil if it is absent.
func (o object) get(name string) json.RawMessage {
	if i := o.index(name); i >= 0 {
		return o[i].value
	}
	return nil
}

// text returns the string under name, "" if it is absent or no string.
func (o object) text(name string) string { return unquote(o.get(name)) }

func (o object) index(name string) int {
	for i := range o {
		if says(o[i].key, name) {
			return i
		}
	}
	return -1
}

// says reports whether a checked string, with its quotes, is s.
func says(quoted json.RawMessage, s string) bool {
	if len(quoted) == len(s)+2 {
		return string(quoted[1:len(quoted)-1]) == s && !strings.Contains(s, `\`)
	}
	return bytes.IndexByte(quoted, '\\') >= 0 && unquote(quoted) == s
}

// set puts value under name, in its place or at the end.
func (o *object) set(name string, value json.RawMessage) {
	if i := o.index(name); i >= 0 {
		(*o)[i].value = value
		return
	}
	*o = append(*o, member{quote(name), value})
}

// drop takes a member away and returns its value, nil if there was none.
func (o *object) drop(name string) json.RawMessage {
	i := o.index(name)
	if i < 0 {
		return nil
	}
	value := (*o)[i].value
	*o = append((*o)[:i:i], (*o)[i+1:]...)
	return value
}

// bytes writes the object.
func (o object) bytes() json.RawMessage {
	size := 2
	for _, m := range o {
		size += len(m.key) + len(m.value) + 2
	}
	out := append(make([]byte, 0, size), '{')
	for i, m := range o {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, m.key...), ':'), m.value...)
	}
	return append(out, '}')
}

// quote writes a string as JSON.
func quote(s string) json.RawMessage {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || strings.IndexByte(`"\<>&`, c) >= 0 {
			raw, _ := json.Marshal(s) // a string always can be
			return raw
		}
	}
	return append(append(append(make(json.RawMessage, 0, len(s)+2), '"'), s...), '"')
}

// number writes an id of ours.
func number(n int64) json.RawMessage { return strconv.AppendInt(nil, n, 10) }

// isNumber reports whether raw is an id of ours as number writes it.
func isNumber(raw json.RawMessage, n int64) bool {
	var own [20]byte
	return string(raw) == string(strconv.AppendInt(own[:0], n, 10))
}
