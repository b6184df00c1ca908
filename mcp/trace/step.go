package trace

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Verdict is what became of a step.
type Verdict string

// The verdicts. Only Fail makes the command fail.
const (
	OK   Verdict = "ok"
	Warn Verdict = "warn" // it works, but not for every client or not for long
	Fail Verdict = "FAIL"
	Skip Verdict = "skip" // not made; Came says why
)

// Step is one step of the way, as `-json` prints it.
type Step struct {
	Name     string   `json:"step"`
	Verdict  Verdict  `json:"verdict"`
	Expected string   `json:"expected"`
	Source   string   `json:"source"` // specification and section
	Came     string   `json:"came"`
	Notes    []string `json:"notes,omitempty"` // what some clients stumble over, and what to change
	Millis   int64    `json:"ms"`              // how long it took, people included
}

// warn adds a note that makes a good step a warning.
func (s *Step) warn(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// came says what came.
func (s *Step) came(format string, args ...any) { s.Came = fmt.Sprintf(format, args...) }

// errSkipped ends a step that is not made. Came says why.
var errSkipped = errors.New("skipped")

// step makes one step: an error of check is what came in place of the expected. It returns whether the way goes on
// from here.
func (t *tracer) step(ctx context.Context, name string, check func(context.Context, *Step) error) bool {
	s := Step{Name: name, Expected: rules[name].expected, Source: rules[name].source}
	begin := t.now()
	err := check(ctx, &s)
	s.Millis = t.now().Sub(begin).Round(time.Millisecond).Milliseconds()
	switch {
	case errors.Is(err, errSkipped):
		s.Verdict = Skip
	case err != nil:
		s.Verdict = Fail
		s.Came = err.Error()
		if t.failed == "" {
			t.failed = name
		}
	case len(s.Notes) > 0:
		s.Verdict = Warn
	default:
		s.Verdict = OK
	}
	s.Came = t.secrets.clean(s.Came)
	for i, n := range s.Notes {
		s.Notes[i] = t.secrets.clean(n)
	}
	t.report.step(s)
	return err == nil
}
