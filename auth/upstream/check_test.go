package upstream_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

// attribute changes one of the client's attributes.
func attribute(name, value string) func(*checkRig) {
	return func(r *checkRig) {
		a := maps.Clone(r.kc.client["attributes"].(map[string]any))
		a[name] = value
		r.kc.client["attributes"] = a
	}
}

func client(name string, value any) func(*checkRig) {
	return func(r *checkRig) { r.kc.client[name] = value }
}

func realm(name string, value any) func(*checkRig) {
	return func(r *checkRig) { r.kc.realm[name] = value }
}

func behave(change func(*authtest.Behaviour)) func(*checkRig) {
	return func(r *checkRig) { r.idp.Set(change) }
}

func together(a, b func(*checkRig)) func(*checkRig) {
	return func(r *checkRig) { a(r); b(r) }
}

func metadata(name string, value any) func(*checkRig) {
	return behave(func(b *authtest.Behaviour) {
		b.Metadata = func(m map[string]any) {
			if m[name] = value; value == nil {
				delete(m, name)
			}
		}
	})
}

// nothing planted: every look is made, and none finds anything to do.
func TestCheckFindsNothing(t *testing.T) {
	r := newCheckRig(t)
	findings := r.check()
	if wrong := notOK(findings); len(wrong) > 0 {
		t.Errorf("found %q in %+v", wrong, findings)
	}
	var names []string
	for _, f := range findings {
		names = append(names, f.Name)
		if f.Name == "" || f.Text == "" || f.Fix != "" {
			t.Errorf("an ok without words, or with a fix: %+v", f)
		}
	}
	for _, want := range []string{"discovery", "tls", "pkce", "iss parameter", "revocation", "key set", "client credentials",
		"redirect uri", "authorization request", "redirect uri exact", "pkce required", "realm enabled", "rotation mode",
		"redirect uris", "offline_access", "back-channel logout", "groups mapper", "access token lifespan", "daily automation",
		"weekly automation", "session max", "sign-in", "refresh token issued", "offline", "refresh", "userinfo",
		"tokens given back", "clock skew"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s was not looked at", want)
		}
	}
}

