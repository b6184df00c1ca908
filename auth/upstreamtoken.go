package auth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/storage"
)

// UpstreamToken returns the provider's access token of the grant's user, renewed if it is due. Errors are
// *oauth.Error: invalid_token with grant_ended, or temporarily_unavailable while the provider or the store is in
// trouble, with RetryAfter.
func (s *Server) UpstreamToken(ctx context.Context, grantID string) (oauth.Secret, error) {
	r := s.renew(ctx, grantID, renewal{wait: s.upstream.Timeout.D()})
	switch {
	case r.ended != "":
		return "", grantEnded(oauth.InvalidToken, r.ended)
	case r.trouble == "":
		return r.token, nil
	}
	// in trouble, a token that is nearly out but still valid serves
	if up, err := s.store.Upstream(grantID); err == nil && !up.Quarantined && s.usable(up, s.now(), 0) {
		return up.Access, nil
	}
	return "", r.unavailable()
}

// Userinfo asks the provider's userinfo endpoint (OpenID Connect Core §5.3) with the user's own upstream token. A 401
// there means that the token died early: it is renewed once.
func (s *Server) Userinfo(ctx context.Context, grantID string) (json.RawMessage, error) {
	g, err := s.store.Grant(grantID)
	if err != nil {
		return nil, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	token, err := s.UpstreamToken(ctx, grantID)
	if err != nil {
		return nil, err
	}
	body, status, err := s.askUserinfo(ctx, token, g.Subject)
	if status == http.StatusUnauthorized {
		r := s.renew(ctx, grantID, renewal{force: true, wait: s.upstream.Timeout.D()})
		switch {
		case r.ended != "":
			return nil, grantEnded(oauth.InvalidToken, r.ended)
		case r.trouble != "":
			return nil, r.unavailable()
		}
		body, _, err = s.askUserinfo(ctx, r.token, g.Subject)
	}
	if err != nil {
		return nil, providerUnavailable(err)
	}
	return body, nil
}

// askUserinfo also holds the answer's sub against the grant's (OpenID Connect Core §5.3.2): an answer about somebody
// else must reach nobody.
func (s *Server) askUserinfo(ctx context.Context, token oauth.Secret, subject string) (json.RawMessage, int, error) {
	body, status, err := s.provider.Userinfo(ctx, token)
	if err == nil && upstream.Subject(body) != subject {
		err = oauth.Unavailable(oauth.SubjectChanged, errors.New("userinfo names another subject"))
		s.alarm(ctx, oauth.SubjectChanged, "userinfo names another person than the grant's", err)
	}
	return body, status, err
}

// recheckIfDue asks the provider in the background when its last good answer about a used grant is older than
// `recheck`: this bounds how long somebody whose account was closed goes on (protocol.md §8.1.7).
func (s *Server) recheckIfDue(g storage.Grant, now time.Time) {
	if now.Sub(g.Answered) < s.upstream.Recheck.D() {
		return
	}
	if _, paused := s.resting(g.ID); paused {
		return
	}
	if r, ok := s.fresh(g.ID, renewal{recheck: true}); ok && r.token == "" {
		return
	}
	s.board(context.Background(), g.ID, renewal{recheck: true})
}

// recheckUserinfo is the cheap recheck, while the upstream access token is valid: the provider is asked for the user.
// A 401 says that the token or its session is gone; the refresh then says which.
func (s *Server) recheckUserinfo(ctx context.Context, up storage.Upstream) renewed {
	g, err := s.store.Grant(up.GrantID)
	if err != nil {
		return renewed{trouble: oauth.StorageUnavailable, err: err}
	}
	_, status, err := s.askUserinfo(ctx, up.Access, g.Subject)
	if up.Refresh != "" && (status == http.StatusUnauthorized || errors.Is(err, upstream.ErrNoUserinfo)) {
		return s.ask(ctx, up, renewal{note: oauth.RecheckOK})
	}
	if err != nil {
		var e *oauth.Error
		errors.As(providerUnavailable(err), &e)
		return s.rest(up.GrantID, renewed{trouble: e.Reason, err: err, since: up.TroubleSince, retryAfter: e.RetryAfter})
	}
	if err := s.store.RecheckOK(ctx, up.GrantID, up.KeepaliveAt, s.event(ctx, oauth.RecheckOK, "")); err != nil {
		return renewed{trouble: oauth.StorageUnavailable, err: err}
	}
	s.awake(up.GrantID)
	return renewed{token: up.Access}
}
