package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/time/rate"
)

// cookieName binds a sign-in request to its browser. Cookies do not tell ports apart: hostedmcp's own cookies, on the
// same 127.0.0.1, have other names.
const cookieName = "demo_signin"

type browserKey struct{}

// browserOf returns the digest of the cookie that bound put into the context, "" without one.
func browserOf(ctx context.Context) string {
	d, _ := ctx.Value(browserKey{}).(string)
	return d
}

// bound gives the handler the browser's cookie in its context. Only /authorize makes a cookie for a browser that has
// none; one that is there is kept, or a second tab would take the first one's sign-in away.
func bound(next http.HandlerFunc, create bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value := ""
		if c, err := r.Cookie(cookieName); err == nil && len(c.Value) == len(rand.Text()) {
			value = c.Value
		}
		if create {
			if value == "" {
				value = rand.Text()
			}
			http.SetCookie(w, &http.Cookie{
				Name: cookieName, Value: value, Path: "/", HttpOnly: true, // no Secure: loopback speaks http
				SameSite: http.SameSiteLaxMode, MaxAge: int(requestLife / time.Second),
			})
		}
		if value != "" {
			r = r.WithContext(context.WithValue(r.Context(), browserKey{}, digest(value)))
		}
		next(w, r)
	}
}

// signInPage shows the form for a request that op has validated.
func (p *Provider) signInPage(w http.ResponseWriter, r *http.Request) {
	sealed := r.URL.Query().Get("request")
	if _, err := p.store.asked(r.Context(), sealed); err != nil {
		refuse(w, err)
		return
	}
	p.page(w, r, sealed, false)
}

func (p *Provider) page(w http.ResponseWriter, r *http.Request, sealed string, failed bool) {
	err := p.opts.Page(w, r, SignIn{Action: "/login", Token: sealed, Users: p.opts.Config.Users, Failed: failed})
	if err != nil {
		p.opts.Log.Error("demo provider: sign-in page", "error", err)
		http.Error(w, "The sign-in page cannot be shown.", http.StatusServiceUnavailable)
	}
}

// signIn judges the form and sends the browser on to op's callback, which makes the code.
func (p *Provider) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if o := r.Header.Get("Origin"); o != "" && o != p.issuer {
		http.Error(w, "This form did not come from our own page.", http.StatusForbidden)
		return
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, "The form is unreadable.", http.StatusBadRequest)
		return
	}
	sealed := r.PostForm.Get("token")
	asked, err := p.store.asked(r.Context(), sealed)
	if err != nil {
		refuse(w, err)
		return
	}
	name, err := p.who(r.PostForm)
	switch {
	case errors.Is(err, errTooMany):
		w.Header().Set("Retry-After", "10")
		http.Error(w, "Too many wrong passwords. Wait ten seconds and go back.", http.StatusTooManyRequests)
		return
	case err != nil:
		p.page(w, r, sealed, true)
		return
	}
	answer, err := p.store.answer(asked, name)
	if err != nil {
		refuse(w, err)
		return
	}
	p.opts.Log.Info("demo provider: signed in", "user", name)
	http.Redirect(w, r, "/authorize/callback?id="+answer, http.StatusSeeOther)
}

// who returns the user of the form: picked by button (`user`, nothing here is worth a password), or by password.
func (p *Provider) who(form url.Values) (string, error) {
	if picked := form.Get("user"); picked != "" {
		if _, known := p.store.subjects[picked]; known {
			return picked, nil
		}
		return "", errSealed
	}
	name := form.Get("username")
	user := p.store.users[p.store.subjects[name]] // the zero User, whose password fits nothing, if there is none
	if !p.guesses.may(name) {
		return "", errTooMany
	}
	if !same(user.Password, form.Get("password")) {
		p.guesses.wrong(name)
		return "", errSealed
	}
	return name, nil
}

// refuse says why a sign-in cannot go on, as plain text: there is nobody to send it back to.
func refuse(w http.ResponseWriter, err error) {
	if errors.Is(err, errBrowser) {
		http.Error(w, "This sign-in began in another browser, or cookies are off. Finish it where it began.", http.StatusForbidden)
		return
	}
	http.Error(w, "This sign-in is not known here or took too long. Go back to the program and start again.", http.StatusBadRequest)
}

var errTooMany = errors.New("too many wrong passwords")

// guesses bounds wrong passwords: five at once and one more every ten seconds, for each user and for all unknown names
// together. It grows with the configuration, not with what strangers type.
type guesses struct {
	now  func() time.Time
	left map[string]*rate.Limiter
}

func newGuesses(users []User, now func() time.Time) *guesses {
	g := &guesses{now, map[string]*rate.Limiter{}}
	for _, u := range append([]User{{}}, users...) {
		g.left[u.Name] = rate.NewLimiter(rate.Every(10*time.Second), 5)
	}
	return g
}

func (g *guesses) of(name string) *rate.Limiter {
	if l, ok := g.left[name]; ok {
		return l
	}
	return g.left[""]
}

// may reports whether a password for name is looked at; a right one does not count.
func (g *guesses) may(name string) bool { return g.of(name).TokensAt(g.now()) >= 1 }
func (g *guesses) wrong(name string)    { g.of(name).AllowN(g.now(), 1) }
