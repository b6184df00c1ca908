package trace

// Authorization server metadata (RFC 8414), or what OpenID providers publish in its place. MCP Authorization names the
// URLs and their order: for an issuer with a path three, else two. The issuer is compared byte by byte, as RFC 8414 §3.3
// wants it and the mix-up defence needs it; a slash at its end (as FastMCP has) is enough to stop some clients.

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"hostedmcp/auth/oauth"
)

// serverMetadata is what a client reads of RFC 8414 §2.
type serverMetadata struct {
	issuer, authorize, token, register, revoke string
	scopes                                     oauth.Scope
	iss                                        bool // authorization_response_iss_parameter_supported (RFC 9207 §3)
	documents                                  bool // client_id_metadata_document_supported
}

// serverMetadata tries the URLs that the specification names, in its order, and judges the first document.
func (t *tracer) serverMetadata(ctx context.Context, s *Step) error {
	forms := []string{wellKnown(t.issuer, "oauth-authorization-server"), wellKnown(t.issuer, "openid-configuration")}
	if issuer := strings.TrimSuffix(t.issuer, "/"); issuer != origin(t.issuer) {
		forms = append(forms, issuer+"/.well-known/openid-configuration")
	}
	var misses []string
	for _, at := range forms { // the first that is there counts, be it good or bad: clients go on only after a miss
		a, err := t.get(ctx, s, at)
		if err != nil {
			return err
		}
		if a.status != http.StatusOK {
			misses = append(misses, fmt.Sprintf("%s: %d", withoutQuery(at), a.status))
			continue
		}
		if err := t.readServer(s, a); err != nil {
			return fmt.Errorf("%s: %w", withoutQuery(at), err)
		}
		s.came("%s: issuer %s, S256%s", withoutQuery(at), t.server.issuer, t.server.describe())
		if len(misses) > 0 {
			s.warn("not found before it: %s", strings.Join(misses, ", "))
		}
		return nil
	}
	return errors.New(strings.Join(misses, ", "))
}

// describe lists what is offered beyond the required.
func (m serverMetadata) describe() string {
	text := ""
	if m.register != "" {
		text += ", registration"
	}
	if m.documents {
		text += ", client ID metadata documents"
	}
	if m.revoke != "" {
		text += ", revocation"
	}
	if m.iss {
		text += ", iss"
	}
	return text
}

// readServer judges one document.
func (t *tracer) readServer(s *Step, a *answer) error {
	doc, err := a.object()
	if err != nil {
		return err
	}
	m := &t.server
	if err := m.read(doc); err != nil {
		return err
	}
	// A metadata document that speaks for another issuer is how a mix-up attack begins.
	if m.issuer != t.issuer {
		return fmt.Errorf("issuer is %q and not %q (RFC 8414 §3.3)", m.issuer, t.issuer)
	}
	if strings.HasSuffix(m.issuer, "/") {
		s.warn("the issuer ends in /: some clients ask for the metadata with that slash")
	}
	if err := m.checkEndpoints(); err != nil {
		return err
	}
	return checkOffers(s, doc)
}

// read takes the fields by their exact names; one of a wrong type is a fault, as typed clients fail on it.
func (m *serverMetadata) read(doc oauth.Object) error {
	var faults []error
	text := func(name string, to *string) {
		var err error
		*to, err = doc.Text(name)
		faults = append(faults, err)
	}
	text("issuer", &m.issuer)
	text("authorization_endpoint", &m.authorize)
	text("token_endpoint", &m.token)
	text("registration_endpoint", &m.register)
	text("revocation_endpoint", &m.revoke)
	scopes, err := doc.List("scopes_supported")
	m.scopes = scopes
	m.iss = string(doc["authorization_response_iss_parameter_supported"]) == "true"
	m.documents = string(doc["client_id_metadata_document_supported"]) == "true"
	return errors.Join(append(faults, err)...)
}

// checkEndpoints refuses endpoints to which no client should send a credential.
func (m *serverMetadata) checkEndpoints() error {
	for _, e := range []struct {
		name, url string
		required  bool
	}{
		{"authorization_endpoint", m.authorize, true},
		{"token_endpoint", m.token, true},
		{"registration_endpoint", m.register, false},
		{"revocation_endpoint", m.revoke, false},
	} {
		if e.url == "" && e.required {
			return fmt.Errorf("has no %s", e.name)
		}
		if e.url == "" {
			continue
		}
		if err := secureURL(e.url); err != nil {
			return fmt.Errorf("%s %w", e.name, err)
		}
	}
	return nil
}

// checkOffers judges the lists. Absent means the default of RFC 8414 §2, but for S256: without the list clients must
// not go on (MCP Authorization, "Authorization Code Protection").
func checkOffers(s *Step, doc oauth.Object) error {
	// An absent list and an empty one are read alike.
	offers := func(name string) []string {
		list, err := doc.List(name)
		if err != nil {
			s.warn("%v", err)
		}
		return list
	}
	if !slices.Contains(offers("code_challenge_methods_supported"), "S256") {
		return errors.New("code_challenge_methods_supported lacks S256: clients must refuse to go on")
	}
	if types := offers("response_types_supported"); !slices.Contains(types, "code") {
		return fmt.Errorf("response_types_supported is %q, without code", types)
	}
	if grants := offers("grant_types_supported"); grants != nil {
		if !slices.Contains(grants, "authorization_code") {
			return fmt.Errorf("grant_types_supported is %q, without authorization_code", grants)
		}
		if !slices.Contains(grants, "refresh_token") {
			s.warn("grant_types_supported lacks refresh_token: clients sign in again when the access token ends")
		}
	}
	if methods := offers("token_endpoint_auth_methods_supported"); !slices.Contains(methods, "none") {
		s.warn("token_endpoint_auth_methods_supported is %q, without none: public clients may take it for a refusal", methods)
	}
	return nil
}
