package storage_test

import (
	"fmt"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

func registration(id string) storage.Client {
	return storage.Client{ID: id, Kind: storage.ClientRegistered, Name: "Claude", URI: "https://claude.ai", RedirectURIs: []string{testRedirect, "cursor://x/y"},
		GrantTypes: []string{"authorization_code"}, ResponseTypes: []string{"code"}, Scope: "mcp", ApplicationType: "native"}
}

// TestRegisterClient: the same metadata again costs nothing (protocol.md §3.1).
func TestRegisterClient(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	created, err := h.RegisterClient(t.Context(), registration("a"), storage.RegisterLimits{Max: 1, MinAge: time.Hour})
	if !created || err != nil {
		t.Fatalf("RegisterClient = %v, %v", created, err)
	}
	h.clock.Advance(time.Minute)
	created, err = h.RegisterClient(t.Context(), registration("a"), storage.RegisterLimits{Max: 1, MinAge: time.Hour})
	if created || err != nil {
		t.Errorf("again: %v, %v", created, err)
	}
	h.reopen()
	got, err := h.Client("a")
	h.must(err)
	want := registration("a")
	want.Created, want.LastUsed = h.Now().Add(-time.Minute), h.Now().Add(-time.Minute)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("Client = %+v, want %+v", got, want)
	}
	if _, err := h.Client("b"); err != storage.ErrNotFound {
		t.Errorf("unknown client: %v", err)
	}
	h.check()
}

// TestRegisterFull: at register_max the longest unused goes, never a young one, never one with a living grant.
func TestRegisterFull(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	limits := storage.RegisterLimits{Max: 3, MinAge: time.Hour}
	add := func(id string) error {
		_, err := h.RegisterClient(t.Context(), registration(id), limits)
		return err
	}
	for _, id := range []string{"living", "oldest", "newer"} {
		h.must(add(id))
		h.clock.Advance(time.Second)
	}
	l := h.connect(func(n *storage.NewGrant) { n.Grant.ClientID = "living" })
	if err := add("x"); err != storage.ErrFull {
		t.Errorf("all are young: %v, want ErrFull", err)
	}
	h.clock.Advance(2 * time.Hour)
	h.must(add("x"))
	if _, err := h.Client("oldest"); err != storage.ErrNotFound {
		t.Errorf("the longest unused: %v", err)
	}
	h.must(add("y"))
	if err := add("z"); err != storage.ErrFull {
		t.Errorf("only a living and young ones: %v, want ErrFull", err)
	}
	h.check()
	h.end(l.id)
	h.must(add("z"))
	if _, err := h.Client("living"); err != storage.ErrNotFound {
		t.Errorf("without living grants it is the longest unused: %v", err)
	}
	h.check()
}

// TestApprovalKeepsClient: between approval and callback the client must not be evicted.
func TestApprovalKeepsClient(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.register(testClient)
	h.clock.Advance(5 * time.Hour)
	h.must(h.Approve(t.Context(), h.newRequest(), storage.ApproveLimits{}))
	if _, err := h.RegisterClient(t.Context(), registration("x"), storage.RegisterLimits{Max: 1, MinAge: time.Hour}); err != storage.ErrFull {
		t.Errorf("the client of a waiting approval was evicted: %v", err)
	}
}

// TestClientGC: unused for unused_ttl, and no living grant.
func TestClientGC(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	limits := storage.SweepLimits{UnusedTTL: 400 * day, Limits: storage.Limits{Idle: 2000 * day}}
	for _, id := range []string{"unused", "used", testClient} {
		h.register(id)
	}
	l := h.connect()
	for range 13 {
		h.clock.Advance(30 * day)
		h.must(h.Approve(t.Context(), h.newRequest(func(r *storage.Request) { r.ClientID = "used" }), storage.ApproveLimits{}))
		h.sweep(limits)
	}
	h.clock.Advance(11 * day)
	h.sweep(limits)
	for id, there := range map[string]bool{"unused": false, "used": true, testClient: true} {
		if _, err := h.Client(id); (err == nil) != there {
			t.Errorf("client %s: %v, want it there: %v", id, err, there)
		}
	}
	h.check()
	h.end(l.id)
	h.clock.Advance(day)
	h.sweep(limits)
	if _, err := h.Client(testClient); err != storage.ErrNotFound {
		t.Errorf("its last grant ended, and it is unused for 401 days: %v", err)
	}
	h.check()
}

// TestDocuments: copies of metadata documents are renewed in place and bounded by the sweep (`cimd_max`).
func TestDocuments(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for i := range 5 {
		h.must(h.SaveDocument(t.Context(), storage.Client{ID: fmt.Sprintf("https://a.example/%d", i), Document: &storage.Document{ETag: "1"}}))
		h.clock.Advance(time.Hour)
	}
	h.must(h.SaveDocument(t.Context(), storage.Client{ID: "https://a.example/0", Name: "new", Document: &storage.Document{ETag: "2"}}))
	if c, err := h.Client("https://a.example/0"); err != nil || c.Name != "new" || c.Document.ETag != "2" || !c.Created.Equal(h.Now().Add(-5*time.Hour)) {
		t.Errorf("renewed document: %+v, %v", c, err)
	}
	h.sweep(storage.SweepLimits{Documents: 3})
	for i := range 5 {
		if _, err := h.Client(fmt.Sprintf("https://a.example/%d", i)); (err == nil) != (i >= 2) {
			t.Errorf("document %d: %v", i, err)
		}
	}
	h.check()
}

