package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/storage"
)

// One flight per grant asks the provider, whoever needs the answer: the token endpoint, a tool call, the keep-alive or
// a recheck (protocol.md §8.1). A flight is detached from its callers: a client that hangs up cancels nothing.

// renewal says what a caller needs of the upstream token.
type renewal struct {
	force   bool          // ask the provider although the token has time left
	recheck bool          // a userinfo answer is enough while the token is valid
	wait    time.Duration // how long this caller waits; the flight goes on
	note    oauth.Reason  // what the journal says of a good answer; "" = ok
}

// renewed is how a flight ended, for all its callers. Exactly one of token, ended and trouble tells.
type renewed struct {
	token      oauth.Secret // upstream access token, good for at least some time
	ended      oauth.Reason // the grant ended
	trouble    oauth.Reason
	since      time.Time     // first failure since the last good answer
	retryAfter time.Duration // how long to wait before asking again
	err        error         // for the log
}

func (r renewed) unavailable() error {
	e := oauth.Unavailable(r.trouble, r.err)
	e.RetryAfter = r.retryAfter
	return e
}

// flights are the flights under way and the pauses after failed ones, by grant id.
type flights struct {
	mu     sync.Mutex
	flying map[string]*flight
	paused map[string]pause
	slots  chan struct{} // `parallel` requests to the provider at once
}

type flight struct {
	done   chan struct{}
	result renewed
}

// pause keeps a grant from asking again too soon; it lives in memory only, since a restart may ask at once.
type pause struct {
	until    time.Time
	failures int
	last     renewed
}

func newFlights(parallel int) *flights {
	return &flights{flying: map[string]*flight{}, paused: map[string]pause{}, slots: make(chan struct{}, parallel)}
}

// renew returns a usable upstream token for the grant, asking the provider if need be. It joins a flight under way.
func (s *Server) renew(ctx context.Context, grantID string, want renewal) renewed {
	if r, ok := s.fresh(grantID, want); ok {
		return r
	}
	f := s.board(ctx, grantID, want)
	timer := time.NewTimer(want.wait)
	defer timer.Stop()
	select {
	case <-f.done:
		return f.result
	case <-timer.C:
		return s.stillFlying(grantID)
	case <-ctx.Done():
		return renewed{trouble: oauth.UpstreamUnreachable, err: ctx.Err()}
	}
}

// board joins the grant's flight or starts one.
func (s *Server) board(ctx context.Context, grantID string, want renewal) *flight {
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	if f := s.flights.flying[grantID]; f != nil {
		return f
	}
	f := &flight{done: make(chan struct{})}
	s.flights.flying[grantID] = f
	s.background(context.WithoutCancel(ctx), func(ctx context.Context) {
		// a panic below must not leave the grant flying for ever: the deferred land always runs
		f.result = renewed{trouble: oauth.Internal}
		defer s.land(grantID, f)
		f.result = s.fly(ctx, grantID, want)
	})
	return f
}

// land publishes a flight's result.
func (s *Server) land(grantID string, f *flight) {
	s.flights.mu.Lock()
	delete(s.flights.flying, grantID)
	s.flights.mu.Unlock()
	close(f.done)
}

// stillFlying answers a caller whose patience ended before the flight did.
func (s *Server) stillFlying(grantID string) renewed {
	r := renewed{trouble: oauth.UpstreamUnreachable, retryAfter: time.Second, err: errors.New("provider has not answered yet")}
	if up, err := s.store.Upstream(grantID); err == nil {
		r.since = up.TroubleSince
	}
	return r
}

// fresh answers from what is stored, without a flight, when that is enough.
func (s *Server) fresh(grantID string, want renewal) (renewed, bool) {
	now := s.now()
	up, err := s.store.Upstream(grantID)
	switch {
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrEnded):
		return s.endedGrant(grantID), true
	case err != nil:
		return renewed{trouble: oauth.StorageUnavailable, err: err}, true
	case up.Quarantined:
		return renewed{trouble: oauth.SubjectChanged, since: up.TroubleSince}, true
	case want.force, want.recheck:
		return renewed{}, false
	case s.usable(up, now, s.upstream.Margin.D()):
		return renewed{token: up.Access}, true
	}
	return renewed{}, false
}

