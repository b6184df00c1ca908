package auth

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/storage"
)

// GET /callback (protocol.md §4.5): the provider's answer, in the browser that pressed Allow. Up to step 4 errors are
// pages; after it the client hears of every failure.
func (s *Server) callback(w http.ResponseWriter, r *http.Request) error {
	// A page fetched ahead would spend state and code while nobody looks; the real visit comes later and finds all as
	// it was.
	if strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") {
		return oauth.Unavailable(oauth.RequestInvalid, errors.New("prefetch"))
	}
	answer, err := s.providerAnswer(r)
	if err != nil {
		return err
	}
	req, err := s.takeRequest(r, answer)
	if err != nil {
		return err
	}
	Request(r.Context()).Grant("", req.ClientID, "")
	if req.SignIn {
		return s.finishSignIn(w, r, req, answer)
	}
	// The request is consumed. Whatever goes wrong now is the client's to hear: it waits at its redirect URI.
	target, err := s.finishLogin(r.Context(), req, answer)
	if err != nil {
		return s.answerLogin(err, req)
	}
	seeOther(w, target)
	return nil
}

// providerAnswer is step 1: exactly one of code and error, nothing repeated. Both or neither is nothing that a
// provider sends (RFC 6749 §4.1.2), and no client is known yet who could be told.
func (s *Server) providerAnswer(r *http.Request) (oauth.Params, error) {
	if len(r.URL.RawQuery) > maxQuery {
		return oauth.Params{}, oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid)
	}
	p, err := oauth.ParseParams(r.URL.RawQuery)
	if err != nil || p.Repeated() != "" || p.Has("code") == p.Has("error") {
		return p, oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(errors.New("callback parameters"))
	}
	return p, nil
}

// takeRequest is steps 2 to 4: the request is known, unexpired and of this browser, and is consumed by one winner. A
// read comes first: what does not belong here costs no write.
func (s *Server) takeRequest(r *http.Request, p oauth.Params) (storage.Request, error) {
	// The first half finds the record, the second proves that we sent this state: only its hash was stored, so the
	// file alone answers for nobody.
	id, secret, _ := strings.Cut(p.Get("state"), ".")
	bind := s.cookie(r, bindCookie)
	if id == "" || secret == "" {
		return storage.Request{}, requestError(storage.ErrNotFound)
	}
	stateHash, bindHash := hashOf(secret), hashOf(bind)
	if bind == "" {
		bindHash = [32]byte{} // the hash of nothing matches nothing: approvals always store a real one
	}
	if err := s.store.CheckRequest(id, stateHash, bindHash); err != nil {
		return storage.Request{}, requestError(err)
	}
	// Judged once more, inside the transaction: of two tabs that passed the reading one wins.
	req, err := s.store.TakeRequest(r.Context(), id, stateHash, bindHash)
	if err != nil {
		return req, requestError(err)
	}
	return req, nil
}

// requestError is a page that says what to do next. Nothing is redirected: the browser has not shown that it is the
// one in which the user pressed Allow.
func requestError(err error) error {
	switch {
	case errors.Is(err, storage.ErrReplaced), errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrFinished):
		return oauth.Fail(oauth.InvalidRequest, oauth.StateUnknown).Because(err)
	case errors.Is(err, storage.ErrExpired):
		return oauth.Fail(oauth.InvalidRequest, oauth.RequestExpired)
	case errors.Is(err, storage.ErrBrowser):
		return oauth.Fail(oauth.AccessDenied, oauth.BrowserMismatch)
	}
	return oauth.Unavailable(oauth.StorageUnavailable, err)
}

