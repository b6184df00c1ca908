package mcp

// This file keeps the SDK's error texts from clients. They quote what was sent, several times over, and Go's types: an
// answer four times as large as its request, and nothing that a client could act upon beyond the code.

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// foreignTexts are the texts of errors that are not ours, by code. Other codes keep the SDK's words, which are
// bounded: they quote versions and headers.
var foreignTexts = map[int]string{
	codeInvalidRequest: "invalid request",
	codeMethodNotFound: noMethod,
	codeInvalidParams:  "invalid params",
	codeInternal:       errInternal.Message,
}

// helpful are beginnings of the SDK's texts that quote nothing and say what to change.
var helpful = []string{
	"Accept must contain", "Bad Request: Unsupported protocol version",
	"missing or invalid _meta field", "invalid _meta field",
}

// isHelpful reports whether a text of the SDK may go out as it is.
func isHelpful(text string) bool {
	for _, h := range helpful {
		if strings.HasPrefix(text, h) {
			return true
		}
	}
	return false
}

// errorMark stands in an error answer as the SDK writes it, and in no string: quotes would be escaped there.
const errorMark = `,"error":{"code":`

// plainError replaces the text of an error answer to id, alone or in an event, by ours for its code. What is no error
// or has another code comes back as it was, and so does what is helpful. The text itself is not read: it can be as
// long as four messages.
func plainError(p, id []byte) []byte {
	at := bytes.Index(p, []byte(errorMark))
	if at < 0 {
		return p
	}
	rest := p[at+len(errorMark):]
	number, rest, _ := bytes.Cut(rest, []byte(","))
	code, err := strconv.Atoi(string(number))
	words, _ := bytes.CutPrefix(rest, []byte(`"message":"`))
	// The SDK has no code for parameters of initialize that it cannot read, nor for a second initialize.
	if code == 0 {
		code = codeInvalidRequest
		if bytes.HasPrefix(words, []byte("handling '")) {
			code = codeInvalidParams
		}
	}
	text, known := foreignTexts[code]
	if err != nil || !known {
		return p
	}
	if isHelpful(string(words[:min(len(words), 64)])) {
		return p
	}
	e := rpcError{code: code, message: text}
	if start := bytes.Index(p, []byte("data: ")); start >= 0 && start < at && p[0] != '{' {
		return append(append(bytes.Clone(p[:start]), "data: "...), append(e.body(id), "\n\n"...)...)
	}
	return e.body(id)
}

// maxEcho is the longest name in characters that an error repeats: that of any tool fits.
const maxEcho = maxToolName

// echo cuts a name that a client sent to what an error may repeat.
func echo(name string) string {
	end := 0
	for range maxEcho {
		_, size := utf8.DecodeRuneInString(name[end:])
		end += size // 0 at the end of name
	}
	return name[:end]
}
