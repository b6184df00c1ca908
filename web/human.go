package web

import (
	"strings"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/story"
)

// Times on pages are UTC and say so where the hour matters; the machine-readable form stands beside them in <time>.

const day = 24 * time.Hour

// words writes a length of time as a person says it: "one year", "30 days", "90 minutes". It picks the largest unit
// that comes out even, so that nothing is rounded away.
func words(d oauth.Duration) string {
	v := d.D()
	for _, u := range []struct {
		size time.Duration
		name string
	}{{365 * day, "year"}, {day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if v >= u.size && v%u.size == 0 {
			return count(int(v/u.size), "one", u.name)
		}
	}
	return d.String()
}

// ago writes when something was last seen: by the clock within a day, by the date before that.
func ago(now, t time.Time) string {
	switch d := now.Sub(t); {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return count(int(d/time.Minute), "1", "minute") + " ago"
	case d < day:
		return count(int(d/time.Hour), "1", "hour") + " ago"
	}
	return date(t)
}

// count writes n units; one is how a single one is called.
func count(n int, one, unit string) string {
	if n == 1 {
		return one + " " + unit
	}
	return story.Count(int64(n), unit)
}

// The forms of a moment: on a list, in a story, below a refusal, in an attribute, in a sentence.
func date(t time.Time) string     { return t.UTC().Format("2 Jan 2006") }
func minute(t time.Time) string   { return t.UTC().Format("2 Jan 2006, 15:04") }
func stamp(t time.Time) string    { return t.UTC().Format("2 January 2006, 15:04:05 UTC") }
func machine(t time.Time) string  { return t.UTC().Format(time.RFC3339) }
func fullDate(t time.Time) string { return t.UTC().Format("2 January 2006") }

// until writes the end of a span that began at from: the hour alone if it is of the same day.
func until(from, to time.Time) string {
	if date(from) == date(to) {
		return to.UTC().Format("15:04")
	}
	return minute(to)
}

// list joins words as a sentence does: "a", "a or b", "a, b or c".
func list(items []string, last string) string {
	n := len(items)
	if n < 2 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:n-1], ", ") + " " + last + " " + items[n-1]
}
