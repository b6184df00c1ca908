package demo_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"hostedmcp/auth/demo"
)

// A restart between any two requests changes nothing: all memory is in what the browser and the client carry.
func TestRestartAtEveryStep(t *testing.T) {
	s := newSite(t)
	v := oauth2.GenerateVerifier()
	q := s.code(newBrowser(t), v, s.restart)
	if q.Get("state") != "st-1" || q.Get("iss") != s.issuer || len(q["iss"]) != 1 {
		t.Errorf("redirect: %v", q)
	}
	s.restart()
	tok, err := s.exchange(q.Get("code"), v)
	if err != nil {
		t.Fatal(err)
	}
	s.restart()
	claims := s.idToken(tok)
	wantAlice(t, claims)
	if claims["iss"] != s.issuer || claims["nonce"] != "n-1" || claims["sub"] == "alice" {
		t.Errorf("id_token: %v", claims)
	}
	s.restart()
	again, err := s.refresh(tok.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if again.RefreshToken != tok.RefreshToken || again.AccessToken == tok.AccessToken {
		t.Error("a refresh makes a new access token and leaves the refresh token as it is")
	}
	if c := s.idToken(again); c["sub"] != claims["sub"] || c["nonce"] != nil {
		t.Errorf("id_token of the refresh: %v", c)
	}
	s.restart()
	for _, access := range []string{tok.AccessToken, again.AccessToken} {
		status, info := s.userinfo(access)
		if status != http.StatusOK || info["sub"] != claims["sub"] {
			t.Errorf("userinfo: %d %v", status, info)
		}
		wantAlice(t, info)
	}
}

// Another key knows nothing of what the first one made.
func TestOtherKey(t *testing.T) {
	s := newSite(t)
	v := oauth2.GenerateVerifier()
	b := newBrowser(t)
	form := s.form(b, s.authURL(v), func() {})
	code := s.code(b, v, func() {}).Get("code")
	tok := s.login()
	s.opts.Key = bytes.Repeat([]byte{8}, 32)
	s.restart()
	if res, _ := b.post(s.issuer+"/login", url.Values{"token": {form}, "user": {"alice"}}); res.StatusCode != http.StatusBadRequest {
		t.Errorf("sign-in form of another key: %d", res.StatusCode)
	}
	_, err := s.exchange(code, v)
	wantError(t, err, "invalid_grant")
	_, err = s.refresh(tok.RefreshToken)
	wantError(t, err, "invalid_client") // the secret is another one too
	secret, _ := demo.ClientSecret(s.opts.Key)
	s.oauth.ClientSecret = secret.Reveal()
	_, err = s.refresh(tok.RefreshToken)
	wantError(t, err, "invalid_grant")
	if status, _ := s.userinfo(tok.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("access token of another key: %d", status)
	}
}

// RFC 6749 §4.1.2: a code is good once; a second use ends what the first one began.
func TestCodeOnce(t *testing.T) {
	s := newSite(t)
	v := oauth2.GenerateVerifier()
	code := s.code(newBrowser(t), v, func() {}).Get("code")
	_, err := s.exchange(code, oauth2.GenerateVerifier())
	wantError(t, err, "invalid_grant") // RFC 7636 §4.6; nothing is spent
	good := s.oauth.ClientSecret
	s.oauth.ClientSecret = "guessed"
	_, err = s.exchange(code, v)
	wantError(t, err, "invalid_client")
	s.oauth.ClientSecret = good
	tok, err := s.exchange(code, v)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.exchange(code, v)
	wantError(t, err, "invalid_grant")
	_, err = s.refresh(tok.RefreshToken)
	wantError(t, err, "invalid_grant")
	if status, _ := s.userinfo(tok.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("access token of a replayed code: %d", status)
	}
}

func TestTimes(t *testing.T) {
	var ahead atomic.Int64
	s := newSite(t, func(o *demo.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	v := oauth2.GenerateVerifier()
	b := newBrowser(t)
	form := s.form(b, s.authURL(v), func() {})
	code := s.code(b, v, func() {}).Get("code")
	tok := s.login()
	ahead.Store(int64(61 * time.Second))
	_, err := s.exchange(code, v)
	wantError(t, err, "invalid_grant")
	ahead.Store(int64(31 * time.Minute))
	if res, _ := b.post(s.issuer+"/login", url.Values{"token": {form}, "user": {"alice"}}); res.StatusCode != http.StatusBadRequest {
		t.Errorf("sign-in after half an hour: %d", res.StatusCode)
	}
	ahead.Store(int64(365 * 24 * time.Hour))
	if _, err := s.refresh(tok.RefreshToken); err != nil {
		t.Errorf("a refresh token has no end: %v", err)
	}
}

// The life of an access token is a test's to choose; it ends at the provider as expires_in says.
func TestAccessTTL(t *testing.T) {
	s := newSite(t, func(o *demo.Options) { o.AccessTTL = 2 * time.Hour })
	if left := s.login().ExpiresIn; left < 7000 || left > 7200 {
		t.Errorf("expires_in %d", left)
	}
	s = newSite(t, func(o *demo.Options) { o.AccessTTL = time.Second })
	access := s.login().AccessToken
	for status := 0; status != http.StatusUnauthorized; { // op's clock is the real one: the end is awaited
		if status, _ = s.userinfo(access); status != http.StatusUnauthorized && t.Context().Err() != nil {
			t.Fatal("it never ends")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// RFC 7009 §2.1: whichever token is revoked, the session ends, and garbage is no error.
func TestRevoke(t *testing.T) {
	s := newSite(t)
	for name, pick := range map[string]func(*oauth2.Token) string{
		"refresh token": func(t *oauth2.Token) string { return t.RefreshToken },
		"access token":  func(t *oauth2.Token) string { return t.AccessToken },
	} {
		tok, other := s.login(), s.login()
		if status := s.revoke(pick(tok)); status != http.StatusOK {
			t.Errorf("%s: %d", name, status)
		}
		_, err := s.refresh(tok.RefreshToken)
		wantError(t, err, "invalid_grant")
		if status, _ := s.userinfo(tok.AccessToken); status != http.StatusUnauthorized {
			t.Errorf("%s revoked, userinfo: %d", name, status)
		}
		if _, err := s.refresh(other.RefreshToken); err != nil {
			t.Errorf("another session of the same user: %v", err)
		}
	}
	if status := s.revoke("garbage"); status != http.StatusOK {
		t.Errorf("garbage: %d", status)
	}
	s.oauth.ClientSecret = "guessed"
	if status := s.revoke("garbage"); status != http.StatusUnauthorized {
		t.Errorf("wrong secret: %d", status)
	}
}

func (s *site) revoke(token string) int {
	req, _ := http.NewRequest("POST", s.issuer+"/revoke", strings.NewReader(url.Values{"token": {token}}.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(s.oauth.ClientID, s.oauth.ClientSecret)
	res, _ := newBrowser(s.t).do(req, nil)
	return res.StatusCode
}

// A user taken out of the configuration is gone with the next start.
func TestUserGone(t *testing.T) {
	s := newSite(t)
	tok := s.login()
	s.opts.Config.Users = s.opts.Config.Users[1:]
	s.restart()
	_, err := s.refresh(tok.RefreshToken)
	wantError(t, err, "invalid_grant")
	if status, _ := s.userinfo(tok.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("userinfo: %d", status)
	}
}

// OpenID Connect Core §5.3.1: an id_token, signed by the same key, is no access token.
func TestIDTokenIsNoAccessToken(t *testing.T) {
	s := newSite(t)
	if status, _ := s.userinfo(s.login().Extra("id_token").(string)); status != http.StatusUnauthorized {
		t.Errorf("userinfo with an id_token: %d", status)
	}
}

func TestDiscovery(t *testing.T) {
	s := newSite(t, func(o *demo.Options) { o.Static = http.NotFoundHandler() })
	res, body := newBrowser(t).get(s.issuer + "/.well-known/openid-configuration")
	var d map[string]any
	if err := json.Unmarshal([]byte(body), &d); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if d["issuer"] != s.issuer || d["authorization_response_iss_parameter_supported"] != true {
		t.Errorf("%v", d)
	}
	for _, gone := range []string{"/oauth/introspect", "/end_session", "/device_authorization", "/healthz", "/"} {
		if res, _ := newBrowser(t).get(s.issuer + gone); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", gone, res.StatusCode)
		}
	}
}

// Under another name (DNS rebinding) nothing is answered, and every answer carries the headers of protocol.md §4.3.
func TestGuard(t *testing.T) {
	s := newSite(t)
	req, _ := http.NewRequest("GET", s.issuer+"/keys", nil)
	req.Header.Set("Origin", "https://evil.example")
	res, _ := newBrowser(t).do(req, nil)
	for _, h := range []string{"Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy"} {
		if res.Header.Get(h) == "" {
			t.Errorf("%s is missing", h)
		}
	}
	if strings.Contains(res.Header.Get("Content-Security-Policy"), "form-action") {
		t.Error("form-action holds for the redirects that follow, and would block them")
	}
	req.Host = "evil.example"
	if res, _ := newBrowser(t).do(req, nil); res.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("another host: %d", res.StatusCode)
	}
	if origin := res.Header.Get("Access-Control-Allow-Origin"); origin != "" {
		t.Errorf("CORS for %s", origin)
	}
}
