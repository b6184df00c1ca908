package connector_test

import (
	"context"
	"encoding/json"
	"errors"
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
		{"back", `{"a":1,"b":2}`, false, false},
		{"a number in another spelling", `{"a":1.0,"b":2}`, true, true},
	} {
		if withheld, fresh := l.Withheld("t", json.RawMessage(row.offered)); withheld != row.withheld || fresh != row.fresh {
			t.Errorf("%s: %v %v", row.step, withheld, fresh)
		}
	}
	if c := l.Changed(); len(c) != 1 || string(c[0].Definition) != `{"a":1,"b":2}` || string(c[0].Offered) != `{"a":1.0,"b":2}` || c[0].Changed != noon {
		t.Errorf("changed: %s", c)
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
	if err := l.Flush(context.Background()); err != nil || size > 64<<20 || served != 63 {
		t.Errorf("%d served, %d bytes, %v", served, size, err)
	}
	if withheld, _ := l.Withheld("0", large); withheld {
		t.Error("what is pinned is withheld")
	}
}
