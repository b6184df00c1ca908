package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"hostedmcp/auth/cimd"
	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// maxClientID is the longest client_id in bytes (protocol.md §3.3). Longer ones are nobody's, and no line of the log.
const maxClientID = 512

// A client is known in one of four ways; the consent page says which. The numbers stand in sealed tickets, which
// outlive an upgrade: new kinds go to the end.
type clientKind int

const (
	kindKnown      clientKind = iota + 1 // pre-registered by the operator
	kindDocument                         // client ID metadata document, fetched
	kindBuiltIn                          // the same, from the copy in the binary
	kindRegistered                       // dynamic registration (RFC 7591)
)

// client is a resolved MCP client. At /token and /revoke only id and secret matter: the code and the grant hold what
// they were made with.
type client struct {
	id, name     string
	kind         clientKind
	copyDate     string // kindBuiltIn
	redirectURIs []string
	confidential bool
	secretHash   [sha256.Size]byte // of a confidential client
}

// host is the host that vouches for a document's name, "" for other kinds. DNS and the certificate authorities vouch
// for it; a name that a program gave itself nobody does.
func (c client) host() string {
	if c.kind != kindDocument && c.kind != kindBuiltIn {
		return ""
	}
	u, err := url.Parse(c.id)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// trusted says whether the operator vouches for the client's redirect URIs, so that errors may be redirected to its
// https ones without a click (RFC 9700 §4.11.2).
func (c client) trusted() bool { return c.kind == kindKnown }

// page describes the client for a page whose answer goes to redirectURI. The kinds are told apart here once, so that
// the template has nothing to decide.
func (c client) page(redirectURI string) PageClient {
	target := oauth.RedirectKind(redirectURI)
	return PageClient{
		ID: c.id, Name: cmp.Or(c.name, "Unnamed program"), Host: c.host(), CopyDate: c.copyDate,
		Registered: c.kind == kindRegistered, Document: c.kind == kindDocument,
		BuiltIn: c.kind == kindBuiltIn, Known: c.kind == kindKnown,
		Loopback: target == oauth.KindLoopback, PrivateUse: target == oauth.KindPrivate,
	}
}

// redirectRules are what every redirect URI must meet, whoever names it.
func (s *Server) redirectRules() oauth.RedirectRules {
	return oauth.RedirectRules{Issuer: s.issuer, PrivateSchemes: s.clients.PrivateSchemes}
}

// redirect returns the URI to answer to: the presented one if it matches, the only registered one if none was
// presented (RFC 6749 §3.1.2.3). A loopback one must be presented: registrations that differ in the port alone share an
// id, so the port on file may be somebody else's (protocol.md §3.1). Matching is oauth's one function for all kinds of clients: two rules would soon
// differ (protocol.md §3.2).
func (c client) redirect(presented string) (string, bool) {
	if presented == "" {
		if len(c.redirectURIs) == 1 && oauth.RedirectKind(c.redirectURIs[0]) != oauth.KindLoopback {
			return c.redirectURIs[0], true
		}
		return "", false
	}
	return presented, slices.ContainsFunc(c.redirectURIs, func(registered string) bool {
		return oauth.MatchRedirect(registered, presented)
	})
}

// resolve finds the client for /authorize: pre-registered, metadata document, dynamic registration, in this order, so
// that a pre-registered id wins over fetching (protocol.md §3). It may dial out and must not run in a transaction.
func (s *Server) resolve(ctx context.Context, id string) (client, error) {
	if c, ok := s.registered[id]; ok {
		return c, nil
	}
	switch {
	case !strings.HasPrefix(id, "https://"):
		return s.storedClient(id)
	case !s.clients.CIMD: // a stored copy that nobody fetches again would never grow too old
		return client{}, oauth.Fail(oauth.InvalidRequest, oauth.ClientUnknown)
	}
	return s.resolveDocument(ctx, id)
}

// storedClient finds a client without the network, for /token and /revoke. A document's client is known there by the
// copy that its approval stored (protocol.md §3.3): a website that is down, or a slow one, ends nobody's connection.
func (s *Server) storedClient(id string) (client, error) {
	if c, ok := s.registered[id]; ok {
		return c, nil
	}
	rec, err := s.store.Client(id)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return client{}, oauth.Fail(oauth.InvalidRequest, oauth.ClientUnknown)
	case err != nil:
		return client{}, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	c := client{id: rec.ID, name: rec.Name, kind: kindRegistered, redirectURIs: rec.RedirectURIs}
	if rec.Document != nil {
		c.kind = kindDocument
	}
	return c, nil
}

// resolveDocument fetches a client's metadata document, or takes the last good copy (protocol.md §3.3; the rules are
// package cimd's).
func (s *Server) resolveDocument(ctx context.Context, id string) (client, error) {
	if err := oauth.CheckClientIDURL(id); err != nil {
		return client{}, oauth.Fail(oauth.InvalidRequest, oauth.ClientUnknown).Because(err)
	}
	// A store that cannot be read costs the stale copy, not the fetch.
	var copied *cimd.Document
	if rec, err := s.store.Client(id); err == nil && rec.Document != nil {
		copied = documentOf(rec)
	}
	leave, err := s.limits.fetches.enter(Request(ctx).Address)
	if err != nil {
		return client{}, err
	}
	defer leave()
	doc, err := s.documents.Fetch(ctx, id, copied)
	if err != nil {
		return client{}, documentError(err)
	}
	c := client{id: id, name: doc.Name, kind: kindDocument, redirectURIs: doc.RedirectURIs}
	if doc.BuiltIn {
		c.kind, c.copyDate = kindBuiltIn, doc.CopyDate
	}
	return c, nil
}

// documentError is what the browser hears of a document that could not be used. Blocked and unreachable look alike on
// the wire: the difference would map the network that we stand in.
func documentError(err error) error {
	switch {
	case errors.Is(err, cimd.ErrInvalid):
		return oauth.Fail(oauth.InvalidRequest, oauth.CIMDInvalid).Because(err)
	case errors.Is(err, cimd.ErrBlocked):
		return oauth.Fail(oauth.InvalidRequest, oauth.CIMDBlocked).Because(err)
	case errors.Is(err, cimd.ErrBusy):
		return oauth.Fail(oauth.TemporarilyUnavailable, oauth.RateLimited).With(http.StatusTooManyRequests).Because(err)
	}
	return oauth.Fail(oauth.InvalidRequest, oauth.CIMDFailed).Because(err)
}

// documentOf is the stored copy as the fetcher knows it: its ETag saves a body, its age decides how long it may stand
// in.
func documentOf(c storage.Client) *cimd.Document {
	return &cimd.Document{
		ClientID: c.ID, Name: c.Name, URI: c.URI, RedirectURIs: c.RedirectURIs,
		ETag: c.Document.ETag, Fetched: c.Document.Fetched, FreshUntil: c.Document.FreshUntil,
	}
}

// recordOf is what an approval stores of a fetched document.
func recordOf(d cimd.Document) *storage.Client {
	return &storage.Client{
		ID: d.ClientID, Kind: storage.ClientDocument, Name: d.Name, URI: d.URI, RedirectURIs: d.RedirectURIs,
		Document: &storage.Document{ETag: d.ETag, Fetched: d.Fetched, FreshUntil: d.FreshUntil},
	}
}

// registeredClients indexes `[[clients.registered]]` by id. A secret is kept as its hash, as match compares it.
func registeredClients(list []RegisteredClient) map[string]client {
	out := map[string]client{}
	for _, r := range list {
		c := client{id: r.ID, name: r.Name, kind: kindKnown, redirectURIs: r.RedirectURIs}
		if secret := r.Secret.Reveal(); secret != "" {
			c.confidential, c.secretHash = true, hashOf(secret)
		}
		out[r.ID] = c
	}
	return out
}
