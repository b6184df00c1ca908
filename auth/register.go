package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// Dynamic client registration (RFC 7591; protocol.md §3.1). The client id is derived from the metadata, so that the
// clients that register at every connect get the same id again, without a write and even after it was pruned.
//
// The name is counted in characters, since it is for people; the minimum age keeps a flood of registrations from
// pushing out a client that is just logging in.
const (
	maxClientName   = 100 // characters
	maxRedirectURIs = 10
	maxJSONDepth    = 100
	clientMinAge    = time.Hour // a registration is never evicted younger than this
)

// metadata is the client metadata that we use and echo (RFC 7591 §2). All else is ignored and never fetched. Its JSON
// is what the client id is derived from: another field, order or omitempty would give every client a new id.
type metadata struct {
	RedirectURIs    []string `json:"redirect_uris"`
	Name            string   `json:"client_name,omitempty"`
	URI             string   `json:"client_uri,omitempty"`
	GrantTypes      []string `json:"grant_types"`
	ResponseTypes   []string `json:"response_types"`
	Scope           string   `json:"scope,omitempty"`
	ApplicationType string   `json:"application_type,omitempty"`
}

// registration is the client information response (RFC 7591 §3.2.1). Every client is public, whatever it asked.
type registration struct {
	ClientID string `json:"client_id"`
	IssuedAt int64  `json:"client_id_issued_at"`
	metadata
	AuthMethod string `json:"token_endpoint_auth_method"`
}

// register is the endpoint.
func (s *Server) register(w http.ResponseWriter, r *http.Request) error {
	m, err := s.readMetadata(r)
	if err != nil {
		s.metrics.registrations.WithLabelValues("refused").Inc()
		return err
	}
	answer, created, err := s.registerClient(r, m)
	if err != nil {
		s.metrics.registrations.WithLabelValues("refused").Inc()
		return err
	}
	s.metrics.registrations.WithLabelValues(map[bool]string{true: "created", false: "known"}[created]).Inc()
	info := Request(r.Context())
	info.Grant("", answer.ClientID, "")
	info.Reason(oauth.Registered)
	return writeJSON(w, http.StatusCreated, answer)
}

