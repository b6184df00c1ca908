package main

import (
	"errors"
	"fmt"

	"strings"
	"sync"
	"time"

	"hostedmcp/auth/authtest"
)

// crash kills the server again and again, in each mode of rotation, and then holds every client's fate against the
// provider's log (protocol.md §8.3):
//
//	none    0 lost: a refresh token stays valid
//	reuse   0 lost: one retry is forgiven. The next kill waits until the log proves that nothing is in doubt, since a
//	        second answer lost in a row is more than any client of such a provider can survive
//	strict  lost is exactly who was in flight: exchanged at the provider, never stored here, refused when it asked again
func crash(r *run) error {
	shares := map[string]int{"none": r.kills * 4 / 10, "reuse": r.kills / 5, "strict": r.kills * 4 / 10}
	modes := []string{"none", "reuse", "strict"}
	if r.mode != "all" {
		modes, shares = []string{r.mode}, map[string]int{r.mode: r.kills}
	}
	for _, mode := range modes {
		c, err := r.newCrash(mode)
		if err != nil {
			return fmt.Errorf("%s: %w", mode, err)
		}
		kills := c.gatesAndChance(shares[mode])
		if r.strace {
			kills = c.systemCalls(shares[mode])
		}
		if err := c.attack(kills); err != nil {
			return fmt.Errorf("%s: %w", mode, err)
		}
	}
	if r.strace {
		return r.creation()
	}
	return nil
}

// attacked is one mode under attack.
type attacked struct {
	*run
	mode    string
	waits   bool // between kills, until nothing is in doubt
	witness witness
	server  *server
	fleet   *fleet
	users   []string
	guests  *guests

	judged sync.Mutex
	proof  []time.Duration // how old the answers of the lost were at the kill
}

// witness is the provider's side: what it can be made to do, and what its log proves.
type witness interface {
	// hold stops the answers to the next n refreshes, before they take effect or after, until open; each sends on arrived
	// when it is there. mend lets go of what has not come.
	hold(n int, after bool) (arrived <-chan struct{}, open, mend func())
	// ended is told of each process that was killed, ready of each that is.
	ended(from, to time.Time)
	ready(at time.Time)
	// proven says why a user's connection had to be lost: how old the answer was when the process was killed.
	proven(user string) (age time.Duration, err error)
	// unproven returns the users of whom another kill could cost the connection.
	unproven(users []string, since time.Time) []string
	// refusals returns how many connections of the users were refused so far.
	refusals(users []string) int
}

var rotations = map[string]authtest.Rotation{
	"none": authtest.RotationNone, "reuse": authtest.RotationReuse, "strict": authtest.RotationStrict,
}

func (r *run) newCrash(mode string) (*attacked, error) {
	rotation, ok := rotations[mode]
	if !ok {
		return nil, errors.New("no such mode: none, reuse, strict or all")
	}
	// upstream tokens live a second, so that about every request asks the provider
	behaviour := rotationBehaviour(rotation)
	book := newLedger()
	book.watch(&behaviour)
	provider, err := r.newProvider(r.clients+guestCount, behaviour)
	if err != nil {
		return nil, err
	}
	book.provider = provider
	return r.attackOn(mode, mode, book, settings{issuer: provider.Issuer, clientID: provider.ClientID, secret: provider.ClientSecret})
}

// attackOn sets up server and clients before a provider.
func (r *run) attackOn(name, mode string, w witness, s settings) (*attacked, error) {
	c := &attacked{run: r, mode: name, waits: mode == "reuse", witness: w}
	// a short hold-off: the wait itself is not on trial, and each kill would cost it
	s.provider = []string{fmt.Sprintf("rotation = %q", mode), `holdoff = "200ms"`, `timeout = "5s"`}
	s.tokens = []string{`access_ttl = "2s"`}
	var err error
	if c.server, err = r.newServer(name, s); err != nil {
		return nil, err
	}
	if err := c.server.start(); err != nil {
		return nil, err
	}
	if c.fleet, err = r.newFleet(c.server, r.clients, 60*time.Millisecond); err != nil {
		return nil, err
	}
	for _, cl := range c.fleet.clients {
		c.users = append(c.users, cl.user)
	}
	if mode == "strict" { // else every loss is one too many
		c.fleet.onLost = c.judge
	}
	c.guests = &guests{fleet: c.fleet, first: r.clients}
	return c, nil
}

func rotationBehaviour(rotation authtest.Rotation) authtest.Behaviour {
	return authtest.Behaviour{Rotation: rotation, AccessLife: time.Second}
}

