package connector

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// Ledger holds the pins of one connector: a definition that was seen once is the one that is served. A changed one is
// withheld, and so is its tool, until the operator accepts it: a description speaks to the model, and one that was read
// and found good could be exchanged later for one that steals (the "rug pull").
//
// Some connectors give different users different definitions of one tool. Then each waits for the operator in its turn,
// and each that was accepted is served; a definition that comes and goes is neither stored nor told anew each time.
// Safe for concurrent use.
type Ledger struct {
	connector string
	accept    bool
	now       func() time.Time
	save      func(ctx context.Context, pins []Pin) error
	began     time.Time

	saving sync.Mutex // one at a time: an older state of a pin must not be stored after a newer one

	mu      sync.Mutex
	pins    map[string]Pin
	unsaved map[string]bool
	told    map[string][]sum     // by tool: the definitions of this process that were not the accepted one
	offered map[string]time.Time // by tool: when the one that waits came last; none = not since began
	full    bool                 // something was withheld for want of room
	said    bool                 // Flush has said that
	size    int                  // of all definitions in bytes
	version uint64               // moves when an answer of Withheld may
}

// sum stands for a definition, however it is spelled.
type sum [sha256.Size]byte

// Bounds of a ledger. A connector that invents names or definitions without end must not fill the disk; what does not
// fit is withheld. No pin makes room by itself: a connector could push out the one that it wants to replace.
const (
	maxPins  = 10_000
	maxBytes = 64 << 20 // of all definitions
	maxAlso  = 16       // further definitions of one tool that are served
	maxTold  = 32       // changed definitions of one tool in calmTime
)

const (
	// calmTime is how long a tool that has had maxTold changed definitions must keep still before the next is noted.
	calmTime = time.Hour
	// offerTime is how long a changed definition waits on although the connector offers the accepted one again.
	offerTime = 24 * time.Hour
)

// NewLedger returns the ledger of a connector with the pins that were stored. save stores pins, and forgets those
// without a Definition; nil forgets all of them with the process.
func NewLedger(c Config, stored []Pin, now func() time.Time, save func(context.Context, []Pin) error) *Ledger {
	l := &Ledger{connector: c.Name, accept: c.AcceptChanges, now: now, save: save, began: now(),
		pins: map[string]Pin{}, unsaved: map[string]bool{}, told: map[string][]sum{}, offered: map[string]time.Time{}}
	for _, p := range stored {
		l.pins[p.Tool] = p
		l.size += p.size()
	}
	return l
}

// Withheld notes the definition that the connector offers now and reports whether it must be withheld. fresh says that
// it is a change that the log has not told since the start. A definition that goes back to an accepted one is served.
func (l *Ledger) Withheld(tool string, offered json.RawMessage) (withheld, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, known := l.pins[tool]
	switch {
	case known && p.serves(offered):
		l.back(p)
		return false, false
	case !known && len(l.pins) >= maxPins, l.size+len(offered) > maxBytes:
		l.full = true
		return true, false
	case !known:
		l.put(Pin{Connector: l.connector, Tool: tool, Definition: compact(offered), Seen: l.now()})
		return false, false
	case l.accept:
		return false, l.replace(p, offered)
	}
	return true, l.offer(p, offered)
}

// serves reports whether a definition is an accepted one.
func (p *Pin) serves(definition json.RawMessage) bool {
	return Same(p.Definition, definition) ||
		slices.ContainsFunc(p.Also, func(also json.RawMessage) bool { return Same(also, definition) })
}

// back notes that an accepted definition comes while a changed one waits: users get different ones, or the connector has
// changed its mind. Which of the two it is, time tells. mu must be held.
func (l *Ledger) back(p Pin) {
	last, since := l.offered[p.Tool]
	if !since {
		last = l.began
	}
	switch {
	case p.Offered == nil:
		return
	case l.accept, l.now().Sub(last) > offerTime:
		p.Offered = nil
	case p.Varies: // known, and stored: a connector that goes to and fro costs no more commits
		return
	default:
		p.Varies = true
	}
	l.put(p)
}

// offer lets a changed definition wait, and reports whether the log should say so. One waits at a time, the newest; the
// others of a tool that varies get their turn when it is accepted. mu must be held.
func (l *Ledger) offer(p Pin, offered json.RawMessage) (fresh bool) {
	now := l.now()
	defer func() { l.offered[p.Tool] = now }()
	if p.Offered != nil && Same(p.Offered, offered) {
		return false
	}
	told, calm := l.tell(p, offered)
	if told && p.Offered != nil || !calm {
		return false
	}
	p.Offered, p.Changed = compact(offered), now
	l.put(p)
	return !told
}

// replace serves a changed definition at once (accept_changes), and reports whether the log should say so. mu must be
// held.
func (l *Ledger) replace(p Pin, offered json.RawMessage) (fresh bool) {
	told, calm := l.tell(p, offered)
	if !calm {
		return false
	}
	// It was replaced before, and is there again: some users get this one, others that.
	p.Varies = p.Varies || told
	p.Offered, p.Changed = compact(offered), l.now()
	p.accept()
	l.put(p)
	return !told
}

// tell remembers a definition with the one that it takes the place of. told = it was known already; calm = the tool has
// not changed so often of late that one more is not worth a commit. mu must be held.
func (l *Ledger) tell(p Pin, offered json.RawMessage) (told, calm bool) {
	list := l.told[p.Tool]
	if len(list) >= maxTold {
		if l.now().Sub(p.Changed) < calmTime {
			return slices.Contains(list, sumOf(offered)), false
		}
		list = nil
	}
	before := p.Offered // what waited is known; with accept_changes, what was served
	if l.accept {
		before = p.Definition
	}
	if before != nil && !slices.Contains(list, sumOf(before)) {
		list = append(list, sumOf(before))
	}
	if told = slices.Contains(list, sumOf(offered)); !told {
		list = append(list, sumOf(offered))
	}
	l.told[p.Tool] = list
	return told, true
}

// sumOf is that of a definition.
func sumOf(definition json.RawMessage) sum { return sha256.Sum256(canonical(definition)) }

// accept serves the definition that waits: in the place of all before it, or beside them where users get different
// ones. The one accepted longest ago goes when they are too many. Package storage does the same on a closed file.
func (p *Pin) accept() {
	if p.Varies {
		p.Also = append(slices.Clone(p.Also), p.Definition)
		p.Also = p.Also[max(0, len(p.Also)-maxAlso):]
	} else {
		p.Also = nil
	}
	p.Definition, p.Offered = p.Offered, nil
}

// size is what a pin takes of maxBytes.
func (p Pin) size() int {
	n := len(p.Definition) + len(p.Offered)
	for _, also := range p.Also {
		n += len(also)
	}
	return n
}

// put enters a pin. mu must be held.
func (l *Ledger) put(p Pin) {
	l.size += p.size() - l.pins[p.Tool].size()
	l.pins[p.Tool] = p
	l.unsaved[p.Tool] = true
	l.version++
}
