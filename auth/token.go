package auth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// POST /token (RFC 6749 §3.2; protocol.md §5).

// tokenAnswer is a successful answer (RFC 6749 §5.1); refresh_token and scope are always there.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	Scope        string `json:"scope"`
}

// token is the endpoint. Every answer counts under its grant type and reason, so that a client that loses tokens
// shows in the metrics before its users call.
func (s *Server) token(w http.ResponseWriter, r *http.Request) error {
	answer, grantType, err := s.issue(r)
	if err != nil {
		err = s.withinBudget(r.Context(), err)
	}
	reason := Request(r.Context()).Noted()
	var e *oauth.Error
	if errors.As(err, &e) {
		reason = e.Reason
	}
	s.metrics.tokens.WithLabelValues(grantType, string(reason)).Inc()
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, answer)
}

// issue authenticates the client and hands over to the grant type's own rules. grantType is for the metric: of a
// stranger's word only "other" gets there.
func (s *Server) issue(r *http.Request) (answer *tokenAnswer, grantType string, err error) {
	grantType = "other"
	p, err := formParams(r)
	if err != nil {
		return nil, grantType, err
	}
	c, err := s.authenticateClient(r.Context(), r.Header, p)
	if err != nil {
		return nil, grantType, err
	}
	switch p.Get("grant_type") {
	case "authorization_code":
		answer, err = s.redeem(r.Context(), c, p)
		return answer, "authorization_code", err
	case "refresh_token":
		answer, err = s.refresh(r.Context(), c, p)
		return answer, "refresh_token", err
	case "":
		return nil, grantType, oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(errors.New("grant_type"))
	}
	return nil, grantType, oauth.Fail(oauth.UnsupportedGrantType, oauth.RequestInvalid)
}

// withinBudget counts a failing answer against its address; over the budget it becomes 429, which costs no client its
// tokens. Good answers never count: hosted clients share addresses.
func (s *Server) withinBudget(ctx context.Context, err error) error {
	var e *oauth.Error
	// our own trouble is not the client's failing
	if !errors.As(err, &e) || e.Status >= http.StatusInternalServerError {
		return err
	}
	if limited := s.limits.failed.allow(Request(ctx).Address, s.now()); limited != nil {
		return limited
	}
	return err
}

// pair mints the tokens of g's current generation. scope narrows the access token only. Both are computed and neither
// is stored, so row 6 can give the same refresh token again.
func (s *Server) pair(g storage.Grant, scope oauth.Scope, ttl time.Duration, now time.Time) (*tokenAnswer, error) {
	key, err := s.store.GrantKey(g.ID)
	if err != nil {
		return nil, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	access, life, err := s.mintAccessToken(g, scope, ttl, now)
	if err != nil {
		return nil, oauth.Unavailable(oauth.Internal, err)
	}
	return &tokenAnswer{
		AccessToken: access.Reveal(), TokenType: "Bearer", ExpiresIn: int64(life / time.Second), Scope: scope.String(),
		RefreshToken: mintRefreshToken(key, g.ID, g.Gen, g.ClientID).Reveal(),
	}, nil
}

// redeem exchanges a code for tokens (protocol.md §5.2). Everything is compared inside the transition that consumes
// the code, and a code is consumed only when all is right.
func (s *Server) redeem(ctx context.Context, c client, p oauth.Params) (*tokenAnswer, error) {
	code, verifier := p.Get("code"), p.Get("code_verifier")
	if code == "" || verifier == "" {
		return nil, oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(errors.New("code or code_verifier"))
	}
	// RFC 8707 §2.2. It spends nothing, as the verifier's form below spends nothing.
	if err := s.checkResource(p, s.resource); err != nil {
		return nil, err
	}
	if !oauth.ValidVerifier(verifier) {
		return nil, oauth.Fail(oauth.InvalidGrant, oauth.PKCEFailed)
	}
	now := s.now()
	g, verdict, err := s.store.RedeemCode(ctx, storage.Redeem{
		Hash: hashOf(code), ClientID: c.id, RedirectURI: p.Get("redirect_uri"), Challenge: oauth.S256(verifier),
		Resource: s.resource, Memory: s.tokens.CodeMemory.D(), Event: s.event(ctx, oauth.CodeRedeemed, c.id),
	})
	if err != nil {
		return nil, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	info := Request(ctx)
	info.Grant(g.ID, c.id, s.logSubject(g.Subject))
	if verdict != "" {
		return nil, s.codeRefused(g, verdict)
	}
	info.Reason(oauth.CodeRedeemed)
	return s.pair(g, g.Scope, s.tokens.AccessTTL.D(), now)
}

// codeRefused turns the store's verdict into an answer. All but a foreign resource are invalid_grant (RFC 6749 §5.2),
// the wire's reason says which.
func (s *Server) codeRefused(g storage.Grant, verdict oauth.Reason) error {
	switch verdict {
	case oauth.GrantEnded:
		return grantEnded(oauth.InvalidGrant, g.Ended)
	case oauth.TargetInvalid:
		return oauth.Fail(oauth.InvalidTarget, verdict)
	case oauth.CodeReplay:
		s.wakeLoop() // its upstream token is to be given back
	}
	return oauth.Fail(oauth.InvalidGrant, verdict)
}
