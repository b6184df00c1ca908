package story

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

const day = 24 * time.Hour

// fill puts names and figures into a sentence. {P} is the provider, {You}, {you}, {Your} and {your} the user, and the
// rest are figures of the installation. A figure that is not known leaves a sentence that is true without it.
func (in Input) fill(sentence string, pairs ...string) string {
	p := in.Site.Provider
	if p == "" {
		p = "the sign-in service"
	}
	you, your := "the user", "the user's"
	if in.You {
		you, your = "you", "your"
	}
	idle, age, times := "too long", "", "too many times"
	if in.Site.Idle > 0 {
		idle = Span(in.Site.Idle.D())
	}
	if in.Site.MaxAge > 0 {
		age = " of " + Span(in.Site.MaxAge.D())
	}
	if n := in.Site.GrantsPerUser; n > 0 {
		times = fmt.Sprintf("more than %d times", n)
	}
	// What may begin a sentence is written large there; the provider's own name stays as it is.
	pairs = append(pairs, "{P}", p, "{you}", you, "{You}", large(you), "{your}", your, "{Your}", large(your),
		"{IDLE}", idle, "{AGE}", age, "{TIMES}", times, "{USER}", in.who())
	s := strings.NewReplacer(pairs...).Replace(sentence)
	if in.Site.Provider == "" && strings.HasPrefix(sentence, "{P}") {
		return large(s)
	}
	return s
}

// who names the user as an operator finds them at the provider.
func (in Input) who() string {
	for _, name := range []string{in.Identity.PreferredUsername, in.Identity.Email, in.Grant.Subject} {
		if name = shown(name); name != "" {
			return name
		}
	}
	return "(the user)"
}

// shown is a stranger's text as a terminal and a page may show it.
func shown(s string) string { return oauth.DisplayText(s, 200) }

// large writes the first letter large.
func large(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// Span says how long something took, in the one unit that fits: "7 minutes", "30 days".
func Span(d time.Duration) string {
	switch {
	case d == 365*day:
		return "one year"
	case d >= 48*time.Hour:
		return Count(int64(d/day), "day")
	case d >= 2*time.Hour, d == time.Hour: // until then minutes say more
		return Count(int64(d/time.Hour), "hour")
	case d >= time.Minute:
		return Count(int64(d/time.Minute), "minute")
	}
	return Count(int64(max(d, 0)/time.Second), "second")
}

// Count writes n units, at least 0, with a figure: "1 connection", "1,204 connections".
func Count(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return Number(n) + " " + unit + "s"
}

// Number writes n, at least 0, with a comma between thousands.
func Number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// ordinal writes "2,214th".
func ordinal(n int64) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return Number(n) + suffix
}

// Clock says when, in a sentence: the time alone for today. All times are UTC.
func Clock(now, t time.Time) string {
	t, now = t.UTC(), now.UTC()
	if now.Format(time.DateOnly) == t.Format(time.DateOnly) {
		return t.Format("15:04 UTC")
	}
	return t.Format("2 January, 15:04 UTC")
}

// since says when and how long ago: "19 Nov 2026, 09:02 UTC, 4 days ago".
func since(now, t time.Time) string {
	return t.UTC().Format("2 Jan 2006, 15:04 UTC") + ", " + Ago(now, t)
}

// Ago says how long before now something was: "4 days ago", "just now".
func Ago(now, t time.Time) string {
	if d := now.Sub(t); d >= time.Second {
		return Span(d) + " ago"
	}
	return "just now"
}
