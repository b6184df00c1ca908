package mcp

// This file serves subscriptions/listen of the modern era, and tells everybody who listens, in both eras, that a list
// has changed (MCP 2026-07-28 "Subscriptions"; 2025-11-25 "Tools", "Prompts", "Resources").

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"golang.org/x/sync/errgroup"

	"hostedmcp/mcp/connector"
)

// changes are the lists that a listener wants to hear of.
type changes struct {
	Tools     bool     `json:"toolsListChanged,omitempty"`
	Prompts   bool     `json:"promptsListChanged,omitempty"`
	Resources bool     `json:"resourcesListChanged,omitempty"`
	URIs      []string `json:"resourceSubscriptions,omitempty"`
}

// listener is one subscription.
type listener struct {
	call   *call
	want   changes
	herald herald
}

// herald tells one listener of changes, of each connector by one goroutine at a time: a connector that changes without end
// and a client that does not read would fill the memory. The zero value is at rest. mu guards what stands below it.
type herald struct {
	mu    sync.Mutex
	going map[*connector.Rule]bool // by connector; true = there was another change meanwhile
}

// tell has f run in the background, now or, if it is under way, once more when it ends.
func (h *herald) tell(b *background, rule *connector.Rule, f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, going := h.going[rule]; going {
		h.going[rule] = true
		return
	}
	if h.going == nil {
		h.going = map[*connector.Rule]bool{}
	}
	h.going[rule] = false
	b.start(func() {
		for again := true; again; again = h.again(rule) {
			f()
		}
	})
}

// again reports whether there was another change, or ends the telling.
func (h *herald) again(rule *connector.Rule) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	again := h.going[rule]
	if again {
		h.going[rule] = false
	} else {
		delete(h.going, rule)
	}
	return again
}

// listeners are all of them. mu guards set.
type listeners struct {
	mu  sync.Mutex
	set map[*listener]struct{}
}

func (ls *listeners) add(l *listener) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.set == nil {
		ls.set = map[*listener]struct{}{}
	}
	ls.set[l] = struct{}{}
}

func (ls *listeners) remove(l *listener) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.set, l)
}

func (ls *listeners) all() []*listener {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	out := make([]*listener, 0, len(ls.set))
	for l := range ls.set {
		out = append(out, l)
	}
	return out
}

// listen answers subscriptions/listen: what can be listened to, and from then on what happens, until the client goes.
func (s *Server) listen(ctx context.Context, k *call) (*Result, error) {
	var want changes
	if raw := valueOf(k.params, "notifications"); !isObject(raw) || json.Unmarshal(raw, &want) != nil {
		return nil, &jsonrpc.Error{Code: codeInvalidParams, Message: "missing or invalid field notifications"}
	}
	allowed, watched, err := s.allow(ctx, k, want)
	if err != nil {
		return nil, err
	}
	l := &listener{call: k, want: allowed}
	s.listeners.add(l)
	defer s.listeners.remove(l)
	params, err := marshal(map[string]any{"notifications": allowed})
	if err != nil {
		return nil, err
	}
	if !l.tell(notifyAck, params) {
		return nil, errStreamOver
	}
	if allowed.Tools || allowed.Prompts || allowed.Resources || len(allowed.URIs) > 0 {
		s.watch(ctx, l, watched)
		<-ctx.Done()
	}
	return &Result{modern: true, Members: json.RawMessage(`{"_meta":{"` + metaSubscription + `":` + string(k.id) + `}}`),
		metaAt: len(`{"_meta":`)}, nil
}

// allow returns the part of want that this caller can listen to, and the URIs by the connector that has them.
func (s *Server) allow(ctx context.Context, k *call, want changes) (changes, map[*mounted][]string, error) {
	all, err := s.capabilitiesFor(ctx, k)
	if err != nil {
		return changes{}, nil, err
	}
	// One that does not answer must not be waited for once for each URI.
	ctx, cancel := context.WithTimeout(ctx, catalogWait)
	defer cancel()
	allowed := changes{Tools: want.Tools, Prompts: want.Prompts && all.prompts, Resources: want.Resources && all.resources}
	watched := map[*mounted][]string{}
	if !all.subscribe {
		return allowed, watched, nil
	}
	for _, uri := range want.URIs[:min(len(want.URIs), maxSubscriptions)] {
		t, err := s.findResource(ctx, k, uri)
		if err != nil {
			return changes{}, nil, err
		}
		if t == nil || !k.caller.Scope.Contains(t.rule.Scopes) || slices.Contains(allowed.URIs, uri) {
			continue
		}
		if c := t.mount.caps.Load(); c != nil && c.subscribe {
			allowed.URIs = append(allowed.URIs, uri)
			watched[t.mount] = append(watched[t.mount], uri)
		}
	}
	return allowed, watched, nil
}

