package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strconv"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/story"
)

//go:embed templates
var templateFiles embed.FS

// The headers of every page (protocol.md §4.3). No form-action: browsers apply it to the whole redirect chain and would
// block cursor:// or a sign-in that answers at once. Referrer-Policy is not no-referrer, which makes our own form send
// "Origin: null".
const contentPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"

// pageHeaders go on every page, on whatever listener it is shown, and on every other answer of a page's endpoint.
func pageHeaders(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
}

// Pages renders everything a browser sees. Safe for concurrent use.
type Pages struct {
	site      Site
	now       func() time.Time
	templates map[string]*template.Template
	landing   []byte // the same for everybody
}

// NewPages parses the templates and renders what never changes. now is the time that pages tell; nil means time.Now.
// It refuses a site whose commands or links would come out wrong.
func NewPages(site Site, now func() time.Time) (*Pages, error) {
	if err := site.validate(); err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	if now == nil {
		now = time.Now
	}
	p := &Pages{site: site, now: now, templates: map[string]*template.Template{}}
	if err := p.parse(); err != nil {
		return nil, err
	}
	var err error
	p.landing, err = p.renderLanding()
	return p, err
}

// parse makes one set for each page: the base layout, whose blocks the page fills in.
func (p *Pages) parse() error {
	funcs := template.FuncMap{
		"words": words, "date": date, "machine": machine, "stamp": stamp, "minute": minute, "until": until,
		"number": story.Number, "label": userLabel,
		"ago": func(t time.Time) string { return ago(p.now(), t) },
	}
	base, err := template.New("base.html").Funcs(funcs).ParseFS(templateFiles, "templates/base.html")
	if err != nil {
		return fmt.Errorf("base layout: %w", err)
	}
	files, err := templateFiles.ReadDir("templates")
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Name() == "base.html" {
			continue
		}
		set, err := base.Clone()
		if err != nil {
			return err
		}
		if set, err = set.ParseFS(templateFiles, path.Join("templates", f.Name())); err != nil {
			return fmt.Errorf("page %s: %w", f.Name(), err)
		}
		p.templates[f.Name()] = set
	}
	return nil
}

// base is what the layout needs of every page.
type base struct {
	Site        Site
	RequestID   string
	Style, Mark string
}

// base fills in the layout for one request.
func (p *Pages) base(r *http.Request) base {
	return base{Site: p.site, RequestID: auth.Request(r.Context()).ID, Style: assetLink("style.css"), Mark: assetLink("mark.svg")}
}

// render makes the whole page in memory.
func (p *Pages) render(name string, data any) ([]byte, error) {
	var out bytes.Buffer
	if err := p.templates[name].ExecuteTemplate(&out, "base.html", data); err != nil {
		return nil, fmt.Errorf("page %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// show renders first and writes then: an error leaves the answer untouched, for the exit to fill.
func (p *Pages) show(w http.ResponseWriter, status int, name string, data any) error {
	page, err := p.render(name, data)
	if err != nil {
		return err
	}
	writePage(w, status, page)
	return nil
}

// writePage is the one place where a page leaves. On a listener without rows a page is never cached.
func writePage(w http.ResponseWriter, status int, page []byte) {
	h := w.Header()
	pageHeaders(h)
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", cacheControl(auth.NoStore))
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	w.WriteHeader(status)
	_, _ = w.Write(page) // the browser went away: nobody to tell
}

// Auth returns the pages that the authorization server hands out.
func (p *Pages) Auth() auth.Pages {
	return auth.Pages{Consent: p.Consent, Status: p.Status, SignIn: p.SignIn}
}

// Consent asks whether a client may use the resource (protocol.md §4.3).
func (p *Pages) Consent(w http.ResponseWriter, r *http.Request, c auth.ConsentPage) error {
	c.Client = displayed(c.Client)
	return p.show(w, http.StatusOK, "consent.html", consentView{base: p.base(r), ConsentPage: c})
}

// displayed is the second fence around a name that a stranger chose (auth keeps the first): no bidirectional mark or
// control may reach a page, where it could turn the words around it.
func displayed(c auth.PageClient) auth.PageClient {
	c.Name = oauth.DisplayText(c.Name, 100)
	return c
}

// consentView is the consent page as its template sees it: the layout's fields and those of auth.ConsentPage.
type consentView struct {
	base
	auth.ConsentPage
}

// Local reports that the answer goes to whatever program of this computer takes it: the page warns.
func (v consentView) Local() bool { return v.Client.Loopback || v.Client.PrivateUse }

// Copied is the date of the built-in copy as people write it; an unreadable one is shown as it is.
func (v consentView) Copied() string {
	t, err := time.Parse(time.DateOnly, v.Client.CopyDate)
	if err != nil {
		return v.Client.CopyDate
	}
	return fullDate(t)
}

// SignIn is the status page of somebody who is not signed in.
func (p *Pages) SignIn(w http.ResponseWriter, r *http.Request, s auth.SignInPage) error {
	return p.show(w, http.StatusOK, "signin.html", struct {
		base
		auth.SignInPage
	}{p.base(r), s})
}

// Landing tells how to connect each program. It is the same for everybody and may be cached.
func (p *Pages) Landing(w http.ResponseWriter, _ *http.Request) error {
	writePage(w, http.StatusOK, p.landing)
	return nil
}

// renderLanding runs once: neither the request nor the hour is on the page, or it could not be cached.
func (p *Pages) renderLanding() ([]byte, error) {
	var titles, users []string
	for _, c := range p.site.Connectors {
		titles = append(titles, c.Title)
	}
	for _, u := range p.site.Demo {
		users = append(users, u.Name)
	}
	return p.render("landing.html", struct {
		base
		Connectors, Users string
	}{p.base(&http.Request{}), list(titles, "and"), list(users, "or")})
}
