package mount

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"hostedmcp/auth/oauth"
)

// This file hides the credentials that we sent where a server repeats them, as echo tools and errors do: the user may
// not know the organisation's key, and a model no token at all. It is the one change to what a server says.

// secrets are the credentials that a link has sent last. The zero value is none.
type secrets struct {
	mu   sync.Mutex
	sent []secret // latest first
}

// secret is a credential, whose text without the scheme is looked for.
type secret struct {
	value oauth.Secret
	text  string
	part  []byte // the longest part of text that every encoder of JSON leaves as it is
}

const (
	mostSecrets    = 4 // tokens are renewed, and answers to the one before may be on their way
	shortestSecret = 8 // what is shorter would hit other words
)

// hiddenSecret stands in its place.
const hiddenSecret = "[hidden]"

// note remembers a credential that is about to be sent.
func (s *secrets) note(value oauth.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if value == "" || len(s.sent) > 0 && s.sent[0].value == value {
		return
	}
	one := newSecret(value)
	if len(one.text) < shortestSecret {
		return
	}
	kept := slices.DeleteFunc(slices.Clone(s.sent), func(o secret) bool { return o.value == value })
	s.sent = slices.Insert(kept, 0, one)[:min(len(kept)+1, mostSecrets)]
}

// newSecret takes the scheme away (RFC 9110 §11.4).
func newSecret(value oauth.Secret) secret {
	text := value.Reveal()
	if scheme, token, two := strings.Cut(text, " "); two && scheme != "" && !strings.Contains(token, " ") {
		text = token
	}
	escaped := func(r rune) bool {
		plain := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '.' || r == '_'
		return !plain
	}
	part := ""
	for p := range strings.FieldsFuncSeq(text, escaped) {
		if len(p) > len(part) {
			part = p
		}
	}
	return secret{value, text, []byte(part)}
}

// conceal returns a message of the server without the credentials in its strings; the bytes are those of data if there
// are none.
func (s *secrets) conceal(data []byte) []byte {
	s.mu.Lock()
	sent := s.sent
	s.mu.Unlock()
	for _, one := range sent {
		if bytes.Contains(data, one.part) {
			data = one.without(data)
		}
	}
	return data
}

// without takes the credential out of the strings of a JSON text, and writes only those anew that have it. Outside of
// strings it is a number, which is not ours.
func (s *secret) without(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for len(data) > 0 {
		begin := bytes.IndexByte(data, '"')
		if begin < 0 {
			break
		}
		end := begin + quoted(data[begin:])
		word := data[begin:end]
		if text := unquote(word); strings.Contains(text, s.text) {
			word = plainQuote(strings.ReplaceAll(text, s.text, hiddenSecret))
		}
		out = append(append(out, data[:begin]...), word...)
		data = data[end:]
	}
	return append(out, data...)
}

// quoted returns how long the string is with which data begins: all of it if it has no end.
func quoted(data []byte) int {
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

// plainQuote writes a string as JSON and escapes nothing that need not be.
func plainQuote(s string) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always can be
	return bytes.TrimSpace(out.Bytes())
}

// redact returns a line for the log without them.
func (s *secrets) redact(line string) string {
	s.mu.Lock()
	sent := s.sent
	s.mu.Unlock()
	for _, one := range sent {
		line = strings.ReplaceAll(line, one.text, one.value.String())
	}
	return line
}
