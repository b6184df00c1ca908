package web

import (
	"cmp"
	"net/http"
	"net/url"
	"strconv"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

// "My connections": what a person sees of their grants, and the two ways to end them. State is a word with a shape,
// never a colour alone; bad news comes with what to do and the code that helps whoever is asked. The words are those of
// the journal's story, which `explain` tells too.

// Status shows connections, ended ones included (protocol.md §4.3): the signed-in user's own one by one, those of others
// as a table for operators.
func (p *Pages) Status(w http.ResponseWriter, r *http.Request, s auth.StatusPage) error {
	v := statusView{base: p.base(r), StatusPage: s}
	for i, g := range s.Grants {
		v.Grants = append(v.Grants, connection(i, g, s.Token))
	}
	if v.Own() {
		return p.show(w, http.StatusOK, "status.html", v)
	}
	return p.show(w, http.StatusOK, "operator.html", v)
}

// statusView is both pages as their templates see them: the layout's fields and those of auth.StatusPage.
type statusView struct {
	base
	auth.StatusPage
	Grants []connectionView // in place of those of StatusPage
}

// Everybody reports that an operator's page is about nobody in particular.
func (v statusView) Everybody() bool { return v.Whose == auth.PageUser{} }

// Own reports the page of the signed-in user's own connections, whether they are an operator or not.
func (v statusView) Own() bool { return !v.Operator || v.Whose.Subject == v.User.Subject }

// Mine is an operator's way to their own connections.
func (v statusView) Mine() string { return statusLink(auth.PageQuery{Subject: v.User.Subject}) }

// NextPage is the address of what follows; "" on the last page.
func (v statusView) NextPage() string {
	if v.Next == "" {
		return ""
	}
	q := v.Query
	q.After = v.Next
	return statusLink(q)
}

// statusLink is the address of the status page for q; what is empty is left out.
func statusLink(q auth.PageQuery) string {
	values := url.Values{}
	for _, f := range []struct{ key, value string }{{"subject", q.Subject}, {"client", q.Client}, {"state", q.State}, {"after", q.After}} {
		if f.value != "" {
			values.Set(f.key, f.value)
		}
	}
	if len(values) == 0 {
		return "/status"
	}
	return "/status?" + values.Encode()
}

// connectionView is one grant on either page.
type connectionView struct {
	auth.PageGrant
	Anchor string // ties the article to its heading
	Token  string
	Over   bool // ended: nothing is left to end
}

// connection is the i-th grant of a page. One that ended says so even if its time is not known.
func connection(i int, g auth.PageGrant, token string) connectionView {
	g.Client, g.User = displayed(g.Client), displayedUser(g.User)
	return connectionView{PageGrant: g, Anchor: "c" + strconv.Itoa(i+1), Token: token,
		Over: !g.Ended.IsZero() || g.Reason.Group() == oauth.GroupEnded || g.Kind == "ended"}
}

// displayedUser fences names as [displayed] does: at many providers people choose their own.
func displayedUser(u auth.PageUser) auth.PageUser {
	u.Name, u.Email = oauth.DisplayText(u.Name, 100), oauth.DisplayText(u.Email, 254)
	return u
}

// userLabel names a person in a few letters, by what the provider told of them.
func userLabel(u auth.PageUser) string {
	u = displayedUser(u)
	return cmp.Or(u.Email, u.Name, u.Subject)
}
