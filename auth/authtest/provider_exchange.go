package authtest

import (
	"encoding/hex"
	"net/http"
	"slices"
)

// Token exchange (RFC 8693) as Keycloak 26.7 was measured: statuses, words, and no refresh token.
const (
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccess    = "urn:ietf:params:oauth:token-type:access_token"
)

// exchangeToken takes a user's living access token for one that is for another audience.
func (p *Provider) exchangeToken(x *exchange) answer {
	b, audience := p.behaviour, x.form.Get("audience")
	x.call.Audience = audience
	if b.NoExchange {
		return x.refuse(http.StatusBadRequest, "invalid_request", "Standard token exchange is not enabled for the requested client")
	}
	l, ok := p.access(x.form.Get("subject_token"), x.now)
	switch {
	case x.form.Get("subject_token_type") != typeAccess:
		return x.refuse(http.StatusBadRequest, "invalid_request", "Invalid token type, must be access token")
	case !ok || l.session.dead != "" || p.user(l.user).Disabled:
		return x.refuse(http.StatusBadRequest, "invalid_request", "Invalid token")
	case !slices.Contains(b.audiences(), audience):
		return x.refuse(http.StatusBadRequest, "invalid_request", "Requested audience not available: "+audience)
	}
	x.call.note(l)
	expires := x.now.Add(b.accessLife())
	return jsonAnswer(http.StatusOK, map[string]any{
		"access_token": p.mint(exchangedKind(audience), l, expires.UnixNano()), "token_type": "Bearer",
		"issued_token_type": typeAccess, "expires_in": int(b.accessLife().Seconds()), "refresh_expires_in": 0,
		"session_state": l.session.id, "scope": l.scope,
	})
}

// exchangedKind keeps a token for one audience from being read as one for another.
func exchangedKind(audience string) string { return "xt-" + hex.EncodeToString([]byte(audience)) }

// Exchanged says whose an exchanged token is, as the service behind audience would judge it; ok = it is for that
// audience, made by this provider, and neither it nor its session is over.
func (p *Provider) Exchanged(token, audience string) (user string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, expires, ok := p.read(exchangedKind(audience), token)
	if !ok || p.now().UnixNano() >= expires || l.session.dead != "" {
		return "", false
	}
	return l.user, true
}

func (b Behaviour) audiences() []string {
	if b.Audiences == nil {
		return []string{"crm-api"}
	}
	return b.Audiences
}
