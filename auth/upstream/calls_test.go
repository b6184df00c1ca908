package upstream_test

import (
	"errors"
	"net/http"
	"testing"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

// RFC 7009, as protocol.md §6 uses it.
func TestRevoke(t *testing.T) {
	r := newRig(t)
	token := r.login().Tokens.Refresh
	if err := r.up.Revoke(background, token); err != nil {
		t.Fatal(err)
	}
	call := r.idp.Calls(authtest.Revoke)[0]
	if call.Form.Get("token") != token.Reveal() || call.Form.Get("token_type_hint") != "refresh_token" || !call.Basic {
		t.Errorf("sent %v", call.Form)
	}
	r.want(r.refresh(token), upstream.Ended, oauth.UpstreamSessionEnded)
	for _, again := range []oauth.Secret{token, "garbage"} {
		if err := r.up.Revoke(background, again); err != nil {
			t.Errorf("200 with an error inside: %v", err)
		}
	}
	r.idp.Break(authtest.Revoke, authtest.Fault{Body: "cut off", Cut: 3})
	if err := r.up.Revoke(background, token); err != nil {
		t.Errorf("200 with a body that breaks off: %v", err)
	}
	for want, fault := range map[oauth.Reason]authtest.Fault{
		oauth.UpstreamError:       authtest.Unavailable(503, ""),
		oauth.UpstreamConfig:      authtest.Unavailable(400, ""),
		oauth.UpstreamUnreachable: {Reset: true},
	} {
		r.idp.Mend()
		r.idp.Break(authtest.Revoke, fault)
		if got := reasonOf(r.up.Revoke(background, token)); got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
	}
	r = newRig(t, authtest.With(func(b *authtest.Behaviour) { b.NoRevocation = true }))
	if err := r.up.Revoke(background, token); !errors.Is(err, upstream.ErrNoRevocation) {
		t.Errorf("no revocation_endpoint: %v", err)
	}
}

// OpenID Connect Core §5.3.
func TestUserinfo(t *testing.T) {
	r := newRig(t)
	access := r.login().Tokens.Access
	body, status, err := r.up.Userinfo(background, access)
	if err != nil || status != 200 || upstream.Subject(body) != "sub-alice" {
		t.Fatalf("%d %v %s", status, err, body)
	}
	for _, row := range []struct {
		name   string
		fault  authtest.Fault
		status int
		want   oauth.Reason
	}{
		{"HTML", authtest.HTML(), 200, oauth.UpstreamBadAnswer},
		{"no sub", authtest.Fault{Body: `{"name":"x"}`}, 200, oauth.UpstreamBadAnswer},
		{"two subs", authtest.Fault{Body: `{"sub":"a","sub":"b"}`}, 200, oauth.UpstreamBadAnswer},
		{"503", authtest.Unavailable(503, ""), 503, oauth.UpstreamError},
		{"403, no openid in the token", authtest.Unavailable(403, ""), 403, oauth.UpstreamConfig},
		{"reset", authtest.Fault{Reset: true}, 0, oauth.UpstreamUnreachable},
		{"redirect", authtest.Fault{Status: 302, Header: http.Header{"Location": {"/jwks"}}}, 302, oauth.UpstreamConfig},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.idp.Mend()
			r.idp.Break(authtest.Userinfo, row.fault)
			body, status, err := r.up.Userinfo(background, access)
			if body != nil || status != row.status || reasonOf(err) != row.want {
				t.Errorf("%d %v %s", status, err, body)
			}
		})
	}
	r.idp.Mend()
	r.idp.EndSession("alice", "")
	if _, status, err := r.up.Userinfo(background, access); status != 401 || err == nil {
		t.Errorf("a dead token: %d %v", status, err)
	}
	r = newRig(t, authtest.With(func(b *authtest.Behaviour) { b.NoUserinfo = true }))
	if _, _, err := r.up.Userinfo(background, access); !errors.Is(err, upstream.ErrNoUserinfo) {
		t.Errorf("no userinfo_endpoint: %v", err)
	}
}
