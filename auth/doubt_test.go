package auth_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

// crash cuts a refresh off: the provider carries it out (after) or not, its answer never comes, and the process ends.
func (r *rig) crash(after bool) {
	r.t.Helper()
	r.due()
	gate := authtest.NewGate()
	r.Provider.Break(authtest.Token, refreshes(authtest.Fault{Times: 1, After: after, Gate: gate, Reset: true}))
	done := make(chan struct{})
	go func() { defer close(done); _, _ = r.Auth.UpstreamToken(r.t.Context(), r.id) }()
	r.arrived(gate)
	r.Kill()
	gate.Open()
	<-done
	if in := r.record(r.id).Intent; in == nil || in.Boot == r.Store.Boot() {
		r.t.Fatalf("no intent of the killed process: %+v", in)
	}
}

// A crash with a refresh under way, by the provider's mode and whether it had taken effect (protocol.md §8.3): lost is
// only what a strict provider spent.
func TestCrashInDoubt(t *testing.T) {
	for _, mode := range []upstream.Rotation{upstream.RotationNone, upstream.RotationReuse, upstream.RotationStrict} {
		for _, spent := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, spent %v", mode, spent), func(t *testing.T) {
				r := newRig(t, rotating(mode))
				r.crash(spent)
				r.step()
				r.settled(mode, mode == upstream.RotationStrict && spent)
				r.check()
			})
		}
	}
}

// settled lets a grant in doubt come to its end without any call: the loop alone does it, after the hold-off.
func (r *rig) settled(mode upstream.Rotation, lost bool) {
	r.t.Helper()
	asked := r.asked()
	u := r.record(r.id)
	if !u.InDoubt || u.Intent != nil || r.noted(r.id, oauth.UpstreamInDoubt) != 1 {
		r.t.Fatalf("after the start: in doubt %v, intent %v", u.InDoubt, u.Intent)
	}
	if mode != upstream.RotationNone { // none: the token is good, so it is tried at need, at once
		r.token(r.id, "upstream_in_doubt")
		r.renewed() // clients go on through it
		r.expectAsked(asked, 0)
		r.Clock.Advance(11 * time.Second)
		r.step()
		if lost {
			r.await(r.id, oauth.UpstreamLost)
			r.ended(r.id, oauth.UpstreamLost)
			r.expectAsked(asked, 1)
			return
		}
		r.await(r.id, oauth.KeepaliveOK)
	}
	r.token(r.id, "")
	r.expectAsked(asked, 1)
	if u := r.record(r.id); u.InDoubt || u.Trouble != "" {
		r.t.Errorf("still in doubt %v, trouble %q", u.InDoubt, u.Trouble)
	}
	r.lives(r.id)
	r.renewed()
}

// While the stored upstream access token is valid it serves, and nothing is asked; the hold-off is uptime, whatever the
// wall clock does.
func TestDoubtServesWhatItHas(t *testing.T) {
	r := newRig(t, rotating(upstream.RotationReuse))
	r.Clock.Advance(4*time.Minute + 10*time.Second) // margin reached, 50 s left
	r.Provider.Break(authtest.Token, refreshes(authtest.Fault{Reset: true, After: true, Times: 1}))
	kept := r.record(r.id).Access.Reveal()
	if got := r.token(r.id, ""); got != kept {
		t.Error("not the stored token")
	}
	r.Restart()
	asked := r.asked()
	r.step()
	r.Clock.Advance(11 * time.Second)
	r.step()
	if got := r.token(r.id, ""); got != kept {
		t.Error("not the stored token")
	}
	r.expectAsked(asked, 0)
	r.Restart()
	r.Clock.Step(40 * time.Second) // the token is out by the wall clock, but no time has passed
	r.token(r.id, "upstream_in_doubt")
	r.expectAsked(asked, 0)
	r.Clock.Advance(11 * time.Second)
	if got := r.token(r.id, ""); got == kept {
		t.Error("the old token")
	}
	r.expectAsked(asked, 1)
}

// As often as no answer comes the same token is sent again, after a pause (reuse): only invalid_grant ends the grant.
func TestDoubtIsRetriedForEver(t *testing.T) {
	r := newRig(t, rotating(upstream.RotationReuse))
	r.due()
	r.Provider.Break(authtest.Token, refreshes(authtest.Fault{Reset: true}))
	sent := r.record(r.id).Refresh.Reveal()
	asked := r.asked()
	for range 6 {
		r.token(r.id, "upstream_in_doubt")
		r.token(r.id, "upstream_in_doubt") // out of memory: no second request
		r.Clock.Advance(3 * time.Minute)
	}
	r.expectAsked(asked, 6)
	for _, token := range r.Provider.RefreshTokens() {
		if token != sent {
			t.Error("another token was sent")
		}
	}
	r.Provider.Mend()
	r.token(r.id, "")
	if u := r.record(r.id); u.InDoubt || u.Failures != 0 {
		t.Errorf("in doubt %v, failures %d", u.InDoubt, u.Failures)
	}
}

