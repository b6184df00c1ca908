package auth

import (
	"sync"
	"time"
)

// widespreadSuspects is how many other grants must have met the same refusal, with no success meanwhile, for it to
// count as the provider's fault (protocol.md §8.2).
const widespreadSuspects = 3

// maxSuspects bounds the memory: more than a few are one fact, that the fault is widespread.
const maxSuspects = 1000

// suspects remembers which grants the provider refused in words that could also mean a wrong database, and when it
// last answered well. Memory only, by uptime: after a restart or a step of the clock a grant is suspected anew, and
// ends later rather than sooner.
type suspects struct {
	mu     sync.Mutex
	at     map[string]suspicion
	goodAt time.Duration // when the latest request that was answered well was sent
	good   bool          // goodAt is set
}

type suspicion struct{ first, last time.Duration }

// refused notes a refusal and returns when the grant met the first of them. One that finds no room is always new.
func (s *suspects) refused(grantID string, now time.Duration) (first time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[string]suspicion{}
	}
	seen, known := s.at[grantID]
	if !known {
		seen.first = now
	}
	seen.last = now
	// No room means no memory, so that such a grant never ends this way: rather one too many that lives.
	if known || len(s.at) < maxSuspects {
		s.at[grantID] = seen
	}
	return seen.first
}

// cleared forgets a grant that ended, or that the provider answered well.
func (s *suspects) cleared(grantID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.at, grantID)
}

// answered notes a good answer to a grant: the database behind the provider's name was the right one when the request
// for it was sent. When it came says nothing: the last answers of the right database overtake, or are overtaken by,
// the first refusals of the wrong one. Any grant's will do: one database holds them all.
func (s *suspects) answered(grantID string, sent time.Duration) {
	s.cleared(grantID)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goodAt, s.good = max(s.goodAt, sent), true
}

// widespread says whether enough other grants were refused since first and none was served.
func (s *suspects) widespread(grantID string, first time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.good && s.goodAt > first {
		return false
	}
	// Last, not first: who was refused both before and since counts too.
	others := 0
	for id, seen := range s.at {
		if id != grantID && seen.last >= first {
			others++
		}
	}
	return others >= widespreadSuspects
}

// forget drops grants that were not asked for again in so long; ended ones are among them.
func (s *suspects) forget(before time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, seen := range s.at {
		if seen.last < before {
			delete(s.at, id)
		}
	}
}
