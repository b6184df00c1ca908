package storage

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
)

// by_subject finds grants by their person, by_session by the provider's session:
//
//	by_subject   's' │ subject │ 0 │ grant id   living grants
//	             't' │ subject │ 0 │ grant id   tombstones: whoever looks at the living passes none of them
//	             'e' │ HMAC(lower-case e-mail) │ 0 │ grant id   both
//	by_session   HMAC(sid) │ 0 │ grant id   living grants
//
// A subject holds no control character (protocol.md §4.5) and the HMACs have one length, so the zero byte parts them.
const (
	indexLiving = "s"
	indexEnded  = "t"
	indexEmail  = "e"
)

// subjectPrefix is what the entries of one subject begin with. The zero byte ends it: alice is not alice2.
func subjectPrefix(kind, subject string) string { return kind + subject + "\x00" }

// emailPrefix keeps addresses out of the file. "" for no address.
func (s *Store) emailPrefix(email string) string {
	if email == "" {
		return ""
	}
	mac := hmac.New(sha256.New, s.Key("email"))
	mac.Write([]byte(strings.ToLower(email)))
	return indexEmail + string(mac.Sum(nil)) + "\x00"
}

func (t *txn) index(prefix, id string) {
	if prefix != "" {
		t.put(subjectBucket, prefix+id, []byte{})
	}
}

func (t *txn) unindex(prefix, id string) {
	if prefix != "" {
		t.del(subjectBucket, prefix+id)
	}
}

// sessionKey is an entry of by_session. The HMAC comes from the caller, which alone knows the session's name.
func sessionKey(sid, id string) string { return sid + "\x00" + id }

// ids returns the grant ids behind a prefix of an index.
func (t *txn) ids(b bucket, prefix string) []string {
	var ids []string
	t.each(b, prefix, "", func(k string, _ []byte) bool {
		ids = append(ids, k[len(prefix):])
		return true
	})
	return ids
}

// GrantsOf returns all grants of a subject, tombstones last.
func (s *Store) GrantsOf(subject string) (grants []Grant, err error) {
	err = s.view(func(t *txn) error {
		grants = append(t.grants(t.ids(subjectBucket, subjectPrefix(indexLiving, subject))),
			t.grants(t.ids(subjectBucket, subjectPrefix(indexEnded, subject)))...)
		return nil
	})
	return grants, err
}

// GrantsByEmail returns all grants whose identity has this address, in whatever case it is written.
func (s *Store) GrantsByEmail(email string) (grants []Grant, err error) {
	if email == "" {
		return nil, nil
	}
	err = s.view(func(t *txn) error {
		grants = t.grants(t.ids(subjectBucket, s.emailPrefix(email)))
		return nil
	})
	return grants, err
}

// LivingInSession counts the living grants in a provider session, named by its HMAC as in Grant.Sid. No name, none.
func (s *Store) LivingInSession(sid string) (n int, err error) {
	if sid == "" {
		return 0, nil
	}
	err = s.view(func(t *txn) error {
		n = t.countKeys(sessionBucket, sid+"\x00")
		return nil
	})
	return n, err
}

// Siblings counts the other living grants in the provider session of a grant, and those of them that are not in doubt
// (protocol.md §8.3, §5.3 at the end); an intent of an earlier run is doubt. A grant without a session has none.
func (s *Store) Siblings(id string) (living, healthy int, err error) {
	err = s.view(func(t *txn) error {
		g, ok := t.grant(id)
		if !ok {
			return ErrNotFound
		}
		if g.Sid == "" {
			return nil
		}
		for _, other := range t.ids(sessionBucket, g.Sid+"\x00") {
			if other == id {
				continue
			}
			living++
			if u, ok := t.upstream(other); ok && !u.InDoubt && (u.Intent == nil || u.Intent.Boot == s.boot) {
				healthy++
			}
		}
		return nil
	})
	return living, healthy, err
}
