package main

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"hostedmcp/auth/authtest"
)

// recorder remembers every credential that it sees, and every text that must hold none.
type recorder struct {
	mu      sync.Mutex
	secrets map[string]secret // by value
	texts   []text
}

// secret is a credential: as what it was seen, and in whose browser first ("" = none).
type secret struct {
	kinds []string
	owner string
}

// shortest is the length from which a value can be told from words by chance.
const shortest = 16

func (r *recorder) secret(kind, value, owner string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(value) < shortest {
		return
	}
	s, known := r.secrets[value]
	if !known {
		s.owner = owner
	}
	if !slices.Contains(s.kinds, kind) {
		s.kinds = append(s.kinds, kind)
	}
	r.secrets[value] = s
}

func (r *recorder) text(from, said, owner string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts = append(r.texts, text{from: from, said: said, owner: owner})
}

// front listens in the place of target. As the public address of a server it sees everything between that and clients,
// browsers and the operator's trace, and the Host header stays; host is set before others.
func (r *recorder) front(name, address, target, host string) (close func(), err error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	h := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", target
			p.Out.Host = cmp.Or(host, p.In.Host)
		},
		ModifyResponse: func(res *http.Response) error { return r.answer(name, res) },
		FlushInterval:  -1,
		ErrorLog:       log.New(io.Discard, "", 0), // the server is away: check says so
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.request(q)
		h.ServeHTTP(w, q)
	})}
	go s.Serve(l)
	return func() { s.Close() }, nil
}

// names of parameters, in queries, forms and hidden fields, whose values are credentials.
var secretFields = []string{
	"code", "state", "nonce", "code_verifier", "refresh_token", "client_secret", "ticket", "token", "subject_token", "access_token",
	"id_token_hint", "client_assertion",
}

func (r *recorder) fields(q url.Values, owner string) {
	for _, name := range secretFields {
		for _, v := range q[name] {
			r.secret(name, v, owner)
		}
	}
}

// ownerOf is the browser that a request comes from: its longest-lived cookie.
func ownerOf(header http.Header) string {
	q := http.Request{Header: header}
	if c, err := q.Cookie("hostedmcp_csrf"); err == nil {
		return c.Value
	}
	return ""
}

func (r *recorder) request(q *http.Request) {
	owner := ownerOf(q.Header)
	body, _ := io.ReadAll(q.Body) // what was cut off goes on cut off
	q.Body = io.NopCloser(bytes.NewReader(body))
	r.fields(q.URL.Query(), owner)
	if form, err := url.ParseQuery(string(body)); err == nil && strings.Contains(q.Header.Get("Content-Type"), "form-urlencoded") {
		r.fields(form, owner)
	}
	r.authorization(q.Header.Get("Authorization"))
	for _, c := range q.Cookies() {
		r.secret("cookie "+c.Name, c.Value, owner)
	}
}

func (r *recorder) authorization(value string) {
	scheme, credentials, _ := strings.Cut(value, " ")
	r.secret("Authorization "+scheme, credentials, "")
	if raw, err := base64.StdEncoding.DecodeString(credentials); err == nil && strings.EqualFold(scheme, "Basic") {
		_, password, _ := strings.Cut(string(raw), ":")
		r.secret("client_secret", password, "")
	}
}

var hidden = regexp.MustCompile(`name="(ticket|token)" value="([^"]+)"`)

// answer records what an answer gives away, and keeps it if it is a page or an error: those hold no credential, but for
// the form tokens of the browser's own page.
func (r *recorder) answer(name string, res *http.Response) error {
	owner := ownerOf(res.Request.Header)
	for _, c := range res.Cookies() {
		if c.Name == "hostedmcp_csrf" && c.Value != "" {
			owner = c.Value
		}
		r.secret("cookie "+c.Name, c.Value, owner)
	}
	if to, err := url.Parse(res.Header.Get("Location")); err == nil {
		r.fields(to.Query(), owner)
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return nil // answers to calls: the connectors' own words
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	for _, m := range hidden.FindAllStringSubmatch(string(body), -1) {
		r.secret("form "+m[1], m[2], owner)
	}
	r.tokens(body)
	if res.StatusCode >= 400 || strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
		at := name + ": " + res.Request.Method + " " + res.Request.URL.Path
		if len(at) > 60 {
			at = at[:60]
		}
		header := res.Header.Clone()
		header.Del("Set-Cookie")
		header.Del("Location")
		var head strings.Builder
		_ = header.Write(&head) // a Builder does not fail
		r.text(at, head.String()+string(body), owner)
	}
	return nil
}

// tokens records those of a token or registration answer.
func (r *recorder) tokens(body []byte) {
	var m map[string]any
	if json.Unmarshal(body, &m) != nil {
		return
	}
	for _, name := range []string{"access_token", "refresh_token", "id_token", "client_secret", "registration_access_token"} {
		if v, ok := m[name].(string); ok {
			r.secret(name, v, "")
		}
	}
}

// watch records what the provider gives away and is shown.
func (r *recorder) watch(b *authtest.Behaviour) {
	b.TokenAnswer = func(_ bool, m map[string]any) {
		for _, name := range []string{"access_token", "refresh_token", "id_token"} {
			if v, ok := m[name].(string); ok {
				r.secret("provider's "+name, v, "")
			}
		}
	}
}

func (r *recorder) provider(p *authtest.Provider) {
	for _, c := range p.Calls() {
		for _, name := range secretFields {
			for _, v := range c.Form[name] {
				r.secret("provider saw "+name, v, "")
			}
		}
		r.secret("provider saw bearer", c.Bearer, "")
	}
	r.secret("provider's client secret", p.ClientSecret, "")
}
