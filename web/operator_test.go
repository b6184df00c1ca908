package web_test

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

var (
	olga  = auth.PageUser{Name: "Olga Example", Email: "olga@example.com", Subject: "s-olga"}
	alice = auth.PageUser{Name: "Alice Example", Email: "alice@example.com", Subject: "s/alice&state=x"}
)

// operator is the page of all connections as one who may see them all has it.
func operator(t *testing.T, change func(*auth.StatusPage)) document {
	t.Helper()
	claude, codex, cursor := living("Claude"), troubled("Codex"), ended("Cursor")
	claude.User, codex.User, cursor.User = alice, alice, auth.PageUser{Subject: "s-nameless"}
	claude.Client = auth.PageClient{Name: "Claude", Document: true, Host: "claude.ai"}
	codex.Client = auth.PageClient{Name: "Codex", Registered: true, Loopback: true}
	p := auth.StatusPage{
		Token: "end-token", SignOut: "out-token", User: olga, Operator: true, Tombstone: oauth.Days(90),
		Grants:   []auth.PageGrant{claude, codex, cursor},
		Counts:   []auth.PageCount{{State: "working", Name: "Working", N: 1204}, {State: "ended", Name: "Ended", N: 87}},
		Provider: auth.PageHealth{Host: "login.example.com", State: "Not answering", Sentence: "silent for 36 minutes", Reason: oauth.UpstreamUnreachable},
		Store:    auth.PageHealth{State: "Working", Sentence: "312 MB"},
		Connectors: []auth.PageConnector{
			{Name: "crm", Title: "CRM", State: "ok"},
			{Name: "dwh", Title: "Warehouse", State: "unreachable", Sentence: "since 11:00 UTC", Reason: oauth.ConnectorUnreachable},
			{Name: "new", Title: "Newer", State: "asleep"},
		},
		From: 1, To: 3, Total: 1329, Next: "n/3",
	}
	if change != nil {
		change(&p)
	}
	return show(t, func(w http.ResponseWriter, r *http.Request) error {
		return newPages(t, publicSite()).Auth().Status(w, r, p)
	})
}

// links is the query of every link to the status page.
func (d document) links() (out []url.Values) {
	for a := range d.all("a") {
		u, err := url.Parse(attr(a, "href"))
		if err != nil {
			d.t.Errorf("link %q", attr(a, "href"))
		} else if u.Path == "/status" {
			out = append(out, u.Query())
		}
	}
	return out
}

func (d document) leadsTo(want url.Values) {
	d.t.Helper()
	if !slices.ContainsFunc(d.links(), func(q url.Values) bool { return q.Encode() == want.Encode() }) {
		d.t.Errorf("no link to %v, only %v", want, d.links())
	}
}

// TestOperatorPartial: a search that was given up says so, and never that there is nothing.
func TestOperatorPartial(t *testing.T) {
	const given = "The search took too long and was given up: "
	operator(t, func(p *auth.StatusPage) { p.Partial, p.Query.Client = true, "cl" }).
		expect(given+"there may be more than these. Search for the whole e-mail address or subject", "Cursor Ended")
	none := operator(t, func(p *auth.StatusPage) { p.Partial, p.Query.Client, p.Grants = true, "cl", nil })
	none.expect(given+"nothing was found until then, but there may be something.", "Show all connections")
	none.refuse("No connection matches")
	operator(t, func(p *auth.StatusPage) { p.Query.Client, p.Grants = "cl", nil }).refuse(given)
}