// tell sends a notification that belongs to the subscription, which it names.
func (l *listener) tell(method string, params json.RawMessage) bool {
	if params == nil {
		params = json.RawMessage("{}")
	}
	meta, err := with(orObject(valueOf(params, "_meta")), metaSubscription, l.call.id)
	if err != nil {
		return false
	}
	params, err = with(params, "_meta", meta)
	return err == nil && l.call.tell(method, params)
}

func orObject(object []byte) []byte {
	if !isObject(object) {
		return []byte("{}")
	}
	return object
}

// watchAgain is how long a connector that stopped telling of updates is left alone.
const watchAgain = 5 * time.Second

// watch keeps a call open at each connector that has watched resources, until the client goes.
func (s *Server) watch(ctx context.Context, l *listener, watched map[*mounted][]string) {
	var group errgroup.Group
	for m, uris := range watched {
		group.Go(func() error {
			for ctx.Err() == nil {
				m.watch(ctx, l, uris)
				select {
				case <-ctx.Done():
				case <-time.After(watchAgain):
				}
			}
			return nil
		})
	}
	group.Wait()
}

// watch listens to the updates of some resources for as long as the connector goes along.
func (m *mounted) watch(ctx context.Context, l *listener, uris []string) {
	defer m.server.recovered(methodListen)
	params, err := marshal(map[string]changes{"notifications": {URIs: uris}})
	if err != nil {
		return
	}
	c, err := m.callFor(ctx, l.call, params)
	if err != nil {
		return
	}
	c.Peer.Ask = nil
	c.Peer.Notify = func(_ context.Context, method string, params json.RawMessage) {
		if method == notifyUpdated && slices.Contains(uris, text(valueOf(params, "uri"))) {
			l.tell(method, params)
		}
	}
	defer m.server.grants.settle(m, c.User.GrantID)
	if _, err := m.source.Do(ctx, c); err != nil && ctx.Err() == nil {
		m.server.log.Debug("connector does not tell of updates", "connector", m.config.Name, "cause", err)
	}
}

// settling is how long changes are gathered before they are told: some connectors tell of each tool by itself.
const settling = 20 * time.Millisecond

// changed tells those who may know of the connector that its lists may have changed. nil is this server itself.
func (s *Server) changed(m *mounted) {
	told, rule := &s.telling, &s.everybody
	if m != nil {
		told, rule = &m.telling, &m.whole
	}
	if told.Swap(true) {
		return // it is being gathered already
	}
	s.background.start(func() {
		defer s.recovered("list_changed")
		select {
		case <-time.After(settling):
		case <-s.closing:
		}
		told.Store(false)
		s.announce(rule, m != nil)
	})
}

// announce does it, to each by itself: one that does not read must not keep the others waiting. What else than tools may
// have changed is told with connectors only: this server has nothing else.
func (s *Server) announce(rule *connector.Rule, all bool) {
	for _, l := range s.listeners.all() {
		l.herald.tell(&s.background, rule, func() { l.changed(rule, all) })
	}
	s.sessions.each(func(ss *session) {
		if ss.peer.listening() != nil {
			ss.peer.herald.tell(&s.background, rule, func() { ss.peer.changed(rule, all) })
		}
	})
}

// changed tells a listener what it wants to hear of.
func (l *listener) changed(rule *connector.Rule, all bool) {
	defer l.call.caller.server.recovered("list_changed")
	ctx, cancel := context.WithTimeout(context.Background(), catalogWait)
	defer cancel()
	if ok, err := l.call.caller.open(ctx, rule); err != nil || !ok {
		return
	}
	if l.want.Tools {
		l.tell(notifyTools, nil)
	}
	if all && l.want.Prompts {
		l.tell(notifyPrompts, nil)
	}
	if all && l.want.Resources {
		l.tell(notifyResources, nil)
	}
}

// changed tells the client of a session that lists may have changed.
func (p *sessionPeer) changed(rule *connector.Rule, all bool) {
	st := p.listening()
	if st == nil {
		return
	}
	k := st.call // it knows as whom the stream was opened
	defer k.caller.server.recovered("list_changed")
	ctx, cancel := context.WithTimeout(context.Background(), catalogWait)
	defer cancel()
	if ok, err := k.caller.open(ctx, rule); err != nil || !ok {
		return
	}
	p.tell(notification(notifyTools, nil))
	if !all {
		return
	}
	c, err := k.caller.server.capabilitiesFor(ctx, k)
	if err == nil && c.prompts {
		p.tell(notification(notifyPrompts, nil))
	}
	if err == nil && c.resources {
		p.tell(notification(notifyResources, nil))
	}
}
