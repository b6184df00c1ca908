package upstream_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

const grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

// exchanges makes the provider answer token exchanges so; "" stands for a good answer.
func exchanges(status int, body string) authtest.Fault {
	return authtest.Fault{Grant: grantExchange, Status: status, Body: body, Header: http.Header{"Content-Type": {"application/json"}}}
}

const goodExchange = `{"access_token":"for-crm","issued_token_type":"urn:ietf:params:oauth:token-type:access_token",` +
	`"token_type":"bearer","expires_in":300,"refresh_token":"not-wanted"}`

// RFC 8693 §2.1: what is sent, and how we authenticate.
func TestTokenExchange(t *testing.T) {
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		t.Run(method, func(t *testing.T) {
			r := newRig(t, authtest.With(func(b *authtest.Behaviour) { b.AuthMethods = []string{method} }))
			access := r.login().Tokens.Access
			r.idp.Break(authtest.Token, exchanges(200, goodExchange))
			x, err := r.up.TokenExchange(background, access, "crm-api")
			if err != nil {
				t.Fatal(err)
			}
			if x.Access != "for-crm" || x.TokenType != "Bearer" || !x.Expires.Equal(r.clock.Now().Add(300*time.Second)) {
				t.Errorf("read %s %q %s", x.Access.Reveal(), x.TokenType, x.Expires)
			}
			calls := r.idp.Calls(authtest.Token)
			call := calls[len(calls)-1]
			for name, want := range map[string]string{
				"grant_type": grantExchange, "audience": "crm-api", "subject_token": access.Reveal(),
				"subject_token_type":   "urn:ietf:params:oauth:token-type:access_token",
				"requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
			} {
				if got := call.Form[name]; len(got) != 1 || got[0] != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			inBody := call.Form.Get("client_id") == r.idp.ClientID && call.Form.Get("client_secret") == r.idp.ClientSecret
			if basic := method == "client_secret_basic"; call.Basic != basic || inBody == basic {
				t.Errorf("authenticated with Basic %v, in the body %v", call.Basic, inBody)
			}
			if len(calls) != 2 {
				t.Errorf("%d calls of the token endpoint, want one login and one exchange", len(calls))
			}
		})
	}
}

