package auth

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/storage"
)

// Token exchange (RFC 8693): connectors that want a token for their own audience get one that the provider makes from
// the user's upstream token. It is never stored: a restart costs one request.

const (
	maxExchangedBytes = 16 << 20        // of all tokens that memory holds
	exchangedUnknown  = 5 * time.Minute // life of one whose provider states none
)

// exchangeKey is one grant's token for one audience. Audiences come from the configuration.
type exchangeKey struct{ grant, audience string }

// exchanged is a token in memory. until is uptime: a step of the wall clock makes no token last longer.
type exchanged struct {
	token oauth.Secret
	until time.Duration
}

// exchanges holds the tokens, and the flights that fetch them: one for each grant and audience. mu guards all of it and
// is never held over the store or the network.
type exchanges struct {
	mu     sync.Mutex
	tokens map[string]map[string]exchanged // by grant and audience: an end finds its own at once
	bytes  int                             // of all tokens
	flying map[exchangeKey]*exchangeFlight
}

// exchangeFlight is one request under way; result is set before done is closed.
type exchangeFlight struct {
	done   chan struct{}
	result renewed
}

func newExchanges() *exchanges {
	return &exchanges{tokens: map[string]map[string]exchanged{}, flying: map[exchangeKey]*exchangeFlight{}}
}

// get returns a token that is good for a while yet.
func (e *exchanges) get(key exchangeKey, now time.Duration) (oauth.Secret, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x, ok := e.tokens[key.grant][key.audience]
	if ok && now >= x.until {
		e.remove(key)
		return "", false
	}
	return x.token, ok
}

// put remembers a token. When memory is full, what is over goes first, then whatever the map yields: any can be had
// again.
func (e *exchanges) put(key exchangeKey, x exchanged, now time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.remove(key)
	if e.bytes+len(x.token) > maxExchangedBytes {
		e.shrink(len(x.token), func(old exchanged) bool { return now >= old.until })
		e.shrink(len(x.token), func(exchanged) bool { return true })
	}
	if e.tokens[key.grant] == nil {
		e.tokens[key.grant] = map[string]exchanged{}
	}
	e.tokens[key.grant][key.audience], e.bytes = x, e.bytes+len(x.token)
}

// shrink forgets tokens that may go until there is room for n bytes; the caller holds mu.
func (e *exchanges) shrink(n int, mayGo func(exchanged) bool) {
	for grant, tokens := range e.tokens {
		for audience, x := range tokens {
			if e.bytes+n <= maxExchangedBytes {
				return
			}
			if mayGo(x) {
				e.remove(exchangeKey{grant, audience})
			}
		}
	}
}

// remove forgets one token; the caller holds mu.
func (e *exchanges) remove(key exchangeKey) {
	tokens := e.tokens[key.grant]
	e.bytes -= len(tokens[key.audience].token)
	if delete(tokens, key.audience); len(tokens) == 0 {
		delete(e.tokens, key.grant)
	}
}

// drop forgets all tokens of a grant that ended.
func (e *exchanges) drop(grantID string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for audience := range e.tokens[grantID] {
		e.remove(exchangeKey{grantID, audience})
	}
}

// ExchangedToken returns an access token of the grant's user for audience, from memory or from the provider. Errors are
// *oauth.Error: those of UpstreamToken, and access_denied with tool_denied when the provider denies this user the
// audience.
func (s *Server) ExchangedToken(ctx context.Context, grantID, audience string) (oauth.Secret, error) {
	key := exchangeKey{grantID, audience}
	// The grant is read at each call, as for any token: memory says nothing about whether it lives.
	if r, ok := s.notToUse(grantID); ok {
		return "", r.refusal()
	}
	token, ok := s.exchanges.get(key, s.uptime())
	if ok && !s.refusals.open(key, token) {
		return token, nil
	}
	r := s.awaitExchange(ctx, key)
	switch {
	case r.token != "":
		return r.token, nil
	// One API's word, and the provider cannot be asked now: others may still take this one.
	case ok && r.ended == "" && r.trouble != oauth.ToolDenied && r.trouble != oauth.SubjectChanged:
		return token, nil
	}
	return "", r.refusal()
}

// awaitExchange joins the flight for a token and waits for it.
func (s *Server) awaitExchange(ctx context.Context, key exchangeKey) renewed {
	f := s.boardExchange(ctx, key)
	timer := time.NewTimer(2 * s.toolWait()) // the user's own token may have to be renewed first
	defer timer.Stop()
	select {
	case <-f.done:
		return f.result
	case <-timer.C:
		return s.stillFlying(key.grant)
	case <-ctx.Done():
		return renewed{trouble: oauth.UpstreamUnreachable, err: ctx.Err()}
	}
}

// notToUse says why nothing of this grant may be used: it has ended, or its tokens are another person's.
func (s *Server) notToUse(grantID string) (renewed, bool) {
	g, err := s.store.Grant(grantID)
	switch {
	case err != nil || g.Ended != "":
		return s.endedGrant(grantID), true
	case g.State == storage.StateQuarantined:
		return quarantined(storage.Upstream{}), true
	}
	return renewed{}, false
}

