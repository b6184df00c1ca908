package auth

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// A sign-in is a browser's signed-in state on the status page. It approves an authorization request whose client is
// ourselves: the same limits, binding cookie, provider leg and callback (protocol.md §4.3).

// startSignIn is POST /signin. There is no ticket: it asks for nothing that a page would have to show first.
func (s *Server) startSignIn(w http.ResponseWriter, r *http.Request) error {
	now := s.now()
	if err := s.limits.consent.allow(Request(r.Context()).Address, now); err != nil {
		return err
	}
	p, err := formParams(r)
	if err != nil {
		return err
	}
	if err := s.checkForm(r, p.Get("token"), func(csrf string) string { return s.pathToken(csrf, "/signin", "") }); err != nil {
		return err
	}
	return s.toProvider(w, r, storage.Request{
		ID: rand.Text(), SignIn: true, TicketExpires: now.Add(s.tokens.SigninWait.D()),
	}, now)
}

// finishSignIn ends a sign-in at the callback. The upstream tokens are dropped, not revoked: revoking them could end
// a grant in the same provider session. Errors are pages: there is no client to tell. The cookie is set after the
// commit and holds nothing but a name: who it is stands in the store, where it can be ended.
func (s *Server) finishSignIn(w http.ResponseWriter, r *http.Request, req storage.Request, p oauth.Params) error {
	a, err := s.signIn(r.Context(), req, p)
	if err != nil {
		return err
	}
	value := randomValue()
	id := identityOf(*a.Claims)
	if err := s.store.SaveSignIn(r.Context(), storage.SignIn{
		Hash: hashOf(value), Subject: a.Claims.Subject, Identity: id,
		Expires: s.now().Add(s.tokens.SigninTTL.D()),
	}); err != nil {
		return oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	info := Request(r.Context())
	info.Grant("", "", s.logSubject(a.Claims.Subject))
	info.Reason(oauth.SignedIn)
	s.setCookie(w, signinCookie, value, s.tokens.SigninTTL.D())
	seeOther(w, "/status")
	return nil
}

// signOut is POST /signout. It ends the browser's sign-in here, and no connection. The record goes as well as the
// cookie: a copy of the cookie opens nothing afterwards.
func (s *Server) signOut(w http.ResponseWriter, r *http.Request) error {
	if _, _, err := s.ownForm(r, "/signout"); err != nil {
		return err
	}
	cookie := s.cookie(r, signinCookie)
	if err := s.store.EndSignIn(r.Context(), hashOf(cookie)); err != nil {
		return oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	s.setCookie(w, signinCookie, "", -time.Second)
	seeOther(w, "/status")
	return nil
}

// event is a journal event of this request. Of work that no request caused it has neither request id nor address.
func (s *Server) event(ctx context.Context, reason oauth.Reason, clientID string) storage.Event {
	info := Request(ctx)
	return storage.Event{At: s.now(), Reason: reason, Client: clientID, Request: info.ID, Address: info.Address}
}
