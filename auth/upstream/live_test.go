package upstream_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

// live is a real Keycloak 26 with the realm of .ci/kc/realm.json, at $HOSTEDMCP_KEYCLOAK (http://127.0.0.1:PORT). CI
// starts one and sets it; a plain `go test` has none.
type live struct {
	*testing.T
	base, token string
}

func newLive(t *testing.T) *live {
	base := os.Getenv("HOSTEDMCP_KEYCLOAK")
	if base == "" {
		t.Skip("no HOSTEDMCP_KEYCLOAK")
	}
	l := &live{T: t, base: base}
	resp, err := http.PostForm(base+"/realms/master/protocol/openid-connect/token",
		url.Values{"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {"admin"}, "password": {"admin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		t.Fatalf("no administrator's token: %d %v", resp.StatusCode, err)
	}
	l.token = answer.AccessToken
	return l
}

// admin calls the administration; a body of nil is none.
func (l *live) admin(method, path string, body, into any) {
	l.Helper()
	text, err := json.Marshal(body)
	if raw, ok := body.([]byte); ok {
		text = raw
	}
	if err != nil {
		l.Fatal(err)
	}
	req, err := http.NewRequest(method, l.base+"/admin/realms/demo"+path, bytes.NewReader(text))
	if err != nil {
		l.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+l.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.Fatal(err)
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(resp.Body)
	if resp.StatusCode >= 300 {
		l.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, said)
	}
	if into != nil {
		if err := json.Unmarshal(said, into); err != nil {
			l.Fatal(err)
		}
	}
}

// change edits the whole representation at path and puts it back at the end of the test.
func (l *live) change(path string, edit func(m map[string]any)) {
	l.Helper()
	var before, after map[string]any
	l.admin(http.MethodGet, path, nil, &before)
	l.admin(http.MethodGet, path, nil, &after)
	edit(after)
	l.admin(http.MethodPut, path, after, nil)
	// Keycloak keeps an attribute that a PUT leaves out
	old, _ := before["attributes"].(map[string]any)
	added, _ := after["attributes"].(map[string]any)
	for name := range added {
		if _, ok := old[name]; !ok {
			old[name] = ""
		}
	}
	l.Cleanup(func() { l.admin(http.MethodPut, path, before, nil) })
}

var kcForm = regexp.MustCompile(`<form id="kc-form-login"[^>]*action="([^"]*)"`)

// login is the browser's part: Keycloak's form, as alice. Redirects of Keycloak's own are followed until it calls us.
func login(address string) (callback string, err error) {
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(req.URL.String(), redirectURI) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	resp, err := browser.Get(address)
	if err != nil {
		return "", err
	}
	page, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		action := kcForm.FindSubmatch(page)
		if action == nil {
			return "", errors.New("no form on the page")
		}
		resp, err = browser.PostForm(html.UnescapeString(string(action[1])), url.Values{"username": {"alice"}, "password": {"alice-pw"}})
		if err != nil {
			return "", err
		}
		resp.Body.Close()
	}
	back, err := resp.Location()
	if err != nil {
		return "", err
	}
	return back.String(), nil
}

// imported makes the client that `print keycloak-client` prints and returns its id and the secret that Keycloak made.
func (l *live) imported(name string) (id string, secret oauth.Secret) {
	l.Helper()
	text, err := upstream.KeycloakClient(upstream.KeycloakClientOptions{
		ClientID: name, PublicURL: strings.TrimSuffix(redirectURI, "/callback"), Audiences: []string{"crm-api"}, Exchange: true,
	})
	if err != nil {
		l.Fatal(err)
	}
	l.admin(http.MethodPost, "/clients", text, nil)
	var found []struct{ ID, Secret string }
	l.admin(http.MethodGet, "/clients?clientId="+name, nil, &found)
	if len(found) != 1 || found[0].Secret == "" {
		l.Fatalf("%d clients", len(found))
	}
	l.Cleanup(func() { l.admin(http.MethodDelete, "/clients/"+found[0].ID, nil, nil) })
	return found[0].ID, oauth.Secret(found[0].Secret)
}

