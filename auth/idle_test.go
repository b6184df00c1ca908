package auth_test

import (
	"net/http"
	"testing"
	"time"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/storage"
)

// Idle grants with offline tokens are refreshed day after day, spread by a tenth, until our own idle limit (§8.1 rule
// 8): a keep-alive is no use of the grant.
func TestKeepalive(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{})
	for day := range 29 {
		at := r.record(r.id).KeepaliveAt
		if wait := at.Sub(r.Clock.Now()); wait < 21*time.Hour || wait > 27*time.Hour {
			t.Fatalf("day %d: next keep-alive in %s", day, wait)
		}
		asked := r.asked()
		r.Clock.Advance(at.Sub(r.Clock.Now()) - time.Second)
		r.step()
		r.expectAsked(asked, 0)
		r.Clock.Advance(time.Second)
		r.step()
		r.await(r.id, oauth.KeepaliveOK)
		r.step()
		r.expectAsked(asked, 1)
	}
	r.Clock.Advance(3 * 24 * time.Hour)
	asked := r.asked()
	r.step()
	r.ended(r.id, oauth.GrantIdle)
	r.expectAsked(asked, 0)
}

// A keep-alive that fails is due again after a while, not at every round of the loop; when the provider is back it
// works, and the grant lives.
func TestKeepaliveInOutage(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{})
	r.Provider.Break(authtest.Token, refreshes(authtest.Unavailable(503, "")))
	r.Clock.Advance(27 * time.Hour)
	asked := r.asked()
	r.step()
	r.await(r.id, oauth.UpstreamError)
	for range 20 {
		r.Clock.Advance(20 * time.Second) // longer than the pause in memory at first
		r.step()
		if due, err := r.Store.KeepaliveDue(r.Clock.Now(), 10); err != nil || len(due) != 0 {
			t.Fatalf("due again at once: %v %v", due, err)
		}
	}
	r.expectAsked(asked, 1)
	r.Provider.Mend()
	r.Clock.Advance(5 * time.Minute)
	r.step()
	r.await(r.id, oauth.KeepaliveOK)
	r.expectAsked(asked, 2)
}

// Whose tokens are kept alive, and when: offline ones by scope or by a stated 0; online ones only if configured, at
// half their life.
func TestKeepaliveAt(t *testing.T) {
	online := func(b *authtest.Behaviour) { b.RefreshLife = time.Hour }
	for name, row := range map[string]struct {
		scopes []string
		online bool
		every  oauth.Duration
		lo, hi time.Duration // 0 = never
	}{
		"offline":                {[]string{"openid", "offline_access"}, false, oauth.Days(1), 21 * time.Hour, 27 * time.Hour},
		"offline, switched off":  {[]string{"openid", "offline_access"}, false, 0, 0, 0},
		"online":                 {[]string{"openid"}, false, oauth.Days(1), 0, 0},
		"online, if configured":  {[]string{"openid"}, true, oauth.Days(1), 30 * time.Minute, 30 * time.Minute},
		"online, offline is off": {[]string{"openid"}, true, 0, 30 * time.Minute, 30 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, authtest.ServerOptions{Provider: []authtest.Option{authtest.With(online)}, Upstream: func(c *upstream.Config) {
				c.Scopes, c.KeepaliveOnline, c.KeepaliveOffline = row.scopes, row.online, row.every
			}})
			for range 2 { // at the login, and after a refresh
				u := r.record(r.id)
				wait := u.KeepaliveAt.Sub(u.Obtained)
				if row.hi == 0 && !u.KeepaliveAt.IsZero() || row.hi != 0 && (wait < row.lo || wait > row.hi) {
					t.Errorf("next in %s, want %s to %s", wait, row.lo, row.hi)
				}
				r.due()
				r.token(r.id, "")
			}
		})
	}
}

