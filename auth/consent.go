package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/storage"
)

// POST /consent (protocol.md §4.2): the answer to the consent page. consent takes the form before the ticket: a page
// that is not ours learns nothing about one. A ticket that is only too old brings the question again and no error:
// somebody went to lunch, and nothing was stored.
func (s *Server) consent(w http.ResponseWriter, r *http.Request) error {
	now := s.now()
	if err := s.limits.consent.allow(Request(r.Context()).Address, now); err != nil {
		return err
	}
	p, err := formParams(r)
	if err != nil {
		return err
	}
	sealed := p.Get("ticket")
	if err := s.checkForm(r, p.Get("token"), func(cookie string) string { return s.ticketToken(cookie, sealed) }); err != nil {
		return err
	}
	t, err := s.openTicket(sealed)
	if err != nil {
		return oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(err)
	}
	Request(r.Context()).Grant("", t.Client, "")
	if now.Unix() >= t.Expires {
		return s.askConsent(w, r, t, true)
	}
	switch p.Get("answer") {
	case "approve":
		return s.approve(w, r, t, now)
	case "deny":
		return s.deny(r.Context(), t)
	}
	return oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(errors.New("answer"))
}

// deny finishes the request id, so that no other tab can approve it, and tells the client. It ends nothing. In this
// order: a client that heard "denied" must not get a code out of the same page later.
func (s *Server) deny(ctx context.Context, t ticket) error {
	if err := s.store.FinishRequest(ctx, t.RequestID, time.Unix(t.Expires, 0)); err != nil {
		return oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	e := oauth.Fail(oauth.AccessDenied, oauth.ConsentDenied)
	e.Redirect = s.errorRedirect(e, t.RedirectURI, string(t.State))
	return e
}

// approve stores the request and sends the browser to the provider. Its first event travels in the request and enters
// the journal with the grant, so that the story is whole.
func (s *Server) approve(w http.ResponseWriter, r *http.Request, t ticket, now time.Time) error {
	req := t.approval()
	req.Events = []storage.Event{s.event(r.Context(), oauth.ConsentApproved, t.Client)}
	if t.Kind == kindDocument || t.Kind == kindBuiltIn {
		req.ClientDocument = s.documentCopy(t)
	}
	if err := s.toProvider(w, r, req, now); err != nil {
		return err
	}
	s.observer.logins.WithLabelValues("approved").Inc()
	Request(r.Context()).Reason(oauth.ConsentApproved)
	return nil
}

// documentCopy is the copy of a metadata document to store with an approval, for /token never fetches: what the
// fetcher holds in memory, else what the user saw.
func (s *Server) documentCopy(t ticket) *storage.Client {
	if doc, ok := s.documents.Cached(t.Client); ok && t.Kind == kindDocument {
		return recordOf(doc)
	}
	if old, err := s.store.Client(t.Client); err == nil && old.Document != nil {
		return &old
	}
	// Of the binary's own copy, and after a restart of the fetcher's memory, this is all there is. Zero times: it
	// counts as never fetched, so the next login fetches.
	return &storage.Client{
		ID: t.Client, Kind: storage.ClientDocument, Name: t.Name, RedirectURIs: []string{t.RedirectURI},
		Document: &storage.Document{},
	}
}

// toProvider is the start of the provider leg (protocol.md §4.4) for a client's request and for a sign-in: own state,
// nonce and verifier, bound to this browser, stored before the browser leaves. The provider is asked for its
// endpoints first, so that nothing is stored for a login that cannot begin.
func (s *Server) toProvider(w http.ResponseWriter, r *http.Request, req storage.Request, now time.Time) error {
	secret, verifier, nonce := randomValue(), randomValue(), rand.Text()
	target, err := s.provider.AuthURL(r.Context(), upstream.AuthRequest{
		State: req.ID + "." + secret, Nonce: nonce, Verifier: verifier, SignIn: req.SignIn,
	})
	if err != nil {
		return providerUnavailable(err)
	}
	// One value for all tabs of a browser, or the second approval would orphan the first (protocol.md §4.2).
	bind := s.cookie(r, bindCookie)
	if bind == "" {
		bind = randomValue()
	}
	// Hashes and sealed values only: the file finishes nobody's login.
	req.StateHash, req.BindHash = hashOf(secret), hashOf(bind)
	req.Verifier, req.Nonce = oauth.Secret(verifier), oauth.Secret(nonce)
	req.Address = limitKey(Request(r.Context()).Address)
	req.Created, req.Expires = now, now.Add(s.tokens.SigninWait.D())
	if err := s.store.Approve(r.Context(), req, storage.ApproveLimits{
		Max: s.limits.PendingMax, PerBrowser: s.limits.PendingPerBrowser, PerAddress: s.limits.PendingPerAddress,
	}); err != nil {
		// denied or signed in through another tab: at most one code a request (protocol.md §4.2)
		if errors.Is(err, storage.ErrFinished) {
			return oauth.Fail(oauth.InvalidRequest, oauth.RequestExpired)
		}
		return oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	s.setCookie(w, bindCookie, bind, s.tokens.SigninWait.D())
	seeOther(w, target)
	return nil
}

// providerUnavailable is the page for a provider that cannot be reached now; nothing was stored, so pressing again
// goes on where the user stood.
func providerUnavailable(err error) error {
	var ours *oauth.Error
	var failure *upstream.Failure
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &failure):
		e := oauth.Unavailable(failure.Reason, err)
		e.RetryAfter = failure.RetryAfter
		return e
	case errors.Is(err, upstream.ErrNoUserinfo):
		return oauth.Unavailable(oauth.UpstreamConfig, err)
	}
	return oauth.Unavailable(oauth.UpstreamUnreachable, err)
}
