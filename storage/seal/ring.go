package seal

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"maps"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"
)

// ErrOpen says that a sealed value does not open: another key, another place, or altered bytes. Which of them cannot
// be told, and must not be.
var ErrOpen = errors.New("seal: value does not open")

const (
	version  = 1
	idSize   = 4
	nonceEnd = 1 + idSize + chacha20poly1305.NonceSizeX
)

// Ring is a set of data keys, one of them current. It does not change once made (Add returns another), so that all
// goroutines may use it; only its cache of derived ciphers grows.
type Ring struct {
	keys    map[uint32]Key
	current uint32

	mu      sync.RWMutex
	derived map[purpose]cipher.AEAD
}

type purpose struct {
	key   uint32
	label string
}

// NewRing returns a ring with one fresh key.
func NewRing() *Ring { return (&Ring{}).Add() }

// Add returns a ring with one more key, which is its current one. Values sealed before stay readable.
func (r *Ring) Add() *Ring {
	keys := maps.Clone(r.keys)
	if keys == nil {
		keys = map[uint32]Key{}
	}
	keys[r.current+1] = NewKey()
	return newRing(keys, r.current+1)
}

// Retire returns a ring without every key but the current one: for when no value under the old ones is left.
func (r *Ring) Retire() *Ring {
	return newRing(map[uint32]Key{r.current: r.keys[r.current]}, r.current)
}

func newRing(keys map[uint32]Key, current uint32) *Ring {
	return &Ring{keys: keys, current: current, derived: map[purpose]cipher.AEAD{}}
}

// Len is how many keys the ring holds: more than one while values are sealed anew.
func (r *Ring) Len() int { return len(r.keys) }

// Current is the number of the key that seals new values.
func (r *Ring) Current() uint32 { return r.current }

// KeyOf returns the number of the data key that a sealed value names, 0 if it is not a sealed value.
func KeyOf(sealed []byte) uint32 {
	if len(sealed) < nonceEnd || sealed[0] != version {
		return 0
	}
	return binary.BigEndian.Uint32(sealed[1:])
}

// Mark names one sealing: its key and its random nonce.
type Mark [nonceEnd]byte

// MarkOf returns the mark of a sealed value; two values of one mark are the same value. What is no sealed value has the
// zero mark.
func MarkOf(sealed []byte) (m Mark) {
	if KeyOf(sealed) != 0 {
		copy(m[:], sealed)
	}
	return m
}

// Seal encrypts plain under the current key for one label, bound to ad.
func (r *Ring) Seal(label string, plain, ad []byte) []byte {
	return sealWith(r.cipher(purpose{r.current, label}), r.current, plain, ad)
}

// Open returns the plain text of a value that Seal made with the same label and ad. Errors: ErrOpen.
func (r *Ring) Open(label string, sealed, ad []byte) ([]byte, error) {
	aead := r.cipher(purpose{KeyOf(sealed), label})
	if aead == nil {
		return nil, ErrOpen
	}
	return openWith(aead, sealed, ad)
}

// cipher returns the derived cipher, nil for a key that is not in the ring.
func (r *Ring) cipher(p purpose) cipher.AEAD {
	r.mu.RLock()
	aead := r.derived[p]
	r.mu.RUnlock()
	if aead != nil {
		return aead
	}
	key, ok := r.keys[p.key]
	if !ok {
		return nil
	}
	aead = newAEAD(key.Derive("data/" + p.label))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.derived[p] = aead
	return aead
}

func newAEAD(key []byte) cipher.AEAD {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		panic("seal: " + err.Error()) // only for a wrong length
	}
	return aead
}

func sealWith(aead cipher.AEAD, id uint32, plain, ad []byte) []byte {
	out := make([]byte, nonceEnd, nonceEnd+len(plain)+aead.Overhead())
	out[0] = version
	binary.BigEndian.PutUint32(out[1:], id)
	nonce := out[1+idSize : nonceEnd]
	rand.Read(nonce)
	return aead.Seal(out, nonce, plain, ad)
}

func openWith(aead cipher.AEAD, sealed, ad []byte) ([]byte, error) {
	if len(sealed) < nonceEnd {
		return nil, ErrOpen
	}
	plain, err := aead.Open(nil, sealed[1+idSize:nonceEnd], sealed[nonceEnd:], ad)
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}