// One fault each, planted where it would be in life: the findings name it, and nothing else.
func TestCheckPlantedFaults(t *testing.T) {
	scope := func(names ...any) func(*checkRig) { return client("optionalClientScopes", names) }
	for _, row := range []struct {
		name  string
		plant func(*checkRig)
		want  []string
		fix   string // in one of the fixes
	}{
		// from outside
		{"provider down", func(r *checkRig) { r.idp.Down() }, []string{"FAIL discovery"}, "curl -v http://"},
		{"discovery answers 404", func(r *checkRig) { r.idp.Break(authtest.Discovery, authtest.Unavailable(404, "")) }, []string{"FAIL discovery"}, "curl"},
		{"another issuer", metadata("issuer", "http://127.0.0.1/realms/other"), []string{"FAIL issuer"}, "byte for byte"},
		{"no S256", metadata("code_challenge_methods_supported", []string{"plain"}), []string{"FAIL pkce"}, "S256"},
		{"PKCE not mentioned", metadata("code_challenge_methods_supported", nil), []string{"warn pkce"}, "S256"},
		{"no code flow", metadata("response_types_supported", []string{"token"}), []string{"FAIL code flow"}, "code"},
		{"no refresh", metadata("grant_types_supported", []string{"authorization_code"}), []string{"FAIL refresh grant"}, "refresh tokens"},
		{"a scope that is not there", metadata("scopes_supported", []string{"openid"}), []string{"warn scopes"}, "provider.scopes"},
		{"no revocation endpoint", behave(func(b *authtest.Behaviour) { b.NoRevocation = true }), []string{"warn revocation"}, "RFC 7009"},
		{"no userinfo endpoint", behave(func(b *authtest.Behaviour) { b.NoUserinfo = true }), []string{"warn userinfo"}, "OpenID Connect Core"},
		{"userinfo broken", func(r *checkRig) { r.idp.Break(authtest.Userinfo, authtest.Unavailable(403, "")) }, []string{"warn userinfo"}, "log"},
		{"key set empty", func(r *checkRig) { r.idp.Break(authtest.JWKS, authtest.Fault{Body: `{"keys":[]}`}) }, []string{"FAIL key set", "FAIL sign-in"}, "Realm settings > Keys"},
		{"id_tokens signed with HS256", behave(func(b *authtest.Behaviour) { b.Algs = []string{"HS256"} }), []string{"FAIL key set", "FAIL sign-in"}, "ID token signature algorithm"},
		{"token endpoint in trouble", func(r *checkRig) {
			r.idp.Break(authtest.Token, authtest.Fault{Grant: "refresh_token", Times: 1, Status: 503, Body: "x"})
		}, []string{"warn client credentials"}, "again"},
		{"client not known", func(r *checkRig) { r.config.ClientID = "other" },
			[]string{"FAIL client credentials", "FAIL client settings", "FAIL sign-in"}, "print keycloak-client"},
		{"wrong secret", func(r *checkRig) {
			r.idp.Break(authtest.Token, authtest.Fault{Status: 401, Body: `{"error":"unauthorized_client"}`})
		}, []string{"FAIL client credentials", "FAIL sign-in"}, "Credentials > Client Secret"},
		{"realm disabled, from outside", func(r *checkRig) {
			r.idp.Break(authtest.Token, authtest.Fault{Grant: "refresh_token", Times: 1, Status: 403, Body: `{"error":"access_denied"}`})
		}, []string{"FAIL client credentials"}, "Enabled"},
		{"client may not refresh", func(r *checkRig) {
			r.idp.Break(authtest.Token, authtest.Fault{Grant: "refresh_token", Times: 1, Status: 400, Body: `{"error":"unsupported_grant_type"}`})
		}, []string{"FAIL client credentials"}, "Use refresh tokens: on"},
		{"redirect URI not registered", client("redirectUris", []any{"https://mcp.example.com/callback"}),
			[]string{"FAIL redirect uri", "FAIL redirect uris"}, "Valid redirect URIs: " + redirectURI},
		{"a wildcard", client("redirectUris", []any{strings.TrimSuffix(redirectURI, "callback") + "*"}),
			[]string{"FAIL redirect uri exact", "FAIL redirect uris"}, "no entry with *"},
		{"a wildcard beside ours", client("redirectUris", []any{redirectURI, redirectURI + "*"}), []string{"FAIL redirect uri exact", "FAIL redirect uris"}, "alone"},
		{"ours without its port", client("redirectUris", []any{"http://127.0.0.1/callback"}), []string{}, ""},
		{"ours with another port", client("redirectUris", []any{"http://127.0.0.1:1/callback"}), []string{"FAIL redirect uri", "FAIL redirect uris"}, redirectURI},
		{"a page without a form", func(r *checkRig) { r.kc.elsewhere = "<h1>Something went wrong</h1>" }, []string{"warn redirect uri"}, "sign in once"},
		{"a login page elsewhere", func(r *checkRig) { r.kc.elsewhere = "https://login.example.com/?return=" + redirectURI }, []string{"warn redirect uri"}, "it must hold " + redirectURI},
		{"a second redirect URI", client("redirectUris", []any{redirectURI, "https://old.example.com/callback"}), []string{"warn redirect uris"}, "alone"},
		{"offline_access not allowed", scope(), []string{"FAIL offline_access"}, "Client scopes > Add client scope > offline_access: Optional"},
		{"offline_access by default", client("defaultClientScopes", []any{"basic", "offline_access"}), []string{"warn offline_access"}, "Assigned type: Optional"},
		{"a configured scope that the client has not", func(r *checkRig) { r.config.Scopes = append(r.config.Scopes, "crm") }, []string{"FAIL scopes", "warn scopes"}, "crm: Optional"},
		{"offline_access not asked for", func(r *checkRig) { r.config.Scopes = []string{"openid"} },
			[]string{"FAIL daily automation", "FAIL session max", "FAIL weekly automation", "warn offline", "warn offline_access"}, `add "offline_access"`},
		{"standard flow off", client("standardFlowEnabled", false), []string{"FAIL authorization request", "FAIL standard flow"}, "Standard flow: on"},
		{"PKCE plain wanted", attribute("pkce.code.challenge.method", "plain"), []string{"FAIL authorization request", "FAIL pkce"}, "PKCE Method: S256"},
		{"PKCE not required", attribute("pkce.code.challenge.method", ""), []string{"warn pkce required"}, "Require PKCE: on"},
		{"every login refused", func(r *checkRig) { r.kc.silent = func(url.Values) string { return "temporarily_unavailable" } }, []string{"FAIL authorization request"}, "log"},

		// realm
		{"a realm with long texts", realm("texts", strings.Repeat("x", 100<<10)), []string{}, ""},
		{"a realm without end", realm("texts", strings.Repeat("x", 2<<20)), []string{"warn realm settings", "warn rotation mode"}, "again"},
		{"realm disabled", realm("enabled", false), []string{"FAIL realm enabled"}, "Realm settings > Enabled"},
		{"strict rotation, not told", together(realm("revokeRefreshToken", true), behave(func(b *authtest.Behaviour) { b.Rotation = authtest.RotationStrict })),
			[]string{"FAIL rotation mode"}, `write provider.rotation = "strict", or Keycloak: Realm settings > Tokens > Refresh tokens > Revoke Refresh Token: off`},
		{"one reuse, none told", func(r *checkRig) {
			r.kc.realm["revokeRefreshToken"], r.kc.realm["refreshTokenMaxReuse"], r.config.Rotation = true, 1, upstream.RotationNone
		}, []string{"FAIL rotation mode"}, `"reuse"`},
		{"strict rotation, told", func(r *checkRig) { r.kc.realm["revokeRefreshToken"], r.config.Rotation = true, upstream.RotationStrict }, []string{"warn rotation mode"}, "Max Reuse: 1"},
		{"no rotation, strict told", func(r *checkRig) { r.config.Rotation = upstream.RotationStrict }, []string{"warn rotation mode"}, `"none"`},
		{"offline idle 1 h", realm("offlineSessionIdleTimeout", 3600), []string{"FAIL daily automation", "FAIL weekly automation"}, "Realm settings > Sessions > Offline session settings > Offline Session Idle: at least 26h"},
		{"offline idle 2 d, kept alive each day", realm("offlineSessionIdleTimeout", 2*86400), []string{}, ""},
		{"offline idle 2 d, no keep-alive", func(r *checkRig) { r.kc.realm["offlineSessionIdleTimeout"], r.config.KeepaliveOffline = 2*86400, 0 },
			[]string{"FAIL weekly automation"}, "at least 8d"},
		{"the client's own offline idle", attribute("client.offline.session.idle.timeout", "600"), []string{"FAIL daily automation", "FAIL weekly automation"},
			"Clients > hostedmcp > Advanced > Advanced settings > Client Offline Session Idle"},
		{"the realm's client offline idle", together(attribute("client.offline.session.idle.timeout", ""), realm("clientOfflineSessionIdleTimeout", 600)),
			[]string{"FAIL daily automation", "FAIL weekly automation"}, "Realm settings > Sessions > Offline session settings > Client Offline Session Idle"},
		{"offline max 60 d", realm("offlineSessionMaxLifespanEnabled", true), []string{"warn session max"}, "Offline Session Max Limited"},
		{"offline max 1 d", func(r *checkRig) {
			r.kc.realm["offlineSessionMaxLifespanEnabled"], r.kc.realm["offlineSessionMaxLifespan"] = true, 86400
		}, []string{"FAIL session max"}, "Offline Session Max Limited"},
		{"the client's offline max", together(realm("offlineSessionMaxLifespanEnabled", true), attribute("client.offline.session.max.lifespan", "3600")), []string{"FAIL session max"}, "Client Offline Session Max"},
		{"access tokens of 30 s", together(attribute("access.token.lifespan", "30"), behave(func(b *authtest.Behaviour) { b.AccessLife = 30 * time.Second })),
			[]string{"FAIL access token lifespan"}, "Access Token Lifespan"},
		{"the realm's access tokens of 90 s", together(attribute("access.token.lifespan", ""), realm("accessTokenLifespan", 90)), []string{"warn access token lifespan"}, "Realm settings > Tokens"},

		// client
		{"client disabled", client("enabled", false), []string{"FAIL client enabled"}, "top right"},
		{"a SAML client", client("protocol", "saml"), []string{"FAIL client protocol"}, "new client"},
		{"a public client", client("publicClient", true), []string{"FAIL client authentication"}, "Client authentication: on"},
		{"signed JWT wanted", client("clientAuthenticatorType", "client-jwt"), []string{"FAIL client authentication"}, "Client Authenticator"},
		{"no refresh tokens used", together(attribute("use.refresh.tokens", "false"), behave(func(b *authtest.Behaviour) { b.NoRefreshToken = true })),
			[]string{"FAIL refresh token issued", "FAIL use refresh tokens"}, "Use refresh tokens: on"},
		{"DPoP wanted", attribute("dpop.bound.access.tokens", "true"), []string{"FAIL dpop"}, "Require DPoP bound tokens: off"},
		{"mutual TLS wanted", attribute("tls.client.certificate.bound.access.tokens", "true"), []string{"FAIL mutual tls"}, "off"},
		{"pushed requests wanted", attribute("require.pushed.authorization.requests", "true"), []string{"FAIL pushed requests"}, "off"},
		{"id_token HS256", attribute("id.token.signed.response.alg", "HS256"), []string{"FAIL id_token"}, "RS256"},
		{"id_token encrypted", attribute("id.token.encrypted.response.alg", "RSA-OAEP"), []string{"FAIL id_token"}, "none"},
		{"back-channel logout URL", attribute("backchannel.logout.url", "https://mcp.example.com/logout"), []string{"warn back-channel logout"}, "Backchannel logout URL: empty"},
		{"back-channel logout of offline sessions", attribute("backchannel.logout.revoke.offline.tokens", "true"), []string{"warn back-channel logout"}, "revoke offline sessions: off"},
		{"front-channel logout", together(client("frontchannelLogout", true), attribute("frontchannel.logout.url", "https://x")), []string{"warn front-channel logout"}, "off"},
		{"consent at Keycloak too", client("consentRequired", true), []string{"warn consent required"}, "Consent required: off"},
		{"full scope", client("fullScopeAllowed", true), []string{"warn full scope"}, "Full scope allowed: off"},
		{"implicit flow", client("implicitFlowEnabled", true), []string{"warn implicit flow"}, "off"},
		{"passwords", client("directAccessGrantsEnabled", true), []string{"warn direct access grants"}, "off"},
		{"no groups mapper", client("protocolMappers", []any{}), []string{"warn groups mapper"}, "Group Membership"},
		{"groups not in the id_token", client("protocolMappers", []any{map[string]any{"config": map[string]any{"claim.name": "groups", "id.token.claim": "false"}}}),
			[]string{"FAIL groups mapper"}, "Add to ID token on"},

		// a sign-in
		{"the user denies", behave(func(b *authtest.Behaviour) { b.AuthorizeError = "access_denied" }), []string{"FAIL sign-in"}, ""},
		{"the hook fails", func(r *checkRig) {
			r.options.Login = func(string) (string, error) { return "", errors.New("no browser") }
		}, []string{"FAIL sign-in"}, ""},
		{"wrong iss in the redirect", behave(func(b *authtest.Behaviour) { b.Iss = authtest.IssWrong }), []string{"FAIL sign-in"}, ""},
		{"no id_token", behave(func(b *authtest.Behaviour) { b.NoIDToken = true }), []string{"FAIL sign-in"}, "ID token signature"},
		{"no groups in the id_token", behave(func(b *authtest.Behaviour) {
			b.UserClaims = func(_ authtest.User, m map[string]any) { delete(m, "groups") }
		}), []string{"warn groups claim"}, "Group Membership"},
		{"no refresh token", behave(func(b *authtest.Behaviour) { b.NoRefreshToken = true }), []string{"FAIL refresh token issued"}, "offline_access: Optional"},
		{"an online token of 30 min", behave(func(b *authtest.Behaviour) {
			b.TokenAnswer = func(_ bool, m map[string]any) { m["refresh_expires_in"], m["scope"] = 1800, "openid" }
		}), []string{"FAIL daily automation", "FAIL weekly automation", "warn offline"}, "use offline_access"},
		{"an offline token of 2 d", behave(func(b *authtest.Behaviour) {
			b.TokenAnswer = func(_ bool, m map[string]any) { m["refresh_expires_in"] = 2 * 86400 }
		}), []string{"FAIL weekly automation"}, "Offline Session Idle: at least 8d"},
		{"refresh refused", func(r *checkRig) {
			r.idp.Break(authtest.Token, authtest.Fault{Grant: "refresh_token", Times: 1, Status: 400, Body: `{"error":"invalid_grant"}`}) // the made-up one
			dead := authtest.InvalidGrant("Session not active")
			dead.Grant = "refresh_token"
			r.idp.Break(authtest.Token, dead)
		}, []string{"FAIL refresh"}, ""},
		{"expires_in not said", behave(func(b *authtest.Behaviour) {
			b.TokenAnswer = func(_ bool, m map[string]any) { delete(m, "expires_in") }
		}), []string{"warn access token lifespan"}, "expires_in"},
		{"revocation fails", func(r *checkRig) { r.idp.Break(authtest.Revoke, authtest.Unavailable(500, "")) }, []string{"warn tokens given back"}, "/revoke"},
		{"userinfo of another subject", func(r *checkRig) { r.idp.Break(authtest.Userinfo, authtest.Fault{Body: `{"sub":"mallory"}`}) }, []string{"FAIL userinfo"}, "subject"},

		// token exchange
		{"exchange in order", together(attribute("standard.token.exchange.enabled", "true"), func(r *checkRig) {
			r.options.Audiences = []string{"crm-api"}
			r.idp.Break(authtest.Token, exchanges(200, goodExchange))
		}), []string{}, ""},
		{"exchange off", func(r *checkRig) {
			r.options.Audiences = []string{"crm-api"}
			r.idp.Break(authtest.Token, exchanges(400, `{"error":"invalid_request","error_description":"Standard token exchange is not enabled for the requested client"}`))
		}, []string{"FAIL token exchange", "FAIL token exchange for crm-api"}, "Standard Token Exchange: on"},
		{"no audience mapper", together(attribute("standard.token.exchange.enabled", "true"), func(r *checkRig) {
			r.options.Audiences = []string{"crm-api"}
			r.idp.Break(authtest.Token, exchanges(400, `{"error":"invalid_request","error_description":"Requested audience not available: crm-api"}`))
		}), []string{"FAIL token exchange for crm-api"}, "Included Client Audience crm-api"},
		{"exchange denied to this user", together(attribute("standard.token.exchange.enabled", "true"), func(r *checkRig) {
			r.options.Audiences = []string{"crm-api"}
			r.idp.Break(authtest.Token, exchanges(403, `{"error":"access_denied"}`))
		}), []string{"warn token exchange for crm-api"}, "give the user"},

		// administration
		{"no admin client", func(r *checkRig) { r.config.AdminClientID = "" }, []string{"warn provider settings", "warn rotation mode"}, "view-realm and view-clients"},
		{"admin client's secret wrong", func(r *checkRig) { r.options.AdminSecret = "wrong" }, []string{"FAIL admin client", "warn rotation mode"}, "Service account roles: on"},
		{"admin client not known", func(r *checkRig) { r.config.AdminClientID = "nobody" }, []string{"FAIL admin client", "warn rotation mode"}, "admin_client_id"},
		{"token endpoint down for the admin client", func(r *checkRig) { r.kc.refuse["client_credentials"] = 503 }, []string{"warn admin client", "warn rotation mode"}, "again"},
		{"no view-realm", func(r *checkRig) { r.kc.refuse["demo"] = 403 }, []string{"FAIL realm settings", "warn rotation mode"}, "realm-management view-realm"},
		{"view-realm missing, Keycloak's 200", func(r *checkRig) { r.kc.realm = map[string]any{"realm": "demo"} }, []string{"FAIL realm settings", "warn rotation mode"}, "view-realm"},
		{"no view-clients", func(r *checkRig) { r.kc.refuse["clients"] = 403 }, []string{"FAIL client settings", "warn rotation mode"}, "realm-management view-clients"},
		{"administration not reachable", func(r *checkRig) { r.kc.refuse["demo"], r.kc.refuse["clients"] = 404, 404 },
			[]string{"warn client settings", "warn realm settings", "warn rotation mode"}, "/admin/realms/"},

		// clocks
		{"clock 40 s behind", func(r *checkRig) { r.now = func() time.Time { return time.Now().Add(-40 * time.Second) } }, []string{"warn clock skew"}, "timedatectl"},
		{"clock 40 s ahead", func(r *checkRig) { r.now = func() time.Time { return time.Now().Add(40 * time.Second) } }, []string{"warn clock skew"}, "timedatectl"},
		{"clock 2 min behind", func(r *checkRig) { r.now = func() time.Time { return time.Now().Add(-2 * time.Minute) } }, []string{"FAIL clock skew", "FAIL sign-in"}, "timedatectl"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newCheckRig(t)
			row.plant(r)
			findings := r.check()
			if got := notOK(findings); !slices.Equal(got, row.want) {
				t.Errorf("found %q, want %q", got, row.want)
			}
			fixes := ""
			for _, f := range findings {
				fixes += f.Fix + "\n"
				if (f.Fix == "") != (f.Level == oauth.FindingOK) || f.Text == "" {
					t.Errorf("%+v", f)
				}
			}
			if !strings.Contains(fixes, row.fix) {
				t.Errorf("no fix says %q:\n%s", row.fix, fixes)
			}
			r.checkSecrets(findings)
			r.checkSpent()
		})
	}
}

