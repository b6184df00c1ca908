package auth_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/storage"
)

// refreshes breaks refresh requests only, so that logins go on.
func refreshes(f authtest.Fault) authtest.Fault {
	f.Grant = "refresh_token"
	return f
}

// One provider refresh for any number of callers on all paths (protocol.md §8.1 rule 1).
func TestOneFlight(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{})
	r.due()
	asked := r.asked()
	gate := authtest.NewGate()
	r.Provider.Break(authtest.Token, refreshes(authtest.Fault{Gate: gate}))
	var failed atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		together(60, func(i int) {
			var err error
			switch i % 3 {
			case 0:
				_, err = r.Auth.UpstreamToken(context.Background(), r.id)
			case 1:
				var a authtest.TokenAnswer
				if a, err = r.c.RefreshWith(r.c.Refresh); err == nil && a.Status != http.StatusOK {
					err = errors.New(a.Description)
				}
			case 2:
				err = r.Auth.Step(context.Background())
			}
			if err != nil {
				failed.Add(1)
			}
		})
	}()
	r.arrived(gate)
	gate.Open()
	<-done
	if n := failed.Load(); n != 0 {
		t.Errorf("%d callers failed", n)
	}
	r.expectAsked(asked, 1)
	r.check(r.token(r.id, ""))
}

// The intent is on disk before the provider sees anything (rule 3), the answer before anybody uses it (rule 5), and
// the request carries the token once, with Basic, without scope (rule 4).
func TestIntentFirst(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{})
	r.due()
	gate := authtest.NewGate()
	r.Provider.Break(authtest.Token, refreshes(authtest.Fault{Gate: gate}))
	before := r.record(r.id)
	got := make(chan string)
	go func() { got <- r.token(r.id, "") }()
	r.arrived(gate)
	if in := r.record(r.id).Intent; in == nil || in.Boot != r.Store.Boot() || in.Attempt == "" {
		t.Errorf("intent at the provider's door: %+v", in)
	}
	gate.Open()
	token, after := <-got, r.record(r.id)
	if after.Access.Reveal() != token || after.Gen != before.Gen+1 || after.Intent != nil || after.Refresh == before.Refresh {
		t.Errorf("used %q, stored generation %d after %d, intent %v", token, after.Gen, before.Gen, after.Intent)
	}
	calls := r.Provider.Calls(authtest.Token)
	last := calls[len(calls)-1]
	if !last.Basic || last.Form.Has("scope") || last.RefreshToken() != before.Refresh.Reveal() {
		t.Errorf("request: basic %v, form %v", last.Basic, last.Form)
	}
}

// A store that takes no intent sends nothing, and spends nothing.
func TestNoIntentNothingSent(t *testing.T) {
	r := startRig(t, authtest.ServerOptions{}) // not parallel: it moves file descriptors
	r.due()
	asked := r.asked()
	cure := r.fill()
	r.token(r.id, "storage_unavailable")
	r.refused(r.refresh(r.c.Refresh), http.StatusServiceUnavailable, oauth.TemporarilyUnavailable, "storage_unavailable")
	r.calls(r.c.Access, "") // a verified token is served on
	r.expectAsked(asked, 0)
	cure()
	r.eventually(func() bool { return r.Store.Ready() == nil })
	r.renewed()
	r.token(r.id, "")
	r.lives(r.id)
}

// An answer that cannot be saved is kept in memory, nobody gets it, the old token is never sent again, and it is saved
// as soon as the store can (rule 6).
func TestAnswerKeptThroughStoreTrouble(t *testing.T) {
	o := rotating(upstream.RotationStrict)
	r := startRig(t, o)
	r.due()
	asked := r.asked()
	gate := authtest.NewGate()
	r.Provider.Break(authtest.Token, refreshes(authtest.Fault{Gate: gate}))
	got := make(chan string)
	go func() { got <- r.token(r.id, "") }()
	r.arrived(gate)
	old := r.record(r.id).Refresh
	cure := r.fill()
	gate.Open()
	r.eventually(func() bool { return strings.Contains(r.Log.String(), "cannot be saved") })
	if u := r.record(r.id); u.Refresh != old || u.Intent == nil {
		t.Error("the record changed although the store cannot be written")
	}
	cure()
	if token := <-got; token != r.record(r.id).Access.Reveal() {
		t.Error("used another token than stored")
	}
	r.expectAsked(asked, 1)
	r.due()
	r.token(r.id, "") // the new one is good at a provider that punishes any second use
	r.lives(r.id)
}

// fill lets every write to the store's file meet a full disk, until cure.
func (r *rig) fill() (cure func()) {
	r.t.Helper()
	return swapDescriptors(r.t, r.Store.Path(), "/dev/full")
}

// eventually waits for what another goroutine brings about.
func (r *rig) eventually(is func() bool) {
	r.t.Helper()
	late := time.Now().Add(patience)
	for !is() {
		if time.Now().After(late) {
			r.t.Fatal("it never came")
		}
		time.Sleep(time.Millisecond)
	}
}

