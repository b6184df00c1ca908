package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hostedmcp/auth/authtest"
)

// cuts ends the connection after every byte of a refresh, by a reset and by closing in turns, with the upstream token
// due each time.
//
// Between client and server: whatever the client saw, its retry with the same refresh token succeeds at once, and both
// attempts together make exactly one call to the provider.
//
// Between server and provider: the client is told 503 and nothing is spent; its retries with the same refresh token
// succeed as soon as the server has asked again. One attempt is one exchange on the wire, so there are exactly two
// exchanges, both with the same upstream token (one if the answer came through whole). Only under strict, and only when
// the provider's log shows that it had carried the first one out, the connection is lost, and then it must be.
func cuts(r *run) error {
	modes := []string{"reuse", "none", "strict"}
	if r.mode != "all" {
		modes = []string{r.mode}
	}
	for i, mode := range modes {
		k, err := r.newCuts(mode)
		if err != nil {
			return fmt.Errorf("%s: %w", mode, err)
		}
		if i == 0 {
			err = k.clientSide()
		}
		if err == nil {
			err = k.providerSide()
		}
		k.clear()
		if err != nil {
			return fmt.Errorf("%s: %w", mode, err)
		}
	}
	return nil
}

// upstreamLife is that of upstream tokens while connections are cut: long enough for an attempt and its retry.
const upstreamLife = 4 * time.Second

type cutting struct {
	*run
	mode              string
	provider          *authtest.Provider
	ledger            *ledger
	server            *server
	toServer, toIssue *proxy
	fleet             *fleet
	direct, cutShort  http.RoundTripper
}

func (r *run) newCuts(mode string) (*cutting, error) {
	rotation, ok := rotations[mode]
	if !ok {
		return nil, errors.New("no such mode: none, reuse, strict or all")
	}
	k := &cutting{run: r, mode: mode, ledger: newLedger()}
	b := authtest.Behaviour{Rotation: rotation, AccessLife: upstreamLife}
	k.ledger.watch(&b)
	var err error
	if k.provider, err = r.newProvider(r.grants(), b); err != nil {
		return nil, err
	}
	k.ledger.provider = k.provider
	issuer, err := url.Parse(k.provider.Issuer)
	if err != nil {
		return nil, err
	}
	if k.toIssue, err = r.newProxy(issuer.Host, lineageOf); err != nil {
		return nil, err
	}
	k.provider.Set(func(b *authtest.Behaviour) {
		b.Metadata = func(m map[string]any) { m["token_endpoint"] = "http://" + k.toIssue.address() + "/token" }
	})
	if k.server, err = r.newServer("cuts-"+mode, settings{
		issuer: k.provider.Issuer, clientID: k.provider.ClientID, secret: k.provider.ClientSecret,
		provider: []string{fmt.Sprintf("rotation = %q", mode), `holdoff = "0s"`, `timeout = "10s"`},
		// within the grace a refresh is answered without the provider (protocol.md §5.4), and nobody would have to retry
		tokens: []string{`outage_grace = "0s"`},
	}); err != nil {
		return nil, err
	}
	if err := k.server.start(); err != nil {
		return nil, err
	}
	if k.toServer, err = r.newProxy(strings.TrimPrefix(k.server.url, "http://"), func(t string) string { return t }); err != nil {
		return nil, err
	}
	through := func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", k.toServer.address()) }
	k.direct = &http.Transport{DisableKeepAlives: true}
	k.cutShort = &http.Transport{DisableKeepAlives: true, DialContext: through}
	if k.fleet, err = r.newFleet(k.server, r.grants(), 0); err != nil {
		return nil, err
	}
	return k, k.measured()
}

// grants is how many connections are cut in turns: each must wait for its upstream token to be due again.
func (r *run) grants() int { return 10 * r.clients }

// lineageOf names the plan of an upstream refresh: the token changes with each one, its lineage does not.
func lineageOf(token string) string {
	lineage, _, _ := parseToken(token)
	return lineage
}

// measured learns the sizes of both exchanges from ten that are not cut.
func (k *cutting) measured() error {
	for _, c := range k.fleet.clients[:10] {
		c.HTTP = &http.Client{Transport: k.cutShort, Timeout: 30 * time.Second}
		k.untilDue(c)
		if v, a, err := c.refresh(); v != worked {
			return fmt.Errorf("refresh through the proxies: %v %w", a, err)
		}
	}
	for _, c := range k.fleet.clients {
		c.HTTP = &http.Client{Transport: k.direct, Timeout: 30 * time.Second}
	}
	return nil
}

// untilDue waits until the upstream token has run out.
func (k *cutting) untilDue(c *client) {
	time.Sleep(time.Until(k.ledger.lastIssue(c.user).Add(upstreamLife + 50*time.Millisecond)))
}

// each has every position tried by some client.
func (k *cutting) each(positions []cut, try func(*client, cut)) {
	jobs := make(chan cut)
	var tried atomic.Int64
	var wg sync.WaitGroup
	for _, c := range k.fleet.clients {
		wg.Go(func() {
			for job := range jobs {
				k.untilDue(c)
				try(c, job)
				if n := tried.Add(1); n%500 == 0 {
					k.say("%s: %d of %d positions", k.mode, n, len(positions))
				}
			}
		})
	}
	for _, p := range positions {
		jobs <- p
	}
	close(jobs)
	wg.Wait()
}

