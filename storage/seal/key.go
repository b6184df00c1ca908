package seal

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"log/slog"
)

// KeySize is the length of every key here, in bytes.
const KeySize = 32

// Key is a master, store or data key. It never shows itself in a log line.
type Key [KeySize]byte

// NewKey draws a key.
func NewKey() Key {
	var k Key
	rand.Read(k[:]) // never fails (crypto/rand)
	return k
}

// Derive returns the 32 bytes that k gives for a label (HKDF-SHA-256, RFC 5869; the label is the info). Different
// labels give independent keys.
func (k Key) Derive(label string) []byte {
	out, err := hkdf.Key(sha256.New, k[:], nil, "hostedmcp/v1/"+label, KeySize)
	if err != nil {
		panic("seal: HKDF: " + err.Error()) // only for absurd lengths
	}
	return out
}

// String redacts the key, for %v and %s.
func (k Key) String() string { return "[redacted]" }

// GoString redacts the key, for %#v.
func (k Key) GoString() string { return "[redacted]" }

// LogValue redacts the key in logs.
func (k Key) LogValue() slog.Value { return slog.StringValue("[redacted]") }
