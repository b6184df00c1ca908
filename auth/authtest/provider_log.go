package authtest

import (
	"net/url"
	"slices"
	"time"
)

// Call is one request as the provider saw it.
type Call struct {
	ID       int // counts from 1
	At       time.Time
	Endpoint Endpoint
	Form     url.Values // query and body
	Basic    bool       // credentials came in the Authorization header
	Bearer   string     // of userinfo
	Grant    string     // grant_type of a token request
	Audience string     // asked for in a token exchange

	Session    string // sid, when a code or token named one
	Lineage    string // one login's chain of refresh tokens
	Generation int    // of the refresh token presented, from 1

	Status      int    // decided; 0 = nothing was
	Error       string // of a refusal
	Description string
	Carried     bool // the request took effect
	Answered    bool // the whole true answer was handed to the network. The client may be gone all the same
}

// RefreshToken returns the refresh token presented, "" if none was.
func (c Call) RefreshToken() string { return c.Form.Get("refresh_token") }

type callLog struct {
	most   int
	last   int
	calls  []*Call
	counts map[countKey]int
}

type countKey struct {
	endpoint Endpoint
	grant    string
}

// arrive logs a request; the oldest is forgotten when the log is full.
func (l *callLog) arrive(c *Call) {
	l.last++
	c.ID = l.last
	if l.counts == nil {
		l.counts = map[countKey]int{}
	}
	l.counts[countKey{c.Endpoint, c.Grant}]++
	if len(l.calls) >= l.most {
		l.calls = slices.Delete(l.calls, 0, max(1, l.most/10))
	}
	l.calls = append(l.calls, c)
}

// Calls returns the log of the endpoints in order of arrival; of all with no argument. A request at a gate is in it.
func (p *Provider) Calls(endpoints ...Endpoint) []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Call
	for _, c := range p.log.calls {
		if len(endpoints) == 0 || slices.Contains(endpoints, c.Endpoint) {
			out = append(out, *c)
		}
	}
	return out
}

// Count returns how many requests an endpoint has got, forgotten ones too; with grants only those grant types.
func (p *Provider) Count(e Endpoint, grants ...string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for k, count := range p.log.counts {
		if k.endpoint == e && (len(grants) == 0 || slices.Contains(grants, k.grant)) {
			n += count
		}
	}
	return n
}

// RefreshTokens returns every refresh token presented at the token endpoint, in order.
func (p *Provider) RefreshTokens() []string {
	var out []string
	for _, c := range p.Calls(Token) {
		if t := c.RefreshToken(); t != "" {
			out = append(out, t)
		}
	}
	return out
}

// Revoked returns every token presented at the revocation endpoint, in order.
func (p *Provider) Revoked() []string {
	var out []string
	for _, c := range p.Calls(Revoke) {
		out = append(out, c.Form.Get("token"))
	}
	return out
}

// ResetLog forgets all calls and counts.
func (p *Provider) ResetLog() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = callLog{most: p.log.most}
}
