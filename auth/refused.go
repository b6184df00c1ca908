package auth

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"time"

	"hostedmcp/auth/oauth"
)

// A token that the provider revoked looks good to whoever holds it, until an API that asks the provider answers 401
// (RFC 6750 §3.1). That is one API's word: it makes us ask for another token, and takes none from anybody.

// refusedAgain is how long after one refusal the next one of the same grant and audience counts for nothing: an API
// that refuses every token must not cost a request to the provider at every call.
const refusedAgain = 5 * time.Minute

// refusals remembers the last refusal of each grant and audience; audience "" is the user's own upstream token. mu guards
// it and is never held over the store or the network.
type refusals struct {
	mu sync.RWMutex
	of map[exchangeKey]refusal
}

// refusal is of a token by its hash: memory holds no credential of a grant that ended.
type refusal struct {
	token [sha256.Size]byte
	at    time.Duration // uptime
	met   bool          // another token was asked for and came, be it the same again
}

// note remembers a refusal, unless it is too soon after the last.
func (r *refusals) note(key exchangeKey, token oauth.Secret, now time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.of[key]; ok && now < last.at+refusedAgain {
		return false
	}
	r.of[key] = refusal{token: hashOf(token.Reveal()), at: now}
	return true
}

// open says whether a token was refused and nothing has come in its place.
func (r *refusals) open(key exchangeKey, token oauth.Secret) bool {
	last, ok := r.last(key)
	return ok && !last.met && last.token == hashOf(token.Reveal())
}

func (r *refusals) last(key exchangeKey) (refusal, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	last, ok := r.of[key]
	return last, ok
}

// answered notes that another token came.
func (r *refusals) answered(key exchangeKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.of[key]; ok {
		last.met = true
		r.of[key] = last
	}
}

// forget drops what says nothing any more.
func (r *refusals) forget(now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, last := range r.of {
		if now >= last.at+refusedAgain {
			delete(r.of, key)
		}
	}
}

// TokenRefused is told that an API answered 401 to a token of UpstreamToken (audience "") or ExchangedToken, which the
// caller asks for anew then: once, for what comes may be the same, if the provider is in trouble or the last refusal was
// a moment ago.
func (s *Server) TokenRefused(ctx context.Context, grantID, audience string, token oauth.Secret) {
	key := exchangeKey{grantID, audience}
	if token == "" || token != s.inUse(key) { // one that is not given out any more: it was refused already, or ran out
		return
	}
	if s.refusals.note(key, token, s.uptime()) {
		s.log.LogAttrs(ctx, slog.LevelInfo, "an API refused a token that should be good; another one is asked for",
			slog.String("grant", grantID), slog.String("audience", audience))
	}
}

// inUse is the token that is given out now, "" = none.
func (s *Server) inUse(key exchangeKey) oauth.Secret {
	if key.audience != "" {
		token, _ := s.exchanges.get(key, s.uptime())
		return token
	}
	up, err := s.store.Upstream(key.grant)
	if err != nil {
		return ""
	}
	return up.Access
}

// instead is the user's own token in place of one that an API refused; false = nobody did, or there is none to be had
// now, and what is stored goes on.
func (s *Server) instead(ctx context.Context, grantID string) (oauth.Secret, bool) {
	key := exchangeKey{grant: grantID}
	if last, known := s.refusals.last(key); !known || last.met {
		return "", false
	}
	up, err := s.store.Upstream(grantID)
	// An API's word is no reason to use a refresh token that may be spent: that can end the grant.
	if err != nil || inDoubt(up) || !s.refusals.open(key, up.Access) {
		return "", false
	}
	token, err := s.upstreamToken(ctx, grantID, renewal{refused: up.Access, wait: s.toolWait()})
	if err != nil {
		return "", false
	}
	s.refusals.answered(key)
	return token, true
}
