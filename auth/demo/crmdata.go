package demo

import (
	"fmt"
	"strings"
	"time"
)

// What the made-up records are made of. Names of companies are invented, their hosts end in .example (RFC 2606 §3) and
// telephone numbers are 555-01xx, which are reserved for stories.
var (
	companyNames = []string{"Alder", "Bramble", "Cobalt", "Dunmore", "Elmwood", "Fjord", "Granite", "Harbour", "Ironbridge",
		"Juniper", "Kestrel", "Larch", "Meridian", "Northgate", "Orchard", "Pinecrest", "Quarry", "Riverside", "Saltmarsh",
		"Thornbury", "Umber", "Valley", "Westwind", "Yarrow"}
	industries = []string{"energy", "finance", "food", "healthcare", "logistics", "manufacturing", "media", "retail",
		"software", "travel"}
	trades = map[string][]string{
		"energy": {"Power", "Solar", "Grid"}, "finance": {"Capital", "Insurance", "Bank"}, "food": {"Foods", "Bakeries", "Dairy"},
		"healthcare": {"Clinics", "Medical", "Pharma"}, "logistics": {"Freight", "Logistics", "Shipping"},
		"manufacturing": {"Works", "Tools", "Steel"}, "media": {"Press", "Studios", "Broadcasting"},
		"retail": {"Stores", "Outfitters", "Markets"}, "software": {"Systems", "Data", "Labs"}, "travel": {"Hotels", "Travel", "Airways"},
	}
	places = []struct{ country, form, dial, cities string }{
		{"DE", "GmbH", "+49", "Hamburg Leipzig Stuttgart"}, {"NL", "B.V.", "+31", "Utrecht Rotterdam Groningen"},
		{"FR", "SAS", "+33", "Lyon Nantes Lille"}, {"GB", "Ltd", "+44", "Leeds Bristol Cardiff"},
		{"US", "Inc.", "+1", "Denver Boston Portland"}, {"SE", "AB", "+46", "Malmö Uppsala Göteborg"},
		{"ES", "S.L.", "+34", "Valencia Bilbao Sevilla"}, {"CH", "AG", "+41", "Basel Bern Zürich"},
	}
	firstNames = []string{"Amara", "Benjamin", "Chloé", "Daniel", "Elif", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Keiko",
		"Lena", "Mateo", "Nadia", "Oskar", "Priya", "Quentin", "Rosa", "Samir", "Tara", "Ursula", "Viktor", "Wanda", "Yusuf"}
	lastNames = []string{"Andersson", "Bauer", "Castillo", "Dupont", "Evans", "Fischer", "García", "Hoffmann", "Ivanov", "Jansen",
		"Kowalski", "Lindqvist", "Moreau", "Novak", "Okafor", "Patel", "Quinn", "Rossi", "Schneider", "Tanaka", "Unger", "Visser",
		"Walker", "Yilmaz"}
	jobs = []string{"Head of Purchasing", "Chief Financial Officer", "Operations Manager", "IT Director", "Data Analyst",
		"Chief Executive", "Procurement Lead", "Head of Engineering"}
	products = []string{"Analytics platform", "Support renewal", "Data warehouse licence", "Onboarding package",
		"Workflow automation", "Security review", "Additional seats", "Reporting add-on"}
	nextSteps = []string{"Send the revised offer", "Call about the budget", "Arrange a demonstration", "Wait for the legal review",
		"Meet the purchasing department", "Answer the security questionnaire", "Agree on a start date"}
	subjects = map[string][]string{
		"call":    {"Call about prices", "Call about the schedule", "First call", "Call about open questions"},
		"email":   {"Offer sent", "Answers about security", "Reminder of the offer", "Thanks for the meeting"},
		"meeting": {"Demonstration", "Quarterly review", "Workshop", "Meeting with purchasing"},
		"note":    {"Budget confirmed", "New contact in purchasing", "Competitor is in the race", "Wants to start soon"},
	}
	texts = []string{"", "They want a decision before the end of the quarter.", "The technical side agrees; purchasing is next.",
		"Two competitors were mentioned.", "Asked for references from their industry.", "Prefers a yearly payment.",
		"Legal has questions about data processing."}
)

