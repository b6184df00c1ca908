package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hostedmcp/auth/authtest"
)

// operations is an operator's day on a server under load: users are off-boarded, the clock is accepted, requests that
// were refused are explained; then the same on the closed file. Whom an operator ends is ended at once, for the reason
// that explain names; nobody else notices anything.
func operations(r *run) error {
	o := &operator{run: r, ledger: newLedger(), ended: map[string]bool{}}
	if err := o.set(); err != nil {
		return err
	}
	o.fleet.begin()
	for i := range r.rounds {
		o.offBoard(userName(r.clients + i))
		o.acceptClock()
		o.refusals(i)
	}
	o.fleet.settled(time.Now(), patience)
	o.fleet.halt()
	if err := o.server.stop(); err != nil {
		r.violation("%v", err)
	}
	if err := o.closedFile(); err != nil {
		return err
	}
	if lost := o.fleet.lost.Load(); lost != 0 {
		r.violation("%d connections lost", lost)
	}
	r.say("%d users off-boarded with %d connections, %d requests beside it, %d lost", len(o.ended), len(o.gone),
		o.fleet.sent.Load(), o.fleet.lost.Load())
	return o.server.stop()
}

type operator struct {
	*run
	ledger   *ledger
	provider *authtest.Provider
	server   *server
	fleet    *fleet
	ended    map[string]bool // users
	gone     []*client
}

func (o *operator) set() error {
	behaviour := rotationBehaviour(authtest.RotationNone)
	o.ledger.watch(&behaviour)
	var err error
	if o.provider, err = o.newProvider(o.clients+o.rounds+1, behaviour); err != nil {
		return err
	}
	o.ledger.provider = o.provider
	if o.server, err = o.newServer("operator", settings{
		issuer: o.provider.Issuer, clientID: o.provider.ClientID, secret: o.provider.ClientSecret,
		provider: []string{`rotation = "none"`, `holdoff = "200ms"`, `timeout = "5s"`},
		tokens:   []string{`access_ttl = "1m"`}, // so that only the end itself can end one within a round
	}); err != nil {
		return err
	}
	if err := o.server.start(); err != nil {
		return err
	}
	o.fleet, err = o.newFleet(o.server, o.clients, 60*time.Millisecond)
	return err
}

// ofUser logs a user in with n clients.
func (o *operator) ofUser(user string, n int) (out []*client) {
	for i := range n {
		c := o.newClient(o.server, 1000+len(o.gone)+i, user, o.fleet.clients[0].HTTP.Transport)
		if err := c.login(); err != nil {
			o.violation("login of %s: %v", user, err)
			continue
		}
		out = append(out, c)
	}
	return out
}

// offBoard ends all connections of a user.
func (o *operator) offBoard(user string) {
	clients := o.ofUser(user, 3)
	revoked := len(o.provider.Revoked())
	var said struct{ Ended int }
	if err := o.server.ask(&said, "grants", "end", "-subject", "sub-"+user, "-yes"); err != nil || said.Ended != len(clients) {
		o.violation("grants end -subject %s: %+v, %v", user, said, err)
	}
	for _, c := range clients {
		o.isOut(c)
	}
	o.ended[user], o.gone = true, append(o.gone, clients...)
	for deadline := time.Now().Add(patience); len(o.provider.Revoked()) < revoked+len(clients); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			o.violation("%d of %d tokens of %s revoked at the provider", len(o.provider.Revoked())-revoked, len(clients), user)
			return
		}
	}
}

// isOut says that neither access nor refresh token of a client are good for anything, and why.
func (o *operator) isOut(c *client) {
	if a, err := c.post("whoami"); err != nil || a.status != http.StatusUnauthorized || !strings.Contains(a.words, "grant_ended admin_revoked") {
		o.violation("a call after grants end: %s, %v", a, err)
	}
	if v, a, err := c.refresh(); v != lost || !strings.Contains(a.words, "grant_ended admin_revoked") {
		o.violation("a refresh after grants end: %s, %v", a, err)
	}
}

