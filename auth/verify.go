package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"sync"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// maxVerified bounds the memory of verified tokens; at 20,000 of about 300 bytes it is 6 MB.
const maxVerified = 20_000

// verified remembers which tokens had a good signature, by SHA-256, so that it is checked once. Whether the grant
// lives is never remembered. A hash and not the token is the key, so that the memory holds no credential. mu guards
// all of it.
type verified struct {
	mu     sync.RWMutex
	claims map[[sha256.Size]byte]*accessToken
	swept  time.Time
}

const verifiedSweep = time.Minute // a full memory is searched for expired tokens no more often

// accessToken is a token that held, with its scope parsed and its subject as the log shows it. It is shared by all
// requests that bring the token and never changed.
type accessToken struct {
	accessClaims
	scope  oauth.Scope
	logged string
}

// get returns nil for a token that was not seen, or was forgotten.
func (v *verified) get(hash [sha256.Size]byte) *accessToken {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.claims[hash]
}

// put remembers t. When full, what is expired goes first, then whatever the map yields: any token can be verified again.
func (v *verified) put(hash [sha256.Size]byte, t *accessToken, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.claims) >= maxVerified && now.Sub(v.swept).Abs() >= verifiedSweep {
		v.swept = now
		for h, old := range v.claims {
			if old.Expires+int64(leeway/time.Second) < now.Unix() {
				delete(v.claims, h)
			}
		}
	}
	for h := range v.claims {
		if len(v.claims) < maxVerified {
			break
		}
		delete(v.claims, h)
	}
	v.claims[hash] = t
}

// drop forgets an expired token.
func (v *verified) drop(hash [sha256.Size]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.claims, hash)
}

// Verify says who stands behind a bearer token. It reads the grant and writes nothing. Its errors are *oauth.Error
// with code invalid_token (token_invalid, token_audience, token_expired, grant_ended) or temporarily_unavailable. Bad
// tokens cost a signature check and are not remembered: strangers must not fill the memory.
func (s *Server) Verify(ctx context.Context, bearer string) (*Identity, error) {
	now := s.now()
	t, err := s.accessToken(bearer, now)
	if err != nil {
		return nil, err
	}
	info := Request(ctx)
	info.Grant(t.Grant, t.ClientID, t.logged)
	g, err := s.livingGrant(t)
	if err != nil {
		return nil, err
	}
	if g.State == storage.StateQuarantined { // protocol.md §8.2: until an operator ends the grant
		return nil, quarantined(storage.Upstream{}).unavailable()
	}
	// In memory; the store flushes it. This is the proof that the client holds this generation (protocol.md §5.3,
	// `used`).
	s.store.Use(g.ID, t.Gen, now)
	s.recheckIfDue(g, now)
	return &Identity{
		GrantID: g.ID, Subject: g.Subject, ClientID: g.ClientID, ClientName: g.ClientName, Scope: t.scope,
		Since: g.Created, Until: s.goodUntil(g), Expires: time.Unix(t.Expires, 0),
	}, nil
}

// accessToken returns the claims of a token that is ours and not expired. exp is judged anew each time, remembered or
// not, by one clock and with its leeway.
func (s *Server) accessToken(bearer string, now time.Time) (*accessToken, error) {
	if len(bearer) == 0 || len(bearer) > maxAccessToken {
		return nil, oauth.Fail(oauth.InvalidToken, oauth.TokenInvalid)
	}
	hash := hashOf(bearer)
	t := s.verified.get(hash)
	// A key that was retired early takes its tokens along, remembered ones too.
	known := t != nil && s.verificationKey(t.kid) != nil
	if !known {
		claims, err := s.readAccessToken(bearer)
		if errors.Is(err, errTokenAudience) {
			return nil, oauth.Fail(oauth.InvalidToken, oauth.TokenAudience)
		}
		if err != nil {
			return nil, oauth.Fail(oauth.InvalidToken, oauth.TokenInvalid).Because(err)
		}
		scope, err := oauth.ParseScope(claims.Scope)
		if err != nil {
			return nil, oauth.Fail(oauth.InvalidToken, oauth.TokenInvalid).Because(err)
		}
		t = &accessToken{accessClaims: claims, scope: scope, logged: s.logSubject(claims.Subject)}
	}
	if now.Unix() >= t.Expires+int64(leeway/time.Second) {
		if known {
			s.verified.drop(hash)
		}
		return nil, oauth.Fail(oauth.InvalidToken, oauth.TokenExpired)
	}
	if !known {
		s.verified.put(hash, t, now)
	}
	return t, nil
}

// livingGrant returns the grant of t if it lives and is still the same client's and user's.
func (s *Server) livingGrant(t *accessToken) (storage.Grant, error) {
	g, err := s.store.Grant(t.Grant)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return g, oauth.Fail(oauth.InvalidToken, oauth.GrantEnded)
	case err != nil:
		return g, oauth.Unavailable(oauth.StorageUnavailable, err)
	case g.Ended != "":
		return g, grantEnded(oauth.InvalidToken, g.Ended)
	// Both are signed, so they can differ only if the record is no longer the one that the token was made from.
	case subtle.ConstantTimeCompare([]byte(g.ClientID), []byte(t.ClientID)) != 1,
		subtle.ConstantTimeCompare([]byte(g.Subject), []byte(t.Subject)) != 1:
		return g, oauth.Fail(oauth.InvalidToken, oauth.TokenInvalid)
	}
	return g, nil
}

// grantEnded names how, since a client can show its user nothing better (protocol.md §8.4).
func grantEnded(code oauth.Code, how oauth.Reason) *oauth.Error {
	e := oauth.Fail(code, oauth.GrantEnded)
	e.Ended = how
	return e
}

// goodUntil is when g ends by itself if it is not used again. It is for people and tools; what ends a grant is the
// store's verdict.
func (s *Server) goodUntil(g storage.Grant) time.Time {
	idle, last := g.LastUse.Add(s.tokens.RefreshIdle.D()), g.Created.Add(s.tokens.RefreshMax.D())
	if idle.Before(last) {
		return idle
	}
	return last
}

// Claims returns what the provider last said of the grant's user. They may be as old as the last good answer: nobody
// is asked here.
func (s *Server) Claims(_ context.Context, grantID string) (UserClaims, error) {
	id, err := s.store.Identity(grantID)
	if err != nil {
		return UserClaims{}, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	return UserClaims{
		Name: id.Name, PreferredUsername: id.PreferredUsername, Email: id.Email, Groups: id.Groups, Raw: id.Claims,
	}, nil
}
