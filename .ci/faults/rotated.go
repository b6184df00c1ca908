package main

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
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

// close is the verdict on the closed file: every key is replaced once more, the old master key opens nothing, and
// everybody goes on.
func (o *rotating) close() error {
	if err := o.server.stop(); err != nil {
		o.violation("%v", err)
	}
	old := filepath.Join(o.dir, "old")
	for name, from := range map[string]string{"master.key": "master.key", "hostedmcp.db": "hostedmcp.db"} {
		if err := errors.Join(os.MkdirAll(old, 0o700), copyFile(filepath.Join(old, name), filepath.Join(o.server.data, from))); err != nil {
			return err
		}
	}
	for _, key := range keys {
		if _, err := o.server.do("rotate-key", "-"+key); err != nil {
			o.violation("on the closed file: %v", err)
		}
	}
	file := filepath.Join(o.server.data, "hostedmcp.db")
	if err := errors.Join(o.oneDataKey(file), copyFile(filepath.Join(old, "hostedmcp.db"), file)); err != nil {
		return err
	}
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
	for _, c := range o.fleet.clients {
		if err := c.load(); err != nil {
			return err
		}
		if a, err := c.insist(c.Refresh, 30*time.Second); err != nil || a.Status != 200 {
			o.violation("%s, at the end: %d %s, %v", c.user, a.Status, a.Description, err)
		}
	}
	lost := o.fleet.lost.Load()
	o.ledger.read()
	var users []string
	for _, c := range o.fleet.clients {
		users = append(users, c.user)
	}
	if n := o.ledger.refusals(users); lost != 0 || n != 0 {
		o.violation("%d connections lost, %d refused by the provider", lost, n)
	}
	o.say("%d requests, %d lost, data key %d at the end", o.fleet.sent.Load(), lost, o.dataKey)
	return o.server.stop()
}

// decoded reads base64url, nothing if it is not.
func decoded(s string) []byte {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return nil
	}
	return raw
}
