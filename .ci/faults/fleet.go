package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// fleet is a number of clients under way, each in a goroutine of its own: refresh, call, think, refresh.
type fleet struct {
	run     *run
	server  *server
	clients []*client
	think   time.Duration // at most, between two requests of a client

	// onLost is told when a client has been told invalid_grant; nil = that is a violation. The client then logs in anew.
	onLost func(c *client, words string)
	// onAnswer sees every answer; nil = nobody looks
	onAnswer func(c *client, kind string, v verdict, a answer)

	stop  chan struct{}
	wg    sync.WaitGroup
	lost  atomic.Int64
	sent  atomic.Int64
	login atomic.Int64
}

// newFleet logs the clients in, each as a user of its own, and sets nothing going.
func (r *run) newFleet(s *server, n int, think time.Duration) (*fleet, error) {
	f := &fleet{run: r, server: s, think: think, stop: make(chan struct{})}
	transport := &http.Transport{MaxIdleConnsPerHost: n, IdleConnTimeout: time.Minute}
	errs := make(chan error, n)
	slots := make(chan struct{}, 8) // logins are no part of the attack: no need to choke on them
	for i := range n {
		c := r.newClient(s, i, userName(i), transport)
		f.clients = append(f.clients, c)
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs <- c.login()
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			return nil, fmt.Errorf("first login: %w", err)
		}
	}
	return f, nil
}

func userName(i int) string { return fmt.Sprintf("user%03d", i) }

// begin sets the clients going until halt.
func (f *fleet) begin() {
	for i, c := range f.clients {
		rnd := rand.New(rand.NewPCG(f.run.seed, uint64(i)+2))
		f.wg.Go(func() { f.drive(c, rnd) })
	}
	f.run.atEnd(f.halt)
}

// halt stops the clients and waits for their last answers.
func (f *fleet) halt() {
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
	f.wg.Wait()
}

// pause waits up to d; false = the fleet is to halt.
func (f *fleet) pause(rnd *rand.Rand, d time.Duration) bool {
	select {
	case <-f.stop:
		return false
	case <-time.After(time.Duration(rnd.Int64N(int64(d))) + time.Millisecond):
		return true
	}
}

// drive is one client's life. It refreshes more often than any real one, since a refresh is what is attacked; but it
// never lets the access token run out, and never sends two requests at once (storm does).
func (f *fleet) drive(c *client, rnd *rand.Rand) {
	for f.pause(rnd, f.think) {
		v := worked
		switch left := time.Until(c.expires); {
		case left < time.Second/4 || rnd.IntN(3) == 0:
			v = f.attempt(c, "refresh", c.refresh)
		case rnd.IntN(2) == 0:
			v = f.attempt(c, "whoami", func() (verdict, answer, error) { return c.call("whoami") })
		default:
			v = f.attempt(c, "userinfo", func() (verdict, answer, error) { return c.call("userinfo") })
		}
		if v == lost { // said to a call: the refresh will say it too, and why
			v = f.attempt(c, "refresh", c.refresh)
		}
		if v == lost && !f.anew(c, rnd) {
			return
		}
	}
}

// attempt counts one request and judges an answer that no client can use.
func (f *fleet) attempt(c *client, kind string, do func() (verdict, answer, error)) verdict {
	f.sent.Add(1)
	v, a, err := do()
	if err != nil {
		f.run.violation("%s, %s: %v", c.user, kind, err)
	}
	if f.onAnswer != nil {
		f.onAnswer(c, kind, v, a)
	}
	return v
}

// anew is what somebody has to do whose connection was lost: open a browser.
func (f *fleet) anew(c *client, rnd *rand.Rand) bool {
	f.lost.Add(1)
	words := *c.refused.Load()
	if f.onLost == nil {
		f.run.violation("%s lost its connection: %s", c.user, words)
	} else {
		f.onLost(c, words)
	}
	for f.pause(rnd, 50*time.Millisecond) {
		f.login.Add(1)
		if c.login() == nil {
			return true
		}
	}
	return false
}

// settled waits until every client has refreshed and called both tools, all begun after since; it reports those who
// did not within the limit.
func (f *fleet) settled(since time.Time, limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for {
		var late []string
		for _, c := range f.clients {
			for kind, at := range map[string]*atomic.Int64{"refresh": &c.refreshed, "whoami": &c.called, "userinfo": &c.asked} {
				if at.Load() < since.UnixNano() {
					late = append(late, c.user+" "+kind)
				}
			}
		}
		if len(late) == 0 {
			return true
		}
		if time.Now().After(deadline) {
			f.run.violation("not going on %s after it should: %v", limit, late)
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
}