// refusal is r as an error for a tool call.
func (r renewed) refusal() error {
	switch {
	case r.ended != "":
		return grantEnded(oauth.InvalidToken, r.ended)
	case r.trouble == oauth.ToolDenied: // no trouble: the provider's last word about this user
		return oauth.Fail(oauth.AccessDenied, oauth.ToolDenied).With(http.StatusForbidden).Because(r.err)
	}
	return r.unavailable()
}

// boardExchange joins the flight for a token or starts one. Looking and entering are one step under the lock.
func (s *Server) boardExchange(ctx context.Context, key exchangeKey) *exchangeFlight {
	s.exchanges.mu.Lock()
	defer s.exchanges.mu.Unlock()
	if f := s.exchanges.flying[key]; f != nil {
		return f
	}
	// after a panic this is the result
	f := &exchangeFlight{done: make(chan struct{}), result: renewed{trouble: oauth.Internal}}
	s.exchanges.flying[key] = f
	if !s.background(ctx, func(ctx context.Context) {
		defer s.landExchange(key, f)
		f.result = s.exchange(ctx, key)
	}) {
		delete(s.exchanges.flying, key)
		f.result = renewed{trouble: oauth.UpstreamUnreachable, err: errClosing}
		close(f.done)
	}
	return f
}

func (s *Server) landExchange(key exchangeKey, f *exchangeFlight) {
	s.exchanges.mu.Lock()
	delete(s.exchanges.flying, key)
	s.exchanges.mu.Unlock()
	close(f.done)
}

// exchange is one flight: the user's own token first, then the exchange, and once more if the provider calls that token
// dead.
func (s *Server) exchange(ctx context.Context, key exchangeKey) renewed {
	// another flight may just have landed
	if token, ok := s.exchanges.get(key, s.uptime()); ok && !s.refusals.open(key, token) {
		return renewed{token: token}
	}
	pause := errand{grant: key.grant, audience: key.audience}
	if r, ok := s.resting(pause); ok {
		return r
	}
	var x upstream.Exchanged
	want := renewal{wait: s.toolWait()}
	for again := true; again; {
		token, err := s.upstreamToken(ctx, key.grant, want)
		if err != nil {
			return notHad(err)
		}
		r := s.inSlot(ctx, func() renewed {
			x, err = s.provider.TokenExchange(ctx, token, key.audience)
			return renewed{}
		})
		if r.trouble != "" { // the server ends
			return r
		}
		reason := s.countExchange(err)
		again = reason == oauth.UpstreamSuspect && want.refused == ""
		if want.refused = token; err != nil && !again {
			return s.rest(pause, s.notExchanged(ctx, err))
		}
	}
	s.awake(pause)
	return s.exchangedFor(key, x)
}

// notHad is the answer when there is no token to exchange.
func notHad(err error) renewed {
	var e *oauth.Error
	if !errors.As(err, &e) {
		return renewed{trouble: oauth.Internal, err: err}
	}
	if e.Ended != "" || e.Code == oauth.InvalidToken {
		return renewed{ended: e.Ended}
	}
	return renewed{trouble: e.Reason, err: e, retryAfter: e.RetryAfter}
}

// notExchanged is trouble of the exchange alone: the grant goes on. A setting that is wrong is wrong for everybody, so an
// operator is told.
func (s *Server) notExchanged(ctx context.Context, err error) renewed {
	var e *oauth.Error
	errors.As(providerUnavailable(err), &e)
	if e.Reason == oauth.UpstreamConfig {
		s.alarm(ctx, oauth.UpstreamConfig, "the provider exchanges no token for a connector's audience", err)
	}
	return renewed{trouble: e.Reason, err: err, retryAfter: e.RetryAfter}
}

// exchangedFor remembers a token, unless the grant has ended meanwhile. It is entered first and the grant read then: an
// end between the two drops it either way.
func (s *Server) exchangedFor(key exchangeKey, x upstream.Exchanged) renewed {
	life, now := exchangedUnknown, s.uptime()
	if !x.Expires.IsZero() {
		life = x.Expires.Sub(s.now())
	}
	// a provider whose tokens live no longer than the margin still gives usable ones
	margin := s.upstream.Margin.D()
	if life <= 2*margin {
		margin = life / 4
	}
	s.exchanges.put(key, exchanged{token: x.Access, until: now + life - margin}, now)
	s.refusals.answered(key)
	if r, ok := s.notToUse(key.grant); ok {
		s.exchanges.drop(key.grant)
		return r
	}
	return renewed{token: x.Access}
}

// countExchange counts one request by what came of it.
func (s *Server) countExchange(err error) oauth.Reason {
	reason := oauth.OK
	if err != nil {
		var e *oauth.Error
		errors.As(providerUnavailable(err), &e)
		reason = e.Reason
	}
	s.metrics.exchanges.WithLabelValues(string(reason)).Inc()
	return reason
}
