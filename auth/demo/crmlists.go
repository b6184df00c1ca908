package demo

import (
	"cmp"
	"slices"
	"strings"
)

// byName orders as a directory does.
func byName(a, b string) int { return cmp.Compare(strings.ToLower(a), strings.ToLower(b)) }

func listAccounts(c *call) (any, *problem) {
	q := newQuery(c.r)
	words, industry, country := q.words(), q.choice("industry", industries...), q.text("country")
	return pageOf(q, c.book.accounts, func(a *account) bool {
		return contains(words, a.Name, a.City, a.Industry) && is(industry, a.Industry) && is(country, a.Country)
	}, func(a, b *account) int { return byName(a.Name, b.Name) }, (*account).id)
}

func listContacts(c *call) (any, *problem) {
	q := newQuery(c.r)
	words, of := q.words(), q.text("account_id")
	return pageOf(q, c.book.contacts, func(o *contact) bool {
		return contains(words, o.Name, o.Title, o.Email, o.AccountName) && is(of, o.AccountID)
	}, func(a, b *contact) int { return byName(a.Name, b.Name) }, (*contact).id)
}

func listDeals(c *call) (any, *problem) {
	q := newQuery(c.r)
	words, of, in := q.words(), q.text("account_id"), q.choices("stage", stages...)
	open, from, to := q.choice("open", "true", "false"), q.date("close_from"), q.date("close_to")
	least := q.number("min_amount", 0, 1_000_000_000, 0)
	return pageOf(q, c.book.deals, func(d *deal) bool {
		return contains(words, d.Name, d.AccountName, d.NextStep) && is(of, d.AccountID) && d.Amount >= least &&
			(len(in) == 0 || slices.Contains(in, d.Stage)) && (open == "" || d.closed() == (open == "false")) &&
			within(d.CloseDate, from, to)
	}, func(a, b *deal) int { return cmp.Compare(a.CloseDate, b.CloseDate) }, (*deal).id)
}

func listActivities(c *call) (any, *problem) {
	q := newQuery(c.r)
	words, of, with, about := q.words(), q.text("account_id"), q.text("contact_id"), q.text("deal_id")
	kind, from, to := q.choice("kind", kinds...), q.date("from"), q.date("to")
	return pageOf(q, c.book.activities, func(a *activity) bool {
		return contains(words, a.Subject, a.Text, a.AccountName) && is(of, a.AccountID) && is(with, a.ContactID) &&
			is(about, a.DealID) && is(kind, a.Kind) && within(a.Date, from, to)
	}, func(a, b *activity) int { return cmp.Compare(b.Date, a.Date) }, (*activity).id)
}

// one answers with the record that the path names. Parameters are refused as in lists.
func one[T any](c *call, what string, records []T, id func(*T) string) (any, *problem) {
	if p := newQuery(c.r).problem(); p != nil {
		return nil, p
	}
	if found := find(records, id, c.r.PathValue("id")); found != nil {
		return found, nil
	}
	return nil, notFound(what)
}

func getAccount(c *call) (any, *problem) {
	return one(c, "account", c.book.accounts, (*account).id)
}

func getContact(c *call) (any, *problem) {
	return one(c, "contact", c.book.contacts, (*contact).id)
}

func getDeal(c *call) (any, *problem) { return one(c, "deal", c.book.deals, (*deal).id) }

// stageSum is one entry of the pipeline, in euros.
type stageSum struct {
	Stage    string `json:"stage"`
	Deals    int    `json:"deals"`
	Amount   int    `json:"amount"`
	Weighted int    `json:"weighted"` // amount times probability, rounded down once at the end
}

// getPipeline sums up in place of an agent, which adds badly.
func getPipeline(c *call) (any, *problem) {
	q := newQuery(c.r)
	from, to := q.date("close_from"), q.date("close_to")
	if p := q.problem(); p != nil {
		return nil, p
	}
	sums := make([]stageSum, len(stages))
	for i, stage := range stages {
		sums[i].Stage = stage
		for _, d := range c.book.deals {
			if d.Stage == stage && within(d.CloseDate, from, to) {
				sums[i].Deals++
				sums[i].Amount += d.Amount
			}
		}
		sums[i].Weighted = sums[i].Amount * probability[stage] / 100
	}
	return map[string]any{"currency": "EUR", "stages": sums}, nil
}
