package upstream_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

// keycloak is a transport that makes authtest's provider look like Keycloak 26 as it was measured: prompt=none is
// answered by a redirect, a service account may sign in, and the administration shows realm and client.
type keycloak struct {
	realm, client map[string]any
	refuse        map[string]int // status by last part of the administration's path, or "client_credentials"
	silent        func(q url.Values) (code string)
	elsewhere     string // where prompt=none is sent on to; a page if it begins with "<"; "" = back, or nowhere

	mu    sync.Mutex
	admin []string // what the administration was asked, and by whom
}

const doctorSecret = oauth.Secret("doctor-secret")

// newKeycloak is set up as Check wants it: the representation of KeycloakClient, and Keycloak's own realm defaults.
func newKeycloak(t *testing.T) *keycloak {
	t.Helper()
	text, err := upstream.KeycloakClient(upstream.KeycloakClientOptions{PublicURL: strings.TrimSuffix(redirectURI, "/callback")})
	if err != nil {
		t.Fatal(err)
	}
	k := &keycloak{refuse: map[string]int{}, realm: map[string]any{
		"realm": "demo", "enabled": true, "revokeRefreshToken": false, "refreshTokenMaxReuse": 0, "accessTokenLifespan": 300,
		"ssoSessionIdleTimeout": 1800, "ssoSessionMaxLifespan": 36000, "clientSessionIdleTimeout": 0, "clientSessionMaxLifespan": 0,
		"offlineSessionIdleTimeout": 2592000, "offlineSessionMaxLifespanEnabled": false, "offlineSessionMaxLifespan": 5184000,
		"clientOfflineSessionIdleTimeout": 0, "clientOfflineSessionMaxLifespan": 0,
	}}
	if err := json.Unmarshal(text, &k.client); err != nil {
		t.Fatal(err)
	}
	k.client["secret"] = "the client's secret as Keycloak shows it"
	return k
}

// RoundTrip implements http.RoundTripper.
func (k *keycloak) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	form, _ := url.ParseQuery(string(body))
	user, password, _ := req.BasicAuth()
	switch q := req.URL.Query(); {
	case strings.Contains(req.URL.Path, "/admin/realms/"):
		return k.administer(req), nil
	case q.Get("prompt") == "none":
		return k.authorize(q), nil
	case form.Get("grant_type") == "client_credentials":
		return k.account(user, password), nil
	case form.Get("token_type_hint") == "access_token":
		k.mu.Lock()
		defer k.mu.Unlock()
		k.admin = append(k.admin, "revoke "+form.Get("token")+" of "+user)
		return say(200, nil), nil
	}
	return http.DefaultTransport.RoundTrip(req)
}

func (k *keycloak) administer(req *http.Request) *http.Response {
	k.mu.Lock()
	defer k.mu.Unlock()
	what := req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:]
	k.admin = append(k.admin, what+" "+req.Header.Get("Authorization"))
	switch {
	case k.refuse[what] != 0:
		return say(k.refuse[what], nil)
	case what == "demo":
		return say(200, k.realm)
	case req.URL.Query().Get("clientId") == k.client["clientId"]:
		return say(200, []any{k.client})
	}
	return say(200, []any{})
}

func (k *keycloak) account(user, password string) *http.Response {
	if status := k.refuse["client_credentials"]; status != 0 {
		return say(status, map[string]any{})
	}
	if user != "doctor" {
		return say(401, map[string]any{"error": "invalid_client"})
	}
	if password != doctorSecret.Reveal() {
		return say(401, map[string]any{"error": "unauthorized_client"})
	}
	return say(200, map[string]any{"access_token": "admin-token", "token_type": "Bearer", "expires_in": 60})
}

