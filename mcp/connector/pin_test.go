package connector_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hostedmcp/mcp/connector"
)

var noon = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

func ledger(accept bool, stored []connector.Pin, save func(context.Context, []connector.Pin) error) *connector.Ledger {
	return connector.NewLedger(connector.Config{Name: "crm", AcceptChanges: accept}, stored, func() time.Time { return noon }, save)
}

// TestLedger walks a definition through its life (issue 6, item 5).
func TestLedger(t *testing.T) {
	var saved []connector.Pin
	l := ledger(false, nil, func(_ context.Context, pins []connector.Pin) error {
		saved = append(saved, pins...)
		return nil
	})
	for _, row := range []struct {
		step, offered   string
		withheld, fresh bool
	}{
		{"first sight", `{"a":1, "b":2}`, false, false},
		{"the same", `{"a":1,"b":2}`, false, false},
		{"another order", `{"b":2,"a":1}`, false, false},
		{"changed", `{"a":1,"b":3}`, true, true},
		{"changed still", `{"b":3,"a":1}`, true, false},
		{"changed again", `{"a":1,"b":4}`, true, true},
		{"a number in another spelling", `{"a":1.0,"b":2}`, true, true},
	} {
		if withheld, fresh := l.Withheld("t", json.RawMessage(row.offered)); withheld != row.withheld || fresh != row.fresh {
			t.Errorf("%s: %v %v", row.step, withheld, fresh)
		}
	}
	if c := l.Changed(); len(c) != 1 || string(c[0].Definition) != `{"a":1,"b":2}` || string(c[0].Offered) != `{"a":1.0,"b":2}` || c[0].Changed != noon {
		t.Errorf("changed: %+v", c)
	}
	for tool, seen := range map[string]string{"other": `{"a":1.0,"b":2}`, "t": `{"a":1,"b":4}`} {
		if n, err := l.Accept(context.Background(), map[string]json.RawMessage{tool: json.RawMessage(seen)}); n != 0 || err != nil || len(l.Changed()) != 1 {
			t.Errorf("another tool, or what nobody has read: %d %v", n, err)
		}
	}
	before := l.Version()
	if n, err := l.Accept(context.Background(), map[string]json.RawMessage{"t": l.Changed()[0].Offered}); n != 1 || err != nil || l.Version() == before || len(l.Changed()) != 0 {
		t.Errorf("accept: %d %v", n, err)
	}
	if p := saved[len(saved)-1]; string(p.Definition) != `{"a":1.0,"b":2}` || p.Offered != nil || p.Connector != "crm" || p.Tool != "t" || p.Seen != noon {
		t.Errorf("saved: %+v", p)
	}
	again := ledger(false, saved[len(saved)-1:], nil)
	if withheld, _ := again.Withheld("t", json.RawMessage(`{"a":1,"b":2}`)); !withheld {
		t.Error("after a restart another definition was served")
	}
}

// TestLedgerVaries: a connector that gives its users different definitions costs one line and one commit for each
// definition, not for each list; each that was accepted is served, and none that was not.
func TestLedgerVaries(t *testing.T) {
	commits := 0
	stored := map[string]connector.Pin{}
	save := func(_ context.Context, pins []connector.Pin) error {
		commits++
		for _, p := range pins {
			stored[p.Tool] = p
		}
		return nil
	}
	l := ledger(false, nil, save)
	offer := func(l *connector.Ledger, id int) (withheld, fresh bool) {
		t.Helper()
		withheld, fresh = l.Withheld("t", json.RawMessage(fmt.Sprintf(`{"user":%d}`, id)))
		if err := l.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		return withheld, fresh
	}
	lines := 0
	for range 50 {
		for id := range 3 {
			withheld, fresh := offer(l, id)
			if withheld != (id > 0) {
				t.Fatalf("%d: withheld %v", id, withheld)
			}
			if fresh {
				lines++
			}
		}
	}
	// first sight, two changed ones, and once that they come and go
	if lines != 2 || commits > 4 {
		t.Errorf("%d lines in the log, %d commits", lines, commits)
	}
	for n := 1; n <= 2; n++ {
		waits := l.Changed()
		if len(waits) != 1 {
			t.Fatalf("%d wait", len(waits))
		}
		if got, err := l.Accept(t.Context(), map[string]json.RawMessage{"t": waits[0].Offered}); got != 1 || err != nil {
			t.Fatalf("accept: %d %v", got, err)
		}
		served := 0
		for id := range 3 {
			if withheld, fresh := offer(l, id); fresh {
				t.Errorf("told again: %d", id)
			} else if !withheld {
				served++
			}
		}
		if served != n+1 {
			t.Errorf("after %d were accepted %d are served", n, served)
		}
	}
	before := commits
	again := ledger(false, []connector.Pin{stored["t"]}, save)
	for range 10 {
		for id := range 3 {
			if withheld, fresh := offer(again, id); withheld || fresh {
				t.Errorf("after a restart: %d %v %v", id, withheld, fresh)
			}
		}
	}
	if withheld, _ := offer(again, 9); !withheld || commits != before+1 {
		t.Errorf("one that nobody accepted: %v, %d commits", withheld, commits-before)
	}
}

