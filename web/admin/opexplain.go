package admin

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"unicode/utf8"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/story"
	"hostedmcp/storage"
)

// explain: what is a word that somebody has from a page, a log or a user, and what is the story behind it?

// A word that fits nothing is refused before anything is looked up; stories are bounded, for each is a few readings.
const (
	maxWord        = 512 // a subject has at most 255 characters (OpenID Connect Core §2)
	defaultStories = 20
	maxStories     = 200
)

// explain tells what the word of the query is by looking it up: first where an index leads straight to it.
func (d *Door) explain(x *exchange) error {
	word := x.r.URL.Query().Get("word")
	if err := checkWord(word); err != nil {
		return err
	}
	limit, err := x.number("limit", defaultStories, maxStories)
	if err != nil {
		return err
	}
	// the word comes back, so that the answer of a script's loop says which one it is about
	a := explanation{Word: word, NoMemory: d.o.Refusals == nil}
	// The journals last: reading them from end to end costs what the others do not.
	for _, look := range []func(context.Context, *explanation) ([]storage.Grant, error){d.asGrant, d.asUser, d.asRequest} {
		grants, err := look(x.r.Context(), &a)
		if err != nil {
			return err
		}
		if a.Found != "" {
			x.note("found", a.Found)
			return d.tell(x, &a, grants, limit)
		}
	}
	return d.unknownWord(x.r.Context(), word)
}

// checkWord refuses what nothing can be called.
func checkWord(word string) error {
	if word == "" || len(word) > maxWord || !utf8.ValidString(word) {
		return refuse(http.StatusBadRequest, "name a connection, a user or a request in at most %d bytes", maxWord)
	}
	return nil
}

// asGrant looks for a connection. Its id is what the other lists show, so that it comes first.
func (d *Door) asGrant(_ context.Context, a *explanation) ([]storage.Grant, error) {
	g, err := d.o.Store.Grant(a.Word)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	a.Found = "grant"
	return []storage.Grant{g}, err
}

// asUser looks for a subject, then for an e-mail address.
func (d *Door) asUser(_ context.Context, a *explanation) ([]storage.Grant, error) {
	grants, err := d.o.Store.GrantsOf(a.Word)
	if err != nil || len(grants) > 0 {
		a.Found, a.LogSubject = "subject", d.logSubject(a.Word)
		return grants, err
	}
	grants, err = d.o.Store.GrantsByEmail(a.Word)
	if err == nil && len(grants) == 0 {
		return nil, nil
	}
	if err == nil {
		// of several people with one address the first: each story names its own subject
		a.Found, a.LogSubject = "email", d.logSubject(grants[0].Subject)
	}
	return grants, err
}

// asRequest looks into the journals and, on a server, among the requests that were refused.
func (d *Door) asRequest(ctx context.Context, a *explanation) ([]storage.Grant, error) {
	if !isID(a.Word) {
		return nil, nil // the journals are read from end to end: not for a word that cannot be there
	}
	events, err := d.o.Store.EventsOfRequest(ctx, a.Word)
	if err != nil {
		return nil, err
	}
	var ids []string
	var waiting []storage.Event
	for _, e := range events {
		if ids = append(ids, e.Grant); e.Grant == "" {
			waiting = append(waiting, e)
		}
	}
	// A refused request may be about a connection all the same: then its story belongs to the answer.
	ids = append(ids, d.refused(a)...)
	if len(events)+len(a.Refused) > 0 {
		a.Found = "request"
	}
	if len(waiting) > 0 {
		a.Refused = append(a.Refused, d.unfinished(waiting))
	}
	return d.grantsOf(ids)
}

// refused tells what a server remembers of a request, and returns the connections that it was about.
func (d *Door) refused(a *explanation) (ids []string) {
	if d.o.Refusals == nil {
		return nil
	}
	for _, r := range d.o.Refusals(a.Word) {
		ids = append(ids, r.Grant)
		a.Refused = append(a.Refused, story.OfRefusal(r, d.o.Site, d.o.Store.Now()))
	}
	return ids
}

// unfinished tells of a login that waits for its user to sign in: there is no connection yet.
func (d *Door) unfinished(events []storage.Event) story.Story {
	first := events[0]
	return story.Tell(story.Input{
		Grant: storage.Grant{ClientID: first.Client, Created: first.At}, Events: events, Site: d.o.Site, Now: d.o.Store.Now(),
	})
}

// grantsOf reads each grant once; "" and those that are gone are passed over.
func (d *Door) grantsOf(ids []string) (grants []storage.Grant, err error) {
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		g, err := d.o.Store.Grant(id)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, nil
}

// isID says whether a word is of the form that ids of connections and requests have: rand.Text, 26 digits of base32.
func isID(word string) bool {
	if len(word) != 26 {
		return false
	}
	for _, c := range []byte(word) {
		if !('A' <= c && c <= 'Z' || '2' <= c && c <= '7') {
			return false
		}
	}
	return true
}

// tell answers with the stories, of living connections first, then of those that ended last.
func (d *Door) tell(x *exchange, a *explanation, grants []storage.Grant, limit int) error {
	slices.SortStableFunc(grants, func(g, h storage.Grant) int {
		if g.Living() != h.Living() {
			if g.Living() {
				return -1
			}
			return 1
		}
		return cmp.Or(h.EndedAt.Compare(g.EndedAt), h.LastUse.Compare(g.LastUse), cmp.Compare(g.ID, h.ID))
	})
	if len(grants) > limit {
		a.More, grants = len(grants)-limit, grants[:limit]
	}
	a.Stories = []story.Story{}
	for _, g := range grants {
		s, err := d.story(g)
		if err != nil {
			return err
		}
		a.Stories = append(a.Stories, s)
	}
	a.adviseOnce()
	return x.answer(a)
}

// adviseOnce leaves the advice to the story of the connection, which knows its user's name, where a refusal of it has
// the same reason.
func (a *explanation) adviseOnce() {
	for i, r := range a.Refused {
		if slices.ContainsFunc(a.Stories, func(s story.Story) bool { return s.Grant.ID == r.Grant.ID && s.Reason == r.Reason }) {
			a.Refused[i].Advice = nil
		}
	}
}

// story tells one connection. Identity and upstream tokens of an ended one may be gone.
func (d *Door) story(g storage.Grant) (story.Story, error) {
	// Three readings, not one transaction: an event that comes between them is told the next time.
	in := story.Input{Grant: g, Site: d.o.Site, Server: d.trouble(), Now: d.o.Store.Now()}
	var err error
	if in.Events, err = d.o.Store.Events(g.ID); err != nil {
		return story.Story{}, err
	}
	if in.Identity, err = d.o.Store.Identity(g.ID); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return story.Story{}, err
	}
	if in.Upstream, err = d.o.Store.Upstream(g.ID); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return story.Story{}, err
	}
	if c, err := d.o.Store.Client(g.ClientID); err == nil && c.Kind == storage.ClientRegistered {
		in.Registered = c.Created
	}
	return story.Tell(in), nil
}

// trouble is what concerns every connection now.
func (d *Door) trouble() oauth.Reason {
	switch {
	case d.o.Store.Ready() != nil:
		return oauth.StorageUnavailable
	case !d.o.Store.ClockTrusted():
		return oauth.ClockJump
	}
	return ""
}

// logSubject is a subject as log lines show it: package auth hashes it under the same label.
func (d *Door) logSubject(subject string) string {
	mac := hmac.New(sha256.New, d.o.Store.Key("log-subject"))
	mac.Write([]byte(subject))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
