package auth_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

// outcome is one row of protocol.md §8.2, from the provider's answer to what client, tool, record and journal say.
type outcome struct {
	fault  authtest.Fault
	set    func(*authtest.Behaviour)
	reason oauth.Reason // "" = the refresh is good
	ends   bool
	doubt  bool
	alarm  bool
	wait   string // Retry-After of a tool call's 503, if the provider said one
}

func says(status int, code, description string) authtest.Fault {
	return authtest.Fault{Status: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: `{"error":"` + code + `","error_description":"` + description + `"}`}
}

var outcomes = map[string]outcome{
	"good":                         {},
	"no id_token":                  {set: func(b *authtest.Behaviour) { b.NoRefreshIDToken = true }},
	"no new refresh token":         {set: func(b *authtest.Behaviour) { b.NoRefreshToken = true }},
	"Token is not active":          {fault: authtest.InvalidGrant("Token is not active"), reason: oauth.UpstreamSessionExpired, ends: true},
	"Session not active":           {fault: authtest.InvalidGrant("Session not active"), reason: oauth.UpstreamSessionEnded, ends: true},
	"offline session gone":         {fault: authtest.InvalidGrant("Offline user session not found"), reason: oauth.UpstreamSessionEnded, ends: true},
	"client detached":              {fault: authtest.InvalidGrant("Session doesn't have required client"), reason: oauth.UpstreamSessionEnded, ends: true},
	"Stale token":                  {fault: authtest.InvalidGrant("Stale token"), reason: oauth.UpstreamSessionEnded, ends: true},
	"reuse":                        {fault: authtest.InvalidGrant("Maximum allowed refresh token reuse exceeded"), reason: oauth.UpstreamReuse, ends: true},
	"User disabled":                {fault: authtest.InvalidGrant("User disabled"), reason: oauth.UpstreamUserDisabled, ends: true},
	"consent withdrawn":            {fault: authtest.InvalidGrant("Offline session invalid because offline access not granted anymore"), reason: oauth.UpstreamConsentWithdrawn, ends: true},
	"Invalid refresh token":        {fault: authtest.InvalidGrant("Invalid refresh token"), reason: oauth.UpstreamSuspect},
	"unknown words":                {fault: authtest.InvalidGrant("Computer says no"), reason: oauth.UpstreamSuspect},
	"invalid_grant with 403":       {fault: says(403, "invalid_grant", "User disabled"), reason: oauth.UpstreamConfig, alarm: true},
	"invalid_grant with 503":       {fault: says(503, "invalid_grant", "User disabled"), reason: oauth.UpstreamError},
	"other host name":              {fault: authtest.InvalidGrant("Invalid token issuer. Expected 'x'"), reason: oauth.UpstreamConfig, alarm: true},
	"unauthorized_client":          {fault: says(401, "unauthorized_client", "Invalid client"), reason: oauth.UpstreamConfig, alarm: true},
	"realm not there":              {fault: says(404, "Realm does not exist", ""), reason: oauth.UpstreamConfig, alarm: true},
	"429":                          {fault: authtest.Unavailable(429, "40"), reason: oauth.UpstreamError, wait: "40"},
	"503":                          {fault: authtest.Unavailable(503, "30"), reason: oauth.UpstreamError, wait: "30"},
	"503 with an hour":             {fault: authtest.Unavailable(503, "3600"), reason: oauth.UpstreamError, wait: "120"},
	"500":                          {fault: authtest.Unavailable(500, ""), reason: oauth.UpstreamError},
	"504":                          {fault: authtest.Unavailable(504, ""), reason: oauth.UpstreamInDoubt, doubt: true},
	"HTML with 200":                {fault: authtest.HTML(), reason: oauth.UpstreamBadAnswer, doubt: true},
	"JSON without tokens":          {fault: authtest.Fault{Status: 200, Body: `{"hello":"world"}`}, reason: oauth.UpstreamBadAnswer, doubt: true},
	"reset before it took effect":  {fault: authtest.Fault{Reset: true}, reason: oauth.UpstreamInDoubt, doubt: true},
	"reset after it took effect":   {fault: authtest.Fault{Reset: true, After: true}, reason: oauth.UpstreamInDoubt, doubt: true},
	"answer cut":                   {fault: authtest.Fault{Cut: 20}, reason: oauth.UpstreamInDoubt, doubt: true},
	"hangs":                        {fault: authtest.Fault{Hang: true}, reason: oauth.UpstreamInDoubt, doubt: true},
	"redirect":                     {fault: authtest.Fault{Status: 302, Header: http.Header{"Location": {"/elsewhere"}}}, reason: oauth.UpstreamConfig, alarm: true},
	"id_token of another audience": {set: badIDToken(func(t *authtest.IDToken) { t.Claims["aud"] = "other" }), alarm: true},
}

func badIDToken(change func(*authtest.IDToken)) func(*authtest.Behaviour) {
	return func(b *authtest.Behaviour) { b.IDToken = change }
}

