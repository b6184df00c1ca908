package storage

import (
	"sync"

	"hostedmcp/storage/seal"
)

// maxOpened bounds what is remembered of one bucket, in bytes as sealed: some thousand grants in use.
const maxOpened = 4 << 20

// opened remembers what sealed records say, so that of the many calls of one grant only the first unseals and decodes.
// It is no second truth: the file is read each time, and what is remembered counts while the very sealing that it came
// from is there. mu guards all of it.
type opened[T any] struct {
	mu    sync.RWMutex
	of    map[string]openedRecord[T]
	bytes int // as sealed
}

// openedRecord is shared by all who read it: nobody changes it, nor what it points to.
type openedRecord[T any] struct {
	mark   seal.Mark
	size   int
	record T
}

func (o *opened[T]) get(key string, mark seal.Mark) (record T, ok bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	r, ok := o.of[key]
	if !ok || r.mark != mark {
		return record, false
	}
	return r.record, true
}

// put remembers a record. When there is no room, whatever the map yields goes: any can be read again.
func (o *opened[T]) put(key string, r openedRecord[T]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.remove(key)
	for other := range o.of {
		if o.bytes+r.size <= maxOpened {
			break
		}
		o.remove(other)
	}
	if o.of == nil {
		o.of = map[string]openedRecord[T]{}
	}
	o.of[key], o.bytes = r, o.bytes+r.size
}

// drop forgets the record of a grant that ended.
func (o *opened[T]) drop(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.remove(key)
}

// remove forgets one record; the caller holds mu.
func (o *opened[T]) remove(key string) {
	o.bytes -= o.of[key].size
	delete(o.of, key)
}

// loadOpened is load through the memory. keep says what of a record is remembered, and returned.
func loadOpened[T any, R interface {
	*T
	record
}](t *txn, o *opened[T], b bucket, key string, v R, keep func(R)) bool {
	sealed := t.get(b, key)
	if record, ok := o.get(key, seal.MarkOf(sealed)); ok {
		*v = record
		return true
	}
	if !t.load(b, key, v) {
		return false
	}
	keep(v)
	o.put(key, openedRecord[T]{seal.MarkOf(sealed), len(sealed), *v})
	return true
}