// TestEviction: over grants_per_user unclaimed grants go first, then the least recently used; others' stay.
func TestEviction(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.register(testClient)
	three := func(n *storage.NewGrant) { n.GrantsPerUser = 3 }
	// The ids sort against the order wanted, so that no order but the last use can give it.
	used := h.connect(three, func(n *storage.NewGrant) { n.Grant.ID = "A" + n.Grant.ID[1:] })
	h.clock.Advance(time.Minute)
	unused := h.connect(three, func(n *storage.NewGrant) { n.Grant.ID = "Z" + n.Grant.ID[1:] })
	h.clock.Advance(time.Minute)
	unclaimed := h.create(three)
	other := h.connect(three, func(n *storage.NewGrant) { n.Grant.ClientID = "other" })
	bob := h.connect(three, func(n *storage.NewGrant) { n.Grant.Subject = "bob" })
	h.Use(used.id, 1, h.Now())
	h.clock.Advance(time.Second)

	h.create(three)
	h.wantEnded(unclaimed.id, oauth.GrantEvicted)
	h.wantLiving(unused.id)
	last := h.connect(three) // two unclaimed and claimed: the unclaimed one of before goes
	h.connect(three)
	h.wantEnded(unused.id, oauth.GrantEvicted)
	for _, l := range []login{used, other, bob, last} {
		h.wantLiving(l.id)
	}
	h.wantStory(unused.id, "signed_in", "code_redeemed", "grant_evicted")
	h.check()
}

// TestEnd is what a tombstone keeps and what it lets go.
func TestEnd(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.register(testClient)
	l, sibling := h.connect(), h.connect(alice(1))
	if living, healthy, err := h.Siblings(l.id); living != 1 || healthy != 1 || err != nil {
		t.Errorf("Siblings = %d, %d, %v", living, healthy, err)
	}
	h.end(l.id)
	if ended, err := h.EndGrant(t.Context(), l.id, oauth.AdminRevoked, storage.Event{}); ended || err != nil {
		t.Errorf("ending twice = %v, %v", ended, err)
	}
	h.wantEnded(l.id, oauth.UserRevoked)
	if _, err := h.EndGrant(t.Context(), "unknown", oauth.UserRevoked, storage.Event{}); err != storage.ErrNotFound {
		t.Errorf("ending an unknown grant: %v", err)
	}
	if living, _, _ := h.Siblings(sibling.id); living != 0 {
		t.Errorf("the ended grant counts as living sibling")
	}
	if living, _, _ := h.Siblings(l.id); living != 1 {
		t.Errorf("the living sibling of an ended grant is not seen: its provider session would be revoked")
	}
	if i, err := h.Identity(l.id); err != nil || i.Name != "Alice Secretname" {
		t.Errorf("identity of the tombstone: %+v, %v", i, err)
	}
	for name, find := range map[string]func() ([]storage.Grant, error){
		"subject": func() ([]storage.Grant, error) { return h.GrantsOf("alice") },
		"e-mail":  func() ([]storage.Grant, error) { return h.GrantsByEmail("alice@EXAMPLE.com") },
	} {
		grants, err := find()
		h.must(err)
		if len(grants) == 0 || grants[0].ID != l.id && grants[len(grants)-1].ID != l.id {
			t.Errorf("the tombstone is not found by %s: %v", name, grants)
		}
	}
	if c, _ := h.Client(testClient); c.Living != 1 {
		t.Errorf("client counts %d living grants, want 1", c.Living)
	}
	h.check()
}

// TestEndSubject is off-boarding: all of one subject, nobody else's.
func TestEndSubject(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var mine []login
	for range 3 {
		mine = append(mine, h.connect())
	}
	near := h.connect(func(n *storage.NewGrant) { n.Grant.Subject = "alice2" })
	n, err := h.EndSubject(t.Context(), "alice", oauth.AdminRevoked, storage.Event{Request: "r"})
	if n != 3 || err != nil {
		t.Errorf("EndSubject = %d, %v", n, err)
	}
	for _, l := range mine {
		h.wantEnded(l.id, oauth.AdminRevoked)
	}
	h.wantLiving(near.id)
	if n, err := h.EndSubject(t.Context(), "alice", oauth.AdminRevoked, storage.Event{}); n != 0 || err != nil {
		t.Errorf("again = %d, %v", n, err)
	}
	h.check()
}

// TestGrantsPages walks all grants in pages.
func TestGrantsPages(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	want := map[string]bool{}
	for i := range 7 {
		want[h.create(alice(i)).id] = true
	}
	after := ""
	for range 4 {
		page, err := h.Grants(after, 2)
		h.must(err)
		for _, g := range page {
			delete(want, g.ID)
			after = g.ID
		}
	}
	if len(want) != 0 {
		t.Errorf("%d grants are on no page", len(want))
	}
	if page, _ := h.Grants(after, 2); len(page) != 0 {
		t.Errorf("a page behind the last: %v", page)
	}
}
