package web

import (
	"cmp"
	"net/http"
	"strconv"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

// "My connections": what a person sees of their grants, and the two ways to end them. State is a word with a shape,
// never a colour alone; bad news comes with what to do and the code that helps whoever is asked.

// Status shows the signed-in user's own connections, ended ones included (protocol.md §4.3).
func (p *Pages) Status(w http.ResponseWriter, r *http.Request, s auth.StatusPage) error {
	v := statusView{base: p.base(r), StatusPage: s}
	for i, g := range s.Grants {
		v.Grants = append(v.Grants, p.connection(i, g, s.Token))
	}
	return p.show(w, http.StatusOK, "status.html", v)
}

type statusView struct {
	base
	auth.StatusPage
	Grants []connectionView // in place of those of StatusPage
}

// Who names the person in the page's corner by what the provider told of them.
func (v statusView) Who() string { return cmp.Or(v.User.Email, v.User.Name, v.User.Subject) }

// connectionView is one grant with its state in words.
type connectionView struct {
	auth.PageGrant
	Anchor   string // ties the article to its heading
	Token    string
	Over     bool   // ended
	State    string // a word beside a shape, never a colour alone
	Class    string // of the shape: "" disc, "trouble" ring, "ended" dash
	Sentence string // what happened and what to do; "" while it works
}

// connection puts the state of the i-th grant into words. A grant that ended says so even if its time is not known.
func (p *Pages) connection(i int, g auth.PageGrant, token string) connectionView {
	g.Client = displayed(g.Client)
	v := connectionView{PageGrant: g, Anchor: "c" + strconv.Itoa(i+1), Token: token, State: "Working"}
	switch {
	case !g.Ended.IsZero() || g.Reason.Group() == oauth.GroupEnded:
		v.Over, v.State, v.Class, v.Sentence = true, "Ended", "ended", p.endedSentence(g.Reason)
	case g.Reason != "" && g.Reason != oauth.OK:
		v.Class = "trouble"
		v.State, v.Sentence = p.troubleSentence(g)
	}
	return v
}
