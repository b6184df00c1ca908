package story

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteText writes the story for a terminal or a pipe: the headline first, so that the first line answers the question.
// Errors are w's.
func (s Story) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s\n\n", s.Headline)
	s.writeFacts(b)
	fmt.Fprint(b, "\nWhat happened (times are UTC)\n")
	for _, l := range s.Lines {
		l.write(b)
	}
	if s.Sees != "" {
		fmt.Fprintf(b, "\nWhat the user sees\n  %s: %s\n", s.Word, s.Sees)
	}
	if len(s.Advice) > 0 {
		fmt.Fprint(b, "\nWhat to change\n")
	}
	for _, a := range s.Advice {
		fmt.Fprintf(b, "  - %s\n", a)
	}
	return b.Flush()
}

// writeFacts is the block of names above the story; what is not known has no line.
func (s Story) writeFacts(w io.Writer) {
	fact := func(name string, parts ...string) {
		if text := strings.TrimSpace(strings.Join(parts, " ")); text != "" {
			fmt.Fprintf(w, "%-12s%s\n", name, text)
		}
	}
	fact("Connection", s.Grant.ID)
	fact("User", s.User.Name, enclosed("<", s.User.Email, ">"), enclosed("(", s.User.Subject, ")"))
	fact("Program", s.Grant.ClientName, enclosed("(", s.Grant.Client, ")"))
	fact("State", s.State)
	fact("Scope", s.Grant.Scope.String())
	fact("Connected", stamp(s.Grant.Created))
	fact("Last used", stamp(s.Grant.LastUse))
	fact("Ended", stamp(s.Grant.Ended))
}

// write is one line of the timeline, and below it where it came from.
func (l Line) write(w io.Writer) {
	at := stamp(l.At)
	if !l.Until.IsZero() {
		// the same day is not said twice
		at += " to " + strings.TrimPrefix(stamp(l.Until), at[:len(at)-len("15:04:05")])
	}
	fmt.Fprintf(w, "  %-32s  %s [%s]\n", at, l.Sentence, l.Reason)
	var from []string
	for _, f := range []struct{ name, value string }{{"request", l.Request}, {"from", l.Address}, {"program", l.Client}} {
		if f.value != "" {
			from = append(from, f.name+" "+f.value)
		}
	}
	if len(from) > 0 {
		fmt.Fprintf(w, "  %-32s  %s\n", "", strings.Join(from, ", "))
	}
}

// stamp is a time as operators compare it with a log; "" for the zero time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateTime)
}

// enclosed is s between two marks, or nothing.
func enclosed(left, s, right string) string {
	if s == "" {
		return ""
	}
	return left + s + right
}
