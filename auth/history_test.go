package auth_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/story"
	"hostedmcp/auth/upstream"
)

// saying makes the provider refuse every refresh in these words.
func saying(words string) func(*stage) {
	return func(s *stage) {
		s.Provider.Break(authtest.Token, refreshes(authtest.InvalidGrant(words)))
		s.due()
		_, _ = s.c.Renew()
	}
}

// broken makes refreshes go wrong, once a client has come for one.
func broken(f authtest.Fault) func(*stage) {
	return func(s *stage) {
		s.Provider.Break(authtest.Token, refreshes(f))
		s.due()
		s.renewed() // outage_grace: the client does not notice
	}
}

// providers returns options with another behaviour of the provider.
func providers(change func(*authtest.Behaviour)) authtest.ServerOptions {
	return authtest.ServerOptions{Provider: []authtest.Option{authtest.With(change)}}
}

// tokens returns options with other lifetimes of ours.
func tokens(change func(*auth.Options)) authtest.ServerOptions {
	return authtest.ServerOptions{Auth: change}
}

// histories are lives of a grant that end, or come into trouble, each for one reason (issue 5: the same on all
// surfaces). The section is that of protocol.md.
var histories = []struct {
	name    string
	options authtest.ServerOptions
	play    func(*stage)
	reason  oauth.Reason
}{
	{"§4.3 ended by the user", longLived(), func(s *stage) {
		_, p := s.look(s.c, "")
		s.press(s.c, p, "id", s.id)
	}, oauth.UserRevoked},
	{"§4.3 all ended by the user", longLived(), func(s *stage) {
		s.sibling()
		_, p := s.look(s.c, "")
		s.press(s.c, p, "subject", "sub-alice")
	}, oauth.UserRevoked},
	{"§4.3 ended by an operator on the page", longLived(), func(s *stage) {
		o := s.operator()
		_, p := s.look(o, "?subject=sub-alice")
		s.press(o, p, "id", s.id)
	}, oauth.AdminRevoked},
	{"§4.3 ended by an operator's command", longLived(), func(s *stage) {
		s.must(s.Auth.EndByOperator(s.t.Context(), s.id, ""))
	}, oauth.AdminRevoked},
	{"§4.3 user off-boarded", longLived(), func(s *stage) {
		if n, err := s.Auth.EndSubject(s.t.Context(), "sub-alice"); err != nil || n != 1 {
			s.t.Fatalf("%d ended: %v", n, err)
		}
	}, oauth.AdminRevoked},
	{"§6 ended by the program", longLived(), func(s *stage) {
		a, err := s.c.Post("/revoke", url.Values{"client_id": {s.c.ID}, "token": {s.c.Refresh}})
		s.must(err)
		if a.Status != http.StatusOK {
			s.t.Fatal(a.Status)
		}
	}, oauth.ClientRevoked},
	{"§5.2 code used twice", longLived(), func(s *stage) {
		a, code := s.redeemable()
		for range 2 {
			_, _ = s.c.Redeem(a, code)
		}
	}, oauth.CodeReplay},
	{"§5.2 login never claimed", longLived(), func(s *stage) {
		s.redeemable()
		s.Clock.Advance(2 * time.Minute)
		s.step()
	}, oauth.LoginUnclaimed},
	{"§5.3 a thief uses an old key", longLived(), func(s *stage) {
		stolen := s.c.Refresh
		s.renewed()
		s.calls(s.c.Access, "")
		s.Clock.Advance(10 * time.Minute)
		_ = s.refresh(stolen)
	}, oauth.RefreshReuse},
	{"§5.3 client silent for the idle limit", longLived(), func(s *stage) {
		s.Clock.Advance(31 * 24 * time.Hour)
		s.step()
	}, oauth.GrantIdle},
	{"§5.3 an answer lost and never retried", longLived(), func(s *stage) {
		_ = s.refresh(s.c.Refresh) // whose answer the client never reads
		s.Clock.Advance(31 * 24 * time.Hour)
		s.step()
	}, oauth.GrantIdle},
	{"§5.3 idle limit met by a late refresh", longLived(), func(s *stage) {
		s.Clock.Advance(31 * 24 * time.Hour)
		_ = s.refresh(s.c.Refresh)
	}, oauth.GrantIdle},
	{"§5.3 highest age", tokens(func(o *auth.Options) { o.Tokens.RefreshMax = oauth.Days(2) }), func(s *stage) {
		s.Clock.Advance(49 * time.Hour)
		s.step()
	}, oauth.GrantMaxAge},
	{"§9 one connection too many", tokens(func(o *auth.Options) { o.Clients.GrantsPerUser = 2 }), func(s *stage) {
		for range 2 {
			s.Clock.Advance(time.Minute)
			s.sibling()
		}
	}, oauth.GrantEvicted},
	{"§8.1 rule 9: no longer in the group", tokens(func(o *auth.Options) { o.Access.Groups = []string{"sales"} }), func(s *stage) {
		s.Provider.SetUser(authtest.User{Name: "alice", Password: "alice-pw", Groups: []string{"finance"}})
		s.due()
		s.token(s.id, "access_rule")
	}, oauth.AccessRule},
	{"§8.2 refused in unknown words, and again later", longSuspect(), func(s *stage) {
		saying("Something new")(s)
		s.Clock.Advance(11 * time.Minute)
		_, _ = s.c.Renew()
	}, oauth.UpstreamRejected},
	{"§8.2 realm's idle limit", authtest.ServerOptions{Upstream: func(c *upstream.Config) { c.Scopes = []string{"openid"} }}, func(s *stage) {
		s.Clock.Advance(31 * time.Minute)
		_, _ = s.c.Renew()
	}, oauth.UpstreamSessionExpired},
	{"§8.2 session ended by an administrator", authtest.ServerOptions{}, func(s *stage) {
		s.Provider.EndSession("alice", "")
		s.due()
		_, _ = s.c.Renew()
	}, oauth.UpstreamSessionEnded},
	{"§8.2 signed out everywhere", authtest.ServerOptions{}, func(s *stage) {
		s.Provider.EndSession("alice", "Stale token")
		s.due()
		s.token(s.id, "upstream_session_ended")
	}, oauth.UpstreamSessionEnded},
	{"§8.2 offline session gone", authtest.ServerOptions{}, func(s *stage) {
		s.Provider.EndSession("alice", "Offline user session not found")
		s.Clock.Advance(27 * time.Hour)
		s.step() // the keep-alive finds out
		s.await(s.id, oauth.UpstreamSessionEnded)
	}, oauth.UpstreamSessionEnded},
	{"§8.1 rule 7: session ended, found by a recheck", longAccess(), func(s *stage) {
		s.Provider.EndSession("alice", "")
		s.Clock.Advance(16 * time.Minute)
		s.calls(s.c.Access, "")
		s.await(s.id, oauth.UpstreamSessionEnded)
	}, oauth.UpstreamSessionEnded},
	{"§8.2 consent withdrawn", authtest.ServerOptions{}, saying("Offline session invalid because offline access not granted anymore"), oauth.UpstreamConsentWithdrawn},
	{"§8.2 user disabled", authtest.ServerOptions{}, func(s *stage) {
		s.Provider.SetUser(authtest.User{Name: "alice", Password: "alice-pw", Groups: []string{"sales"}, Disabled: true})
		s.due()
		_, _ = s.c.Renew()
	}, oauth.UpstreamUserDisabled},
	{"§8.2 the provider saw a key twice", authtest.ServerOptions{}, saying("Maximum allowed refresh token reuse exceeded"), oauth.UpstreamReuse},
	{"§8.3 crash in doubt, strict", rotating(upstream.RotationStrict), func(s *stage) {
		s.crash(true)
		s.step()
		s.Clock.Advance(11 * time.Second)
		s.step()
		s.await(s.id, oauth.UpstreamLost)
	}, oauth.UpstreamLost},
	{"§8.3 crash in doubt, strict, a sibling well", siblings(), func(s *stage) {
		s.sibling()
		s.crash(true)
		s.step()
		s.Clock.Advance(11 * time.Second)
		_, _ = s.c.Renew()
	}, oauth.UpstreamLost},
	{"§8.3 restored from an old backup, strict", rotating(upstream.RotationStrict), func(s *stage) {
		backup := s.Backup()
		s.due()
		s.renewed()
		s.Restore(backup)
		s.signIn(s.c, "alice")
		s.due()
		_, _ = s.c.Renew()
	}, oauth.UpstreamLost},
	{"§8.2 provider's answer lost, reuse", authtest.ServerOptions{}, broken(authtest.Fault{After: true, Reset: true}), oauth.UpstreamInDoubt},
	{"§8.2 refused once in unknown words", authtest.ServerOptions{}, saying("Something new"), oauth.UpstreamSuspect},
	{"§8.2 provider on a wrong database", longSuspect(), func(s *stage) {
		ids := []string{s.id}
		for range 3 {
			_, id := s.login("bob")
			ids = append(ids, id)
		}
		s.due()
		s.Provider.Forget()
		for range 2 {
			for _, id := range ids {
				_, _ = s.Auth.UpstreamToken(s.t.Context(), id)
			}
			s.Clock.Advance(11 * time.Minute)
		}
	}, oauth.UpstreamConfig},
	{"§8.2 client secret changed", authtest.ServerOptions{}, broken(authtest.Fault{Status: 401,
		Body: `{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}`}), oauth.UpstreamConfig},
	{"§8.2 another host name", authtest.ServerOptions{}, broken(authtest.InvalidGrant("Invalid token issuer. Expected 'http://other'")), oauth.UpstreamConfig},
	{"§5.4 provider down", authtest.ServerOptions{}, func(s *stage) {
		s.due()
		s.Provider.Down()
		s.renewed()
		s.Clock.Advance(7 * time.Minute)
	}, oauth.UpstreamUnreachable},
	{"§8.2 provider answers 503", authtest.ServerOptions{}, broken(authtest.Unavailable(503, "")), oauth.UpstreamError},
	{"§8.2 a proxy's page", authtest.ServerOptions{}, broken(authtest.HTML()), oauth.UpstreamBadAnswer},
	{"§8.2 another person, quarantined", authtest.ServerOptions{}, func(s *stage) {
		s.Provider.Set(func(b *authtest.Behaviour) { b.IDToken = func(i *authtest.IDToken) { i.Claims["sub"] = "sub-mallory" } })
		s.due()
		_, _ = s.c.Renew()
	}, oauth.SubjectChanged},
}

