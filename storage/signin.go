package storage

import (
	"context"
	"time"
)

// SignIn is a browser's signed-in state on the status page. The cookie's value is stored as its hash only; the rest is
// sealed.
type SignIn struct {
	Hash     [32]byte // SHA-256 of the cookie
	Subject  string
	Identity Identity
	Expires  time.Time
}

func (s *SignIn) fields(c *codec) {
	text(c, &s.Subject)
	when(c, &s.Expires)
	s.Identity.fields(c)
}

// SaveSignIn stores a sign-in until it expires.
func (s *Store) SaveSignIn(ctx context.Context, in SignIn) error {
	return s.write(ctx, func(t *txn) error {
		t.save(signinsBucket, string(in.Hash[:]), &in)
		t.due(dueSignIn, in.Expires, string(in.Hash[:]))
		return nil
	})
}

// SignIn returns a sign-in by the hash of its cookie. Errors: ErrNotFound, ErrExpired, ErrUnavailable.
func (s *Store) SignIn(hash [32]byte) (SignIn, error) {
	out := SignIn{Hash: hash}
	err := s.view(func(t *txn) error {
		if !t.load(signinsBucket, string(hash[:]), &out) {
			return ErrNotFound
		}
		if t.now.After(out.Expires) {
			return ErrExpired
		}
		return nil
	})
	if err != nil {
		return SignIn{}, err
	}
	return out, nil
}

// EndSignIn forgets a sign-in; one that is not there is no error.
func (s *Store) EndSignIn(ctx context.Context, hash [32]byte) error {
	return s.write(ctx, func(t *txn) error { t.endSignIn(string(hash[:])); return nil })
}

func (t *txn) endSignIn(key string) {
	var old SignIn
	if t.load(signinsBucket, key, &old) {
		t.undue(dueSignIn, old.Expires, key)
		t.del(signinsBucket, key)
	}
}
