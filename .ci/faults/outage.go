package main

import (
	"fmt"
	"net/http"
	"sync"

	"time"

	"hostedmcp/auth/authtest"
)

// outage takes the provider away under load, in each way in which providers go away, and lets it come back
// (protocol.md §5.4). All the while nobody is logged out, every refresh and every call that needs no provider token
// succeeds, and the others are told 503 with Retry-After. On its return at most 20 requests stand before the provider
// at once, and everybody goes on. At last its database is emptied for good: even then nobody is logged out.
func outage(r *run) error {
	r.clients *= 2 // more than `parallel`, or the herd could not be seen
	o := &outages{run: r, ledger: newLedger(), answers: map[string]int{}}
	if err := o.set(); err != nil {
		return err
	}
	o.fleet.onAnswer = o.judge
	o.fleet.begin()
	o.fleet.settled(time.Now(), patience)
	for _, way := range o.ways() {
		o.through(way)
	}
	o.emptied()
	o.fleet.halt()
	if lost := o.fleet.lost.Load(); lost != 0 {
		r.violation("%d connections lost", lost)
	}
	return o.server.stop()
}

const (
	outageLength = 5 * time.Second
	herdHeld     = 3 * time.Second // how long the provider, back again, holds what comes
	herdMost     = 20
	suspectAfter = "2s" // so that an empty database would end grants within outageLength
)

// outages is the campaign's state. Clients judge their answers against the phase.
type outages struct {
	*run
	ledger   *ledger
	provider *authtest.Provider
	server   *server
	fleet    *fleet

	mu       sync.RWMutex
	phase    string // the way under way; "" = the provider is well
	harmless bool   // the way takes nothing away that a call needs
	answers  map[string]int
}

// way is how a provider goes away. Back is nil where Mend is enough.
type way struct {
	name       string
	faults     map[authtest.Endpoint]authtest.Fault
	away, back func()
	harmless   bool
}

func (o *outages) ways() []way {
	everywhere := func(f authtest.Fault) map[authtest.Endpoint]authtest.Fault {
		m := map[authtest.Endpoint]authtest.Fault{}
		for _, e := range []authtest.Endpoint{authtest.Token, authtest.Userinfo, authtest.Discovery, authtest.JWKS} {
			m[e] = f
		}
		return m
	}
	json := http.Header{"Content-Type": {"application/json"}}
	return []way{
		{name: "503", faults: everywhere(authtest.Unavailable(503, "1"))},
		{name: "500", faults: everywhere(authtest.Unavailable(500, ""))},
		{name: "hangs", faults: everywhere(authtest.Fault{Hang: true})},
		{name: "resets", faults: everywhere(authtest.Fault{Reset: true})},
		{name: "HTML with 200", faults: everywhere(authtest.HTML())},
		{name: "wrong JSON", faults: everywhere(authtest.Fault{Status: 200, Header: json, Body: `{"access_token":17,"token_type":[]}`})},
		{name: "nothing listens", away: o.provider.Down, back: o.up},
		{name: "wrong database", faults: map[authtest.Endpoint]authtest.Fault{
			authtest.Token: authtest.InvalidGrant("Invalid refresh token"), authtest.Userinfo: {Status: 401, Header: json, Body: `{"error":"invalid_token"}`},
		}},
		{name: "JWKS away", harmless: true, faults: map[authtest.Endpoint]authtest.Fault{authtest.JWKS: authtest.Unavailable(503, "")},
			away: o.rotateKey},
	}
}

func (o *outages) up() {
	if err := o.provider.Up(); err != nil {
		o.violation("%v", err)
	}
}

func (o *outages) rotateKey() {
	if err := o.provider.RotateKey(false); err != nil {
		o.violation("%v", err)
	}
}

