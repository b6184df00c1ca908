package mcp

import (
	"context"
	"slices"
	"sync"
	"time"
)

// gate bounds the calls to one connector: all together and of one user. mu guards what stands below it.
type gate struct {
	parallel, perUser int
	patience          time.Duration // how long a call waits for its turn

	mu      sync.Mutex
	total   int
	users   map[string]int
	waiting []*waiter     // in the order in which they came
	empty   chan struct{} // closed when there are no calls any more; nil = nobody waits for that
}

// waiter is a call that waits; ready is closed when it has its turn.
type waiter struct {
	subject string
	ready   chan struct{}
}

// queued is how many calls of a user may wait, as a multiple of those that may run: agents send some at once.
const queued = 16

func newGate(parallel, perUser int) *gate {
	return &gate{parallel: parallel, perUser: perUser, patience: 5 * time.Second, users: map[string]int{}}
}

// enter waits for a turn and reports whether there was one. Who has one must leave.
func (g *gate) enter(ctx context.Context, subject string) bool {
	g.mu.Lock()
	if g.free(subject) {
		g.take(subject)
		g.mu.Unlock()
		return true
	}
	mine := 0
	for _, w := range g.waiting {
		if w.subject == subject {
			mine++
		}
	}
	if mine >= queued*g.perUser {
		g.mu.Unlock()
		return false
	}
	w := &waiter{subject, make(chan struct{})}
	g.waiting = append(g.waiting, w)
	g.mu.Unlock()
	timer := time.NewTimer(g.patience)
	defer timer.Stop()
	select {
	case <-w.ready:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return g.giveUp(w)
}

// giveUp takes w out of the queue. It reports true if its turn came at that very moment.
func (g *gate) giveUp(w *waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, w)
	if i < 0 {
		return true
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	return false
}

// free reports whether one more call of subject may run. mu must be held.
func (g *gate) free(subject string) bool {
	return g.total < g.parallel && g.users[subject] < g.perUser
}

// take counts a call. mu must be held.
func (g *gate) take(subject string) {
	g.total++
	g.users[subject]++
}

// reenter counts a call that had left while a person was asked. It does not wait: it was let in before.
func (g *gate) reenter(subject string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.take(subject)
}

// leave ends a call and gives its turn to those who wait.
func (g *gate) leave(subject string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.users[subject]--; g.users[subject] == 0 {
		delete(g.users, subject)
	}
	if g.total == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
	g.waiting = slices.DeleteFunc(g.waiting, func(w *waiter) bool {
		if !g.free(w.subject) {
			return false
		}
		g.take(w.subject)
		close(w.ready)
		return true
	})
}

// drain waits until there are no calls, or ctx is done.
func (g *gate) drain(ctx context.Context) error {
	g.mu.Lock()
	if g.total == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
