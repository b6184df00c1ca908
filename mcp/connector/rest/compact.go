package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// compact takes JSON as it is, but for white space. Two members of one name are refused: readers differ in which they
// take.
func compact(content []byte) (*node, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, content); err != nil {
		return nil, err
	}
	whole := b.String()
	names := nameReader{json: whole}
	if err := names.value(); err != nil {
		return nil, err
	}
	return literal(whole), nil
}

// nameReader looks for two members of one name. Its JSON is valid, without white space, and not too deep: the decoder's
// tokens would cost an allocation for each value.
type nameReader struct {
	json string
	at   int
}

// value reads one value.
func (r *nameReader) value() error {
	switch r.json[r.at] {
	case '{':
		return r.object()
	case '[':
		r.at++
		for r.json[r.at] != ']' {
			if err := r.value(); err != nil {
				return err
			}
			r.comma()
		}
		r.at++
	case '"':
		r.text()
	default: // up to what ends it
		for r.at < len(r.json) && r.json[r.at] != ',' && r.json[r.at] != ']' && r.json[r.at] != '}' {
			r.at++
		}
	}
	return nil
}

// object reads an object and compares its names.
func (r *nameReader) object() error {
	var few [8]string // on the stack
	seen, many := few[:0], map[string]bool(nil)
	r.at++
	for r.json[r.at] != '}' {
		name := r.text()
		if many[name] || slices.Contains(seen, name) {
			return fmt.Errorf("byte %d: two members of one name", r.at)
		}
		if len(seen) < len(few) {
			seen = append(seen, name)
		} else {
			if many == nil {
				many = map[string]bool{}
			}
			many[name] = true
		}
		r.at++ // colon
		if err := r.value(); err != nil {
			return err
		}
		r.comma()
	}
	r.at++
	return nil
}

// comma passes over one, if it is there.
func (r *nameReader) comma() {
	if r.json[r.at] == ',' {
		r.at++
	}
}

// text reads a string. It returns what it means: names that are escaped differently are the same.
func (r *nameReader) text() (s string) {
	from, escaped := r.at, false
	for r.at++; r.json[r.at] != '"'; r.at++ {
		if r.json[r.at] == '\\' {
			escaped = true
			r.at++
		}
	}
	r.at++
	if !escaped {
		return r.json[from+1 : r.at-1]
	}
	_ = json.Unmarshal([]byte(r.json[from:r.at]), &s) // it is valid
	return s
}
