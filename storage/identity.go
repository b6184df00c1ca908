package storage

import "encoding/json"

// Identity is what the provider last said of the user. It is sealed.
type Identity struct {
	Subject                        string
	Name, PreferredUsername, Email string
	EmailVerified                  bool
	Groups                         []string
	Claims                         json.RawMessage // exactly the configured claims, as sent
}

func (i *Identity) fields(c *codec) {
	text(c, &i.Subject)
	text(c, &i.Name)
	text(c, &i.PreferredUsername)
	text(c, &i.Email)
	flag(c, &i.EmailVerified)
	list(c, &i.Groups)
	text(c, &i.Claims)
}

// Identity returns the claims of a grant's user, of an ended grant too. What it points to is shared. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) Identity(grantID string) (Identity, error) {
	var i Identity
	err := s.view(func(t *txn) error {
		if !loadOpened(t, &s.identities, identitiesBucket, grantID, &i, func(*Identity) {}) {
			return ErrNotFound
		}
		return nil
	})
	return i, err
}

// saveIdentity writes renewed claims, if they are new, and moves the entry by e-mail.
func (t *txn) saveIdentity(id string, i Identity) {
	var old Identity // the same claims come with nearly every refresh: no write for that
	if t.load(identitiesBucket, id, &old) && string(encode(&old)) == string(encode(&i)) {
		return
	}
	t.save(identitiesBucket, id, &i)
	if from, to := t.emailPrefix(old.Email), t.emailPrefix(i.Email); from != to {
		t.unindex(from, id)
		t.index(to, id)
	}
}