// RFC 8693 §2.2: the answer is taken whole or not at all, and each refusal says what follows.
func TestTokenExchangeAnswers(t *testing.T) {
	r := newRig(t)
	access := r.login().Tokens.Access
	without := func(old, new string) string { return strings.Replace(goodExchange, old, new, 1) }
	refusal := func(code, words string) string {
		return `{"error":"` + code + `","error_description":"` + words + `"}`
	}
	for _, row := range []struct {
		name  string
		fault authtest.Fault
		want  oauth.Reason // "" = taken
	}{
		{"§2.2.1 no expires_in", exchanges(200, without(`"expires_in":300,`, "")), ""},
		{"§2.2.1 expires_in 0", exchanges(200, without(`300`, "0")), oauth.UpstreamBadAnswer},
		{"§2.2.1 no access_token", exchanges(200, without("access_token", "other")), oauth.UpstreamBadAnswer},
		{"§2.2.1 no issued_token_type", exchanges(200, without("issued_token_type", "other")), oauth.UpstreamBadAnswer},
		{"§2.2.1 a refresh token was issued", exchanges(200, without("type:access_token", "type:refresh_token")), oauth.UpstreamBadAnswer},
		{"§2.2.1 no token_type", exchanges(200, without(`"token_type"`, `"other"`)), oauth.UpstreamBadAnswer},
		{"§2.2.1 N_A", exchanges(200, without("bearer", "N_A")), oauth.UpstreamBadAnswer},
		{"RFC 9449 DPoP", exchanges(200, without("bearer", "DPoP")), oauth.UpstreamBadAnswer},
		{"a token with a line break", exchanges(200, without("for-crm", `for\ncrm`)), oauth.UpstreamBadAnswer},
		{"a token with a space", exchanges(200, without("for-crm", `for crm`)), oauth.UpstreamBadAnswer},
		{"a token too long for a header", exchanges(200, without("for-crm", strings.Repeat("x", 16<<10+1))), oauth.UpstreamBadAnswer},
		{"two access tokens", exchanges(200, without("{", `{"access_token":"a",`)), oauth.UpstreamBadAnswer},
		{"HTML", exchanges(200, "<html>"), oauth.UpstreamBadAnswer},
		{"too long an answer", exchanges(200, without("{", "{"+strings.Repeat(" ", 64<<10))), oauth.UpstreamBadAnswer},
		{"cut off", authtest.Fault{Grant: grantExchange, Cut: 5}, oauth.UpstreamUnreachable},
		{"a refusal cut off", authtest.Fault{Grant: grantExchange, Status: 400, Body: refusal("access_denied", ""), Cut: 9}, oauth.UpstreamUnreachable},
		{"reset", authtest.Fault{Grant: grantExchange, Reset: true}, oauth.UpstreamUnreachable},
		{"503", authtest.Unavailable(503, "7"), oauth.UpstreamError},
		{"429", authtest.Unavailable(429, ""), oauth.UpstreamError},
		{"redirect", exchanges(302, ""), oauth.UpstreamConfig},
		{"the client's secret is wrong", exchanges(401, refusal("unauthorized_client", "Invalid client")), oauth.UpstreamConfig},
		{"§2.2.2 invalid_target", exchanges(400, refusal("invalid_target", "")), oauth.UpstreamConfig},
		{"Keycloak: off", exchanges(400, refusal("invalid_request", "Standard token exchange is not enabled for the requested client")), oauth.UpstreamConfig},
		{"Keycloak: no mapper", exchanges(400, refusal("invalid_request", "Requested audience not available: crm-api")), oauth.UpstreamConfig},
		{"Keycloak: the token ran out", exchanges(400, refusal("invalid_request", "Invalid token")), oauth.UpstreamSuspect},
		{"RFC 6749 §5.2 invalid_grant", exchanges(400, refusal("invalid_grant", "")), oauth.UpstreamSuspect},
		{"access_denied", exchanges(403, refusal("access_denied", "")), oauth.ToolDenied},
		{"access_denied in the page of something in between", exchanges(503, refusal("access_denied", "")), oauth.UpstreamError},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.idp.Mend()
			r.idp.Break(authtest.Token, row.fault)
			before := r.idp.Count(authtest.Token)
			audience := "crm-api"
			if row.want == oauth.UpstreamConfig {
				audience = "payroll-api" // which nobody was given yet
			}
			x, err := r.up.TokenExchange(background, access, audience)
			if reasonOf(err) != row.want || (x.Access != "") != (row.want == "") {
				t.Errorf("got %v, %q, want %q", err, x.Access.Reveal(), row.want)
			}
			if n := r.idp.Count(authtest.Token) - before; n != 1 {
				t.Errorf("sent %d times", n)
			}
			if err != nil && (strings.Contains(err.Error(), "Standard") || strings.Contains(err.Error(), access.Reveal())) {
				t.Errorf("the provider's words or a token in %v", err)
			}
		})
	}
	if strings.Contains(r.log.String(), "for-crm") || strings.Contains(r.log.String(), access.Reveal()) {
		t.Error("a token is in the log")
	}
	r.idp.Down()
	if _, err := r.up.TokenExchange(background, access, "crm-api"); reasonOf(err) != oauth.UpstreamUnreachable {
		t.Errorf("provider down: %v", err)
	}
	var f *upstream.Failure
	r.connect(func(*upstream.Options) {})
	if _, err := r.up.TokenExchange(background, access, "crm-api"); !errors.As(err, &f) || f.Reason != oauth.UpstreamUnreachable {
		t.Errorf("no discovery: %v", err)
	}
}

// Keycloak says the same of a user without a role as of an audience that is not set up. What somebody else was given
// within the hour is set up.
func TestTokenExchangeOfAnotherUser(t *testing.T) {
	r := newRig(t)
	access := r.login().Tokens.Access
	ask := func(fault authtest.Fault) error {
		r.idp.Mend()
		r.idp.Break(authtest.Token, fault)
		_, err := r.up.TokenExchange(background, access, "payroll-api")
		return err
	}
	for _, said := range []string{`{"error":"invalid_request","error_description":"Requested audience not available: payroll-api"}`, `{"error":"invalid_target"}`} {
		refused := exchanges(400, said)
		if err := ask(refused); reasonOf(err) != oauth.UpstreamConfig {
			t.Errorf("before anybody was given one: %v", err)
		}
		if err := ask(exchanges(200, goodExchange)); err != nil {
			t.Fatal(err)
		}
		if err := ask(refused); reasonOf(err) != oauth.ToolDenied {
			t.Errorf("after somebody was: %v", err)
		}
		if err := ask(exchanges(401, `{"error":"unauthorized_client"}`)); reasonOf(err) != oauth.UpstreamConfig {
			t.Errorf("our secret is wrong: %v", err)
		}
		r.clock.Advance(time.Hour)
		if err := ask(refused); reasonOf(err) != oauth.UpstreamConfig {
			t.Errorf("long after: %v", err)
		}
	}
}
