package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hostedmcp/auth/authtest"
)

// rotate replaces each key again and again under load, and kills the server in the middle of it: at random, or
// (-strace) at a system call. Whatever was cut off, the server starts again, everybody goes on, and the rotation is done
// by beginning it anew. Of each finished one it is shown that the old key is good for nothing:
//
//	master    it opens neither the file nor a backup made since, and can be removed
//	data      no value names it any longer (rotated.go)
//	signing   its tokens are accepted until it is retired, then it is neither published nor accepted
func rotate(r *run) error {
	o := &rotating{run: r, ledger: newLedger(), struck: map[string]int{}}
	if err := o.set(); err != nil {
		return err
	}
	o.fleet.begin()
	o.guests.begin()
	// the first replaced key retires while the others are replaced
	first, err := o.replaceSigning()
	if err != nil {
		return err
	}
	for i := range r.kills {
		if err := o.round(i); err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
	}
	r.say("%d rotations killed (%v), %d requests, %d logins of guests", r.kills, o.struck, o.fleet.sent.Load(), o.guests.in.Load())
	for _, key := range keys { // once undisturbed
		if err := o.finish(key); err != nil {
			return err
		}
	}
	if err := o.handOut(); err != nil {
		return err
	}
	o.retires(first)
	o.guests.halt()
	o.fleet.halt()
	return o.close()
}

var keys = []string{"master", "data", "signing"}

type rotating struct {
	*run
	ledger   *ledger
	provider *authtest.Provider
	server   *server
	fleet    *fleet
	guests   *guests
	struck   map[string]int // how the attempts ended
	asked    int            // places to restore to
	dataKey  uint32         // the newest seen
}

// rotationTTL is short, so that a replaced signing key retires within the campaign.
const rotationTTL = 6 * time.Second

func (o *rotating) set() error {
	behaviour := rotationBehaviour(authtest.RotationNone)
	o.ledger.watch(&behaviour)
	var err error
	if o.provider, err = o.newProvider(o.clients+guestCount, behaviour); err != nil {
		return err
	}
	o.ledger.provider = o.provider
	if o.server, err = o.newServer("rotate", o.settings()); err != nil {
		return err
	}
	if err := o.server.start(); err != nil {
		return err
	}
	if o.fleet, err = o.newFleet(o.server, o.clients, 60*time.Millisecond); err != nil {
		return err
	}
	o.guests = &guests{fleet: o.fleet, first: o.clients}
	return nil
}

func (o *rotating) settings() settings {
	return settings{
		issuer: o.provider.Issuer, clientID: o.provider.ClientID, secret: o.provider.ClientSecret,
		provider: []string{`rotation = "none"`, `holdoff = "200ms"`, `timeout = "5s"`},
		tokens:   []string{fmt.Sprintf("access_ttl = %q", rotationTTL)},
	}
}

// rotated is what rotate-key says.
type rotated struct {
	Key, File, ID string
	Retire        time.Time
}

// finish runs a rotation to its end and looks for the old key.
func (o *rotating) finish(key string) error {
	old, err := os.ReadFile(filepath.Join(o.server.data, "master.key"))
	if err != nil {
		return err
	}
	if key == "signing" {
		_, err := o.replaceSigning()
		return err
	}
	if _, err := o.insist(key); err != nil {
		return err
	}
	if key == "master" {
		return o.masterGone(old)
	}
	file, err := o.backup()
	if err != nil {
		return err
	}
	return o.oneDataKey(file)
}

// insist repeats a command until it is done: what is told to be begun again is.
func (o *rotating) insist(key string) (said rotated, err error) {
	for range 5 {
		if err = o.server.ask(&said, "rotate-key", "-"+key); err == nil {
			return said, nil
		}
		o.say("again: %v", err)
	}
	return said, err
}

// masterGone shows that the key of before opens no backup, and removes what is left of it.
func (o *rotating) masterGone(old []byte) error {
	now, err := os.ReadFile(filepath.Join(o.server.data, "master.key"))
	if err != nil {
		return err
	}
	if bytes.Equal(old, now) {
		o.violation("rotate-key -master left the key as it was")
	}
	file, err := o.backup()
	if err != nil {
		return err
	}
	for name, key := range map[string][]byte{"old": old, "new": now} {
		err := o.opens(file, key)
		if name == "old" && (err == nil || !strings.Contains(err.Error(), "master key")) || name == "new" && err != nil {
			o.violation("a backup opened with the %s master key: %v", name, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(o.server.data, "master.key.*"))
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(left, func(path string) bool { text, _ := os.ReadFile(path); return bytes.Equal(text, old) }) {
		o.violation("the old master key was not kept: %v", left)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// backup makes one, over the one before.
func (o *rotating) backup() (string, error) {
	file := filepath.Join(o.dir, "backup")
	_, err := o.server.do("backup", file, "-force")
	return file, err
}

// opens restores a backup in a folder that has this key and no other.
func (o *rotating) opens(file string, key []byte) error {
	o.asked++
	s := o.settings()
	s.public = o.server.url
	at, err := o.newServer(fmt.Sprintf("place-%d", o.asked), s)
	if err != nil {
		return err
	}
	defer os.RemoveAll(at.dir)
	if err := os.MkdirAll(at.data, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(at.data, "master.key"), key, 0o600); err != nil {
		return err
	}
	_, err = at.do("restore", file)
	return err
}

// probe is a client of its own with a fresh access token.
func (o *rotating) probe() (*client, error) {
	c := o.newClient(o.server, o.clients+guestCount, userName(0), o.fleet.clients[0].HTTP.Transport)
	return c, c.login()
}