// registerClient stores the client unless it is there already. Only new metadata counts against the address. A known
// client is answered without a write, as often as it likes: some register at every connect. client_id_issued_at is
// then that of the first time.
func (s *Server) registerClient(r *http.Request, m metadata) (registration, bool, error) {
	now := s.now()
	id := s.clientID(m)
	answer := registration{ClientID: id, IssuedAt: now.Unix(), metadata: m, AuthMethod: "none"}
	old, err := s.store.Client(id)
	switch {
	case err == nil:
		answer.IssuedAt = old.Created.Unix()
		return answer, false, nil
	case !errors.Is(err, storage.ErrNotFound):
		return answer, false, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	if err := s.limits.register.allow(Request(r.Context()).Address, now); err != nil {
		return answer, false, err
	}
	created, err := s.store.RegisterClient(r.Context(), storage.Client{
		ID: id, Kind: storage.ClientRegistered, Name: m.Name, URI: m.URI, RedirectURIs: m.RedirectURIs,
		GrantTypes: m.GrantTypes, ResponseTypes: m.ResponseTypes, Scope: m.Scope, ApplicationType: m.ApplicationType,
		Created: now, LastUsed: now,
	}, storage.RegisterLimits{Max: s.clients.RegisterMax, MinAge: clientMinAge})
	switch {
	case errors.Is(err, storage.ErrFull):
		return answer, false, oauth.Unavailable(oauth.RegistrationFull, err)
	case err != nil:
		return answer, false, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	return answer, created, nil
}

// readMetadata parses and judges the request body; nothing is stored for a bad one.
func (s *Server) readMetadata(r *http.Request) (metadata, error) {
	if !isJSON(r.Header.Get("Content-Type")) {
		return metadata{}, oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).With(http.StatusUnsupportedMediaType)
	}
	body, err := readBody(r, oauth.Fail(oauth.InvalidClientMetadata, oauth.RegistrationInvalid))
	if err != nil {
		return metadata{}, err
	}
	m, err := parseMetadata(body)
	if err != nil {
		return m, oauth.Fail(oauth.InvalidClientMetadata, oauth.RegistrationInvalid).Because(err)
	}
	return m.normalised(s.redirectRules())
}

// parseMetadata reads the members that we use, by their exact names. encoding/json would take "Redirect_URIs" for one
// of them (RFC 8259 §8.3).
func parseMetadata(body []byte) (m metadata, err error) {
	o, err := oauth.ParseObject(body, maxJSONDepth)
	if err != nil {
		return m, err
	}
	text := func(name string) string {
		v, e := o.Text(name)
		err = errors.Join(err, e)
		return v
	}
	list := func(name string) []string {
		v, e := o.List(name)
		err = errors.Join(err, e)
		return v
	}
	m = metadata{
		RedirectURIs: list("redirect_uris"), Name: text("client_name"), URI: text("client_uri"),
		GrantTypes: list("grant_types"), ResponseTypes: list("response_types"), Scope: text("scope"),
		ApplicationType: text("application_type"),
	}
	return m, err
}

// normalised returns m as we echo and store it, or why it is not acceptable.
func (m metadata) normalised(rules oauth.RedirectRules) (metadata, error) {
	refuse := func(code oauth.Code, format string, args ...any) (metadata, error) {
		return metadata{}, oauth.Fail(code, oauth.RegistrationInvalid).Because(fmt.Errorf(format, args...))
	}
	if n := len(m.RedirectURIs); n < 1 || n > maxRedirectURIs {
		return refuse(oauth.InvalidRedirectURI, "%d redirect_uris", n)
	}
	for i, u := range m.RedirectURIs {
		if err := rules.Check(u); err != nil {
			return refuse(oauth.InvalidRedirectURI, "redirect_uris[%d]: %w", i, err)
		}
		if slices.Contains(m.RedirectURIs[:i], u) {
			return refuse(oauth.InvalidRedirectURI, "redirect_uris[%d] is there twice", i)
		}
	}
	// Absent means authorization_code and code (RFC 7591 §2).
	if len(m.GrantTypes) > 0 && !slices.Contains(m.GrantTypes, "authorization_code") {
		return refuse(oauth.InvalidClientMetadata, "grant_types without authorization_code")
	}
	if len(m.ResponseTypes) > 0 && !slices.Contains(m.ResponseTypes, "code") {
		return refuse(oauth.InvalidClientMetadata, "response_types without code")
	}
	if _, err := oauth.ParseScope(m.Scope); err != nil {
		return refuse(oauth.InvalidClientMetadata, "scope: %w", err)
	}
	// for people to read: what could make them read something else is removed, not refused
	m.Name = oauth.DisplayText(m.Name, maxClientName)
	if (oauth.RedirectRules{}).Check(m.URI) != nil || oauth.RedirectKind(m.URI) != oauth.KindHTTPS {
		m.URI = "" // shown as text: a bad one is no reason to refuse the client
	}
	// It is echoed and has no effect; a value that nobody defined is not ours to repeat.
	if m.ApplicationType != "native" && m.ApplicationType != "web" {
		m.ApplicationType = ""
	}
	// RFC 7591 §3.2.1: we may replace what was asked, and say so in the answer. Every client gets refresh tokens.
	m.GrantTypes = []string{"authorization_code", "refresh_token"}
	m.ResponseTypes = []string{"code"}
	return m, nil
}

// clientID derives the id from the normalised metadata: redirect URIs sorted and without loopback ports, since some
// clients register with a random port in every process (protocol.md §3.1 [C2]).
func (s *Server) clientID(m metadata) string {
	uris := make([]string, len(m.RedirectURIs))
	for i, u := range m.RedirectURIs {
		uris[i] = oauth.StripLoopbackPort(u)
	}
	slices.Sort(uris)
	m.RedirectURIs = slices.Compact(uris)
	canonical, err := json.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("encode client metadata: %v", err)) // strings alone always encode
	}
	// 22 characters are 132 bits: nobody finds other metadata with the same id
	return clientIDPrefix + base64.RawURLEncoding.EncodeToString(keyedHash(s.clientIDKey, canonical))[:22]
}

// isJSON says whether a Content-Type is application/json, whatever its parameters.
func isJSON(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(media), "application/json")
}
