package storage_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"hostedmcp/storage"
)

func (h *harness) wantPins(connector string, want ...string) {
	h.Helper()
	pins, err := h.Pins(connector)
	h.must(err)
	var got []string
	for _, p := range pins {
		s := fmt.Sprintf("%s/%s %s", p.Connector, p.Tool, p.Definition)
		if p.Offered != nil {
			s += fmt.Sprintf(" waits %s", p.Offered)
		}
		got = append(got, s)
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		h.Errorf("pins of %q:\n%s\nwant:\n%s", connector, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func definition(i int) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"name":"secretTool%d"}`, i))
}

// TestPins: saved, changed, accepted and dropped by connector and tool, through restarts, never in clear.
func TestPins(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.secrets = append(h.secrets, "secretTool")
	h.must(h.SavePins(t.Context(), []storage.Pin{
		{Connector: "crm", Tool: "get", Definition: definition(1)},
		{Connector: "crm", Tool: "odd\x00name", Definition: definition(2)},
		{Connector: "crm2", Tool: "get", Definition: definition(3)},
		{Connector: "crm", Tool: "", Definition: definition(4)},
	}))
	h.reopen()
	h.check()
	h.wantPins("crm", `crm/ {"name":"secretTool4"}`, `crm/get {"name":"secretTool1"}`, "crm/odd\x00name {\"name\":\"secretTool2\"}")
	h.wantPins("crm2", `crm2/get {"name":"secretTool3"}`)
	seen := h.Now()
	h.clock.Advance(time.Hour)
	h.must(h.SavePins(t.Context(), []storage.Pin{
		{Connector: "crm", Tool: "get", Definition: definition(1), Offered: definition(5), Changed: h.Now()},
		{Connector: "crm2", Tool: "get", Definition: definition(3), Offered: definition(6), Changed: h.Now()},
	}))
	pins, err := h.Pins("crm2")
	h.must(err)
	if p := pins[0]; !p.Seen.Equal(seen) || !p.Changed.Equal(h.Now()) {
		t.Errorf("seen %s, changed %s", p.Seen, p.Changed)
	}
	for _, row := range []struct {
		connector, tool string
		want            int
	}{{"crm", "odd\x00name", 0}, {"crm", "ge", 0}, {"other", "", 0}, {"crm", "", 1}, {"crm", "get", 0}, {"crm2", "get", 1}} {
		if got, err := h.AcceptPins(t.Context(), row.connector, row.tool); len(got) != row.want || err != nil {
			t.Errorf("AcceptPins(%q, %q) = %v, %v, want %d", row.connector, row.tool, got, err, row.want)
		}
	}
	h.reopen()
	h.check()
	h.wantPins("", `crm/ {"name":"secretTool4"}`, `crm/get {"name":"secretTool5"}`, "crm/odd\x00name "+`{"name":"secretTool2"}`, `crm2/get {"name":"secretTool6"}`)
}

// TestPinsVary: where users get different definitions, accepting one takes none away; else it takes the place of all
// before it. A tool without a definition is forgotten.
func TestPinsVary(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	pin := storage.Pin{Connector: "crm", Tool: "get", Definition: definition(0), Varies: true}
	for i := range storage.PinAlsoMost + 2 {
		pin.Offered = definition(i + 1)
		h.must(h.SavePins(t.Context(), []storage.Pin{pin}))
		accepted, err := h.AcceptPins(t.Context(), "crm", "get")
		h.must(err)
		pin = accepted[0]
	}
	h.reopen()
	h.check()
	pins, err := h.Pins("crm")
	h.must(err)
	p := pins[0]
	if string(p.Definition) != string(definition(18)) || len(p.Also) != storage.PinAlsoMost || string(p.Also[0]) != string(definition(2)) || !p.Varies {
		t.Errorf("%+v", p)
	}
	p.Varies, p.Offered = false, definition(30)
	h.must(h.SavePins(t.Context(), []storage.Pin{p}))
	accepted, err := h.AcceptPins(t.Context(), "crm", "")
	if h.must(err); len(accepted) != 1 || accepted[0].Also != nil {
		t.Errorf("%+v", accepted)
	}
	h.must(h.SavePins(t.Context(), []storage.Pin{{Connector: "crm", Tool: "get"}, {Connector: "crm", Tool: "never"}}))
	h.wantPins("")
}

// TestPinNames: a name that no key can hold is refused before the transaction; others' transitions never see it.
func TestPinNames(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, p := range []storage.Pin{{Tool: "x"}, {Connector: "a\x00b", Tool: "x"}, {Connector: "a", Tool: strings.Repeat("x", 4096)}} {
		if err := h.SavePins(t.Context(), []storage.Pin{p}); err == nil || errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%.10q/%.10q: %v", p.Connector, p.Tool, err)
		}
	}
	h.wantPins("")
}

// TestPinsCostNoCommit: a connector comes with the same tools at every start.
func TestPinsCostNoCommit(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	pin := []storage.Pin{{Connector: "crm", Tool: "get", Definition: definition(1)}}
	h.must(h.SavePins(t.Context(), pin))
	h.reopen()
	commits := 0
	h.FailCommits(func(real func() error) error { commits++; return real() })
	h.clock.Advance(time.Second)
	h.must(h.SavePins(t.Context(), pin))
	if commits != 0 {
		t.Errorf("%d commits for what was there", commits)
	}
}

// TestOlderFile: a file of before there were pins opens, and has them.
func TestOlderFile(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	l := h.connect()
	h.must(h.Close())
	tamper(t, h.Path(), func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("pins")) })
	h.reopenTampered()
	h.check()
	h.must(h.SavePins(t.Context(), []storage.Pin{{Connector: "crm", Tool: "get", Definition: definition(1)}}))
	h.wantPins("", `crm/get {"name":"secretTool1"}`)
	h.wantLiving(l.id)
}