// signIn is steps 5 to 9: the provider's answer is judged, its code exchanged, and the user held against the access
// rules. It returns what the provider gave even beside an error, so that the caller can give it back.
func (s *Server) signIn(ctx context.Context, req storage.Request, p oauth.Params) (upstream.Answer, error) {
	if err := s.provider.CheckIss(p.Get("iss"), p.Count("iss") > 0); err != nil {
		return upstream.Answer{}, issError(err)
	}
	if code := p.Get("error"); code != "" {
		return upstream.Answer{}, providerRefusal(code)
	}
	// Step 7, apart from the browser's life: one that goes away now would leave the code spent and tokens that nobody
	// knows of.
	a := s.provider.Exchange(context.WithoutCancel(ctx), upstream.Callback{
		Code: p.Get("code"), Verifier: req.Verifier.Reveal(), Nonce: req.Nonce.Reveal(),
	})
	s.health.answered(s.now(), providerTrouble(a))
	// Step 8. Without a refresh token the connection would end with the first upstream access token: that is said at
	// login, with what to switch on, and not found out an hour later.
	if a.Tokens.Access != "" && a.Tokens.Refresh == "" && !req.SignIn && s.upstream.Refresh != upstream.RefreshOptional {
		return a, oauth.Fail(oauth.ServerError, oauth.UpstreamConfig).Because(errNoRefreshToken)
	}
	if a.Outcome != upstream.Good {
		return a, exchangeError(a)
	}
	// Step 9, over claims of a good id_token only (Good says so).
	if err := s.access.check(*a.Claims); err != nil {
		return a, oauth.Fail(oauth.AccessDenied, oauth.AccessRule).Because(err)
	}
	return a, nil
}

var errNoRefreshToken = errors.New("no refresh token: ask for offline_access and switch refresh tokens on at the provider")

// issError is step 5. What the provider promises may not be known, after a restart while it is down: then nothing is
// wrong with its answer, and nothing may be exchanged either.
func issError(err error) error {
	var failure *upstream.Failure
	if errors.As(err, &failure) && failure.Reason != oauth.UpstreamIss {
		return exchangeError(upstream.Answer{Reason: failure.Reason, RetryAfter: failure.RetryAfter, Err: err})
	}
	return oauth.Fail(oauth.ServerError, oauth.UpstreamIss).Because(err)
}

// providerRefusal passes on what a client can act on (step 6). The provider's own words go nowhere: anybody can write
// them into the URL of a callback.
func providerRefusal(code string) error {
	switch oauth.Code(code) {
	case oauth.AccessDenied, oauth.TemporarilyUnavailable:
		return oauth.Fail(oauth.Code(code), oauth.UpstreamDenied)
	}
	return oauth.Fail(oauth.ServerError, oauth.UpstreamDenied)
}

// exchangeError tells what passes (the provider cannot be reached, has trouble, or its answer was lost on the way) from
// what will be the same the next time: a refusal, an unreadable answer, an id_token that does not hold.
func exchangeError(a upstream.Answer) error {
	switch a.Reason {
	case oauth.UpstreamUnreachable, oauth.UpstreamError, oauth.UpstreamInDoubt:
		e := oauth.Unavailable(a.Reason, a.Err)
		e.RetryAfter = a.RetryAfter
		return e
	}
	return oauth.Fail(oauth.ServerError, a.Reason).Because(a.Err)
}