// TestLedgerReplaces: where all users get the same, an accepted definition takes the place of the one before.
func TestLedgerReplaces(t *testing.T) {
	l := ledger(false, nil, nil)
	l.Withheld("t", json.RawMessage(`1`))
	l.Withheld("t", json.RawMessage(`2`))
	if n, err := l.Accept(t.Context(), map[string]json.RawMessage{"t": json.RawMessage(`2`)}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if withheld, _ := l.Withheld("t", json.RawMessage(`1`)); !withheld {
		t.Error("what was replaced is served again, unread")
	}
}

// TestLedgerGoesBack: a connector that takes its change back for a day waits no longer; what is offered in between does.
func TestLedgerGoesBack(t *testing.T) {
	now := noon
	l := connector.NewLedger(connector.Config{Name: "crm"}, nil, func() time.Time { return now }, nil)
	for _, row := range []struct {
		after   time.Duration
		offered string
		waits   int
	}{
		{0, `1`, 0}, {0, `2`, 1}, {23 * time.Hour, `1`, 1}, {23 * time.Hour, `2`, 1}, {24 * time.Hour, `1`, 1}, {time.Minute, `1`, 0}, {0, `2`, 1},
	} {
		now = now.Add(row.after)
		if l.Withheld("t", json.RawMessage(row.offered)); len(l.Changed()) != row.waits {
			t.Errorf("%s at %s: %d wait", row.offered, now, len(l.Changed()))
		}
	}
}

// TestLedgerCalms: a tool that is another one at each list costs some lines an hour, and stays withheld.
func TestLedgerCalms(t *testing.T) {
	for _, accept := range []bool{false, true} {
		now := noon
		l := connector.NewLedger(connector.Config{Name: "crm", AcceptChanges: accept}, nil, func() time.Time { return now }, nil)
		lines := 0
		for i := range 1000 {
			withheld, fresh := l.Withheld("t", json.RawMessage(strconv.Itoa(i)))
			if withheld == accept && i > 0 {
				t.Fatalf("accept %v: %d is withheld: %v", accept, i, withheld)
			}
			if fresh {
				lines++
			}
		}
		now = now.Add(time.Hour)
		if _, fresh := l.Withheld("t", json.RawMessage(`"later"`)); lines > 32 || !fresh {
			t.Errorf("accept %v: %d lines, and an hour later %v", accept, lines, fresh)
		}
	}
}

// TestLedgerForgets: what is forgotten is a first sight again; a change that waits is not accepted by forgetting all.
func TestLedgerForgets(t *testing.T) {
	stored := map[string]connector.Pin{}
	l := ledger(false, nil, func(_ context.Context, pins []connector.Pin) error {
		for _, p := range pins {
			if stored[p.Tool] = p; p.Definition == nil {
				delete(stored, p.Tool)
			}
		}
		return nil
	})
	for _, tool := range []string{"gone", "here", "waits"} {
		l.Withheld(tool, json.RawMessage(`1`))
	}
	l.Withheld("waits", json.RawMessage(`2`))
	if err := l.Flush(t.Context()); err != nil || len(stored) != 3 {
		t.Fatalf("%v %v", err, stored)
	}
	before := l.Version()
	for _, row := range []struct {
		tool      string
		want, has int
	}{{"never", 0, 3}, {"gone", 1, 2}, {"", 1, 1}, {"waits", 1, 0}} {
		if n, err := l.Forget(t.Context(), row.tool); n != row.want || err != nil || len(stored) != row.has {
			t.Errorf("forget %q: %d %v, %d left", row.tool, n, err, len(stored))
		}
	}
	if withheld, fresh := l.Withheld("waits", json.RawMessage(`2`)); withheld || fresh || l.Version() == before || len(l.Changed()) != 0 {
		t.Errorf("a first sight: %v %v", withheld, fresh)
	}
}

// TestLedgerFull: no room is said once, and again when room was made and is used up; what is pinned goes on.
func TestLedgerFull(t *testing.T) {
	var pins []connector.Pin
	for i := range 10_000 {
		pins = append(pins, connector.Pin{Tool: strconv.Itoa(i), Definition: json.RawMessage(`1`)})
	}
	l := ledger(false, pins, nil)
	said := 0
	for _, tool := range []string{"0", "new", "new", "", "new", "newer", "newer"} {
		if tool == "" {
			if n, err := l.Forget(t.Context(), "9"); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			continue
		}
		l.Withheld(tool, json.RawMessage(`1`))
		if err := l.Flush(t.Context()); err != nil && strings.Contains(err.Error(), "hostedmcp tools forget") {
			said++
		}
	}
	if said != 2 {
		t.Errorf("said %d times", said)
	}
}

// TestLedgerAccepts: accept_changes serves what is offered, and says that it changed.
func TestLedgerAccepts(t *testing.T) {
	l := ledger(true, []connector.Pin{{Tool: "t", Definition: json.RawMessage(`{}`)}}, nil)
	if withheld, fresh := l.Withheld("t", json.RawMessage(`{"a":1}`)); withheld || !fresh {
		t.Errorf("changed: %v %v", withheld, fresh)
	}
	if withheld, fresh := l.Withheld("t", json.RawMessage(`{"a":1}`)); withheld || fresh || len(l.Changed()) != 0 {
		t.Errorf("again: %v %v", withheld, fresh)
	}
}

// TestLedgerAcceptsVarying: with accept_changes too, what comes and goes is stored and told once each.
func TestLedgerAcceptsVarying(t *testing.T) {
	commits, lines := 0, 0
	l := ledger(true, nil, func(context.Context, []connector.Pin) error { commits++; return nil })
	for range 50 {
		for id := range 3 {
			withheld, fresh := l.Withheld("t", json.RawMessage(strconv.Itoa(id)))
			if err := l.Flush(t.Context()); err != nil || withheld {
				t.Fatalf("%d: %v %v", id, withheld, err)
			}
			if fresh {
				lines++
			}
		}
	}
	if lines != 2 || commits > 6 {
		t.Errorf("%d lines, %d commits", lines, commits)
	}
}

// TestLedgerStore: what could not be stored is stored with the next change.
func TestLedgerStore(t *testing.T) {
	fail := errors.New("disk")
	var names []string
	l := ledger(false, nil, func(_ context.Context, pins []connector.Pin) error {
		if fail == nil {
			for _, p := range pins {
				names = append(names, p.Tool)
			}
		}
		return fail
	})
	l.Withheld("a", json.RawMessage(`{}`))
	if err := l.Flush(context.Background()); !errors.Is(err, fail) {
		t.Errorf("error: %v", err)
	}
	fail = nil
	l.Withheld("b", json.RawMessage(`{}`))
	if err := l.Flush(context.Background()); err != nil {
		t.Error(err)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("stored: %q", names)
	}
}

// TestHiddenText: what a person does not see and a model reads is named; what has honest uses is not.
func TestHiddenText(t *testing.T) {
	for raw, want := range map[string][]string{
		`{"description":"plain \"quoted\"\n"}`:                    nil,
		`{"description":"é 👨‍👩 \u0041"}`:                          nil,
		`{"description":"a\u0000b"}`:                              {"U+0000 in description"},
		`{"description":"a\u200bb"}`:                              {"U+200B in description"},
		"{\"description\":\"a\u2066b\"}":                          {"U+2066 in description"},
		`{"inputSchema":{"properties":{"p":{"title":"\ufeff"}}}}`: {"U+FEFF in title"},
		`{"x":["\ue000"],"a\u200bb":1}`:                           {"U+200B in a name in ", "U+E000 in x"},
		`{"description":"\udb40\udc41\udb40\udc41"}`:              {"U+E0041 in description"},
	} {
		if got := connector.HiddenText(json.RawMessage(raw)); !slices.Equal(got, want) {
			t.Errorf("%s: %q", raw, got)
		}
	}
}

// TestLedgerIsBounded: definitions without end fill neither memory nor disk; what is pinned stays served.
func TestLedgerIsBounded(t *testing.T) {
	size := 0
	l := ledger(false, nil, func(_ context.Context, pins []connector.Pin) error {
		for _, p := range pins {
			size += len(p.Definition)
		}
		return nil
	})
	large := json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)
	served := 0
	for i := range 100 {
		if withheld, _ := l.Withheld(strconv.Itoa(i), large); !withheld {
			served++
		}
	}
	if err := l.Flush(context.Background()); err == nil || size > 64<<20 || served != 63 {
		t.Errorf("%d served, %d bytes, %v", served, size, err)
	}
	if withheld, _ := l.Withheld("0", large); withheld {
		t.Error("what is pinned is withheld")
	}
}
