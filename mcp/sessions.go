package mcp

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/prometheus/client_golang/prometheus"

	"hostedmcp/auth/oauth"
)

// sessions are the living sessions of the older era. The SDK keeps its own map; ours knows what the SDK does not:
// whose a session is, whether it is idle, and how many there are. mu guards the books; it is not held while the SDK
// closes a session, which can take as long as a call.
type sessions struct {
	idle    time.Duration
	max     int
	perUser int
	now     func() time.Time
	gauge   prometheus.Gauge
	ended   func(id string) // a session that was open is no more
	hold    hold

	mu     sync.Mutex
	byID   map[string]*session
	total  int            // with those being opened
	users  map[string]int // subject to number, with those being opened
	closed bool           // no new ones
	open   int            // those being opened, living, or being closed
	closer chan struct{}  // closed when closed and open is 0
}

// session is one of them. All but the constants are guarded by sessions.mu.
type session struct {
	id        string
	principal string
	subject   string
	sdk       *sdk.ServerSession // nil while it is being opened, and if that fails
	timer     *time.Timer
	active    int       // requests and streams under way, with the SDK's own part of initialize
	last      time.Time // when the last one ended
	gone      bool
	over      chan struct{} // closed when gone: ends the streams

	peer sessionPeer // has a lock of its own
}

// newSessions returns an empty set.
func newSessions(c Config, now func() time.Time, gauge prometheus.Gauge) *sessions {
	return &sessions{
		idle: c.SessionIdle.D(), max: c.SessionsMax, perUser: c.SessionsPerUser, now: now, gauge: gauge,
		byID: map[string]*session{}, users: map[string]int{}, closer: make(chan struct{}), hold: hold{time: holdTime},
	}
}

// reserve makes room for a session that initialize is about to create, closing the oldest idle one at a cap. It
// returns a refusal if there is none idle. Room is taken before the SDK makes the session, or many at once would each
// find the last free place. The user's own cap comes first: who is at it pays with a session of their own.
func (ss *sessions) reserve(c *Caller) (*session, *refusal) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.closed {
		return nil, stopping()
	}
	if ss.users[c.Subject] >= ss.perUser && !ss.evict(c.Subject) {
		return nil, tooMany(time.Minute)
	}
	if ss.total >= ss.max && !ss.evict("") {
		return nil, tooMany(time.Minute)
	}
	ss.total++
	ss.users[c.Subject]++
	ss.open++
	s := &session{principal: c.principal, subject: c.Subject, active: 1, over: make(chan struct{})}
	s.peer.hold, s.peer.subject = &ss.hold, c.Subject
	return s, nil
}

// evict ends the session that has been idle for longest, of one user or, with "", of all.
func (ss *sessions) evict(subject string) bool {
	var oldest *session
	for _, s := range ss.byID {
		if s.active == 0 && (subject == "" || s.subject == subject) && (oldest == nil || s.last.Before(oldest.last)) {
			oldest = s
		}
	}
	return oldest != nil && ss.endLocked(oldest)
}

// opening begins the SDK's part of initialize, in a goroutine of the SDK that can outlive the request.
func (ss *sessions) opening(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s.active++
}

// opened ends what opening began and enters the session that the SDK created for s, nil if it created none. The
// middleware calls it, since initialize is the only moment at which the SDK shows a new session. If the request has
// been left meanwhile, its room is given back already and nobody will ever hear of the session: it is closed instead.
func (ss *sessions) opened(s *session, server *sdk.ServerSession) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s.active--
	s.sdk = server
	if server != nil {
		s.id = server.ID() // connectors may have heard of it
	}
	switch {
	case s.gone:
		ss.close(s)
		return
	case server == nil:
		return
	}
	ss.byID[s.id] = s
	ss.gauge.Inc()
	s.timer = time.AfterFunc(ss.idle, func() { ss.expire(s) })
	// Close has passed meanwhile and did not see this one.
	if ss.closed {
		ss.endLocked(s)
	}
}