func (o *operator) acceptClock() {
	var said struct {
		Trusted bool `json:"trusted_before"`
		Now     time.Time
	}
	if err := o.server.ask(&said, "clock", "accept"); err != nil || !said.Trusted || time.Since(said.Now).Abs() > time.Minute {
		o.violation("clock accept: %+v, %v", said, err)
	}
}

// refusals provokes a refusal about a connection and some about none, and asks for each by its request id.
func (o *operator) refusals(round int) {
	gone := o.gone[len(o.gone)-1]
	forged := gone.Refresh[:len(gone.Refresh)-4] + "AAAA"
	for _, row := range []struct {
		form   map[string][]string
		path   string
		reason string
	}{
		{form("grant_type", "refresh_token", "refresh_token", gone.Refresh, "client_id", gone.ID), "/token", "admin_revoked"},
		{form("grant_type", "refresh_token", "refresh_token", forged, "client_id", gone.ID), "/token", "refresh_invalid"},
		{form("grant_type", "authorization_code", "code", fmt.Sprintf("made-up-%d", round), "client_id", gone.ID,
			"redirect_uri", gone.RedirectURI, "code_verifier", strings.Repeat("v", 43)), "/token", "code_invalid"},
		{form("grant_type", "refresh_token", "refresh_token", forged, "client_id", "nobody"), "/token", "client_unknown"},
	} {
		t, err := gone.Post(row.path, row.form)
		if err != nil || t.Status < 400 {
			o.violation("%s: %d, %v", row.reason, t.Status, err)
			continue
		}
		e, err := o.server.explain(t.Header.Get("X-Request-Id"))
		if err != nil || e.Found != "request" || len(e.Refused) != 1 || e.Refused[0].Reason != row.reason ||
			!strings.HasPrefix(e.Refused[0].Headline, row.reason+":") {
			o.violation("explain of a request refused for %s: %+v, %v", row.reason, e, err)
		}
		if about := len(e.Stories); (about == 1 && e.Stories[0].Reason == "admin_revoked") != (row.reason == "admin_revoked") {
			o.violation("explain of %s tells of %d connections: %+v", row.reason, about, e.Stories)
		}
	}
}

func form(pairs ...string) map[string][]string {
	out := map[string][]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		out[pairs[i]] = []string{pairs[i+1]}
	}
	return out
}

// closedFile does everything once more without a server, and then starts it: who was ended is out, the others go on.
func (o *operator) closedFile() error {
	last := o.fleet.clients[0]
	grants, err := o.server.grantsOf(last.user)
	if err != nil || len(grants) != 1 {
		return fmt.Errorf("grants list on the closed file: %v, %w", grants, err)
	}
	file := filepath.Join(o.dir, "closed")
	for _, args := range [][]string{
		{"explain", "sub-" + last.user}, {"grants", "show", grants[0].ID}, {"grants", "end", grants[0].ID, "-yes"}, {"clock", "accept"},
		{"backup", file}, {"explain", grants[0].ID},
	} {
		if out, err := o.server.do(args...); err != nil || out == "" && args[0] != "grants" {
			o.violation("on the closed file: %v: %q", err, out)
		}
	}
	for word, want := range map[string]string{grants[0].ID: "admin_revoked", "sub-" + o.gone[0].user: "admin_revoked"} {
		if e, err := o.server.explain(word); err != nil || len(e.Stories) == 0 || e.Stories[0].Reason != want {
			o.violation("explain %s on the closed file: %+v, %v", word, e, err)
		}
	}
	if _, err := os.Stat(file); err != nil {
		o.violation("%v", err)
	}
	revoked := len(o.provider.Revoked())
	if err := o.server.start(); err != nil {
		return err
	}
	o.isOut(last)
	for _, c := range o.fleet.clients[1:] {
		if a, err := c.insist(c.Refresh, patience); err != nil || a.Status != http.StatusOK {
			o.violation("%s, after work on the closed file: %d %s, %v", c.user, a.Status, a.Description, err)
		}
	}
	for deadline := time.Now().Add(patience); len(o.provider.Revoked()) == revoked; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			o.violation("ended on the closed file, and not revoked at the provider after the start")
			break
		}
	}
	return nil
}
