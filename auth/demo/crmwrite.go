package demo

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"hostedmcp/auth/oauth"
)

// maxLogged is how many activities of a user are remembered; the oldest goes.
const maxLogged = 200

// changes is what a user wrote since the start. It is in memory only: a demonstration that starts as it always starts
// is worth more than one that remembers what was tried on it.
type changes struct {
	logged []activity
	count  int // of all that were ever logged: makes ids
	deals  map[string]deal
}

// apply puts the changes into fresh records. A deal that was moved keeps the day that was set, whatever today is.
func (c *changes) apply(b *book) {
	b.activities = append(b.activities, c.logged...)
	for i, d := range b.deals {
		if changed, ok := c.deals[d.ID]; ok {
			b.deals[i] = changed
		}
	}
}

// of returns the user's changes; the caller holds the lock.
func (c *crm) of(user string) *changes {
	if c.changes[user] == nil {
		c.changes[user] = &changes{deals: map[string]deal{}}
	}
	return c.changes[user]
}

// updateDeal changes a deal (RFC 7396, of the three members that may change).
func (c *crm) updateDeal(in *call) (any, *problem) {
	body, p := readBody(in, "stage", "close_date", "next_step")
	if p != nil {
		return nil, p
	}
	if len(body.object) == 0 {
		return nil, problemf(http.StatusBadRequest, "name at least one of stage, close_date, next_step")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// The records of the call were made before the lock: another change may lie between.
	b := newBook(in.user.Name, c.now())
	c.of(in.user.Name).apply(b)
	d := find(b.deals, (*deal).id, in.r.PathValue("id"))
	if d == nil {
		return nil, notFound("deal")
	}
	if next := body.text("next_step", 200); next != "" {
		d.NextStep = next
	}
	if closes := body.text("close_date", 10); closes != "" {
		if _, err := time.Parse(time.DateOnly, closes); err != nil {
			body.fault("close_date is no day: write YYYY-MM-DD")
		}
		d.CloseDate = date(closes)
	}
	if stage := body.text("stage", 20); stage != "" {
		if !slices.Contains(stages, stage) {
			body.fault("stage is none of " + strings.Join(stages, ", "))
		}
		d.setStage(stage)
	}
	if p := body.problem(); p != nil {
		return nil, p
	}
	c.of(in.user.Name).deals[d.ID] = *d
	return d, nil
}

// logActivity writes an activity of today down.
func (c *crm) logActivity(in *call) (any, *problem) {
	body, p := readBody(in, "kind", "subject", "text", "account_id", "contact_id", "deal_id")
	if p != nil {
		return nil, p
	}
	a := activity{Kind: body.text("kind", 20), Subject: body.text("subject", 200), Text: body.text("text", 2000),
		AccountID: body.text("account_id", 20), ContactID: body.text("contact_id", 20), DealID: body.text("deal_id", 20)}
	if !slices.Contains(kinds, a.Kind) {
		body.fault("kind is none of " + strings.Join(kinds, ", "))
	}
	if a.Subject == "" {
		body.fault("subject is missing")
	}
	if p := body.problem(); p != nil {
		return nil, p
	}
	of := find(in.book.accounts, (*account).id, a.AccountID)
	if of == nil {
		return nil, notFound("account")
	}
	if with := find(in.book.contacts, (*contact).id, a.ContactID); a.ContactID != "" && (with == nil || with.AccountID != of.ID) {
		return nil, notFound("contact at this account")
	}
	if about := find(in.book.deals, (*deal).id, a.DealID); a.DealID != "" && (about == nil || about.AccountID != of.ID) {
		return nil, notFound("deal of this account")
	}
	a.AccountName, a.Date = of.Name, day(in.book.today)
	c.mu.Lock()
	defer c.mu.Unlock()
	mine := c.of(in.user.Name)
	a.ID = in.book.id("act", activityCount+mine.count)
	mine.count++
	mine.logged = append(mine.logged, a)
	if len(mine.logged) > maxLogged {
		mine.logged = slices.Delete(mine.logged, 0, 1)
	}
	return a, nil
}

// body is a JSON object of strings.
type body struct {
	object oauth.Object
	faults []string
}

func (b *body) fault(text string) { b.faults = append(b.faults, text) }

// readBody reads a small JSON object that has no members but the known ones.
func readBody(c *call, known ...string) (*body, *problem) {
	if m, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil || m != "application/json" {
		return nil, problemf(http.StatusUnsupportedMediaType, "send application/json")
	}
	if p := newQuery(c.r).problem(); p != nil {
		return nil, p
	}
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, 16<<10))
	if long := new(http.MaxBytesError); errors.As(err, &long) {
		return nil, problemf(http.StatusRequestEntityTooLarge, "send at most %d bytes", long.Limit)
	}
	object, bad := oauth.ParseObject(data, 4)
	if err != nil || bad != nil {
		return nil, problemf(http.StatusBadRequest, "the body is no JSON object that can be read")
	}
	b := &body{object: object}
	for name := range object {
		if !slices.Contains(known, name) {
			b.fault("there is no member " + strconv.QuoteToASCII(name) + "; there are " + strings.Join(known, ", "))
		}
	}
	return b, b.problem()
}

// text returns a string member, "" if it is absent.
func (b *body) text(name string, most int) string {
	raw, there := b.object[name]
	s, err := b.object.Text(name)
	switch {
	case err != nil || string(raw) == "null":
		b.fault(name + " is no string")
	case there && s == "" && name != "text":
		b.fault(name + " is empty: leave it out")
	case utf8.RuneCountInString(s) > most:
		b.fault(name + " has more than " + strconv.Itoa(most) + " characters")
	}
	return s
}

func (b *body) problem() *problem {
	if len(b.faults) == 0 {
		return nil
	}
	slices.Sort(b.faults)
	return problemf(http.StatusBadRequest, "%s", strings.Join(b.faults, "; "))
}