// longSuspect is a server whose provider's tokens outlive its patience with unknown words.
func longSuspect() authtest.ServerOptions {
	return authtest.ServerOptions{Upstream: func(c *upstream.Config) { c.SuspectAfter = oauth.Duration(10 * time.Minute) }}
}

// longAccess is a provider whose access tokens outlive a recheck.
func longAccess() authtest.ServerOptions {
	return providers(func(b *authtest.Behaviour) { b.AccessLife = 10 * time.Hour })
}

// siblings is a strict provider on which all logins of a user share a session.
func siblings() authtest.ServerOptions {
	o := rotating(upstream.RotationStrict)
	o.Provider = append(o.Provider, authtest.With(func(b *authtest.Behaviour) { b.SharedSession = true }))
	return o
}

func TestHistories(t *testing.T) {
	for _, h := range histories {
		t.Run(h.name, func(t *testing.T) {
			s := newStage(t, h.options)
			s.play(h.play)
			s.agree(s.id, h.reason)
			s.check()
		})
	}
}

// play stages a history; the grant that it leaves in s.id is the one that it is about.
func (s *stage) play(history func(*stage)) {
	s.t.Helper()
	history(s)
}

// operator signs a further browser in as somebody who looks after the others.
func (s *stage) operator() *authtest.Client {
	s.t.Helper()
	s.Provider.SetUser(authtest.User{Name: "olga", Password: "olga-pw", Groups: []string{"operators"}})
	c := s.NewClient()
	s.signIn(c, "olga")
	return c
}