func (k *cutting) clientSide() error {
	positions := k.toServer.positions(0, 1)
	k.say("between client and server: %d positions (request of %d bytes, answer of %d)", len(positions), k.toServer.request, k.toServer.answer)
	slow, begun := atomic.Int64{}, k.provider.Count(authtest.Token, "refresh_token")
	exchanged := k.ledger.total()
	k.each(positions, func(c *client, p cut) {
		for k.cutClient(c, p) > upstreamLife/3 {
			slow.Add(1) // the token may have been due a second time: says nothing
			k.untilDue(c)
		}
	})
	calls, carried := k.provider.Count(authtest.Token, "refresh_token")-begun, k.ledger.total()-exchanged
	k.say("between client and server: %d positions, %d provider calls, %d repeated since the machine was slow", len(positions), calls, slow.Load())
	if calls != carried || int64(calls) != int64(len(positions))+slow.Load() {
		k.violation("%d provider calls, %d carried out, for %d refreshes", calls, carried, int64(len(positions))+slow.Load())
	}
	return nil
}

// cutClient cuts one refresh and repeats it; it returns how long both took.
func (k *cutting) cutClient(c *client, p cut) time.Duration {
	before, begun := k.ledger.exchanges(c.user), time.Now()
	k.toServer.plan(c.Refresh, p)
	short := *c.Client
	short.HTTP = &http.Client{Transport: k.cutShort, Timeout: 30 * time.Second}
	short.RefreshWith(c.Refresh) // whatever came of it never reached the client's program
	v, a, err := c.refresh()
	took := time.Since(begun)
	if v != worked || err != nil {
		k.violation("client side, %+v: the retry with the same refresh token got %v %v", p, a, err)
	} else if n := k.ledger.exchanges(c.user) - before; n != 1 && took < upstreamLife/3 {
		k.violation("client side, %+v: %d provider calls for one refresh", p, n)
	}
	return took
}

func (k *cutting) providerSide() error {
	positions := k.toIssue.positions(0, 1)
	k.say("%s: between server and provider: %d positions (request of %d bytes, answer of %d)", k.mode, len(positions),
		k.toIssue.request, k.toIssue.answer)
	var lost, whole, carried atomic.Int64
	k.each(positions, func(c *client, p cut) {
		switch f := k.cutProvider(c, p); {
		case f.lost:
			lost.Add(1)
		case f.whole:
			whole.Add(1)
		case f.carried == 2:
			carried.Add(1)
		}
	})
	k.say("%s: between server and provider: %d positions: %d answers whole, %d carried out twice, %d lost", k.mode, len(positions),
		whole.Load(), carried.Load(), lost.Load())
	return nil
}

// fate is what became of one refresh that was cut between server and provider.
type fate struct {
	lost, whole bool
	carried     int // exchanges that the provider carried out
}

func (k *cutting) cutProvider(c *client, p cut) (f fate) {
	lineage := k.ledger.lineageOf(c.user)
	before := k.ledger.exchanges(c.user)
	k.toIssue.plan(lineage, p)
	v, a, err := c.refresh()
	f.whole = v == worked
	if !p.answer && p.at < k.toIssue.request && k.ledger.exchanges(c.user) != before {
		k.violation("%s, provider side, %+v: half a request was carried out", k.mode, p)
	}
	deadline := time.Now().Add(patience)
	for v == again && err == nil && time.Now().Before(deadline) {
		time.Sleep(200 * time.Millisecond)
		v, a, err = c.refresh()
	}
	k.ledger.read()
	f.lost, f.carried = v == lost, k.ledger.exchanges(c.user)-before
	if fault := k.judge(f, k.toIssue.count(lineage), k.ledger.refusalsOf(lineage)); fault != "" || !f.lost && v != worked ||
		f.lost && !strings.Contains(a.words, "grant_ended upstream_lost") {
		k.violation("%s, provider side, %+v: %s; the client got %v %v", k.mode, p, fault, a, err)
	}
	if f.lost {
		if err := c.login(); err != nil {
			k.violation("%s: login after a loss: %v", k.mode, err)
		}
	}
	return f
}

// judge holds what became of a refresh against the proxy's and the provider's count; "" = as it must be.
func (k *cutting) judge(f fate, exchanges, refusals int) string {
	switch {
	case f.whole && (exchanges != 1 || f.carried != 1):
		return fmt.Sprintf("answered at once, but with %d exchanges, %d carried out", exchanges, f.carried)
	// one flight is one request on the wire (§8.1 rule 4): the cut one, and the one after the pause
	case !f.whole && exchanges != 2:
		return fmt.Sprintf("%d exchanges in place of two", exchanges)
	case f.lost && (k.mode != "strict" || refusals != 1 || f.carried != 1):
		return fmt.Sprintf("lost, with %d refusals and %d carried out", refusals, f.carried)
	case !f.lost && refusals != 0:
		return fmt.Sprintf("not lost, with %d refusals", refusals)
	case k.mode == "strict" && f.carried != 1:
		return fmt.Sprintf("%d carried out by a provider that carries out one", f.carried)
	}
	return ""
}