// A client that hangs up cancels nothing: the flight lands, its tokens are stored (rule 2).
func TestHangUpCancelsNothing(t *testing.T) {
	r := newRig(t, rotating(upstream.RotationStrict))
	r.due()
	gate := authtest.NewGate()
	r.Provider.Break(authtest.Token, refreshes(authtest.Fault{Gate: gate}))
	before := r.record(r.id)
	ctx, hangUp := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.Issuer+"/token",
		strings.NewReader("grant_type=refresh_token&client_id="+r.c.ID+"&refresh_token="+r.c.Refresh))
	r.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	left := make(chan error)
	go func() { _, err := r.HTTP.Do(req); left <- err }()
	r.arrived(gate)
	hangUp()
	if err := <-left; err == nil {
		t.Fatal("it was answered")
	}
	gate.Open()
	r.eventually(func() bool { return r.record(r.id).Gen == before.Gen+1 })
	if u := r.record(r.id); u.Intent != nil || u.InDoubt {
		t.Errorf("intent %v, in doubt %v", u.Intent, u.InDoubt)
	}
	asked := r.asked()
	r.renewed()
	r.expectAsked(asked, 0)
}

// A stop drains: the answer under way is stored before the store closes, and the next process has it.
func TestStopDrains(t *testing.T) {
	r := newRig(t, rotating(upstream.RotationStrict))
	r.due()
	gate := authtest.NewGate()
	r.Provider.Break(authtest.Token, refreshes(authtest.Fault{Gate: gate}))
	got := make(chan struct{})
	go func() { defer close(got); r.token(r.id, "") }()
	r.arrived(gate)
	restarted := make(chan struct{})
	go func() { defer close(restarted); r.Restart() }()
	gate.Open()
	<-got
	<-restarted
	r.Provider.Mend()
	asked := r.asked()
	r.renewed()
	r.expectAsked(asked, 0)
	if u := r.record(r.id); u.InDoubt || u.Intent != nil {
		t.Error("in doubt after an orderly stop")
	}
}

// A panic in a flight is our own trouble, once: no caller hangs, the process lives, the next attempt works.
func TestPanicInFlight(t *testing.T) {
	boom := &panicking{}
	r := newRig(t, authtest.ServerOptions{Auth: func(o *auth.Options) {
		o.Provider = upstream.New(upstream.Options{
			Config: o.Upstream, Secret: "hostedmcp-test-secret", RedirectURI: o.Issuer + "/callback", Now: o.Now, Log: o.Log, HTTP: boom,
		})
	}})
	r.due()
	boom.armed.Store(true)
	r.token(r.id, "internal")
	r.token(r.id, "internal") // from memory
	if n := boom.met.Load(); n != 1 {
		t.Errorf("%d requests panicked", n)
	}
	boom.armed.Store(false)
	r.Clock.Advance(3 * time.Minute)
	r.token(r.id, "")
	r.lives(r.id)
}

type panicking struct {
	armed atomic.Bool
	met   atomic.Int32
}

func (p *panicking) RoundTrip(req *http.Request) (*http.Response, error) {
	if p.armed.Load() && req.Method == http.MethodPost {
		p.met.Add(1)
		panic("boom")
	}
	return http.DefaultTransport.RoundTrip(req)
}

// An ended grant's upstream token is nobody's, although it is stored until it is revoked (protocol.md §5.3).
func TestEndedGrantGivesNoUpstreamToken(t *testing.T) {
	r := newRig(t, longLived())
	r.token(r.id, "")
	_, err := r.Store.EndGrant(t.Context(), r.id, oauth.UserRevoked, storage.Event{})
	r.must(err)
	if r.record(r.id).Access == "" {
		t.Fatal("nothing stored: the test shows nothing")
	}
	r.token(r.id, "user_revoked")
	if _, err := r.Auth.Userinfo(t.Context(), r.id); err == nil {
		t.Error("userinfo for an ended grant")
	}
}

// A grant that ends while the provider answers gets nothing of it, and what came is given back.
func TestGrantEndsInFlight(t *testing.T) {
	r := newRig(t, rotating(upstream.RotationReuse))
	r.due()
	gate := authtest.NewGate()
	r.Provider.Break(authtest.Token, refreshes(authtest.Fault{Gate: gate}))
	done := make(chan struct{})
	go func() { defer close(done); r.token(r.id, "user_revoked") }()
	r.arrived(gate)
	_, err := r.Store.EndGrant(t.Context(), r.id, oauth.UserRevoked, storage.Event{})
	r.must(err)
	r.step() // revocation waits for the flight
	if n := r.Provider.Count(authtest.Revoke); n != 0 {
		t.Errorf("%d revocations before the answer", n)
	}
	gate.Open()
	<-done
	newest := r.record(r.id).Refresh.Reveal()
	r.step()
	if revoked := r.Provider.Revoked(); len(revoked) != 1 || revoked[0] != newest {
		t.Errorf("revoked %d tokens, or not the newest", len(revoked))
	}
	if _, err := r.Store.Upstream(r.id); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the tokens are still stored: %v", err)
	}
}

// `parallel` bounds what the provider meets at once, whoever asks (protocol.md §8.1 rule 2; issue 4, storm).
func TestParallelIsBounded(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{Upstream: func(c *upstream.Config) { c.Parallel = 3 }})
	ids := []string{r.id}
	for range 9 {
		_, id := r.login("alice")
		ids = append(ids, id)
	}
	r.due()
	asked := r.asked()
	gate := authtest.NewGate()
	r.Provider.Break(authtest.Token, refreshes(authtest.Fault{Gate: gate}))
	done := make(chan struct{})
	go func() { defer close(done); together(len(ids), func(i int) { r.token(ids[i], "") }) }()
	r.arrived(gate)
	r.arrived(gate)
	for passed := range ids {
		if passed < len(ids)-2 {
			r.arrived(gate) // three wait now, and nobody else
		}
		if n := r.asked() - asked - passed; n > 3 {
			t.Errorf("%d at once", n)
		}
		gate.Pass()
	}
	<-done
	r.expectAsked(asked, len(ids))
}
