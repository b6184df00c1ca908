package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

// protocol.md §4.4: what goes to the provider, and nothing else.
func TestAuthURL(t *testing.T) {
	r := newRig(t)
	request := upstream.AuthRequest{State: "s1", Nonce: "n1", Verifier: strings.Repeat("v", 43)}
	for _, row := range []struct {
		name   string
		signIn bool
		scope  string
	}{
		{"a grant", false, "openid offline_access"},
		{"a sign-in to the status page leaves offline_access out (§4.3)", true, "openid"},
	} {
		t.Run(row.name, func(t *testing.T) {
			request.SignIn = row.signIn
			address, err := r.up.AuthURL(context.Background(), request)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(address, r.idp.Issuer+"/authorize?") {
				t.Errorf("goes to %s", address)
			}
			want := map[string]string{
				"response_type": "code", "client_id": r.idp.ClientID, "redirect_uri": redirectURI, "scope": row.scope,
				"state": "s1", "nonce": "n1", "code_challenge": oauth.S256(request.Verifier), "code_challenge_method": "S256",
			}
			got := query(t, address)
			if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, slices.Sorted(maps.Keys(want))) {
				t.Errorf("parameters %v", keys)
			}
			for name, value := range want {
				if got.Get(name) != value || len(got[name]) != 1 {
					t.Errorf("%s = %q, want %q", name, got[name], value)
				}
			}
		})
	}
}

// A whole login: what is sent at the exchange, and what comes back.
func TestExchange(t *testing.T) {
	r := newRig(t, authtest.With(func(b *authtest.Behaviour) {
		b.UserClaims = func(u authtest.User, m map[string]any) { m["secret_claim"], m["groups"] = "x", []any{"/sales", 7} }
	}))
	a := r.login()
	call := r.idp.Calls(authtest.Token)[0]
	if !call.Basic || call.Form.Has("client_secret") {
		t.Error("the client did not authenticate by Basic alone (RFC 6749 §2.3)")
	}
	if want := []string{"code", "code_verifier", "grant_type", "redirect_uri"}; !slices.Equal(slices.Sorted(maps.Keys(call.Form)), want) {
		t.Errorf("sent %v, want %v", slices.Sorted(maps.Keys(call.Form)), want)
	}
	c := a.Claims
	if c.Subject != "sub-alice" || c.Issuer != r.idp.Issuer || c.Nonce != "nonce-1" || c.Sid == "" || c.Email != "alice@example.com" ||
		!c.EmailVerified || c.Name != "alice example" || c.PreferredUsername != "alice" {
		t.Errorf("claims %+v", c)
	}
	if !slices.Equal(c.Groups, []string{"/sales"}) {
		t.Errorf("groups %q, want the path as sent", c.Groups)
	}
	want := `{"name":"alice example","preferred_username":"alice","email":"alice@example.com","groups":["/sales",7]}`
	if string(c.Raw) != want {
		t.Errorf("raw claims %s, want only the configured ones, %s", c.Raw, want)
	}
}

func TestClaimForms(t *testing.T) {
	for _, row := range []struct {
		name     string
		groups   any
		verified any
		want     []string
		is       bool
	}{
		{"array and true", []string{"a", "b"}, true, []string{"a", "b"}, true},
		{"one string", "a", "true", []string{"a"}, true},
		{"none", nil, nil, nil, false},
		{"an object is no group", map[string]int{"a": 1}, 1, nil, false},
		{"False", []string{}, "TRUE", nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, authtest.With(func(b *authtest.Behaviour) {
				b.UserClaims = func(_ authtest.User, m map[string]any) { m["groups"], m["email_verified"] = row.groups, row.verified }
			}))
			c := r.login().Claims
			if !slices.Equal(c.Groups, row.want) || c.EmailVerified != row.is {
				t.Errorf("groups %q, verified %v", c.Groups, c.EmailVerified)
			}
		})
	}
}

