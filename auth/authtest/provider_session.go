package authtest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What Keycloak 26.7 says when it refuses a refresh token.
const (
	wordsExpired      = "Token is not active"
	wordsEnded        = "Session not active"
	wordsOfflineEnded = "Offline user session not found"
	wordsDetached     = "Session doesn't have required client"
	wordsStale        = "Stale token"
	wordsReuse        = "Maximum allowed refresh token reuse exceeded"
	wordsDisabled     = "User disabled"
)

// session is one sign-in of a user, with a sid. Whatever kills it kills all its lineages: Keycloak keeps one client
// session for all logins of a client in it.
type session struct {
	id, user string
	dead     string // why, in Keycloak's words; "" = alive
}

// lineage is the chain of refresh tokens from one login. Tokens name it and their number, so that no table of them is
// kept however long a campaign runs.
type lineage struct {
	id        string
	session   *session
	user      string
	scope     string
	nonce     string
	offline   bool
	issued    int // number of the latest refresh token
	used      int // number of the latest one that was used
	uses      int // how often
	refreshed time.Time
}

// note writes the lineage into the log line.
func (c *Call) note(l *lineage) { c.Lineage, c.Session = l.id, l.session.id }

func (p *Provider) newLineage(s *session, c *code) *lineage {
	l := &lineage{id: rand.Text(), session: s, user: c.user, scope: c.scope, nonce: c.nonce,
		offline: slices.Contains(strings.Fields(c.scope), "offline_access")}
	p.lineages[l.id] = l
	return l
}

// judge says in Keycloak's words why the refresh token is refused, "" if it is not, and counts its use.
func (p *Provider) judge(l *lineage, generation int, now time.Time) string {
	switch {
	case l.session.dead != "":
		return l.session.dead
	case p.user(l.user).Disabled:
		return wordsDisabled
	case !l.offline && now.Sub(l.refreshed) > p.behaviour.refreshLife():
		return wordsExpired
	case p.behaviour.Rotation == RotationNone:
		return ""
	case generation < l.used:
		l.session.dead = wordsDetached
		return wordsStale
	case generation > l.used:
		l.used, l.uses = generation, 0
	}
	l.uses++
	if most := map[Rotation]int{RotationReuse: 2, RotationStrict: 1}[p.behaviour.Rotation]; l.uses > most {
		l.session.dead = wordsDetached
		return wordsReuse
	}
	return ""
}

// mint makes "kind.lineage.number.mac".
func (p *Provider) mint(kind string, l *lineage, number int64) string {
	text := fmt.Sprintf("%s.%s.%d", kind, l.id, number)
	return text + "." + p.mac(text)
}

func (p *Provider) mac(text string) string {
	m := hmac.New(sha256.New, p.secret)
	m.Write([]byte(text))
	return hex.EncodeToString(m.Sum(nil)[:16])
}

func (p *Provider) read(kind, token string) (*lineage, int64, bool) {
	i := strings.LastIndexByte(token, '.')
	if i < 0 || !hmac.Equal([]byte(p.mac(token[:i])), []byte(token[i+1:])) {
		return nil, 0, false
	}
	parts := strings.Split(token[:i], ".")
	if len(parts) != 3 || parts[0] != kind {
		return nil, 0, false
	}
	number, err := strconv.ParseInt(parts[2], 10, 64)
	l := p.lineages[parts[1]]
	return l, number, err == nil && l != nil
}

func (p *Provider) newRefresh(l *lineage) string { return p.mint("rt", l, int64(l.issued)) }

func (p *Provider) refreshToken(token string) (*lineage, int, bool) {
	l, n, ok := p.read("rt", token)
	return l, int(n), ok
}

// newAccess makes an access token. Two made in the same second for one lineage must differ, so the number is in
// nanoseconds.
func (p *Provider) newAccess(l *lineage, expires time.Time) string {
	return p.mint("at", l, expires.UnixNano()+int64(l.issued))
}

func (p *Provider) access(token string, now time.Time) (*lineage, bool) {
	l, expires, ok := p.read("at", token)
	return l, ok && now.UnixNano() < expires
}

func (p *Provider) forget() {
	p.sessions, p.lineages, p.codes = map[string]*session{}, map[string]*lineage{}, map[string]*code{}
}

// Forget empties the provider's database: every token of before is "Invalid refresh token", as if another server stood
// behind the name.
func (p *Provider) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget()
}

// EndSession ends all sessions of a user, as an administrator or the provider's own account page does; words are what
// refreshes are refused with, "" = Keycloak's of an ended session.
func (p *Provider) EndSession(user, words string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sessions {
		if s.user == user && s.dead == "" {
			s.dead = words
			if words == "" {
				s.dead = wordsEnded
			}
		}
	}
}

// Session is what became of one sign-in at the provider.
type Session struct {
	ID, User string
	Dead     string // why refreshes are refused; "" = alive
}

// Sessions returns all sign-ins, in no order.
func (p *Provider) Sessions() []Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Session
	for s := range maps.Values(p.sessions) {
		out = append(out, Session{s.id, s.user, s.dead})
	}
	return out
}
