package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// Connections: list, look at, end.

const (
	defaultPage = 50
	maxPage     = 200
)

// states are the words of -state. "living" is all but ended.
var states = map[string][]storage.State{
	"unclaimed": {storage.StateUnclaimed}, "working": {storage.StateWorking}, "trouble": {storage.StateTrouble},
	"in_doubt": {storage.StateInDoubt}, "quarantined": {storage.StateQuarantined}, "ended": {storage.StateEnded},
	"living": {storage.StateUnclaimed, storage.StateWorking, storage.StateTrouble, storage.StateInDoubt, storage.StateQuarantined},
}

// stateWords is the list for a person who typed another.
const stateWords = "unclaimed, working, trouble, in_doubt, quarantined, ended or living"

// number reads a parameter of the query.
func (x *exchange) number(name string, missing, most int) (int, error) {
	text := x.r.URL.Query().Get(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, refuse(http.StatusBadRequest, "%s must be a number from 1 to %d", name, most)
	}
	return n, nil
}

// listGrants answers one page. A page may be short, even empty, and yet have a next one: a search looks at a bounded
// number of records.
func (d *Door) listGrants(x *exchange) error {
	q := x.r.URL.Query()
	limit, err := x.number("limit", defaultPage, maxPage)
	if err != nil {
		return err
	}
	// "after" is what a page before gave: a word of the store's own, bounded like all others
	query := storage.Query{Subject: q.Get("subject"), Client: q.Get("client"), After: q.Get("after"), Limit: limit}
	if len(query.Subject) > maxWord || len(query.Client) > maxClient || len(query.After) > maxWord {
		return refuse(http.StatusBadRequest, "subject and client must be shorter than %d bytes", maxWord)
	}
	if word := q.Get("state"); word != "" {
		if query.States = states[word]; query.States == nil {
			return refuse(http.StatusBadRequest, "state must be %s", stateWords)
		}
	}
	found, next, err := d.o.Store.Find(x.r.Context(), query)
	if err != nil {
		return err
	}
	page := grantPage{Grants: []grantLine{}, Next: next}
	for _, g := range found {
		// names are sealed apart from the grants; a page has at most maxPage of them to open
		line, _, err := d.line(g)
		if err != nil {
			return err
		}
		page.Grants = append(page.Grants, line)
	}
	return x.answer(page)
}

// maxClient is longer than a word: a client id may be the URL of a document.
const maxClient = 2048

// line is a grant with its user's name. Identities go with their grants, but a page is not one transaction.
func (d *Door) line(g storage.Grant) (grantLine, storage.Identity, error) {
	who, err := d.o.Store.Identity(g.ID)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return grantLine{}, who, err
	}
	return grantLine{
		ID: g.ID, State: g.State.String(), Subject: g.Subject, Name: who.Name, Email: who.Email, Client: g.ClientID,
		ClientName: g.ClientName, Scope: g.Scope, Created: g.Created.UTC(), LastUse: g.LastUse.UTC(), Ended: g.EndedAt.UTC(),
		Reason: g.Ended,
	}, who, nil
}

// grant reads the grant of the path.
func (d *Door) grant(x *exchange) (storage.Grant, error) {
	id := x.r.PathValue("id")
	g, err := d.o.Store.Grant(id)
	if errors.Is(err, storage.ErrNotFound) {
		return g, noGrant(id)
	}
	if err == nil {
		x.note("grant", id)
	}
	return g, err
}

// noGrant is the error for an id that leads nowhere.
func noGrant(id string) error {
	return refuse(http.StatusNotFound, "no connection has the id %s: hostedmcp grants list shows them; "+
		"an ended one is forgotten after tokens.tombstone_ttl", shown(id))
}

// showGrant answers with one connection.
func (d *Door) showGrant(x *exchange) error {
	g, err := d.grant(x)
	if err != nil {
		return err
	}
	line, who, err := d.line(g)
	if err != nil {
		return err
	}
	a := grantDetail{
		grantLine: line, Resource: g.Resource, RedirectURI: g.RedirectURI, Groups: who.Groups, Generation: g.Gen, Events: g.Events,
	}
	u, err := d.o.Store.Upstream(g.ID)
	switch {
	case errors.Is(err, storage.ErrNotFound): // given back to the provider
	case err != nil:
		return err
	default:
		a.Upstream = stateOf(u)
	}
	return x.answer(a)
}

