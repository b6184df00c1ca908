package admin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/text/width"

	"hostedmcp/auth/story"
)

// What is printed is read by people on terminals and by programs in pipes, and often by the second because the first
// liked what they saw. So both see the same rows in the same order; what differs is only how cells are set apart and how
// times are written. Results go to stdout, everything about them to stderr.

// say writes a line for people.
func (c *call) say(format string, args ...any) error {
	_, err := fmt.Fprintf(c.env.Stdout, format+"\n", args...)
	return err
}

// warn writes a line that must not be taken for the result.
func (c *call) warn(format string, args ...any) { fmt.Fprintf(c.env.Stderr, format+"\n", args...) }

// printJSON writes an answer as it came, indented, with nothing in it that a terminal obeys.
func (c *call) printJSON(raw []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(raw), "", "  "); err != nil {
		return fmt.Errorf("%w: %w", errForeign, err)
	}
	b.WriteByte('\n')
	_, err := c.env.Stdout.Write(plainJSON(b.Bytes()))
	return err
}

// printValue is printJSON of what a command made itself.
func (c *call) printValue(v any) error {
	raw, err := encode(v)
	if err != nil {
		return err
	}
	return c.printJSON(raw)
}

// table writes rows under a header: in columns for a person, with tabs for a program (cut, awk).
func (c *call) table(header []string, rows [][]string) error {
	all := append([][]string{header}, rows...)
	for _, row := range all {
		for i := range row {
			row[i] = cmp.Or(shown(row[i]), "-")
			if c.env.Terminal {
				row[i] = short(row[i])
			}
		}
	}
	// A tab stands in no cell (shown makes spaces of them), so that cut -f finds every column.
	if !c.env.Terminal {
		for _, row := range all {
			if _, err := io.WriteString(c.env.Stdout, strings.Join(row, "\t")+"\n"); err != nil {
				return err
			}
		}
		return nil
	}
	return columns(c.env.Stdout, all)
}

// columns pads every cell but a row's last.
func columns(w io.Writer, rows [][]string) error {
	// the width of a column is that of its widest cell: rows are few, pages of a list
	wide := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			wide[i] = max(wide[i], cells(cell))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", wide[i]-cells(cell)+2))
			}
		}
		if _, err := io.WriteString(w, strings.TrimRight(b.String(), " ")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// cells is how many columns of a terminal a text takes: Chinese characters and their like take two (UAX #11), and
// marks that stand on a letter none.
func cells(s string) (n int) {
	for _, r := range s {
		switch {
		case isMark(r):
		case wideKind(width.LookupRune(r).Kind()):
			n += 2
		default:
			n++
		}
	}
	return n
}

// wideKind reports whether a character of this kind takes two columns.
func wideKind(k width.Kind) bool { return k == width.EastAsianWide || k == width.EastAsianFullwidth }

// clock writes a moment: to the minute for a person, in RFC 3339 for a program. Always UTC, as the log.
func (c *call) clock(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case c.env.Terminal:
		return t.UTC().Format("2006-01-02 15:04")
	}
	return t.UTC().Format(time.RFC3339)
}

// size writes a number of bytes.
func size(n int64) string {
	for _, u := range []struct {
		bytes float64
		name  string
	}{{1 << 30, "GB"}, {1 << 20, "MB"}, {1 << 10, "KB"}} {
		if f := float64(n) / u.bytes; f >= 1 {
			return fmt.Sprintf("%.1f %s", f, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// many writes a number with its noun: "1 connection", "2 connections".
func many(n int, noun string) string { return story.Count(int64(n), noun) }

// progress is a line on a terminal that is written over itself.
type progress struct {
	c    *call
	last time.Time
	on   bool
}

// show replaces the line, at most five times a second.
func (p *progress) show(format string, args ...any) {
	if now := time.Now(); p.c.env.Terminal && now.Sub(p.last) >= stepEvery {
		p.last, p.on = now, true
		// back to the beginning of the line, and clear it: the next text may be shorter
		fmt.Fprintf(p.c.env.Stderr, "\r\x1b[K"+format, args...)
	}
}

// done takes the line away.
func (p *progress) done() {
	if p.on {
		fmt.Fprint(p.c.env.Stderr, "\r\x1b[K")
	}
}
