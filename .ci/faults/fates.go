package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"hostedmcp/auth/authtest"
)

// What becomes of a connection when a backup is restored.

// outcome is what must be.
type outcome string

const (
	goesOn   outcome = "live"
	hasEnded outcome = "ended"
	unknown  outcome = "unknown"
	// It began or ended while the backup was made; or it ended later, of which a backup alone knows nothing: but the
	// provider does, whose token was revoked.
	open outcome = "open"
)

// at returns the outcome in a backup; over says that it was restored over the store that knows every end.
func (c *connection) at(b copied, over bool) outcome {
	known, gone := c.done.Before(b.from), !c.ending.IsZero()
	switch {
	case gone && (over || c.ended.Before(b.from)):
		return hasEnded // its tombstone is there, also of one that began later
	case known && !gone:
		return goesOn
	case !known && c.begun.After(b.to):
		return unknown
	}
	return open
}

// hold has a connection's client go on at a restored server, and holds it to its outcome. Its tokens are those of today:
// newer than what the backup knows.
func (b *backedUp) hold(at *server, c *connection, f outcome) {
	t := &client{Client: c.Client, user: c.user, file: c.file + "." + at.name}
	one := *c.Client
	t.Client = &one
	// the public URL is the living server's; the name leads elsewhere now
	t.HTTP = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, at.listen)
		}}}
	if err := copyFile(t.file, c.file); err != nil {
		b.violation("%v", err)
		return
	}
	before := b.ledger.exchanges(c.user)
	v, words := b.goOn(t)
	want := map[outcome]string{hasEnded: "grant_ended " + c.reason, unknown: "refresh_invalid"}[f]
	switch {
	case strings.Contains(words, "refresh_reuse"):
		b.violation("%s at %s: %s", c.user, at.name, words)
	case f == open:
	// who registered later is not known as a client either, and says so to its user
	case f != goesOn && !c.begun.Before(b.copies[0].from) && strings.Contains(words, "client_unknown"):
	case f == goesOn && v != worked, f != goesOn && (v != lost || !strings.Contains(words, want)):
		b.violation("%s at %s must %s, but: %v %s", c.user, at.name, f, v, words)
	case f == goesOn:
		b.works(t, b.ledger.exchanges(c.user)-before)
	}
}

// goOn refreshes as four processes with one credential do, until they are told yes or no.
func (b *backedUp) goOn(t *client) (verdict, string) {
	if err := t.load(); err != nil {
		b.violation("%v", err)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	out, words, token := worked, "", t.Refresh
	for range 4 {
		all.Go(func() {
			answer, err := t.insist(token, patience)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				out, words = again, err.Error()
			case answer.Status == http.StatusOK:
				err = t.save(answer)
			default:
				out, words = lost, answer.Error+" "+answer.Description
			}
			if err != nil {
				b.violation("%s: %v", t.user, err)
			}
		})
	}
	all.Wait()
	return out, words
}

// insist repeats one refresh until it is answered by yes or no.
func (c *client) insist(token string, limit time.Duration) (authtest.TokenAnswer, error) {
	for deadline := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		answer, err := c.RefreshWith(token)
		if err == nil && answer.Status < http.StatusInternalServerError {
			return answer, nil
		}
		if time.Now().After(deadline) {
			return answer, fmt.Errorf("not answered in %s: %d %s, %v", limit, answer.Status, answer.Description, err)
		}
	}
}

// works has a connection that goes on refresh once more and call, and looks at what that cost at the provider.
func (b *backedUp) works(t *client, exchanges int) {
	if exchanges != 1 {
		b.violation("%s: the provider was asked %d times for a token in doubt", t.user, exchanges)
	}
	before := b.ledger.exchanges(t.user)
	if v, a, err := t.refresh(); v != worked {
		b.violation("%s, the next refresh: %s, %v", t.user, a, err)
		return
	}
	for _, tool := range []string{"whoami", "userinfo"} {
		if v, a, err := t.call(tool); v != worked {
			b.violation("%s, %s: %s, %v", t.user, tool, a, err)
		}
	}
	if n := b.ledger.exchanges(t.user) - before; n != 0 {
		b.violation("%s: the provider was asked %d times more", t.user, n)
	}
}

// verdict compares with what the restored server and the command say themselves.
func (b *backedUp) verdict(at *server, name string, fates map[outcome]int, said restored) {
	b.say("%s: %d connections go on, %d ended, %d unknown, %d open; restore said %+v", name, fates[goesOn], fates[hasEnded],
		fates[unknown], fates[open], said)
	if n := at.metric(`hostedmcp_grants_ended_total{reason="refresh_reuse"}`); n != 0 {
		b.violation("%s: %d ends by reuse", name, n)
	}
	if said.Grants < fates[goesOn] || said.Grants > fates[goesOn]+fates[open] {
		b.violation("%s: %d connections live, restore said %d", name, fates[goesOn], said.Grants)
	}
	for _, c := range b.connections {
		if n := b.ledger.refusals([]string{c.user}); n > 0 && c.ending.IsZero() {
			b.violation("%s: the provider refused %s %d times", name, c.user, n)
		}
	}
}
