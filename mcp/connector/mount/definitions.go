package mount

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"sync"
	"time"

	"hostedmcp/mcp/connector"
)

// definitions are those of all catalogs, each once: users who may see a few tools more than others share all that is
// equal. Two generations of them: what no catalog has had for two lives is forgotten. The zero value holds none.
type definitions struct {
	mu         sync.Mutex
	seed       maphash.Seed
	young, old map[uint64]json.RawMessage
	turned     time.Time
}

// mostDefinitions bounds a generation.
const mostDefinitions = 1 << 16

// share puts known definitions in the place of equal ones. Others are copied: one must not hold the whole page on which
// it stood.
func (d *definitions) share(c *connector.Catalog, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.young == nil {
		d.seed, d.young, d.turned = maphash.MakeSeed(), map[uint64]json.RawMessage{}, now
	}
	for _, list := range [][]json.RawMessage{c.Tools, c.Prompts, c.Resources, c.ResourceTemplates} {
		for i, raw := range list {
			if now.Sub(d.turned) >= catalogLife || len(d.young) >= mostDefinitions {
				d.young, d.old, d.turned = map[uint64]json.RawMessage{}, d.young, now
			}
			list[i] = d.one(raw)
		}
	}
	c.Capabilities = bytes.Clone(c.Capabilities)
}

// one returns the definition that is kept for raw.
func (d *definitions) one(raw json.RawMessage) json.RawMessage {
	sum := maphash.Bytes(d.seed, raw)
	known := d.young[sum]
	if known == nil {
		known = d.old[sum]
	}
	if known == nil {
		known = bytes.Clone(raw)
	}
	if !bytes.Equal(known, raw) { // another one of the same hash
		return bytes.Clone(raw)
	}
	d.young[sum] = known
	return known
}
