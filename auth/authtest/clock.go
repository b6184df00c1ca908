package authtest

import (
	"sync"
	"time"
)

// Clock is a wall clock that stands still until it is told to move. Safe for concurrent use; the zero value stands at
// the zero time.
type Clock struct {
	mu     sync.Mutex
	now    time.Time
	uptime time.Duration
}

// NewClock returns a clock that shows start, on a machine that has run for an hour.
func NewClock(start time.Time) *Clock { return &Clock{now: start.Round(0), uptime: time.Hour} }

// Now returns what the clock shows. c.Now is a `Now func() time.Time`.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Uptime returns for how long the machine has run: it moves with Advance alone.
func (c *Clock) Uptime() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.uptime
}

// Advance lets d pass; a negative d is a step back.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.uptime += max(d, 0)
}

// Step moves the clock by d without time passing, as a dead battery or a time daemon does.
func (c *Clock) Step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Set moves the clock to t.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t.Round(0)
}
