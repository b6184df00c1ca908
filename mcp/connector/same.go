package connector

import (
	"bytes"
	"encoding/json"
)

// When are two definitions one? RFC 8259 §4 and §6 leave order and spelling of numbers to the reader.

// Same reports whether two JSON texts say the same: the order of members and the spelling of strings and white space
// do not count, since some servers write them as their maps fall.
func Same(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	return bytes.Equal(canonical(a), canonical(b))
}

// canonical writes JSON with sorted members. Numbers stay as they are written: 1.0 and 1 are one to some readers only.
// What is not JSON stays as it is.
func canonical(raw json.RawMessage) []byte {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return raw
	}
	out, err := json.Marshal(v)
	if err != nil {
		return raw
	}
	return out
}

// compact returns raw without white space, as a copy: what is kept must not hold a whole answer.
func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return bytes.Clone(raw)
	}
	return b.Bytes()
}