// What we print is what Keycloak takes and check finds nothing wrong with; what is then broken at Keycloak is named.
func TestKeycloakLive(t *testing.T) {
	l := newLive(t)
	const name = "hostedmcp-printed"
	id, secret := l.imported(name)
	config := upstream.DefaultConfig()
	config.Issuer, config.ClientID = l.base+"/realms/demo", name
	config.AdminClientID, config.AdminClientSecretFile = "doctor", "doctor.secret"
	audiences := []string{"crm-api"}
	look := func(c upstream.Config) []oauth.Finding {
		p := upstream.New(upstream.Options{Config: c, Secret: secret, RedirectURI: redirectURI})
		defer p.Close()
		return p.Check(background, upstream.CheckOptions{AdminSecret: "doctor-test-secret", Login: login, Audiences: audiences})
	}
	if findings := look(config); len(notOK(findings)) > 0 {
		t.Fatalf("found %q in %+v", notOK(findings), findings)
	}
	onClient := func(edit func(m map[string]any)) func(*live) { return func(l *live) { l.change("/clients/"+id, edit) } }
	inClient := func(key string, value any) func(*live) { return onClient(func(m map[string]any) { m[key] = value }) }
	inAttributes := func(key, value string) func(*live) {
		return onClient(func(m map[string]any) { m["attributes"].(map[string]any)[key] = value })
	}
	inRealm := func(values map[string]any) func(*live) {
		return func(l *live) {
			l.change("", func(m map[string]any) {
				for k, v := range values {
					m[k] = v
				}
			})
		}
	}
	for _, row := range []struct {
		name  string
		plant func(*live)
		want  []string // among what is found
	}{
		{"client disabled", inClient("enabled", false), []string{"FAIL client credentials", "FAIL client enabled", "FAIL sign-in"}},
		{"standard flow off", inClient("standardFlowEnabled", false), []string{"FAIL authorization request", "FAIL standard flow", "FAIL sign-in"}},
		{"redirect URI missing", inClient("redirectUris", []string{"https://mcp.example.com/callback"}), []string{"FAIL redirect uri", "FAIL redirect uris"}},
		{"a wildcard", inClient("redirectUris", []string{redirectURI + "*"}), []string{"FAIL redirect uri exact", "FAIL redirect uris"}},
		{"consent", inClient("consentRequired", true), []string{"warn consent required"}},
		{"PKCE plain", inAttributes("pkce.code.challenge.method", "plain"), []string{"FAIL authorization request", "FAIL pkce"}},
		{"PKCE not required", inAttributes("pkce.code.challenge.method", ""), []string{"warn pkce required"}},
		{"no refresh tokens", inAttributes("use.refresh.tokens", "false"), []string{"FAIL refresh token issued", "FAIL use refresh tokens"}},
		{"back-channel logout", inAttributes("backchannel.logout.url", "http://127.0.0.1:1/logout"), []string{"warn back-channel logout"}},
		{"access tokens of 30 s", inAttributes("access.token.lifespan", "30"), []string{"FAIL access token lifespan"}},
		{"client offline idle 10 min", inAttributes("client.offline.session.idle.timeout", "600"), []string{"FAIL daily automation", "FAIL weekly automation"}},
		{"offline_access taken away", func(l *live) {
			var scopes []struct{ ID, Name string }
			l.admin(http.MethodGet, "/client-scopes", nil, &scopes)
			for _, s := range scopes {
				if s.Name == "offline_access" {
					l.admin(http.MethodDelete, "/clients/"+id+"/optional-client-scopes/"+s.ID, nil, nil)
					l.Cleanup(func() { l.admin(http.MethodPut, "/clients/"+id+"/optional-client-scopes/"+s.ID, nil, nil) })
				}
			}
		}, []string{"FAIL offline_access", "FAIL sign-in"}},
		{"token exchange off", inAttributes("standard.token.exchange.enabled", "false"), []string{"FAIL token exchange", "FAIL token exchange for crm-api"}},
		{"mappers missing", inClient("protocolMappers", []any{}), []string{"FAIL token exchange for crm-api", "warn groups claim", "warn groups mapper"}},
		{"strict rotation", inRealm(map[string]any{"revokeRefreshToken": true, "refreshTokenMaxReuse": 0}), []string{"FAIL rotation mode"}},
		{"one reuse", inRealm(map[string]any{"revokeRefreshToken": true, "refreshTokenMaxReuse": 1}), []string{}},
		{"offline max 1 h", inRealm(map[string]any{"offlineSessionMaxLifespanEnabled": true, "offlineSessionMaxLifespan": 3600}),
			[]string{"FAIL session max", "FAIL daily automation", "FAIL weekly automation"}},
		{"realm disabled", inRealm(map[string]any{"enabled": false}), []string{"FAIL client credentials", "FAIL redirect uri"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := &live{T: t, base: l.base, token: l.token}
			row.plant(l)
			findings := look(config)
			got := notOK(findings)
			for _, want := range row.want {
				if !slices.Contains(got, want) {
					t.Errorf("%q is not among %q", want, got)
				}
			}
			if len(row.want) == 0 && len(got) > 0 {
				t.Errorf("found %q in %+v", got, findings)
			}
		})
	}
	t.Run("token exchange", func(t *testing.T) { exchangeLive(t, config, secret) })
}

