package trace

import (
	"encoding/json"
	"fmt"
	"io"
)

// report prints steps as they are made, or all at the end as JSON.
type report struct {
	out, aside io.Writer // aside takes what is for the person only, so that -json leaves out clean
	json       bool
	colour     bool
	steps      []Step
}

// result is what `-json` prints.
type result struct {
	URL     string `json:"url"`
	As      string `json:"as,omitempty"` // the client that was imitated
	Verdict string `json:"verdict"`      // ok or FAIL
	Failed  string `json:"failed,omitempty"`
	Steps   []Step `json:"steps"`
}

// paint wraps text in the colour of a verdict (ECMA-48 SGR); plain in a pipe.
func (r *report) paint(v Verdict, text string) string {
	if !r.colour {
		return text
	}
	code := map[Verdict]string{OK: "32", Warn: "33", Fail: "1;31", Skip: "2"}[v]
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// dim is for what is read second.
func (r *report) dim(text string) string { return r.paint(Skip, text) }

// step prints a step as soon as it is made: the next may wait minutes for a person.
func (r *report) step(s Step) {
	r.steps = append(r.steps, s)
	if r.json {
		return
	}
	fmt.Fprintf(r.out, "%s  %s\n", r.paint(s.Verdict, fmt.Sprintf("%-4s", s.Verdict)), s.Name)
	fmt.Fprintf(r.out, "      %s %s %s\n", r.dim("expected"), s.Expected, r.dim("("+s.Source+")"))
	fmt.Fprintf(r.out, "      %s     %s\n", r.dim("came"), s.Came)
	for _, n := range s.Notes {
		fmt.Fprintf(r.out, "      %s     %s\n", r.paint(Warn, "note"), n)
	}
}

// login shows the person where to go. The URL holds no credential: state is used once, the challenge is a hash.
func (r *report) login(url string) {
	fmt.Fprintf(r.aside, "\nOpen this page and sign in:\n\n  %s\n\n", url)
}

// end prints the verdict: the last line names the faulty step.
func (r *report) end(target, as, failed string) error {
	if r.json {
		verdict := "ok"
		if failed != "" {
			verdict = "FAIL"
		}
		e := json.NewEncoder(r.out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(result{URL: target, As: as, Verdict: verdict, Failed: failed, Steps: append([]Step{}, r.steps...)})
	}
	if failed != "" {
		_, err := fmt.Fprintf(r.out, "\n%s\n", r.paint(Fail, "FAIL at step: "+failed))
		return err
	}
	warned := 0
	for _, s := range r.steps {
		if s.Verdict == Warn {
			warned++
		}
	}
	_, err := fmt.Fprintf(r.out, "\n%s\n", r.paint(OK, fmt.Sprintf("ok: %d steps, %d with a note", len(r.steps), warned)))
	return err
}
