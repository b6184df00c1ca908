package authtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/authtest"
)

const callback = "http://127.0.0.1:4711/callback"

// client is a relying party without any care, so that the provider alone is tested.
type client struct {
	*testing.T
	*authtest.Provider
	clock *authtest.Clock
}

func newClient(t *testing.T, options ...authtest.Option) *client {
	clock := authtest.NewClock(time.Unix(1_800_000_000, 0))
	options = append(options, func(c *authtest.ProviderConfig) { c.Now = clock.Now })
	return &client{t, authtest.NewProvider(t, options...), clock}
}

func (c *client) authURL(change url.Values) string {
	q := url.Values{"client_id": {c.ClientID}, "redirect_uri": {callback}, "response_type": {"code"}, "state": {"s"},
		"scope": {"openid offline_access"}, "code_challenge_method": {"S256"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}} // RFC 7636 appendix B
	for name, values := range change {
		q[name] = values
	}
	return c.Issuer + "/authorize?" + q.Encode()
}

func (c *client) code(user string) string {
	c.Helper()
	back, err := c.SignIn(c.authURL(nil), user)
	if err != nil {
		c.Fatal(err)
	}
	return back.Query().Get("code")
}

type tokens struct {
	Access      string `json:"access_token"`
	Refresh     string `json:"refresh_token"`
	IDToken     string `json:"id_token"`
	RefreshLife *int   `json:"refresh_expires_in"`
	Error       string `json:"error"`
	Words       string `json:"error_description"`
}

func (c *client) post(path string, form url.Values) (int, tokens, error) {
	req, _ := http.NewRequest(http.MethodPost, c.Issuer+path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(c.ClientID, c.ClientSecret)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, tokens{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	var t tokens
	json.Unmarshal(body, &t)
	return resp.StatusCode, t, err
}

func (c *client) redeem(code string) (int, tokens) {
	status, t, err := c.post("/token", url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback},
		"code_verifier": {"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"}})
	if err != nil {
		c.Fatal(err)
	}
	return status, t
}

func (c *client) login() string {
	c.Helper()
	status, t := c.redeem(c.code("alice"))
	if status != 200 || t.Refresh == "" {
		c.Fatalf("login: %d %s", status, t.Words)
	}
	return t.Refresh
}

// refresh returns the next refresh token, or the words of the refusal.
func (c *client) refresh(token string) (next, words string) {
	_, t, err := c.post("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
	if err != nil {
		return "", err.Error()
	}
	return t.Refresh, t.Words
}

// Rotation as Keycloak was measured (shared/keycloak). A step refreshes with the token of that number: 0 is the login's,
// a success appends the next.
func TestRotation(t *testing.T) {
	const stale, reuse, detached = "Stale token", "Maximum allowed refresh token reuse exceeded", "Session doesn't have required client"
	for _, row := range []struct {
		name  string
		mode  authtest.Rotation
		steps []int
		words []string
	}{
		{"none: every generation, ever", authtest.RotationNone, []int{0, 0, 1, 0, 2}, []string{"", "", "", "", ""}},
		{"strict: in order", authtest.RotationStrict, []int{0, 1, 2}, []string{"", "", ""}},
		{"strict: twice, and the successor is dead", authtest.RotationStrict, []int{0, 0, 1}, []string{"", reuse, detached}},
		{"strict: two generations old", authtest.RotationStrict, []int{0, 1, 0, 2}, []string{"", "", stale, detached}},
		{"reuse: one retry", authtest.RotationReuse, []int{0, 0, 2}, []string{"", "", ""}},
		{"reuse: two retries", authtest.RotationReuse, []int{0, 0, 0, 1}, []string{"", "", reuse, detached}},
		{"reuse: the older successor after the newer", authtest.RotationReuse, []int{0, 0, 2, 1}, []string{"", "", "", stale}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newClient(t, authtest.With(func(b *authtest.Behaviour) { b.Rotation = row.mode }))
			chain := []string{c.login()}
			for i, n := range row.steps {
				next, words := c.refresh(chain[n])
				if words != row.words[i] {
					t.Fatalf("step %d: %q, want %q", i, words, row.words[i])
				}
				if next != "" {
					chain = append(chain, next)
				}
			}
			calls := c.Calls(authtest.Token)[1:]
			for i, n := range row.steps {
				if calls[i].RefreshToken() != chain[n] || calls[i].Generation != n+1 || calls[i].Lineage == "" ||
					calls[i].Description != row.words[i] || calls[i].Carried != (row.words[i] == "") || !calls[i].Answered {
					t.Errorf("log of step %d: %+v", i, calls[i])
				}
			}
			if got := c.RefreshTokens(); len(got) != len(row.steps) || c.Count(authtest.Token, "refresh_token") != len(row.steps) {
				t.Errorf("%d refresh tokens in the log", len(got))
			}
		})
	}
}

