package authtest

import (
	"net/http"
	"net/url"
	"slices"
)

// token is the token endpoint (RFC 6749 §3.2): client authentication first, in Keycloak's statuses and words.
func (p *Provider) token(x *exchange) answer {
	if a, ok := p.authenticate(x); !ok {
		return a
	}
	switch x.call.Grant {
	case "authorization_code":
		return p.redeem(x)
	case "refresh_token":
		return p.refresh(x)
	case grantExchange:
		return p.exchangeToken(x)
	}
	return x.refuse(http.StatusBadRequest, "unsupported_grant_type", "Unsupported grant_type")
}

func (p *Provider) authenticate(x *exchange) (answer, bool) {
	methods := p.behaviour.authMethods()
	id, secret, method := x.form.Get("client_id"), x.form.Get("client_secret"), "client_secret_post"
	r := http.Request{Header: x.header}
	if user, password, ok := r.BasicAuth(); ok {
		id, _ = url.QueryUnescape(user) // RFC 6749 §2.3.1
		secret, _ = url.QueryUnescape(password)
		method = "client_secret_basic"
	}
	// Keycloak takes a client_id in the body, even an empty one, for the client that asks (measured on 26.7)
	named, sent := x.form["client_id"]
	switch {
	case id != p.ClientID, sent && named[0] != p.ClientID:
		return x.refuse(http.StatusUnauthorized, "invalid_client", "Invalid client or Invalid client credentials"), false
	case secret != p.ClientSecret || !slices.Contains(methods, method):
		return x.refuse(http.StatusUnauthorized, "unauthorized_client", "Invalid client or Invalid client credentials"), false
	}
	return answer{}, true
}

// redeem takes a code once. A second time kills what the first brought.
func (p *Provider) redeem(x *exchange) answer {
	c := p.codes[x.form.Get("code")]
	switch {
	case c == nil || x.now.After(c.expires):
		return x.refuse(http.StatusBadRequest, "invalid_grant", "Code not valid")
	case c.lineage != nil:
		c.lineage.session.dead = wordsDetached
		return x.refuse(http.StatusBadRequest, "invalid_grant", "Code not valid")
	case x.form.Get("redirect_uri") != c.redirectURI:
		return x.refuse(http.StatusBadRequest, "invalid_grant", "Incorrect redirect_uri")
	case s256(x.form.Get("code_verifier")) != c.challenge:
		return x.refuse(http.StatusBadRequest, "invalid_grant", "PKCE verification failed: Code mismatch")
	}
	s := p.sessions[c.sid]
	if s == nil {
		return x.refuse(http.StatusBadRequest, "invalid_grant", "Code not valid")
	}
	c.lineage = p.newLineage(s, c)
	return p.issue(x, c.lineage, false)
}

// refresh judges the refresh token and issues the next one.
func (p *Provider) refresh(x *exchange) answer {
	l, generation, ok := p.refreshToken(x.form.Get("refresh_token"))
	if !ok {
		return x.refuse(http.StatusBadRequest, "invalid_grant", "Invalid refresh token")
	}
	x.call.note(l)
	x.call.Generation = generation
	if words := p.judge(l, generation, x.now); words != "" {
		return x.refuse(http.StatusBadRequest, "invalid_grant", words)
	}
	return p.issue(x, l, true)
}

// issue answers with new tokens (RFC 6749 §5.1).
func (p *Provider) issue(x *exchange, l *lineage, refresh bool) answer {
	b := p.behaviour
	x.call.note(l)
	access := p.newAccess(l, x.now.Add(b.accessLife()))
	m := map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": int(b.accessLife().Seconds()), "scope": l.scope,
		"session_state": l.session.id,
	}
	if !b.NoRefreshToken {
		l.issued++
		l.refreshed = x.now
		m["refresh_token"] = p.newRefresh(l)
	}
	if !b.NoRefreshExpires && !b.NoRefreshToken {
		m["refresh_expires_in"] = 0
		if !l.offline {
			m["refresh_expires_in"] = int(b.refreshLife().Seconds())
		}
	}
	if refresh && !b.NoRefreshIDToken || !refresh && !b.NoIDToken {
		m["id_token"] = p.newIDToken(l, access, refresh, x.now)
	}
	if b.TokenAnswer != nil {
		b.TokenAnswer(refresh, m)
	}
	return jsonAnswer(http.StatusOK, m)
}

// revoke ends the session of a refresh token (RFC 7009). As Keycloak does it, a token that is not known is a 200 with
// an error inside.
func (p *Provider) revoke(x *exchange) answer {
	if a, ok := p.authenticate(x); !ok {
		return a
	}
	l, generation, ok := p.refreshToken(x.form.Get("token"))
	if !ok || l.session.dead != "" {
		return x.refuse(http.StatusOK, "invalid_token", "Invalid token")
	}
	x.call.note(l)
	x.call.Generation = generation
	l.session.dead = wordsEnded
	if l.offline {
		l.session.dead = wordsOfflineEnded
	}
	return answer{status: http.StatusOK}
}
