package auth_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

// protocol.md §5.1: every cell of the table, with what the challenge must and must not be.
func TestClientAuthentication(t *testing.T) {
	const secret = "s3cret +%&/:ü"
	confidential := auth.RegisteredClient{ID: "https://conf.example/ c", Name: "Confidential", RedirectURIs: []string{"https://a.example/cb"}, Secret: secret}
	r := newLogin(t, known(confidential))
	id, conf := r.c.ID, confidential.ID
	basic := func(user, password string) string {
		req := &http.Request{Header: http.Header{}}
		req.SetBasicAuth(user, password)
		return req.Header.Get("Authorization")
	}
	enc := url.QueryEscape
	const ok, denied, malformed = "ok", "401", "400"
	for _, row := range []struct {
		what, header, id, secret, want string
	}{
		{"public: body, no secret", "", id, "", ok},
		{"public: Basic, empty secret (go-sdk)", basic(enc(id), ""), "", "", ok},
		{"public: the same, id in the body too", basic(enc(id), ""), id, "", ok},
		{"public: Basic with secret", basic(enc(id), "x"), "", "", denied},
		{"public: secret in body", "", id, "x", denied},
		{"confidential: body, no secret", "", conf, "", denied},
		{"confidential: Basic, empty secret", basic(enc(conf), ""), "", "", denied},
		{"confidential: the same, id in the body too", basic(enc(conf), ""), conf, "", denied},
		{"confidential: Basic, encoded (RFC 6749 §2.3.1)", basic(enc(conf), enc(secret)), "", "", ok},
		{"confidential: Basic, raw secret (TypeScript SDK)", basic(enc(conf), secret), "", "", ok},
		{"confidential: Basic, wrong secret", basic(enc(conf), "wrong"), "", "", denied},
		{"confidential: body", "", conf, secret, ok},
		{"confidential: body, wrong", "", conf, secret + " ", denied},
		{"confidential: Basic and id in the body", basic(enc(conf), enc(secret)), conf, "", ok},
		{"two secrets", basic(enc(conf), enc(secret)), conf, secret, malformed},
		{"two secrets, public", basic(enc(id), "x"), id, "x", malformed},
		{"two ids", basic(enc(conf), enc(secret)), id, "", malformed},
		{"two ids, public", basic(enc(id), ""), conf, "", malformed},
		{"no id", "", "", "", malformed},
		{"no id but a secret", "", "", secret, malformed},
		{"Basic, no user", basic("", "x"), "", "", malformed},
		{"Basic, user not form-encoded", basic("%zz", ""), "", "", malformed},
		{"Basic, not base64", "Basic !", "", "", malformed},
		{"Basic, no colon", "Basic YQ==", "", "", malformed},
		{"unknown client", "", "hmcp_ci_AAAAAAAAAAAAAAAAAAAAAA", "", denied},
		{"unknown client, Basic", basic("nobody", "x"), "", "", denied},
		{"endless client", "", strings.Repeat("x", 10_000), "", denied},
		{"Bearer (§5.5 method)", "Bearer x", id, "", denied},
	} {
		for _, path := range []string{"/token", "/revoke"} {
			form := url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "code_verifier": {strings.Repeat("v", 43)}, "token": {"x"}}
			form = changed(form, "client_id", row.id, "client_secret", row.secret)
			var headers []string
			if row.header != "" {
				headers = []string{"Authorization", row.header}
			}
			a := r.post(path, form, headers...)
			got := map[string]string{"200 ": ok, "400 invalid_grant": ok, "401 invalid_client": denied, "400 invalid_request": malformed}[strconv.Itoa(a.status)+" "+a.code]
			if got != row.want {
				t.Errorf("%s %s: %d %s, want %s", path, row.what, a.status, a.body, row.want)
			}
			challenge := ""
			if a.status == 401 && strings.HasPrefix(row.header, "Basic") {
				challenge = `Basic realm="hostedmcp"`
			}
			if c := a.header.Get("WWW-Authenticate"); c != challenge {
				t.Errorf("%s %s: challenge %q", path, row.what, c)
			}
		}
	}
	twice := http.Header{"Authorization": {basic(enc(id), ""), basic(enc(id), "")}}
	if a := r.post("/token", url.Values{"grant_type": {"x"}}, "Authorization", twice["Authorization"][0], "Authorization", twice["Authorization"][1]); a.status != 400 {
		t.Errorf("two headers: %d", a.status)
	}
	r.hidden(secret)
	if strings.Contains(r.Log.String(), strings.Repeat("x", 600)) {
		t.Error("an endless client_id is in the log")
	}
}

// protocol.md §5.1: nothing is spent before the client is authenticated.
func TestClientAuthenticationFirst(t *testing.T) {
	conf := auth.RegisteredClient{ID: "conf", Name: "Confidential", RedirectURIs: []string{"http://127.0.0.1/cb"}, Secret: "right"}
	r := newLogin(t, known(conf))
	r.c.ID, r.c.RedirectURI = "conf", "http://127.0.0.1:7777/cb"
	a := r.c.Begin()
	form := r.redemption(a, r.code(a))
	r.unwritten("a wrong secret", func() {
		r.post("/token", changed(form, "client_secret", "wrong")).refused(t, 401, oauth.InvalidClient, oauth.ClientAuthFailed)
		r.post("/token", form).refused(t, 401, oauth.InvalidClient, oauth.ClientAuthFailed)
	})
	got := r.post("/token", changed(form, "client_secret", "right"))
	if got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	r.post("/token", form).refused(t, 401, oauth.InvalidClient, oauth.ClientAuthFailed) // a replay without the secret
	if g := r.grant(); g.Ended != "" {
		t.Errorf("ended by %s", g.Ended)
	}
}
