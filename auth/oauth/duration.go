package oauth

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time as the configuration writes it: Go's form ("90s", "1h30m") or whole days ("30d").
// Negative values are refused. The zero value is no time at all; what that means stands at each key.
type Duration time.Duration

const day = 24 * time.Hour

// Days returns n days.
func Days(n int) Duration { return Duration(time.Duration(n) * day) }

// D returns d as the standard library's type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// UnmarshalText reads the configuration's form.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if n, ok := strings.CutSuffix(s, "d"); ok {
		days, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return fmt.Errorf("%q is not a length of time: write 90s, 10m, 12h or 30d", s)
		}
		*d = Days(int(days))
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a length of time: write 90s, 10m, 12h or 30d", s)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the form that UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String writes whole days as "30d" and everything else without its zero parts: "1h", "1h30m", "1m30s".
func (d Duration) String() string {
	v := time.Duration(d)
	if v >= day && v%day == 0 {
		return strconv.Itoa(int(v/day)) + "d"
	}
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
