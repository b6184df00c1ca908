package auth_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
	"hostedmcp/storage/storagetest"
)

// loginRig is a server with one registered client that has not logged in yet, and the steps of its login one by one.
type loginRig struct {
	*authtest.Server
	t *testing.T
	c *authtest.Client
}

func newLogin(t *testing.T, o authtest.ServerOptions) *loginRig {
	t.Helper()
	t.Parallel()
	r := &loginRig{Server: authtest.NewServer(t, o), t: t}
	r.c = r.client()
	return r
}

// client returns a further registered client, with a browser of its own.
func (r *loginRig) client() *authtest.Client {
	r.t.Helper()
	c := r.NewClient()
	r.must(c.Register("Test client"))
	return c
}

// known returns options that pre-register clients.
func known(list ...auth.RegisteredClient) authtest.ServerOptions {
	return authtest.ServerOptions{Auth: func(o *auth.Options) { o.Clients.Registered = list }}
}

// limits returns options with other limits.
func limits(change func(*auth.LimitsConfig)) authtest.ServerOptions {
	return authtest.ServerOptions{Auth: func(o *auth.Options) { change(&o.Limits) }}
}

func (r *loginRig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// reply is one answer of the server as a program sees it.
type reply struct {
	status      int
	header      http.Header
	body        []byte
	code        string // `error`
	reason      string // begins error_description
	description string
}

// do sends one request without a browser: no cookies, no redirects, JSON errors. headers are name, value pairs.
func (r *loginRig) do(method, path, body string, headers ...string) reply {
	r.t.Helper()
	target := path
	if strings.HasPrefix(path, "/") {
		target = r.Issuer + path
	}
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	r.must(err)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := r.HTTP.Transport.RoundTrip(req)
	r.must(err)
	defer res.Body.Close()
	a := reply{status: res.StatusCode, header: res.Header}
	a.body, err = io.ReadAll(res.Body)
	r.must(err)
	var e struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(a.body, &e) == nil {
		a.code, a.description = e.Error, e.Description
		a.reason, _, _ = strings.Cut(e.Description, ":")
	}
	return a
}

func (r *loginRig) get(path string, headers ...string) reply {
	r.t.Helper()
	return r.do(http.MethodGet, path, "", headers...)
}

// post sends a form.
func (r *loginRig) post(path string, form url.Values, headers ...string) reply {
	r.t.Helper()
	return r.do(http.MethodPost, path, form.Encode(), append(headers, "Content-Type", "application/x-www-form-urlencoded")...)
}

func (r *loginRig) register(body string, headers ...string) reply {
	r.t.Helper()
	return r.do(http.MethodPost, "/register", body, append(headers, "Content-Type", "application/json")...)
}

// refused compares a refusal; the description must be the reason and its constant sentence.
func (a reply) refused(t *testing.T, status int, code oauth.Code, reason oauth.Reason) bool {
	t.Helper()
	want := string(reason.Wire()) + ": " + reason.Sentence()
	ok := a.status == status && a.code == string(code) && a.description == want
	if !ok {
		t.Errorf("answer %d %q %q, want %d %q %q", a.status, a.code, a.description, status, code, want)
	}
	return ok
}

// open asks for a URL in the client's browser.
func (r *loginRig) open(target string) *authtest.Page {
	r.t.Helper()
	p, err := r.c.Browser.Get(target)
	r.must(err)
	return p
}

// press answers a consent page.
func (r *loginRig) press(p *authtest.Page, answer string) *authtest.Page {
	r.t.Helper()
	next, err := r.c.Browser.Press(p, answer)
	r.must(err)
	return next
}

// approve opens the consent page of an attempt and presses Allow.
func (r *loginRig) approve(a authtest.Attempt) *authtest.Page {
	r.t.Helper()
	return r.press(r.open(a.URL), "approve")
}

// signIn goes from a redirect to the provider through its form, and returns the URL of our callback, not asked for yet.
func (r *loginRig) signIn(p *authtest.Page) string {
	r.t.Helper()
	end, last, err := r.c.Browser.Walk(p, r.Issuer+"/callback")
	r.must(err)
	if end == nil {
		r.t.Fatalf("no callback: stopped at %s with %d", last.URL.Path, last.Status)
	}
	return end.String()
}

// toCallback is approve and signIn.
func (r *loginRig) toCallback(a authtest.Attempt) string {
	r.t.Helper()
	return r.signIn(r.approve(a))
}

// location returns where a page redirects to, held to be a 303.
func (r *loginRig) location(p *authtest.Page) *url.URL {
	r.t.Helper()
	if p.Status != http.StatusSeeOther {
		r.t.Fatalf("%s answered %d: %.300s", p.URL.Path, p.Status, p.Body)
	}
	u, err := url.Parse(p.Header.Get("Location"))
	r.must(err)
	return u
}

// code goes all the way and returns the code.
func (r *loginRig) code(a authtest.Attempt) string {
	r.t.Helper()
	q := r.location(r.open(r.toCallback(a))).Query()
	if q.Get("code") == "" {
		r.t.Fatalf("no code but %s", q)
	}
	return q.Get("code")
}

var reasonOnPage = regexp.MustCompile(`<code>([a-z_]+)</code>`)

// local compares an error page on our origin: status, reason code, and that it is a page.
func (r *loginRig) local(p *authtest.Page, status int, reason oauth.Reason) {
	r.t.Helper()
	if p.Status != status || !strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") || p.Header.Get("Location") != "" {
		r.t.Errorf("%s answered %d to %q, want the page %d %s", p.URL.Path, p.Status, p.Header.Get("Location"), status, reason)
		return
	}
	for _, m := range reasonOnPage.FindAllStringSubmatch(p.Body, -1) {
		if m[1] == string(reason.Wire()) {
			return
		}
	}
	r.t.Errorf("%s: page %d without the reason %s:\n%s", p.URL.Path, p.Status, reason, p.Body)
}