// A second attempt that fails with a clear answer does not make the first one's doubt go away: its refusal is
// explained by the loss.
func TestDoubtSurvivesOtherTrouble(t *testing.T) {
	r := newRig(t, rotating(upstream.RotationStrict))
	r.crash(true)
	r.Provider.Break(authtest.Token, refreshes(authtest.Fault{Times: 1, Status: 503, Body: "not now"}))
	r.Clock.Advance(11 * time.Second)
	r.token(r.id, "upstream_error")
	if u := r.record(r.id); !u.InDoubt || u.Intent != nil {
		t.Errorf("in doubt %v, intent %v", u.InDoubt, u.Intent)
	}
	r.Clock.Advance(3 * time.Minute)
	r.token(r.id, "upstream_lost")
}

// Under strict a grant in doubt is not tried at the cost of a sibling that is well: it ends, the sibling lives. Two in
// doubt may both try. Other modes try.
func TestDoubtAndSiblings(t *testing.T) {
	shared := func(mode upstream.Rotation) authtest.ServerOptions {
		o := rotating(mode)
		o.Provider = append(o.Provider, authtest.With(func(b *authtest.Behaviour) { b.SharedSession = true }))
		return o
	}
	t.Run("strict, sibling well", func(t *testing.T) {
		r := newRig(t, shared(upstream.RotationStrict))
		sibling := r.sibling()
		_, stranger := r.login("bob")
		r.crash(true)
		r.Clock.Advance(11 * time.Second)
		asked := r.asked()
		r.step()
		r.Clock.Advance(11 * time.Second)
		r.refused(r.refresh(r.c.Refresh), http.StatusBadRequest, oauth.InvalidGrant, "grant_ended upstream_lost")
		r.expectAsked(asked, 0)
		r.step() // and it is not revoked, which would end the sibling too
		if n := r.Provider.Count(authtest.Revoke); n != 0 {
			t.Errorf("%d revocations", n)
		}
		r.token(sibling, "")
		r.token(stranger, "")
	})
	t.Run("strict, both in doubt", func(t *testing.T) {
		r := newRig(t, shared(upstream.RotationStrict))
		sibling := r.sibling()
		r.due()
		gate := authtest.NewGate()
		r.Provider.Break(authtest.Token, refreshes(authtest.Fault{Times: 2, Gate: gate, Reset: true}))
		done := make(chan struct{})
		ids := []string{r.id, sibling}
		go func() {
			defer close(done)
			together(2, func(i int) { _, _ = r.Auth.UpstreamToken(t.Context(), ids[i]) })
		}()
		r.arrived(gate)
		r.arrived(gate)
		r.Kill()
		gate.Open()
		<-done
		r.Clock.Advance(11 * time.Second)
		asked := r.asked()
		r.token(r.id, "") // its intent, and the sibling's, are of the killed process: both are in doubt
		r.expectAsked(asked, 1)
		r.token(sibling, "upstream_lost")
		r.expectAsked(asked, 1)
	})
	t.Run("reuse, sibling well", func(t *testing.T) {
		r := newRig(t, shared(upstream.RotationReuse))
		sibling := r.sibling()
		r.crash(true)
		r.Clock.Advance(11 * time.Second)
		r.token(r.id, "")
		r.token(sibling, "")
	})
}

// A restored backup puts every upstream token stored before into doubt; the retry of a used one is the provider's to
// forgive.
func TestRefusalAfterALostAnswer(t *testing.T) {
	for words, reason := range map[string]oauth.Reason{
		"Stale token": oauth.UpstreamLost, "Maximum allowed refresh token reuse exceeded": oauth.UpstreamLost,
		"Session doesn't have required client": oauth.UpstreamLost,
		"Session not active":                   oauth.UpstreamSessionEnded, "User disabled": oauth.UpstreamUserDisabled,
	} {
		t.Run(words, func(t *testing.T) {
			r := newRig(t, rotating(upstream.RotationReuse))
			r.due()
			r.Provider.Break(authtest.Token, refreshes(authtest.Fault{Reset: true, After: true, Times: 1}))
			r.Provider.Break(authtest.Token, refreshes(authtest.InvalidGrant(words)))
			r.token(r.id, "upstream_in_doubt")
			r.Clock.Advance(3 * time.Minute)
			r.token(r.id, string(reason))
			r.ended(r.id, reason)
		})
	}
}