func (o *outages) set() error {
	// the default mode of rotation; tokens that run out within the outage, so that it is felt
	b := authtest.Behaviour{Rotation: authtest.RotationReuse, AccessLife: 2 * time.Second}
	o.ledger.watch(&b)
	var err error
	if o.provider, err = o.newProvider(o.clients, b); err != nil {
		return err
	}
	if o.server, err = o.newServer("outage", settings{
		issuer: o.provider.Issuer, clientID: o.provider.ClientID, secret: o.provider.ClientSecret,
		provider: []string{`rotation = "reuse"`, `holdoff = "0s"`, `timeout = "4s"`, `token_wait = "1s"`,
			`suspect_after = "` + suspectAfter + `"`},
		tokens: []string{`access_ttl = "2s"`},
	}); err != nil {
		return err
	}
	if err := o.server.start(); err != nil {
		return err
	}
	o.fleet, err = o.newFleet(o.server, o.clients, 200*time.Millisecond)
	return err
}

// judge sees each answer that a client gets.
func (o *outages) judge(c *client, kind string, v verdict, a answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	what := kind + " ok"
	switch {
	case v == again && a.status == 0:
		what = kind + " unanswered"
	case v == again && a.status == 200:
		what = kind + " told of failure"
	case v != worked:
		what = fmt.Sprint(kind, " ", a.status)
	}
	o.answers[what]++
	// a call that needs the provider may be told 503, or fail in its tool when only userinfo is away
	needsProvider := kind == "userinfo" && !o.harmless
	if v == worked || v == lost || needsProvider && (a.status == 503 || a.status == 200) {
		return
	}
	if kind == "whoami" && a.status == 401 { // its own token ran out between looking and calling
		return
	}
	o.run.violation("%q: %s of %s got %s", o.phase, kind, c.user, a)
}

// enter begins a phase and returns the answers of the one before.
func (o *outages) enter(phase string, harmless bool) map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.answers
	o.phase, o.harmless, o.answers = phase, harmless, map[string]int{}
	return before
}

// through is one outage from end to end.
func (o *outages) through(w way) {
	o.enter(w.name, w.harmless)
	for e, f := range w.faults {
		o.provider.Break(e, f)
	}
	if w.away != nil {
		w.away()
	}
	time.Sleep(outageLength)
	// back again: all requests for tokens are held for a while, so that they can be counted
	gate := authtest.NewGate()
	if o.provider.Mend(); !w.harmless {
		o.provider.Break(authtest.Token, authtest.Fault{Gate: gate})
	}
	if w.back != nil {
		w.back()
	}
	herd := 0
	if !w.harmless {
		time.Sleep(herdHeld)
		herd = len(gate.Arrived())
		o.provider.Mend()
		gate.Open()
	}
	since := time.Now()
	o.fleet.settled(since, patience)
	took := time.Since(since)
	said := o.enter("", false)
	o.say("%-15s %v; herd %d; all went on after %s", w.name, said, herd, took.Round(100*time.Millisecond))
	if herd > herdMost {
		o.violation("%s: %d requests before the provider at once", w.name, herd)
	}
	// a campaign that proves nothing must not pass
	if !w.harmless && said["userinfo 503"] == 0 {
		o.violation("%s: took nothing away; the campaign is at fault", w.name)
	}
}

// emptied is the last outage: another, empty server stands behind the provider's name from now on. Some answers of the
// old one are still on their way then; that they are good says nothing of the new one.
func (o *outages) emptied() {
	o.enter("empty database", false)
	gate := authtest.NewGate()
	o.provider.Break(authtest.Token, authtest.Fault{Gate: gate, After: true, Times: 4})
	for range 4 {
		<-gate.Arrived()
	}
	o.provider.Forget()
	time.Sleep(300 * time.Millisecond)
	gate.Open()
	time.Sleep(2 * outageLength)
	since := time.Now()
	deadline := since.Add(patience)
	for time.Now().Before(deadline) && !o.allAt(since) {
		time.Sleep(50 * time.Millisecond)
	}
	if !o.allAt(since) {
		o.violation("empty database: not everybody could refresh and call")
	}
	o.say("%-15s %v; %d connections ended", "empty database", o.enter("", false), o.server.grants("ended"))
}

// allAt says whether everybody has refreshed and called since.
func (o *outages) allAt(since time.Time) bool {
	for _, c := range o.fleet.clients {
		if c.refreshed.Load() < since.UnixNano() || c.called.Load() < since.UnixNano() {
			return false
		}
	}
	return true
}
