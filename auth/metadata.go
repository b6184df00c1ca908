package auth

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/go-jose/go-jose/v4"

	"hostedmcp/auth/oauth"
)

// serverMetadata is the authorization server metadata (RFC 8414 §2), exactly what protocol.md §2 lists. A field that
// is not in that list is left out rather than false or empty: clients differ in what they make of it.
type serverMetadata struct {
	Issuer                 string      `json:"issuer"`
	AuthorizationEndpoint  string      `json:"authorization_endpoint"`
	TokenEndpoint          string      `json:"token_endpoint"`
	RegistrationEndpoint   string      `json:"registration_endpoint,omitempty"`
	RevocationEndpoint     string      `json:"revocation_endpoint"`
	JWKSURI                string      `json:"jwks_uri"`
	ResponseTypes          []string    `json:"response_types_supported"`
	ResponseModes          []string    `json:"response_modes_supported"`
	GrantTypes             []string    `json:"grant_types_supported"`
	ChallengeMethods       []string    `json:"code_challenge_methods_supported"`
	TokenAuthMethods       []string    `json:"token_endpoint_auth_methods_supported"`
	RevocationAuthMethods  []string    `json:"revocation_endpoint_auth_methods_supported"`
	Scopes                 oauth.Scope `json:"scopes_supported"`
	IssParameter           bool        `json:"authorization_response_iss_parameter_supported"`
	ClientIDMetadataByName bool        `json:"client_id_metadata_document_supported,omitempty"`
}

// resourceMetadata is the protected resource metadata (RFC 9728 §2).
type resourceMetadata struct {
	Resource             string      `json:"resource"`
	AuthorizationServers []string    `json:"authorization_servers"`
	Scopes               oauth.Scope `json:"scopes_supported"`
	BearerMethods        []string    `json:"bearer_methods_supported"`
	Name                 string      `json:"resource_name"`
}

// offlineAccess is understood and echoed; refresh tokens are issued without it too. It is offered all the same, since
// some clients ask only for what scopes_supported names.
const offlineAccess = "offline_access"

// serverMetadata returns the bytes of the metadata document, made once at start.
func (s *Server) serverMetadata() []byte {
	// Confidential clients are the operator's own (protocol.md §3.4); all others are public: "none".
	methods := []string{"none", "client_secret_basic", "client_secret_post"}
	m := serverMetadata{
		Issuer: s.issuer, AuthorizationEndpoint: s.issuer + "/authorize", TokenEndpoint: s.issuer + "/token",
		RevocationEndpoint: s.issuer + "/revoke", JWKSURI: s.issuer + "/jwks",
		ResponseTypes: []string{"code"}, ResponseModes: []string{"query"},
		GrantTypes:       []string{"authorization_code", "refresh_token"},
		ChallengeMethods: []string{"S256"}, TokenAuthMethods: methods, RevocationAuthMethods: methods,
		Scopes: s.known, IssParameter: true, ClientIDMetadataByName: s.clients.CIMD,
	}
	if s.clients.Register {
		m.RegistrationEndpoint = s.issuer + "/register"
	}
	return mustJSON(m)
}

// resourceMetadata returns the bytes of the protected resource's document, made once at start.
func (s *Server) resourceMetadata() []byte {
	return mustJSON(resourceMetadata{
		Resource: s.resource, AuthorizationServers: []string{s.issuer}, Scopes: s.resourceScopes(),
		BearerMethods: []string{"header"}, Name: s.name,
	})
}

// resourceScopes are the scopes that the resource itself knows: all but offline_access. It is a matter between client
// and authorization server, and opens nothing at the resource.
func (s *Server) resourceScopes() oauth.Scope {
	var out oauth.Scope
	for _, name := range s.known {
		if name != offlineAccess {
			out = append(out, name)
		}
	}
	return out
}

// jwks publishes the public halves, of replaced keys too while tokens signed with them live. It is written anew each
// time, since keys change while the server runs.
func (s *Server) jwks(w http.ResponseWriter, _ *http.Request) error {
	var set jose.JSONWebKeySet
	for _, k := range s.store.SigningKeys() {
		set.Keys = append(set.Keys, jose.JSONWebKey{
			Key: &k.Private.PublicKey, KeyID: k.ID, Algorithm: string(jose.ES256), Use: "sig",
		})
	}
	return writeJSON(w, http.StatusOK, set)
}

// fixed serves bytes made at start. No request can change a byte of them: what a Host header could do to an issuer is
// CVE-2025-64101.
func fixed(body []byte) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body) // the client may have gone; there is nobody to tell
		return nil
	}
}

// writeJSON writes an answer that cannot fail to encode.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have gone; there is nobody to tell
	return nil
}

// mustJSON encodes at start, where a fault is one of the program.
func mustJSON(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode metadata: %v", err)) // strings and booleans always encode
	}
	return body
}