// checkSecrets: nothing that anybody could use stands in a finding or in the log.
func (r *checkRig) checkSecrets(findings []oauth.Finding) {
	r.Helper()
	text, _ := json.Marshal(findings)
	said := string(text) + r.log.String()
	secrets := []string{r.idp.ClientSecret, doctorSecret.Reveal(), "the client's secret as", "admin-token"}
	for _, c := range r.idp.Calls() {
		for _, name := range []string{"code", "refresh_token", "token", "state", "nonce", "code_verifier"} {
			secrets = append(secrets, c.Form[name]...)
		}
		secrets = append(secrets, c.Bearer)
	}
	for _, s := range secrets {
		if s != "" && strings.Contains(said, s) {
			r.Errorf("%q is said", s)
		}
	}
}

// checkSpent: no refresh token was sent twice, and whoever got tokens gave back the last one.
func (r *checkRig) checkSpent() {
	r.Helper()
	sent := r.idp.RefreshTokens()
	slices.Sort(sent)
	if len(slices.Compact(slices.Clone(sent))) != len(sent) {
		r.Errorf("a refresh token was sent twice: %q", sent)
	}
	for _, s := range r.idp.Sessions() {
		redeemed := slices.ContainsFunc(r.idp.Calls(authtest.Token), func(c authtest.Call) bool { return c.Session == s.ID && c.Carried })
		if tried := r.idp.Count(authtest.Revoke) > 0; redeemed && s.Dead == "" && !tried && r.canRevoke() {
			r.Errorf("the session of %s lives on", s.User)
		}
	}
}

