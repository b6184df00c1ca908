package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"
)

// Ledger holds the pins of one connector: a definition that was seen once is the one that is served. A changed one is
// withheld, and so is its tool, until the operator accepts it: a description speaks to the model, and one that was read
// and found good could be exchanged later for one that steals (the "rug pull").
type Ledger struct {
	connector string
	accept    bool
	now       func() time.Time
	save      func(ctx context.Context, pins []Pin) error

	mu      sync.Mutex
	pins    map[string]Pin
	unsaved map[string]bool
	size    int    // of all definitions in bytes
	version uint64 // moves when an answer of Withheld may
}

// Bounds of a ledger. A connector that invents names or definitions without end must not fill the disk; what does not
// fit is withheld.
const (
	maxPins  = 10_000
	maxBytes = 64 << 20 // of all definitions
)

// NewLedger returns the ledger of a connector with the pins that were stored. save stores pins; nil forgets them with
// the process.
func NewLedger(c Config, stored []Pin, now func() time.Time, save func(context.Context, []Pin) error) *Ledger {
	l := &Ledger{connector: c.Name, accept: c.AcceptChanges, now: now, save: save,
		pins: map[string]Pin{}, unsaved: map[string]bool{}}
	for _, p := range stored {
		l.pins[p.Tool] = p
		l.size += p.size()
	}
	return l
}

// Withheld notes the definition that the connector offers now and reports whether it must be withheld. fresh says that
// this call found it changed, for the log. A definition that goes back to the accepted one is served again.
func (l *Ledger) Withheld(tool string, offered json.RawMessage) (withheld, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, known := l.pins[tool]
	switch {
	case !known && len(l.pins) >= maxPins, l.size+len(offered) > maxBytes && !(known && Same(p.Definition, offered)):
		return true, false
	case !known:
		l.put(Pin{Connector: l.connector, Tool: tool, Definition: compact(offered), Seen: l.now()})
		return false, false
	case Same(p.Definition, offered):
		if p.Offered != nil {
			p.Offered = nil
			l.put(p)
		}
		return false, false
	case l.accept:
		p.Definition, p.Offered, p.Changed = compact(offered), nil, l.now()
		l.put(p)
		return false, true
	case p.Offered != nil && Same(p.Offered, offered):
		return true, false
	}
	p.Offered, p.Changed = compact(offered), l.now()
	l.put(p)
	return true, true
}

// size is what a pin takes of maxBytes.
func (p Pin) size() int { return len(p.Definition) + len(p.Offered) }

// put enters a pin. mu must be held.
func (l *Ledger) put(p Pin) {
	l.size += p.size() - l.pins[p.Tool].size()
	l.pins[p.Tool] = p
	l.unsaved[p.Tool] = true
	l.version++
}

// Version changes when an answer of Withheld may have changed.
func (l *Ledger) Version() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version
}

// Changed returns the pins with a definition that waits, by name.
func (l *Ledger) Changed() []Pin {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Pin
	for _, p := range l.pins {
		if p.Offered != nil {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b Pin) int { return strings.Compare(a.Tool, b.Tool) })
	return out
}

// Accept makes definitions that wait the accepted ones, and stores them: those of seen, by tool, as Changed gave them.
// One that the connector has changed again since is another, which nobody has read: it goes on waiting. It returns how
// many were accepted. An error is that of the store; then they are accepted until the next start.
func (l *Ledger) Accept(ctx context.Context, seen map[string]json.RawMessage) (int, error) {
	l.mu.Lock()
	n := 0
	for tool, offered := range seen {
		if p := l.pins[tool]; p.Offered != nil && bytes.Equal(p.Offered, offered) {
			p.Definition, p.Offered = p.Offered, nil
			l.put(p)
			n++
		}
	}
	l.mu.Unlock()
	return n, l.Flush(ctx)
}

// Flush stores what has changed. After an error it is tried again with the next change.
func (l *Ledger) Flush(ctx context.Context) error {
	l.mu.Lock()
	var pins []Pin
	for tool := range l.unsaved {
		pins = append(pins, l.pins[tool])
	}
	clear(l.unsaved)
	l.mu.Unlock()
	if len(pins) == 0 || l.save == nil {
		return nil
	}
	// not under the lock: calls ask Withheld meanwhile
	err := l.save(ctx, pins)
	if err != nil {
		l.mu.Lock()
		for _, p := range pins {
			l.unsaved[p.Tool] = true
		}
		l.mu.Unlock()
	}
	return err
}

// Same reports whether two JSON texts say the same: the order of members and the spelling of strings and white space
// do not count, since some servers write them as their maps fall.
func Same(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	return bytes.Equal(canonical(a), canonical(b))
}

// canonical writes JSON with sorted members. Numbers stay as they are written: 1.0 and 1 are one to some readers only.
// What is not JSON stays as it is.
func canonical(raw json.RawMessage) []byte {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return raw
	}
	out, err := json.Marshal(v)
	if err != nil {
		return raw
	}
	return out
}

// compact returns raw without white space, as a copy: what is kept must not hold a whole answer.
func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return bytes.Clone(raw)
	}
	return b.Bytes()
}
