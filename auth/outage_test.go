package auth_test

import (
	"net/http"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// A provider that is down for a day logs nobody out: clients refresh on, with short access tokens, until outage_grace
// after the first failed attempt; then they are told to wait, and nothing is spent (protocol.md §5.4). Back again, all
// goes on with the same refresh token.
func TestOutage(t *testing.T) {
	r := newRig(t, rotating("reuse"))
	r.due()
	r.Provider.Down()
	r.token(r.id, "upstream_unreachable")
	first := r.record(r.id).TroubleSince
	for range 11 {
		if a := r.renewed(); a.ExpiresIn != 600 {
			t.Errorf("expires_in %d", a.ExpiresIn)
		}
		r.calls(r.c.Access, "")
		r.Clock.Advance(2 * time.Hour)
		r.calls(r.c.Access, "token_expired")
	}
	r.Clock.Advance(first.Add(24*time.Hour - time.Second).Sub(r.Clock.Now()))
	r.renewed()
	r.Clock.Advance(time.Second)
	gen := r.grant(r.id).Gen
	for range 3 {
		r.refused(r.refresh(r.c.Refresh), http.StatusServiceUnavailable, oauth.TemporarilyUnavailable, "upstream_unreachable")
		r.Clock.Advance(time.Hour)
		r.step()
	}
	if g := r.grant(r.id); g.Gen != gen || g.Ended != "" {
		t.Errorf("generation %d after %d, ended %q", g.Gen, gen, g.Ended)
	}
	r.must(r.Provider.Up())
	r.Clock.Advance(3 * time.Minute)
	if a := r.renewed(); a.ExpiresIn != 3600 {
		t.Errorf("expires_in %d", a.ExpiresIn)
	}
	r.token(r.id, "")
	if u := r.record(r.id); u.Trouble != "" || !u.TroubleSince.IsZero() || u.InDoubt {
		t.Errorf("trouble %q since %s, in doubt %v", u.Trouble, u.TroubleSince, u.InDoubt)
	}
}

// A new outage after a good answer has its own grace; outage_grace 0 switches it off.
func TestOutageGraceStartsAnew(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{Auth: func(o *auth.Options) { o.Tokens.OutageGrace = oauth.Duration(time.Hour) }})
	for range 3 {
		r.due()
		r.Provider.Down()
		r.renewed()
		r.Clock.Advance(50 * time.Minute)
		r.renewed()
		r.must(r.Provider.Up())
		r.Clock.Advance(3 * time.Minute)
		r.renewed()
	}
	off := startRig(t, authtest.ServerOptions{Auth: func(o *auth.Options) { o.Tokens.OutageGrace = 0 }})
	off.due()
	off.Provider.Down()
	off.refused(off.refresh(off.c.Refresh), http.StatusServiceUnavailable, oauth.TemporarilyUnavailable, "upstream_unreachable")
	off.lives(off.id)
}

// Calls that need no upstream token, and those whose upstream token is still valid, do not notice; a start needs no
// provider either (design.md, decision 8).
func TestOutageAndCalls(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{})
	r.Provider.Down()
	r.Clock.Advance(4*time.Minute + 30*time.Second) // margin reached
	stored := r.record(r.id).Access.Reveal()
	if got := r.token(r.id, ""); got != stored {
		t.Error("not the token that is still valid")
	}
	r.Restart()
	r.calls(r.c.Access, "")
	r.Clock.Advance(time.Minute)
	r.token(r.id, "upstream_unreachable")
	r.calls(r.c.Access, "")
}

// In the pause after a failure the provider is not asked, however many ask us; the pause grows and is bounded.
func TestPauseAfterFailure(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{})
	r.due()
	r.Provider.Break(authtest.Token, refreshes(authtest.Unavailable(503, "")))
	asked := r.asked()
	r.token(r.id, "upstream_error")
	together(50, func(int) { _, _ = r.Auth.UpstreamToken(t.Context(), r.id) })
	r.expectAsked(asked, 1)
	for range 10 {
		r.Clock.Advance(2 * time.Minute)
		r.token(r.id, "upstream_error")
	}
	r.expectAsked(asked, 11)
	r.Clock.Step(-31 * 24 * time.Hour) // a clock set back makes no pause longer
	r.Clock.Advance(2 * time.Minute)
	r.token(r.id, "upstream_error")
	r.expectAsked(asked, 12)
	r.Provider.Mend()
	r.Clock.Advance(2 * time.Minute)
	r.token(r.id, "")
}

