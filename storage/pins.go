package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

// Pin is the definition of a connector's tool that is served, and a changed one that waits for an operator's word.
type Pin struct {
	Connector  string
	Tool       string            // the connector's own name for it
	Definition json.RawMessage   // served, accepted last; nil in SavePins = the tool is forgotten
	Offered    json.RawMessage   // waits for AcceptPins; nil = nothing has changed
	Seen       time.Time         // when the tool was first seen; zero = the transition's time
	Changed    time.Time         // when Offered was first seen; zero = never
	Also       []json.RawMessage // served too: accepted before Definition, and still given to some users
	Varies     bool              // users get different definitions: accepting one takes none away
}

// PinAlsoMost bounds Also: beyond it the definition accepted longest ago goes.
const PinAlsoMost = 16

// Accept takes the definition that waits. What it replaces stays accepted if users get different ones.
func (p *Pin) Accept() {
	if p.Varies {
		p.Also = append(slices.Clone(p.Also), p.Definition)
		p.Also = p.Also[max(0, len(p.Also)-PinAlsoMost):]
	} else {
		p.Also = nil
	}
	p.Definition, p.Offered = p.Offered, nil
}

func (p *Pin) fields(c *codec) {
	text(c, &p.Definition)
	text(c, &p.Offered)
	when(c, &p.Seen)
	when(c, &p.Changed)
	list(c, &p.Also)
	flag(c, &p.Varies)
}

// pinNameMost bounds what a connector may call a tool, far below bbolt's longest key.
const pinNameMost = 4096

var errPin = errors.New("a pin needs a connector without a zero byte, and a tool of at most 4096 bytes")

// key: a connector's name comes from the configuration and holds no zero byte; whatever the tool is called, it follows.
func (p Pin) key() string { return pinPrefix(p.Connector) + p.Tool }

func pinPrefix(connector string) string { return connector + "\x00" }

func (p Pin) named() bool {
	return p.Connector != "" && !strings.Contains(p.Connector, "\x00") && len(p.Connector)+len(p.Tool) <= pinNameMost
}

// pins reads those of one connector; "" = all.
func (t *txn) pins(connector string) []Pin {
	prefix := ""
	if connector != "" {
		prefix = pinPrefix(connector)
	}
	var pins []Pin
	t.each(pinsBucket, prefix, "", func(k string, _ []byte) bool {
		p := Pin{}
		p.Connector, p.Tool, _ = strings.Cut(k, "\x00")
		if t.load(pinsBucket, k, &p) {
			pins = append(pins, p)
		}
		return t.fault == nil
	})
	return pins
}

// Pins returns the pins of a connector, "" = of all, by connector and tool. Errors: ErrUnavailable.
func (s *Store) Pins(connector string) (pins []Pin, err error) {
	err = s.view(func(t *txn) error { pins = t.pins(connector); return nil })
	if err != nil {
		return nil, err
	}
	return pins, nil
}

// SavePins writes pins, new ones and others anew, in one commit, and forgets those without a Definition. What is stored
// already costs none. Errors: ErrUnavailable.
func (s *Store) SavePins(ctx context.Context, pins []Pin) error {
	for _, p := range pins {
		if !p.named() {
			return errPin
		}
	}
	return s.write(ctx, func(t *txn) error {
		for _, p := range pins {
			t.savePin(p)
		}
		return nil
	})
}

func (t *txn) savePin(p Pin) {
	var old Pin
	known := t.load(pinsBucket, p.key(), &old)
	if p.Definition == nil {
		if known {
			t.del(pinsBucket, p.key())
		}
		return
	}
	if p.Seen.IsZero() {
		if p.Seen = old.Seen; p.Seen.IsZero() {
			p.Seen = t.now
		}
	}
	if known && bytes.Equal(encode(&old), encode(&p)) { // every start of a connector comes with all of its tools
		return
	}
	t.save(pinsBucket, p.key(), &p)
}

// AcceptPins lets the changed definitions that wait be served, of one tool or, with "", of all tools of a connector. It
// returns the pins that it changed, as they are now; a tool that nothing waits for is none of them. Errors:
// ErrUnavailable.
func (s *Store) AcceptPins(ctx context.Context, connector, tool string) (accepted []Pin, err error) {
	err = s.write(ctx, func(t *txn) error {
		accepted = nil
		for _, p := range t.pins(connector) {
			if p.Offered == nil || tool != "" && p.Tool != tool {
				continue
			}
			p.Accept()
			t.save(pinsBucket, p.key(), &p)
			accepted = append(accepted, p)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return accepted, nil
}
