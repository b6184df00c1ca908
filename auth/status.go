package auth

import (
	"errors"
	"net/http"
	"slices"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// maxListed bounds the status page: a program that connects every minute leaves a long trail of ended grants. Living
// ones are all shown.
const maxListed = 200

// status shows the signed-in user's own connections, or the sign-in button (protocol.md §4.3). It reads the store
// only, so that it also opens while the provider is down: that is when people look.
func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	signin, cookie, err := s.signedIn(r)
	if err != nil {
		return err
	}
	// Form tokens name path and sign-in: one taken from this page ends nothing for the next user of the browser.
	csrf := s.keepCookie(w, r, csrfCookie, csrfTTL)
	if cookie == "" {
		return s.pages.SignIn(w, r, SignInPage{Token: s.pathToken(csrf, "/signin", ""), SignInTTL: s.tokens.SigninTTL})
	}
	p, err := s.statusPage(signin)
	if err != nil {
		return err
	}
	p.Token, p.SignOut = s.pathToken(csrf, "/grants/end", cookie), s.pathToken(csrf, "/signout", cookie)
	return s.pages.Status(w, r, p)
}

// signedIn returns the browser's sign-in and its cookie; cookie is "" when there is none. An unknown or expired
// cookie is no error: the page then shows the button.
func (s *Server) signedIn(r *http.Request) (storage.SignIn, string, error) {
	cookie := s.cookie(r, signinCookie)
	if cookie == "" {
		return storage.SignIn{}, "", nil
	}
	signin, err := s.store.SignIn(hashOf(cookie))
	switch {
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrExpired):
		return storage.SignIn{}, "", nil
	case err != nil:
		return signin, "", oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	Request(r.Context()).Grant("", "", s.logSubject(signin.Subject))
	return signin, cookie, nil
}

// statusPage is what one person sees: the grants of the subject that signed in and of nobody else.
func (s *Server) statusPage(signin storage.SignIn) (StatusPage, error) {
	grants, err := s.store.GrantsOf(signin.Subject)
	if err != nil {
		return StatusPage{}, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	p := StatusPage{
		User:      PageUser{Name: signin.Identity.Name, Email: signin.Identity.Email, Subject: signin.Subject},
		Tombstone: s.tokens.TombstoneTTL,
	}
	for _, g := range grants {
		if g.Ended == "" {
			p.Living++
		}
		p.Grants = append(p.Grants, s.pageGrant(g))
	}
	slices.SortStableFunc(p.Grants, byLivingThenUse)
	p.Grants = p.Grants[:min(len(p.Grants), max(p.Living, maxListed))]
	return p, nil
}

// byLivingThenUse puts living grants first, then the last used.
func byLivingThenUse(a, b PageGrant) int {
	if a.Ended.IsZero() != b.Ended.IsZero() {
		if a.Ended.IsZero() {
			return -1
		}
		return 1
	}
	return b.LastUsed.Compare(a.LastUsed)
}

// pageGrant is one connection in a person's words.
func (s *Server) pageGrant(g storage.Grant) PageGrant {
	c := client{id: g.ClientID, name: g.ClientName, kind: s.kindOf(g)}
	p := PageGrant{
		ID: g.ID, Client: c.page(g.RedirectURI), Since: g.Created, LastUsed: g.LastUse,
		Ended: g.EndedAt, Reason: g.Ended, Scopes: s.scopeSentences(g.Scope),
	}
	if g.Ended != "" {
		return p
	}
	p.GoodUntil = s.goodUntil(g)
	if up, err := s.store.Upstream(g.ID); err == nil && up.Trouble != "" {
		// An upstream record that cannot be read hides the trouble, not the connection: it can still be ended.
		p.Reason, p.Trouble, p.Until = up.Trouble, up.TroubleSince, up.TroubleSince.Add(s.tokens.OutageGrace.D())
	}
	return p
}

// kindOf says how the grant's client is known now; its own record may be gone before the grant. What is configured
// now counts before what was true at login, since it says who vouches for the name today.
func (s *Server) kindOf(g storage.Grant) clientKind {
	switch _, configured := s.registered[g.ClientID]; {
	case configured:
		return kindKnown
	case g.ClientKind == storage.ClientDocument:
		return kindDocument
	}
	return kindRegistered
}

// endGrants is POST /grants/end: one of the user's own grants, or all of them.
func (s *Server) endGrants(w http.ResponseWriter, r *http.Request) error {
	p, signin, err := s.ownForm(r, "/grants/end")
	if err != nil {
		return err
	}
	notFound := oauth.Fail(oauth.InvalidRequest, oauth.NotFound).With(http.StatusNotFound)
	switch id, subject := p.Get("id"), p.Get("subject"); {
	case id != "":
		g, err := s.store.Grant(id)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return oauth.Unavailable(oauth.StorageUnavailable, err)
		}
		if err != nil || g.Subject != signin.Subject {
			return notFound // somebody else's looks like nobody's
		}
		if err := s.end(r.Context(), g, oauth.UserRevoked); err != nil {
			return err
		}
	// The form names whom it means, so that a page left open by somebody else ends nothing.
	case subject == signin.Subject && subject != "":
		ev := s.event(r.Context(), oauth.UserRevoked, "")
		if _, err := s.store.EndSubject(r.Context(), subject, oauth.UserRevoked, ev); err != nil {
			return oauth.Unavailable(oauth.StorageUnavailable, err)
		}
		Request(r.Context()).Reason(oauth.UserRevoked)
		s.wakeLoop()
	default:
		return notFound
	}
	seeOther(w, "/status")
	return nil
}

// ownForm parses a form of the status page and checks that it came from it, under this sign-in. The sign-in comes
// before the token, which is made of it.
func (s *Server) ownForm(r *http.Request, path string) (oauth.Params, storage.SignIn, error) {
	p, err := formParams(r)
	if err != nil {
		return p, storage.SignIn{}, err
	}
	signin, cookie, err := s.signedIn(r)
	if err != nil {
		return p, signin, err
	}
	if cookie == "" {
		return p, signin, csrf("not signed in")
	}
	err = s.checkForm(r, p.Get("token"), func(csrf string) string { return s.pathToken(csrf, path, cookie) })
	return p, signin, err
}

// seeOther redirects with 303, which makes a GET of whatever brought the browser here: a form must not be sent on
// (RFC 9700 §4.12). The target is used as it is: a registered redirect URI is kept byte for byte.
func seeOther(w http.ResponseWriter, target string) {
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}
