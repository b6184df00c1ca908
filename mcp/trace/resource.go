package trace

// Protected resource metadata (RFC 9728): which authorization server stands before this resource. Clients find it by the
// challenge, by the well-known form with the path or by the one without; a server that serves one of them only works for
// some clients, so all are looked at and differences are noted.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"hostedmcp/auth/oauth"
)

// wellKnown inserts a well-known path between host and path of a URL (RFC 9728 §3.1, RFC 8414 §3.1): a trailing slash
// goes away, a query stays.
func wellKnown(base, name string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	at := u.Scheme + "://" + u.Host + "/.well-known/" + name + strings.TrimSuffix(u.EscapedPath(), "/")
	if u.RawQuery != "" {
		at += "?" + u.RawQuery
	}
	return at
}

// origin is a URL's scheme, host and port.
func origin(of string) string {
	u, err := url.Parse(of)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// resourceMetadata reads the document at the URL of the challenge, and compares it with those of the well-known forms:
// some clients take the one, some the others. Whatever it says, the server's own origin is where older clients go on.
func (t *tracer) resourceMetadata(ctx context.Context, s *Step) error {
	t.issuer = origin(t.target)
	pathForm, rootForm := wellKnown(t.target, "oauth-protected-resource"), origin(t.target)+"/.well-known/oauth-protected-resource"
	at := t.challenge["resource_metadata"]
	if at == "" {
		at = pathForm
	}
	main, err := t.get(ctx, s, at)
	if err == nil && main.status != http.StatusOK && t.challenge["resource_metadata"] == "" {
		at = rootForm
		main, err = t.get(ctx, s, at)
	}
	if err != nil {
		return err
	}
	if main.status != http.StatusOK {
		return fmt.Errorf("%s: %s", withoutQuery(at), main.shape())
	}
	if err := t.readResource(s, main); err != nil {
		return fmt.Errorf("%s: %w", withoutQuery(at), err)
	}
	// At the root there may be another resource's document on the same host; it is a note and no fault.
	for _, form := range []string{pathForm, rootForm} {
		if form != at {
			t.compareForm(ctx, s, form, main)
		}
	}
	return nil
}

// readResource judges the document and takes from it what the login needs.
func (t *tracer) readResource(s *Step, a *answer) error {
	doc, err := a.object()
	if err != nil {
		return err
	}
	resource, err1 := doc.Text("resource")
	servers, err2 := doc.List("authorization_servers")
	scopes, err3 := doc.List("scopes_supported")
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if err := t.compareResource(s, resource); err != nil {
		return err
	}
	if len(servers) == 0 {
		return errors.New("names no authorization server")
	}
	if err := secureURL(servers[0]); err != nil {
		return fmt.Errorf("the authorization server %q %w", servers[0], err)
	}
	// The choice among several is the client's (RFC 9728 §7.6); the SDKs take the first.
	t.issuer, t.scopes = servers[0], scopes
	s.came("200, resource %s, authorization server %s, scopes %q", resource, strings.Join(servers, " and "), strings.Join(scopes, " "))
	return nil
}

// compareResource compares as the strictest clients do (Gemini CLI: byte by byte), and forgives what RFC 8707 readers
// forgive as a note. A resource that is a parent of the URL is taken by the TypeScript SDK only.
func (t *tracer) compareResource(s *Step, resource string) error {
	switch {
	case resource == t.target:
		return nil
	case resource == "":
		return errors.New("has no resource (RFC 9728 §2)")
	case oauth.SameResource(resource, strings.TrimSuffix(t.target, "/")):
		s.warn("resource is %q and not %q byte by byte: Gemini CLI refuses that", resource, t.target)
		return nil
	}
	return fmt.Errorf("resource is %q and not %q: clients must not use it (RFC 9728 §3.3)", resource, t.target)
}

// compareForm notes what a client meets that takes another of the well-known forms.
func (t *tracer) compareForm(ctx context.Context, s *Step, form string, main *answer) {
	a, err := t.get(ctx, s, form)
	switch {
	case err != nil:
		s.warn("%v", err)
	case a.status != http.StatusOK:
		s.warn("%s answers %d: clients that ignore the challenge look there", withoutQuery(form), a.status)
	case !bytes.Equal(bytes.TrimSpace(a.body), bytes.TrimSpace(main.body)):
		s.warn("%s differs from the document that the challenge names", withoutQuery(form))
	}
}

// scopeToAsk is the specification's strategy: the challenge's scope, else what the resource lists, else none; then what
// the imitated client adds.
func (t *tracer) scopeToAsk() oauth.Scope {
	if t.scope != "" {
		asked, _ := oauth.ParseScope(t.scope) // checked with the flags
		return asked
	}
	if t.client.allScopes && len(t.server.scopes) > 0 {
		return t.server.scopes
	}
	asked := oauth.Scope(strings.Fields(t.challenge["scope"]))
	if len(asked) == 0 {
		asked = slices.Clone(t.scopes)
	}
	if t.client.offline && t.server.scopes.Has("offline_access") {
		asked = asked.Union(oauth.Scope{"offline_access"})
	}
	return asked
}