// enter begins a request in a session of the caller. An unknown session and somebody else's are the same. The id
// alone lets nobody in: the bearer token has said who asks, and the session must be theirs (MCP "Session hijacking").
func (ss *sessions) enter(id string, c *Caller) (*session, *refusal) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s := ss.byID[id]
	if s == nil || s.principal != c.principal {
		return nil, refused(http.StatusNotFound, oauth.SessionUnknown)
	}
	s.active++
	return s, nil
}

// leave ends a request. One whose initialize came to nothing gives its room back; the last one of a session that ended
// meanwhile closes it.
func (ss *sessions) leave(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s.active--
	s.last = ss.now()
	// nothing was opened: initialize failed, or its client went away
	if s.sdk == nil {
		ss.forget(s)
	}
	// active is not 0 while the SDK is still at that initialize: opened closes then
	if s.gone && s.active == 0 {
		ss.close(s)
	}
}

// expire runs when s may have been idle for long enough; if not, it looks again when it may. The clock of the books
// is the server's Now, so tests can move it; the timer only says when to look.
func (ss *sessions) expire(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	switch rest := ss.idle - ss.now().Sub(s.last); {
	case s.gone:
	case s.active > 0: // a stream or a long call; there is no need to look again sooner than it could have been idle
		s.timer.Reset(ss.idle)
	case rest > 0:
		s.timer.Reset(rest)
	default:
		ss.endLocked(s)
	}
}

// isGone reports whether s ended while a request was in it.
func (ss *sessions) isGone(s *session) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return s.gone
}

// end ends a session: its streams at once, its calls when they are answered.
func (ss *sessions) end(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.endLocked(s)
}

// endLocked takes a session out of the books. From now on it is unknown to everybody. mu must be held. A second end,
// by DELETE and expiry at once say, does nothing and reports false; so does the end of one that is not opened, which
// is for leave to forget.
func (ss *sessions) endLocked(s *session) bool {
	if s.gone || s.sdk == nil {
		return false
	}
	ss.forget(s)
	delete(ss.byID, s.id)
	ss.gauge.Dec()
	s.timer.Stop()
	close(s.over)
	s.peer.end()
	if s.active == 0 {
		ss.close(s)
	}
	return true
}

// close closes the SDK's session, if there is one, after the last answer: the SDK would drop answers from then on. In
// a goroutine of its own, since mu is held here.
func (ss *sessions) close(s *session) {
	if s.sdk == nil {
		ss.shut()
		return
	}
	go func() {
		if s.id != "" {
			ss.ended(s.id)
		}
		s.sdk.Close() // waits for handlers whose callers have gone
		if s.id != "" {
			ss.ended(s.id) // again, for what these have begun meanwhile
		}
		ss.mu.Lock()
		defer ss.mu.Unlock()
		ss.shut()
	}()
}

// shut counts a session that is no more.
func (ss *sessions) shut() {
	if ss.open--; ss.open == 0 && ss.closed {
		close(ss.closer)
	}
}

// forget gives the room of s back.
func (ss *sessions) forget(s *session) {
	s.gone = true
	ss.total--
	if ss.users[s.subject]--; ss.users[s.subject] == 0 {
		delete(ss.users, s.subject)
	}
}

// has reports whether a user and client have a living session.
func (ss *sessions) has(principal string) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, s := range ss.byID {
		if s.principal == principal {
			return true
		}
	}
	return false
}

// each calls f for every living session, without the lock.
func (ss *sessions) each(f func(*session)) {
	ss.mu.Lock()
	all := slices.Collect(maps.Values(ss.byID))
	ss.mu.Unlock()
	for _, s := range all {
		f(s)
	}
}

// closeAll ends all sessions and waits until they are closed or ctx is done. It may be called again and then only
// waits.
func (ss *sessions) closeAll(ctx context.Context) error {
	ss.mu.Lock()
	if !ss.closed {
		ss.closed = true
		ss.open++ // so that shut closes the channel once, here or later
		for _, s := range ss.byID {
			ss.endLocked(s)
		}
		ss.shut()
	}
	ss.mu.Unlock()
	select {
	case <-ss.closer:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
