package trace

// The token endpoint and revocation: RFC 6749 §4.1.3, §5 and §6, RFC 7009. Tokens are opaque to a client, and are here:
// none is decoded. What the refresh token is worth is tried by refreshing once, never by presenting an old one, which
// may rightly end the connection (RFC 9700 §4.14.2), unless -retry asks for it.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"hostedmcp/auth/oauth"
)

// redeem exchanges the code (RFC 6749 §4.1.3).
func (t *tracer) redeem(ctx context.Context, s *Step) error {
	// resource again, as RFC 8707 §2.2 has it: the code may have been granted for more than one.
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {t.code}, "code_verifier": {t.verifier},
		"redirect_uri": {t.redirect}, "resource": {t.target},
	}
	got, err := t.askToken(ctx, s, form)
	// A faulty answer may hold tokens all the same: they are tried, and given back at the end.
	t.access, t.refresh = got.access, got.refresh
	if err != nil {
		return err
	}
	got.describe(s)
	if got.refresh == "" {
		s.warn("no refresh token: the person signs in again when the access token ends")
	}
	// offline_access is a wish for a refresh token and no right: nothing is lost if it is not echoed.
	asked, granted := t.asked.Without("offline_access"), oauth.Scope(strings.Fields(got.scope))
	if got.scope != "" && !granted.Contains(asked) {
		s.warn("granted %q of the asked %q", got.scope, t.asked)
	}
	t.client.habits(s, got.expires)
	return nil
}

// tokens are what a token answer holds (RFC 6749 §5.1).
type tokens struct {
	access, refresh oauth.Secret
	expires         int64
	scope           string
}

// describe says what came, by fingerprint.
func (k tokens) describe(s *Step) {
	s.came("200 Bearer, access token %s, expires_in %d, refresh token %s, scope %q",
		fingerprint(k.access), k.expires, show(k.refresh), k.scope)
}

// show prints a token that may be absent.
func show(secret oauth.Secret) string {
	if secret == "" {
		return "absent"
	}
	return fingerprint(secret)
}

// endpoint posts a form with the client's authentication: as a public client by its id in the body, with a secret or
// by habit as Basic (RFC 6749 §2.3.1: both parts form-encoded).
func (t *tracer) endpoint(ctx context.Context, to string, form url.Values) (*answer, error) {
	byBasic := t.secret != "" && !t.secretInBody || t.client.basic && strings.HasPrefix(t.id, "https://")
	if !byBasic {
		form.Set("client_id", t.id)
	}
	if t.secretInBody {
		form.Set("client_secret", t.secret.Reveal())
	}
	req, err := t.request(http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if byBasic {
		req.SetBasicAuth(url.QueryEscape(t.id), url.QueryEscape(t.secret.Reveal()))
	}
	return t.do(ctx, req, nil)
}

// askToken asks the token endpoint and judges a good answer as strict clients do.
func (t *tracer) askToken(ctx context.Context, s *Step, form url.Values) (tokens, error) {
	a, err := t.endpoint(ctx, t.server.token, form)
	if err != nil {
		return tokens{}, err
	}
	if a.status != http.StatusOK {
		return tokens{}, errors.New(a.refusal())
	}
	doc, err := a.object()
	if err != nil {
		return tokens{}, err
	}
	got, err := t.readTokens(s, doc)
	if err != nil {
		return got, err
	}
	// A matter of proxies in between and not of clients: a note.
	if !strings.Contains(a.header.Get("Cache-Control"), "no-store") {
		s.warn("Cache-Control lacks no-store (RFC 6749 §5.1)")
	}
	return got, nil
}

// readTokens remembers what is secret before it judges anything, so that no fault prints it.
func (t *tracer) readTokens(s *Step, doc oauth.Object) (got tokens, err error) {
	access, err1 := doc.Text("access_token")
	refresh, err2 := doc.Text("refresh_token")
	idToken, err3 := doc.Text("id_token")
	kind, err4 := doc.Text("token_type")
	scope, err5 := doc.Text("scope")
	got = tokens{access: t.secrets.add(access), refresh: t.secrets.add(refresh), scope: scope}
	t.secrets.add(idToken)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return got, err
	}
	switch {
	case access == "":
		return got, errors.New("200 without access_token")
	case !strings.EqualFold(kind, "Bearer"):
		return got, fmt.Errorf("token_type is %q and not Bearer", kind)
	}
	// A string where a number belongs ("3600") passes in scripting languages and fails in all others.
	raw, there := doc["expires_in"]
	if !there {
		s.warn("no expires_in: clients guess when to refresh, or wait for a 401")
		return got, nil
	}
	if err := json.Unmarshal(raw, &got.expires); err != nil || got.expires <= 0 {
		return got, fmt.Errorf("expires_in is no positive number of seconds: strict clients refuse the answer")
	}
	return got, nil
}

