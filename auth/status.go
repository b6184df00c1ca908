package auth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// maxListed bounds the status page: a program that connects every minute leaves a long trail of ended grants. Living
// ones are all shown.
const maxListed = 200

// status shows the signed-in user's own connections, to operators everybody's, or the sign-in button (protocol.md §4.3).
// It reads the store only, so that it also opens while the provider is down: that is when people look.
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
	p, err := s.statusFor(r, signin)
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

// statusFor is the page that this person may see: an operator's, or their own. Somebody else's is then nobody's.
func (s *Server) statusFor(r *http.Request, signin storage.SignIn) (StatusPage, error) {
	p, err := oauth.ParseParams(r.URL.RawQuery)
	if err != nil {
		return StatusPage{}, err
	}
	if s.operator(signin) {
		return s.operatorPage(r.Context(), signin, pageQuery(p))
	}
	if subject := p.Get("subject"); subject != "" && subject != signin.Subject {
		return StatusPage{}, notFound()
	}
	return s.statusPage(signin)
}

// statusBase is what every status page shows.
func (s *Server) statusBase(signin storage.SignIn) StatusPage {
	return StatusPage{User: pageUser(signin.Identity), Tombstone: s.tokens.TombstoneTTL, SigninTTL: s.tokens.SigninTTL}
}

func pageUser(id storage.Identity) PageUser {
	return PageUser{Name: id.Name, Email: id.Email, Subject: id.Subject}
}

// statusPage is what one person sees: the grants of the subject that signed in and of nobody else, with their stories.
func (s *Server) statusPage(signin storage.SignIn) (StatusPage, error) {
	p := s.statusBase(signin)
	p.User.Subject = signin.Subject
	grants, err := s.store.GrantsOf(signin.Subject)
	if err != nil {
		return p, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	p.Living = living(grants)
	slices.SortStableFunc(grants, byLivingThenUse)
	for _, g := range grants[:min(len(grants), max(p.Living, maxListed))] {
		one, err := s.pageGrant(g, tellYou)
		if err != nil {
			return p, err
		}
		p.Grants = append(p.Grants, one)
	}
	return p, nil
}

func living(grants []storage.Grant) (n int) {
	for _, g := range grants {
		if g.Living() {
			n++
		}
	}
	return n
}

// byLivingThenUse puts living grants first, then the last used.
func byLivingThenUse(a, b storage.Grant) int {
	if a.Living() != b.Living() {
		if a.Living() {
			return -1
		}
		return 1
	}
	return b.LastUse.Compare(a.LastUse)
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

// notFound is a connection that is somebody else's or nobody's: the two look alike.
func notFound() error {
	return oauth.Fail(oauth.InvalidRequest, oauth.NotFound).With(http.StatusNotFound)
}

// endGrants is POST /grants/end: one grant, or all of a user. Whose they are decides the reason, and who asks whether
// they may.
func (s *Server) endGrants(w http.ResponseWriter, r *http.Request) error {
	p, signin, err := s.ownForm(r, "/grants/end")
	if err != nil {
		return err
	}
	subject := p.Get("subject")
	if id := p.Get("id"); id != "" {
		subject, err = s.endOne(r.Context(), signin, id)
	} else {
		// The form names whom it means, so that a page left open by somebody else ends nothing.
		err = s.endAll(r.Context(), signin, subject)
	}
	if err != nil {
		return err
	}
	to := "/status"
	if s.operator(signin) { // back to the user whose connection it was
		to += "?subject=" + url.QueryEscape(subject)
	}
	seeOther(w, to)
	return nil
}

// endOne ends one grant, the own or, for an operator, any; whose it was.
func (s *Server) endOne(ctx context.Context, signin storage.SignIn, id string) (subject string, err error) {
	g, err := s.store.Grant(id)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return "", oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	reason, ok := s.mayEnd(signin, g.Subject)
	if err != nil || !ok {
		return "", notFound()
	}
	if reason == oauth.AdminRevoked {
		g.Subject, subject = "", g.Subject // the log line names the operator, who ended it
		return subject, s.end(ctx, g, reason)
	}
	return g.Subject, s.end(ctx, g, reason)
}

// endAll ends all grants of a user, which is off-boarding when an operator does it.
func (s *Server) endAll(ctx context.Context, signin storage.SignIn, subject string) error {
	reason, ok := s.mayEnd(signin, subject)
	if !ok {
		return notFound()
	}
	if _, err := s.endSubject(ctx, subject, reason); err != nil {
		return oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	Request(ctx).Reason(reason)
	return nil
}

// mayEnd says whether this person may end connections of subject, and what that is called.
func (s *Server) mayEnd(signin storage.SignIn, subject string) (oauth.Reason, bool) {
	switch {
	case subject == "":
		return "", false
	case subject == signin.Subject:
		return oauth.UserRevoked, true
	}
	return oauth.AdminRevoked, s.operator(signin)
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
