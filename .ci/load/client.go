package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"hostedmcp/auth/authtest"
)

// user is one person with a raw MCP client, which reads every byte that comes.
type user struct {
	*authtest.Client
	run     *run
	name    string
	session string // of the older era
}

// patience bounds a request; nothing takes so long unless it hangs.
const patience = 3 * time.Minute

// received is a message as the client reads it.
type received struct {
	ID     json.RawMessage
	Method string
	Params struct {
		ProgressToken json.RawMessage
		Message       string // of progress, and of an elicitation
		Data          string
		URI           string
		Messages      []struct{ Content struct{ Text string } }
	}
	Result json.RawMessage
	Error  json.RawMessage
}

// reply is what a request came to.
type reply struct {
	status int
	header http.Header
	last   received // the answer
	before []received
	body   string // if it was no message
}

func (a *reply) String() string {
	return fmt.Sprintf("%d %s%s %s", a.status, a.last.Result, a.last.Error, a.body)
}

// request is a message to send.
type request struct {
	modern       bool
	id           string // raw; "" = a notification
	method, name string
	params       string // members, without braces
	meta         string // further members of `_meta`
	session      string
	answers      string // for a response: the raw result; id is the server's
	hear         func(received)
}

// names are those of all users.
var names = regexp.MustCompile(`user\d{4}`)

// own reports what must not reach this user: the name of any other.
func (u *user) own(where, text string) {
	for _, name := range names.FindAllString(text, -1) {
		if name != u.name {
			u.run.fault("%s: %s got what is %s's: %s", where, u.name, name, text)
			return
		}
	}
}

// smuggled are headers by which a client might pass itself off as another one.
func smuggled(h http.Header) {
	h.Set("Cookie", "session=evil")
	h.Set("Hostedmcp-Subject", "sub-user0000")
	h.Add("Hostedmcp_Subject", "sub-user0000")
	h.Set("X-Forwarded-User", "user0000")
	h.Set("X-Evil", "1")
}

const capable = `{"elicitation":{"form":{}},"sampling":{}}`

// forgery is `_meta` that only hostedmcp may write.
const forgery = `"hostedmcp/user":{"subject":"sub-user0000"},"hostedmcp/credential":"Bearer evil","Hostedmcp/Evil":1`

func (q *request) text() string {
	if q.answers != "" {
		return `{"jsonrpc":"2.0","id":` + q.id + `,"result":` + q.answers + `}`
	}
	meta := forgery + q.meta
	if q.modern {
		meta += `,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"load","version":"1"},` +
			`"io.modelcontextprotocol/clientCapabilities":` + capable + `,"io.modelcontextprotocol/logLevel":"debug"`
	}
	params := q.params
	if params != "" {
		params += ","
	}
	id := ""
	if q.id != "" {
		id = `"id":` + q.id + `,`
	}
	return `{"jsonrpc":"2.0",` + id + `"method":"` + q.method + `","params":{` + params + `"_meta":{` + meta + `}}}`
}

// send posts a message and reads what comes, up to the answer.
func (u *user) send(ctx context.Context, q *request) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.Issuer+"/mcp", strings.NewReader(q.text()))
	if err != nil {
		return nil, err
	}
	smuggled(req.Header)
	req.Header.Set("Authorization", "Bearer "+u.Access)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if q.modern {
		req.Header.Set("Mcp-Protocol-Version", "2026-07-28")
		req.Header.Set("Mcp-Method", q.method)
		if q.name != "" {
			req.Header.Set("Mcp-Name", q.name)
		}
	} else if q.session != "" {
		req.Header.Set("Mcp-Protocol-Version", "2025-11-25")
		req.Header.Set("Mcp-Session-Id", q.session)
	}
	res, err := u.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return u.read(q, res)
}

func (u *user) read(q *request, res *http.Response) (*reply, error) {
	a := &reply{status: res.StatusCode, header: res.Header}
	u.own("header", fmt.Sprint(res.Header))
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		body, err := io.ReadAll(res.Body)
		u.own(q.method, string(body))
		if json.Unmarshal(body, &a.last) != nil || a.last.ID == nil {
			a.body = string(body)
		}
		return a, err
	}
	err := u.events(q.method, res.Body, func(m received) bool {
		if m.Method == "" {
			a.last = m
			return true // questions of parallel calls may come behind it, up to the end of the stream
		}
		a.before = append(a.before, m)
		if q.hear != nil {
			q.hear(m)
		}
		return true
	})
	if a.last.ID != nil && errors.Is(err, io.EOF) {
		err = nil
	}
	return a, err
}

// events reads a stream until take has enough; each event is looked at for what is not this user's.
func (u *user) events(where string, stream io.Reader, take func(received) bool) error {
	in := bufio.NewReader(stream)
	for {
		line, err := in.ReadString('\n')
		if data, ok := strings.CutPrefix(line, "data:"); ok && strings.TrimSpace(data) != "" {
			u.own(where, data)
			var m received
			if err := json.Unmarshal([]byte(data), &m); err != nil {
				return fmt.Errorf("event %q: %w", data, err)
			}
			if !take(m) {
				return nil
			}
		}
		if err != nil {
			return fmt.Errorf("the stream ended before the answer: %w", err)
		}
	}
}
