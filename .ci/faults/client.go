package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"hostedmcp/auth/authtest"
)

// The client's side of protocol.md §5: what a careful MCP client does, no more. It trusts expires_in, takes a lost
// answer for what it is, and lets go of its tokens at invalid_grant only (RFC 6749 §5.2).

// client is an MCP client with its user and its credential file.
type client struct {
	*authtest.Client
	user string
	file string

	expires time.Time // of the access token, by the client's own clock
	refused atomic.Pointer[string]

	// when each last worked, in Unix nanoseconds of the moment at which it was begun
	refreshed, called, asked atomic.Int64
}

// credentials are what a client keeps on disk, whole or not at all.
type credentials struct {
	ClientID, Access, Refresh string
	Expires                   time.Time
}

// verdict is what an attempt came to.
type verdict int

const (
	worked verdict = iota
	again          // no answer, or 5xx: the same again later
	lost           // invalid_grant: only a browser helps
)

// newClient returns a client that has not logged in yet.
func (r *run) newClient(s *server, n int, user string, transport http.RoundTripper) *client {
	c := &client{Client: authtest.NewClient(s.url), user: user, file: filepath.Join(s.dir, fmt.Sprintf("client-%d.json", n))}
	c.HTTP = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	c.newBrowser()
	return c
}

func (c *client) newBrowser() {
	c.Browser = authtest.NewUserAgent()
	c.Browser.Fill = map[string]string{"username": c.user, "password": password}
}

// password is that of every user.
const password = "a password"

// login goes through the browser once. It gives up at the first thing that fails.
func (c *client) login() error {
	if c.ID == "" {
		if err := c.Register("Client of " + c.user); err != nil {
			return err
		}
	}
	c.newBrowser() // a sign-in left over would hide a form that has to be passed
	a := c.Begin()
	q, err := c.Authorize(a)
	if err != nil {
		return err
	}
	code := q.Get("code")
	if code == "" {
		return fmt.Errorf("no code but %s: %s", q.Get("error"), q.Get("error_description"))
	}
	t, err := c.Redeem(a, code)
	if err == nil && t.Status != http.StatusOK {
		err = fmt.Errorf("code: %d %s: %s", t.Status, t.Error, t.Description)
	}
	if err != nil {
		return err
	}
	c.refused.Store(nil)
	return c.save(t)
}

// save writes the credential file.
func (c *client) save(t authtest.TokenAnswer) error {
	c.Access, c.Refresh, c.expires = t.Access, t.Refresh, time.Now().Add(time.Duration(t.ExpiresIn)*time.Second)
	text, err := json.Marshal(credentials{c.ID, c.Access, c.Refresh, c.expires})
	if err != nil {
		return err
	}
	// renamed into place, as the better clients do: half a file would be a login that is our own fault
	if err := os.WriteFile(c.file+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(c.file+".new", c.file)
}

// load reads the credential file, as a program does that is started anew for each piece of work.
func (c *client) load() error {
	text, err := os.ReadFile(c.file)
	if err != nil {
		return err
	}
	var stored credentials
	err = json.Unmarshal(text, &stored)
	c.ID, c.Access, c.Refresh, c.expires = stored.ClientID, stored.Access, stored.Refresh, stored.Expires
	return err
}

// answer is one HTTP answer with what matters of it.
type answer struct {
	status     int
	words      string // error and error_description
	retryAfter string
	body       string
}

func (a answer) String() string { return fmt.Sprintf("%d %s %.200s", a.status, a.words, a.body) }

// refresh renews the tokens with the stored refresh token. An answer that a client has no use for is an error.
func (c *client) refresh() (verdict, answer, error) {
	if err := c.load(); err != nil {
		return again, answer{}, err
	}
	begun := time.Now()
	t, err := c.RefreshWith(c.Refresh)
	a := answer{status: t.Status, words: t.Error + " " + t.Description, retryAfter: t.Header.Get("Retry-After")}
	switch {
	// No answer, or half of one: it may have happened or not. The same token again is right in both cases (§5.3).
	case err != nil:
		return again, answer{}, nil
	case t.Status == http.StatusOK:
		c.refreshed.Store(begun.UnixNano())
		return worked, a, c.save(t)
	case t.Status == http.StatusServiceUnavailable && retriable(a):
		return again, a, nil
	case t.Status == http.StatusBadRequest && t.Error == "invalid_grant":
		c.refused.Store(&a.words)
		return lost, a, nil
	}
	return again, a, fmt.Errorf("/token answered %s", a)
}

// retriable says whether a 503 tells when to come back (protocol.md §5.5).
func retriable(a answer) bool {
	n, err := strconv.Atoi(a.retryAfter)
	return err == nil && n >= 1 && n <= 120
}

// call calls a tool. whoami needs the server alone, userinfo the provider's token.
func (c *client) call(tool string) (verdict, answer, error) {
	begun := time.Now()
	a, err := c.post(tool)
	switch {
	case err != nil:
		return again, answer{}, nil
	case a.status == http.StatusOK && strings.Contains(a.body, `"isError":true`):
		return again, a, nil
	case a.status == http.StatusOK && good(a.body):
		at := &c.called
		if tool == "userinfo" {
			at = &c.asked
		}
		at.Store(begun.UnixNano())
		return worked, a, nil
	case a.status == http.StatusServiceUnavailable && retriable(a):
		return again, a, nil
	case a.status == http.StatusUnauthorized && strings.Contains(a.words, "grant_ended"):
		return lost, a, nil
	// the only other reason for a 401: anything else would make the Python SDK open a browser (protocol.md §7)
	case a.status == http.StatusUnauthorized && strings.Contains(a.words, "token_expired") && time.Now().After(c.expires):
		return again, a, nil
	}
	return again, a, fmt.Errorf("%s answered %s", tool, a)
}

// good says whether a body is the answer of a tool that did its work.
func good(body string) bool {
	return strings.Contains(body, `"content"`) && !strings.Contains(body, `"isError":true`)
}

const callBody = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{},"_meta":{` +
	`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"faults","version":"1"},` +
	`"io.modelcontextprotocol/clientCapabilities":{}}}}`

func (c *client) post(tool string) (a answer, err error) {
	req, err := http.NewRequest(http.MethodPost, c.Issuer+"/mcp", bytes.NewReader(fmt.Appendf(nil, callBody, tool)))
	if err != nil {
		return a, err
	}
	for k, v := range map[string]string{
		"Authorization": "Bearer " + c.Access, "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool,
	} {
		req.Header.Set(k, v)
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return a, err
	}
	a = answer{status: res.StatusCode, retryAfter: res.Header.Get("Retry-After"), body: string(body)}
	var refusal struct {
		Error       any
		Description string `json:"error_description"`
	}
	if a.status != http.StatusOK && json.Unmarshal(body, &refusal) == nil {
		a.words = fmt.Sprint(refusal.Error, " ", refusal.Description)
	}
	return a, nil
}
