package demo_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"hostedmcp/auth/demo"
)

// What /authorize refuses goes back to the client with iss; a redirect URI that is not ours goes nowhere.
func TestAuthorizeRefusals(t *testing.T) {
	s := newSite(t)
	v := oauth2.GenerateVerifier()
	for _, row := range []struct {
		name string
		with []oauth2.AuthCodeOption
		want string // error parameter; "" = answered here, 400
	}{
		{"no PKCE (RFC 7636 §4.4.1)", params("code_challenge", "", "code_challenge_method", ""), "invalid_request"},
		{"no method is plain (RFC 7636 §4.3)", params("code_challenge_method", ""), "invalid_request"},
		{"plain", params("code_challenge", strings.Repeat("v", 43), "code_challenge_method", "plain"), "invalid_request"},
		{"challenge too short", params("code_challenge", "abc"), "invalid_request"},
		{"form_post", params("response_mode", "form_post"), "invalid_request"},
		{"implicit", params("response_type", "id_token"), ""},
		{"request object", params("request", "e30.e30."), "request_not_supported"},
		{"no openid", params("scope", "offline_access"), "invalid_scope"},
		{"prompt=none (Core §3.1.2.1)", params("prompt", "none"), "login_required"},
		{"another client", params("client_id", "other"), ""},
		{"another redirect URI", params("redirect_uri", redirectURI+"/"), ""},
		{"no redirect URI", params("redirect_uri", ""), ""},
	} {
		res, body := newBrowser(t).get(s.authURL(v, row.with...))
		to, _ := url.Parse(res.Header.Get("Location"))
		switch q := to.Query(); {
		case row.want == "" && (res.StatusCode != http.StatusBadRequest || to.String() != ""):
			t.Errorf("%s: %d to %s", row.name, res.StatusCode, to)
		case row.want != "" && (!strings.HasPrefix(to.String(), redirectURI+"?") || q.Get("error") != row.want || q.Get("state") != "st-1" || q.Get("iss") != s.issuer):
			t.Errorf("%s: %d to %s %s", row.name, res.StatusCode, to, body)
		}
	}
}

func params(pairs ...string) (out []oauth2.AuthCodeOption) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, oauth2.SetAuthURLParam(pairs[i], pairs[i+1]))
	}
	return out
}

func TestSignIn(t *testing.T) {
	s := newSite(t)
	for _, row := range []struct {
		name string
		form url.Values
		want int
	}{
		{"wrong password", url.Values{"username": {"alice"}, "password": {"bob-pw"}}, http.StatusOK},
		{"no password", url.Values{"username": {"alice"}}, http.StatusOK},
		{"unknown user", url.Values{"username": {"mallory"}, "password": {"x"}}, http.StatusOK},
		{"unknown user, empty password", url.Values{"username": {"mallory"}}, http.StatusOK},
		{"unknown button", url.Values{"user": {"mallory"}}, http.StatusOK},
		{"nothing", url.Values{}, http.StatusOK},
		{"password", url.Values{"username": {"bob"}, "password": {"bob-pw"}}, http.StatusSeeOther},
		{"button", url.Values{"user": {"bob"}}, http.StatusSeeOther},
	} {
		b := newBrowser(t)
		row.form.Set("token", s.form(b, s.authURL(oauth2.GenerateVerifier()), func() {}))
		res, body := b.post(s.issuer+"/login", row.form)
		if res.StatusCode != row.want || (row.want == http.StatusOK) != strings.Contains(body, `"Failed":true`) {
			t.Errorf("%s: %d %s", row.name, res.StatusCode, body)
		}
	}
}

// The sign-in stays in the browser that began it, in every step; a second tab takes nothing away.
func TestOtherBrowser(t *testing.T) {
	s := newSite(t)
	victim, thief := newBrowser(t), newBrowser(t)
	v := oauth2.GenerateVerifier()
	form := s.form(victim, s.authURL(v), func() {})
	s.form(thief, s.authURL(v), func() {}) // has a cookie, of its own
	login := url.Values{"token": {form}, "username": {"alice"}, "password": {"alice-pw"}}
	for name, b := range map[string]*browser{"another cookie": thief, "no cookie": newBrowser(t)} {
		if res, _ := b.get(s.issuer + "/login?request=" + form); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s, page: %d", name, res.StatusCode)
		}
		if res, _ := b.post(s.issuer+"/login", login); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s, form: %d", name, res.StatusCode)
		}
	}
	s.form(victim, s.authURL(v), func() {}) // the second tab
	res, _ := victim.post(s.issuer+"/login", login)
	callback := s.issuer + res.Header.Get("Location")
	if res, _ := thief.get(callback); res.StatusCode != http.StatusBadRequest {
		t.Errorf("the thief's callback: %d %s", res.StatusCode, res.Header.Get("Location"))
	}
	if res, _ := victim.get(callback); res.StatusCode != http.StatusFound {
		t.Errorf("the victim's callback: %d", res.StatusCode)
	}
	if res, _ := victim.get(s.issuer + "/authorize/callback?id=" + form); res.StatusCode != http.StatusBadRequest {
		t.Errorf("a request that nobody answered, as an answer: %d", res.StatusCode)
	}
}