// usable says whether the upstream access token is good for longer than margin. A provider that states no life is
// believed for five minutes.
func (s *Server) usable(up storage.Upstream, now time.Time, margin time.Duration) bool {
	if up.Access == "" {
		return false
	}
	expires := up.Expires
	if expires.IsZero() {
		expires = up.Obtained.Add(5 * time.Minute)
	}
	// a provider whose tokens live no longer than the margin still gives usable ones
	if life := expires.Sub(up.Obtained); life <= 2*margin {
		margin = life / 4
	}
	return now.Add(margin).Before(expires)
}

func (s *Server) endedGrant(grantID string) renewed {
	g, err := s.store.Grant(grantID)
	if err == nil && g.Ended == "" {
		return renewed{trouble: oauth.Internal, err: errors.New("living grant without upstream record")}
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return renewed{trouble: oauth.StorageUnavailable, err: err}
	}
	if g.Ended == "" {
		return renewed{ended: oauth.UpstreamSessionEnded}
	}
	return renewed{ended: g.Ended}
}

// fly is one flight: re-read, decide, ask, commit. Network never runs inside a transaction.
func (s *Server) fly(ctx context.Context, grantID string, want renewal) renewed {
	if r, ok := s.fresh(grantID, want); ok { // another flight may just have landed
		return r
	}
	if r, ok := s.resting(grantID); ok {
		return r
	}
	up, err := s.store.Upstream(grantID)
	if err != nil {
		return renewed{trouble: oauth.StorageUnavailable, err: err}
	}
	if r, ok := s.beforeAsking(ctx, up, want); ok {
		return r
	}
	select {
	case s.flights.slots <- struct{}{}:
		defer func() { <-s.flights.slots }()
	case <-ctx.Done():
		return renewed{trouble: oauth.UpstreamUnreachable, err: ctx.Err()}
	}
	if want.recheck && s.usable(up, s.now(), 0) {
		return s.recheckUserinfo(ctx, up)
	}
	return s.ask(ctx, up, want)
}

// attempt is one refresh request: the record it was made from, and what is to be made of the answer.
type attempt struct {
	up      storage.Upstream
	doubted bool // an earlier request of this grant may have been answered without our knowing
	note    oauth.Reason
}

// ask sends the one refresh request of a flight: intent first, tokens stored before anybody uses them.
func (s *Server) ask(ctx context.Context, up storage.Upstream, want renewal) renewed {
	try := attempt{up: up, doubted: s.inDoubt(up), note: want.note}
	intent := storage.Intent{Attempt: rand.Text(), At: s.now()}
	if _, err := s.store.BeginUpstream(ctx, up.GrantID, up.Gen, intent); err != nil {
		switch {
		case errors.Is(err, storage.ErrEnded):
			return s.endedGrant(up.GrantID)
		case errors.Is(err, storage.ErrGeneration):
			return renewed{trouble: oauth.UpstreamInDoubt, retryAfter: time.Second, err: err}
		}
		return renewed{trouble: oauth.StorageUnavailable, err: err} // nothing was sent
	}
	start := time.Now()
	g, _ := s.store.Grant(up.GrantID)
	a := s.provider.Refresh(ctx, upstream.RefreshRequest{Token: up.Refresh, Subject: g.Subject})
	s.metrics.upstreamSeconds.WithLabelValues(outcomeLabel(a.Outcome)).Observe(time.Since(start).Seconds())
	r := s.settle(ctx, try, a)
	s.countRefresh(a, r)
	return r
}

// resting answers from memory while a grant pauses after a failure.
func (s *Server) resting(grantID string) (renewed, bool) {
	now := s.now()
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	p, ok := s.flights.paused[grantID]
	if !ok || !now.Before(p.until) {
		return renewed{}, false
	}
	r := p.last
	r.retryAfter = p.until.Sub(now)
	return r, true
}

// rest makes a grant pause after trouble: jittered, from one second to two minutes, at least what the provider asked.
func (s *Server) rest(grantID string, r renewed) renewed {
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	p := s.flights.paused[grantID]
	p.failures++
	wait := max(backoff(p.failures), r.retryAfter)
	r.retryAfter = wait
	p.until, p.last = s.now().Add(wait), r
	s.flights.paused[grantID] = p
	return r
}

// awake forgets a grant's failures.
func (s *Server) awake(grantID string) {
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	delete(s.flights.paused, grantID)
}