// stateOf leaves out the tokens.
func stateOf(u storage.Upstream) *upstreamState {
	return &upstreamState{
		Answered: u.Answered.UTC(), Expires: u.Expires.UTC(), RefreshExpires: u.RefreshExpires.UTC(), Offline: u.Offline,
		KeepaliveAt: u.KeepaliveAt.UTC(), Trouble: u.Trouble, TroubleSince: u.TroubleSince.UTC(), Failures: u.Failures,
		InDoubt: u.InDoubt, Quarantined: u.Quarantined, RevokeAt: u.RevokeAt.UTC(),
	}
}

// endGrant ends one connection. One that has ended already stays as it is, and is no error: it is what was asked for.
func (d *Door) endGrant(x *exchange) error {
	g, err := d.grant(x)
	if err != nil {
		return err
	}
	// Looked at before the end, not in its transaction: of two who end it at once both are told that they did.
	if !g.Living() {
		return x.answer(ended{Reason: g.Ended, At: g.EndedAt.UTC()})
	}
	if err := d.end(x.r.Context(), x, g.ID); err != nil {
		return err
	}
	x.note("ended", 1)
	return x.answer(ended{Ended: 1})
}

// end lets the server do it if there is one: its streams close at once, and its loop asks the provider to revoke.
func (d *Door) end(ctx context.Context, x *exchange, id string) error {
	if d.o.End != nil {
		return d.o.End(ctx, id)
	}
	_, err := d.o.Store.EndGrant(ctx, id, oauth.AdminRevoked, x.event(oauth.AdminRevoked))
	return err
}

// users says whom a word means: a subject, or everybody with an e-mail address. An address may be several people's at
// the provider, or have moved from one to another; who is to be ended, the operator then says.
func (d *Door) users(x *exchange) error {
	word := x.r.URL.Query().Get("word")
	if err := checkWord(word); err != nil {
		return err
	}
	page, err := d.findUsers(word)
	if err != nil {
		return err
	}
	if len(page.Users) == 0 {
		return d.unknownWord(x.r.Context(), word)
	}
	return x.answer(page)
}

// findUsers looks for a subject, then for an address, and counts each one's connections.
func (d *Door) findUsers(word string) (page userPage, err error) {
	grants, err := d.o.Store.GrantsOf(word)
	if err == nil && len(grants) == 0 {
		grants, err = d.o.Store.GrantsByEmail(word)
	}
	if err != nil {
		return page, err
	}
	for _, g := range grants {
		// an address may have been given to a second person: whom the operator means is the operator's to say
		i := slices.IndexFunc(page.Users, func(u userLine) bool { return u.Subject == g.Subject })
		if i < 0 {
			line, _, err := d.line(g)
			if err != nil {
				return page, err
			}
			i = len(page.Users)
			page.Users = append(page.Users, userLine{Subject: g.Subject, Name: line.Name, Email: line.Email})
		}
		if g.Living() {
			page.Users[i].Living++
		} else {
			page.Users[i].Ended++
		}
	}
	return page, nil
}

// endSubject ends all connections of exactly one subject. The path does not name it: paths are logged by others.
func (d *Door) endSubject(x *exchange) error {
	var in struct {
		Subject string `json:"subject"`
	}
	if err := x.read(&in); err != nil {
		return err
	}
	if err := checkWord(in.Subject); err != nil {
		return err
	}
	// before the work: a line about an end that failed names whom it was about as well
	x.note("subject", d.logSubject(in.Subject))
	n, err := d.endAll(x.r.Context(), x, in.Subject)
	if err != nil {
		return err
	}
	x.note("ended", n)
	return x.answer(ended{Ended: n})
}

// endAll is end for all connections of a subject, in one commit: none of them can refresh in between.
func (d *Door) endAll(ctx context.Context, x *exchange, subject string) (int, error) {
	if d.o.EndSubject != nil {
		return d.o.EndSubject(ctx, subject)
	}
	return d.o.Store.EndSubject(ctx, subject, oauth.AdminRevoked, x.event(oauth.AdminRevoked))
}

// unknownWord says what was looked for, and whom the operator may have meant.
func (d *Door) unknownWord(ctx context.Context, word string) error {
	text := fmt.Sprintf("nothing is known of %s: it is no connection, user or request that is remembered", shown(word))
	if d.o.Refusals == nil {
		text += "; requests that were refused are known to a running server only"
	}
	ctx, cancel := context.WithTimeout(ctx, nearTime)
	defer cancel()
	// An error here only means that nobody is suggested.
	near, err := d.o.Store.Names(ctx, word, maxNear)
	if err == nil && len(near) > 0 {
		text += "; did you mean the user " + strings.Join(shownAll(near), ", ") + "?"
	}
	return refuse(http.StatusNotFound, "%s", text)
}

// maxNear is how many users are named to somebody who wrote part of a name, nearTime how long they are looked for.
const (
	maxNear  = 5
	nearTime = 3 * time.Second
)