func TestProviderAnswers(t *testing.T) {
	for name, row := range outcomes {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, authtest.ServerOptions{Upstream: func(c *upstream.Config) {
				if row.fault.Hang {
					c.Timeout = oauth.Duration(5 * time.Second) // for a busy machine to get as far as sending
				}
			}})
			r.due()
			if row.set != nil {
				r.Provider.Set(row.set)
			} else if row.reason != "" {
				row.fault.Times = 1
				r.Provider.Break(authtest.Token, refreshes(row.fault))
			}
			row.play(r)
			if alarms := strings.Contains(r.Log.String(), `"level":"ERROR"`); alarms != row.alarm {
				t.Errorf("alarm %v, want %v\n%s", alarms, row.alarm, r.Log)
			}
			r.check()
		})
	}
}

// play asks as a tool does, then as a client does, and compares.
func (row outcome) play(r *rig) {
	before, asked := r.record(r.id), r.asked()
	r.token(r.id, string(row.reason))
	r.expectAsked(asked, 1)
	u := r.record(r.id)
	switch {
	case row.reason == "":
		if u.Gen != before.Gen+1 || u.Intent != nil || u.Trouble != "" || u.Refresh == "" || u.KeepaliveAt.IsZero() {
			r.t.Errorf("after a good answer: generation %d after %d, intent %v, trouble %q, keep-alive %s",
				u.Gen, before.Gen, u.Intent, u.Trouble, u.KeepaliveAt)
		}
		r.renewed()
	case row.ends:
		r.ended(r.id, row.reason)
		r.refused(r.refresh(r.c.Refresh), http.StatusBadRequest, oauth.InvalidGrant, "grant_ended "+string(row.reason))
		r.calls(r.c.Access, "grant_ended "+string(row.reason))
	default:
		row.trouble(r, before.Refresh)
	}
	r.expectAsked(asked, 1)
}

// trouble: nothing is spent, the client goes on, the record says why, and whether the token may be spent.
func (row outcome) trouble(r *rig, sent oauth.Secret) {
	u := r.record(r.id)
	if u.Trouble != row.reason || u.TroubleSince.IsZero() || u.InDoubt != row.doubt || u.Refresh != sent {
		r.t.Errorf("trouble %q since %s, in doubt %v", u.Trouble, u.TroubleSince, u.InDoubt)
	}
	if (u.Intent != nil) != row.doubt {
		r.t.Errorf("intent %v although the answer is known = %v", u.Intent, !row.doubt)
	}
	if r.noted(r.id, row.reason) != 1 {
		r.t.Errorf("the journal does not say %s", row.reason)
	}
	if row.wait != "" {
		r.retryAfter(row.wait)
	}
	a := r.renewed() // §5.4: the client is answered through it
	if a.ExpiresIn != 600 {
		r.t.Errorf("expires_in %d in an outage, want 600 [C9]", a.ExpiresIn)
	}
	if r.noted(r.id, oauth.RefreshOutage) != 1 {
		r.t.Error("the journal does not say refresh_outage")
	}
	r.calls(r.c.Access, "")
}

// retryAfter compares the Retry-After that a quarantined or past-grace client gets from the grant's pause, to a second.
func (r *rig) retryAfter(want string) {
	r.t.Helper()
	_, err := r.Auth.UpstreamToken(r.t.Context(), r.id)
	e, ok := err.(*oauth.Error)
	seconds, _ := time.ParseDuration(want + "s")
	if !ok || e.RetryAfter < seconds {
		r.t.Errorf("wait %v, want at least %s", err, seconds)
	}
}

// Another subject or issuer in the id_token: the tokens are sealed away and used by nobody, until an operator ends the
// grant; a new login makes a new one (§8.2).
func TestQuarantine(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{})
	lost := r.c.Refresh
	r.renewed()
	r.due()
	r.Provider.Set(badIDToken(func(t *authtest.IDToken) { t.Claims["sub"] = "sub-mallory" }))
	kept := r.record(r.id)
	r.token(r.id, "subject_changed")
	u := r.record(r.id)
	if !u.Quarantined || u.Gen != kept.Gen+1 || u.Refresh == kept.Refresh || !u.KeepaliveAt.IsZero() {
		t.Errorf("record: quarantined %v, generation %d, keep-alive %s", u.Quarantined, u.Gen, u.KeepaliveAt)
	}
	if id, err := r.Store.Identity(r.id); err != nil || id.Subject != "sub-alice" {
		t.Errorf("identity %q, %v", id.Subject, err)
	}
	r.Restart()
	r.Provider.Set(func(b *authtest.Behaviour) { b.IDToken = nil })
	asked := r.asked()
	for range 3 {
		r.refused(r.refresh(r.c.Refresh), http.StatusServiceUnavailable, oauth.TemporarilyUnavailable, "subject_changed")
		r.refused(r.refresh(lost), http.StatusServiceUnavailable, oauth.TemporarilyUnavailable, "subject_changed") // row 6 too
		if _, status, reason := r.Call(r.c.Access); status != http.StatusServiceUnavailable || reason != "subject_changed" {
			t.Errorf("call: %d %s", status, reason)
		}
		r.token(r.id, "subject_changed")
		r.Clock.Advance(30 * time.Hour)
		r.step()
		r.c.Access = forged{}.token(r) // one that has not expired
	}
	r.expectAsked(asked, 0)
	fresh, _ := r.login("alice")
	r.calls(fresh.Access, "")
}

