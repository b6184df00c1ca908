package seal

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
)

// ErrMaster says that keys were wrapped with another master key than the one presented.
var ErrMaster = errors.New("seal: wrapped with another master key")

// Keys is everything that the master key protects.
type Keys struct {
	Store Key // never rotated
	Ring  *Ring
}

// NewKeys draws the keys of a new store.
func NewKeys() Keys { return Keys{Store: NewKey(), Ring: NewRing()} }

var wrapAD = []byte("hostedmcp keys")

// Wrap seals k under a master key:
//
//	store key (32) │ number of the current data key (4) │ { number (4) │ data key (32) } …
func (k Keys) Wrap(master Key) []byte {
	plain := append([]byte{}, k.Store[:]...)
	plain = binary.BigEndian.AppendUint32(plain, k.Ring.current)
	for _, id := range slices.Sorted(maps.Keys(k.Ring.keys)) {
		key := k.Ring.keys[id]
		plain = binary.BigEndian.AppendUint32(plain, id)
		plain = append(plain, key[:]...)
	}
	return sealWith(newAEAD(master.Derive("wrap")), master.check(), plain, wrapAD)
}

// check is a short public name of a master key, so that a wrong key can be told from a damaged file.
func (k Key) check() uint32 { return binary.BigEndian.Uint32(k.Derive("check")) | 1 }

// Unwrap opens what Wrap made. Errors: ErrMaster for another master key, ErrOpen for damaged bytes.
func Unwrap(master Key, wrapped []byte) (Keys, error) {
	if KeyOf(wrapped) == 0 {
		return Keys{}, ErrOpen
	}
	if KeyOf(wrapped) != master.check() {
		return Keys{}, ErrMaster
	}
	plain, err := openWith(newAEAD(master.Derive("wrap")), wrapped, wrapAD)
	if err != nil {
		return Keys{}, err
	}
	const one = idSize + KeySize
	if len(plain) < one || (len(plain)-one)%one != 0 {
		return Keys{}, ErrOpen
	}
	keys := map[uint32]Key{}
	for rest := plain[one:]; len(rest) > 0; rest = rest[one:] {
		keys[binary.BigEndian.Uint32(rest)] = Key(rest[idSize:one])
	}
	current := binary.BigEndian.Uint32(plain[KeySize:])
	if _, ok := keys[current]; !ok {
		return Keys{}, ErrOpen
	}
	return Keys{Store: Key(plain[:KeySize]), Ring: newRing(keys, current)}, nil
}