// TestOperator: everybody's connections, how what they need is doing, and the ways on (protocol.md §4.3).
func TestOperator(t *testing.T) {
	d := operator(t, nil)
	d.expect("All connections", "Mine", "olga@example.com Sign out",
		"Sign-in service Not answering login.example.com, silent for 36 minutes upstream_unreachable", "Store Working 312 MB",
		"CRM Working", "Warehouse Not answering since 11:00 UTC connector_unreachable", "Newer asleep",
		"Working 1,204 Ended, last 90 days 87", "1 to 3 of 1,329. Times are UTC.",
		"alice@example.com Alice Example Claude claude.ai Working 12 minutes ago 23 Dec 2026 End Claude of alice@example.com",
		"Codex this computer Sign-in service not answering upstream_unreachable", "s-nameless Cursor Ended user_revoked", "ended 23 Nov 2026", "Next page")
	d.refuse("First page", "Only those in the state", "End all", "What happened", "End Cursor", "My connections")
	d.leadsTo(url.Values{"subject": {"s-olga"}})
	d.leadsTo(url.Values{"subject": {alice.Subject}})
	d.leadsTo(url.Values{"state": {"working"}})
	d.leadsTo(url.Values{"after": {"n/3"}})
	if strings.Count(d.raw, `value="end-token"`) != 2 || strings.Count(d.raw, `value="out-token"`) != 1 || !strings.Contains(d.raw, `<body class="wide">`) {
		t.Error("form tokens are not where they belong, or the page is narrow")
	}
	if d.title() != "All connections – Example Corp data" {
		t.Errorf("title %q", d.title())
	}
}

// TestOperatorShapes: a word never stands without its shape, and trouble has the ring.
func TestOperatorShapes(t *testing.T) {
	var got []string
	for n := range operator(t, nil).all("span") {
		if class := attr(n, "class"); strings.HasPrefix(class, "state") {
			got = append(got, strings.TrimPrefix(class, "state")+": "+text(n))
		}
	}
	want := []string{" trouble: Not answering", ": Working", ": Working", " trouble: Not answering", ": asleep", ": Working", " trouble: Sign-in service not answering", " ended: Ended"}
	if !slices.Equal(got, want) {
		t.Errorf("shapes %q", got)
	}
}