// newProvider starts a provider with n users.
func (r *run) newProvider(n int, b authtest.Behaviour) (*authtest.Provider, error) {
	var users []authtest.User
	for i := range n {
		users = append(users, authtest.User{Name: userName(i), Password: password})
	}
	p, err := authtest.StartProvider(authtest.ProviderConfig{Users: users, LogMax: 20_000, Behaviour: b})
	if err == nil {
		r.atEnd(p.Close)
	}
	return p, err
}

// attack goes through the kills, then lets everybody go on.
func (c *attacked) attack(kills []kill) error {
	defer c.clear() // the next mode starts from nothing
	c.fleet.begin()
	c.guests.begin()
	for i, k := range kills {
		began, err := c.once(k)
		if err != nil {
			return fmt.Errorf("kill %d (%s): %w", i+1, k.name, err)
		}
		if c.waits && len(k.next) == 0 && !c.untilProven(began) {
			return errors.New("stopped: see the violation")
		}
		if (i+1)%20 == 0 || i+1 == len(kills) {
			c.say("%s: %d kills, %d requests, %d lost, %d guests logged in", c.mode, i+1, c.fleet.sent.Load(), c.fleet.lost.Load(),
				c.guests.in.Load())
		}
	}
	return c.close()
}

// once kills the running server by k and starts it again; began is when the new process did.
func (c *attacked) once(k kill) (began time.Time, err error) {
	from := c.server.started
	to, err := k.do()
	if err != nil {
		return began, err
	}
	if !k.clean {
		c.witness.ended(from, to)
	}
	if c.waits && len(k.next) > 0 { // nothing may be in doubt when the next wrapper begins to count
		if err := c.intermission(); err != nil {
			return began, err
		}
	}
	for range 5 { // the wrapper of the next kill may strike before the server is ready
		began = time.Now()
		if err = c.server.start(k.next...); !errors.Is(err, errDied) {
			c.witness.ready(time.Now())
			return began, err
		}
		c.witness.ended(began, time.Now())
		k.next = nil
	}
	return began, err
}

// intermission runs a plain process until nothing is in doubt.
func (c *attacked) intermission() error {
	began := time.Now()
	if err := c.server.start(); err != nil {
		return err
	}
	c.witness.ready(time.Now())
	if !c.untilProven(began) {
		return errors.New("stopped: see the violation")
	}
	return c.server.stop()
}

// untilProven waits until nothing that the kill can have made uncertain is left.
func (c *attacked) untilProven(since time.Time) bool {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if len(c.witness.unproven(c.users, since)) == 0 && c.server.grants("in_doubt") == 0 {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.violation("%s: still in doubt %s after a kill: %v; in_doubt %d", c.mode, patience, c.witness.unproven(c.users, since),
		c.server.grants("in_doubt"))
	return false
}

// close is the verdict: everybody goes on, and the lost are those of the log, no more and no fewer.
func (c *attacked) close() error {
	if !c.server.alive() {
		if err := c.server.start(); err != nil {
			return err
		}
	}
	// whoever was in doubt may pause for a while before asking again (§8.3): it is long, and nobody may need it all
	c.fleet.settled(time.Now(), patience)
	c.guests.halt()
	c.fleet.halt()
	if err := c.server.stop(); err != nil {
		c.violation("%s: %v", c.mode, err)
	}
	refused, lost := c.witness.refusals(c.users), int(c.fleet.lost.Load())
	c.judged.Lock()
	defer c.judged.Unlock()
	oldest := time.Duration(0)
	for _, age := range c.proof {
		oldest = max(oldest, age)
	}
	c.say("%s: %d requests, %d lost, %d refused by the provider, %d proven in flight (answers at most %s old); %d logins of guests",
		c.mode, c.fleet.sent.Load(), lost, refused, len(c.proof), oldest.Round(time.Millisecond), c.guests.in.Load())
	if refused != lost || lost != len(c.proof) {
		c.violation("%s: %d logins refused by the provider, %d lost by clients, %d proven: must be the same", c.mode, refused, lost,
			len(c.proof))
	}
	if c.guests.in.Load() == 0 {
		c.violation("%s: nobody could log in", c.mode)
	}
	return nil
}

// judge holds a lost connection against the provider's log.
func (c *attacked) judge(cl *client, words string) {
	age, err := c.witness.proven(cl.user)
	c.judged.Lock()
	defer c.judged.Unlock()
	switch {
	case err != nil:
		c.violation("%s lost its connection without need: %v (told %q)", cl.user, err, words)
	case !strings.Contains(words, "grant_ended upstream_lost"):
		c.violation("%s was in flight and is lost, but was told %q", cl.user, words)
	}
	c.proof = append(c.proof, age)
}

// clear ends what belongs to one mode.
func (c *attacked) clear() {
	c.run.clear()
}
