package auth_test

import (
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
)

// redemption is the form of a code's redemption.
func (r *loginRig) redemption(a authtest.Attempt, code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {a.Verifier},
		"redirect_uri": {r.c.RedirectURI}, "client_id": {r.c.ID}, "resource": {r.Issuer + "/mcp"},
	}
}

// changed is a copy of a form with other values; "" removes one.
func changed(form url.Values, pairs ...string) url.Values {
	out := url.Values{}
	for k, v := range form {
		out[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		if out.Del(pairs[i]); pairs[i+1] != "" {
			out.Set(pairs[i], pairs[i+1])
		}
	}
	return out
}

// protocol.md §5.2 and §5.5: whatever is wrong costs nothing: the right redemption still works after all of them. Once
// it was redeemed, the same faults have no effect on the grant either: codes lie in histories, client ids are public.
func TestRedeemRefused(t *testing.T) {
	r := newLogin(t, known(knownWeb))
	other := r.client()
	r.must(other.Register("Other client"))
	a := r.c.Begin()
	code := r.code(a)
	form := r.redemption(a, code)
	rows := []struct {
		what   string
		form   url.Values
		code   oauth.Code
		reason oauth.Reason
	}{
		{"no verifier (RFC 7636 §4.5)", changed(form, "code_verifier", ""), oauth.InvalidRequest, oauth.RequestInvalid},
		{"no code", changed(form, "code", ""), oauth.InvalidRequest, oauth.RequestInvalid},
		{"no grant_type", changed(form, "grant_type", ""), oauth.InvalidRequest, oauth.RequestInvalid},
		{"grant_type", changed(form, "grant_type", "client_credentials"), oauth.UnsupportedGrantType, oauth.RequestInvalid},
		{"other verifier", changed(form, "code_verifier", strings.Repeat("v", 43)), oauth.InvalidGrant, oauth.PKCEFailed},
		{"the challenge as verifier", changed(form, "code_verifier", oauth.S256(a.Verifier)), oauth.InvalidGrant, oauth.PKCEFailed},
		{"short verifier", changed(form, "code_verifier", "v"), oauth.InvalidGrant, oauth.PKCEFailed},
		{"verifier of 129", changed(form, "code_verifier", strings.Repeat("v", 129)), oauth.InvalidGrant, oauth.PKCEFailed},
		{"other client", changed(form, "client_id", other.ID), oauth.InvalidGrant, oauth.CodeInvalid},
		{"known client", changed(form, "client_id", "known-web"), oauth.InvalidGrant, oauth.CodeInvalid},
		{"other redirect_uri", changed(form, "redirect_uri", "http://127.0.0.1:33418/"), oauth.InvalidGrant, oauth.CodeInvalid},
		{"other loopback port: bytes count here (§3.2)", changed(form, "redirect_uri", "http://127.0.0.1:33419/callback"), oauth.InvalidGrant, oauth.CodeInvalid},
		{"foreign resource", changed(form, "resource", "https://b.example/mcp"), oauth.InvalidTarget, oauth.TargetInvalid},
		{"forged code", changed(form, "code", "hmcp_ac_"+strings.Repeat("A", 43)), oauth.InvalidGrant, oauth.CodeInvalid},
		{"altered code", changed(form, "code", code[:len(code)-1]), oauth.InvalidGrant, oauth.CodeInvalid},
		{"code without prefix", changed(form, "code", code[8:]), oauth.InvalidGrant, oauth.CodeInvalid},
	}
	all := func(when string) {
		for _, row := range rows {
			r.unwritten(when+" "+row.what, func() {
				if !r.post("/token", row.form).refused(t, 400, row.code, row.reason) {
					t.Log(when, row.what)
				}
			})
		}
	}
	all("fresh:")
	twice := form.Encode() + "&code=" + code
	r.do("POST", "/token", twice, "Content-Type", "application/x-www-form-urlencoded").refused(t, 400, oauth.InvalidRequest, oauth.RequestInvalid)
	if a := r.post("/token?client_id="+r.c.ID, form); a.status != 400 {
		t.Errorf("query on POST: %d", a.status)
	}
	tokens, err := r.c.Redeem(a, code)
	if err != nil || tokens.Status != 200 {
		t.Fatalf("the right one: %v %+v", err, tokens)
	}
	all("redeemed:")
	if _, status, reason := r.Call(r.c.Access); status != 200 {
		t.Errorf("a wrong replay ended the grant: %d %s", status, reason)
	}
}

// RFC 7636 §4.1: a verifier under 43 characters can be guessed; it is refused although its challenge is right.
func TestRedeemShortVerifier(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	a := r.c.Begin("code_challenge", oauth.S256("guess"))
	a.Verifier = "guess"
	r.post("/token", r.redemption(a, r.code(a))).refused(t, 400, oauth.InvalidGrant, oauth.PKCEFailed)
}

// protocol.md §5.5: the answer of a good redemption, and the forms that clients send (§3.5).
func TestRedeemAnswer(t *testing.T) {
	for what, change := range map[string][]string{
		"as it comes": nil, "no redirect_uri [C6]": {"redirect_uri", ""}, "no resource (go-sdk)": {"resource", ""},
		"resource with a slash": {"resource", "/"},
	} {
		t.Run(what, func(t *testing.T) {
			r := newLogin(t, authtest.ServerOptions{})
			a := r.c.Begin("scope", "mcp offline_access")
			form := changed(r.redemption(a, r.code(a)), change...)
			if form.Get("resource") == "/" {
				form.Set("resource", r.Issuer+"/mcp/")
			}
			got := r.post("/token", form)
			m := got.object(t)
			if got.status != 200 || got.header.Get("Cache-Control") != "no-store" || got.header.Get("Access-Control-Allow-Origin") != "*" {
				t.Fatalf("%d %v %s", got.status, got.header, got.body)
			}
			refresh, _ := m["refresh_token"].(string)
			if m["token_type"] != "Bearer" || m["expires_in"] != 3600.0 || m["scope"] != "mcp offline_access" ||
				!strings.HasPrefix(refresh, "hmcp_rt_") || len(m) != 5 {
				t.Errorf("answer %v", m)
			}
			id, status, _ := r.Call(m["access_token"].(string))
			if status != 200 || id.Subject != "sub-alice" || id.ClientID != r.c.ID {
				t.Errorf("call: %d %+v", status, id)
			}
		})
	}
}

// protocol.md §5.2: a redeemed code again, with client, redirect_uri and verifier right, ends the grant and its access
// tokens; the upstream token goes back. Also after a restart, and not past code_memory.
func TestRedeemReplay(t *testing.T) {
	for _, row := range []struct {
		what   string
		change []string
		after  time.Duration
		ends   bool
	}{
		{"at once", nil, 0, true},
		{"without redirect_uri", []string{"redirect_uri", ""}, time.Minute, true},
		{"within code_memory", nil, 24*time.Hour - time.Second, true},
		{"past code_memory", nil, 24*time.Hour + time.Second, false},
	} {
		t.Run(row.what, func(t *testing.T) {
			r := newLogin(t, authtest.ServerOptions{})
			a := r.c.Begin()
			code := r.code(a)
			tokens, err := r.c.Redeem(a, code)
			r.must(err)
			r.Restart()
			r.Clock.Advance(row.after)
			again := r.post("/token", changed(r.redemption(a, code), row.change...))
			if !row.ends {
				again.refused(t, 400, oauth.InvalidGrant, oauth.CodeInvalid)
				if g := r.grant(); g.Ended != "" {
					t.Errorf("ended by %s", g.Ended)
				}
				return
			}
			again.refused(t, 400, oauth.InvalidGrant, oauth.CodeReplay)
			if g := r.grant(); g.Ended != oauth.CodeReplay {
				t.Errorf("ended by %q", g.Ended)
			}
			if _, status, reason := r.Call(tokens.Access); status != 401 || row.after < time.Hour && !strings.HasPrefix(reason, "grant_ended code_replay") {
				t.Errorf("its access token: %d %s", status, reason)
			}
			if after, err := r.c.Renew(); err != nil || after.Error != "invalid_grant" {
				t.Errorf("its refresh token: %v %+v", err, after)
			}
			r.must(r.Auth.Step(t.Context()))
			if n := len(r.Provider.Revoked()); n != 1 {
				t.Errorf("%d upstream tokens given back", n)
			}
		})
	}
}

// protocol.md §5.2: code_ttl, and login_unclaimed when nobody came.
func TestRedeemExpired(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	a := r.c.Begin()
	code := r.code(a)
	r.Clock.Advance(61 * time.Second)
	r.post("/token", r.redemption(a, code)).refused(t, 400, oauth.InvalidGrant, oauth.CodeExpired)
	r.must(r.Auth.Step(t.Context()))
	if g := r.grant(); g.Ended != oauth.LoginUnclaimed {
		t.Errorf("ended by %q", g.Ended)
	}
	r.post("/token", r.redemption(a, code)).refused(t, 400, oauth.InvalidGrant, oauth.CodeInvalid)
	if n := len(r.Provider.Revoked()); n != 1 {
		t.Errorf("%d upstream tokens given back", n)
	}
}

// protocol.md §5.2: a code of a grant that ended meanwhile says how.
func TestRedeemEnded(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	a := r.c.Begin()
	code := r.code(a)
	_, err := r.Store.EndSubject(t.Context(), "sub-alice", oauth.UserRevoked, r.event())
	r.must(err)
	got := r.post("/token", r.redemption(a, code))
	if got.status != 400 || got.code != "invalid_grant" || got.reason != "grant_ended user_revoked" {
		t.Errorf("answer %d %s", got.status, got.body)
	}
}

// protocol.md §5.2: of many at once one gets tokens, and the others end the grant: they hold all that a thief would.
func TestRedeemRace(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	a := r.c.Begin()
	form := r.redemption(a, r.code(a))
	answers := make([]reply, 8)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = r.post("/token", form) })
	}
	all.Wait()
	good := 0
	for _, a := range answers {
		if a.status == 200 {
			good++
		}
	}
	if g := r.grant(); good > 1 || g.Ended != oauth.CodeReplay {
		t.Errorf("%d pairs, grant ended by %q", good, g.Ended)
	}
}

// protocol.md §9: at grants_per_user of one client the unclaimed, then the least recently used grant goes.
func TestGrantsPerUser(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{Auth: func(o *auth.Options) { o.Clients.GrantsPerUser = 2 }})
	var access []string
	login := func() {
		t.Helper()
		r.Clock.Advance(time.Minute)
		r.must(r.c.Login())
		access = append(access, r.c.Access)
	}
	login()
	login()
	r.Clock.Advance(time.Second)
	r.Call(access[0]) // the second is now the least recently used
	login()
	for i, want := range []int{200, 401, 200} {
		if _, status, reason := r.Call(access[i]); status != want || status == 401 && reason != "grant_ended grant_evicted" {
			t.Errorf("grant %d: %d %s", i, status, reason)
		}
	}
}
