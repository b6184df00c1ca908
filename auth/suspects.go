package auth

import (
	"sync"
	"time"
)

// widespreadSuspects is how many other grants must have met the same refusal, with no success meanwhile, for it to
// count as the provider's fault (protocol.md §8.2).
const widespreadSuspects = 3

// suspects remembers which grants the provider refused in words that could also mean a wrong database, and when it
// last answered well. Memory only: after a restart nothing ends before suspect_after of uptime.
type suspects struct {
	mu     sync.Mutex
	at     map[string]time.Time // last refusal by grant
	goodAt time.Time
}

// maxSuspects bounds the memory: more than a few are one fact, that the fault is widespread.
const maxSuspects = 1000

func (s *suspects) refused(grantID string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[string]time.Time{}
	}
	if _, known := s.at[grantID]; known || len(s.at) < maxSuspects {
		s.at[grantID] = now
	}
}

// answered notes a good answer to any grant: the database behind the provider's name is the right one.
func (s *suspects) answered(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goodAt = now
	clear(s.at)
}

// widespread says whether enough other grants were refused since first and none was served.
func (s *suspects) widespread(grantID string, first time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.goodAt.After(first) {
		return false
	}
	others := 0
	for id, at := range s.at {
		if id != grantID && !at.Before(first) {
			others++
		}
	}
	return others >= widespreadSuspects
}
