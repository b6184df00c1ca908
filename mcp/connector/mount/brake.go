package mount

import (
	"log/slog"
	"sync"
	"time"
)

// Bounds of what a server can make us write into our log.
const (
	brakeBurst = 20 // lines at once
	brakeEvery = time.Second
)

// brake bounds the lines about one thing. mu guards the rest; the zero value lets a burst pass.
type brake struct {
	mu      sync.Mutex
	used    int // of the burst
	last    time.Time
	dropped int
}

// pass reports whether a line may be written, and how many before it were not.
func (b *brake) pass() (dropped int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := int(time.Since(b.last) / brakeEvery); n > 0 {
		b.used, b.last = max(b.used-n, 0), time.Now()
	}
	if b.used >= brakeBurst {
		b.dropped++
		return 0, false
	}
	b.used++
	dropped, b.dropped = b.dropped, 0
	return dropped, true
}

// warn says what a server does wrong of its own accord: it may do so as often as it likes.
func (b *brake) warn(log *slog.Logger, text string, args ...any) {
	if dropped, ok := b.pass(); ok {
		log.Warn(text, append(args, "dropped", dropped)...)
	}
}
