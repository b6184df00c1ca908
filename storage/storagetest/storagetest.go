// Package storagetest makes real throw-away stores for the tests of every package above storage, and re-verifies them.
package storagetest

import (
	"bytes"
	"os"
	"sync"
	"testing"
	"time"

	"hostedmcp/storage"
)

// Issuer is what New pins if no option says otherwise.
const Issuer = "https://mcp.example.com"

// New opens a store in a temporary folder and closes it with the test.
func New(tb testing.TB, opts ...func(*storage.Options)) *storage.Store {
	tb.Helper()
	o := storage.Options{Dir: tb.TempDir(), Issuer: Issuer}
	for _, opt := range opts {
		opt(&o)
	}
	return Open(tb, o)
}

// Open opens a store as the options say, again after a Close if need be, and closes it with the test.
func Open(tb testing.TB, o storage.Options) *storage.Store {
	tb.Helper()
	s, err := storage.Open(tb.Context(), o)
	if err != nil {
		tb.Fatalf("open store: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close store: %v", err)
		}
	})
	return s
}

// Clock is a wall clock and an uptime that move only by hand.
type Clock struct {
	mu     sync.Mutex
	now    time.Time
	uptime time.Duration
}

// NewClock starts a clock at a whole second.
func NewClock() *Clock {
	return &Clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), uptime: time.Hour}
}

// Now is the wall clock.
func (c *Clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

// Uptime is the time since boot.
func (c *Clock) Uptime() time.Duration { c.mu.Lock(); defer c.mu.Unlock(); return c.uptime }

// Advance lets time pass.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.uptime = c.now.Add(d), c.uptime+d
}

// Step sets the wall clock without time passing, as an administrator or a dead battery does.
func (c *Clock) Step(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

// Use is an option for New: the store goes by this clock.
func (c *Clock) Use(o *storage.Options) { o.Now, o.Uptime = c.Now, c.Uptime }

// Check re-verifies every invariant of a store, and that none of the secrets stands in clear in its file.
func Check(tb testing.TB, s *storage.Store, secrets ...string) {
	tb.Helper()
	if err := s.Verify(); err != nil {
		tb.Errorf("store is broken:\n%v", err)
	}
	if len(secrets) == 0 {
		return
	}
	data, err := os.ReadFile(s.Path())
	if err != nil {
		tb.Fatal(err)
	}
	data = bytes.TrimRight(data, "\x00") // the reserve
	for _, secret := range secrets {
		if secret != "" && bytes.Contains(data, []byte(secret)) {
			tb.Errorf("the file holds a secret in clear: %.12s…", secret)
		}
	}
}
