package mount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"hostedmcp/mcp/connector"
)

const methodDiscover = "server/discover"

// Why there is no link although the server answers.
var (
	errVersion   = errors.New("no protocol version in common")
	errHandshake = errors.New("it refuses the handshake")
)

// era is what the server was found to speak. A server does not change it while it runs; a new one behind the same
// name is found out by its refusals.
type era struct {
	mu      sync.Mutex
	known   bool
	modern  bool
	without bool // it is modern and keeps no sessions of the older era besides

	compared bool // whether it is alike is known
	alike    bool // of both eras, it offers the same in both
}

func (e *era) get() (known, modern bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.known, e.modern
}

func (e *era) isModern() bool {
	known, modern := e.get()
	return known && modern
}

func (e *era) learn(modern bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known, e.modern = true, modern
}

func (e *era) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known, e.without, e.compared, e.alike = false, false, false, false
}

// noSessions remembers that the server keeps none; keeps says whether it may.
func (e *era) noSessions() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.without = true
}

func (e *era) keeps() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.without
}

func (e *era) compare(alike bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.compared, e.alike = true, alike
}

func (e *era) isAlike() (compared, alike bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.compared, e.alike
}

// dial makes a link: of the newer era where the server speaks it, but for a client's session one of the older, if the
// server speaks both. What a tool asks in mid-call, and what a session remembers, is then as if the client were there
// itself.
func (s *source) dial(ctx context.Context, owner string, from *connector.Call) (*link, error) {
	if from == nil || from.Session == "" {
		return s.greet(ctx, owner, from)
	}
	var l *link
	if !s.era.isModern() {
		var err error
		if l, err = s.greet(ctx, owner, from); err != nil || !l.modern {
			return l, err
		}
	}
	kept := s.session(ctx, owner, from)
	switch {
	case kept != nil && l != nil:
		l.close(errEnded)
		return kept, nil
	case kept != nil:
		return kept, nil
	case l != nil:
		return l, nil
	}
	return s.greet(ctx, owner, from)
}

// session makes a link of the older era to a server of the newer; nil = it keeps no session. Over HTTP one without an
// id is none: there the server could not ask anything, which in the newer era it can.
func (s *source) session(ctx context.Context, owner string, from *connector.Call) *link {
	if !s.era.keeps() {
		return nil
	}
	l, err := s.open(ctx, owner, from)
	if err != nil {
		return nil
	}
	l.speak(false)
	err = l.initialize(ctx, from)
	w, overHTTP := l.wire.(*httpWire)
	if err == nil && (!overHTTP || w.sessionID() != "") {
		return l
	}
	l.close(errEnded)
	if ctx.Err() == nil && !isTrouble(err) {
		s.era.noSessions()
	}
	return nil
}

// isTrouble reports whether err says nothing about eras: no way to the server, or not for this caller.
func isTrouble(err error) bool {
	var status refusal
	if errors.As(err, &status) {
		return status.trouble() || status.code == 401 || status.code == 403 || status.code == 429
	}
	return errors.As(err, new(unreachable))
}

// greet makes a link and finds out the era if it is not known (MCP 2026-07-28 "Versioning", "Backward Compatibility").
func (s *source) greet(ctx context.Context, owner string, from *connector.Call) (*link, error) {
	known, modern := s.era.get()
	l, err := s.open(ctx, owner, from)
	if err != nil {
		return nil, err
	}
	if !known {
		modern, err = l.isModern(ctx, from)
	}
	if err == nil && !modern {
		l.speak(false)
		err = l.initialize(ctx, from)
		// Some servers of the older era end at a message that they do not expect, such as our question.
		if errors.Is(err, errExited) && !known {
			l.close(errEnded)
			if l, err = s.open(ctx, owner, from); err != nil {
				return nil, err
			}
			l.speak(false)
			err = l.initialize(ctx, from)
		}
		// One that was slow to start may have taken our question for the beginning of the newer era.
		if isAnswer(err) && !known && s.http == nil {
			refused := err
			if modern, err = l.isModern(ctx, from); err == nil && !modern {
				err = refused
			}
		}
	}
	if err != nil {
		l.close(errEnded)
		return nil, s.noLink(err)
	}
	s.era.learn(modern)
	if modern {
		l.speak(true)
	}
	if modern && s.http == nil {
		l.watchLists()
	}
	return l, nil
}

// noLink says why there is none: a server that cannot shake hands is not there.
func (s *source) noLink(err error) error {
	switch {
	case isAnswer(err):
		s.era.forget() // it may be another server now
		return unreachable{fmt.Errorf("%w: %v", errHandshake, err)}
	case errors.Is(err, errTimeout), errors.Is(err, errExited):
		return unreachable{err}
	}
	return err
}

// open makes a link on which nothing was said yet.
func (s *source) open(ctx context.Context, owner string, from *connector.Call) (*link, error) {
	l := s.newLink(owner, from)
	if s.http != nil {
		l.wire = &httpWire{src: s, link: l}
		return l, nil
	}
	w, err := s.startChild(ctx, l)
	if err != nil {
		return nil, unreachable{err}
	}
	l.wire = w
	w.run()
	return l, nil
}

func (l *link) speak(modern bool) {
	l.modern, l.spoken = modern, connector.LegacyVersion
	if modern {
		l.spoken = connector.ModernVersion
	}
}

// probeLimit is how long a stdio server may ignore a question that the older era did not know.
const probeLimit = 5 * time.Second

// isModern asks server/discover. Only an answer that names a version we speak means yes; what a server of the older era
// may do with an unknown method before the handshake means no; and what says nothing about eras is an error.
func (l *link) isModern(ctx context.Context, from *connector.Call) (bool, error) {
	l.speak(true)
	limit := l.src.cfg.Timeout.D()
	if l.src.http == nil {
		limit = min(limit/4, probeLimit)
	}
	out := l.ask(ctx, methodDiscover, nil, from, limit)
	switch {
	case out.err == nil:
		o := objectOf(out.result)
		versions, _ := elements(o.get("supportedVersions"))
		if slices.ContainsFunc(versions, func(v json.RawMessage) bool { return unquote(v) == connector.ModernVersion }) {
			l.hello = o
			return true, nil
		}
		return false, nil
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case l.src.http == nil:
		return false, nil
	case isTrouble(out.err), errors.Is(out.err, errTimeout):
		return false, out.err
	}
	return false, nil
}

// initialize is the handshake of the older era (MCP 2025-11-25 "Lifecycle").
func (l *link) initialize(ctx context.Context, from *connector.Call) error {
	params := object{
		{quote("protocolVersion"), quote(connector.LegacyVersion)}, {quote("capabilities"), capabilities(from)},
		{quote("clientInfo"), l.src.self},
	}.bytes()
	out := l.ask(ctx, methodInitialize, params, from, l.src.cfg.Timeout.D())
	if out.err != nil {
		return out.err
	}
	l.hello = objectOf(out.result)
	l.spoken = l.hello.text("protocolVersion")
	if !slices.Contains(connector.LegacyVersions, l.spoken) {
		return errVersion
	}
	if err := l.wire.send(ctx, request(0, "notifications/initialized", nil), from); err != nil {
		return err
	}
	l.wire.started(from)
	return nil
}
