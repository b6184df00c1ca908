package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// What an operator asks of a ledger, and how it is stored.

// errFull is what Flush says once when definitions were withheld because there was no room to pin them.
var errFull = errors.New("no room for more definitions: what is new is withheld. Look at hostedmcp tools list, and make room with hostedmcp tools forget")

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

// Accept makes definitions that wait accepted ones, and stores them: those of seen, by tool, as Changed gave them. One
// that the connector has changed again since is another, which nobody has read: it goes on waiting. It returns how many
// were accepted. An error is that of the store; then they are accepted until the next start.
func (l *Ledger) Accept(ctx context.Context, seen map[string]json.RawMessage) (int, error) {
	l.mu.Lock()
	n := 0
	for tool, offered := range seen {
		if p := l.pins[tool]; p.Offered != nil && bytes.Equal(p.Offered, offered) {
			p.accept()
			l.put(p)
			n++
		}
	}
	l.mu.Unlock()
	return n, l.store(ctx)
}

// Forget drops the pin of a tool, or with "" those of all tools but the ones that a changed definition waits for: what
// the connector offers next is a first sight again. It returns how many there were. An error is that of the store; then
// they are forgotten until the next start.
func (l *Ledger) Forget(ctx context.Context, tool string) (int, error) {
	l.mu.Lock()
	n := 0
	for name, p := range l.pins {
		if tool == "" && p.Offered != nil || tool != "" && tool != name {
			continue
		}
		l.size -= p.size()
		delete(l.pins, name)
		delete(l.told, name)
		delete(l.offered, name)
		l.unsaved[name] = true
		l.version++
		n++
	}
	l.full, l.said = false, false
	l.mu.Unlock()
	return n, l.store(ctx)
}

// Flush stores what has changed; after an error it is tried again with the next change. It also says, once, that there
// was no room for something.
func (l *Ledger) Flush(ctx context.Context) error {
	l.mu.Lock()
	say := l.full && !l.said
	l.said = l.said || say
	l.mu.Unlock()
	if err := l.store(ctx); err != nil || !say {
		return err
	}
	return errFull
}

// store writes the pins that have changed.
func (l *Ledger) store(ctx context.Context) error {
	l.saving.Lock()
	defer l.saving.Unlock()
	l.mu.Lock()
	var pins []Pin
	for tool := range l.unsaved {
		p, there := l.pins[tool]
		if !there { // forgotten
			p = Pin{Connector: l.connector, Tool: tool}
		}
		pins = append(pins, p)
	}
	clear(l.unsaved)
	l.mu.Unlock()
	if len(pins) == 0 || l.save == nil {
		return nil
	}
	// not under mu: calls ask Withheld meanwhile
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
