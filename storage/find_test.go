package storage_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// named makes a login of a user with names of its own.
func named(subject, name, email string) func(*storage.NewGrant) {
	return func(n *storage.NewGrant) {
		n.Grant.Subject, n.Identity.Subject, n.Identity.Name, n.Identity.PreferredUsername, n.Identity.Email = subject, subject, name, "", email
	}
}

func byClient(id, name string) func(*storage.NewGrant) {
	return func(n *storage.NewGrant) { n.Grant.ClientID, n.Grant.ClientName, n.Code.ClientID = id, name, id }
}

// TestFind: by person, client and state, in pages that miss and repeat nothing.
func TestFind(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	anna, bob := named("anna", "Anna", "anna@example.com"), named("bob", "Bob", "bob@example.com")
	ids := map[string]string{}
	for name, change := range map[string][]func(*storage.NewGrant){
		"anna1": {anna}, "anna2": {anna, byClient("c2", "Cursor")}, "bob1": {bob}, "bob2": {bob, byClient("c3", "cursor nightly")},
		"anna2x": {named("anna2", "", "")},
	} {
		ids[name] = h.create(change...).id
	}
	h.end(ids["anna1"])
	h.end(ids["bob2"])
	all := []string{"anna1", "anna2", "anna2x", "bob1", "bob2"}
	for _, row := range []struct {
		name string
		q    storage.Query
		want []string
	}{
		{"all", storage.Query{}, all},
		{"a subject, living and ended", storage.Query{Subject: "anna"}, []string{"anna1", "anna2"}},
		{"an address in another case", storage.Query{Subject: "BOB@example.com"}, []string{"bob1", "bob2"}},
		{"part of a subject is none", storage.Query{Subject: "ann"}, nil},
		{"client id", storage.Query{Client: "c2"}, []string{"anna2"}},
		{"part of a client's name", storage.Query{Client: "CURSOR"}, []string{"anna2", "bob2"}},
		{"part of a client's id is none", storage.Query{Client: testClient[:12]}, nil},
		{"state", storage.Query{States: []storage.State{storage.StateEnded}}, []string{"anna1", "bob2"}},
		{"states", storage.Query{States: []storage.State{storage.StateEnded, storage.StateUnclaimed}}, all},
		{"everything at once", storage.Query{Subject: "bob", Client: "night", States: []storage.State{storage.StateEnded}}, []string{"bob2"}},
		{"nothing", storage.Query{Subject: "bob", Client: "c2"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, limit := range []int{1, 2, 0} {
				q := row.q
				q.Limit = limit
				got := h.findAll(q)
				var want []string
				for _, name := range row.want {
					want = append(want, ids[name])
				}
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("pages of %d: %v, want %v", limit, got, want)
				}
			}
		})
	}
}

// findAll follows the pages to the end.
func (h *harness) findAll(q storage.Query) (ids []string) {
	h.Helper()
	for range 100 {
		page, next, err := h.Find(h.Context(), q)
		h.must(err)
		if q.Limit > 0 && len(page) > q.Limit {
			h.Errorf("a page of %d", len(page))
		}
		for _, g := range page {
			ids = append(ids, g.ID)
		}
		if next == "" {
			return ids
		}
		q.After = next
	}
	h.Fatal("the pages find no end")
	return nil
}

