package auth

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// ticket is the sealed authorization request inside the consent form: what the user saw, so that /consent resolves
// nothing anew. Nothing is stored for a request that nobody approved.
type ticket struct {
	RequestID   string      `json:"id"`
	Client      string      `json:"client"`
	Name        string      `json:"name"`
	Kind        clientKind  `json:"kind"`
	CopyDate    string      `json:"copy,omitempty"`
	RedirectURI string      `json:"redirect"`
	Scope       oauth.Scope `json:"scope"`
	Resource    string      `json:"resource"`
	Challenge   string      `json:"challenge"`
	State       []byte      `json:"state,omitempty"` // bytes, since escapes would make it grow past what a form may hold
	Expires     int64       `json:"exp"`             // Unix seconds
}

// ticketKind is additional data of the seal: a ticket is good for nothing else.
const ticketKind = "authorization request"

var errTicket = errors.New("not a ticket of ours")

// newTicket seals a fresh request id and expiry into t. A new id each time: one that was denied or used stays so,
// whatever page is shown later. The data key is stored, so a restart does not invalidate open pages.
func (s *Server) newTicket(t ticket, now time.Time) (string, error) {
	t.RequestID = rand.Text()
	t.Expires = now.Add(s.tokens.RequestTTL.D()).Unix()
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false) // nor may a redirect URI full of '&' grow
	if err := e.Encode(t); err != nil {
		return "", fmt.Errorf("encode ticket: %w", err)
	}
	sealed := s.store.Seal("ticket", plain.Bytes(), []byte(ticketKind))
	return ticketPrefix + base64.RawURLEncoding.EncodeToString(sealed), nil
}

// openTicket returns what newTicket sealed; an expired ticket opens too, its Expires tells. Whatever is wrong with it
// has one answer, "start again": a stranger who bends tickets learns nothing.
func (s *Server) openTicket(sealed string) (ticket, error) {
	var t ticket
	encoded, ok := strings.CutPrefix(sealed, ticketPrefix)
	if !ok {
		return t, errTicket
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return t, errTicket
	}
	plain, err := s.store.OpenSealed("ticket", raw, []byte(ticketKind))
	if err != nil {
		return t, errTicket
	}
	if err := json.Unmarshal(plain, &t); err != nil {
		return t, errTicket
	}
	return t, nil
}

// client returns the client as the ticket describes it.
func (t ticket) client() client {
	return client{id: t.Client, name: t.Name, kind: t.Kind, copyDate: t.CopyDate}
}

// consentPage is the question that the ticket asks. Everything on it comes out of the ticket, so that what is shown
// and what /consent acts on cannot differ.
func (s *Server) consentPage(t ticket, sealed, token string, renewed bool) ConsentPage {
	p := ConsentPage{
		Client: t.client().page(t.RedirectURI), Ticket: sealed, Token: token, Renewed: renewed,
		Scopes: s.scopeSentences(t.Scope), Scope: t.Scope.String(), Resource: t.Resource,
		RedirectURI: t.RedirectURI, Idle: s.tokens.RefreshIdle, MaxAge: s.tokens.RefreshMax,
	}
	p.RedirectHost, p.Scheme = redirectTarget(t.RedirectURI)
	return p
}

// approval is what an approval stores of the ticket. State secret, binding and times are added by toProvider.
func (t ticket) approval() storage.Request {
	return storage.Request{
		ID: t.RequestID, ClientID: t.Client, ClientName: t.Name, RedirectURI: t.RedirectURI, Scope: t.Scope.String(),
		Resource: t.Resource, Challenge: t.Challenge, State: string(t.State), TicketExpires: time.Unix(t.Expires, 0),
	}
}
