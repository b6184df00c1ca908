package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
)

// Key rotation and the clock, from the operator's side. Both run on a server under load; neither needs it to be stopped.

// rotateKey asks for a new key and follows the work.
func rotateKey(ctx context.Context, c *call) error {
	var keys []string
	for _, k := range []struct {
		name string
		set  bool
	}{{"master", c.opt.master}, {"data", c.opt.data}, {"signing", c.opt.signing}} {
		if k.set {
			keys = append(keys, k.name)
		}
	}
	// Exactly one: each is a decision of its own, and a script that means all calls thrice.
	if len(keys) != 1 || c.opt.newKeyFile != "" && keys[0] != "master" {
		return wrongUse("say which key: -master, -data or -signing; -new-key-file goes with -master")
	}
	file := c.opt.newKeyFile
	if file != "" {
		var err error
		if file, err = filepath.Abs(file); err != nil { // the server stands in another folder
			return err
		}
	}
	a, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	res, err := a.do(ctx, http.MethodPost, "/v1/keys/"+keys[0], map[string]string{"new_key_file": file})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	r, err := c.follow(res.Body)
	if err != nil {
		return err
	}
	return c.printRotation(r)
}

// follow reads lines until the last one. An answer that ends without it was cut off.
func (c *call) follow(body io.Reader) (rotation, error) {
	p := progress{c: c}
	defer p.done()
	lines := bufio.NewScanner(body) // its limit of 64 KiB a line bounds what a foreign server can send
	for lines.Scan() {
		var s step
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return rotation{}, fmt.Errorf("%w: %w", errForeign, err)
		}
		switch {
		case s.Error != "":
			return rotation{}, errors.New(escapedLine(s.Error))
		case s.Key != nil:
			return *s.Key, nil
		}
		p.show("%d of %d records", s.Done, s.Total)
	}
	return rotation{}, fmt.Errorf("the answer was cut off, and what is done is done: run it again: %w",
		errors.Join(lines.Err(), io.ErrUnexpectedEOF))
}

// printRotation says what is to be done with the keys that now lie about: a key in the wrong place is the next breach,
// one that is lost the next outage.
func (c *call) printRotation(r rotation) error {
	if c.opt.json {
		return c.printValue(r)
	}
	switch {
	case r.Waits:
		c.warn("Make it the credential or the key file, and restart: that ends the old key. Until then the store opens with either.")
		return c.say("The new master key is in %s", r.File)
	case r.Key == "master":
		c.warn("Keep a copy of it elsewhere. The old key lies beside it, for backups of its time: remove it with the last of these.")
		return c.say("The master key is replaced: %s", r.File)
	case r.Key == "data":
		return c.say("The data key is replaced, and every record sealed anew.")
	}
	return c.say("New access tokens are signed by key %s; those of the old one are accepted until %s.", shown(r.ID), c.clock(r.Retire))
}

// acceptClock shows the time that was accepted: the operator vouches for it.
func acceptClock(ctx context.Context, c *call) error {
	a, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	var s clockState
	raw, err := a.post(ctx, "/v1/clock", nil, &s)
	switch {
	case err != nil:
		return err
	case c.opt.json:
		return c.printJSON(raw)
	case s.Trusted:
		return c.say("The clock was trusted already: %s UTC.", c.clock(s.Now))
	}
	return c.say("The clock is taken as right: %s UTC. Things end by time again.", c.clock(s.Now))
}
