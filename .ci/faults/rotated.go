package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"hostedmcp/storage/seal"
)

// What is left of old keys in files. The buckets are read as they lie there: what a value says of its key needs none.

// sealedWhole are buckets whose values are sealed as a whole, as storage documents them.
var sealedWhole = []string{"identities", "upstream", "requests", "signins", "pins"}

// dataKeys counts the sealed values in a store file by the data key that they name.
func dataKeys(file string) (map[uint32]int, error) {
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	out := map[uint32]int{}
	return out, db.View(func(tx *bolt.Tx) error {
		for _, name := range sealedWhole {
			b := tx.Bucket([]byte(name))
			if b == nil {
				return errors.New("no bucket " + name)
			}
			if err := b.ForEach(func(_, v []byte) error {
				if k := seal.KeyOf(v); k != 0 {
					out[k]++
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// oneDataKey shows that the values in a file name one key, newer than any before.
func (o *rotating) oneDataKey(file string) error {
	named, err := dataKeys(file)
	if err != nil {
		return err
	}
	newest := uint32(0)
	for k := range named {
		newest = max(newest, k)
	}
	if len(named) != 1 || newest <= o.dataKey || named[newest] < 2*len(o.fleet.clients) {
		o.violation("after rotate-key -data the values are sealed so: %v; the key before was %d", named, o.dataKey)
	}
	o.dataKey = newest
	return nil
}

// handOut makes a master key for the operator to install, as for a systemd credential: until it is there the old one
// opens the store, and nothing else is rotated; with it the old one is worthless.
func (o *rotating) handOut() error {
	master, file := filepath.Join(o.server.data, "master.key"), filepath.Join(o.dir, "handed.key")
	old, err := os.ReadFile(master)
	if err != nil {
		return err
	}
	if _, err := o.server.do("rotate-key", "-master", "-new-key-file", file); err != nil {
		return err
	}
	if _, err := o.server.do("rotate-key", "-data"); err == nil || !strings.Contains(err.Error(), "waits to be installed") {
		o.violation("rotate-key -data while a master key waits: %v", err)
	}
	o.server.kill()
	if err := o.server.start(); err != nil {
		return fmt.Errorf("start with the old master key, the new one not installed yet: %w", err)
	}
	o.server.kill()
	if err := copyFile(master, file); err != nil {
		return err
	}
	back := time.Now()
	if err := o.server.start(); err != nil {
		return fmt.Errorf("start with the new master key: %w", err)
	}
	copied, err := o.backup()
	if err != nil {
		return err
	}
	if err := o.opens(copied, old); err == nil {
		o.violation("a backup made under the installed master key opens with the old one")
	}
	o.fleet.settled(back, patience)
	return nil
}

// close is the verdict on the closed file: every key is replaced once more, the old master key opens nothing, and
// everybody goes on.
func (o *rotating) close() error {
	if err := o.server.stop(); err != nil {
		o.violation("%v", err)
	}
	old, file := filepath.Join(o.dir, "old"), filepath.Join(o.server.data, "hostedmcp.db")
	if err := os.MkdirAll(old, 0o700); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(old, "master.key"), filepath.Join(o.server.data, "master.key")); err != nil {
		return err
	}
	for _, key := range keys {
		if _, err := o.server.do("rotate-key", "-"+key); err != nil {
			o.violation("on the closed file: %v", err)
		}
	}
	if err := errors.Join(o.oneDataKey(file), copyFile(filepath.Join(old, "hostedmcp.db"), file)); err != nil {
		return err
	}
	// a thief has the file of today and the key of yesterday
	s := o.settings()
	s.data, s.public = old, o.server.url
	thief, err := o.newServer("thief", s)
	if err != nil {
		return err
	}
	if err := thief.start(); !errors.Is(err, errDied) {
		o.violation("the store starts with the old master key: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(o.server.data, "*.replaced-*")) // a pattern that cannot be wrong
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if err := o.server.start(); err != nil {
		return err
	}
	o.everybody()
	return o.server.stop()
}

// everybody says that nobody was lost: every client refreshes once more, and the provider never refused one.
func (o *rotating) everybody() {
	var users []string
	for _, c := range o.fleet.clients {
		users = append(users, c.user)
		err := c.load()
		a, asked := c.insist(c.Refresh, patience)
		if err = errors.Join(err, asked); err != nil || a.Status != http.StatusOK {
			o.violation("%s, at the end: %d %s, %v", c.user, a.Status, a.Description, err)
		}
	}
	lost, refused := o.fleet.lost.Load(), o.ledger.refusals(users)
	if lost != 0 || refused != 0 {
		o.violation("%d connections lost, %d refused by the provider", lost, refused)
	}
	o.say("%d requests, %d lost, %d refused by the provider, data key %d at the end", o.fleet.sent.Load(), lost, refused, o.dataKey)
}

// decoded reads base64url, nothing if it is not.
func decoded(s string) []byte {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return nil
	}
	return raw
}
