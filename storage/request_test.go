package storage_test

import (
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

func (h *harness) newRequest(change ...func(*storage.Request)) storage.Request {
	r := storage.Request{
		ID: rand.Text(), StateHash: sum("state"), BindHash: sum("browser"), Verifier: h.secret(), Nonce: h.secret(),
		ClientID: testClient, ClientName: "Claude", RedirectURI: testRedirect, Scope: "mcp", Resource: testResource, Challenge: "ch", State: "st",
		Address: "192.0.2.1", Expires: h.Now().Add(30 * time.Minute), TicketExpires: h.Now().Add(10 * time.Minute),
		Events: []storage.Event{{Reason: oauth.ConsentApproved, Request: "req-consent"}},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// TestTakeRequest is protocol.md §4.5 steps 2 to 4: the order of the refusals, and that they consume nothing.
func TestTakeRequest(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name           string
		prepare        func(*harness, *storage.Request)
		state, browser string
		want, still    error
	}{
		{"right", nil, "state", "browser", nil, storage.ErrFinished},
		{"unknown", func(_ *harness, r *storage.Request) { r.ID = rand.Text() }, "state", "browser", storage.ErrNotFound, storage.ErrNotFound},
		{"not an id", func(_ *harness, r *storage.Request) { r.ID = "\x01" }, "state", "browser", storage.ErrNotFound, storage.ErrNotFound},
		{"other state secret", nil, "x", "browser", storage.ErrReplaced, nil},
		{"too old", func(h *harness, _ *storage.Request) { h.clock.Advance(31 * time.Minute) }, "state", "browser", storage.ErrExpired, storage.ErrExpired},
		{"other browser", nil, "state", "x", storage.ErrBrowser, nil},
		{"state before browser", nil, "x", "x", storage.ErrReplaced, nil},
		{"denied", func(h *harness, r *storage.Request) { h.must(h.FinishRequest(h.Context(), r.ID, r.TicketExpires)) },
			"state", "browser", storage.ErrFinished, storage.ErrFinished},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			r := h.newRequest()
			h.must(h.Approve(t.Context(), r, storage.ApproveLimits{}))
			if row.prepare != nil {
				row.prepare(h, &r)
			}
			got, err := h.TakeRequest(t.Context(), r.ID, sum(row.state), sum(row.browser))
			if err != row.want {
				t.Fatalf("TakeRequest: %v, want %v", err, row.want)
			}
			if err == nil && (got.Verifier != r.Verifier || got.Nonce != r.Nonce || got.State != r.State || len(got.Events) != 1 || got.Events[0].Count != 1) {
				t.Errorf("TakeRequest = %+v", got)
			}
			if err != nil && got.Verifier != "" {
				t.Error("a refusal hands out the verifier")
			}
			h.check()
			if _, err = h.TakeRequest(t.Context(), r.ID, sum("state"), sum("browser")); err != row.still {
				t.Errorf("then, all right: %v, want %v", err, row.still)
			}
			h.check()
		})
	}
}

// TestOneWinner: a state is consumed once, whoever comes at the same moment.
func TestOneWinner(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	r := h.newRequest()
	h.must(h.Approve(t.Context(), r, storage.ApproveLimits{}))
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := h.TakeRequest(t.Context(), r.ID, r.StateHash, r.BindHash); err == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d winners", won.Load())
	}
}

// TestApproveAgain: the second approval of an id replaces the first, a finished id is refused until its ticket is too
// old (protocol.md §4.2).
func TestApproveAgain(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	first := h.newRequest()
	second := h.newRequest(func(r *storage.Request) { r.ID, r.StateHash = first.ID, sum("second") })
	h.must(h.Approve(t.Context(), first, storage.ApproveLimits{}))
	h.must(h.Approve(t.Context(), second, storage.ApproveLimits{}))
	h.check()
	if _, err := h.TakeRequest(t.Context(), first.ID, first.StateHash, first.BindHash); err != storage.ErrReplaced {
		t.Errorf("the first approval's state: %v, want ErrReplaced", err)
	}
	if _, err := h.TakeRequest(t.Context(), second.ID, second.StateHash, second.BindHash); err != nil {
		t.Errorf("the second approval's state: %v", err)
	}
	if err := h.Approve(t.Context(), first, storage.ApproveLimits{}); err != storage.ErrFinished {
		t.Errorf("approval of a finished id: %v, want ErrFinished", err)
	}
	if err := h.CheckRequest(second.ID, second.StateHash, second.BindHash); err != storage.ErrFinished {
		t.Errorf("CheckRequest of a finished id: %v", err)
	}
	h.clock.Advance(time.Hour)
	h.sweep(storage.SweepLimits{})
	if err := h.CheckRequest(second.ID, second.StateHash, second.BindHash); err != storage.ErrNotFound {
		t.Errorf("after the ticket's expiry: %v", err)
	}
	h.check()
}

// TestApproveLimits: when a limit is reached the oldest unfinished request goes (protocol.md §4.2).
func TestApproveLimits(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		limits storage.ApproveLimits
		vary   func(*storage.Request, int)
	}{
		{"all", storage.ApproveLimits{Max: 3}, func(r *storage.Request, i int) { r.BindHash, r.Address = sum(fmt.Sprint(i)), fmt.Sprint(i) }},
		{"browser", storage.ApproveLimits{PerBrowser: 3}, func(r *storage.Request, i int) { r.Address = fmt.Sprint(i) }},
		{"address", storage.ApproveLimits{PerAddress: 3}, func(r *storage.Request, i int) { r.BindHash = sum(fmt.Sprint(i)) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			finished := h.newRequest(func(r *storage.Request) { row.vary(r, 99) })
			h.must(h.Approve(t.Context(), finished, row.limits))
			_, err := h.TakeRequest(t.Context(), finished.ID, finished.StateHash, finished.BindHash)
			h.must(err)
			var all []storage.Request
			for i := range 5 {
				r := h.newRequest(func(r *storage.Request) { row.vary(r, i) })
				h.must(h.Approve(t.Context(), r, row.limits))
				all = append(all, r)
				h.clock.Advance(time.Second)
			}
			other := h.newRequest(func(r *storage.Request) { r.BindHash, r.Address = sum("other"), "other" })
			if row.limits.Max == 0 {
				h.must(h.Approve(t.Context(), other, row.limits))
			}
			for i, r := range all {
				err := h.CheckRequest(r.ID, r.StateHash, r.BindHash)
				if gone := i < 2; gone != (err == storage.ErrNotFound) {
					t.Errorf("request %d of 5: %v", i, err)
				}
			}
			h.check()
		})
	}
}

// TestApproveStoresTheDocument: /token never fetches (protocol.md §3.3), so the copy comes with the approval.
func TestApproveStoresTheDocument(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	doc := storage.Client{ID: "https://claude.ai/oauth/client", Name: "Claude", RedirectURIs: []string{testRedirect},
		Document: &storage.Document{ETag: `"1"`, Fetched: h.Now(), FreshUntil: h.Now().Add(time.Hour)}}
	r := h.newRequest(func(r *storage.Request) { r.ClientID, r.ClientDocument = doc.ID, &doc })
	h.must(h.Approve(t.Context(), r, storage.ApproveLimits{}))
	got, err := h.Client(doc.ID)
	if err != nil || got.Kind != storage.ClientDocument || got.Document == nil || got.Document.ETag != `"1"` {
		t.Errorf("Client = %+v, %v", got, err)
	}
	h.check()
}
