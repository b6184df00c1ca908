package mount

import (
	"context"
	"encoding/json"
	"errors"

	"hostedmcp/mcp/connector"
)

// This file is about what a server says between calls: that its lists or resources changed. The older era subscribes
// by resources/subscribe and hears the rest unasked; the modern one listens by a request that stays open (MCP
// 2026-07-28 "Subscriptions").

const (
	methodListen      = "subscriptions/listen"
	methodSubscribe   = "resources/subscribe"
	methodUnsubscribe = "resources/unsubscribe"
)

// listen is a modern client's subscriptions/listen: notifications go to its peer until ctx ends.
func (s *source) listen(ctx context.Context, c *connector.Call) (json.RawMessage, error) {
	slot, l, err := s.acquire(ctx, c)
	if err != nil {
		return nil, err
	}
	defer s.release(slot)
	defer s.listens(slot)()
	if l.modern {
		out := l.ask(ctx, methodListen, c.Params, c, 0)
		return withoutSubscription(out.result), out.err
	}
	// It is found by what comes without an address, which may be before the server has answered.
	call := l.begin(methodListen, nil, c, &clock{})
	defer l.finish(call)
	as := *c
	as.Params = nil
	for _, raw := range listened(c.Params) {
		params := object{{quote("uri"), raw}}.bytes()
		out := l.ask(ctx, methodSubscribe, params, &as, s.cfg.Timeout.D())
		if out.err != nil {
			return nil, out.err
		}
		defer s.background(func(ctx context.Context) { l.ask(ctx, methodUnsubscribe, params, &as, goodbye) })
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.life, func() { cancel(context.Cause(l.life)) })()
	if err := call.await(ctx); !errors.Is(err, context.Canceled) {
		return nil, err
	}
	return json.RawMessage(`{}`), nil
}

// listened returns the resources that a request to listen names.
func listened(params json.RawMessage) []json.RawMessage {
	uris, _ := elements(objectOf(objectOf(params).get("notifications")).get("resourceSubscriptions"))
	return uris
}

// subscription is resources/subscribe or unsubscribe of an older client. For a modern server we hold a listening
// request open instead.
func (s *source) subscription(ctx context.Context, c *connector.Call) (json.RawMessage, error) {
	slot, l, err := s.acquire(ctx, c)
	if err != nil {
		return nil, err
	}
	if !l.modern {
		defer s.release(slot)
		out := l.ask(ctx, c.Method, c.Params, c, s.cfg.Timeout.D())
		return out.result, out.err
	}
	defer s.release(slot)
	uri := objectOf(c.Params).get("uri")
	if uri == nil {
		return nil, &connector.Error{Code: connector.CodeInvalidParams, Message: "invalid params"}
	}
	l.unlisten(string(uri))
	if c.Method == methodUnsubscribe {
		return json.RawMessage(`{}`), nil
	}
	return json.RawMessage(`{}`), l.listenFor(uri, c)
}

// mostListened bounds the subscriptions of one link.
const mostListened = 256

// listenFor holds a listening request open on the session's behalf until it is taken back or the link ends.
func (l *link) listenFor(uri json.RawMessage, c *connector.Call) error {
	ctx, cancel := context.WithCancel(l.life)
	l.mu.Lock()
	full := len(l.heard) >= mostListened
	if !full {
		l.heard[string(uri)] = cancel
	}
	l.mu.Unlock()
	if full {
		cancel()
		return errFull
	}
	wanted := object{{quote("resourceSubscriptions"), json.RawMessage("[" + string(uri) + "]")}}.bytes()
	params := object{{quote("notifications"), wanted}}.bytes()
	begun := l.src.spawn(func() {
		defer cancel()
		for fails := 1; ctx.Err() == nil && fails < mostStanding; fails++ {
			if out := l.ask(ctx, methodListen, params, c, 0); isAnswer(out.err) {
				return // it does not offer that
			}
			sleep(ctx, pause(fails))
		}
	})
	if !begun {
		cancel()
	}
	return nil
}

func (l *link) unlisten(uri string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cancel := l.heard[uri]; cancel != nil {
		cancel()
		delete(l.heard, uri)
	}
}

// watchLists listens on a modern child's own link: nobody else hears that its lists changed.
func (l *link) watchLists() {
	l.src.spawn(func() { l.ask(l.life, methodListen, allLists, nil, 0) })
}

// allLists asks for word of every list.
var allLists = json.RawMessage(`{"notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}}`)

// watch listens as nobody for changed lists of an HTTP server that needs no user's credential. Others are heard on
// their users' links.
func (s *source) watch(ctx context.Context) {
	open := s.cfg.Credential == connector.CredentialNone || s.cfg.Credential == connector.CredentialStatic
	if s.http == nil || !open {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.parting, cancel)()
	for fails := 1; ctx.Err() == nil; fails++ {
		if s.watchOnce(ctx) {
			fails = 0
		}
		sleep(ctx, pause(min(fails+1, 6)))
	}
}

// watchOnce listens until the stream ends; true if it began. A server of the older era says it on the standing stream
// of the same link.
func (s *source) watchOnce(ctx context.Context) bool {
	slot, l, err := s.acquire(ctx, nil)
	if err != nil {
		return false
	}
	defer s.release(slot)
	began := false
	if !l.modern {
		select {
		case <-ctx.Done():
		case <-l.life.Done():
		}
		return true
	}
	from := &connector.Call{Peer: connector.Peer{Notify: func(context.Context, string, json.RawMessage) { began = true }}}
	l.ask(ctx, methodListen, allLists, from, 0)
	return began
}
