// Package seal encrypts what the store keeps: records under a ring of data keys, and the ring under a master key that
// lives outside of the store.
//
//	master key ──HKDF "wrap"──► wraps ──► store key   (made once, never rotated: lookups by HMAC hang on it)
//	                                └───► data key 1, 2, … n   (n is the current one)
//	data key i ──HKDF label──► one XChaCha20-Poly1305 key for each record kind and each purpose
//
// A sealed value names its data key, so that a new key can come while old values stay readable:
//
//	version (1 byte = 1) │ data key (4, big-endian) │ nonce (24, random) │ ciphertext and tag
//
// The additional data is what the value belongs to (bucket and key of a record), so that values cannot be swapped:
// one that was copied to another place does not open there. Wrapped keys have the same shape, the check value of the
// master key in the place of the data key's number.
//
// Nonces are random: 192 bits make a repetition impossible in practice, whatever the number of values.
// Sources: RFC 5869 (HKDF), RFC 8439 (ChaCha20-Poly1305), draft-irtf-cfrg-xchacha.
package seal
