package authtest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"hostedmcp/auth/oauth"
)

// Client is a headless MCP client: it discovers, registers, logs in through a UserAgent, refreshes and calls, and keeps
// what a real one would store.
type Client struct {
	Issuer      string
	HTTP        *http.Client
	ID          string
	RedirectURI string
	Scope       string // asked at /authorize; "" = none
	Browser     *UserAgent

	Access, Refresh string // the tokens it holds
}

// TokenAnswer is what /token said, good or bad.
type TokenAnswer struct {
	Status      int
	Header      http.Header
	Access      string `json:"access_token"`
	Type        string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Refresh     string `json:"refresh_token"`
	Scope       string `json:"scope"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// NewClient returns a client of the server at issuer whose answers go to a loopback redirect URI.
func NewClient(issuer string) *Client {
	return &Client{
		Issuer: issuer, HTTP: &http.Client{}, RedirectURI: "http://127.0.0.1:33418/callback", Browser: NewUserAgent(),
	}
}

// Register registers dynamically (RFC 7591) and keeps the client id.
func (c *Client) Register(name string) error {
	body, err := json.Marshal(map[string]any{"client_name": name, "redirect_uris": []string{c.RedirectURI}})
	if err != nil {
		return err
	}
	res, err := c.HTTP.Post(c.Issuer+"/register", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var answer struct {
		ID    string `json:"client_id"`
		Error string `json:"error"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return err
	}
	if res.StatusCode != http.StatusCreated {
		return fmt.Errorf("register: %d %s", res.StatusCode, answer.Error)
	}
	c.ID = answer.ID
	return nil
}

// Attempt is one login under way: what the client must remember between /authorize and /token.
type Attempt struct {
	Verifier, State, URL string
}

// Begin makes the authorization request; extra parameters are name, value pairs that replace or add.
func (c *Client) Begin(extra ...string) Attempt {
	a := Attempt{Verifier: rand.Text() + rand.Text(), State: rand.Text()}
	q := url.Values{
		"response_type": {"code"}, "client_id": {c.ID}, "redirect_uri": {c.RedirectURI}, "state": {a.State},
		"code_challenge": {oauth.S256(a.Verifier)}, "code_challenge_method": {"S256"}, "resource": {c.Issuer + "/mcp"},
	}
	if c.Scope != "" {
		q.Set("scope", c.Scope)
	}
	for i := 0; i+1 < len(extra); i += 2 {
		if extra[i+1] == "" {
			q.Del(extra[i])
		} else {
			q.Set(extra[i], extra[i+1])
		}
	}
	a.URL = c.Issuer + "/authorize?" + q.Encode()
	return a
}

// Authorize goes through the browser and returns the parameters of the redirect to the client.
func (c *Client) Authorize(a Attempt) (url.Values, error) {
	end, last, err := c.Browser.Login(a.URL, c.RedirectURI)
	if err != nil {
		return nil, err
	}
	if end == nil {
		return nil, fmt.Errorf("login stopped at %s with %d", last.URL.Path, last.Status)
	}
	q := end.Query()
	if q.Get("state") != a.State || q.Get("iss") != c.Issuer {
		return q, errors.New("answer without our state or with a wrong iss (RFC 9207)")
	}
	return q, nil
}

// Redeem exchanges a code and keeps the tokens of a good answer.
func (c *Client) Redeem(a Attempt, code string) (TokenAnswer, error) {
	return c.keep(c.Post("/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {a.Verifier},
		"redirect_uri": {c.RedirectURI}, "client_id": {c.ID}, "resource": {c.Issuer + "/mcp"},
	}))
}

// RefreshWith refreshes with any token, which need not be the stored one, and keeps nothing.
func (c *Client) RefreshWith(token string) (TokenAnswer, error) {
	return c.Post("/token", url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {c.ID},
	})
}

// Renew refreshes with the stored token and keeps the tokens of a good answer.
func (c *Client) Renew() (TokenAnswer, error) { return c.keep(c.RefreshWith(c.Refresh)) }

// Login registers if need be and goes all the way to a pair of tokens.
func (c *Client) Login() error {
	if c.ID == "" {
		if err := c.Register("Test client"); err != nil {
			return err
		}
	}
	a := c.Begin()
	q, err := c.Authorize(a)
	if err != nil {
		return err
	}
	if q.Get("code") == "" {
		return fmt.Errorf("no code but %s: %s", q.Get("error"), q.Get("error_description"))
	}
	t, err := c.Redeem(a, q.Get("code"))
	if err == nil && t.Status != http.StatusOK {
		err = fmt.Errorf("token: %d %s: %s", t.Status, t.Error, t.Description)
	}
	return err
}

func (c *Client) keep(t TokenAnswer, err error) (TokenAnswer, error) {
	if err == nil && t.Status == http.StatusOK {
		c.Access, c.Refresh = t.Access, t.Refresh
	}
	return t, err
}

// Post sends a form to a path of the server and reads a token answer.
func (c *Client) Post(path string, form url.Values) (TokenAnswer, error) {
	req, err := http.NewRequest(http.MethodPost, c.Issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		return TokenAnswer{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.Do(req)
}

// Do sends a request and reads a token answer; an empty body is one too (RFC 7009).
func (c *Client) Do(req *http.Request) (TokenAnswer, error) {
	res, err := c.HTTP.Do(req)
	if err != nil {
		return TokenAnswer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return TokenAnswer{}, err
	}
	t := TokenAnswer{Status: res.StatusCode, Header: res.Header}
	if len(body) > 0 {
		err = json.Unmarshal(body, &t)
	}
	return t, err
}
