package admin

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"hostedmcp/auth/oauth"
)

// What is printed at a terminal was in part chosen by strangers: names of clients, of users, of tools. Nothing of it
// may move the cursor, colour the screen or hide behind characters without a shape.

// maxShown is how many characters of a stranger's text stand in one place.
const maxShown = 2048

// shown is a text of a stranger as it may be printed.
func shown(s string) string { return oauth.DisplayText(s, maxShown) }

// short is shown for a column that a person reads: its end is cut off.
func short(s string) string {
	if r := []rune(s); len(r) > maxCell {
		return string(r[:maxCell-1]) + "…"
	}
	return s
}

const maxCell = 48

// shownAll is shown for each.
func shownAll(texts []string) (out []string) {
	for _, s := range texts {
		out = append(out, shown(s))
	}
	return out
}

// hidden reports whether a character cannot be seen for what it is: a control, a mark of direction, one without a
// shape, a space that is not the usual one.
func hidden(r rune) bool {
	if ' ' <= r && r < 0x7f { // nearly all there is
		return false
	}
	return oauth.DisplayText(string(r), 1) == ""
}

// escaped shows every hidden character as its code, so that two definitions which look alike do not look alike. The
// number of them comes back as well.
func escaped(s string) (string, int) {
	// byte by byte where it is no UTF-8: ranging over it would show one sign for many different bytes
	var b strings.Builder
	n := 0
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
			n++
		case hidden(r):
			fmt.Fprintf(&b, `\u{%04x}`, r)
			n++
		default:
			b.WriteRune(r)
		}
		s = s[size:]
	}
	return b.String(), n
}

// escapedLine is a text of one line, for an error.
func escapedLine(s string) string {
	s, _ = escaped(s)
	return s
}

// isMark reports whether a character stands on the one before it.
func isMark(r rune) bool { return unicode.In(r, unicode.Mn, unicode.Me) }

// plainJSON writes what encoding/json leaves as it is but a terminal might obey as \u escapes: all that is not ASCII
// and hidden, and DEL. Outside of strings JSON is ASCII, so that nothing else can be met.
func plainJSON(doc []byte) []byte {
	var b bytes.Buffer
	// \u001b and its like are escaped by encoding/json itself; C1 controls and marks of direction are not
	for len(doc) > 0 {
		r, size := utf8.DecodeRune(doc)
		if r == 0x7f || r >= utf8.RuneSelf && hidden(r) {
			escapeRune(&b, r)
		} else {
			b.Write(doc[:size])
		}
		doc = doc[size:]
	}
	return b.Bytes()
}

// escapeRune writes JSON's own escapes: a pair of surrogates beyond the basic plane (RFC 8259 §7).
func escapeRune(b *bytes.Buffer, r rune) {
	if r >= 0x10000 {
		r -= 0x10000
		fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		return
	}
	fmt.Fprintf(b, `\u%04x`, r)
}