func (r *checkRig) canRevoke() bool {
	revoke, refresh := true, true
	r.idp.Set(func(b *authtest.Behaviour) { revoke, refresh = !b.NoRevocation, !b.NoRefreshToken })
	return revoke && refresh
}

// A callback that answers another login is not redeemed: its code is somebody else's (RFC 9700 §4.7).
func TestCheckForeignCallback(t *testing.T) {
	for name, change := range map[string]func(url.Values){
		"state of another": func(q url.Values) { q.Set("state", "x") },
		"no state":         func(q url.Values) { q.Del("state") },
		"no code":          func(q url.Values) { q.Del("code") },
	} {
		r := newCheckRig(t)
		signIn := r.options.Login
		r.options.Login = func(address string) (string, error) {
			callback, err := signIn(address)
			u, _ := url.Parse(callback)
			q := u.Query()
			change(q)
			u.RawQuery = q.Encode()
			return u.String(), err
		}
		if got := notOK(r.check()); !slices.Equal(got, []string{"FAIL sign-in"}) {
			t.Errorf("%s: found %q", name, got)
		}
		if n := r.idp.Count(authtest.Token, "authorization_code"); n != 0 {
			t.Errorf("%s: a code was redeemed", name)
		}
	}
}

// The service account's token is not left behind.
func TestCheckGivesAdminTokenBack(t *testing.T) {
	r := newCheckRig(t)
	r.check()
	want := []string{"demo Bearer admin-token", "clients Bearer admin-token", "revoke admin-token of doctor"}
	if !slices.Equal(r.kc.admin, want) {
		t.Errorf("the administration was asked %q, want %q", r.kc.admin, want)
	}
}

