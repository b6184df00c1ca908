package mcp

import (
	"maps"
	"sync"
)

// maxBook bounds a book: a connector may invent names without end.
const maxBook = 10_000

// book is what is remembered of a connector, by name. What does not fit is forgotten. mu guards entries; the zero value
// is empty.
type book struct {
	mu      sync.Mutex
	entries map[string][]string
}

// put enters or replaces what is known of a name and reports whether it is new here.
func (b *book) put(name string, what []string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, known := b.entries[name]
	if !known && len(b.entries) >= maxBook {
		return false
	}
	if b.entries == nil {
		b.entries = map[string][]string{}
	}
	b.entries[name] = what
	return !known
}

// drop forgets a name.
func (b *book) drop(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.entries, name)
}

// all returns a copy.
func (b *book) all() map[string][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.entries)
}
