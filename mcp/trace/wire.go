package trace

// One place sends every request and reads every answer, so that no step forgets a bound: time for the whole answer, bytes
// of its body, depth of its JSON.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// Bounds of what a server may send: a trace must end whatever it meets.
const (
	maxBody  = 4 << 20
	maxDepth = 100
)

var errTooLong = fmt.Errorf("an answer of more than %d MiB", maxBody>>20)

// answer is one HTTP answer, read to its end or to what was waited for.
type answer struct {
	url    string
	status int
	header http.Header
	body   []byte
	tls    *tls.ConnectionState
	took   time.Duration
}

// do sends a request and reads the answer. A stream of events ends with the first event whose data enough accepts; nil
// reads no stream at all: it may stay silent for ever. The error is that of the connection, without the URL, which may hold a code.
func (t *tracer) do(ctx context.Context, req *http.Request, enough func([]byte) bool) (*answer, error) {
	// The limit is for the whole answer, body included: a server that sends a byte a minute is as good as silent.
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	begin := t.now()
	res, err := t.http.Do(req.WithContext(ctx))
	if err != nil {
		return nil, t.plain(ctx, err)
	}
	defer res.Body.Close()
	a := &answer{url: req.URL.String(), status: res.StatusCode, header: res.Header, tls: res.TLS}
	if a.mediaType() == "text/event-stream" {
		if enough != nil {
			a.body, err = readEvent(res.Body, enough)
		}
	} else if a.body, err = io.ReadAll(io.LimitReader(res.Body, maxBody+1)); err == nil && len(a.body) > maxBody {
		err = errTooLong
	}
	a.took = t.now().Sub(begin)
	if err != nil {
		return nil, fmt.Errorf("%d, then %w", a.status, t.plain(ctx, err))
	}
	return a, nil
}

// plain takes the URL out of an error, and says which limit ended a request.
func (t *tracer) plain(ctx context.Context, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if ctx.Err() == context.DeadlineExceeded {
		return fmt.Errorf("no answer within %s", t.timeout)
	}
	return err
}

// readEvent reads a stream of events (WHATWG HTML §9.2) until one is enough. The data of an event may span lines.
func readEvent(r io.Reader, enough func([]byte) bool) ([]byte, error) {
	lines := bufio.NewScanner(io.LimitReader(r, maxBody))
	lines.Buffer(nil, maxBody)
	var data []byte
	for lines.Scan() {
		line := lines.Bytes()
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = append(append(data, bytes.TrimPrefix(value, []byte(" "))...), '\n')
			continue
		}
		if len(line) > 0 || len(data) == 0 {
			continue
		}
		if data = bytes.TrimSpace(data); enough(data) {
			return data, nil
		}
		data = nil
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return nil, errors.New("the stream ended without the answer")
}

// mediaType is without parameters, "" if there is none that can be read.
func (a *answer) mediaType() string {
	m, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return m
}

// object reads the body as a JSON object.
func (a *answer) object() (oauth.Object, error) {
	if m := a.mediaType(); m != "application/json" && !strings.HasSuffix(m, "+json") {
		return nil, fmt.Errorf("%s, no JSON", a.shape())
	}
	o, err := oauth.ParseObject(a.body, maxDepth)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.shape(), err)
	}
	return o, nil
}

// shape says what an answer is without showing its body.
func (a *answer) shape() string {
	m := a.mediaType()
	if m == "" {
		m = "no media type"
	}
	text := fmt.Sprintf("%d, %s, %d bytes", a.status, m, len(a.body))
	if to := a.header.Get("Location"); to != "" {
		text += ", redirected to " + withoutQuery(to)
	}
	return text
}

// refusal says why an OAuth endpoint refused (RFC 6749 §5.2, RFC 7591 §3.2.2): its own words if it has any.
func (a *answer) refusal() string {
	o, err := oauth.ParseObject(a.body, maxDepth)
	if err != nil {
		return a.shape()
	}
	// Only these two members: what else a body holds may be anything, a token included.
	code, _ := o.Text("error")
	text, _ := o.Text("error_description")
	switch {
	case code == "":
		return a.shape()
	case text == "":
		return fmt.Sprintf("%d %s", a.status, code)
	}
	return fmt.Sprintf("%d %s: %s", a.status, code, text)
}

// withoutQuery shortens a URL to what cannot hold a credential.
func withoutQuery(u string) string {
	u, _, _ = strings.Cut(u, "#")
	u, _, queried := strings.Cut(u, "?")
	if queried {
		u += "?…"
	}
	return u
}

// get asks for a JSON document, and follows at most three redirects, as most clients do.
func (t *tracer) get(ctx context.Context, s *Step, at string) (*answer, error) {
	for range 4 {
		req, err := t.request(http.MethodGet, at, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "application/json")
		if t.client.metaVersion != "" {
			req.Header.Set("Mcp-Protocol-Version", t.client.metaVersion)
		}
		a, err := t.do(ctx, req, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", withoutQuery(at), err)
		}
		to, err := req.URL.Parse(a.header.Get("Location"))
		if a.status < 300 || a.status > 399 || a.header.Get("Location") == "" || err != nil {
			return a, nil
		}
		s.warn("%s redirects: answer it yourself, some clients follow none (go-sdk refuses one to loopback)", withoutQuery(at))
		at = to.String()
	}
	return nil, fmt.Errorf("%s: too many redirects", withoutQuery(at))
}

// request makes a request in the name of the imitated client.
func (t *tracer) request(method, to string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequest(method, to, body)
	if err != nil {
		return nil, errors.New("not a URL: " + withoutQuery(to))
	}
	if agent := t.client.agent; agent != "" {
		req.Header.Set("User-Agent", agent)
	}
	return req, nil
}

// secureURL returns nil if a credential may travel to u: https, or http on loopback (OAuth 2.1 §1.5).
func secureURL(u string) error {
	parsed, err := url.Parse(u)
	if err != nil || parsed.Host == "" {
		return errors.New("is no absolute URL")
	}
	if parsed.Scheme != "https" && !oauth.IsLoopbackURL(u) {
		return errors.New("is not https")
	}
	return nil
}
