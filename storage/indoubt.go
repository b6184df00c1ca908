package storage

import "sync"

// indoubt is what a commit left that failed after readers saw it (sync): as far as anybody here can see it happened,
// after a crash it may not have. Until a later commit makes it durable no verdict is given that may rest on it, and
// nobody is told of it; then those are told who would have been. Only the writer uses it.
type indoubt struct {
	is     bool
	events []Event
	ended  []ended
}

// indoubtMost bounds what is to be told: a disk that is bad for long loses log lines, no transition.
const indoubtMost = 10_000

func (d *indoubt) note(jobs []*job) {
	d.is = true
	for _, j := range jobs {
		if len(d.events)+len(d.ended) < indoubtMost {
			d.events, d.ended = append(d.events, j.events...), append(d.ended, j.ended...)
		}
	}
}

// ends says whether the end of a grant is in doubt.
func (d *indoubt) ends(grant string) bool {
	for _, e := range d.ended {
		if e.grant == grant {
			return true
		}
	}
	return false
}

// settled follows a commit that succeeded. The telling it returns is done by the first who calls it, and the others
// wait for that; nil = nothing was in doubt.
func (s *Store) settled() (tell func()) {
	if !s.indoubt.is {
		return nil
	}
	was := s.indoubt
	s.indoubt = indoubt{}
	return sync.OnceFunc(func() { s.tell(was.events, was.ended) })
}

// tell tells whom the options name.
func (s *Store) tell(events []Event, ends []ended) {
	for _, e := range events {
		s.opt.OnEvent(e)
	}
	for _, e := range ends {
		s.upstreams.drop(e.grant)
		s.identities.drop(e.grant)
		s.opt.OnEnd(e.grant, e.reason)
	}
}
