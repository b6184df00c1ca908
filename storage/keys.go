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
	keysKey    = "keys"    // in meta: store key and data keys, wrapped by the master key
	signingKey = "signing" // in meta: signing keys, sealed
)

// readKeys opens the key ring with the master key, and with the ring the signing keys.
func (t *txn) readKeys(master seal.Key) (*keyring, error) {
	keys, err := seal.Unwrap(master, t.get(metaBucket, keysKey))
	path, _ := t.opt.keyPath()
	if errors.Is(err, seal.ErrMaster) {
		return nil, faultf(ErrKey, "the master key %s is not the one that %s was sealed with: restore the right key, or start a new "+
			"data_dir; all users sign in again", path, t.path)
	}
	if err != nil {
		return nil, faultf(ErrSchema, "the keys in %s are damaged: restore a backup", t.path)
	}
	k := &keyring{master: master, store: keys.Store, ring: keys.Ring}
	var signing signingKeys
	if !t.loadMeta(k.ring, signingKey, &signing) || len(signing.keys) == 0 {
		return nil, faultf(ErrSchema, "the signing keys in %s are damaged: restore a backup", t.path)
	}
	k.signing = signing.keys
	return k, nil
}

// reloadKeys brings the keys in memory to what the file shows after a transition on them, whatever became of it.
func (s *Store) reloadKeys() {
	s.keysMu.Lock() // or the older of two readings would win
	defer s.keysMu.Unlock()
	_ = s.view(func(t *txn) error {
		fresh, err := t.readKeys(s.keys.Load().master)
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
// opens after a restart and after a new data key.
func (s *Store) Seal(label string, plain, ad []byte) []byte {
	return s.keys.Load().ring.Seal("use/"+label, plain, ad)
}

// OpenSealed returns what Seal was given with the same label and ad. Errors: seal.ErrOpen.
func (s *Store) OpenSealed(label string, sealed, ad []byte) ([]byte, error) {
	return s.keys.Load().ring.Open("use/"+label, sealed, ad)
}
