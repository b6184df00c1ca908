package authtest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
)

// Browser is a headless browser for the provider's part of a login. It follows no redirect.
type Browser struct{ http *http.Client }

// NewBrowser returns a browser without cookies.
func NewBrowser() *Browser {
	jar, _ := cookiejar.New(nil) // no options, no error
	return &Browser{&http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

// SignIn signs a user in at authURL in a browser of its own and returns where the provider then sends it: the client's
// redirect URI with code or error, state and iss.
func (p *Provider) SignIn(authURL, user string) (*url.URL, error) {
	return NewBrowser().SignIn(p, authURL, user)
}

// SignIn is Provider.SignIn in this browser: a second login may find the provider's session of the first.
func (b *Browser) SignIn(p *Provider, authURL, user string) (*url.URL, error) {
	resp, err := b.http.Get(authURL)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		if resp, err = b.submit(string(body), p.User(user)); err != nil {
			return nil, err
		}
	}
	if resp.StatusCode != http.StatusFound {
		return nil, fmt.Errorf("provider: no redirect but %d", resp.StatusCode)
	}
	return resp.Location()
}

var (
	formAction = regexp.MustCompile(`<form [^>]*action="([^"]*)"`)
	formHidden = regexp.MustCompile(`name="request" value="([^"]*)"`)
)

func (b *Browser) submit(page string, u User) (*http.Response, error) {
	action, hidden := formAction.FindStringSubmatch(page), formHidden.FindStringSubmatch(page)
	if action == nil || hidden == nil {
		return nil, errors.New("provider: no login form on the page")
	}
	form := url.Values{
		"request": {strings.ReplaceAll(hidden[1], "&amp;", "&")}, "username": {u.Name}, "password": {u.Password},
	}
	resp, err := b.http.PostForm(action[1], form)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	return resp, nil
}
