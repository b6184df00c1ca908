package auth

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"hostedmcp/auth/oauth"
)

// credentials are what a client presented at /token or /revoke (RFC 6749 §2.3.1), before anything is believed. Which
// of them are right is match's to say, once the client is known.
type credentials struct {
	id        string
	secrets   []string // spellings of one secret to try; empty = none presented
	usedBasic bool
}

var (
	errCredentials = errors.New("client credentials are missing or contradict each other")
	errAuthMethod  = errors.New("an authentication method that is not offered")
)

// authenticateClient says which client asks, by the table of protocol.md §5.1, before anything is spent. First of
// all, so that a code or refresh token in strange hands is neither spent nor judged (style.md, trap 9).
func (s *Server) authenticateClient(ctx context.Context, h http.Header, p oauth.Params) (client, error) {
	creds, err := readCredentials(h, p)
	switch {
	case errors.Is(err, errAuthMethod):
		return client{}, oauth.Fail(oauth.InvalidClient, oauth.ClientAuthFailed).Because(err)
	case err != nil:
		return client{}, oauth.Fail(oauth.InvalidRequest, oauth.RequestInvalid).Because(err)
	}
	if len(creds.id) <= maxClientID { // a longer one is nobody's, and no line of the log
		Request(ctx).Grant("", creds.id, "")
	}
	c, err := s.storedClient(creds.id)
	unknown := isReason(err, oauth.ClientUnknown)
	if err != nil && !unknown {
		return client{}, err
	}
	ok := creds.match(c) // also for an unknown client, in the same time
	if ok && !unknown {
		return c, nil
	}
	reason := oauth.ClientAuthFailed
	if unknown {
		reason = oauth.ClientUnknown
	}
	e := oauth.Fail(oauth.InvalidClient, reason)
	e.Basic = creds.usedBasic // RFC 6749 §5.2: the challenge of the scheme that was tried
	return client{}, e
}

// readCredentials takes the id and at most one secret from header and body. An empty secret is none: a public client
// may send one (go-sdk does, with Basic).
func readCredentials(h http.Header, p oauth.Params) (credentials, error) {
	creds := credentials{id: p.Get("client_id")}
	if secret := p.Get("client_secret"); secret != "" {
		creds.secrets = []string{secret}
	}
	basic := h.Values("Authorization")
	if len(basic) == 0 {
		return creds, creds.complete()
	}
	user, raw, err := basicAuth(basic)
	if err != nil {
		return creds, err
	}
	creds.usedBasic = true
	// RFC 6749 §2.3.1: the id is form-encoded before it becomes a user name. go-sdk sends a URL so.
	id, err := url.QueryUnescape(user)
	if err != nil || id == "" || (creds.id != "" && creds.id != id) {
		return creds, errCredentials
	}
	creds.id = id
	if raw == "" {
		return creds, creds.complete()
	}
	// RFC 6749 §2.3: not more than one method in a request. Which of two secrets counts must not be ours to guess.
	if len(creds.secrets) > 0 {
		return creds, errCredentials
	}
	// RFC 6749 §2.3.1 encodes the secret; the TypeScript SDK does not
	if decoded, err := url.QueryUnescape(raw); err == nil && decoded != raw {
		creds.secrets = append(creds.secrets, decoded)
	}
	creds.secrets = append(creds.secrets, raw)
	return creds, creds.complete()
}

// complete refuses credentials without an id: a public client names itself too (RFC 6749 §4.1.3).
func (c credentials) complete() error {
	if c.id == "" {
		return errCredentials
	}
	return nil
}

// basicAuth returns user and secret of exactly one Basic header (RFC 7617 §2).
func basicAuth(headers []string) (user, secret string, err error) {
	if len(headers) != 1 {
		return "", "", errCredentials
	}
	scheme, encoded, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", errAuthMethod
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return "", "", errCredentials
	}
	user, secret, ok := strings.Cut(string(raw), ":")
	if !ok {
		return "", "", errCredentials
	}
	return user, secret, nil
}

// match compares hashes in constant time, for every client alike, so that the time does not tell a confidential client
// from one that does not exist. A public client must present no secret, a confidential one the right one; the empty
// value never reaches the comparison.
func (c credentials) match(cl client) bool {
	ok := 0
	for _, secret := range c.secrets {
		hash := hashOf(secret)
		ok |= subtle.ConstantTimeCompare(hash[:], cl.secretHash[:])
	}
	if !cl.confidential {
		return len(c.secrets) == 0
	}
	return ok == 1
}

// isReason says whether err is a refusal for this reason.
func isReason(err error, reason oauth.Reason) bool {
	var e *oauth.Error
	return errors.As(err, &e) && e.Reason == reason
}