// finishLogin is steps 5 to 11: one commit makes the grant with its code, and the browser goes back to the client.
func (s *Server) finishLogin(ctx context.Context, req storage.Request, p oauth.Params) (string, error) {
	a, err := s.signIn(ctx, req, p)
	if err != nil {
		s.giveBack(ctx, a)
		return "", err
	}
	now := s.now()
	// Stored before the browser carries it. If the commit is reported lost but took place, nobody has this code and
	// the grant ends unclaimed.
	code := codePrefix + randomValue()
	g := s.newGrant(ctx, req, a, now)
	g.CodeHash = hashOf(code)
	if err := s.store.CreateGrant(context.WithoutCancel(ctx), g); err != nil {
		s.giveBack(ctx, a)
		return "", oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	info := Request(ctx)
	info.Grant(g.Grant.ID, req.ClientID, s.logSubject(g.Grant.Subject))
	info.Reason(oauth.SignedIn)
	return oauth.AppendQuery(req.RedirectURI, "code", code, "state", req.State, "iss", s.issuer), nil
}

// newGrant is what one login makes, ready to be committed.
func (s *Server) newGrant(ctx context.Context, req storage.Request, a upstream.Answer, now time.Time) storage.NewGrant {
	// 26 characters, as many as a refresh token has room for (grantIDSize)
	id := rand.Text()
	scope, _ := oauth.ParseScope(req.Scope) // our own, from the ticket
	// of this grant alone: it goes with the tombstone, and nothing of one grant says anything about another's tokens
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	return storage.NewGrant{
		Grant: storage.Grant{
			ID: id, ClientID: req.ClientID, ClientName: req.ClientName, ClientKind: s.grantKind(req.ClientID),
			Subject: a.Claims.Subject, Scope: scope, Resource: req.Resource, RedirectURI: req.RedirectURI,
			Sid: s.sessionHash(a.Claims.Sid),
		},
		Key:      key[:],
		Identity: identityOf(*a.Claims),
		Upstream: s.upstreamRecord(id, 1, a.Tokens, now),
		Code: storage.Code{
			GrantID: id, ClientID: req.ClientID, RedirectURI: req.RedirectURI, Challenge: req.Challenge,
			Resource: req.Resource, Expires: now.Add(s.tokens.CodeTTL.D()),
		},
		Events:        append(req.Events, s.event(ctx, oauth.SignedIn, req.ClientID)),
		GrantsPerUser: s.clients.GrantsPerUser,
		Limits:        s.limitsOf(),
	}
}

// grantKind says how the grant's client is known, for as long as the grant is remembered. Ids of our own
// registrations begin otherwise (clientIDPrefix).
func (s *Server) grantKind(clientID string) storage.ClientKind {
	switch _, configured := s.registered[clientID]; {
	case configured:
		return storage.ClientConfigured
	case strings.HasPrefix(clientID, "https://"):
		return storage.ClientDocument
	}
	return storage.ClientRegistered
}

// sessionHash is how the store knows a provider session: sid is the provider's, and finds siblings only. Its key is
// never rotated, or siblings would no longer find each other. No sid has no hash: grants of a provider that names no
// session are nobody's siblings.
func (s *Server) sessionHash(sid string) string {
	if sid == "" {
		return ""
	}
	return hex.EncodeToString(keyedHash(s.sidKey, []byte(sid)))
}

// answerLogin sends a failure after step 4 back to the client as an error redirect (FastMCP #4293: no page).
func (s *Server) answerLogin(err error, req storage.Request) error {
	var e *oauth.Error
	if !errors.As(err, &e) {
		e = oauth.Unavailable(oauth.Internal, err)
	}
	out := *e
	out.Redirect = s.errorRedirect(e, req.RedirectURI, req.State)
	return &out
}

// giveBack revokes upstream tokens that came to no grant, unless a living grant shares their provider session, which
// would end with them (protocol.md §5.3), or may share it: without a good id_token nobody knows. Nobody holds tokens
// that are not given back. It does not hold up the browser.
func (s *Server) giveBack(ctx context.Context, a upstream.Answer) {
	token := a.Tokens.Refresh
	if token == "" || a.Claims == nil {
		return
	}
	if living, err := s.store.LivingInSession(s.sessionHash(a.Claims.Sid)); err != nil || living > 0 {
		return
	}
	s.background(context.WithoutCancel(ctx), func(ctx context.Context) {
		if err := s.provider.Revoke(ctx, token); err != nil {
			s.log.WarnContext(ctx, "upstream token of an unfinished login was not revoked", "error", err)
		}
	})
}

// identityOf is what the store keeps of verified claims. Claims.Raw holds the configured claims and no others.
func identityOf(c upstream.Claims) storage.Identity {
	return storage.Identity{
		Subject: c.Subject, Name: c.Name, PreferredUsername: c.PreferredUsername, Email: c.Email,
		EmailVerified: c.EmailVerified, Groups: c.Groups, Claims: c.Raw,
	}
}
