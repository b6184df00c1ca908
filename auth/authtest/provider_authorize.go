package authtest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const ssoCookie = "authtest_sso"

// code is one authorization code (RFC 6749 §4.1.2).
type code struct {
	user, sid              string
	redirectURI, challenge string
	nonce, scope           string
	expires                time.Time
	lineage                *lineage // set when it is redeemed
}

// authorize answers with the form, or at once with a code or an error.
func (p *Provider) authorize(x *exchange) answer {
	if a, ok := p.checkRequest(x); !ok {
		return a
	}
	b := p.behaviour
	if b.AutoLogin != "" {
		return p.signedIn(x, b.AutoLogin)
	}
	if s := p.sessions[x.cookie]; b.SharedSession && s != nil && s.dead == "" {
		return p.signedIn(x, s.user)
	}
	return page(http.StatusOK, p.loginForm(x, ""))
}

// login takes the form. The authorization request travels in it.
func (p *Provider) login(x *exchange) answer {
	request, err := url.ParseQuery(x.form.Get("request"))
	if err != nil {
		return page(http.StatusBadRequest, "<p>Bad form.</p>")
	}
	name, password := x.form.Get("username"), x.form.Get("password")
	x.form = request
	if a, ok := p.checkRequest(x); !ok {
		return a
	}
	if u := p.user(name); u.Name == "" || u.Password != password || u.Disabled {
		return page(http.StatusOK, p.loginForm(x, "Invalid username or password."))
	}
	return p.signedIn(x, name)
}

// checkRequest refuses without a redirect what must not be redirected (RFC 6749 §4.1.2.1), the rest with one.
func (p *Provider) checkRequest(x *exchange) (answer, bool) {
	redirect := x.form.Get("redirect_uri")
	known := len(p.config.RedirectURIs) == 0 && redirect != "" || slices.Contains(p.config.RedirectURIs, redirect)
	if x.form.Get("client_id") != p.ClientID || !known {
		x.call.Error = "invalid_request"
		return page(http.StatusBadRequest, "<p>Unknown client or redirect_uri.</p>"), false
	}
	code := p.behaviour.AuthorizeError
	scope := strings.Fields(x.form.Get("scope"))
	switch {
	case code != "":
	case x.form.Get("response_type") != "code":
		code = "unsupported_response_type"
	case x.form.Get("code_challenge") == "" || x.form.Get("code_challenge_method") != "S256":
		code = "invalid_request"
	case !slices.Contains(scope, "openid"):
		code = "invalid_scope"
	default:
		return answer{}, true
	}
	x.call.Error = code
	return p.goBack(x, url.Values{"error": {code}, "error_description": {"the provider's own words"}}), false
}

func (p *Provider) loginForm(x *exchange, complaint string) string {
	return `<p>` + complaint + `</p><form method="post" action="` + p.Issuer + `/authorize">` +
		`<input type="hidden" name="request" value="` + html.EscapeString(x.form.Encode()) + `">` +
		`<input name="username" autocomplete="username"><input name="password" type="password">` +
		`<button>Sign in</button></form>`
}

// signedIn sends the browser back with a code.
func (p *Provider) signedIn(x *exchange, user string) answer {
	s := p.sessions[x.cookie]
	if !p.behaviour.SharedSession || s == nil || s.dead != "" || s.user != user {
		s = &session{id: rand.Text(), user: user}
		p.sessions[s.id] = s
	}
	id := "code-" + rand.Text()
	p.codes[id] = &code{
		user: user, sid: s.id, redirectURI: x.form.Get("redirect_uri"), challenge: x.form.Get("code_challenge"),
		nonce: x.form.Get("nonce"), scope: x.form.Get("scope"), expires: x.now.Add(time.Minute),
	}
	x.call.Session = s.id
	a := p.goBack(x, url.Values{"code": {id}, "session_state": {rand.Text()}})
	a.header.Add("Set-Cookie", (&http.Cookie{Name: ssoCookie, Value: s.id, Path: "/", HttpOnly: true}).String())
	return a
}

// goBack redirects to the client with state and, as the behaviour says, iss (RFC 9207).
func (p *Provider) goBack(x *exchange, q url.Values) answer {
	if state := x.form.Get("state"); state != "" {
		q.Set("state", state)
	}
	switch p.behaviour.Iss {
	case IssOn:
		q.Set("iss", p.Issuer)
	case IssWrong:
		q.Set("iss", p.Issuer+"/other")
	}
	to := x.form.Get("redirect_uri")
	separator := "?"
	if strings.Contains(to, "?") {
		separator = "&"
	}
	a := page(http.StatusFound, "")
	a.header.Set("Location", to+separator+q.Encode())
	return a
}

func page(status int, body string) answer {
	return answer{status, http.Header{"Content-Type": {"text/html; charset=utf-8"}, "Cache-Control": {"no-store"}},
		[]byte("<!doctype html><title>Sign in</title>" + body)}
}

func s256(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
