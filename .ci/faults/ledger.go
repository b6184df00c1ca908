package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hostedmcp/auth/authtest"
)

// ledger is the provider's side of the story, and the only witness: which refresh token was exchanged when, which was
// presented later, what was refused. It knows nothing of the server under test.
type ledger struct {
	provider *authtest.Provider

	mu    sync.Mutex
	lines map[string]*line // by lineage: one login and its chain of refresh tokens
	last  map[string]string
	lives lives
	seen  int          // the last call read
	open  map[int]bool // calls read before they were decided
}

// line is one lineage.
type line struct {
	user      string
	newest    time.Time         // the last issue
	exchanges int               // refreshes carried out
	issued    map[int]issue     // by generation
	asked     map[int]time.Time // when the exchange of a generation that was accepted arrived
	presented int               // the highest generation presented: what the server surely had stored
	refused   []refusal
	touched   []string // access tokens seen at userinfo
}

// remembered is how many generations of a lineage are kept: a campaign is long, and only the last ones are asked for.
const remembered = 20

type issue struct {
	at     time.Time
	access string
}

type refusal struct {
	at         time.Time
	generation int
	words      string
}

func newLedger() *ledger {
	return &ledger{lines: map[string]*line{}, last: map[string]string{}, open: map[int]bool{}}
}

// watch has the provider write each token answer into the ledger, at the moment at which it takes effect.
func (l *ledger) watch(b *authtest.Behaviour) {
	b.TokenAnswer = func(refresh bool, m map[string]any) {
		token, _ := m["refresh_token"].(string)
		lineage, generation, ok := parseToken(token)
		if !ok {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		at := l.lines[lineage]
		if at == nil {
			at = &line{issued: map[int]issue{}, asked: map[int]time.Time{}}
			l.lines[lineage] = at
		}
		access, _ := m["access_token"].(string)
		at.issued[generation] = issue{time.Now(), access}
		delete(at.issued, generation-remembered)
		at.newest = at.issued[generation].at
		if refresh {
			at.exchanges++
		} else {
			idToken, _ := m["id_token"].(string)
			at.user = subject(idToken)
			l.last[at.user] = lineage
		}
	}
}

// parseToken reads "rt.LINEAGE.GENERATION.MAC".
func parseToken(token string) (lineage string, generation int, ok bool) {
	p := strings.Split(token, ".")
	if len(p) != 4 {
		return "", 0, false
	}
	n, err := strconv.Atoi(p[2])
	return p[1], n, err == nil
}

func subject(idToken string) string {
	p := strings.Split(idToken, ".")
	if len(p) != 3 {
		return ""
	}
	text, _ := base64.RawURLEncoding.DecodeString(p[1])
	var claims struct{ Sub string }
	_ = json.Unmarshal(text, &claims) // no sub, no user: nobody is found by it
	return claims.Sub
}

// read takes over what the provider's log has got since the last time. A call that is not decided yet is looked at
// again: one that was given up at a gate never will be.
func (l *ledger) read() {
	calls := l.provider.Calls(authtest.Token, authtest.Userinfo)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range calls {
		if c.ID <= l.seen && !l.open[c.ID] {
			continue
		}
		l.seen = max(l.seen, c.ID)
		if delete(l.open, c.ID); c.Status == 0 {
			l.open[c.ID] = time.Since(c.At) < time.Minute
			continue
		}
		l.take(c)
	}
}

func (l *ledger) take(c authtest.Call) {
	if lineage, _, ok := parseToken(c.Bearer); ok && l.lines[lineage] != nil {
		at := l.lines[lineage]
		at.touched = append(at.touched[max(0, len(at.touched)-remembered):], c.Bearer)
	}
	at := l.lines[c.Lineage]
	if c.Endpoint != authtest.Token || c.Grant != "refresh_token" || at == nil {
		return
	}
	at.presented = max(at.presented, c.Generation)
	if c.Error != "" {
		at.refused = append(at.refused, refusal{c.At, c.Generation, c.Description})
		return
	}
	at.asked[c.Generation] = c.At
	delete(at.asked, c.Generation-remembered)
}

// ended implements witness. The provider's log is bounded: it is read while it has everything.
func (l *ledger) ended(from, to time.Time) {
	l.read()
	l.lives.ended(from, to)
}

// ready implements witness.
func (l *ledger) ready(at time.Time) { l.lives.ready(at) }

// hold implements witness by a gate.
func (l *ledger) hold(n int, after bool) (arrived <-chan struct{}, open, mend func()) {
	gate := authtest.NewGate()
	l.provider.Break(authtest.Token, authtest.Fault{Grant: "refresh_token", Gate: gate, Times: n, After: after})
	return gate.Arrived(), gate.Open, func() { l.provider.Mend(authtest.Token) }
}

// lineageOf returns the lineage of a user's latest login.
func (l *ledger) lineageOf(user string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last["sub-"+user]
}

// proven says why a user's latest login had to be lost, in the words of the log: its last exchange took effect while a process was
// alive that was then killed, what it brought was never presented nor used afterwards, and the token spent by it was
// refused when it came again. age is how old the answer was at the kill.
func (l *ledger) proven(user string) (age time.Duration, err error) {
	l.read()
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.lines[l.last["sub-"+user]]
	if at == nil || len(at.refused) == 0 {
		return 0, errors.New("the provider refused nothing")
	}
	r := at.refused[0]
	brought := 0
	for generation := range at.issued {
		brought = max(brought, generation)
	}
	got := at.issued[brought]
	switch {
	case at.presented >= brought:
		return 0, fmt.Errorf("what was issued last (generation %d) was presented later: it had been stored", brought)
	case r.generation != brought-1:
		return 0, fmt.Errorf("refused generation %d (%s), but %d was issued last", r.generation, r.words, brought)
	case slices.Contains(at.touched, got.access):
		return 0, fmt.Errorf("generation %d was used before it was stored", brought)
	}
	return l.lives.inFlight(at.asked[r.generation], got.at)
}

// unproven returns which of the users' latest logins could still be lost by another kill: what was issued since then has
// not been presented, so that the server may not have stored it. Under a provider that forgives one retry the next kill
// waits until there is none.
func (l *ledger) unproven(users []string, since time.Time) (out []string) {
	l.read()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, user := range users {
		at := l.lines[l.last["sub-"+user]]
		if at == nil || at.issued[at.presented].at.Before(since) {
			out = append(out, user)
		}
	}
	return out
}

// refusals implements witness.
func (l *ledger) refusals(users []string) (n int) {
	l.read()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.lines {
		if len(at.refused) > 0 && slices.Contains(users, strings.TrimPrefix(at.user, "sub-")) {
			n++
		}
	}
	return n
}

// lastIssue returns when a user's latest login was given tokens last.
func (l *ledger) lastIssue(user string) (last time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := l.lines[l.last["sub-"+user]]; at != nil {
		last = at.newest
	}
	return last
}

// exchanges returns how many refreshes of a user's latest login were carried out.
func (l *ledger) exchanges(user string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := l.lines[l.last["sub-"+user]]; at != nil {
		return at.exchanges
	}
	return 0
}

// total returns how many refreshes were carried out in all.
func (l *ledger) total() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.lines {
		n += at.exchanges
	}
	return n
}

// refusalsOf returns how many refreshes of a lineage were refused.
func (l *ledger) refusalsOf(lineage string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := l.lines[lineage]; at != nil {
		return len(at.refused)
	}
	return 0
}
