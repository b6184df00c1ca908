package mcp

import (
	"context"
	"sync"
	"time"
)

// grants notes whose calls connectors hold something for, and tells them when that grant has ended: its processes and
// connections must not outlive it. mu guards known.
type grants struct {
	server *Server
	idle   time.Duration // after which a grant without calls and sessions is forgotten

	mu    sync.Mutex
	known map[string]*grantUse
}

// grantUse is what is noted of one grant.
type grantUse struct {
	last time.Time       // of its calls
	over context.Context // ends with the grant
	end  context.CancelFunc
}

// note says that a call of k goes to a connector. The context that it returns ends with the grant.
func (g *grants) note(k *call) context.Context {
	id := k.caller.GrantID
	g.mu.Lock()
	use := g.known[id]
	if use != nil {
		use.last = time.Now()
		g.mu.Unlock()
		return use.over
	}
	if g.known == nil {
		g.known = map[string]*grantUse{}
	}
	use = &grantUse{last: time.Now()}
	use.over, use.end = context.WithCancel(context.Background())
	g.known[id] = use
	g.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	ended := g.server.authority.Ended(ctx, id)
	// It may have ended since the request was let in: then this call does not begin any more.
	select {
	case <-ended:
		use.end()
	default:
	}
	principal := k.caller.principal
	g.server.background.start(func() {
		defer cancel()
		g.follow(id, principal, ended)
	})
	return use.over
}

// follow waits for the end of a grant, or until nobody has used it for long.
func (g *grants) follow(id, principal string, ended <-chan struct{}) {
	timer := time.NewTimer(g.idle)
	defer timer.Stop()
	for {
		select {
		case <-g.server.closing:
			return
		case <-timer.C:
			if !g.forget(id, principal) {
				timer.Reset(g.idle)
				continue
			}
		case <-ended:
			g.mu.Lock()
			g.known[id].end()
			delete(g.known, id)
			g.mu.Unlock()
		}
		for _, m := range g.server.mounts {
			m.source.EndGrant(id)
		}
		return
	}
}

// forget takes a grant out of the books if it is idle. A session that lives may hold subscriptions without any call.
func (g *grants) forget(id, principal string) bool {
	if g.server.sessions.has(principal) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.known[id].last) < g.idle {
		return false
	}
	delete(g.known, id)
	return true
}

// settle is for what was on its way to a connector while its grant ended: it may have begun something there after the
// connector was told. It is told again.
func (g *grants) settle(m *mounted, id string) {
	g.mu.Lock()
	known := g.known[id] != nil
	g.mu.Unlock()
	if !known {
		m.source.EndGrant(id)
	}
}