// A call on a grant whose last good answer is older than `recheck` asks for the user in the background, once (§8.1 rule
// 7).
func TestRecheck(t *testing.T) {
	lives := authtest.With(func(b *authtest.Behaviour) { b.AccessLife = 10 * time.Hour })
	o := authtest.ServerOptions{Provider: []authtest.Option{lives}}
	users := func(r *rig) int { return r.Provider.Count(authtest.Userinfo) }
	t.Run("well", func(t *testing.T) {
		r := newRig(t, o)
		r.Clock.Advance(14 * time.Minute)
		r.calls(r.c.Access, "")
		r.Clock.Advance(time.Minute)
		asked := r.asked()
		together(30, func(int) { _, _, _ = r.Call(r.c.Access) })
		r.await(r.id, oauth.RecheckOK)
		r.calls(r.c.Access, "")
		if n := users(r); n != 1 {
			t.Errorf("%d userinfo calls", n)
		}
		r.expectAsked(asked, 0)
	})
	t.Run("account closed", func(t *testing.T) {
		r := newRig(t, o)
		r.Provider.SetUser(authtest.User{Name: "alice", Password: "alice-pw", Disabled: true})
		r.Clock.Advance(15 * time.Minute)
		r.calls(r.c.Access, "") // this call is still served
		r.await(r.id, oauth.UpstreamUserDisabled)
		r.calls(r.c.Access, "grant_ended upstream_user_disabled")
	})
	t.Run("token dead, session well", func(t *testing.T) {
		r := newRig(t, o)
		r.Provider.Break(authtest.Userinfo, authtest.Fault{Status: 401, Body: `{}`, Times: 1})
		r.Clock.Advance(15 * time.Minute)
		asked := r.asked()
		r.calls(r.c.Access, "")
		r.await(r.id, oauth.RecheckOK)
		r.expectAsked(asked, 1)
	})
	t.Run("no userinfo endpoint", func(t *testing.T) {
		r := newRig(t, authtest.ServerOptions{Provider: []authtest.Option{lives, authtest.With(func(b *authtest.Behaviour) { b.NoUserinfo = true })}})
		r.Clock.Advance(15 * time.Minute)
		asked := r.asked()
		r.calls(r.c.Access, "")
		r.await(r.id, oauth.RecheckOK)
		r.expectAsked(asked, 1)
	})
}

// A recheck that fails is nobody's trouble: neither callers that join its flight nor the next refresh suffer from it.
func TestRecheckFails(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{Provider: []authtest.Option{authtest.With(func(b *authtest.Behaviour) { b.AccessLife = time.Hour })}})
	gate := authtest.NewGate()
	r.Provider.Break(authtest.Userinfo, authtest.Fault{Gate: gate, Status: 503, Body: "not now"})
	r.Clock.Advance(15 * time.Minute)
	r.calls(r.c.Access, "") // starts the recheck
	r.arrived(gate)
	r.token(r.id, "")                             // its token is good
	r.Clock.Advance(44*time.Minute + time.Second) // and now it is not: this caller joins the recheck's flight
	asked := r.asked()
	got := make(chan struct{})
	go func() { defer close(got); r.token(r.id, "") }()
	gate.Open()
	<-got
	r.expectAsked(asked, 1)
	r.lives(r.id)
}

// In doubt a recheck asks for the user only: a 401 does not make it spend the refresh token against the mode.
func TestRecheckInDoubt(t *testing.T) {
	o := rotating(upstream.RotationStrict)
	o.Provider = append(o.Provider, authtest.With(func(b *authtest.Behaviour) { b.SharedSession = true; b.AccessLife = 10 * time.Hour }))
	r := newRig(t, o)
	sibling := r.sibling()
	r.Provider.Break(authtest.Token, refreshes(authtest.Fault{Reset: true, After: true, Times: 1}))
	r.Clock.Advance(10*time.Hour - 30*time.Second)
	r.token(r.id, "") // asked, lost; the stored one serves
	r.Clock.Advance(time.Minute)
	asked := r.asked()
	a := r.refresh(r.c.Refresh)
	r.refused(a, http.StatusBadRequest, oauth.InvalidGrant, "grant_ended upstream_lost")
	r.expectAsked(asked, 0)
	r.token(sibling, "")
}