func (b *book) makeAccounts() {
	used := map[string]bool{}
	for n := 0; len(b.accounts) < accountCount; n++ {
		place, industry := pick(b, places), pick(b, industries)
		short := pick(b, companyNames) + " " + pick(b, trades[industry])
		if used[short] {
			continue
		}
		used[short] = true
		a := account{
			ID: b.id("acc", n), Name: short + " " + place.form, Industry: industry, Country: place.country,
			City:      pick(b, strings.Fields(place.cities)),
			Website:   "https://www." + strings.ToLower(strings.ReplaceAll(short, " ", "-")) + ".example",
			Employees: (1 + b.random.IntN(400)) * 10,
		}
		if b.random.IntN(3) > 0 {
			a.CustomerSince = b.ago(30 + b.random.IntN(2000))
		}
		b.accounts = append(b.accounts, a)
	}
}

// makeContacts gives every account one contact before any gets a second.
func (b *book) makeContacts() {
	for n := range contactCount {
		a := b.accounts[n%len(b.accounts)]
		first, last := pick(b, firstNames), pick(b, lastNames)
		b.contacts = append(b.contacts, contact{
			ID: b.id("con", n), AccountID: a.ID, AccountName: a.Name, Name: first + " " + last, Title: pick(b, jobs),
			Email: mailName(first) + "." + mailName(last) + "@" + strings.TrimPrefix(a.Website, "https://www."),
			Phone: fmt.Sprintf("%s 555 01%02d", dialOf(a.Country), b.random.IntN(100)),
		})
	}
}

// mailName is a name as most e-mail addresses have it, in ASCII.
func mailName(name string) string {
	return strings.NewReplacer("é", "e", "í", "i").Replace(strings.ToLower(name))
}

func dialOf(country string) string {
	for _, p := range places {
		if p.country == country {
			return p.dial
		}
	}
	return ""
}

// makeDeals spreads close dates from half a year back to half a year ahead, and some over every week of this month.
func (b *book) makeDeals() {
	for n := range dealCount {
		with := pick(b, b.contacts)
		d := deal{
			ID: b.id("deal", n), AccountID: with.AccountID, AccountName: with.AccountName, ContactID: with.ID,
			Name: pick(b, products), Amount: (4 + b.random.IntN(300)) * 500, Currency: "EUR", NextStep: pick(b, nextSteps),
		}
		months, dayOfMonth, age := b.random.IntN(12)-6, 1+b.random.IntN(28), 20+b.random.IntN(150)
		if n < thisMonth {
			months, dayOfMonth = 0, 2+4*n
		} else if months >= 0 {
			months++
		}
		closes := time.Date(b.today.Year(), b.today.Month()+time.Month(months), dayOfMonth, 0, 0, 0, 0, time.UTC)
		d.CloseDate = day(closes)
		d.Created = min(day(closes.AddDate(0, 0, -age)), b.ago(age/4))
		d.setStage(b.stageAt(months, n))
		b.deals = append(b.deals, d)
	}
}

// stageAt is how far a deal is that closes so many months from now: past ones are decided, near ones nearly. The first
// of this month is won, the others are open.
func (b *book) stageAt(months, n int) string {
	decided, near, far := []string{"won", "won", "lost"}, []string{"proposal", "negotiation"}, []string{"qualification", "discovery", "proposal"}
	drawn := b.random.IntN(6)
	switch {
	case months < 0:
		return decided[drawn%3]
	case months > 0:
		return far[drawn%3]
	case n == 0 && b.today.Day() >= 2:
		return "won"
	}
	return near[drawn%2]
}

// makeActivities tells the half year up to today, most of it about open deals.
func (b *book) makeActivities() {
	for n := range activityCount {
		kind := pick(b, kinds)
		a := activity{ID: b.id("act", n), Kind: kind, Subject: pick(b, subjects[kind]), Text: pick(b, texts),
			Date: b.ago(b.random.IntN(180))}
		if b.random.IntN(4) > 0 {
			d := pick(b, b.deals)
			a.AccountID, a.AccountName, a.ContactID, a.DealID = d.AccountID, d.AccountName, d.ContactID, d.ID
		} else {
			with := pick(b, b.contacts)
			a.AccountID, a.AccountName, a.ContactID = with.AccountID, with.AccountName, with.ID
		}
		b.activities = append(b.activities, a)
	}
}

// ago is the day so many days before today.
func (b *book) ago(days int) date { return day(b.today.AddDate(0, 0, -days)) }
