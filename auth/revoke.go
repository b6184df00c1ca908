package auth

import (
	"context"
	"errors"
	"net/http"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// POST /revoke (RFC 7009; protocol.md §6). A token of the asking client ends its grant; everything else is 200
// without effect. 200 is said only after the commit. An unknown token is no error, since its client can do nothing
// about it (RFC 7009 §2.2).
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) error {
	err := s.revokeToken(r)
	if err != nil {
		return s.withinBudget(r.Context(), err)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// token_type_hint is not read: our tokens show what they are (RFC 7009 §2.1 lets us).
func (s *Server) revokeToken(r *http.Request) error {
	ctx := r.Context()
	p, err := formParams(r)
	if err != nil {
		return err
	}
	c, err := s.authenticateClient(ctx, r.Header, p)
	if err != nil {
		return err
	}
	token := p.Get("token")
	if token == "" {
		return oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(errors.New("token"))
	}
	g, err := s.revocable(token)
	if err != nil {
		return err
	}
	// RFC 7009 §2.1: the token must have been issued to the client that asks. Somebody else's ends nothing, and the
	// answer does not say that it is one.
	if g.ID == "" || g.ClientID != c.id || g.Ended != "" {
		return nil
	}
	return s.end(ctx, g, oauth.ClientRevoked)
}

// revocable returns the grant behind a token: a refresh token of any generation, or an access token that would be
// accepted now (an old one out of some log must end nothing; [C11]). The zero Grant is none.
func (s *Server) revocable(token string) (storage.Grant, error) {
	if presented, ok := parseRefreshToken(token); ok {
		g, err := s.authenticGrant(presented)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return g, oauth.Unavailable(oauth.StorageUnavailable, err)
		}
		if err != nil {
			return storage.Grant{}, nil
		}
		return g, nil
	}
	t, err := s.accessToken(token, s.now())
	if err != nil {
		return storage.Grant{}, nil // whatever is wrong with it, there is nothing to end
	}
	g, err := s.livingGrant(t)
	var e *oauth.Error
	// A 200 would say that the token is dead, and nobody could read whether it is (CVE-2020-15223).
	if errors.As(err, &e) && e.Reason == oauth.StorageUnavailable {
		return g, err
	}
	if err != nil {
		return storage.Grant{}, nil
	}
	return g, nil
}

// end ends one grant and starts giving its upstream token back. The user does not wait for the provider: the commit
// has made the tokens worthless here, and the loop tries the rest for days.
func (s *Server) end(ctx context.Context, g storage.Grant, reason oauth.Reason) error {
	info := Request(ctx)
	info.Grant(g.ID, g.ClientID, s.logSubject(g.Subject))
	if _, err := s.store.EndGrant(ctx, g.ID, reason, s.event(ctx, reason, g.ClientID)); err != nil {
		return oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	info.Reason(reason)
	// now rather than with the next tick; a crash in between loses nothing, the store holds what is due
	s.wakeLoop()
	return nil
}