// Without a refresh token (`refresh = "optional"`) the grant ends with its upstream access token, by a clock that is
// trusted.
func TestRefreshOptional(t *testing.T) {
	o := authtest.ServerOptions{
		Provider: []authtest.Option{authtest.With(func(b *authtest.Behaviour) { b.NoRefreshToken = true })},
		Upstream: func(c *upstream.Config) { c.Refresh = upstream.RefreshOptional },
	}
	t.Run("asked for", func(t *testing.T) {
		r := newRig(t, o)
		r.Clock.Advance(4*time.Minute + 59*time.Second)
		r.token(r.id, "")
		r.renewed()
		r.Clock.Advance(time.Second)
		r.refused(r.refresh(r.c.Refresh), http.StatusBadRequest, oauth.InvalidGrant, "grant_ended upstream_session_expired")
	})
	t.Run("swept", func(t *testing.T) {
		r := newRig(t, o)
		r.due()
		r.step()
		r.ended(r.id, oauth.UpstreamSessionExpired)
	})
	t.Run("clock not trusted", func(t *testing.T) {
		r := newRig(t, o)
		r.Clock.Step(31 * 24 * time.Hour)
		r.renewed()
		r.token(r.id, "clock_jump")
		r.step()
		r.lives(r.id)
	})
	t.Run("no life stated", func(t *testing.T) {
		o := o
		o.Provider = append(o.Provider[:1:1], authtest.With(func(b *authtest.Behaviour) {
			b.TokenAnswer = func(_ bool, m map[string]any) { delete(m, "expires_in") }
		}))
		r := newRig(t, o)
		r.Clock.Advance(10 * time.Hour)
		r.token(r.id, "")
		r.lives(r.id)
	})
}

// The upstream token of an ended grant is given back, tried again while that fails, and left alone while a living grant
// shares the provider's session (protocol.md §5.3, §6).
func TestRevocation(t *testing.T) {
	end := func(r *rig, id string) {
		_, err := r.Store.EndGrant(t.Context(), id, oauth.UserRevoked, storage.Event{})
		r.must(err)
	}
	t.Run("tried again", func(t *testing.T) {
		r := newRig(t, authtest.ServerOptions{})
		token := r.record(r.id).Refresh.Reveal()
		r.Provider.Break(authtest.Revoke, authtest.Unavailable(503, ""))
		end(r, r.id)
		for range 3 {
			r.step()
			r.Clock.Advance(time.Hour)
		}
		r.Provider.Mend()
		r.step()
		for _, got := range r.Provider.Revoked() {
			if got != token {
				t.Error("another token was revoked")
			}
		}
		if n := len(r.Provider.Revoked()); n != 4 {
			t.Errorf("%d attempts", n)
		}
		if _, err := r.Store.Upstream(r.id); err == nil {
			t.Error("the tokens are still stored")
		}
		if n := r.noted(r.id, oauth.UpstreamError); n != 3 {
			t.Errorf("the journal tells of %d failures", n)
		}
		r.step()
		if n := len(r.Provider.Revoked()); n != 4 {
			t.Error("revoked again")
		}
	})
	t.Run("given up after seven days", func(t *testing.T) {
		r := newRig(t, authtest.ServerOptions{})
		r.Provider.Down()
		end(r, r.id)
		for range 30 {
			r.step()
			r.Clock.Advance(6 * time.Hour)
		}
		if _, err := r.Store.Upstream(r.id); err == nil {
			t.Error("the tokens are still stored")
		}
	})
	t.Run("siblings", func(t *testing.T) {
		r := newRig(t, authtest.ServerOptions{Provider: []authtest.Option{authtest.With(func(b *authtest.Behaviour) { b.SharedSession = true })}})
		sibling := r.sibling()
		end(r, r.id)
		r.step()
		if n := r.Provider.Count(authtest.Revoke); n != 0 {
			t.Errorf("%d revocations beside a living sibling", n)
		}
		r.due()
		r.token(sibling, "")
		end(r, sibling)
		r.step()
		if n := r.Provider.Count(authtest.Revoke); n != 1 {
			t.Errorf("%d revocations after the last", n)
		}
	})
	t.Run("no endpoint", func(t *testing.T) {
		r := newRig(t, authtest.ServerOptions{Provider: []authtest.Option{authtest.With(func(b *authtest.Behaviour) { b.NoRevocation = true })}})
		end(r, r.id)
		r.step()
		if n := r.noted(r.id, oauth.UpstreamConfig); n != 1 {
			t.Errorf("the journal says upstream_config %d times", n)
		}
	})
}
