package main

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hostedmcp/auth/authtest"
)

// What goes wrong in the run of the campaign secrets: credentials in every place where they do not belong.

// mistakes are those that clients and browsers make.
func (s *search) mistakes(c *client) {
	victim := s.newClient(s.server, 2, c.user, http.DefaultTransport)
	victim.Browser.Fill = s.credentials(c.user)
	err := victim.Register("Victim") // a name of its own: the same metadata is the same client
	if err == nil {
		err = s.login(victim)
	}
	if err != nil {
		s.violation("login: %v", err)
		return
	}
	oldest := victim.Refresh
	for range 3 {
		victim.refresh()
	}
	for _, at := range []string{
		"/mcp?access_token=" + victim.Access, "/" + victim.Access, "/status/" + victim.Refresh, "/authorize?state=" + rand.Text(),
		"/callback?code=" + rand.Text() + "&state=" + rand.Text() + "." + rand.Text(),
		"/authorize?client_id=nobody&state=" + rand.Text(), "/callback?error=server_error&error_description=" + victim.Refresh,
		"/status?subject=" + victim.Refresh, "/static/" + victim.Access,
	} {
		s.request(http.MethodGet, at, "", nil)
	}
	s.misplaced(c, victim)
	if t, err := victim.RefreshWith(oldest); err != nil || !strings.Contains(t.Description, "refresh_reuse") {
		s.violation("reuse: %+v, %v", t, err)
	}
	s.request(http.MethodPost, "/mcp", `{}`, http.Header{"Authorization": {"Bearer " + victim.Access}})
	s.denied(c)
}

// misplaced are requests with good credentials in the wrong place.
func (s *search) misplaced(c, victim *client) {
	for v, known := range s.seen("state") { // answers of the provider that are finished, in another browser
		if known && strings.Contains(v, ".") {
			s.request(http.MethodGet, "/callback?code="+rand.Text()+"&state="+url.QueryEscape(v), "", nil)
		}
	}
	tokens := url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {victim.Refresh}, "client_id": {c.ID}, "client_secret": {rand.Text()},
	}
	s.request(http.MethodPost, "/token", tokens.Encode(), nil)
	s.request(http.MethodPost, "/token?"+tokens.Encode(), tokens.Encode(), nil)
	s.request(http.MethodPost, "/token", tokens.Encode()+"&refresh_token="+victim.Access, nil)
	s.request(http.MethodPost, "/token", fmt.Sprintf(`{"refresh_token":%q}`, victim.Refresh), http.Header{"Content-Type": {"application/json"}})
	s.request(http.MethodPost, "/revoke", "token="+victim.Refresh+"&client_id="+c.ID, nil)
	s.request(http.MethodPost, "/register", fmt.Sprintf(`{"client_name":"x","client_secret":%q,"redirect_uris":["%s/callback?code=%s"]}`,
		rand.Text(), "http://evil.example", victim.Access), http.Header{"Content-Type": {"application/json"}})
	for _, bearer := range []string{victim.Access + "x", victim.Refresh, "Basic", victim.Access[:len(victim.Access)-9]} {
		s.request(http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`,
			http.Header{"Authorization": {"Bearer " + bearer}, "Content-Type": {"application/json"}})
	}
	s.request(http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":1,"method":"`+victim.Access+`"`, http.Header{"Authorization": {"Bearer " + victim.Access}})
	for v := range s.seen("form ticket") {
		s.request(http.MethodPost, "/consent", url.Values{"ticket": {v}, "token": {rand.Text()}, "answer": {"approve"}}.Encode(), nil)
	}
}

// denied is a login that ends with Deny, and a code that comes twice.
func (s *search) denied(c *client) {
	no := s.newClient(s.server, 4, c.user, http.DefaultTransport)
	no.ID, no.Browser.Fill, no.Browser.Allow = c.ID, s.credentials(c.user), false
	if q, err := no.Authorize(no.Begin()); err != nil || q.Get("error") != "access_denied" {
		s.violation("Deny: %v, %v", q, err)
	}
	no.Browser.Allow = true
	a := no.Begin()
	q, err := no.Authorize(a)
	if err != nil {
		s.violation("%v", err)
		return
	}
	wrong := a
	wrong.Verifier = rand.Text() + rand.Text()
	for _, attempt := range []authtest.Attempt{wrong, a, a} {
		no.Redeem(attempt, q.Get("code"))
	}
}

