package mcp

import "sync"

// background runs what belongs to no request, and waits for it at the end. mu guards closed: nothing may be added
// while it is waited for.
type background struct {
	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

// start runs f in a goroutine of its own; after wait has begun it does nothing, since all that f would do is over.
func (b *background) start(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.group.Go(f)
	}
}

// wait lets nothing more begin and waits for the rest.
func (b *background) wait() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.group.Wait()
}
