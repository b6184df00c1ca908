package demo

import (
	"sync"
	"time"
)

// memory is a bounded set of names, each remembered until its time; when it is full the oldest is forgotten.
type memory struct {
	mu    sync.Mutex
	size  int
	now   func() time.Time
	names map[string]time.Time // until when; zero = as long as there is room
	order []string             // oldest first
}

func newMemory(size int, now func() time.Time) *memory {
	return &memory{size: size, now: now, names: map[string]time.Time{}}
}

// add remembers name until then (zero: as long as there is room) and reports whether it is new.
func (m *memory) add(name string, until time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.order) > 0 && (m.over(m.order[0]) || len(m.order) >= m.size) {
		delete(m.names, m.order[0])
		m.order = m.order[1:]
	}
	if _, known := m.names[name]; known {
		return false
	}
	m.names[name] = until
	m.order = append(m.order, name)
	return true
}

// has reports whether name is remembered.
func (m *memory) has(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, known := m.names[name]
	return known && !m.over(name)
}

func (m *memory) over(name string) bool {
	until := m.names[name]
	return !until.IsZero() && !m.now().Before(until)
}