// request sends anything, with a stranger's browser.
func (s *search) request(method, at, body string, header http.Header) {
	q, err := http.NewRequest(method, s.server.url+at, strings.NewReader(body))
	if err != nil {
		s.violation("%v", err)
		return
	}
	q.Header = header.Clone()
	if q.Header == nil {
		q.Header = http.Header{}
	}
	if body != "" && q.Header.Get("Content-Type") == "" {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	q.Header.Set("Cookie", "hostedmcp_csrf="+rand.Text()+"; hostedmcp_signin="+rand.Text())
	res, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		s.violation("%s %.20s: %v", method, at, err)
		return
	}
	res.Body.Close()
}

// seen returns the secrets of a kind.
func (s *search) seen(kind string) map[string]bool {
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	out := map[string]bool{}
	for v, known := range s.book.secrets {
		for _, k := range known.kinds {
			if k == kind {
				out[v] = true
			}
		}
	}
	return out
}

// confidential is a client with a secret: right, wrong, and in the form.
func (s *search) confidential(like *client) error {
	c := s.newClient(s.server, 3, like.user, http.DefaultTransport)
	c.ID, c.Browser.Fill = "reports", s.credentials(like.user)
	right := ""
	for v := range s.seen("client_secret") {
		if len(v) == 52 { // made by secretFile
			right = v
		}
	}
	for _, secret := range []string{right, rand.Text() + rand.Text()} {
		a := c.Begin()
		q, err := c.Authorize(a)
		if err != nil {
			return err
		}
		form := url.Values{"grant_type": {"authorization_code"}, "code": {q.Get("code")}, "code_verifier": {a.Verifier}, "redirect_uri": {c.RedirectURI}}
		req, err := http.NewRequest(http.MethodPost, c.Issuer+"/token", strings.NewReader(form.Encode()))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth("reports", secret)
		t, err := c.Do(req)
		if err != nil || (t.Status == http.StatusOK) != (secret == right) {
			return fmt.Errorf("a client with a secret: %d %s, %w", t.Status, t.Description, err)
		}
	}
	return nil
}

// troubles are the provider's: it fails in words that hold what it was asked with, and its answers cannot be read.
func (s *search) troubles(c *client) {
	shown := s.provider.RefreshTokens()
	last := shown[len(shown)-1]
	asJSON := http.Header{"Content-Type": {"application/json"}}
	faults := []authtest.Fault{
		authtest.Unavailable(503, "1"), {Reset: true}, authtest.HTML(),
		{Status: 200, Header: asJSON, Body: `{"access_token":"` + s.made() + `","token_type":[]}`},
		{Status: 500, Body: "cannot serve refresh_token=" + last},
		{Status: 400, Header: asJSON, Body: fmt.Sprintf(`{"error":"invalid_request","error_description":"cannot read %s"}`, last)},
		{Status: 400, Header: asJSON, Body: fmt.Sprintf(`{"error":"invalid_grant","error_description":"token %s is unknown"}`, last)},
	}
	for i, f := range faults {
		s.provider.Break(authtest.Token, f)
		s.provider.Break(authtest.Userinfo, f)
		s.untilAsked(c)
		s.provider.Mend(authtest.Token, authtest.Userinfo)
		if i+1 < len(faults) { // a good answer ends the pauses; after the last one it would wait to be confirmed
			s.untilAsked(c)
		}
	}
}

// untilAsked has a client refresh and call until the provider was asked for new tokens: between two questions lie the
// life of its token, and pauses after failures.
func (s *search) untilAsked(c *client) {
	before := s.provider.Count(authtest.Token, "refresh_token")
	for deadline := time.Now().Add(patience); s.provider.Count(authtest.Token, "refresh_token") < before+1; {
		c.refresh()
		c.call("userinfo")
		if time.Now().After(deadline) {
			s.violation("the provider was not asked for new tokens: its troubles were not seen")
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// made is a token that the provider gives in an answer that cannot be read.
func (s *search) made() string {
	v := rand.Text() + rand.Text()
	s.book.secret("provider's access_token", v, "")
	return v
}