// What else ends a refresh token, in Keycloak's words.
func TestRefusals(t *testing.T) {
	for _, row := range []struct {
		words  string
		change func(c *client, token string)
	}{
		{"Token is not active", func(c *client, _ string) { c.clock.Advance(31 * time.Minute) }},
		{"User disabled", func(c *client, _ string) { c.SetUser(authtest.User{Name: "alice", Disabled: true}) }},
		{"Session not active", func(c *client, _ string) { c.EndSession("alice", "") }},
		{"Stale token", func(c *client, _ string) { c.EndSession("alice", "Stale token") }},
		{"Session not active", func(c *client, token string) { c.post("/revoke", url.Values{"token": {token}}) }},
		{"Invalid refresh token", func(c *client, _ string) { c.Forget() }},
	} {
		t.Run(row.words, func(t *testing.T) {
			c := newClient(t)
			back, err := c.SignIn(c.authURL(url.Values{"scope": {"openid"}}), "alice")
			if err != nil {
				t.Fatal(err)
			}
			_, tokens := c.redeem(back.Query().Get("code"))
			if *tokens.RefreshLife != 1800 {
				t.Errorf("refresh_expires_in %d", *tokens.RefreshLife)
			}
			row.change(c, tokens.Refresh)
			if _, words := c.refresh(tokens.Refresh); words != row.words {
				t.Errorf("%q", words)
			}
		})
	}
	c := newClient(t)
	code := c.code("bob")
	_, first := c.redeem(code)
	if status, t2 := c.redeem(code); status != 400 || t2.Words != "Code not valid" {
		t.Errorf("a code twice: %d %q", status, t2.Words)
	}
	if _, words := c.refresh(first.Refresh); words == "" {
		t.Error("the tokens of a replayed code live")
	}
	if status, t2, _ := c.post("/revoke", url.Values{"token": {"garbage"}}); status != 200 || t2.Error != "invalid_token" {
		t.Errorf("revoking garbage: %d %q", status, t2.Error)
	}
	if !slices.Equal(c.Revoked(), []string{"garbage"}) {
		t.Errorf("revoked %q", c.Revoked())
	}
}

