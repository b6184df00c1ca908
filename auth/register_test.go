package auth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
)

func registered(t *testing.T, a reply) map[string]any {
	t.Helper()
	if a.status != http.StatusCreated {
		t.Fatalf("register: %d %s", a.status, a.body)
	}
	return a.object(t)
}

// protocol.md §3.1, RFC 7591 §3.2.1: what is echoed, what is decided by us, and what is ignored.
func TestRegisterAnswer(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	a := r.register(`{"redirect_uris":["cursor://anysphere.cursor-mcp/oauth/callback","http://localhost:8787/callback"],
		"client_name":"  Cur\u202esor\u0007  ","client_uri":"https://cursor.example/about","grant_types":["authorization_code"],
		"response_types":["code"],"scope":"anything at all","application_type":"native","token_endpoint_auth_method":"client_secret_basic",
		"jwks_uri":"https://cursor.example/jwks","logo_uri":"https://cursor.example/logo","client_secret":"mine","contacts":[1,{}]}`)
	got := registered(t, a)
	id, _ := got["client_id"].(string)
	if len(id) != len("hmcp_ci_")+22 || !strings.HasPrefix(id, "hmcp_ci_") {
		t.Errorf("client_id %q", id)
	}
	want := map[string]any{
		"client_id": id, "client_id_issued_at": float64(r.Clock.Now().Unix()), "client_name": "Cursor",
		"client_uri":    "https://cursor.example/about",
		"redirect_uris": list("cursor://anysphere.cursor-mcp/oauth/callback", "http://localhost:8787/callback"),
		"grant_types":   list("authorization_code", "refresh_token"), "response_types": list("code"),
		"token_endpoint_auth_method": "none", "scope": "anything at all", "application_type": "native",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("answer\n%v, want\n%v", got, want)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("headers %v", a.header)
	}
}

// protocol.md §3.1 [C2]: the same metadata is the same client, without a write and without a cost, after a restart and
// even after it was pruned; loopback ports, the order of URIs and what is ignored make no difference.
func TestRegisterSameClient(t *testing.T) {
	r := newLogin(t, limits(func(l *auth.LimitsConfig) { l.RegisterPerHour = 2 }))
	body := func(port int) string {
		return fmt.Sprintf(`{"redirect_uris":["http://localhost:%d/cb","https://a.example/cb"],"client_name":"A"}`, port)
	}
	first := registered(t, r.register(body(1111)))
	r.Clock.Advance(time.Minute)
	r.unwritten("the same registration again", func() {
		for i, again := range []string{body(1111), body(2222), `{"redirect_uris":["https://a.example/cb","http://localhost/cb"],
			"client_name":"A","logo_uri":"x","software_version":"2"}`} {
			got := registered(t, r.register(again))
			if got["client_id"] != first["client_id"] || got["client_id_issued_at"] != first["client_id_issued_at"] {
				t.Errorf("%d: %v, want %v", i, got["client_id"], first["client_id"])
			}
		}
	})
	for _, other := range []string{
		`{"redirect_uris":["http://127.0.0.1/cb","https://a.example/cb"],"client_name":"A"}`,
		`{"redirect_uris":["http://localhost/cb","https://a.example/cb"],"client_name":"B"}`,
	} {
		r.Clock.Advance(time.Hour)
		if got := registered(t, r.register(other)); got["client_id"] == first["client_id"] {
			t.Errorf("%s is the same client", other)
		}
	}
	r.Restart()
	r.Clock.Advance(401 * 24 * time.Hour)
	r.must(r.Auth.Step(t.Context()))
	if _, err := r.Store.Client(first["client_id"].(string)); err == nil {
		t.Fatal("an unused registration outlived unused_ttl")
	}
	if got := registered(t, r.register(body(3333))); got["client_id"] != first["client_id"] {
		t.Error("another client_id after it was pruned")
	}
}

