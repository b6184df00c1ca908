package storage

import (
	"context"
	"crypto/subtle"
	"time"

	"hostedmcp/auth/oauth"
)

// Code is an authorization code (protocol.md §5.2). Its key is the SHA-256 of the code; a redeemed one is kept for a
// while, so that a replay is known as one.
type Code struct {
	GrantID, ClientID, RedirectURI, Challenge, Resource string
	Expires                                             time.Time
	Redeemed                                            time.Time // zero = not yet
}

type codeRecord struct {
	Code
	forget time.Time // of a redeemed one
}

func (r *codeRecord) fields(c *codec) {
	text(c, &r.GrantID)
	text(c, &r.ClientID)
	text(c, &r.RedirectURI)
	text(c, &r.Challenge)
	text(c, &r.Resource)
	when(c, &r.Expires)
	when(c, &r.Redeemed)
	when(c, &r.forget)
}

// look is when its reminder is set.
func (r *codeRecord) look() time.Time {
	if !r.forget.IsZero() {
		return r.forget
	}
	return r.Expires
}

func (t *txn) saveCode(key string, r *codeRecord, from, to time.Time) {
	t.save(codesBucket, key, r)
	t.redue(dueCode, from, to, key)
}

// Code returns a code by its hash. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) Code(hash [32]byte) (Code, error) {
	var r codeRecord
	err := s.view(func(t *txn) error {
		if !t.load(codesBucket, string(hash[:]), &r) {
			return ErrNotFound
		}
		return nil
	})
	if err != nil {
		return Code{}, err
	}
	return r.Code, nil
}

// Redeem is a code presented at /token by an authenticated client.
type Redeem struct {
	Hash        [32]byte
	ClientID    string
	RedirectURI string        // "" = not sent (OAuth 2.1 allows that)
	Resource    string        // the canonical one
	Challenge   string        // S256 of the verifier sent
	Memory      time.Duration // how long the redeemed code is kept (`code_memory`)
	Event       Event
}

// RedeemCode compares everything, then consumes the code and starts the refresh family at generation 1, in one commit.
// A verdict other than "" says why not: code_invalid, pkce_failed, target_invalid, code_expired, grant_ended; nothing is
// consumed then. code_replay is the code again with client, redirect_uri and verifier right: the grant has ended by
// it. Errors: ErrUnavailable; the code may be presented again after it.
func (s *Store) RedeemCode(ctx context.Context, r Redeem) (g Grant, verdict oauth.Reason, err error) {
	err = s.write(ctx, func(t *txn) error {
		g, verdict = t.redeem(r)
		return nil
	})
	if verdict == "" {
		s.codes.note(r.Hash, struct{}{}, err)
	}
	if err != nil {
		return Grant{}, "", err
	}
	return g, verdict, nil
}

func (t *txn) redeem(r Redeem) (Grant, oauth.Reason) {
	key := string(r.Hash[:])
	var code codeRecord
	if !t.load(codesBucket, key, &code) {
		return Grant{}, oauth.CodeInvalid
	}
	fault := code.compare(r) // before anything else: a forged presentation must have no effect at all
	if !code.Redeemed.IsZero() && (fault == "" || fault == oauth.TargetInvalid) {
		return t.redeemAgain(&code, r)
	}
	g, ok := t.grant(code.GrantID)
	switch {
	case fault != "":
		return Grant{}, fault
	case !ok:
		return Grant{}, oauth.CodeInvalid
	case !g.Living():
		return g.Grant, oauth.GrantEnded
	case t.now.After(code.Expires):
		return Grant{}, oauth.CodeExpired
	}
	// Consumed and issued in one commit: there is no moment in which the code is spent and nothing made of it.
	code.Redeemed, code.forget = t.now, t.now.Add(r.Memory)
	t.saveCode(key, &code, code.Expires, code.forget)
	t.claim(g, r.Event)
	return g.Grant, ""
}

// compare looks at everything the client sent, in constant time. An absent redirect_uri is right ([C6]).
func (r *codeRecord) compare(p Redeem) oauth.Reason {
	if p.RedirectURI == "" {
		p.RedirectURI = r.RedirectURI
	}
	client, redirect := same(r.ClientID, p.ClientID), same(r.RedirectURI, p.RedirectURI)
	challenge, resource := same(r.Challenge, p.Challenge), same(r.Resource, p.Resource)
	switch {
	case !client || !redirect:
		return oauth.CodeInvalid
	case !challenge:
		return oauth.PKCEFailed
	case !resource:
		return oauth.TargetInvalid
	}
	return ""
}

// same refuses the empty value, which an incomplete record or request would both have.
func same(a, b string) bool {
	return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// claim starts the refresh family.
func (t *txn) claim(g *grantRecord, e Event) {
	t.issue(g, 1)
	g.Redeemed = true
	u, _ := t.upstream(g.ID)
	t.setState(g, u.state())
	e.Reason = oauth.CodeRedeemed
	t.journal(g, e)
	t.saveGrant(g)
	t.useClient(g.ClientID, clientStale, 0)
}

// redeemAgain is a replay: whoever has code and verifier stole both, or is robbed. The grant ends, unless nobody ever
// got an answer, because our own disk failed, or the time to remember is over.
func (t *txn) redeemAgain(code *codeRecord, r Redeem) (Grant, oauth.Reason) {
	g, ok := t.grant(code.GrantID)
	switch {
	case !ok, t.now.After(code.forget):
		return Grant{}, oauth.CodeInvalid
	case !g.Living():
		return g.Grant, oauth.CodeReplay
	}
	if _, ok := t.codes.get(r.Hash); ok {
		return g.Grant, ""
	}
	t.end(g, oauth.CodeReplay, r.Event)
	t.saveGrant(g)
	return g.Grant, oauth.CodeReplay
}
