package mount

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
)

// health is what is known of the server as a whole. While there is no way to it, calls fail at once, and one question
// of ours after growing pauses finds out when it is back.
type health struct {
	mu      sync.Mutex
	down    bool
	since   time.Time
	reason  oauth.Reason
	text    string
	fails   int
	next    time.Time // nothing is tried before
	changed func()
}

// errDown is why a call was not tried.
var errDown = errors.New("the server is down")

// unreachable marks an error of the way to the server.
type unreachable struct{ cause error }

func (u unreachable) Error() string { return u.cause.Error() }
func (u unreachable) Unwrap() error { return u.cause }

// refusal is an HTTP status in place of an answer.
type refusal struct {
	code        int
	sessionGone bool // 404 to a request with a session id: it was not carried out
}

func (r refusal) Error() string {
	return fmt.Sprintf("status %d %s", r.code, http.StatusText(r.code))
}

// isRefused reports whether err says that a credential was refused.
func isRefused(err error) bool {
	var status refusal
	return errors.As(err, &status) && status.code == http.StatusUnauthorized
}

// trouble reports whether the status speaks of the server's state and not of the request.
func (r refusal) trouble() bool {
	switch r.code {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// Pauses between attempts: the first second doubles up to a minute.
const longestPause = time.Minute

func pause(fails int) time.Duration {
	if fails <= 0 {
		return 0
	}
	return min(time.Second<<min(fails-1, 10), longestPause)
}

// due says whether the server may be tried now.
func (h *health) due(now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down && now.Before(h.next) {
		return fmt.Errorf("%w: %s", errDown, h.text)
	}
	return nil
}

// note learns from the outcome of an attempt: any answer is a sign of life. An error that says nothing about the way
// changes nothing.
func (h *health) note(s *source, err error) {
	if err == nil {
		h.set(s.now(), false, "", "")
		return
	}
	var way unreachable
	var status refusal
	isStatus := errors.As(err, &status)
	switch {
	case errors.As(err, &way), isStatus && status.trouble():
		h.set(s.now(), true, oauth.ConnectorUnreachable, words(err))
		s.log.Warn("connector is unreachable", "reason", oauth.ConnectorUnreachable, "error", err)
	case isStatus, isAnswer(err):
		h.set(s.now(), false, "", "")
	}
}

// isAnswer reports whether err is an error that the server itself sent.
func isAnswer(err error) bool {
	var e *connector.Error
	return errors.As(err, &e) && e.Reason == ""
}

func (h *health) set(now time.Time, down bool, reason oauth.Reason, text string) {
	h.mu.Lock()
	turned := h.down != down
	if down {
		h.fails++
		h.next = now.Add(pause(h.fails))
	} else {
		h.fails = 0
	}
	if turned {
		h.down, h.since = down, now
	}
	h.reason, h.text = reason, text
	tell := h.changed
	h.mu.Unlock()
	if turned && tell != nil {
		tell()
	}
}

// State says how the server is, without asking it.
func (s *source) State() connector.State {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return connector.State{Up: !h.down, Reason: h.reason, Since: h.since, Text: h.text}
}

// OnChange makes changed be called after each change of the catalog or of the state.
func (s *source) OnChange(changed func()) {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	s.health.changed = changed
}

// changed says that the catalog is to be read again.
func (s *source) changed() {
	s.memory.change()
	s.health.mu.Lock()
	tell := s.health.changed
	s.health.mu.Unlock()
	if tell != nil {
		tell()
	}
}

// beat is how often Run looks after the links.
const beat = time.Second

// Run keeps the state true and closes idle links, until ctx ends.
func (s *source) Run(ctx context.Context) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	s.probe(ctx)
	s.spawn(func() { s.watch(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.step(ctx)
		}
	}
}

// step is one round of Run.
func (s *source) step(ctx context.Context) {
	s.sweep(s.now())
	s.health.mu.Lock()
	down := s.health.down
	s.health.mu.Unlock()
	if down && s.health.due(s.now()) == nil {
		s.probe(ctx)
	}
}

// probe makes a link as nobody: that it is refused for want of a credential shows that the server is there.
func (s *source) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout.D())
	defer cancel()
	slot, l, err := s.acquire(ctx, nil)
	if err != nil {
		return // noted
	}
	defer s.release(slot)
	if l.modern {
		out := l.ask(ctx, methodDiscover, nil, nil, s.cfg.Timeout.D())
		s.health.note(s, out.err)
	} else {
		s.health.note(s, nil)
	}
}

// words is what clients and the status page read of an error: never the server's own text, which may quote anything.
func words(err error) string {
	var status refusal
	switch {
	case errors.As(err, &status) && (status.code == http.StatusUnauthorized || status.code == http.StatusForbidden):
		return "it refuses the credential"
	case errors.As(err, &status):
		return "it answers with " + status.Error()
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded):
		return errTimeout.Error()
	case errors.Is(err, context.Canceled):
		return "the call was cancelled"
	}
	for _, known := range []error{
		errSyntax, errUTF8, errDepth, errDuplicate, errTrailing, errNoMessage, errNoResult, errFault, errWrongID, errTooLong,
		errDown, errEnded, errFull, errNoAnswer, errMedia, errVersion, errHandshake, errPages, errList, errSession, errRounds, errExited, errCommand,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "no connection"
}

// fault makes the one error that leaves this package: the server's own as it is, ours with the connector's name.
func (s *source) fault(err error) *connector.Error {
	var theirs *connector.Error
	if errors.As(err, &theirs) {
		return theirs
	}
	make := connector.BadAnswer
	var way unreachable
	var status refusal
	for _, absent := range []error{errTimeout, errDown, errEnded, errFull, errExited, errCommand, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, absent) {
			make = connector.Unreachable
		}
	}
	if errors.As(err, &way) || errors.As(err, &status) && (status.trouble() || status.code == http.StatusTooManyRequests) {
		make = connector.Unreachable
	}
	e := make(fmt.Errorf("connector %s: %w", s.cfg.Name, err))
	e.Message = fmt.Sprintf("%s: connector %s: %s", e.Reason, s.cfg.Name, words(err))
	return e
}