// Lifetimes as the answer states them (protocol.md §4.5, §8.1; RFC 6749 §5.1).
func TestLifetimes(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(1_800_000_000, 0).Add(time.Duration(s) * time.Second) }
	for _, row := range []struct {
		name             string
		change           map[string]any
		expires, refresh time.Time
		offline          bool
	}{
		{"Keycloak, offline", map[string]any{"expires_in": 300, "refresh_expires_in": 0}, at(300), time.Time{}, true},
		{"Keycloak, online", map[string]any{"scope": "openid", "refresh_expires_in": 1800}, at(300), at(1800), false},
		{"refresh_expires_in absent, scope says offline", map[string]any{"refresh_expires_in": nil}, at(300), time.Time{}, true},
		{"refresh_expires_in absent, online", map[string]any{"refresh_expires_in": nil, "scope": "openid"}, at(300), time.Time{}, false},
		{"refresh_expires_in 0 without the scope", map[string]any{"refresh_expires_in": 0, "scope": "openid"}, at(300), time.Time{}, true},
		{"offline with a maximum", map[string]any{"refresh_expires_in": 3600}, at(300), at(3600), true},
		{"expires_in in quotes", map[string]any{"expires_in": "60"}, at(60), time.Time{}, true},
		{"expires_in with a fraction", map[string]any{"expires_in": 60.7}, at(60), time.Time{}, true},
		{"expires_in absent", map[string]any{"expires_in": nil}, time.Time{}, time.Time{}, true},
		{"expires_in odd costs nothing else", map[string]any{"expires_in": []int{1}}, time.Time{}, time.Time{}, true},
		{"expires_in beyond reason", map[string]any{"expires_in": 1e300}, at(100 * 365 * 24 * 3600), time.Time{}, true},
		{"negative is not stated", map[string]any{"expires_in": -5, "refresh_expires_in": -5, "scope": "openid"}, time.Time{}, time.Time{}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			token := r.login().Tokens.Refresh
			r.idp.Set(func(b *authtest.Behaviour) {
				b.TokenAnswer = func(_ bool, m map[string]any) {
					for name, value := range row.change {
						if m[name] = value; value == nil {
							delete(m, name)
						}
					}
				}
			})
			a := r.refresh(token)
			r.want(a, upstream.Good, "")
			if !a.Tokens.Expires.Equal(row.expires) || !a.Tokens.RefreshExpires.Equal(row.refresh) || a.Tokens.Offline != row.offline {
				t.Errorf("%+v", a.Tokens)
			}
			if a.Tokens.Refresh == "" {
				t.Error("the refresh token is lost")
			}
		})
	}
}

// A login that comes to nothing (protocol.md §4.5).
func TestExchangeRefused(t *testing.T) {
	r := newRig(t)
	code := r.code()
	r.want(r.up.Exchange(context.Background(), code), upstream.Good, "")
	r.want(r.up.Exchange(context.Background(), code), upstream.Ended, oauth.UpstreamDenied)
	code = r.code()
	code.Verifier = strings.Repeat("w", 43)
	r.want(r.up.Exchange(context.Background(), code), upstream.Ended, oauth.UpstreamDenied)
	r.idp.Set(func(b *authtest.Behaviour) { b.NoIDToken = true })
	a := r.exchange()
	r.want(a, upstream.Unverified, oauth.IDTokenInvalid)
	if !strings.Contains(a.Err.Error(), "openid") {
		t.Errorf("an operator learns only %q", a.Err)
	}
	r.idp.Set(func(b *authtest.Behaviour) { b.NoIDToken, b.NoRefreshToken = false, true })
	if a := r.login(); a.Tokens.Refresh != "" {
		t.Error("a refresh token out of nowhere")
	}
	code = r.code()
	r.idp.Break(authtest.Token, authtest.Unavailable(503, "7"))
	a = r.up.Exchange(context.Background(), code)
	r.want(a, upstream.Trouble, oauth.UpstreamError)
	if a.RetryAfter != 7*time.Second {
		t.Errorf("Retry-After %s", a.RetryAfter)
	}
}

