package demo

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"
)

// date is a calendar day as the wire has it, YYYY-MM-DD: such strings compare as days do.
type date string

func day(t time.Time) date { return date(t.Format(time.DateOnly)) }

// The records, as the document's schemas of the same names describe them.
type (
	account struct {
		ID            string `json:"id"`
		Name          string `json:"name"`
		Industry      string `json:"industry"`
		City          string `json:"city"`
		Country       string `json:"country"`
		Website       string `json:"website"`
		Employees     int    `json:"employees"`
		CustomerSince date   `json:"customer_since,omitempty"`
	}
	contact struct {
		ID          string `json:"id"`
		AccountID   string `json:"account_id"`
		AccountName string `json:"account_name"`
		Name        string `json:"name"`
		Title       string `json:"title"`
		Email       string `json:"email"`
		Phone       string `json:"phone"`
	}
	deal struct {
		ID          string `json:"id"`
		AccountID   string `json:"account_id"`
		AccountName string `json:"account_name"`
		ContactID   string `json:"contact_id"`
		Name        string `json:"name"`
		Stage       string `json:"stage"`
		Amount      int    `json:"amount"` // euros
		Currency    string `json:"currency"`
		Probability int    `json:"probability"` // percent
		Created     date   `json:"created"`
		CloseDate   date   `json:"close_date"`
		NextStep    string `json:"next_step,omitempty"`
	}
	activity struct {
		ID          string `json:"id"`
		Kind        string `json:"kind"`
		Date        date   `json:"date"`
		Subject     string `json:"subject"`
		Text        string `json:"text,omitempty"`
		AccountID   string `json:"account_id"`
		AccountName string `json:"account_name"`
		ContactID   string `json:"contact_id,omitempty"`
		DealID      string `json:"deal_id,omitempty"`
	}
)

// How many records a user has, and what their stages are worth.
const (
	accountCount  = 48
	contactCount  = 110
	dealCount     = 64
	activityCount = 160
	thisMonth     = 7 // deals that close in the present month, so that the first question has an answer
)

var (
	stages      = []string{"qualification", "discovery", "proposal", "negotiation", "won", "lost"}
	probability = map[string]int{"qualification": 10, "discovery": 25, "proposal": 50, "negotiation": 75, "won": 100, "lost": 0}
	kinds       = []string{"call", "email", "meeting", "note"}
)

// closed reports whether nothing is to be done for a deal any more.
func (d deal) closed() bool { return d.Stage == "won" || d.Stage == "lost" }

// setStage moves a deal: its probability follows, and a closed one has no next step.
func (d *deal) setStage(stage string) {
	d.Stage, d.Probability = stage, probability[stage]
	if d.closed() {
		d.NextStep = ""
	}
}

// book is everything that one user sees. It is the same for the same name and day, on every machine and after every
// start: a generator seeded by the name makes it, and only dates follow the calendar.
type book struct {
	user       string
	today      time.Time
	random     *rand.Rand
	accounts   []account
	contacts   []contact
	deals      []deal
	activities []activity
}

func newBook(user string, now time.Time) *book {
	seed := sha256.Sum256([]byte("hostedmcp demo crm\x00" + user))
	b := &book{user: user, today: now.UTC().Truncate(24 * time.Hour), random: rand.New(rand.NewChaCha8(seed))}
	b.makeAccounts()
	b.makeContacts()
	b.makeDeals()
	b.makeActivities()
	return b
}

// id names the nth record of a kind. It differs from user to user: nobody meets another's record by counting.
func (b *book) id(kind string, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", b.user, kind, n))
	return kind + "_" + hex.EncodeToString(sum[:4])
}

// pick returns one of a list.
func pick[T any](b *book, list []T) T { return list[b.random.IntN(len(list))] }

// find returns the record with that id, nil if the user has none.
func find[T any](records []T, id func(*T) string, wanted string) *T {
	for i := range records {
		if id(&records[i]) == wanted {
			return &records[i]
		}
	}
	return nil
}

func (a *account) id() string  { return a.ID }
func (c *contact) id() string  { return c.ID }
func (d *deal) id() string     { return d.ID }
func (a *activity) id() string { return a.ID }