// redeemable is a login of the client up to its code; its grant is what the history is about from here.
func (s *stage) redeemable() (authtest.Attempt, string) {
	s.t.Helper()
	before := map[string]bool{}
	list, err := s.Store.GrantsOf("sub-alice")
	s.must(err)
	for _, g := range list {
		before[g.ID] = true
	}
	a := s.c.Begin()
	q, err := s.c.Authorize(a)
	s.must(err)
	list, err = s.Store.GrantsOf("sub-alice")
	s.must(err)
	for _, g := range list {
		if !before[g.ID] {
			s.id = g.ID
		}
	}
	return a, q.Get("code")
}

// A life without an end: what is over is told as over.
func TestHealthyHistories(t *testing.T) {
	t.Run("renewed", func(t *testing.T) {
		s := newStage(t, longLived())
		for range 3 {
			s.Clock.Advance(time.Hour)
			s.renewed()
		}
		s.well(s.id, oauth.RefreshOK)
	})
	t.Run("kept alive while idle", func(t *testing.T) {
		s := newStage(t, authtest.ServerOptions{})
		s.Clock.Advance(27 * time.Hour)
		s.step()
		s.await(s.id, oauth.KeepaliveOK)
		s.well(s.id, oauth.KeepaliveOK)
	})
	t.Run("an outage of seven minutes", func(t *testing.T) {
		s := newStage(t, authtest.ServerOptions{})
		s.due()
		s.Provider.Down()
		s.renewed()
		s.Clock.Advance(7 * time.Minute)
		s.must(s.Provider.Up())
		s.renewed()
		s.well(s.id, oauth.RefreshOK)
		if _, text := s.explain(s.id); !strings.Contains(text, "did not answer for 7 minutes. The user stayed connected: it was renewed 1 time meanwhile.") {
			t.Errorf("explain:\n%s", text)
		}
	})
	t.Run("not claimed yet", func(t *testing.T) {
		s := newStage(t, longLived())
		s.redeemable()
		if told, text := s.explain(s.id); told.State != story.Unclaimed || told.Reason != oauth.SignedIn {
			t.Errorf("explain:\n%s", text)
		}
		if g := s.shown(s.id); g.State != "Not finished" || g.Reason != "" {
			t.Errorf("the page says %q %q", g.State, g.Reason)
		}
	})
}