// redirected compares an error that went to the client (REDIR): 303 to the redirect URI with error, constant
// description, state as sent, and exactly one iss.
func (r *loginRig) redirected(p *authtest.Page, a authtest.Attempt, code oauth.Code, reason oauth.Reason) {
	r.t.Helper()
	u := r.location(p)
	if !strings.HasPrefix(u.String(), r.c.RedirectURI) {
		r.t.Fatalf("redirect to %s", u)
	}
	q := u.Query()
	want := string(reason.Wire()) + ": " + reason.Sentence()
	if q.Get("error") != string(code) || q.Get("error_description") != want || q.Get("code") != "" {
		r.t.Errorf("answer %q %q, want %q %q", q.Get("error"), q.Get("error_description"), code, want)
	}
	if q.Get("state") != a.State || len(q["iss"]) != 1 || q.Get("iss") != r.Issuer {
		r.t.Errorf("state %q and iss %q, want %q and %q (RFC 9207)", q.Get("state"), q["iss"], a.State, r.Issuer)
	}
}

// form sends a page's form with changed fields and headers ("" removes one).
func (r *loginRig) form(p *authtest.Page, fields map[string]string, header http.Header) *authtest.Page {
	r.t.Helper()
	if len(p.Forms) == 0 {
		r.t.Fatalf("no form at %s: %d", p.URL.Path, p.Status)
	}
	f := p.Forms[0]
	sent := url.Values{}
	for k, v := range f.Fields {
		sent[k] = v
	}
	for k, v := range fields {
		if sent.Del(k); v != "" {
			sent.Set(k, v)
		}
	}
	f.Fields = sent
	r.c.Browser.Header = header
	defer func() { r.c.Browser.Header = nil }()
	next, err := r.c.Browser.Submit(p, f)
	r.must(err)
	return next
}

// commits returns what every commit changes of the store's file: bbolt's two meta pages.
func (r *loginRig) commits() []byte {
	r.t.Helper()
	f, err := os.Open(r.Store.Path())
	r.must(err)
	defer f.Close()
	pages := make([]byte, 8<<10)
	_, err = io.ReadFull(f, pages)
	r.must(err)
	return pages
}

// unwritten fails the test if do changes the store's file.
func (r *loginRig) unwritten(what string, do func()) {
	r.t.Helper()
	before := r.commits()
	do()
	if !bytes.Equal(before, r.commits()) {
		r.t.Errorf("%s wrote to the store", what)
	}
}

// grant returns the client's only grant.
func (r *loginRig) grant() storage.Grant {
	r.t.Helper()
	list, err := r.Store.GrantsOf("sub-alice")
	r.must(err)
	if len(list) != 1 {
		r.t.Fatalf("%d grants", len(list))
	}
	return list[0]
}

// hidden fails the test if a secret stands in the file or in the log, and re-verifies the store.
func (r *loginRig) hidden(secrets ...string) {
	r.t.Helper()
	storagetest.Check(r.t, r.Store, secrets...)
	log := r.Log.String()
	for _, s := range secrets {
		if s == "" {
			r.t.Error("an empty secret proves nothing")
		} else if strings.Contains(log, s) {
			r.t.Errorf("the log holds a secret in clear: %.14s…", s)
		}
	}
}

// event is a journal event of the test's own.
func (r *loginRig) event() storage.Event { return storage.Event{At: r.Clock.Now()} }
