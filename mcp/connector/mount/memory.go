package mount

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"hash"
	"slices"
	"sync"
	"time"

	"hostedmcp/mcp/connector"
)

// This file remembers what the server offers to whom. Each call asks for the catalog first, to find its tool and to see
// that the tool is the one that was accepted: without a memory a call would cost five more, and with many tools read
// thousands of definitions.

// memory holds the last catalog of each caller, by the key of the caller's link. mu guards what stands below it.
type memory struct {
	definitions definitions

	mu      sync.Mutex
	changes uint64 // lists that were said to have changed
	callers map[string]*remembered
	copies  []*copied // the last ones, latest first: what says the same is the same
	swept   time.Time
}

// remembered is what one caller was offered last.
type remembered struct {
	catalog connector.Catalog
	sum     [sha256.Size]byte // of all that it says
	read    time.Time
	changes uint64    // when it was begun to be read
	since   time.Time // of the server's state then
}

// copied is a catalog with the hash of all that it says.
type copied struct {
	sum     [sha256.Size]byte
	catalog connector.Catalog
}

const (
	// catalogLife is how long a server's word about its lists holds. Lists are always read anew, and calls as soon as
	// the server says that something has changed; this is for those that change and do not say so.
	catalogLife = time.Minute
	// mostCopies is how many different catalogs are known by what they say: they may differ by user.
	mostCopies = 16
)

// recalls reports whether a request may go by what its caller was offered before.
func recalls(c *connector.Call) bool {
	if c == nil {
		return false
	}
	switch c.Method {
	case "tools/call", "prompts/get", "resources/read", "completion/complete", methodSubscribe, methodUnsubscribe:
		return true
	}
	return false
}

// recall returns what a caller was offered, if that still holds.
func (m *memory) recall(key string, since, now time.Time) (connector.Catalog, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.callers[key]
	if r == nil || r.changes != m.changes || !r.since.Equal(since) {
		return connector.Catalog{}, false
	}
	if age := now.Sub(r.read); age >= catalogLife || age < 0 {
		r.read = now // one asks anew; those who come meanwhile need not
		return connector.Catalog{}, false
	}
	return r.catalog, true
}

// begin returns what put must know of the moment at which a catalog was begun to be read.
func (m *memory) begin() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changes
}

// put remembers a catalog and returns it, or an older one that says the same.
func (m *memory) put(key string, r remembered) connector.Catalog {
	r.sum = sumOf(&r.catalog)
	m.definitions.share(&r.catalog, r.read)
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.callers[key]
	i := slices.IndexFunc(m.copies, func(c *copied) bool { return c.sum == r.sum })
	switch {
	case i >= 0:
		c := m.copies[i]
		m.copies = slices.Insert(slices.Delete(m.copies, i, i+1), 0, c)
		r.catalog = c.catalog
	case before != nil && before.sum == r.sum: // users' catalogs differ, and his has not changed
		r.catalog = before.catalog
	default:
		m.copies = slices.Insert(m.copies, 0, &copied{r.sum, r.catalog})
		m.copies = m.copies[:min(len(m.copies), mostCopies)]
	}
	if m.callers == nil {
		m.callers = map[string]*remembered{}
	}
	m.sweep(r.read)
	m.callers[key] = &r
	return r.catalog
}

// sweep drops what holds no longer. mu is held.
func (m *memory) sweep(now time.Time) {
	if now.Sub(m.swept) < catalogLife {
		return
	}
	m.swept = now
	for key, r := range m.callers {
		if now.Sub(r.read) >= catalogLife {
			delete(m.callers, key)
		}
	}
}

// forget drops what one caller was offered.
func (m *memory) forget(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.callers, key)
}

// change says that no list holds any more.
func (m *memory) change() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes++
}

// sumOf hashes a catalog.
func sumOf(c *connector.Catalog) (sum [sha256.Size]byte) {
	lists := sumOfLists(c)
	h := sha256.New()
	part(h, []byte(c.Instructions))
	part(h, c.Capabilities)
	part(h, lists[:])
	if c.Completions {
		part(h, []byte("completions"))
	}
	h.Sum(sum[:0])
	return sum
}

// sumOfLists hashes the definitions of a catalog.
func sumOfLists(c *connector.Catalog) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, list := range [][]json.RawMessage{c.Tools, c.Prompts, c.Resources, c.ResourceTemplates} {
		part(h, binary.AppendUvarint(nil, uint64(len(list))))
		for _, item := range list {
			part(h, item)
		}
	}
	h.Sum(sum[:0])
	return sum
}

// part hashes one part of several. Its length stands before it, so that no two texts read alike.
func part(h hash.Hash, b []byte) {
	var length [binary.MaxVarintLen64]byte
	h.Write(length[:binary.PutUvarint(length[:], uint64(len(b)))])
	h.Write(b)
}
