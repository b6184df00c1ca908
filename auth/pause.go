package auth

import (
	"math/rand/v2"
	"time"
)

// The pause after a failure, by grant (protocol.md §8.1 rule 2): however many callers need the token, a provider in
// trouble hears of each grant once a pause.
const (
	backoffLow  = time.Second
	backoffHigh = 2 * time.Minute
	pauseKept   = 10 * time.Minute // failures are counted on while the next attempt comes within this
)

// errand is what a grant pauses from: refreshes, rechecks at the userinfo endpoint, or exchanges for one audience, each
// with trouble of its own.
type errand struct {
	grant    string
	recheck  bool
	audience string
}

// pause keeps a grant from asking again too soon. It lives in memory, since a restart may ask at once, and is
// measured by uptime, since a clock that is set back must not make it longer. last is what callers are answered
// meanwhile.
type pause struct {
	until    time.Duration // uptime
	failures int
	last     renewed
}

// resting answers from memory while a grant pauses after a failure.
func (s *Server) resting(e errand) (renewed, bool) {
	now := s.uptime()
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	p, ok := s.flights.paused[e]
	if !ok || now >= p.until {
		return renewed{}, false
	}
	r := p.last
	// what is left of the pause, so that a client comes back when asking makes sense
	r.retryAfter = p.until - now
	return r, true
}

// rest makes a grant pause after trouble: jittered, from one second to two minutes, at least what the provider asked.
func (s *Server) rest(e errand, r renewed) renewed {
	now := s.uptime()
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	p := s.flights.paused[e]
	p.failures++
	r.retryAfter = max(backoff(p.failures), r.retryAfter)
	p.until, p.last = now+r.retryAfter, r
	s.flights.paused[e] = p
	return r
}

// awake forgets a grant's failures.
func (s *Server) awake(e errand) {
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	delete(s.flights.paused, e)
}

// forgetPauses drops the memory of grants that nobody has asked for again. Some minutes longer than the pause itself:
// failures in a row must be counted on, or the pause would never grow.
func (s *Server) forgetPauses() {
	now := s.uptime()
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	for e, p := range s.flights.paused {
		if now >= p.until+pauseKept {
			delete(s.flights.paused, e)
		}
	}
}

// backoff is the pause after so many failures in a row: doubling from one second to two minutes, with jitter, so that
// a provider that comes back is not met by everybody at once.
func backoff(failures int) time.Duration {
	d := backoffHigh
	if failures < 8 {
		d = min(d, backoffLow<<max(failures-1, 0))
	}
	return d/2 + rand.N(d/2+1)
}