// TestFindMany: what takes more than one transaction to read. The uses in memory count.
func TestFindMany(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var logins []storage.NewGrant
	for i := range 2500 {
		l := h.newLogin(named(fmt.Sprint("s", i), fmt.Sprint("Name ", i), fmt.Sprintf("u%d@example.com", i)))
		l.Grant.ID = fmt.Sprintf("%026d", i)
		logins = append(logins, l.NewGrant)
	}
	logins[2400].Grant.ClientName = "Rare"
	h.must(h.CreateAll(logins))
	h.clock.Advance(time.Minute)
	h.Use(logins[2400].Grant.ID, 1, h.Now())
	page, next, err := h.Find(t.Context(), storage.Query{Client: "rare"})
	h.must(err)
	if len(page) != 1 || next != "" || !page[0].LastUse.Equal(h.Now()) || !page[0].Used {
		t.Errorf("Find = %+v, %q", page, next)
	}
	if n := len(h.findAll(storage.Query{Limit: 999})); n != 2500 {
		t.Errorf("%d grants, want 2500", n)
	}
	if page, _, _ := h.Find(t.Context(), storage.Query{Limit: 1 << 30}); len(page) != 1000 {
		t.Errorf("a page of %d", len(page))
	}
	if got, err := h.Names(t.Context(), "name 2499", 10); len(got) != 1 || err != nil {
		t.Errorf("Names = %v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := h.Find(ctx, storage.Query{}); !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
}

// TestNames: exact words by index first, then parts of names.
func TestNames(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for range 2 { // two connections of each are one user
		h.create(named("u1", "Anna Bertram", "anna@example.com"))
		h.create(named("u2", "Berta", "b@example.com"))
		h.create(named("berta", "Zoe", "z@example.org"))
	}
	for _, row := range []struct {
		word  string
		limit int
		want  string
	}{
		{"u1", 10, "u1"}, {"ANNA@example.com", 10, "u1"}, {"bert", 10, "u1 u2"}, {"berta", 10, "berta u2"}, {"berta", 1, "berta"},
		{"example.org", 10, "berta"}, {"  ", 10, ""}, {"nobody", 10, ""}, {"u1", 0, ""},
	} {
		got, err := h.Names(t.Context(), row.word, row.limit)
		h.must(err)
		if row.word == "bert" {
			slices.Sort(got)
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("Names(%q, %d) = %v, want %s", row.word, row.limit, got, row.want)
		}
	}
	h.end(h.create(named("u9", "Gone", "gone@example.com")).id)
	if got, err := h.Names(t.Context(), "u9", 1); len(got) != 1 || err != nil {
		t.Errorf("a user whose connections have ended: %v, %v", got, err)
	}
}

// TestEventsOfRequest: of grants and of requests that wait, exact ids only.
func TestEventsOfRequest(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	a, b := h.connect(), h.connect(byClient("c2", "Other"), func(n *storage.NewGrant) { n.Events[0].Request = "req-signin-2" })
	waiting := h.newRequest()
	waiting.Events = []storage.Event{{Reason: oauth.ConsentApproved, Request: "req-consent"}}
	h.must(h.Approve(t.Context(), waiting, storage.ApproveLimits{}))
	for _, row := range []struct{ request, want string }{
		{"req-signin", a.id + " signed_in " + testClient}, {"req-signin-2", b.id + " signed_in c2"}, {"req-consent", " consent_approved " + waiting.ClientID},
		{"req-sign", ""}, {"", ""},
	} {
		events, err := h.EventsOfRequest(t.Context(), row.request)
		h.must(err)
		var got []string
		for _, e := range events {
			got = append(got, fmt.Sprintf("%s %s %s", e.Grant, e.Reason, e.Client))
			if e.Grant != "" && e.Seq == 0 {
				t.Errorf("%+v has no place in its journal", e)
			}
		}
		if strings.Join(got, "\n") != row.want {
			t.Errorf("%q: %v, want %s", row.request, got, row.want)
		}
	}
	if events, _ := h.EventsOfRequest(t.Context(), "req-token"); len(events) != 2 {
		t.Errorf("two grants redeemed by one request id: %v", events)
	}
}

// TestDoubtAndLag: the figures follow the records.
func TestDoubtAndLag(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	want := func(since time.Time, n int, lag time.Duration) {
		t.Helper()
		gotSince, gotN, err := h.OldestDoubt()
		h.must(err)
		gotLag, err := h.KeepaliveLag(h.Now())
		h.must(err)
		if !gotSince.Equal(since) || gotN != n || gotLag != lag {
			t.Errorf("doubt since %s of %d, lag %s; want %s, %d, %s", gotSince, gotN, gotLag, since, n, lag)
		}
		h.check()
	}
	want(time.Time{}, 0, 0)
	a, b := h.connect(), h.connect(alice(1))
	want(time.Time{}, 0, 0)
	first := h.Now()
	h.fail(a.id)
	h.clock.Advance(time.Hour)
	h.fail(b.id)
	want(first, 2, 0)
	h.clock.Advance(day)
	h.reopen()
	want(first, 2, time.Hour)
	h.must(h.SaveUpstream(t.Context(), h.answer(a.id, 1)))
	want(first.Add(time.Hour), 1, time.Hour)
	h.end(b.id)
	want(time.Time{}, 0, 0)
}

// fail lets a provider's answer get lost.
func (h *harness) fail(id string) {
	h.Helper()
	_, err := h.FailUpstream(h.Context(), storage.FailedUpstream{GrantID: id, Reason: oauth.UpstreamInDoubt, InDoubt: true})
	h.must(err)
}
