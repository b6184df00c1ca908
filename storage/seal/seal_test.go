package seal_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"hostedmcp/storage/seal"
)

func TestOpenOnlyWhereItBelongs(t *testing.T) {
	ring := seal.NewRing()
	sealed := ring.Seal("upstream", []byte("secret"), []byte("upstream\x00a"))
	altered := bytes.Clone(sealed)
	altered[len(altered)-1] ^= 1
	nonce := bytes.Clone(sealed)
	nonce[10] ^= 1
	for _, row := range []struct {
		name, label, ad string
		ring            *seal.Ring
		value           []byte
		ok              bool
	}{
		{"its own place", "upstream", "upstream\x00a", ring, sealed, true},
		{"a later ring", "upstream", "upstream\x00a", ring.Add(), sealed, true},
		{"another record", "upstream", "upstream\x00b", ring, sealed, false},
		{"another bucket", "upstream", "identities\x00a", ring, sealed, false},
		{"another purpose", "ticket", "upstream\x00a", ring, sealed, false},
		{"another ring", "upstream", "upstream\x00a", seal.NewRing(), sealed, false},
		{"the key retired", "upstream", "upstream\x00a", ring.Add().Retire(), sealed, false},
		{"altered", "upstream", "upstream\x00a", ring, altered, false},
		{"another nonce", "upstream", "upstream\x00a", ring, nonce, false},
		{"cut", "upstream", "upstream\x00a", ring, sealed[:len(sealed)-1], false},
		{"header only", "upstream", "upstream\x00a", ring, sealed[:29], false},
		{"nothing", "upstream", "upstream\x00a", ring, nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			plain, err := row.ring.Open(row.label, row.value, []byte(row.ad))
			if row.ok && (err != nil || string(plain) != "secret") {
				t.Fatalf("Open = %q, %v", plain, err)
			}
			if !row.ok && (!errors.Is(err, seal.ErrOpen) || plain != nil) {
				t.Fatalf("Open = %q, %v; want ErrOpen and nothing", plain, err)
			}
		})
	}
}

func TestSealHidesAndNeverRepeats(t *testing.T) {
	ring := seal.NewRing()
	a, b := ring.Seal("x", []byte("same secret"), nil), ring.Seal("x", []byte("same secret"), nil)
	if bytes.Equal(a, b) {
		t.Error("two seals of one value are equal: the nonce repeats")
	}
	if bytes.Contains(a, []byte("secret")) {
		t.Error("clear text in a sealed value")
	}
	if next := ring.Add(); seal.KeyOf(next.Seal("x", nil, nil)) != next.Current() || seal.KeyOf(a) != ring.Current() {
		t.Error("a sealed value does not name its key")
	}
}

func TestWrap(t *testing.T) {
	keys := seal.NewKeys()
	keys.Ring = keys.Ring.Add()
	master := seal.NewKey()
	wrapped := keys.Wrap(master)
	value := keys.Ring.Seal("x", []byte("v"), nil)

	got, err := seal.Unwrap(master, wrapped)
	if err != nil || got.Store != keys.Store || got.Ring.Current() != 2 {
		t.Fatalf("Unwrap = %v", err)
	}
	if plain, err := got.Ring.Open("x", value, nil); err != nil || string(plain) != "v" {
		t.Fatalf("after Unwrap: Open = %q, %v", plain, err)
	}
	if _, err := seal.Unwrap(seal.NewKey(), wrapped); !errors.Is(err, seal.ErrMaster) {
		t.Errorf("wrong master key: %v, want ErrMaster", err)
	}
	wrapped[len(wrapped)-1] ^= 1
	if _, err := seal.Unwrap(master, wrapped); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("damaged: %v, want ErrOpen", err)
	}
	if _, err := seal.Unwrap(master, nil); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("empty: %v, want ErrOpen", err)
	}
}

func TestKeysStaySilent(t *testing.T) {
	k := seal.NewKey()
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%v", k), fmt.Sprintf("%#v", k)} {
		if s != "[redacted]" {
			t.Errorf("a key prints as %q", s)
		}
	}
	if bytes.Equal(k.Derive("a"), k.Derive("b")) || !bytes.Equal(k.Derive("a"), k.Derive("a")) {
		t.Error("derived keys do not depend on the label alone")
	}
}

// TestMark: a mark is of one sealing, and of nothing that is none.
func TestMark(t *testing.T) {
	r := seal.NewRing()
	a, b := r.Seal("record", []byte("x"), nil), r.Seal("record", []byte("x"), nil)
	if seal.MarkOf(a) != seal.MarkOf(bytes.Clone(a)) || seal.MarkOf(a) == seal.MarkOf(b) || seal.MarkOf(a) == (seal.Mark{}) {
		t.Error("two sealings look alike, or one like two")
	}
	for _, other := range [][]byte{nil, []byte("plain"), a[:10], append([]byte{0}, a[1:]...)} {
		if seal.MarkOf(other) != (seal.Mark{}) {
			t.Errorf("%q has a mark", other)
		}
	}
}
