package auth

import (
	"context"
	"errors"
	"sync"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// outageTTL is the life of an access token issued while the provider is in trouble (protocol.md §5.4 [C9]): short, so
// that the client asks again soon, and not under the 300 s that some clients refresh ahead.
const outageTTL = 10 * time.Minute

// refresh exchanges a refresh token (RFC 6749 §6; protocol.md §5.3 and §5.4). The verdict is computed inside the
// store's transition; what happens here before it is reading, and asking the provider.
func (s *Server) refresh(ctx context.Context, c client, p oauth.Params) (*tokenAnswer, error) {
	// 1. The token itself: form and MAC (row 1), before anything else is looked at. Here a stranger's guesses end.
	token, g, err := s.presentedToken(ctx, p)
	if err != nil {
		return nil, err
	}
	presented := storage.Presented{
		GrantID: g.ID, Gen: token.gen, ClientID: c.id, Limits: s.limitsOf(), Event: s.event(ctx, oauth.RefreshOK, c.id),
	}
	// 2. What it may still do (rows 2 to 9), without a write.
	g, row, reason, err := s.store.JudgeRefresh(presented)
	if err != nil {
		return nil, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	switch {
	// before scope and resource: a dead or strange token gets no other answer, whatever else is wrong
	case row == storage.RowEnded, row == storage.RowOtherClient:
		return nil, s.refuseRefresh(g, row, reason)
	// trouble, not invalid_grant: the client keeps its token until an operator has looked (protocol.md §8.2)
	case g.State == storage.StateQuarantined && row.Serves():
		return nil, quarantined(storage.Upstream{}).unavailable()
	}
	// 3. Resource and scope spend nothing.
	scope, err := s.narrowed(p, g)
	if err != nil {
		return nil, err
	}
	// 4. The provider, if its token is due (rows 5 and 9). Row 6 asks nobody: its successor was paid for by the
	// request that made it. Rows 4, 7 and 8 end the grant in step 5.
	ttl := s.tokens.AccessTTL.D()
	if row == storage.RowCurrent || row == storage.RowAhead {
		if ttl, err = s.askProviderFirst(ctx, &presented, row); err != nil {
			return nil, err
		}
	}
	// 5. Commit, then answer.
	return s.rotate(ctx, presented, scope, ttl)
}

// presentedToken is row 1: unreadable, of no grant, or with a bad MAC. All three answer alike, so that nobody can ask
// which grants exist.
func (s *Server) presentedToken(ctx context.Context, p oauth.Params) (refreshToken, storage.Grant, error) {
	raw := p.Get("refresh_token")
	if raw == "" {
		return refreshToken{}, storage.Grant{}, oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(errors.New("refresh_token"))
	}
	refused := oauth.Fail(oauth.InvalidGrant, oauth.RefreshInvalid)
	token, ok := parseRefreshToken(raw)
	if !ok {
		return token, storage.Grant{}, refused
	}
	g, err := s.authenticGrant(token)
	if errors.Is(err, storage.ErrNotFound) {
		return token, g, refused
	}
	if err != nil {
		return token, g, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	Request(ctx).Grant(g.ID, "", s.logSubject(g.Subject))
	return token, g, nil
}

// authenticGrant returns the grant, living or not, whose key made the token; storage.ErrNotFound for any other token.
// The client under the MAC is the grant's own, so a token that another client presents is authentic: row 3 is the
// store's to say.
func (s *Server) authenticGrant(token refreshToken) (storage.Grant, error) {
	g, err := s.store.Grant(token.grantID)
	if err != nil {
		return g, err
	}
	key, err := s.store.GrantKey(token.grantID)
	if err != nil {
		return g, err
	}
	if !token.authentic(key, g.ClientID) {
		return g, storage.ErrNotFound
	}
	return g, nil
}

// narrowed judges resource and scope against the grant: a subset narrows this access token only, unknown names are
// dropped, and a known scope outside the grant is refused.
func (s *Server) narrowed(p oauth.Params, g storage.Grant) (oauth.Scope, error) {
	if err := s.checkResource(p, g.Resource); err != nil {
		return nil, err
	}
	asked, err := oauth.ParseScope(p.Get("scope"))
	if err != nil {
		return nil, oauth.Fail(oauth.InvalidScope, oauth.ScopeInvalid).Because(err)
	}
	// A scope of the grant counts as known even when the configuration no longer names it.
	asked = asked.Keep(s.known.Union(g.Scope))
	if !g.Scope.Has(offlineAccess) {
		asked = asked.Without(offlineAccess) // it has no effect, so asking for it is no wider request
	}
	if len(asked) == 0 { // absent, or nothing that we know: as if absent (protocol.md §5.3, Scope)
		return g.Scope, nil
	}
	if !g.Scope.Contains(asked) {
		return nil, oauth.Fail(oauth.InvalidScope, oauth.ScopeInvalid).Because(errors.New("wider than the grant"))
	}
	return asked, nil
}

// askProviderFirst renews the upstream token if it is due, and says how long the access token may live. It runs
// before anything of the client's is spent, so a 503 here costs the client nothing: it comes again with the same
// token.
func (s *Server) askProviderFirst(ctx context.Context, p *storage.Presented, row storage.Row) (time.Duration, error) {
	want := renewal{wait: s.upstream.TokenWait.D()}
	if row == storage.RowAhead {
		var err error
		if want.force, err = s.adoptAhead(ctx, *p); err != nil {
			return 0, err
		}
	}
	renewed := s.renew(ctx, p.GrantID, want)
	switch {
	case renewed.ended != "":
		return 0, grantEnded(oauth.InvalidGrant, renewed.ended)
	case renewed.trouble == "":
		return s.tokens.AccessTTL.D(), nil
	// A client that hung up gets no rotation that it would not hear of.
	case ctx.Err() != nil, renewed.trouble == oauth.SubjectChanged, !s.withinGrace(renewed):
		return 0, renewed.unavailable()
	}
	// The journal says so: somebody whose account was closed meanwhile goes on until the grace is over.
	p.Event.Reason = oauth.RefreshOutage
	return min(outageTTL, s.tokens.AccessTTL.D()), nil
}

// adoptAhead is row 9: the store is a restored backup. The token's generation is taken over, with the upstream token in
// doubt, and the provider must be asked, unless another request with the same token has done so already.
func (s *Server) adoptAhead(ctx context.Context, p storage.Presented) (mustAsk bool, err error) {
	p.Event.Reason = oauth.RefreshAhead
	_, err = s.store.AdoptAhead(ctx, p)
	if errors.Is(err, storage.ErrEnded) || errors.Is(err, storage.ErrNotFound) {
		return false, nil // ended meanwhile: the next step says so
	}
	if err != nil {
		return false, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	up, err := s.store.Upstream(p.GrantID)
	if err != nil {
		return false, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	// the flight of the first request has settled the doubt, so the second need not force another
	return up.InDoubt, nil
}

// withinGrace says whether clients may go on refreshing through the trouble: until outage_grace after the first
// failed attempt since the provider's last good answer. Trouble of our own store is no outage: nothing could be
// committed anyway.
func (s *Server) withinGrace(r renewed) bool {
	grace := s.tokens.OutageGrace.D()
	if grace == 0 || r.trouble == oauth.StorageUnavailable {
		return false
	}
	// a clock that is not trusted ends no grace either (§5.3, Clock): refresh answers as before
	return r.since.IsZero() || !s.store.ClockTrusted() || s.now().Before(r.since.Add(grace))
}

// rotate commits the rotation and mints the new pair. Another request may have been quicker: then the row is another
// than it was, and the answer is that row's.
func (s *Server) rotate(ctx context.Context, p storage.Presented, scope oauth.Scope, ttl time.Duration) (*tokenAnswer, error) {
	g, row, reason, err := s.store.RotateRefresh(ctx, p)
	if err != nil {
		return nil, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	if row != storage.RowCurrent && row != storage.RowPrevious {
		return nil, s.refuseRefresh(g, row, reason)
	}
	if row == storage.RowPrevious {
		s.noteRetry(ctx, g, p.Event)
	}
	Request(ctx).Reason(reason)
	s.metrics.refreshes.WithLabelValues("client", "ok", string(reason)).Inc()
	return s.pair(g, scope, ttl, s.now())
}

// noteRetry tells the journal that an answer was lost and given again. Apart from the request, which writes nothing
// (row 6), and once a generation: a hundred processes that share a token are one story.
func (s *Server) noteRetry(ctx context.Context, g storage.Grant, e storage.Event) {
	if !s.retries.first(g.ID, g.Gen) {
		return
	}
	e.Reason = oauth.RefreshSame
	s.background(ctx, func(ctx context.Context) {
		err := s.store.Note(ctx, g.ID, e)
		// ended meanwhile: its journal has its last word
		if err != nil && !errors.Is(err, storage.ErrEnded) {
			s.log.WarnContext(ctx, "a retried refresh was not noted", "grant", g.ID, "error", err)
		}
	})
}

// retries remembers the generation whose retry was noted last, by grant. The zero value is ready.
type retries struct {
	mu    sync.Mutex
	noted map[string]uint32
}

// maxRetries bounds the memory; beyond it everything is forgotten, and some retries are noted twice.
const maxRetries = 10_000

// first reports whether this is the first retry of the grant's generation.
func (r *retries) first(grantID string, gen uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.noted[grantID] == gen {
		return false
	}
	if r.noted == nil || len(r.noted) >= maxRetries {
		r.noted = map[string]uint32{}
	}
	r.noted[grantID] = gen
	return true
}

// refuseRefresh is the answer of rows 2, 3, 4, 7 and 8: all invalid_grant, so that the client drops the token.
func (s *Server) refuseRefresh(g storage.Grant, row storage.Row, reason oauth.Reason) error {
	s.metrics.refreshes.WithLabelValues("client", "refused", string(reason)).Inc()
	switch {
	case row == storage.RowEnded:
		return grantEnded(oauth.InvalidGrant, g.Ended)
	case row == storage.RowOtherClient:
		return oauth.Fail(oauth.InvalidGrant, oauth.RefreshWrongClient)
	}
	return oauth.Fail(oauth.InvalidGrant, reason)
}

// limitsOf are the spans that the store judges by.
func (s *Server) limitsOf() storage.Limits {
	return storage.Limits{Idle: s.tokens.RefreshIdle.D(), MaxAge: s.tokens.RefreshMax.D(), RetryWindow: s.tokens.RetryWindow.D()}
}
