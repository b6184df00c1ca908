package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// lives are the processes of the server under test that were killed.
type lives struct {
	mu    sync.Mutex
	kills []life
}

// life is one of them, from its start to its death, and when the one after it was ready (zero until it is).
type life struct{ from, to, next time.Time }

// ended notes a process that was killed.
func (l *lives) ended(from, to time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kills = append(l.kills, life{from: from, to: to})
}

// ready notes that the next process is.
func (l *lives) ready(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.kills); n > 0 && l.kills[n-1].next.IsZero() {
		l.kills[n-1].next = at
	}
}

// answerAge is how long an answer may have been under way when the process was killed. The machine is loaded, and the
// server commits before it answers; a server that lost what it got much earlier did not store what it used.
const answerAge = 2 * time.Second

// inFlight says whether a request that reached the provider at asked, and took effect at carried, was under way when
// its process was killed, and how old the answer was then. What a process had sent when it died is read by the provider
// a moment later, so that everything before the next one was ready is the dead one's; and it may be carried out when
// the asker has long been dead: then the age is negative.
func (l *lives) inFlight(asked, carried time.Time) (age time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range slices.Backward(l.kills) {
		if !asked.After(k.from) || !k.next.IsZero() && asked.After(k.next) {
			continue
		}
		if age = k.to.Sub(carried); age > answerAge {
			return age, fmt.Errorf("the answer was %s old at the kill", age)
		}
		return age, nil
	}
	return 0, fmt.Errorf("the process that asked at %s was not killed", asked)
}