// refreshForm is a refresh as the imitated client writes it (RFC 6749 §6).
func (t *tracer) refreshForm(token oauth.Secret) url.Values {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.Reveal()}}
	if !t.client.refreshNoResource {
		form.Set("resource", t.target)
	}
	if t.client.refreshScope && len(t.asked) > 0 {
		form.Set("scope", t.asked.String())
	}
	return form
}

// refreshTokens refreshes once and keeps the new pair.
func (t *tracer) refreshTokens(ctx context.Context, s *Step) error {
	got, err := t.askToken(ctx, s, t.refreshForm(t.refresh))
	// The new pair is kept before it is judged: whatever is wrong with it, it is what must be revoked at the end.
	previous, sameAccess := t.refresh, got.access == t.access
	if got.access != "" {
		t.access = got.access
	}
	if got.refresh != "" {
		t.refresh = got.refresh
	}
	if err != nil {
		return err
	}
	got.describe(s)
	if sameAccess {
		return errors.New("200 with the old access token: a client that refreshes because it ended is no further")
	}
	if got.refresh == "" || got.refresh == previous {
		s.warn("the refresh token stays the same: a stolen one is never noticed (OAuth 2.1 §4.3.1)")
	}
	return nil
}

// retryRefresh sends the previous token again, as a client does whose answer was lost.
func (t *tracer) retryRefresh(ctx context.Context, s *Step, previous oauth.Secret) error {
	a, err := t.endpoint(ctx, t.server.token, t.refreshForm(previous))
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		s.came("%s", a.refusal())
		s.warn("one lost answer costs a login; the whole connection may have ended now")
		return nil
	}
	doc, err := a.object()
	if err != nil {
		return err
	}
	got, err := t.readTokens(s, doc)
	if err != nil {
		return err
	}
	got.describe(s)
	if got.refresh != t.refresh && got.refresh != "" {
		s.warn("another refresh token than the first time: two clients with one store drift apart")
	}
	return nil
}

// revoke gives back the refresh token, or the access token if there is none (RFC 7009 §2.1).
func (t *tracer) revoke(ctx context.Context, s *Step) error {
	if t.server.revoke == "" {
		s.came("the server offers no revocation: the tokens live until they end")
		return errSkipped
	}
	// The refresh token first: it outlives the other, and its end should take the access tokens along.
	form := url.Values{"token": {t.refresh.Reveal()}, "token_type_hint": {"refresh_token"}}
	if t.refresh == "" {
		form = url.Values{"token": {t.access.Reveal()}, "token_type_hint": {"access_token"}}
	}
	a, err := t.endpoint(ctx, t.server.revoke, form)
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return errors.New(a.refusal())
	}
	s.came("200")
	return nil
}

// checkRevoked sees that a 200 was true: a refresh must fail, the access token should.
func (t *tracer) checkRevoked(ctx context.Context, s *Step) error {
	if t.refresh != "" {
		a, err := t.endpoint(ctx, t.server.token, t.refreshForm(t.refresh))
		if err != nil {
			return err
		}
		// A second refresh also shows that the family ended, and not one token of it.
		if a.status == http.StatusOK {
			if doc, err := a.object(); err == nil {
				_, _ = t.readTokens(&Step{}, doc) // what came is secret too
			}
			return errors.New("the refresh token still works after revocation answered 200")
		}
		s.came("refresh: %s", a.refusal())
	}
	req, err := t.openingRequest()
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+t.access.Reveal())
	a, err := t.do(ctx, req, nil)
	if err != nil {
		return err
	}
	if a.status >= 200 && a.status < 300 {
		s.warn("the access token still works: it should go with the refresh token (RFC 7009 §2.1)")
		t.session = a.header.Get("Mcp-Session-Id")
		if t.session != "" {
			_, err = t.deleteSession(ctx)
		}
	}
	if s.Came != "" {
		s.Came += "; "
	}
	s.Came += fmt.Sprintf("call: %d", a.status)
	return err
}
