package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hostedmcp/auth/authtest"
)

// backups takes backups of a server under load while connections come and go, then kills it and restores each backup
// elsewhere and the first one over the store itself. Of every connection the campaign knows when it began and ended:
//
//	it lived while the backup was made      it goes on, with the tokens of today; the provider is asked once
//	it had ended before                     it has ended
//	it began later                          it is unknown
//	it ended later                          it has ended, where the store that is replaced says so
//
// No token counts as reused, whatever the backup remembers of it. Then server and command are killed in the middle of
// backups: what has the name of a backup can be restored.
func backups(r *run) error {
	b, err := r.newBackups()
	if err != nil {
		return err
	}
	b.fleet.begin()
	for range r.rounds {
		if err := b.copy(); err != nil {
			return err
		}
		b.traffic()
	}
	b.cutOff(r.kills)
	b.fleet.settled(time.Now(), patience)
	b.fleet.halt()
	b.server.kill()
	// from here on the provider is asked for one reason only
	b.provider.Set(func(behaviour *authtest.Behaviour) { behaviour.AccessLife = 10 * time.Minute })
	for i := range b.copies {
		if err := b.elsewhere(i); err != nil {
			return fmt.Errorf("backup %d: %w", i+1, err)
		}
	}
	if err := b.inPlace(); err != nil {
		return err
	}
	r.say("%d requests while %d backups were made, %d lost", b.fleet.sent.Load(), len(b.copies), b.fleet.lost.Load())
	return nil
}

type backedUp struct {
	*run
	ledger      *ledger
	provider    *authtest.Provider
	server      *server
	fleet       *fleet
	connections []*connection
	copies      []copied
	next        int // user
}

// copied is a backup, and when it was made.
type copied struct {
	file     string
	from, to time.Time
}

// connection is one login: when it was begun and done, and when its end was asked for and done (zero: never).
type connection struct {
	*client
	begun, done, ending, ended time.Time
	reason                     string // of its end
}

// coming is how many connections begin with each backup, going how many of those end at most.
const coming, going = 4, 2

func (r *run) newBackups() (*backedUp, error) {
	b := &backedUp{run: r, ledger: newLedger(), next: r.clients}
	// without rotation: a backup's upstream token is still good, so that every loss would be ours
	behaviour := rotationBehaviour(authtest.RotationNone)
	b.ledger.watch(&behaviour)
	var err error
	if b.provider, err = r.newProvider(r.clients+(r.rounds+2)*3*coming, behaviour); err != nil {
		return nil, err
	}
	b.ledger.provider = b.provider
	if b.server, err = r.newServer("living", b.settings()); err != nil {
		return nil, err
	}
	if err := b.server.start(); err != nil {
		return nil, err
	}
	begun := time.Now()
	if b.fleet, err = r.newFleet(b.server, r.clients, 60*time.Millisecond); err != nil {
		return nil, err
	}
	for _, c := range b.fleet.clients {
		b.connections = append(b.connections, &connection{client: c, begun: begun, done: time.Now()})
	}
	b.traffic()
	return b, nil
}

func (b *backedUp) settings() settings {
	return settings{
		issuer: b.provider.Issuer, clientID: b.provider.ClientID, secret: b.provider.ClientSecret,
		provider: []string{`rotation = "none"`, `holdoff = "200ms"`, `timeout = "5s"`},
		tokens:   []string{`access_ttl = "2s"`},
	}
}

// traffic lets connections come, and others of those go: by their client, or by an operator.
func (b *backedUp) traffic() {
	for range coming {
		c := &connection{client: b.newClient(b.server, b.next, userName(b.next), b.fleet.clients[0].HTTP.Transport), begun: time.Now()}
		b.next++
		if err := c.login(); err != nil {
			b.violation("login: %v", err)
			continue
		}
		c.done = time.Now()
		b.connections = append(b.connections, c)
	}
	strangers := slices.DeleteFunc(slices.Clone(b.connections[len(b.fleet.clients):]), func(c *connection) bool { return !c.ending.IsZero() })
	for i, n := range b.rand.Perm(len(strangers))[:min(going, len(strangers))] {
		if err := b.end(strangers[n], i%2 == 0); err != nil {
			b.violation("end: %v", err)
		}
	}
}

func (b *backedUp) end(c *connection, byOperator bool) error {
	c.ending = time.Now()
	defer func() { c.ended = time.Now() }()
	if byOperator {
		c.reason = "admin_revoked"
		grants, err := b.server.grantsOf(c.user)
		if err == nil && len(grants) != 1 {
			err = fmt.Errorf("%s has %d connections", c.user, len(grants))
		}
		if err == nil {
			_, err = b.server.do("grants", "end", grants[0].ID, "-yes")
		}
		return err
	}
	c.reason = "client_revoked"
	_, err := c.Post("/revoke", map[string][]string{"token": {c.Refresh}, "client_id": {c.ID}})
	return err
}

// copy makes one backup while connections come and go.
func (b *backedUp) copy() error {
	c := copied{file: filepath.Join(b.dir, fmt.Sprintf("backup-%d", len(b.copies)+1)), from: time.Now()}
	cmd, err := b.server.operator("backup", c.file)
	if err != nil {
		return err
	}
	b.traffic()
	_, err = cmd.wait()
	c.to = time.Now()
	b.copies = append(b.copies, c)
	return err
}

// restored is what restore says.
type restored struct {
	Grants, Ended, Tombstones int
	TombstonesLost            string `json:"tombstones_lost"`
	Replaced                  string
}

// elsewhere restores a backup into an empty folder and goes on there.
func (b *backedUp) elsewhere(i int) error {
	at, err := b.place(fmt.Sprintf("copy-%d", i+1))
	if err != nil {
		return err
	}
	var said restored
	if err := at.ask(&said, "restore", b.copies[i].file); err != nil {
		return err
	}
	if err := at.start(); err != nil {
		return err
	}
	defer at.kill()
	fates := map[outcome]int{}
	for _, c := range b.connections {
		f := c.at(b.copies[i], false)
		fates[f]++
		b.hold(at, c, f)
	}
	b.verdict(at, fmt.Sprintf("backup %d elsewhere", i+1), fates, said)
	return at.stop()
}

// inPlace goes on with the store for a while, and then restores the first backup over it.
func (b *backedUp) inPlace() error {
	if err := b.server.start(); err != nil {
		return err
	}
	for range 2 {
		b.traffic()
	}
	if _, err := b.server.do("restore", b.copies[0].file); err == nil || !strings.Contains(err.Error(), "stop it first") {
		b.violation("restore under a running server: %v", err)
	}
	if err := b.server.stop(); err != nil {
		return err
	}
	var said restored
	if err := b.server.ask(&said, "restore", b.copies[0].file); err != nil {
		return err
	}
	if said.TombstonesLost != "" || said.Replaced == "" {
		b.violation("restored over a sound store, but %+v", said)
	}
	if err := b.server.start(); err != nil {
		return err
	}
	fates := map[outcome]int{}
	for _, c := range b.connections {
		f := c.at(b.copies[0], true)
		fates[f]++
		b.hold(b.server, c, f)
		if f == hasEnded {
			b.explained(c)
		}
	}
	b.verdict(b.server, "backup 1 in place", fates, said)
	return b.server.stop()
}

// explained asks for the reason of an end that the backup did not know of.
func (b *backedUp) explained(c *connection) {
	e, err := b.server.explain("sub-" + c.user)
	if err != nil || len(e.Stories) != 1 || e.Stories[0].Reason != c.reason {
		b.violation("explain of an end by %s: %+v, %v", c.reason, e, err)
	}
}