// §5.3 an answer lost and retried: the client gets the same, and nothing ends.
func TestHistoryAnswerRetried(t *testing.T) {
	s := newStage(t, longLived())
	lost := s.c.Refresh
	s.good(s.refresh(lost))
	s.Clock.Advance(10 * time.Minute)
	s.good(s.refresh(lost))
	if !s.logged(map[string]string{"route": "/token", "reason": "refresh_same", "grant": s.id}) {
		t.Error("no log line says refresh_same")
	}
	if s.metric("hostedmcp_refresh_total", map[string]string{"leg": "client", "reason": "refresh_same"}) != 1 {
		t.Error("hostedmcp_refresh_total has no refresh_same")
	}
	s.lives(s.id)
}

// §5.3, Clock: nothing ends by time while the clock is wrong; the alarm, the page and explain say so, and a confirmed
// clock ends what is over.
func TestHistoryClockWrong(t *testing.T) {
	s := newStage(t, longLived())
	s.Clock.Step(40 * 24 * time.Hour)
	s.Store.Step(t.Context())
	s.step()
	s.lives(s.id)
	if _, text := s.explain(s.id); !strings.HasPrefix(text, "clock_jump: in trouble. ") || !strings.Contains(text, "hostedmcp clock accept") {
		t.Errorf("explain:\n%s", text)
	}
	if g := s.shown(s.id); g.Reason != oauth.ClockJump || g.State != "This server in trouble" {
		t.Errorf("the page says %q %q", g.State, g.Reason)
	}
	if p, _ := s.look(s.operator(), ""); p.Store.Reason != oauth.ClockJump {
		t.Errorf("the operators' page says %+v", p.Store)
	}
	if s.metric("hostedmcp_alarms_total", map[string]string{"reason": "clock_jump"}) == 0 ||
		!s.logged(map[string]string{"level": "ERROR", "reason": "clock_jump"}) {
		t.Error("no alarm")
	}
	s.Store.AcceptClock()
	s.step()
	s.agree(s.id, oauth.GrantIdle)
}

// §8.3: a restored backup is the reason of every connection until the provider has answered, and none for those that
// ended since; the client is ahead of it and goes on.
func TestHistoryRestored(t *testing.T) {
	s := newStage(t, authtest.ServerOptions{})
	ended := s.sibling()
	backup := s.Backup()
	s.Clock.Advance(time.Hour)
	s.renewed()
	s.must(s.Auth.EndByOperator(t.Context(), ended, ""))
	s.Restore(backup)
	s.signIn(s.c, "alice")
	s.ended(ended, oauth.AdminRevoked)

	told, text := s.explain(s.id)
	events, err := s.Store.Events(s.id)
	s.must(err)
	if !strings.HasPrefix(text, "restored: in trouble. ") || told.State != story.Trouble || events[len(events)-1].Reason != oauth.Restored {
		t.Errorf("last event %s\n%s", events[len(events)-1].Reason, text)
	}
	if !s.logged(map[string]string{"msg": "event", "reason": "restored"}) || s.metric("hostedmcp_in_doubt", nil) != 1 {
		t.Errorf("log, or %v in doubt", s.metric("hostedmcp_in_doubt", nil))
	}
	if g := s.shown(s.id); g.Reason != oauth.Restored || g.State != "Being checked" || g.Kind != "trouble" {
		t.Errorf("the page says %q %q", g.State, g.Reason)
	}
	// the command that restored it counted in a process of its own
	over, end := context.WithCancel(t.Context())
	end()
	s.must(s.Auth.Run(over))
	if n := s.metric("hostedmcp_events_total", map[string]string{"reason": "restored"}); n != 1 {
		t.Errorf("the server that begins on it counts %v", n)
	}
	s.Clock.Advance(11 * time.Second)
	s.renewed()
	s.must(s.Auth.Run(over))
	if n := s.metric("hostedmcp_events_total", map[string]string{"reason": "restored"}); n != 1 {
		t.Errorf("once the provider has settled it: %v", n)
	}
	if s.noted(s.id, oauth.RefreshAhead) != 1 {
		t.Error("the journal does not say refresh_ahead")
	}
	s.well(s.id, oauth.RefreshOK)
}

