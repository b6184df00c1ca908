package auth

import (
	"context"
	"errors"
	"sync"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// One flight per grant asks the provider, whoever needs the answer: the token endpoint, a tool call, the keep-alive or
// a recheck (protocol.md §8.1). A flight is detached from its callers: a client that hangs up cancels nothing.

// renewal says what a caller needs of the upstream token. The zero renewal needs one with margin left. At most one of
// the kinds force, keepalive, recheck and resume is set.
type renewal struct {
	force     bool         // ask the provider whatever the token's age (row 9 of the refresh table)
	keepalive bool         // ask if the keep-alive is due
	recheck   bool         // a good answer not older than `recheck`; userinfo is enough while the token is valid
	resume    bool         // put an intent that an earlier run left into doubt
	refused   oauth.Secret // an access token that the provider calls dead: any other will do

	wait time.Duration // how long this caller waits; the flight goes on
	note oauth.Reason  // what the journal says of a good answer; "" = ok
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

// flights are the flights under way and the pauses after failed ones, by grant id. mu guards all of it and the
// judging of a flight; it is never held over the store or the network.
type flights struct {
	mu     sync.Mutex
	flying map[string]*flight
	paused map[errand]pause
	slots  chan struct{} // `parallel` requests to the provider at once
}

// flight is one errand to the provider, and what those who wait for it will get.
type flight struct {
	grantID string
	want    renewal // of the caller who started it
	done    chan struct{}

	// set by the flight alone before done is closed
	asked  bool // a refresh request was made
	result renewed

	judging bool // under flights.mu: tokens are stored whose id_token is not judged yet
}

// newFlights has no flight under way. parallel is `[provider] parallel`.
func newFlights(parallel int) *flights {
	return &flights{flying: map[string]*flight{}, paused: map[errand]pause{}, slots: make(chan struct{}, parallel)}
}

// errClosing is the cause in the log: outside it is trouble that passes, and the restarted server answers.
var errClosing = errors.New("the server is about to end")

// serves says whether the outcome of f, started by somebody else, answers want too. A recheck, a keep-alive that was
// not due and the like do not when they made no refresh request.
func (f *flight) serves(want renewal) bool {
	if f.asked || f.result.ended != "" {
		return true
	}
	return !want.force && !f.want.recheck && !f.want.keepalive && !f.want.resume
}

// renew returns a usable upstream token for the grant, asking the provider if need be. It joins a flight under way.
func (s *Server) renew(ctx context.Context, grantID string, want renewal) renewed {
	if r, ok := s.fresh(grantID, want); ok { // nearly always, and without a timer
		return r
	}
	timer := time.NewTimer(want.wait)
	defer timer.Stop()
	// Another's flight may have been for something else. Then what it left behind is read again, and a flight of our
	// own begins unless that is enough by now.
	for {
		f, own := s.board(ctx, grantID, want)
		select {
		case <-f.done:
			if own || f.serves(want) {
				return f.result
			}
			if r, ok := s.fresh(grantID, want); ok {
				return r
			}
		case <-timer.C:
			return s.stillFlying(grantID)
		// the client hung up; the flight goes on (protocol.md §8.1 rule 2)
		case <-ctx.Done():
			return renewed{trouble: oauth.UpstreamUnreachable, err: ctx.Err()}
		}
	}
}

// board joins the grant's flight or starts one, which is then the caller's own. Looking and entering are one step
// under the lock: a grant never has two flights.
func (s *Server) board(ctx context.Context, grantID string, want renewal) (f *flight, own bool) {
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	if f := s.flights.flying[grantID]; f != nil {
		return f, false
	}
	// after a panic this is the result: land always runs, and the pause keeps the next caller from the same fate
	f = &flight{grantID: grantID, want: want, done: make(chan struct{}), result: renewed{trouble: oauth.Internal}}
	s.flights.flying[grantID] = f
	if !s.background(ctx, func(ctx context.Context) {
		defer s.land(f)
		f.result = s.fly(ctx, f)
	}) {
		delete(s.flights.flying, grantID)
		f.result = renewed{trouble: oauth.UpstreamUnreachable, err: errClosing}
		close(f.done)
	}
	return f, true
}

// land publishes a flight's result. The flight leaves the table before done is closed: who was woken finds it gone
// and may start another.
func (s *Server) land(f *flight) {
	if f.result.trouble == oauth.Internal {
		f.result = s.rest(errand{grant: f.grantID}, f.result)
	}
	s.flights.mu.Lock()
	delete(s.flights.flying, f.grantID)
	s.flights.mu.Unlock()
	close(f.done)
}

// underWay says whether a flight of the grant is under way.
func (s *Server) underWay(grantID string) bool {
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	return s.flights.flying[grantID] != nil
}

// judging says whether tokens of the grant are stored that nobody may use yet.
func (s *Server) judging(grantID string) bool {
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	f := s.flights.flying[grantID]
	return f != nil && f.judging
}

// judge marks the flight whose tokens wait for their id_token: stored against a crash, and given to nobody.
func (s *Server) judge(f *flight) {
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	f.judging = true
}

// stillFlying answers a caller whose patience ended before the flight did. The time of the first failure comes along,
// since the outage grace counts from it.
func (s *Server) stillFlying(grantID string) renewed {
	r := renewed{trouble: oauth.UpstreamUnreachable, retryAfter: time.Second, err: errors.New("provider has not answered yet")}
	if up, err := s.store.Upstream(grantID); err == nil {
		r.since = up.TroubleSince
	}
	return r
}

// fresh answers from what is stored, without a flight, when that is enough. An ended grant's tokens are still there
// until they are revoked, and are nobody's any more.
func (s *Server) fresh(grantID string, want renewal) (renewed, bool) {
	unjudged := s.judging(grantID) // asked before and after the reading: a flight may have passed meanwhile
	g, up, err := s.store.Tokens(grantID)
	switch {
	// our own trouble is no verdict on the grant
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		return renewed{trouble: oauth.StorageUnavailable, err: err}, true
	case err != nil || g.Ended != "":
		return s.endedGrant(grantID), true
	// these tokens are another person's: they serve for nothing, not even for being renewed (protocol.md §8.2)
	case up.Quarantined:
		return quarantined(up), true
	case unjudged || s.judging(grantID) || !s.enough(g, up, want):
		return renewed{}, false
	}
	return renewed{token: up.Access}, true
}

// enough says whether want is met without asking the provider.
func (s *Server) enough(g storage.Grant, up storage.Upstream, want renewal) bool {
	now := s.now()
	switch {
	case want.force:
		return false
	// no intent is left: a flight of this run has settled it meanwhile
	case want.resume:
		return up.Intent == nil
	case want.keepalive:
		return up.KeepaliveAt.IsZero() || up.KeepaliveAt.After(now)
	case want.recheck:
		return !s.recheckDue(g, now)
	// another token than the refused one has come in meanwhile: it will do
	case want.refused != "" && up.Access == want.refused:
		return false
	}
	return s.usable(up, now, s.upstream.Margin.D())
}

// quarantineRetry is what a client of a quarantined grant is told to wait: only an operator can help.
const quarantineRetry = 2 * time.Minute

func quarantined(up storage.Upstream) renewed {
	return renewed{trouble: oauth.SubjectChanged, since: up.TroubleSince, retryAfter: quarantineRetry}
}

// usable says whether the upstream access token is good for longer than margin. A provider that states no life is
// believed for five minutes. A token from the future says that the clock was set back: how old it is nobody knows.
func (s *Server) usable(up storage.Upstream, now time.Time, margin time.Duration) bool {
	if up.Access == "" || now.Add(leeway).Before(up.Obtained) {
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

// endedGrant says how a grant ended that has no upstream token to give.
func (s *Server) endedGrant(grantID string) renewed {
	g, err := s.store.Grant(grantID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return renewed{ended: oauth.UpstreamSessionEnded}
	case err != nil:
		return renewed{trouble: oauth.StorageUnavailable, err: err}
	case g.Ended == "":
		return renewed{trouble: oauth.Internal, err: errors.New("living grant without upstream record")}
	}
	return renewed{ended: g.Ended}
}