// client_secret_post where the provider does not take Basic; said explicitly, so that a refusal is not sent twice.
func TestAuthStyle(t *testing.T) {
	r := newRig(t, authtest.With(func(b *authtest.Behaviour) { b.AuthMethods = []string{"client_secret_post"} }))
	token := r.login().Tokens.Refresh
	r.want(r.refresh(token), upstream.Good, "")
	if err := r.up.Revoke(context.Background(), token); err != nil {
		t.Error(err)
	}
	for _, c := range r.idp.Calls(authtest.Token, authtest.Revoke) {
		if c.Basic || c.Form.Get("client_secret") == "" {
			t.Errorf("%s %s: authenticated by Basic", c.Endpoint, c.Grant)
		}
	}
	r.connect(func(o *upstream.Options) { o.Secret = "wrong" })
	before := r.idp.Count(authtest.Token)
	r.want(r.refresh(token), upstream.ConfigFault, oauth.UpstreamConfig)
	if n := r.idp.Count(authtest.Token) - before; n != 1 {
		t.Errorf("a refused refresh was sent %d times", n)
	}
}

// RFC 9207 §2.4 against what the metadata promise (protocol.md §4.5 step 5).
func TestCheckIss(t *testing.T) {
	for _, row := range []struct {
		name    string
		mode    authtest.IssMode
		iss     string
		present bool
		want    oauth.Reason
	}{
		{"right", authtest.IssOn, "I", true, ""},
		{"right, not promised", authtest.IssOff, "I", true, ""},
		{"absent, not promised", authtest.IssOff, "", false, ""},
		{"absent, promised", authtest.IssOn, "", false, oauth.UpstreamIss},
		{"another", authtest.IssOn, "I/other", true, oauth.UpstreamIss},
		{"another, not promised", authtest.IssOff, "I/other", true, oauth.UpstreamIss},
		{"with a slash", authtest.IssOn, "I/", true, oauth.UpstreamIss},
		{"empty", authtest.IssOff, "", true, oauth.UpstreamIss},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, authtest.With(func(b *authtest.Behaviour) { b.Iss = row.mode }))
			iss := strings.Replace(row.iss, "I", r.idp.Issuer, 1)
			if got := reasonOf(r.up.CheckIss(iss, row.present)); got != row.want {
				t.Errorf("reason %q, want %q", got, row.want)
			}
		})
	}
	r := newRig(t)
	r.idp.Down()
	if got := reasonOf(r.up.CheckIss("", false)); got != oauth.UpstreamUnreachable {
		t.Errorf("metadata not known: %q; an absent iss must not pass then", got)
	}
}

func reasonOf(err error) oauth.Reason {
	var f *upstream.Failure
	if errors.As(err, &f) {
		return f.Reason
	}
	if err != nil {
		return oauth.Reason("not a Failure: " + err.Error())
	}
	return ""
}

// What carries a credential shows it nowhere.
func TestRedaction(t *testing.T) {
	r := newRig(t)
	a := r.login()
	pending := r.pending(a.Tokens.Refresh)
	values := []any{
		upstream.AuthRequest{State: "hidden", Nonce: "hidden", Verifier: "hidden"},
		upstream.Callback{Code: "hidden", Verifier: "hidden", Nonce: "hidden"},
		upstream.RefreshRequest{Token: "hidden"}, a, pending,
	}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			text := fmt.Sprintf(verb, v)
			for _, secret := range []string{"hidden", a.Tokens.Access.Reveal(), a.Tokens.Refresh.Reveal(), "eyJ"} {
				if strings.Contains(text, secret) {
					t.Errorf("%T with %s shows a credential", v, verb)
				}
			}
		}
	}
}