// §5.3 row 9, §8.3: a client that is ahead right after a start: until the hold-off is over, that is the reason, in the
// operators' list too.
func TestHistoryAheadInHoldoff(t *testing.T) {
	s := newStage(t, authtest.ServerOptions{})
	olga := s.operator()
	s.good(s.refresh(s.forge(s.id, 7, s.c.ID)))
	if _, text := s.explain(s.id); !strings.HasPrefix(text, "refresh_ahead: in trouble. ") {
		t.Errorf("explain:\n%s", text)
	}
	if g := s.shown(s.id); g.Reason != oauth.RefreshAhead || g.State != "Being checked" {
		t.Errorf("the page says %q %q", g.State, g.Reason)
	}
	if p, _ := s.look(olga, ""); len(p.Grants) != 1 || p.Grants[0].Reason != oauth.RefreshAhead {
		t.Errorf("the operators' page says %+v", p.Grants)
	}
}

// §5.3 row 9: a client that is ahead, while the provider cannot be asked.
func TestHistoryAhead(t *testing.T) {
	s := newStage(t, authtest.ServerOptions{})
	s.Provider.Down()
	s.Clock.Advance(11 * time.Second)
	_ = s.refresh(s.forge(s.id, 7, s.c.ID))
	if s.noted(s.id, oauth.RefreshAhead) != 1 || !s.record(s.id).InDoubt {
		t.Fatalf("the story went otherwise: %+v", s.record(s.id))
	}
	s.must(s.Provider.Up())
	s.agree(s.id, oauth.UpstreamUnreachable) // asked at once, and it does not answer
	s.due()
	s.good(s.refresh(s.forge(s.id, 8, s.c.ID)))
	s.well(s.id, oauth.RefreshOK)
}

// Requests without a grant: explain tells them from memory, by the reason of their log line.
func TestRefusedHistories(t *testing.T) {
	t.Run("§3.1 registration pruned, and registered again", func(t *testing.T) {
		s := newStage(t, longLived())
		s.must(s.Auth.EndByOperator(t.Context(), s.id, oauth.UserRevoked))
		s.Clock.Advance(401 * 24 * time.Hour)
		s.step()
		_ = s.refresh(s.c.Refresh)
		s.refusedWith(oauth.ClientUnknown, "hostedmcp_token_requests_total")
		s.must(s.c.Register("Test client"))
		s.must(s.c.Login())
		s.well(s.grantOf(s.c.Refresh), oauth.CodeRedeemed)
	})
	t.Run("§4.3 denied", func(t *testing.T) {
		s := newStage(t, longLived())
		s.Provider.Set(func(b *authtest.Behaviour) { b.AuthorizeError = "access_denied" })
		_, _ = s.c.Authorize(s.c.Begin())
		s.refusedWith(oauth.UpstreamDenied, "")
	})
	t.Run("§5.1 forged key", func(t *testing.T) {
		s := newStage(t, longLived())
		_ = s.refresh(altered(t, s.c.Refresh))
		s.refusedWith(oauth.RefreshInvalid, "hostedmcp_token_requests_total")
	})
	t.Run("§7 store away", func(t *testing.T) {
		s := newStage(t, longLived())
		s.must(s.Store.Close())
		_ = s.refresh(s.c.Refresh)
		s.refusedWith(oauth.StorageUnavailable, "hostedmcp_token_requests_total")
		if _, p := s.look(s.c, ""); p.Status != http.StatusServiceUnavailable || !strings.Contains(p.Body, "storage_unavailable") {
			t.Errorf("the page: %d", p.Status)
		}
		s.Restart()
	})
	t.Run("§4.5 no access at login", func(t *testing.T) {
		s := newStage(t, tokens(func(o *auth.Options) { o.Access.Groups = []string{"sales"} }))
		bob := s.NewClient()
		bob.Browser.Fill = map[string]string{"username": "bob", "password": "bob-pw"}
		_ = bob.Login()
		s.refusedWith(oauth.AccessRule, "")
	})
}