// An id_token signed with a key that we have not seen yet: tokens first, then the key, then the verdict, and nobody
// uses the tokens before it (§8.1 rule 5).
func TestUnknownKeyIsFetchedAfterTheCommit(t *testing.T) {
	for name, row := range map[string]struct {
		set    func(*authtest.IDToken)
		reason string
	}{
		"good":           {func(*authtest.IDToken) {}, ""},
		"another person": {func(t *authtest.IDToken) { t.Claims["sub"] = "sub-mallory" }, "subject_changed"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, authtest.ServerOptions{})
			r.due()
			r.Provider.SetUser(authtest.User{Name: "alice", Password: "alice-pw", Groups: []string{"moved"}})
			r.Provider.Set(badIDToken(row.set))
			r.must(r.Provider.RotateKey(true))
			gate := authtest.NewGate()
			r.Provider.Break(authtest.JWKS, authtest.Fault{Gate: gate})
			before := r.record(r.id)
			got, late := make(chan struct{}), make(chan struct{})
			go func() { defer close(got); r.token(r.id, row.reason) }()
			r.arrived(gate)
			if u := r.record(r.id); u.Gen != before.Gen+1 || u.Intent != nil {
				t.Error("the tokens are not on disk while the key is fetched")
			}
			go func() { defer close(late); r.token(r.id, row.reason) }() // must wait for the verdict
			gate.Open()
			<-got
			<-late
			id, err := r.Store.Identity(r.id)
			r.must(err)
			if renewed := len(id.Groups) == 1 && id.Groups[0] == "moved"; renewed != (row.reason == "") {
				t.Errorf("groups %v", id.Groups)
			}
			r.lives(r.id)
		})
	}
}

// Access rules are judged again on renewed claims, never on claims that could not be verified (§8.1 rule 9).
func TestAccessRuleOnRenewal(t *testing.T) {
	sales := authtest.ServerOptions{Auth: func(o *auth.Options) { o.Access.Groups = []string{"sales"} }}
	t.Run("moved out", func(t *testing.T) {
		r := newRig(t, sales)
		r.due()
		r.Provider.SetUser(authtest.User{Name: "alice", Password: "alice-pw", Groups: []string{"finance"}})
		r.refused(r.refresh(r.c.Refresh), http.StatusBadRequest, oauth.InvalidGrant, "grant_ended access_rule")
		r.ended(r.id, oauth.AccessRule)
		r.step()
		if n := r.Provider.Count(authtest.Revoke); n != 1 {
			t.Errorf("%d revocations", n)
		}
	})
	t.Run("unverified claims", func(t *testing.T) {
		r := newRig(t, sales)
		r.due()
		r.Provider.SetUser(authtest.User{Name: "alice", Password: "alice-pw", Groups: []string{"finance"}})
		r.Provider.Set(badIDToken(func(t *authtest.IDToken) { t.Claims["aud"] = "other" }))
		r.renewed()
		r.lives(r.id)
	})
}

// A wrong or empty database behind the provider's name ends nobody; a grant that it alone forgot ends, but only at a
// second refusal suspect_after later (§8.2).
func TestSuspects(t *testing.T) {
	for name, row := range map[string]struct {
		grants  int
		others  bool // some other grant is served meanwhile
		restart bool
		reason  oauth.Reason
	}{
		"one grant":                         {1, false, false, oauth.UpstreamRejected},
		"one grant, restarted":              {1, false, true, ""},
		"five grants":                       {5, false, false, ""},
		"five grants while others are well": {5, true, false, oauth.UpstreamRejected},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, authtest.ServerOptions{})
			ids := []string{r.id}
			for len(ids) < row.grants {
				_, id := r.login("alice")
				ids = append(ids, id)
			}
			r.Provider.Forget()
			_, other := r.login("bob")
			r.due()
			ask := func(reason oauth.Reason) {
				for _, id := range ids {
					r.token(id, string(reason))
					r.lives(id)
				}
			}
			ask(oauth.UpstreamSuspect)
			r.Clock.Advance(9 * time.Minute)
			ask(oauth.UpstreamSuspect) // too early for a second verdict
			if row.others {
				r.token(other, "")
			}
			if row.restart {
				r.Restart()
			}
			r.Clock.Advance(3 * time.Minute)
			for _, id := range ids {
				_, _ = r.Auth.UpstreamToken(t.Context(), id)
				r.ended(id, row.reason)
			}
			if alarm := strings.Contains(r.Log.String(), "wrong or empty database"); alarm != (row.grants == 5 && !row.others) {
				t.Errorf("alarm %v", alarm)
			}
		})
	}
}
