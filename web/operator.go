package web

import (
	"cmp"
	"strings"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/story"
)

// What operators see beyond their own connections (protocol.md §4.3): everybody's, found by user or program, with how
// the things are doing that all connections need. It shows who uses what, so it says no more than support needs: no
// address, no token, no request.

// healthView is one thing that connections need, in a word with a shape, and why.
type healthView struct {
	Name, State, Kind, Sentence string
	Reason                      oauth.Reason
}

// connectorWords say the states of a connector.
var connectorWords = map[string]string{"ok": "Working", "unreachable": "Not answering", "changed": "Changed"}

// Health is the provider, the store and every connector, in this order.
func (v statusView) Health() []healthView {
	out := []healthView{health("Sign-in service", v.Provider), health("Store", v.Store)}
	for _, c := range v.Connectors {
		word, known := connectorWords[c.State]
		if !known {
			word = c.State
		}
		out = append(out, healthView{c.Title, word, shape(c.Reason), c.Sentence, c.Reason})
	}
	return out
}

// health puts the host before the sentence where there is one: the name alone says which of two installations it is.
func health(name string, h auth.PageHealth) healthView {
	about := h.Host
	if about != "" && h.Sentence != "" {
		about += ", "
	}
	return healthView{name, h.State, shape(h.Reason), about + h.Sentence, h.Reason}
}

// shape is the ring of trouble or the disc of work.
func shape(r oauth.Reason) string {
	if r == "" || r == oauth.OK {
		return ""
	}
	return "trouble"
}

// StateLink leads to all connections in one state: what the number beside it counts.
func (v statusView) StateLink(state string) string { return statusLink(auth.PageQuery{State: state}) }

// AnyState is the same search in all states.
func (v statusView) AnyState() string {
	return statusLink(auth.PageQuery{Subject: v.Query.Subject, Client: v.Query.Client})
}

// FirstPage leads back to the beginning; "" there.
func (v statusView) FirstPage() string {
	if v.Query.After == "" {
		return ""
	}
	q := v.Query
	q.After = ""
	return statusLink(q)
}

// Searched reports that less than everything was asked for.
func (v statusView) Searched() bool { return v.Query != auth.PageQuery{} }

// StateName is the state that the page is narrowed to, "" if to none.
func (v statusView) StateName() string {
	for _, c := range v.Counts {
		if c.State == v.Query.State {
			return c.Name
		}
	}
	return v.Query.State
}

// Caption says what part of what was found stands in the table, as far as it is known.
func (v statusView) Caption() string {
	var said string
	switch {
	case !v.Everybody() && v.Total > 0:
		said = story.Count(int64(v.Total), "connection") + " of one user."
	case v.From > 0 && v.Total > 0:
		said = story.Number(int64(v.From)) + " to " + story.Number(int64(v.To)) + " of " + story.Number(int64(v.Total)) + "."
	case v.From > 0:
		said = story.Number(int64(v.From)) + " to " + story.Number(int64(v.To)) + "."
	default:
		said = story.Count(int64(len(v.Grants)), "connection") + " on this page."
	}
	return said + " Times are UTC."
}

// Heading names the one user as people do.
func (v statusView) Heading() string { return cmp.Or(displayedUser(v.Whose).Name, userLabel(v.Whose)) }

// Stories reports whether there is a story to tell below the table.
func (v statusView) Stories() bool {
	for _, g := range v.Grants {
		if len(g.Events) > 0 {
			return true
		}
	}
	return false
}

// UserLink leads to everything of the grant's user.
func (v connectionView) UserLink() string { return statusLink(auth.PageQuery{Subject: v.User.Subject}) }

// Second is the user's name where the label is not the name already.
func (v connectionView) Second() string {
	if v.User.Name == userLabel(v.User) {
		return ""
	}
	return v.User.Name
}

// Where is where the program's answers go, as far as its kind says: the host of its document, this computer.
func (v connectionView) Where() string {
	var places []string
	if v.Client.Host != "" {
		places = append(places, v.Client.Host)
	}
	if v.Client.Loopback || v.Client.PrivateUse {
		places = append(places, "this computer")
	}
	return strings.Join(places, ", ")
}
