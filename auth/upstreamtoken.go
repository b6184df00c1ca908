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
	if token, ok := s.instead(ctx, grantID); ok {
		return token, nil
	}
	return s.upstreamToken(ctx, grantID, renewal{wait: s.toolWait()})
}

// toolWait is how long a tool call waits: for the provider's whole time, and a moment for the commit behind it, so that
// it hears what became of the request rather than that it is still under way.
func (s *Server) toolWait() time.Duration { return s.upstream.Timeout.D() + time.Second }

// upstreamToken renews for what is wanted; in trouble whatever is left of the stored token still serves.
func (s *Server) upstreamToken(ctx context.Context, grantID string, want renewal) (oauth.Secret, error) {
	r := s.renew(ctx, grantID, want)
	switch {
	case r.ended != "":
		return "", grantEnded(oauth.InvalidToken, r.ended)
	case r.trouble == "":
		return r.token, nil
	}
	if token, ok := s.remainder(grantID, want); ok {
		return token, nil
	}
	return "", r.unavailable()
}

// remainder is the stored token that is nearly out but still valid: in trouble it serves. It is for calls alone:
// /token answers trouble by the outage grace. The end of the grant, quarantine and an id_token that is not judged yet
// are looked for again, since the flight has taken its time.
func (s *Server) remainder(grantID string, want renewal) (oauth.Secret, bool) {
	unjudged := s.judging(grantID)
	g, err := s.store.Grant(grantID)
	if err != nil || g.Ended != "" {
		return "", false
	}
	up, err := s.store.Upstream(grantID)
	if err != nil || up.Quarantined || unjudged || s.judging(grantID) || up.Access == want.refused {
		return "", false
	}
	return up.Access, s.usable(up, s.now(), 0)
}

// Userinfo asks the provider's userinfo endpoint (OpenID Connect Core §5.3) with the user's own upstream token. A 401
// there means that the token died early: it is renewed once.
func (s *Server) Userinfo(ctx context.Context, grantID string) (json.RawMessage, error) {
	g, err := s.store.Grant(grantID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, oauth.Fail(oauth.InvalidToken, oauth.GrantEnded)
	case err != nil:
		return nil, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	token, err := s.UpstreamToken(ctx, grantID)
	if err != nil {
		return nil, err
	}
	body, status, err := s.askUserinfo(ctx, token, g.Subject)
	// Once, or a provider that refuses its own fresh tokens would be asked for ever.
	if status == http.StatusUnauthorized {
		if token, err = s.upstreamToken(ctx, grantID, renewal{refused: token, wait: s.toolWait()}); err != nil {
			return nil, err
		}
		body, _, err = s.askUserinfo(ctx, token, g.Subject)
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
	s.health.heard(s.now(), status, err)
	if err == nil && upstream.Subject(body) != subject {
		body, err = nil, oauth.Unavailable(oauth.SubjectChanged, errors.New("userinfo names another subject"))
		s.alarm(ctx, oauth.SubjectChanged, "userinfo names another person than the grant's", err)
	}
	return body, status, err
}

// recheckDue says whether the provider's last good answer about a grant is older than `recheck`. One from the future
// says that the clock was set back: how old it is nobody knows. It needs no more than the grant record, which the
// call has read anyway.
func (s *Server) recheckDue(g storage.Grant, now time.Time) bool {
	age := now.Sub(g.Answered)
	return age >= s.upstream.Recheck.D() || age < -leeway
}

// recheckIfDue asks the provider in the background about a grant in use: this bounds how long somebody whose account
// was closed goes on (protocol.md §8.1 rule 7).
func (s *Server) recheckIfDue(g storage.Grant, now time.Time) {
	if !s.recheckDue(g, now) {
		return
	}
	for _, e := range []errand{{grant: g.ID}, {grant: g.ID, recheck: true}} {
		if _, paused := s.resting(e); paused {
			return
		}
	}
	// The call does not wait and its context is not taken along: many calls share what comes of it.
	s.board(context.Background(), g.ID, renewal{recheck: true, note: oauth.RecheckOK})
}

// recheck is the cheap one, while the upstream access token is valid: the provider is asked for the user. A 401 says
// that the token or its session is gone; the refresh then says which, by the rules of any refresh.
func (s *Server) recheck(ctx context.Context, f *flight, up storage.Upstream) renewed {
	if r, ok := s.resting(errand{grant: up.GrantID, recheck: true}); ok {
		return r
	}
	g, err := s.store.Grant(up.GrantID)
	if err != nil {
		return renewed{trouble: oauth.StorageUnavailable, err: err}
	}
	var status int
	r := s.inSlot(ctx, func() (r renewed) {
		_, status, err = s.askUserinfo(ctx, up.Access, g.Subject)
		return r
	})
	switch {
	case r.trouble != "":
		return r
	// Without a refresh token nothing can be asked further: the grant ends with its access token.
	case up.Refresh != "" && (status == http.StatusUnauthorized || errors.Is(err, upstream.ErrNoUserinfo)):
		f.want.refused = up.Access
		return s.refreshUpstream(ctx, f, up)
	case err != nil:
		var e *oauth.Error
		errors.As(providerUnavailable(err), &e)
		return s.rest(errand{grant: up.GrantID, recheck: true}, renewed{trouble: e.Reason, err: err, since: up.TroubleSince, retryAfter: e.RetryAfter})
	}
	if err := s.store.RecheckOK(ctx, up.GrantID, time.Time{}, s.event(ctx, oauth.RecheckOK, "")); err != nil {
		return s.notKept(up.GrantID, err)
	}
	s.awake(errand{grant: up.GrantID, recheck: true})
	return renewed{token: up.Access}
}