// Steps of the wall clock log nobody out, and a jump of a month ends nothing until it is settled (§5.3, Clock).
func TestClockSteps(t *testing.T) {
	for name, step := range map[string]time.Duration{
		"5 min ahead": 5 * time.Minute, "5 min back": -5 * time.Minute, "59 min ahead": 59 * time.Minute,
		"a month ahead": 31 * 24 * time.Hour, "a month back": -31 * 24 * time.Hour, "two years ahead": 730 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, authtest.ServerOptions{})
			lost := r.c.Refresh
			r.renewed()
			r.calls(r.c.Access, "")
			r.Clock.Step(step)
			r.good(r.refresh(lost)) // inside the retry window still: spans are measured by uptime
			r.renewed()
			r.calls(r.c.Access, "")
			r.token(r.id, "")
			r.step()
			r.Clock.Advance(2 * time.Minute)
			r.refused(r.refresh(lost), http.StatusBadRequest, oauth.InvalidGrant, "refresh_reuse") // and no longer than that
		})
	}
}

// After a step back nobody knows how old an upstream token is, or the provider's last word: both are asked for anew.
func TestClockSetBack(t *testing.T) {
	for _, back := range []time.Duration{5 * time.Minute, 50 * time.Minute, 31 * 24 * time.Hour} {
		r := startRig(t, authtest.ServerOptions{})
		asked := r.asked()
		r.Clock.Step(-back)
		r.token(r.id, "")
		r.token(r.id, "")
		r.expectAsked(asked, 1)
		r.Clock.Step(-back)
		fresh := forged{}.token(r)
		r.calls(fresh, "")
		r.await(r.id, oauth.RecheckOK)
	}
}

// An outage during a jump is no later than it was: nothing ends by time.
func TestClockJumpInOutage(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{})
	r.due()
	r.Provider.Down()
	r.renewed()
	r.Clock.Step(31 * 24 * time.Hour)
	r.Clock.Advance(3 * time.Minute)
	r.renewed()
	r.Store.AcceptClock()
	r.refused(r.refresh(r.c.Refresh), http.StatusServiceUnavailable, oauth.TemporarilyUnavailable, "upstream_unreachable")
	r.lives(r.id)
}

// A store that cannot be read is our own trouble: 503, never a verdict on a token (RFC 6749 §5.2 has none for it).
func TestStoreGone(t *testing.T) {
	r := newRig(t, longLived())
	r.must(r.Store.Close())
	r.refused(r.refresh(r.c.Refresh), http.StatusServiceUnavailable, oauth.TemporarilyUnavailable, "storage_unavailable")
	if _, status, reason := r.Call(r.c.Access); status != http.StatusServiceUnavailable || reason != "storage_unavailable" {
		t.Errorf("call: %d %s", status, reason)
	}
	r.token(r.id, "storage_unavailable")
	r.Restart()
	r.renewed()
}

// Ending a grant while it is in trouble leaves nothing in memory that speaks for it.
func TestTroubleOfAnEndedGrant(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{})
	r.due()
	r.Provider.Break(authtest.Token, refreshes(authtest.Unavailable(503, "")))
	r.token(r.id, "upstream_error")
	_, err := r.Store.EndGrant(t.Context(), r.id, oauth.UserRevoked, storage.Event{})
	r.must(err)
	r.token(r.id, "user_revoked")
	r.refused(r.refresh(r.c.Refresh), http.StatusBadRequest, oauth.InvalidGrant, "grant_ended user_revoked")
}

// What memory holds of grants in trouble goes with the trouble, and with grants that nobody asks for again.
func TestTroubleIsForgotten(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{})
	_, other := r.login("bob")
	r.due()
	r.Provider.Break(authtest.Token, refreshes(authtest.InvalidGrant("Invalid refresh token")))
	r.token(r.id, "upstream_suspect")
	r.token(other, "upstream_suspect")
	if paused, suspected := r.Auth.Remembered(); paused != 2 || suspected != 2 {
		t.Fatalf("%d paused, %d suspected", paused, suspected)
	}
	r.Provider.Mend()
	r.Clock.Advance(3 * time.Minute)
	r.token(r.id, "")
	if paused, suspected := r.Auth.Remembered(); paused != 1 || suspected != 1 {
		t.Errorf("after a good answer: %d paused, %d suspected", paused, suspected)
	}
	_, err := r.Store.EndGrant(t.Context(), other, oauth.UserRevoked, storage.Event{})
	r.must(err)
	r.Clock.Advance(25 * time.Hour)
	r.step()
	if paused, suspected := r.Auth.Remembered(); paused != 0 || suspected != 0 {
		t.Errorf("a day later: %d paused, %d suspected", paused, suspected)
	}
}
