package web

import (
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The demo provider stands in for a company's sign-in service. Its page is here, since it is the only html/template
// package; its work is in auth/demo, which gets the page from main as a function.

// DemoUser is one person of the embedded demo provider. The passwords are shown: there is nothing behind them.
type DemoUser struct {
	Name     string // to sign in with: "alice"
	Password string
	Email    string
	Groups   []string
}

// Display is the name as a person writes it: "Alice".
func (u DemoUser) Display() string {
	first, size := utf8.DecodeRuneInString(u.Name)
	return string(unicode.ToUpper(first)) + u.Name[size:]
}

// About is the line below the name: e-mail address and groups, as far as there are any.
func (u DemoUser) About() string {
	about := slices.Clone(u.Groups)
	if u.Email != "" {
		about = slices.Insert(about, 0, u.Email)
	}
	return strings.Join(about, ", ")
}

// DemoSignIn is the demo provider's sign-in page. Its form posts token with either user (a button of one of the users)
// or username and password.
type DemoSignIn struct {
	Host   string     // of the demo listener
	Action string     // where the form posts to: "/login"
	Token  string     // form token
	Users  []DemoUser // who can sign in
	Failed bool       // name or password were not right
}

// DemoSignIn writes the demo provider's sign-in page, for main to hand to the demo provider, whose listener serves
// [Static] as well.
func (p *Pages) DemoSignIn(w http.ResponseWriter, r *http.Request, d DemoSignIn) error {
	b := p.base(r)
	b.Site = Site{Name: "Demo sign-in", Issuer: "http://" + d.Host}
	return p.show(w, http.StatusOK, "demo.html", struct {
		base
		DemoSignIn
	}{b, d})
}
