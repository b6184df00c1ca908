package mount

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"hostedmcp/mcp/connector"
)

// slot is the place of one link: who owns it, and how its last links fared. Its link is replaced when it has died.
type slot struct {
	src     *source
	key     string
	session string // downstream session; "" = shared by the calls of a grant
	grant   string // of the latest call; "" = nobody's
	subject string // likewise
	life    context.Context
	cancel  context.CancelCauseFunc
	turn    chan struct{} // held while a link is made

	// under source.mu
	link      *link
	old       []*link   // replaced, with calls that are still under way
	users     int       // calls that hold it
	listeners int       // of them, those that only listen
	idle      time.Time // since when nobody does
	born      time.Time // of link
	deaths    int       // links that ended by themselves, one soon after the other
	next      time.Time // no new link before
}

// Bounds of links. A child is a process, so there are fewer of them.
const (
	maxLinks  = 8192
	share     = 4 // of so many users who want all they can get, each has places
	idleHTTP  = 5 * time.Minute
	idleStdio = 2 * time.Minute
	longLife  = time.Minute // a link that lived so long was well
)

// maxChildren is how many children a connector has at most. A variable, so that a test needs fewer.
var maxChildren = 256

// keyService is the slot of our own questions.
const keyService = "service"

var errFull = errors.New("too many connections")

// key names the link that serves a call. Clients that can be asked different things get different legacy links, since
// there a server learns what it may ask when the link is made.
func (s *source) key(c *connector.Call) string {
	switch {
	case c == nil:
		return keyService
	case c.Session != "":
		return "session " + c.Session
	case c.User.GrantID != "":
		return "grant " + c.User.GrantID + " " + short(capabilities(c))
	}
	return fmt.Sprintf("user %q %q %s", c.User.Subject, c.User.ClientID, short(capabilities(c)))
}

// short returns a text as it is, or what stands for a long one.
func short(raw json.RawMessage) string {
	if len(raw) <= 256 {
		return string(raw)
	}
	sum := sha256.Sum256(raw)
	return string(sum[:])
}

// acquire returns the caller's slot and its link, which lives. release gives the slot back.
func (s *source) acquire(ctx context.Context, c *connector.Call) (*slot, *link, error) {
	sl, err := s.reserve(c)
	if err != nil {
		return nil, nil, err
	}
	l, err := sl.connect(ctx, c)
	if err != nil {
		s.release(sl)
		return nil, nil, err
	}
	return sl, l, nil
}

// reserve finds or makes the slot. Over stdio a legacy server's question names no call, so a modern client that can be
// asked gets a child for each call at a time: the answer could not be told where to go.
func (s *source) reserve(c *connector.Call) (*slot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errEnded
	}
	key := s.key(c)
	alone := c != nil && c.Session == "" && c.Method != methodListen && s.cfg.Kind == connector.MCPStdio && len(capabilities(c)) > 2 && !s.era.isModern()
	sl := s.slots[key]
	for n := 1; alone && sl != nil && sl.users > sl.listeners; n++ {
		key = s.key(c) + " " + strconv.Itoa(n)
		sl = s.slots[key]
	}
	if sl == nil {
		if err := s.room(c); err != nil {
			return nil, err
		}
		sl = &slot{src: s, key: key, turn: make(chan struct{}, 1)}
		sl.life, sl.cancel = context.WithCancelCause(context.Background())
		s.slots[key] = sl
	}
	if c != nil {
		sl.session, sl.grant, sl.subject = c.Session, c.User.GrantID, c.User.Subject
	}
	sl.users++
	return sl, nil
}

// room makes room for one more link. A user who has a share of all places pays with one of their own. Else the shared
// link that is idle for longest goes or, if there is none, that of a session, which gets another when it comes back:
// sessions that nobody ends would shut everybody else out. s.mu is held.
func (s *source) room(c *connector.Call) error {
	limit := maxLinks
	if s.cfg.Kind == connector.MCPStdio {
		limit = maxChildren
	}
	if c != nil {
		own := func(sl *slot) bool { return sl.key != keyService && sl.subject == c.User.Subject }
		if s.count(own) >= max(limit/share, 1) && !s.evict(own) {
			return errFull
		}
	}
	if len(s.slots) >= limit && !s.evict(func(*slot) bool { return true }) {
		return errFull
	}
	return nil
}

