package main

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"strings"
	"sync"
	"sync/atomic"
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
	mode     string
	provider *authtest.Provider
	ledger   *ledger
	server   *server
	fleet    *fleet
	users    []string
	guests   *guests

	judged sync.Mutex
	proof  map[string]time.Duration // lineage → how old the answer was at the kill
}

var rotations = map[string]authtest.Rotation{
	"none": authtest.RotationNone, "reuse": authtest.RotationReuse, "strict": authtest.RotationStrict,
}

// guestCount is how many people are always just logging in.
const guestCount = 2

func (r *run) newCrash(mode string) (*attacked, error) {
	c := &attacked{run: r, mode: mode, ledger: newLedger(), proof: map[string]time.Duration{}}
	rotation, ok := rotations[mode]
	if !ok {
		return nil, errors.New("no such mode: none, reuse, strict or all")
	}
	// upstream tokens live a second, so that about every request asks the provider
	behaviour := rotationBehaviour(rotation)
	c.ledger.watch(&behaviour)
	var err error
	if c.provider, err = r.newProvider(r.clients+guestCount, behaviour); err != nil {
		return nil, err
	}
	if c.server, err = r.newServer(mode, settings{
		issuer: c.provider.Issuer, clientID: c.provider.ClientID, secret: c.provider.ClientSecret,
		provider: []string{fmt.Sprintf("rotation = %q", mode), `holdoff = "200ms"`, `timeout = "5s"`},
		tokens:   []string{`access_ttl = "2s"`},
	}); err != nil {
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
	if mode == "strict" {
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
		if c.mode == "reuse" && !c.untilProven(began) {
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
		c.ledger.ended(from, to)
	}
	c.ledger.read(c.provider)
	for range 5 { // the wrapper of the next kill may strike before the server is ready
		began = time.Now()
		if err = c.server.start(k.next...); !errors.Is(err, errDied) {
			return began, err
		}
		c.ledger.ended(began, time.Now())
		k.next = nil
	}
	return began, err
}

// untilProven waits until nothing that the kill can have made uncertain is left.
func (c *attacked) untilProven(since time.Time) bool {
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		c.ledger.read(c.provider)
		if len(c.ledger.unproven(c.users, since)) == 0 && c.server.grants("in_doubt") == 0 {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.violation("%s: still in doubt 30 s after a kill: %v; in_doubt %d", c.mode, c.ledger.unproven(c.users, since),
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
	c.fleet.settled(time.Now(), 60*time.Second)
	c.guests.halt()
	c.fleet.halt()
	if err := c.server.stop(); err != nil {
		c.violation("%s: %v", c.mode, err)
	}
	c.ledger.read(c.provider)
	refused, lost := c.ledger.refusedLines(c.users), int(c.fleet.lost.Load())
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
	c.ledger.read(c.provider)
	lineage := c.ledger.lineageOf(cl.user)
	age, err := c.ledger.proven(lineage)
	c.judged.Lock()
	defer c.judged.Unlock()
	switch {
	case err != nil:
		c.violation("%s lost its connection without need: %v (told %q)", cl.user, err, words)
	case !strings.Contains(words, "grant_ended upstream_lost"):
		c.violation("%s was in flight and is lost, but was told %q", cl.user, words)
	}
	c.proof[lineage] = age
}

// kill is one way to end a process.
type kill struct {
	name  string
	clean bool     // SIGTERM: nothing at all may be lost by it
	next  []string // under what the next process is started
	do    func() (time.Time, error)
}

// gatesAndChance returns n kills, mixed by the seed.
func (c *attacked) gatesAndChance(n int) (out []kill) {
	for range n {
		switch p := c.rand.IntN(20); {
		case p < 9:
			out = append(out, kill{name: "random", do: c.atRandom})
		case p < 19:
			out = append(out, kill{name: "gate", do: c.atGate})
		default:
			out = append(out, kill{name: "SIGTERM", clean: true, do: c.deploy})
		}
	}
	return out
}

func (c *attacked) atRandom() (time.Time, error) {
	time.Sleep(rand.N(400 * time.Millisecond))
	return c.server.kill(), nil
}

func (c *attacked) deploy() (time.Time, error) {
	time.Sleep(rand.N(400 * time.Millisecond))
	return time.Now(), c.server.stop()
}

// atGate kills around the answer to one to four refreshes: they are held before or after they take effect, let go, and
// 0 to 5 ms later the process dies; or it dies while they are held.
func (c *attacked) atGate() (time.Time, error) {
	gate := authtest.NewGate()
	held := 1 + c.rand.IntN(4)
	c.provider.Break(authtest.Token, authtest.Fault{
		Grant: "refresh_token", Gate: gate, Times: held, After: c.rand.IntN(2) == 0,
	})
	late := time.After(time.Second)
	for i := 0; i < held; i++ {
		select {
		case <-gate.Arrived():
		case <-late:
			i = held
		}
	}
	opened := c.rand.IntN(4) != 0
	if opened {
		gate.Open()
		time.Sleep(time.Duration(c.rand.Int64N(int64(5 * time.Millisecond))))
	}
	at := c.server.kill()
	c.provider.Mend(authtest.Token)
	if !opened {
		gate.Open()
	}
	return at, nil
}

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
			for !g.halted(20 * time.Millisecond) {
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

// clear ends what belongs to one mode.
func (c *attacked) clear() {
	c.run.clear()
}
