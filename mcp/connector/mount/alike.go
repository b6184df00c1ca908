package mount

import (
	"context"
	"time"

	"hostedmcp/mcp/connector"
)

// This file chooses the link on which a session's catalog is read, where a server speaks both eras.

// catalogOf reads the catalog of a call. Definitions are pinned, so those of a server that speaks both eras must not
// depend on the era of who asks first. Over stdio that would cost each session a second child, so there its own is asked
// where the answer is the same; and one whose lists have changed is alone with that.
func (s *source) catalogOf(ctx context.Context, c *connector.Call) (connector.Catalog, error) {
	switch {
	case c == nil || c.Session == "" || !s.era.isModern():
		return s.catalog(ctx, c)
	case s.http != nil:
		return s.catalog(ctx, inNewerEra(c))
	case s.hasChanged(c):
		return s.catalog(ctx, c)
	}
	compared, alike := s.era.isAlike()
	if !compared && s.compares(ctx) {
		defer func() { <-s.comparing }()
		if compared, alike = s.era.isAlike(); !compared {
			return s.compare(ctx, c)
		}
	}
	if alike {
		return s.catalog(ctx, c)
	}
	return s.catalog(ctx, inNewerEra(c))
}

// inNewerEra is the call as one of the link that a grant's sessions share: of the newer era, if the server speaks it.
func inNewerEra(c *connector.Call) *connector.Call {
	shared := *c
	shared.Session = ""
	return &shared
}

// compareWait is how long a session waits for another one that compares: it would start a child for the same. One that
// has less time itself waits for half of that.
const compareWait = time.Minute

// compares reports whether it is the caller's turn to compare, or to see what another found out meanwhile.
func (s *source) compares(ctx context.Context) bool {
	wait := compareWait
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end)/2)
	}
	late := time.NewTimer(wait)
	defer late.Stop()
	select {
	case s.comparing <- struct{}{}:
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	return false
}

// compare reads a session's catalog in the newer era, and finds out whether its own link offers the same. A server that
// keeps no sessions has that in the newer era too.
func (s *source) compare(ctx context.Context, c *connector.Call) (connector.Catalog, error) {
	shared, err := s.catalog(ctx, inNewerEra(c))
	if err != nil {
		return shared, err
	}
	// If it cannot be said now, the next one finds out.
	if own, err := s.catalog(ctx, c); err == nil {
		s.era.compare(!s.era.keeps() || sumOfLists(&own) == sumOfLists(&shared))
	}
	return shared, nil
}

// hasChanged reports whether the lists of the caller's link have changed since it was made.
func (s *source) hasChanged(c *connector.Call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl := s.slots[s.key(c)]
	return sl != nil && sl.link != nil && sl.link.changed.Load()
}
