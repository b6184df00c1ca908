package trace

// The authorization request and its answer: RFC 6749 §4.1.1 and §4.1.2, with PKCE (RFC 7636), the resource indicator
// (RFC 8707 §2) and the answering server's name (RFC 9207). The browser's part belongs to the person; the page is asked
// for once before, since a client that opens a browser never learns that it showed an error.

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"hostedmcp/auth/oauth"
)

// random returns n unpredictable characters of base64url.
func random(n int) string {
	raw := make([]byte, n)
	rand.Read(raw)
	return base64.RawURLEncoding.EncodeToString(raw)[:n]
}

// authorizationURL is the authorization request (RFC 6749 §4.1.1) as the imitated client writes it.
func (t *tracer) authorizationURL() (string, error) {
	u, err := url.Parse(t.server.authorize)
	if err != nil {
		return "", errors.New("the authorization_endpoint is no URL")
	}
	// As long as the imitated client's: RFC 7636 §4.1 allows 43 to 128 characters, and recordings have both ends.
	verifier := random(max(t.client.verifierLen, 43))
	t.secrets.add(verifier)
	t.verifier, t.state = verifier, random(max(t.client.stateLen, 43))
	q := u.Query()
	for name, value := range map[string]string{
		"response_type": "code", "client_id": t.id, "redirect_uri": t.redirect, "state": t.state,
		"code_challenge": oauth.S256(verifier), "code_challenge_method": "S256", "resource": t.target,
		"scope": t.asked.String(),
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if t.client.promptConsent && t.asked.Has("offline_access") {
		q.Set("prompt", "consent") // OpenID Connect Core §11
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// authorize looks at the page before the person does (as FastMCP's client does), then shows the person the way.
func (t *tracer) authorize(ctx context.Context, s *Step) error {
	at, err := t.authorizationURL()
	if err != nil {
		return err
	}
	a, err := t.page(ctx, at, "text/html,application/xhtml+xml")
	if err != nil {
		return err
	}
	// An error page is for people, and its words are not printed. Some servers tell a program the reason.
	if a.status >= 400 {
		if told, err := t.page(ctx, at, "application/json"); err == nil && told.status == a.status {
			a = told
		}
	}
	if err := t.judgePage(s, a); err != nil {
		return err
	}
	t.report.login(at)
	// Without somebody to wait for the answer there is no point in a browser; the URL is there to be looked at.
	if t.listener != nil && t.env.Open != nil {
		go t.env.Open(at)
	}
	return nil
}

// page asks for the authorization page as a browser would, or as a program that wants to know.
func (t *tracer) page(ctx context.Context, at, accept string) (*answer, error) {
	req, err := t.request(http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	return t.do(ctx, req, nil)
}

// judgePage tells a page for a person from a refusal. What stands on the page is not read.
func (t *tracer) judgePage(s *Step, a *answer) error {
	to := a.header.Get("Location")
	switch {
	case a.status >= 300 && a.status < 400 && to != "":
		return t.judgeRedirect(s, a, to)
	case a.status == http.StatusForbidden:
		// The person may still get through: the walk goes on, and callback says if they did not.
		s.came("%s", a.shape())
		s.warn("403 to a program: if a browser gets the page, a guard against robots stands before it")
		return nil
	case a.status != http.StatusOK:
		return errors.New(a.refusal())
	case a.mediaType() != "text/html" && a.mediaType() != "application/xhtml+xml":
		return fmt.Errorf("%s, no page", a.shape())
	}
	s.came("200, a page of %d bytes, asked for scope %q", len(a.body), t.asked)
	return nil
}

// judgeRedirect tells a way to a sign-in page from an answer to us that nobody was asked for.
func (t *tracer) judgeRedirect(s *Step, a *answer, to string) error {
	next, err := url.Parse(to)
	if err != nil {
		return fmt.Errorf("%d to what is no URL", a.status)
	}
	if !strings.HasPrefix(to, t.redirect) {
		s.came("%d to %s, asked for scope %q", a.status, withoutQuery(to), t.asked)
		return nil
	}
	q := next.Query()
	if q.Get("error") != "" {
		return fmt.Errorf("%d back to us with %s: %s", a.status, q.Get("error"), q.Get("error_description"))
	}
	t.secrets.add(q.Get("code"))
	s.came("%d back to us with a code at once", a.status)
	s.warn("nobody was asked: a client ID that anybody can register must not get a code without consent (RFC 9700 §4.11)")
	return nil
}

// callback waits for the person, and judges the answer before its code is used.
func (t *tracer) callback(ctx context.Context, s *Step) error {
	if t.listener == nil {
		s.came("not waited for: %s", t.notWaiting())
		return errSkipped
	}
	q, err := t.listener.wait(ctx, t.wait)
	if err != nil {
		return err
	}
	t.code = q.Get("code")
	t.secrets.add(t.code)
	// RFC 6749 §3.1: no parameter twice, or two readers of the redirect see two answers.
	for name, values := range q {
		if len(values) > 1 {
			return fmt.Errorf("%s is there %d times", name, len(values))
		}
	}
	if err := t.judgeIssuer(s, q); err != nil {
		return err
	}
	// A stranger's error is not shown as the server's: state comes first.
	switch {
	case q.Get("state") != t.state:
		return errors.New("state is not what we sent: clients take the answer for a forged one (RFC 6749 §10.12)")
	case q.Has("error"):
		return fmt.Errorf("%s: %s", q.Get("error"), q.Get("error_description"))
	case t.code == "":
		return errors.New("neither code nor error")
	}
	s.came("code %s, our state, iss %s", fingerprint(oauth.Secret(t.code)), or(q.Get("iss"), "absent"))
	return nil
}

// judgeIssuer runs before state and error are looked at, as an answer from the wrong server may say anything. It obeys
// RFC 9207 §2.4: a wrong iss, or none where one is announced, may be a mix-up attack.
func (t *tracer) judgeIssuer(s *Step, q url.Values) error {
	switch iss := q.Get("iss"); {
	case iss == "" && t.server.iss:
		return errors.New("no iss although the metadata announce it (RFC 9207 §2.4)")
	case iss == "":
		s.warn("no iss: ChatGPT needs it (RFC 9207)")
	case iss != t.server.issuer:
		return fmt.Errorf("iss is %q and not %q (RFC 9207 §2.4)", iss, t.server.issuer)
	}
	return nil
}

// notWaiting says why no callback comes.
func (t *tracer) notWaiting() string {
	switch {
	case t.noLogin:
		return "-no-login"
	case t.options.callback == "none":
		return "-callback none"
	}
	return "the answer goes to " + t.redirect + ", not to this computer"
}
