package storage

import (
	"encoding/binary"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage/seal"
)

// bucket is one table of the file. Records of a sealed one are encrypted, bound to their bucket and key.
type bucket struct {
	name   string
	sealed bool
	added  bool   // a file of this schema may lack it: Open makes it
	raw    []byte // name as bbolt wants it: a call makes no copy
}

func newBucket(name string, sealed bool) bucket {
	return bucket{name: name, sealed: sealed, raw: []byte(name)}
}

// The buckets; doc.go describes them.
var (
	metaBucket       = newBucket("meta", false)
	clientsBucket    = newBucket("clients", false)
	requestsBucket   = newBucket("requests", true)
	codesBucket      = newBucket("codes", false)
	grantsBucket     = newBucket("grants", false)
	upstreamBucket   = newBucket("upstream", true)
	identitiesBucket = newBucket("identities", true)
	subjectBucket    = newBucket("by_subject", false)
	sessionBucket    = newBucket("by_session", false)
	signinsBucket    = newBucket("signins", true)
	eventsBucket     = newBucket("events", false)
	dueBucket        = newBucket("due", false)
	pinsBucket       = bucket{name: "pins", sealed: true, added: true, raw: []byte("pins")}

	buckets = []bucket{metaBucket, clientsBucket, requestsBucket, codesBucket, grantsBucket, upstreamBucket,
		identitiesBucket, subjectBucket, sessionBucket, signinsBucket, eventsBucket, dueBucket, pinsBucket}
)

// sealed values of a record carry this as additional data: a copy under another key or in another bucket is no value.
func (b bucket) ad(key string) []byte { return []byte(b.name + "\x00" + key) }

// txn is one transition or one reading inside a bbolt transaction. Faults of the store stick to it: reads then answer
// "absent", writes do nothing, and whoever runs it looks at fault at the end, so that transitions read as their rules.
type txn struct {
	*Store
	tx    *bolt.Tx
	now   time.Time
	fault error
	only  *seal.Ring // opens and seals; nil = the store's

	dirty  bool    // something was written
	events []Event // written; told to OnEvent after the commit
	ended  []ended // told to OnEnd after the commit
}

type ended struct {
	grant  string
	reason oauth.Reason
}

// fail notes the first fault; what follows it in the transition does nothing and is rolled back.
func (t *txn) fail(err error) {
	if t.fault == nil {
		t.fault = err
	}
}

// get returns the raw value, nil if absent. It dies with the transaction.
func (t *txn) get(b bucket, key string) []byte {
	if t.fault != nil {
		return nil
	}
	return t.tx.Bucket(b.raw).Get([]byte(key))
}

// put writes a value, which must not change until the transaction ends: bbolt keeps no copy.
func (t *txn) put(b bucket, key string, value []byte) {
	if t.fault != nil {
		return
	}
	t.dirty = true
	if err := t.tx.Bucket(b.raw).Put([]byte(key), value); err != nil {
		t.fail(fmt.Errorf("write %s: %w", b.name, err))
	}
}

// del removes a key; one that is not there costs nothing.
func (t *txn) del(b bucket, key string) {
	if t.fault != nil || t.get(b, key) == nil { // bbolt would call it a change, and sync the disk for it
		return
	}
	t.dirty = true
	if err := t.tx.Bucket(b.raw).Delete([]byte(key)); err != nil {
		t.fail(fmt.Errorf("delete from %s: %w", b.name, err))
	}
}

// load reads a record and reports whether it is there. A damaged one is a fault.
func (t *txn) load(b bucket, key string, r record) bool {
	value := t.get(b, key)
	if value == nil {
		return false
	}
	if b.sealed {
		plain, err := t.ring().Open("record/"+b.name, value, b.ad(key))
		if err != nil {
			t.fail(fmt.Errorf("%w in %s: %w", errDamaged, b.name, err))
			return false
		}
		value = plain
	}
	if !decode(value, r) {
		t.fail(fmt.Errorf("%w in %s", errDamaged, b.name))
		return false
	}
	return true
}

// save writes a record, sealed if its bucket is.
func (t *txn) save(b bucket, key string, r record) {
	value := encode(r)
	if b.sealed {
		value = t.ring().Seal("record/"+b.name, value, b.ad(key))
	}
	t.put(b, key, value)
}

// each calls fn for the keys with a prefix, in order, from the key `from` on (which has the prefix, or is ""), until
// fn returns false. fn must not write to the bucket: what is to be changed is collected first.
func (t *txn) each(b bucket, prefix, from string, fn func(key string, value []byte) bool) {
	if t.fault != nil {
		return
	}
	if from == "" {
		from = prefix
	}
	c := t.tx.Bucket(b.raw).Cursor()
	for k, v := c.Seek([]byte(from)); k != nil; k, v = c.Next() {
		key := string(k)
		if len(key) < len(prefix) || key[:len(prefix)] != prefix || !fn(key, v) {
			return
		}
	}
}

// The counters of meta: moved by the transitions, so that nothing is ever counted by a scan.

func (t *txn) counter(name string) uint64 {
	if v := t.get(metaBucket, "count/"+name); len(v) == 8 {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (t *txn) count(name string, by int) {
	n := int64(t.counter(name)) + int64(by)
	t.put(metaBucket, "count/"+name, binary.BigEndian.AppendUint64(nil, uint64(max(n, 0))))
}
