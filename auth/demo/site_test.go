package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"hostedmcp/auth/demo"
)

const redirectURI = "http://127.0.0.1:9/callback"

// site is a demo provider on a real loopback listener. restart puts a new provider behind the same address.
type site struct {
	t       *testing.T
	opts    demo.Options
	handler atomic.Pointer[http.Handler]
	issuer  string
	oauth   *oauth2.Config
}

func newSite(t *testing.T, change ...func(*demo.Options)) *site {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, issuer: "http://" + l.Addr().String()}
	s.opts = demo.Options{Config: demo.DefaultConfig(), Key: bytes.Repeat([]byte{7}, 32), RedirectURI: redirectURI, Page: page}
	s.opts.Config.Listen = l.Addr().String()
	for _, c := range change {
		c(&s.opts)
	}
	s.restart()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*s.handler.Load()).ServeHTTP(w, r) })}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	secret, err := demo.ClientSecret(s.opts.Key)
	if err != nil {
		t.Fatal(err)
	}
	s.oauth = &oauth2.Config{
		ClientID: demo.ClientID, ClientSecret: secret.Reveal(), RedirectURL: redirectURI,
		Scopes:   []string{"openid", "offline_access"},
		Endpoint: oauth2.Endpoint{AuthURL: s.issuer + "/authorize", TokenURL: s.issuer + "/token", AuthStyle: oauth2.AuthStyleInHeader},
	}
	return s
}

// page stands in for the template of package web.
func page(w http.ResponseWriter, _ *http.Request, p demo.SignIn) error {
	return json.NewEncoder(w).Encode(p)
}

func (s *site) restart() {
	s.t.Helper()
	p, err := demo.New(s.opts)
	if err != nil {
		s.t.Fatal(err)
	}
	if p.Issuer() != s.issuer {
		s.t.Fatalf("issuer %s, want %s", p.Issuer(), s.issuer)
	}
	h := p.Handler()
	s.handler.Store(&h)
}

// browser follows no redirect by itself and keeps cookies.
type browser struct {
	t *testing.T
	c *http.Client
}

func newBrowser(t *testing.T) *browser {
	jar, _ := cookiejar.New(nil)
	return &browser{t, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (b *browser) do(req *http.Request, err error) (*http.Response, string) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	res, err := b.c.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res, string(body)
}

func (b *browser) get(u string) (*http.Response, string) { return b.do(http.NewRequest("GET", u, nil)) }

func (b *browser) post(u string, form url.Values) (*http.Response, string) {
	req, err := http.NewRequest("POST", u, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(req, err)
}

func (s *site) authURL(verifier string, more ...oauth2.AuthCodeOption) string {
	usual := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("nonce", "n-1")}
	return s.oauth.AuthCodeURL("st-1", append(usual, more...)...)
}

// form walks to the sign-in page and returns its token; between is called before every request.
func (s *site) form(b *browser, authURL string, between func()) string {
	s.t.Helper()
	between()
	res, body := b.get(authURL)
	if res.StatusCode != http.StatusFound || !strings.HasPrefix(res.Header.Get("Location"), "/login?") {
		s.t.Fatalf("authorize: %d %s %s", res.StatusCode, res.Header.Get("Location"), body)
	}
	between()
	res, body = b.get(s.issuer + res.Header.Get("Location"))
	var p demo.SignIn
	if err := json.Unmarshal([]byte(body), &p); err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("sign-in page: %d %s", res.StatusCode, body)
	}
	return p.Token
}

// code signs alice in and returns the query of the redirect to the client.
func (s *site) code(b *browser, verifier string, between func()) url.Values {
	s.t.Helper()
	token := s.form(b, s.authURL(verifier), between)
	between()
	res, body := b.post(s.issuer+"/login", url.Values{"token": {token}, "username": {"alice"}, "password": {"alice-pw"}})
	if res.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("sign-in: %d %s", res.StatusCode, body)
	}
	between()
	res, body = b.get(s.issuer + res.Header.Get("Location"))
	to, err := url.Parse(res.Header.Get("Location"))
	if err != nil || !strings.HasPrefix(to.String(), redirectURI+"?") {
		s.t.Fatalf("callback: %d %s %s", res.StatusCode, res.Header.Get("Location"), body)
	}
	return to.Query()
}

func (s *site) exchange(code, verifier string) (*oauth2.Token, error) {
	return s.oauth.Exchange(context.Background(), code, oauth2.VerifierOption(verifier))
}

func (s *site) login() *oauth2.Token {
	s.t.Helper()
	v := oauth2.GenerateVerifier()
	tok, err := s.exchange(s.code(newBrowser(s.t), v, func() {}).Get("code"), v)
	if err != nil {
		s.t.Fatal(err)
	}
	return tok
}

func (s *site) refresh(refresh string) (*oauth2.Token, error) {
	return s.oauth.TokenSource(context.Background(), &oauth2.Token{RefreshToken: refresh}).Token()
}

func (s *site) userinfo(access string) (int, map[string]any) {
	s.t.Helper()
	req, _ := http.NewRequest("GET", s.issuer+"/userinfo", nil)
	req.Header.Set("Authorization", "Bearer "+access)
	res, body := newBrowser(s.t).do(req, nil)
	var claims map[string]any
	if err := json.Unmarshal([]byte(body), &claims); err != nil {
		s.t.Fatalf("userinfo: %q: %v", body, err)
	}
	return res.StatusCode, claims
}

// idToken verifies an id_token against the published keys.
func (s *site) idToken(tok *oauth2.Token) map[string]any {
	s.t.Helper()
	_, body := newBrowser(s.t).get(s.issuer + "/keys")
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(body), &keys); err != nil {
		s.t.Fatal(err)
	}
	raw, _ := tok.Extra("id_token").(string)
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		s.t.Fatal(err)
	}
	payload, err := jws.Verify(keys.Key(jws.Signatures[0].Header.KeyID)[0])
	if err != nil {
		s.t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		s.t.Fatal(err)
	}
	return claims
}

// wantAlice compares the claims that both id_token and userinfo carry.
func wantAlice(t *testing.T, claims map[string]any) {
	t.Helper()
	want := map[string]any{
		"name": "Alice", "preferred_username": "alice", "email": "alice@example.com", "email_verified": true, "groups": []any{"sales"},
	}
	for k, v := range want {
		if fmt.Sprint(claims[k]) != fmt.Sprint(v) {
			t.Errorf("claim %s is %v, want %v", k, claims[k], v)
		}
	}
}

func wantError(t *testing.T, err error, code string) {
	t.Helper()
	var e *oauth2.RetrieveError
	if !errors.As(err, &e) || e.ErrorCode != code {
		t.Errorf("got %v, want %s", err, code)
	}
}
