package storage

import (
	"errors"

	"hostedmcp/storage/seal"
)

// keyring is what the store knows in clear while it runs. It is replaced as a whole when a key is added.
type keyring struct {
	master  seal.Key
	store   seal.Key
	ring    *seal.Ring
	signing []SigningKey
}

const (
	keysKey       = "keys"        // in meta: store key and data keys, wrapped by the master key
	keysNextKey   = "keys_next"   // in meta: the same, wrapped by a new master key until that has taken its place
	keysHandedKey = "keys_handed" // in meta: the same, wrapped by a new master key that the operator is to install
	signingKey    = "signing"     // in meta: signing keys, sealed
)

// readKeys opens the key ring with the first of the master keys that serves, and with the ring the signing keys. The
// first is the store's from now on. settled says that the ring is wrapped as it is to stay.
func (t *txn) readKeys(masters []seal.Key) (k *keyring, settled bool, err error) {
	keys, settled, err := t.unwrap(masters)
	path, _ := t.opt.keyPath()
	if errors.Is(err, seal.ErrMaster) {
		return nil, false, faultf(ErrKey, "the master key %s is not the one that %s was sealed with: restore the right key, or start a new "+
			"data_dir; all users sign in again", path, t.called)
	}
	if err != nil {
		return nil, false, faultf(ErrSchema, "the keys in %s are damaged: restore a backup", t.called)
	}
	k = &keyring{master: masters[0], store: keys.Store, ring: keys.Ring}
	var signing signingKeys
	if !t.loadMeta(k.ring, signingKey, &signing) || len(signing.keys) == 0 {
		return nil, false, faultf(ErrSchema, "the signing keys in %s are damaged: restore a backup", t.called)
	}
	k.signing = signing.keys
	return k, settled, nil
}

// ring is what a transaction seals and opens with.
func (t *txn) ring() *seal.Ring {
	if t.only != nil {
		return t.only
	}
	return t.keys.Load().ring
}

// unwrap tries master keys on the ring as it is wrapped, and as it is wrapped for a new master key on its way.
func (t *txn) unwrap(masters []seal.Key) (keys seal.Keys, settled bool, err error) {
	for i, master := range masters {
		for _, name := range []string{keysKey, keysNextKey, keysHandedKey} {
			wrapped := t.get(metaBucket, name)
			if wrapped == nil && name != keysKey {
				continue
			}
			keys, err = seal.Unwrap(master, wrapped)
			if !errors.Is(err, seal.ErrMaster) {
				// A key that was on its way and did not arrive is none.
				return keys, i == 0 && name == keysKey && t.get(metaBucket, keysNextKey) == nil, err
			}
		}
	}
	return keys, false, seal.ErrMaster
}

// wrap writes the ring under its master key, and nothing under another.
func (t *txn) wrap(k *keyring) {
	t.put(metaBucket, keysKey, seal.Keys{Store: k.store, Ring: k.ring}.Wrap(k.master))
	t.del(metaBucket, keysNextKey)
	t.del(metaBucket, keysHandedKey)
}

// reloadKeys brings the keys in memory to what the file shows after a transition on them, whatever became of it. The
// master key is the one given, none = as before.
func (s *Store) reloadKeys(master ...seal.Key) {
	s.keysMu.Lock() // or the older of two readings would win
	defer s.keysMu.Unlock()
	if len(master) == 0 {
		master = []seal.Key{s.keys.Load().master}
	}
	_ = s.view(func(t *txn) error {
		fresh, _, err := t.readKeys(master)
		if err == nil {
			s.keys.Store(fresh)
		}
		return err
	})
}

// Key returns 32 bytes for a label, drawn from the store key, which is never rotated: for what is looked up by its
// HMAC ("client_id", "email", "sid", "log-subject") and for the demo provider. Different labels are independent.
func (s *Store) Key(label string) []byte { return s.keys.Load().store.Derive("key/" + label) }

// Seal encrypts plain for one purpose under the current data key, bound to ad. The value names its data key, so it
// opens after a restart and, within the hour that
// a ticket may take, after a new data key.
func (s *Store) Seal(label string, plain, ad []byte) []byte {
	return s.keys.Load().ring.Seal("use/"+label, plain, ad)
}

// OpenSealed returns what Seal was given with the same label and ad. Errors: seal.ErrOpen.
func (s *Store) OpenSealed(label string, sealed, ad []byte) ([]byte, error) {
	plain, err := s.keys.Load().ring.Open("use/"+label, sealed, ad)
	if r := s.retired.Load(); err != nil && r != nil && s.Uptime() < r.until {
		return r.Open("use/"+label, sealed, ad)
	}
	return plain, err
}