// authorize answers prompt=none from what the client is allowed, as Keycloak does.
func (k *keycloak) authorize(q url.Values) *http.Response {
	uris, _ := k.client["redirectUris"].([]any)
	known := slices.ContainsFunc(uris, func(u any) bool {
		prefix, pattern := strings.CutSuffix(u.(string), "*")
		portless := strings.Replace(q.Get("redirect_uri"), ":4711", "", 1)
		return u == q.Get("redirect_uri") || u == portless || pattern && strings.HasPrefix(q.Get("redirect_uri"), prefix)
	})
	if strings.HasPrefix(k.elsewhere, "<") {
		return say(200, json.RawMessage(`"`+k.elsewhere+`"`))
	}
	if k.elsewhere != "" {
		resp := say(302, nil)
		resp.Header.Set("Location", k.elsewhere)
		return resp
	}
	if !known {
		return say(400, nil)
	}
	code := "login_required"
	scopes, _ := k.client["optionalClientScopes"].([]any)
	attributes, _ := k.client["attributes"].(map[string]any)
	switch {
	case k.silent != nil:
		code = k.silent(q)
	case k.client["standardFlowEnabled"] == false:
		code = "unauthorized_client"
	case strings.Contains(q.Get("scope"), "offline_access") && !slices.Contains(scopes, any("offline_access")):
		code = "invalid_scope"
	case attributes["pkce.code.challenge.method"] == "S256" && q.Get("code_challenge_method") != "S256",
		attributes["pkce.code.challenge.method"] == "plain":
		code = "invalid_request"
	}
	resp := say(302, nil)
	resp.Header.Set("Location", q.Get("redirect_uri")+"?"+url.Values{"error": {code}, "state": {q.Get("state")}}.Encode())
	return resp
}

func say(status int, v any) *http.Response {
	body, _ := json.Marshal(v)
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(body)), Request: &http.Request{URL: new(url.URL)}}
}

// checkRig is a relying party before such a provider, by the real time: a Date is compared.
type checkRig struct {
	*rig
	kc      *keycloak
	config  upstream.Config
	now     func() time.Time
	options upstream.CheckOptions
}

func newCheckRig(t *testing.T, change ...authtest.Option) *checkRig {
	t.Helper()
	change = append([]authtest.Option{func(c *authtest.ProviderConfig) {
		c.Now, c.Path, c.RedirectURIs = time.Now, "/realms/demo", []string{redirectURI}
	}}, change...)
	r := &checkRig{rig: newRig(t, change...), kc: newKeycloak(t), now: time.Now}
	r.config = upstream.DefaultConfig()
	r.config.Issuer, r.config.ClientID = r.idp.Issuer, r.idp.ClientID
	r.config.AdminClientID, r.config.AdminClientSecretFile = "doctor", "doctor.secret"
	r.options = upstream.CheckOptions{AdminSecret: doctorSecret, Login: func(address string) (string, error) {
		back, err := r.idp.SignIn(address, "alice")
		if err != nil {
			return "", err
		}
		return back.String(), nil
	}}
	return r
}

func (r *checkRig) check() []oauth.Finding {
	r.Helper()
	r.connect(func(o *upstream.Options) { o.Config, o.Now, o.HTTP = r.config, r.now, r.kc })
	return r.up.Check(background, r.options)
}

// notOK are the findings that ask for something, as "level name", each once.
func notOK(findings []oauth.Finding) []string {
	out := []string{}
	for _, f := range findings {
		if line := string(f.Level) + " " + f.Name; f.Level != oauth.FindingOK && !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}

// overTLS puts a TLS server before the provider, which then names itself by that server's address.
func (r *checkRig) overTLS() (*httptest.Server, http.RoundTripper) {
	r.Helper()
	inner, err := url.Parse(r.idp.Issuer)
	if err != nil {
		r.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: inner.Host})
	srv := httptest.NewUnstartedServer(proxy)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	r.Cleanup(srv.Close)
	outer := srv.URL + inner.Path
	r.idp.Set(func(b *authtest.Behaviour) {
		b.Metadata = func(m map[string]any) {
			for name, value := range m {
				if s, ok := value.(string); ok {
					m[name] = strings.Replace(s, r.idp.Issuer, outer, 1)
				}
			}
		}
	})
	return srv, srv.Client().Transport
}
