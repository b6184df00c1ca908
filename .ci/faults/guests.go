package main

import (
	"sync"
	"sync/atomic"
	"time"
)

// guestCount is how many people are always just logging in.
const guestCount = 2

// guests log in, refresh once and revoke, over and over: there is always a login under way when a kill strikes. A login
// that was cut short is begun anew, as its user would.
type guests struct {
	fleet *fleet
	first int
	stop  chan struct{}
	wg    sync.WaitGroup
	in    atomic.Int64
}

func (g *guests) begin() {
	g.stop = make(chan struct{})
	for i := range guestCount {
		c := g.fleet.run.newClient(g.fleet.server, g.first+i, userName(g.first+i), g.fleet.clients[0].HTTP.Transport)
		g.wg.Go(func() {
			for !g.halted(20 * time.Millisecond) { // a failed login is no finding: its server may just have died
				if c.login() == nil {
					g.visit(c)
				}
			}
		})
	}
	g.fleet.run.atEnd(g.halt)
}

func (g *guests) halted(wait time.Duration) bool {
	select {
	case <-g.stop:
		return true
	case <-time.After(wait):
		return false
	}
}

func (g *guests) halt() {
	select {
	case <-g.stop:
	default:
		close(g.stop)
	}
	g.wg.Wait()
}

// visit is a short connection.
func (g *guests) visit(c *client) {
	g.in.Add(1)
	for !g.halted(10 * time.Millisecond) {
		v, a, err := c.refresh()
		if err != nil {
			g.fleet.run.violation("guest: %v", err)
		}
		if v == lost && g.fleet.onLost == nil {
			g.fleet.run.violation("guest %s lost its connection: %s", c.user, a.words)
		}
		if v != again {
			break
		}
	}
	c.Post("/revoke", map[string][]string{"token": {c.Refresh}, "client_id": {c.ID}}) // cut short: the grant stays
}