// count returns how many slots there are of a kind. s.mu is held.
func (s *source) count(of func(*slot) bool) (n int) {
	for _, sl := range s.slots {
		if of(sl) {
			n++
		}
	}
	return n
}

// evict ends the idle slot of a kind that goes before the others; false if all are at work. s.mu is held.
func (s *source) evict(of func(*slot) bool) bool {
	var oldest *slot
	for _, sl := range s.slots {
		if sl.users == 0 && of(sl) && (oldest == nil || sl.before(oldest)) {
			oldest = sl
		}
	}
	if oldest == nil {
		return false
	}
	delete(s.slots, oldest.key)
	oldest.cancel(errEnded)
	s.work.Go(oldest.close)
	return true
}

// before reports whether a slot goes before another when there is no room for both.
func (sl *slot) before(o *slot) bool {
	if shared := sl.session == ""; shared != (o.session == "") {
		return shared
	}
	return sl.idle.Before(o.idle)
}

// listens counts a call that listens and asks nothing itself, until the returned function is called.
func (s *source) listens(sl *slot) (done func()) {
	count := func(n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		sl.listeners += n
	}
	count(1)
	return func() { count(-1) }
}

func (s *source) release(sl *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl.users--
	sl.idle = s.now()
}

// current returns the link if it lives.
func (sl *slot) current() *link {
	sl.src.mu.Lock()
	defer sl.src.mu.Unlock()
	if sl.link == nil || !sl.link.alive() {
		return nil
	}
	return sl.link
}

// due buries a link that has died by itself. The next one may follow at once; if that dies young too, the pauses grow.
func (sl *slot) due() error {
	sl.src.mu.Lock()
	defer sl.src.mu.Unlock()
	now := sl.src.now()
	if l := sl.link; l != nil && !l.alive() {
		if now.Sub(sl.born) >= longLife {
			sl.deaths = 0
		}
		if sl.link = nil; !errors.Is(context.Cause(l.life), errEnded) {
			sl.deaths++
			sl.next = now.Add(pause(sl.deaths - 1))
		}
	}
	if now.Before(sl.next) {
		return fmt.Errorf("%w: it ended %d times and starts again later", errDown, sl.deaths)
	}
	return nil
}

// adopt takes a new link, unless the slot has ended meanwhile.
func (sl *slot) adopt(l *link) error {
	sl.src.mu.Lock()
	ended := sl.life.Err() != nil
	if !ended {
		sl.link, sl.born = l, sl.src.now()
		sl.old = slices.DeleteFunc(sl.old, func(l *link) bool { return !l.alive() })
	}
	sl.src.mu.Unlock()
	if ended {
		l.close(errEnded)
		return errEnded
	}
	return nil
}

// retire puts a link aside that takes no new calls; it ends with those that it has. A session that the server does not
// know any more is not ended there.
func (sl *slot) retire(l *link, unknown bool) {
	if w, ok := l.wire.(*httpWire); ok && unknown {
		w.forget()
	}
	sl.src.mu.Lock()
	if sl.link == l {
		sl.link, sl.old = nil, append(sl.old, l)
	}
	sl.src.mu.Unlock()
	l.retire()
}

// close ends the slot's links.
func (sl *slot) close() {
	sl.src.mu.Lock()
	links := append(slices.Clone(sl.old), sl.link)
	sl.src.mu.Unlock()
	for _, l := range links {
		if l != nil {
			l.close(errEnded)
		}
	}
}

// sweep closes links that no call has used for a while, and forgets those that died. A downstream session keeps its
// own until it ends.
func (s *source) sweep(now time.Time) {
	limit := idleHTTP
	if s.cfg.Kind == connector.MCPStdio {
		limit = idleStdio
	}
	s.end(func(sl *slot) bool {
		return sl.users == 0 && sl.session == "" && now.Sub(sl.idle) >= limit && !(sl.key == keyService && s.http != nil)
	})
}