// The browser's part: form, wrong password, at once, error, shared session, iss.
func TestSignIn(t *testing.T) {
	c := newClient(t)
	for _, change := range []url.Values{{"client_id": {"x"}}, {"redirect_uri": {""}}} {
		if _, err := c.SignIn(c.authURL(change), "alice"); err == nil {
			t.Errorf("%v is redirected", change)
		}
	}
	for want, change := range map[string]url.Values{
		"invalid_request": {"code_challenge_method": {"plain"}}, "invalid_scope": {"scope": {"email"}},
		"unsupported_response_type": {"response_type": {"token"}},
	} {
		back, err := c.SignIn(c.authURL(change), "alice")
		if err != nil || back.Query().Get("error") != want || back.Query().Get("iss") != c.Issuer || back.Query().Get("state") != "s" {
			t.Errorf("%v: %v %v", change, back, err)
		}
	}
	c.SetUser(authtest.User{Name: "carol", Password: "right", Disabled: true})
	for _, name := range []string{"carol", "nobody"} {
		if _, err := c.SignIn(c.authURL(nil), name); err == nil {
			t.Errorf("%s signs in", name)
		}
	}
	c.Set(func(b *authtest.Behaviour) { b.SharedSession = true })
	browser := authtest.NewBrowser()
	for range 2 {
		if _, err := browser.SignIn(c.Provider, c.authURL(nil), "alice"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.Sessions()); n != 1 {
		t.Errorf("%d provider sessions for one browser", n)
	}
	c.Set(func(b *authtest.Behaviour) { b.AutoLogin, b.Iss = "bob", authtest.IssWrong })
	back, err := c.SignIn(c.authURL(nil), "nobody")
	if err != nil || back.Query().Get("code") == "" || back.Query().Get("iss") == c.Issuer {
		t.Errorf("at once: %v %v", back, err)
	}
	c.Set(func(b *authtest.Behaviour) { b.AuthorizeError, b.Iss = "access_denied", authtest.IssOff })
	back, err = c.SignIn(c.authURL(nil), "alice")
	if err != nil || back.Query().Get("error") != "access_denied" || back.Query().Has("iss") {
		t.Errorf("error: %v %v", back, err)
	}
}

// A fault in pairs: it failed; it failed, but it had happened.
func TestFaults(t *testing.T) {
	for _, row := range []struct {
		name    string
		fault   authtest.Fault
		happens bool
	}{
		{"reset before", authtest.Fault{Reset: true}, false},
		{"reset after", authtest.Fault{Reset: true, After: true}, true},
		{"cut", authtest.Fault{Cut: 10}, true},
		{"503 before", authtest.Unavailable(503, "1"), false},
		{"503 after", func() authtest.Fault { f := authtest.Unavailable(503, "1"); f.After = true; return f }(), true},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newClient(t, authtest.With(func(b *authtest.Behaviour) { b.Rotation = authtest.RotationStrict }))
			token := c.login()
			row.fault.Times = 1
			row.fault.Grant = "refresh_token"
			c.Break(authtest.Token, row.fault)
			if next, _ := c.refresh(token); next != "" {
				t.Fatal("an answer came through")
			}
			if call := c.Calls(authtest.Token)[1]; call.Carried != row.happens || call.Answered {
				t.Errorf("log %+v", call)
			}
			next, words := c.refresh(token) // the fault strikes once
			if (next == "") != row.happens {
				t.Errorf("the same token again: %q", words)
			}
		})
	}
}

// A gate holds an answer that has been decided, one at a time.
func TestGate(t *testing.T) {
	c := newClient(t)
	token := c.login()
	gate := authtest.NewGate()
	c.Break(authtest.Token, authtest.Fault{Gate: gate, After: true})
	answers := make(chan string, 2)
	for range 2 {
		go func() { next, _ := c.refresh(token); answers <- next }()
	}
	<-gate.Arrived()
	<-gate.Arrived()
	if n := c.Count(authtest.Token, "refresh_token"); n != 2 || len(answers) != 0 {
		t.Errorf("%d at the gate, %d answers", n, len(answers))
	}
	gate.Pass()
	if <-answers == "" {
		t.Error("no answer after the gate")
	}
	gate.Open()
	if <-answers == "" {
		t.Error("no answer through the open gate")
	}
	c.Mend()
	c.ResetLog()
	if n := len(c.Calls()); n != 0 {
		t.Errorf("%d calls in an emptied log", n)
	}
}

// Down refuses, Up is the same provider again; also outside of testing.
func TestDownAndUp(t *testing.T) {
	p, err := authtest.StartProvider(authtest.ProviderConfig{Path: "/realms/demo", LogMax: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c := &client{T: t, Provider: p}
	token := c.login()
	gate := authtest.NewGate()
	p.Break(authtest.Token, authtest.Fault{Gate: gate, Times: 1})
	hanging := make(chan string, 1)
	go func() { _, words := c.refresh(token); hanging <- words }()
	<-gate.Arrived()
	p.Down()
	if <-hanging == "" {
		t.Error("an answer out of a closed provider")
	}
	if _, words := c.refresh(token); !strings.Contains(words, "refused") {
		t.Errorf("down: %q", words)
	}
	if err := p.Up(); err != nil {
		t.Fatal(err)
	}
	if next, words := c.refresh(token); next == "" {
		t.Errorf("up again: %q", words)
	}
	for range 20 {
		c.refresh(token)
	}
	if n := len(p.Calls()); n > 10 || p.Count(authtest.Token) < 20 {
		t.Errorf("%d calls kept, %d counted", n, p.Count(authtest.Token))
	}
}
