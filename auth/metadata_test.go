package auth_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"testing"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
)

const (
	serverMetadata   = "/.well-known/oauth-authorization-server"
	resourceMetadata = "/.well-known/oauth-protected-resource"
)

// object decodes a JSON answer into what the test compares.
func (a reply) object(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(a.body, &m); err != nil {
		t.Fatalf("answer %d %q: %v", a.status, a.body, err)
	}
	return m
}

func list(names ...string) []any {
	out := make([]any, len(names))
	for i, n := range names {
		out[i] = n
	}
	return out
}

// protocol.md §2: exactly these fields, RFC 8414 §2 and RFC 9728 §2.
func TestMetadata(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	i := r.Issuer
	methods := list("none", "client_secret_basic", "client_secret_post")
	want := map[string]any{
		"issuer": i, "authorization_endpoint": i + "/authorize", "token_endpoint": i + "/token",
		"registration_endpoint": i + "/register", "revocation_endpoint": i + "/revoke", "jwks_uri": i + "/jwks",
		"response_types_supported": list("code"), "response_modes_supported": list("query"),
		"grant_types_supported":                          list("authorization_code", "refresh_token"),
		"code_challenge_methods_supported":               list("S256"),
		"token_endpoint_auth_methods_supported":          methods,
		"revocation_endpoint_auth_methods_supported":     methods,
		"scopes_supported":                               list("mcp", "crm.write", "offline_access"),
		"authorization_response_iss_parameter_supported": true,
		"client_id_metadata_document_supported":          true,
	}
	if got := r.get(serverMetadata).object(t); !reflect.DeepEqual(got, want) {
		t.Errorf("authorization server metadata\n%v, want\n%v", got, want)
	}
	want = map[string]any{
		"resource": i + "/mcp", "authorization_servers": list(i), "scopes_supported": list("mcp", "crm.write"),
		"bearer_methods_supported": list("header"), "resource_name": "Test data",
	}
	a, b := r.get(resourceMetadata), r.get(resourceMetadata+"/mcp")
	if got := a.object(t); !reflect.DeepEqual(got, want) {
		t.Errorf("protected resource metadata\n%v, want\n%v", got, want)
	}
	if !bytes.Equal(a.body, b.body) {
		t.Error("the two protected resource documents differ")
	}
}

// protocol.md §2: what is switched off is not advertised, and is not there.
func TestMetadataSwitchedOff(t *testing.T) {
	t.Parallel()
	s := authtest.NewServer(t, authtest.ServerOptions{Auth: func(o *auth.Options) { o.Clients.Register, o.Clients.CIMD = false, false }})
	r := &loginRig{Server: s, t: t}
	m := r.get(serverMetadata).object(t)
	for _, name := range []string{"registration_endpoint", "client_id_metadata_document_supported"} {
		if v, there := m[name]; there {
			t.Errorf("%s is %v", name, v)
		}
	}
	if a := r.register(`{"redirect_uris":["https://a.example/cb"]}`); a.status != http.StatusNotFound {
		t.Errorf("register answered %d", a.status)
	}
}

// protocol.md §1: caching, CORS and HEAD of what everybody may read; no other spelling of it (TypeScript SDK v1 looks
// for OpenID metadata and wants all of it or nothing).
func TestMetadataEndpoints(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	for _, path := range []string{serverMetadata, resourceMetadata, resourceMetadata + "/mcp", "/jwks"} {
		a := r.get(path, "Origin", "https://page.example")
		h := a.header
		if a.status != 200 || h.Get("Cache-Control") != "public, max-age=300" || h.Get("Access-Control-Allow-Origin") != "*" ||
			h.Get("Access-Control-Allow-Credentials") != "" || h.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v", path, a.status, h)
		}
		if head := r.do("HEAD", path, ""); head.status != 200 || len(head.body) != 0 {
			t.Errorf("HEAD %s: %d with %d bytes", path, head.status, len(head.body))
		}
		if post := r.do("POST", path, "x"); post.status != 405 || post.header.Get("Allow") == "" {
			t.Errorf("POST %s: %d", path, post.status)
		}
	}
	for _, path := range []string{"/.well-known/openid-configuration", serverMetadata + "/mcp", serverMetadata + "/", "/jwks/"} {
		if a := r.get(path); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

// protocol.md §5.6: public keys only, each with kid, alg and use; the same after a restart.
func TestJWKS(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	before := r.get("/jwks")
	keys, _ := before.object(t)["keys"].([]any)
	if len(keys) != 1 {
		t.Fatalf("keys %v", keys)
	}
	key := keys[0].(map[string]any)
	for name, want := range map[string]any{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig"} {
		if key[name] != want {
			t.Errorf("%s is %v", name, key[name])
		}
	}
	if _, private := key["d"]; private || key["kid"] == "" {
		t.Errorf("published %v", key)
	}
	r.Restart()
	if after := r.get("/jwks"); !bytes.Equal(before.body, after.body) {
		t.Error("other keys after a restart")
	}
}
