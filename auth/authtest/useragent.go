package authtest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// UserAgent is a headless browser for tests: it keeps cookies, follows redirects one by one, fills in the forms it meets
// and sends the headers that a browser sends with them.
type UserAgent struct {
	client *http.Client
	Allow  bool              // what to press on a consent page
	Fill   map[string]string // form fields to type into, by name
	Header http.Header       // sent with every request, over the browser's own; no values: without it. Cookie replaces all
	Trace  []string          // every URL that was asked for, without its query
}

// NewUserAgent returns a browser without cookies that presses Allow and signs in as alice.
func NewUserAgent() *UserAgent {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // cookiejar.New never fails
	}
	return &UserAgent{
		client: &http.Client{
			Jar:           jar,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Allow: true,
		Fill:  map[string]string{"username": "alice", "password": "alice-pw"},
	}
}

// Page is one answer that a browser shows.
type Page struct {
	URL    *url.URL
	Status int
	Header http.Header
	Body   string
	Forms  []Form
}

// Form is a form of a page with the values it would send.
type Form struct {
	Action  *url.URL
	Method  string
	Fields  url.Values
	Buttons []Button
}

// Button is a submit button.
type Button struct{ Name, Value string }

// Get asks for one URL and follows nothing.
func (b *UserAgent) Get(target string) (*Page, error) {
	return b.do(http.MethodGet, target, nil, nil)
}

// Submit sends a form as a browser does: with Origin, Referer and Sec-Fetch headers of the page it stands on.
func (b *UserAgent) Submit(from *Page, f Form) (*Page, error) {
	header := http.Header{
		"Origin":         {from.URL.Scheme + "://" + from.URL.Host},
		"Referer":        {from.URL.Scheme + "://" + from.URL.Host + from.URL.Path},
		"Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"},
	}
	return b.do(f.Method, f.Action.String(), f.Fields, header)
}

func (b *UserAgent) do(method, target string, form url.Values, header http.Header) (*Page, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequest(method, target, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/html,application/xhtml+xml")
	for k, v := range header {
		req.Header[k] = v
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range b.Header {
		req.Header[k] = v
	}
	b.Trace = append(b.Trace, req.URL.Scheme+"://"+req.URL.Host+req.URL.Path)
	client := *b.client
	if _, planted := b.Header["Cookie"]; planted {
		client.Jar = nil
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	p := &Page{URL: req.URL, Status: res.StatusCode, Header: res.Header, Body: string(text)}
	p.Forms, err = forms(p)
	return p, err
}

// Walk goes on from a page through redirects, consent and sign-in until a redirect leads to a URL that begins with
// until, which it returns without asking for it; or until a page has nothing to press.
func (b *UserAgent) Walk(p *Page, until string) (end *url.URL, last *Page, err error) {
	for range 20 {
		if location := p.Header.Get("Location"); location != "" {
			next, err := p.URL.Parse(location)
			if err != nil {
				return nil, p, err
			}
			if strings.HasPrefix(next.String(), until) {
				return next, p, nil
			}
			if p, err = b.Get(next.String()); err != nil {
				return nil, p, err
			}
			continue
		}
		form, ok := b.answer(p)
		if !ok {
			return nil, p, nil
		}
		if p, err = b.Submit(p, form); err != nil {
			return nil, p, err
		}
	}
	return nil, p, fmt.Errorf("no end after 20 steps, last at %s", p.URL.Path)
}

// Login opens a URL and walks on.
func (b *UserAgent) Login(start, until string) (*url.URL, *Page, error) {
	p, err := b.Get(start)
	if err != nil {
		return nil, nil, err
	}
	return b.Walk(p, until)
}

// Press submits the consent page p with an answer, approve or deny.
func (b *UserAgent) Press(p *Page, answer string) (*Page, error) {
	form, ok := b.answer(p)
	if !ok || !form.Fields.Has("ticket") {
		return nil, fmt.Errorf("no consent form at %s: %d", p.URL.Path, p.Status)
	}
	form.Fields.Set("answer", answer)
	return b.Submit(p, form)
}

// answer fills in the first form that is a consent page or a sign-in page.
func (b *UserAgent) answer(p *Page) (Form, bool) {
	for _, f := range p.Forms {
		switch {
		case f.Fields.Has("ticket"):
			f.Fields.Set("answer", map[bool]string{true: "approve", false: "deny"}[b.Allow])
			return f, true
		case f.Fields.Has("username"):
			for name, value := range b.Fill {
				f.Fields.Set(name, value)
			}
			return f, true
		case f.Action.Path == "/signin":
			return f, true
		}
	}
	return Form{}, false
}

// Clear forgets all cookies, as another browser has none.
func (b *UserAgent) Clear() { b.client.Jar = NewUserAgent().client.Jar }

// Cookie returns the value of a cookie for a URL, "" without one.
func (b *UserAgent) Cookie(at, name string) string {
	u, err := url.Parse(at)
	if err != nil {
		return ""
	}
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// forms reads the forms of an HTML page.
func forms(p *Page) (out []Form, err error) {
	if !strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") {
		return nil, nil
	}
	doc, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		return nil, err
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" {
			continue
		}
		action, err := p.URL.Parse(attr(n, "action"))
		if err != nil {
			return nil, err
		}
		f := Form{Action: action, Method: strings.ToUpper(attr(n, "method")), Fields: url.Values{}}
		for field := range n.Descendants() {
			f.add(field)
		}
		out = append(out, f)
	}
	return out, nil
}

func (f *Form) add(n *html.Node) {
	name := attr(n, "name")
	switch {
	case n.Type != html.ElementNode || name == "":
	case n.Data == "button" || attr(n, "type") == "submit":
		f.Buttons = append(f.Buttons, Button{name, attr(n, "value")})
	case n.Data == "input":
		f.Fields.Set(name, attr(n, "value"))
	}
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