// exchangeLive takes a real login's token to a real exchange, for an audience that is ours and one that is not.
func exchangeLive(t *testing.T, config upstream.Config, secret oauth.Secret) {
	p := upstream.New(upstream.Options{Config: config, Secret: secret, RedirectURI: redirectURI})
	defer p.Close()
	r := upstream.AuthRequest{State: "s", Nonce: "nonce-1", Verifier: strings.Repeat("v", 43)}
	address, err := p.AuthURL(background, r)
	if err != nil {
		t.Fatal(err)
	}
	callback, err := login(address)
	if err != nil {
		t.Fatal(err)
	}
	a := p.Exchange(background, upstream.Callback{Code: query(t, callback).Get("code"), Verifier: r.Verifier, Nonce: r.Nonce})
	if a.Outcome != upstream.Good {
		t.Fatal(a.Err)
	}
	x, err := p.TokenExchange(background, a.Tokens.Access, "crm-api")
	if err != nil || x.Access == "" || x.Access == a.Tokens.Access || time.Until(x.Expires) < time.Minute {
		t.Errorf("exchanged until %s: %v", x.Expires, err)
	}
	for audience, want := range map[string]oauth.Reason{"webapp": oauth.UpstreamConfig, "nobody": oauth.UpstreamConfig} {
		if _, err := p.TokenExchange(background, a.Tokens.Access, audience); reasonOf(err) != want {
			t.Errorf("%s: %v, want %s", audience, err, want)
		}
	}
	if err := p.Revoke(background, a.Tokens.Refresh); err != nil {
		t.Fatal(err)
	}
	if _, err := p.TokenExchange(background, a.Tokens.Access, "crm-api"); reasonOf(err) != oauth.UpstreamSuspect {
		t.Errorf("after the session's end: %v", err)
	}
}

// The representation names what is asked for and refuses what cannot be our URL.
func TestKeycloakClient(t *testing.T) {
	for _, bad := range []upstream.KeycloakClientOptions{
		{}, {PublicURL: "http://mcp.example.com"}, {PublicURL: "https://mcp.example.com/"}, {PublicURL: "https://mcp.example.com", OfflineIdle: -1},
	} {
		if text, err := upstream.KeycloakClient(bad); err == nil || text != nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	text, err := upstream.KeycloakClient(upstream.KeycloakClientOptions{PublicURL: "https://mcp.example.com", Audiences: []string{"crm", "warehouse", "crm"},
		Scopes: []string{"openid", "offline_access", "email", "phone"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"clientId": "hostedmcp"`, `"https://mcp.example.com/callback"`, `"pkce.code.challenge.method": "S256"`,
		`"offline_access"`, `"included.client.audience": "crm"`, `"standard.token.exchange.enabled": "false"`, `"client.offline.session.idle.timeout": "2592000"`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
	if n := bytes.Count(text, []byte(`"audience crm"`)); n != 1 || bytes.Count(text, []byte(`"email"`)) != 1 || !bytes.Contains(text, []byte(`"phone"`)) {
		t.Errorf("%d mappers for one audience, or the scopes are wrong, in\n%s", n, text)
	}
	if bytes.Contains(text, []byte(`"secret"`)) || bytes.Contains(text, []byte("*")) {
		t.Errorf("a secret or a pattern in\n%s", text)
	}
}