func TestForeignForm(t *testing.T) {
	s := newSite(t)
	b := newBrowser(t)
	form := url.Values{"token": {s.form(b, s.authURL(oauth2.GenerateVerifier()), func() {})}, "user": {"alice"}}
	for origin, want := range map[string]int{s.issuer: http.StatusSeeOther, "http://127.0.0.1:1": http.StatusForbidden, "null": http.StatusForbidden} {
		req, err := http.NewRequest("POST", s.issuer+"/login", strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", origin)
		if res, _ := b.do(req, err); res.StatusCode != want {
			t.Errorf("Origin %s: %d", origin, res.StatusCode)
		}
	}
}

// Five wrong passwords, then even the right one waits; other users do not, and unknown names share one budget.
func TestGuessing(t *testing.T) {
	s := newSite(t)
	try := func(name, password string) int {
		b := newBrowser(t)
		token := s.form(b, s.authURL(oauth2.GenerateVerifier()), func() {})
		res, _ := b.post(s.issuer+"/login", url.Values{"token": {token}, "username": {name}, "password": {password}})
		return res.StatusCode
	}
	for i := range 5 {
		if got := try("alice", "x"); got != http.StatusOK {
			t.Fatalf("guess %d: %d", i, got)
		}
		try("stranger-"+string(rune('a'+i)), "x")
	}
	for name, want := range map[string]int{"alice": http.StatusTooManyRequests, "stranger-z": http.StatusTooManyRequests, "bob": http.StatusSeeOther} {
		if got := try(name, name+"-pw"); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}

func TestCookie(t *testing.T) {
	s := newSite(t)
	b := newBrowser(t)
	res, _ := b.get(s.authURL(oauth2.GenerateVerifier()))
	first := res.Cookies()[0]
	if first.Name != "demo_signin" || !first.HttpOnly || first.SameSite != http.SameSiteLaxMode || first.Path != "/" || first.Domain != "" || first.MaxAge != 1800 {
		t.Errorf("%v", first)
	}
	res, _ = b.get(s.authURL(oauth2.GenerateVerifier()))
	if again := res.Cookies()[0]; again.Value != first.Value || again.MaxAge != first.MaxAge {
		t.Errorf("kept and renewed: %v", again)
	}
	req, err := http.NewRequest("GET", s.authURL(oauth2.GenerateVerifier()), nil)
	req.Header.Set("Cookie", "demo_signin="+strings.Repeat("x", 4000))
	res, _ = newBrowser(t).do(req, err)
	if got := res.Cookies()[0]; len(got.Value) != len(first.Value) {
		t.Errorf("a cookie of another size is replaced: %v", got)
	}
}

// style.md, trap 12: op logs through the default logger. What we hand it there holds no secret.
func TestNothingSecretInTheLog(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	s := newSite(t, func(o *demo.Options) { o.Log = slog.Default() })
	v := oauth2.GenerateVerifier()
	b := newBrowser(t)
	form := s.form(b, s.authURL(v), func() {})
	code := s.code(b, v, func() {}).Get("code")
	tok, err := s.exchange(code, v)
	if err != nil {
		t.Fatal(err)
	}
	s.exchange(code, v)
	s.refresh(tok.RefreshToken)
	s.userinfo(tok.AccessToken + "x")
	newBrowser(t).get(s.authURL(v, params("code_challenge", "")...))
	if !strings.Contains(log.String(), "the code has been used") || !strings.Contains(log.String(), "signed in") {
		t.Fatalf("the log was not caught: %s", log.String())
	}
	for name, secret := range map[string]string{
		"form": form, "code": code, "verifier": v, "access token": tok.AccessToken, "refresh token": tok.RefreshToken,
		"client secret": s.oauth.ClientSecret, "password": "alice-pw", "state": "st-1",
	} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%s is in the log", name)
		}
	}
}