// protocol.md §3.1: refusals store nothing. One bad redirect URI is enough.
func TestRegisterRefused(t *testing.T) {
	many := func(n int) string {
		var uris []string
		for i := range n {
			uris = append(uris, fmt.Sprintf("https://a.example/%d", i))
		}
		text, _ := json.Marshal(uris)
		return `{"redirect_uris":` + string(text) + `}`
	}
	const redirect, metadata = oauth.InvalidRedirectURI, oauth.InvalidClientMetadata
	r := newLogin(t, authtest.ServerOptions{})
	uri := func(u string) string { return `{"redirect_uris":["https://a.example/cb","` + u + `"]}` }
	for _, row := range []struct {
		section, body string
		code          oauth.Code
	}{
		{"§3.5 Gemini CLI", `{"redirect_uris":[]}`, redirect},
		{"§3.1 none", `{"client_name":"A"}`, redirect},
		{"§3.1 null", `{"redirect_uris":null}`, redirect},
		{"§3.1 eleven", many(11), redirect},
		{"§3.1 twice", `{"redirect_uris":["https://a.example/cb","https://a.example/cb"]}`, redirect},
		{"§3.2", uri("http://a.example/cb"), redirect}, {"§3.2", uri("http://127.0.0.2/cb"), redirect},
		{"§3.2", uri("http://127.0.0.1:0/cb"), redirect}, {"§3.2", uri("https://10.0.0.1/cb"), redirect},
		{"§3.2", uri("https://u@a.example/cb"), redirect}, {"§3.2", uri("https://a.example/cb#x"), redirect},
		{"§3.2", uri("https://a.example/x/%2e%2e/cb"), redirect}, {"§3.2", uri("https://a.example/cb?code=1"), redirect},
		{"§3.2", uri("https://*.a.example/cb"), redirect}, {"§3.2", uri("myapp://cb"), redirect},
		{"§3.2", uri("JavaScript:alert(1)"), redirect}, {"§3.2 our own origin", uri(r.Issuer + "/callback"), redirect},
		{"RFC 7591 §3.2.2", `{"redirect_uris":"https://a.example/cb"}`, metadata},
		{"§3.1", `{"redirect_uris":["https://a.example/cb"],"grant_types":["client_credentials"]}`, metadata},
		{"§3.1", `{"redirect_uris":["https://a.example/cb"],"response_types":["token"]}`, metadata},
		{"§3.1", `{"redirect_uris":["https://a.example/cb"],"client_name":7}`, metadata},
		{"§3.1", `{"redirect_uris":["https://a.example/cb"],"scope":"` + strings.Repeat("s", 1025) + `"}`, metadata},
		{"§1 duplicate", `{"redirect_uris":["https://a.example/cb"],"redirect_uris":["https://b.example/cb"]}`, metadata},
		{"§1 trailing", `{"redirect_uris":["https://a.example/cb"]}{}`, metadata},
		{"§1 depth", `{"redirect_uris":["https://a.example/cb"],"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, metadata},
		{"§1 UTF-8", "{\"redirect_uris\":[\"https://a.example/cb\"],\"x\":\"\xff\"}", metadata},
		{"§1", `[]`, metadata}, {"§1", `null`, metadata}, {"§1", ``, metadata},
	} {
		r.unwritten(row.body, func() {
			if a := r.register(row.body); !a.refused(t, 400, row.code, oauth.RegistrationInvalid) {
				t.Logf("%s %.200s", row.section, row.body)
			}
		})
	}
	if a := registered(t, r.register(many(10))); len(a["redirect_uris"].([]any)) != 10 {
		t.Error("ten redirect URIs")
	}
}

// protocol.md §1: media type and size of a registration.
func TestRegisterForm(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	const good = `{"redirect_uris":["https://a.example/cb"]}`
	if a := r.do("POST", "/register", good, "Content-Type", "application/json; charset=utf-8"); a.status != 201 {
		t.Errorf("with a charset: %d", a.status)
	}
	for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"} {
		a := r.do("POST", "/register", good, "Content-Type", media)
		a.refused(t, 415, oauth.InvalidRequest, oauth.RequestInvalid)
	}
	if a := r.register(`{"x":"` + strings.Repeat("x", 64<<10) + `"}`); a.status != 413 {
		t.Errorf("65 KB: %d", a.status)
	}
	if a := r.get("/register"); a.status != 405 || !strings.HasPrefix(a.header.Get("Allow"), "POST") {
		t.Errorf("GET: %d %v", a.status, a.header)
	}
}

// protocol.md §3.1: a bad client_uri is dropped, a name is cut, neither costs the client.
func TestRegisterDisplay(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	for uri, want := range map[string]any{
		"https://a.example": "https://a.example", "http://a.example": nil, "javascript:alert(1)": nil,
		"https://a.example/\u202e": nil, "https://u@a.example/": nil,
	} {
		body, _ := json.Marshal(map[string]any{"redirect_uris": []string{"https://a.example/cb"}, "client_uri": uri,
			"client_name": strings.Repeat("ü", 101)})
		got := registered(t, r.register(string(body)))
		if got["client_uri"] != want || got["client_name"] != strings.Repeat("ü", 100) {
			t.Errorf("%q: client_uri %v, name of %d bytes", uri, got["client_uri"], len(got["client_name"].(string)))
		}
	}
}

// protocol.md §3.1: at register_max the longest unused goes, never one younger than an hour or with a living grant;
// none left: 503 registration_full, nothing stored.
func TestRegisterMax(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{Auth: func(o *auth.Options) { o.Clients.RegisterMax = 3 }})
	r.must(r.c.Login()) // the first: a living grant
	name := func(n int) string { return fmt.Sprintf(`{"redirect_uris":["https://a.example/%d"]}`, n) }
	second := registered(t, r.register(name(2)))["client_id"].(string)
	r.Clock.Advance(time.Minute)
	third := registered(t, r.register(name(3)))["client_id"].(string)
	r.unwritten("a registration too many", func() {
		r.register(name(4)).refused(t, 503, oauth.TemporarilyUnavailable, oauth.RegistrationFull)
	})
	r.Clock.Advance(time.Hour)
	registered(t, r.register(name(4)))
	for id, want := range map[string]bool{r.c.ID: true, second: false, third: true} {
		if _, err := r.Store.Client(id); (err == nil) != want {
			t.Errorf("%s there: %v, want %v", id, err == nil, want)
		}
	}
}