// Without Login and admin rights the rest is looked at, and what was not is named.
func TestCheckFromOutside(t *testing.T) {
	r := newCheckRig(t)
	r.options, r.config.AdminClientID = upstream.CheckOptions{}, ""
	if got, want := notOK(r.check()), []string{"warn provider settings", "warn sign-in"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if len(r.idp.Sessions()) > 0 || len(r.kc.admin) > 0 {
		t.Error("somebody was signed in, or the administration asked")
	}
	// a login without PKCE is taken
	r = newCheckRig(t)
	r.options, r.config.AdminClientID = upstream.CheckOptions{}, ""
	attribute("pkce.code.challenge.method", "")(r)
	if got, want := notOK(r.check()), []string{"warn pkce required", "warn provider settings", "warn sign-in"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	// an admin client at what is no realm of Keycloak's
	r = newCheckRig(t, func(c *authtest.ProviderConfig) { c.Path = "/realms/demo/more" })
	if got, want := notOK(r.check()), []string{"warn provider settings", "warn rotation mode"}; !slices.Equal(got, want) || len(r.kc.admin) > 0 {
		t.Errorf("found %q, want %q", got, want)
	}
	// another provider than Keycloak, with a form in place of a redirect, and a wildcard
	r = newCheckRig(t, func(c *authtest.ProviderConfig) { c.Path, c.RedirectURIs = "", nil })
	r.options = upstream.CheckOptions{}
	r.connect(func(o *upstream.Options) { o.Config, o.Now = r.config, time.Now })
	if got, want := notOK(r.up.Check(background, r.options)), []string{"FAIL redirect uri exact", "warn provider settings", "warn sign-in"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// The refresh token of a provider that does not rotate is told from one that does.
func TestCheckRotationSeen(t *testing.T) {
	for _, row := range []struct {
		same bool
		want []string
	}{{true, []string{"warn provider settings"}}, {false, []string{"warn provider settings", "warn rotation mode"}}} {
		r := newCheckRig(t, authtest.With(func(b *authtest.Behaviour) {
			b.TokenAnswer = func(refresh bool, m map[string]any) {
				if refresh && row.same {
					delete(m, "refresh_token")
				}
			}
		}))
		r.config.AdminClientID = ""
		if got := notOK(r.check()); !slices.Equal(got, row.want) {
			t.Errorf("same %v: found %q, want %q", row.same, got, row.want)
		}
	}
}

// The certificate's end is seen by our clock before anybody is locked out.
func TestCheckCertificate(t *testing.T) {
	r := newCheckRig(t)
	srv, trusting := r.overTLS()
	until := srv.Certificate().NotAfter
	for _, row := range []struct {
		left time.Duration
		want string
	}{{90 * 24 * time.Hour, ""}, {10 * 24 * time.Hour, "warn tls"}, {-time.Hour, "FAIL tls"}} {
		r.config.Issuer = srv.URL + "/realms/demo"
		r.config.AdminClientID = ""
		r.connect(func(o *upstream.Options) {
			o.Config, o.HTTP, o.Now = r.config, trusting, func() time.Time { return until.Add(-row.left) }
		})
		got := notOK(r.up.Check(background, upstream.CheckOptions{}))
		if has := slices.Contains(got, row.want); has != (row.want != "") || row.want == "" && slices.Contains(got, "warn tls") {
			t.Errorf("%s left: found %q, want %q", row.left, got, row.want)
		}
	}
	r.connect(func(o *upstream.Options) { o.Config = r.config }) // does not know the authority
	findings := r.up.Check(background, upstream.CheckOptions{})
	if len(findings) != 1 || findings[0].Name != "discovery" || !strings.Contains(findings[0].Text, "authority") {
		t.Errorf("found %+v", findings)
	}
}