// TestOperatorNames: who somebody is in a few letters, and nothing twice; where a program lives.
func TestOperatorNames(t *testing.T) {
	row := func(u auth.PageUser, c auth.PageClient) string {
		d := operator(t, func(p *auth.StatusPage) {
			p.Grants = p.Grants[:1]
			p.Grants[0].User, p.Grants[0].Client = u, c
		})
		return strings.TrimSuffix(text(d.first("tbody")), " Working 12 minutes ago 23 Dec 2026 End "+c.Name+" of "+cmp.Or(u.Email, u.Name, u.Subject))
	}
	program := auth.PageClient{Name: "X"}
	for _, c := range []struct {
		user   auth.PageUser
		client auth.PageClient
		want   string
	}{
		{alice, program, "alice@example.com Alice Example X"},
		{auth.PageUser{Name: "Bob", Subject: "s-bob"}, program, "Bob X"},
		{auth.PageUser{Subject: "s-bob"}, program, "s-bob X"},
		{auth.PageUser{Subject: "s-bob"}, auth.PageClient{Name: "X", PrivateUse: true}, "s-bob X this computer"},
		{auth.PageUser{Subject: "s-bob"}, auth.PageClient{Name: "X", Host: "claude.ai", Loopback: true}, "s-bob X claude.ai, this computer"},
	} {
		if got := row(c.user, c.client); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func (d document) title() string { return d.text("title") }

// TestOperatorSearch: what was looked for stands in the form, and every way on keeps it.
func TestOperatorSearch(t *testing.T) {
	query := auth.PageQuery{Subject: `"><b>ali`, Client: "cla&ude", State: "ended", After: "g7"}
	d := operator(t, func(p *auth.StatusPage) { p.Query, p.From = query, 0 })
	if d.value("subject") != query.Subject || d.value("client") != query.Client || d.value("state") != "ended" || d.value("after") != "" {
		t.Errorf("form: %q %q %q", d.value("subject"), d.value("client"), d.value("state"))
	}
	d.expect("Only those in the state “Ended”.", "3 connections on this page. Times are UTC.", "First page")
	d.leadsTo(url.Values{"subject": {query.Subject}, "client": {query.Client}, "state": {"ended"}, "after": {"n/3"}})
	d.leadsTo(url.Values{"subject": {query.Subject}, "client": {query.Client}, "state": {"ended"}})
	d.leadsTo(url.Values{"subject": {query.Subject}, "client": {query.Client}})
	current := 0
	for a := range d.all("a") {
		if attr(a, "aria-current") == "true" && strings.Contains(attr(a, "href"), "state=ended") {
			current++
		}
	}
	if current != 1 {
		t.Errorf("%d states are marked as the one shown", current)
	}
	for f := range d.all("form") {
		if attr(f, "role") == "search" && attr(f, "method") != "get" {
			t.Error("a search must be a link that can be kept")
		}
	}
	for what, c := range map[string]struct {
		from, total, n int
		want           string
	}{
		"place and total": {51, 1329, 3, "51 to 53 of 1,329."}, "no total": {51, 0, 3, "51 to 53."}, "neither": {0, 0, 3, "3 connections on this page."},
		"one": {0, 0, 1, "1 connection on this page."}, "nothing": {0, 0, 0, "No program is connected yet."},
	} {
		d := operator(t, func(p *auth.StatusPage) {
			p.Grants, p.From, p.To, p.Total, p.Next = p.Grants[:c.n], c.from, c.from+2, c.total, ""
		})
		if !d.says(c.want) {
			t.Errorf("%s: not %q", what, c.want)
		}
		d.refuse("Next page")
	}
}

// TestOperatorNothing: a search that finds nothing has a way back.
func TestOperatorNothing(t *testing.T) {
	d := operator(t, func(p *auth.StatusPage) { p.Grants, p.Next, p.Query.Client = nil, "", "zzz" })
	d.expect("No connection matches. Show all connections")
	d.refuse("No program is connected yet.", "Times are UTC", "Next page")
}

// TestOperatorOneUser: one person's connections, their story, and the end of all behind a disclosure.
func TestOperatorOneUser(t *testing.T) {
	one := func(living int, more func(*auth.StatusPage)) document {
		return operator(t, func(p *auth.StatusPage) {
			p.Whose, p.Living, p.Total, p.Next, p.Query.Subject = alice, living, 3, "", "alice"
			if more != nil {
				more(p)
			}
		})
	}
	d := one(2, func(p *auth.StatusPage) {
		p.Grants[0].Events = []auth.PageEvent{{At: noon, Sentence: "They pressed Allow.", Reason: oauth.ConsentApproved, Count: 1}}
	})
	d.expect("Connections of Alice Example alice@example.com "+alice.Subject, "3 connections of one user.", "What happened so far Claude",
		"23 Nov 2026, 12:00 They pressed Allow. consent_approved", "End all connections of this user",
		"They can connect again unless their account at login.example.com is closed.", "End all 2 connections")
	d.refuse("Health", "By state", "My connections")
	for n := range d.all("form") {
		if strings.Contains(text(n), "End all") && (n.Parent.Data != "details" || !strings.Contains(text(n), "End all 2 connections")) {
			t.Error("the end of all does not lie behind a disclosure")
		}
	}
	if d.title() != "Connections of alice@example.com – Example Corp data" || !strings.Contains(d.raw, `name="subject" value="s/alice&amp;state=x"`) {
		t.Errorf("title %q", d.title())
	}
	one(1, nil).expect("End 1 connection")
	one(1, func(p *auth.StatusPage) { p.Whose.Name = "" }).expect("Connections of alice@example.com alice@example.com")
	one(0, nil).refuse("End all connections of this user", "What happened")
}

// TestOperatorOwn: an operator's own connections are everybody's page of their own, with the way back to all.
func TestOperatorOwn(t *testing.T) {
	d := operator(t, func(p *auth.StatusPage) {
		p.Whose, p.Living, p.Query.Subject, p.Next = olga, 2, olga.Subject, "n3"
		p.Grants[0].LastUsed = noon.Add(-time.Minute)
	})
	d.expect("My connections", "All connections", "Programs that use Example Corp data with your rights.", "End all 2 connections", "Next page")
	d.refuse("Health", "Times are UTC. Connection")
	if d.value("subject") != olga.Subject || !strings.Contains(d.raw, `class="wide mine"`) {
		t.Errorf("subject %q", d.value("subject"))
	}
	for a := range d.all("a") {
		if on := attr(a, "aria-current") != ""; on != (text(a) == "Mine") && strings.Contains(attr(a, "href"), "/status") {
			t.Errorf("%q is marked: %t", text(a), on)
		}
	}
}
