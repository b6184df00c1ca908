package trace

// How a client gets its id: given by the operator, the URL of a client ID metadata document
// (draft-ietf-oauth-client-id-metadata-document), or dynamic registration (RFC 7591). A client with a document uses it as
// soon as a server announces them and never falls back, so neither does the walk in its name.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"hostedmcp/auth/oauth"
)

// register gets a client id: the given one, a metadata document's URL if client and server know them, or a dynamic
// registration.
func (t *tracer) register(ctx context.Context, s *Step) error {
	t.asked = t.scopeToAsk()
	switch {
	case t.clientID != "":
		t.id = t.clientID
		s.came("none: -client-id %s", t.id)
		if strings.HasPrefix(t.id, "https://") && !t.server.documents {
			s.warn("the server does not announce client ID metadata documents")
		}
		return nil
	case t.client.document != "" && t.server.documents:
		t.id = t.client.document
		s.came("none: the client ID metadata document %s, without a way back to registration", t.id)
		return nil
	case t.server.register == "":
		return errors.New("the server offers no registration: give -client-id")
	}
	if t.client.registered != "" && t.options.callback == "" {
		t.redirect = strings.TrimSuffix(t.redirect, "/callback") + t.client.registered
	}
	times := 1
	if t.client.registersTwice {
		times = 2
	}
	for range times {
		if err := t.registerOnce(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// registerOnce makes one registration (RFC 7591 §3.1). The last one counts, as for the clients that make two.
func (t *tracer) registerOnce(ctx context.Context, s *Step) error {
	body, err := json.Marshal(t.client.registration(t.redirect, t.asked.String()))
	if err != nil {
		return err
	}
	req, err := t.request(http.MethodPost, t.server.register, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	a, err := t.do(ctx, req, nil)
	if err != nil {
		return err
	}
	if a.status != http.StatusCreated && a.status != http.StatusOK {
		return errors.New(a.refusal())
	}
	if a.status == http.StatusOK {
		s.warn("200 in place of 201 (RFC 7591 §3.2.1): strict clients refuse it")
	}
	return t.readRegistration(s, a)
}

// readRegistration judges what was registered against what was asked (RFC 7591 §3.2.1).
func (t *tracer) readRegistration(s *Step, a *answer) error {
	doc, err := a.object()
	if err != nil {
		return err
	}
	id, err1 := doc.Text("client_id")
	secret, err2 := doc.Text("client_secret")
	method, err3 := doc.Text("token_endpoint_auth_method")
	uris, err4 := doc.List("redirect_uris")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	// A server may give a secret though none was asked for (RFC 7591 §3.2.1); then it must be used.
	t.secret = t.secrets.add(secret)
	// Whoever has this token owns the registration (RFC 7592 §3). It is not used, as known clients do not use it either.
	if token, err := doc.Text("registration_access_token"); err == nil {
		t.secrets.add(token)
	}
	if id == "" {
		return errors.New("no client_id")
	}
	// The port of a loopback URI may be left out in the echo: it is matched, not compared (RFC 8252 §7.3).
	if uris != nil && !slices.ContainsFunc(uris, func(u string) bool { return oauth.MatchRedirect(u, t.redirect) }) {
		return fmt.Errorf("redirect_uris is %q, without ours, %q", uris, t.redirect)
	}
	if uris == nil {
		s.warn("redirect_uris is not echoed: some clients read it back (RFC 7591 §3.2.1)")
	}
	t.id, t.secretInBody = id, secret != "" && method == "client_secret_post"
	s.came("%d, client_id %s, authentication %s", a.status, id, or(method, "not named"))
	if method != "none" && method != "" {
		s.warn("registered as %s though we asked for none: clients without a store for secrets fail later", method)
	}
	return nil
}

// or returns text, or instead if it is empty.
func or(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}
