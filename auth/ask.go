package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/storage"
)

// fly is one flight: re-read, decide, ask, commit. Network never runs inside a transaction.
func (s *Server) fly(ctx context.Context, f *flight) renewed {
	if r, ok := s.fresh(f.grantID, f.want); ok { // another flight may just have landed
		return r
	}
	up, err := s.store.Upstream(f.grantID)
	if err != nil {
		return renewed{trouble: oauth.StorageUnavailable, err: err}
	}
	// A recheck is cheap only while there is a token to ask userinfo with; without one it is a refresh like any
	// other.
	switch {
	case f.want.resume:
		return s.resume(ctx, up)
	case f.want.recheck && s.usable(up, s.now(), s.upstream.Margin.D()):
		return s.recheck(ctx, f, up)
	}
	return s.refreshUpstream(ctx, f, up)
}

// refreshUpstream asks the provider for new tokens, unless it is too early to ask again or the grant's doubt decides.
// The pause stands first: a grant in doubt may not be asked for more often than one that is not.
func (s *Server) refreshUpstream(ctx context.Context, f *flight, up storage.Upstream) renewed {
	if r, ok := s.resting(errand{grant: f.grantID}); ok {
		return r
	}
	if r, ok := s.beforeAsking(ctx, up, f.want); ok {
		return r
	}
	return s.inSlot(ctx, func() renewed { return s.ask(ctx, f, up) })
}

// inSlot runs do as one of at most `parallel` at once: a provider that comes back is not met by everybody. ctx is the
// flight's, which no client cancels: it is done when the server ends.
func (s *Server) inSlot(ctx context.Context, do func() renewed) renewed {
	select {
	case s.flights.slots <- struct{}{}:
		defer func() { <-s.flights.slots }()
		return do()
	case <-ctx.Done():
		return renewed{trouble: oauth.UpstreamUnreachable, err: ctx.Err()}
	}
}

// attempt is one refresh request: the record it was made from, and what is to be made of the answer.
type attempt struct {
	flight  *flight
	up      storage.Upstream
	request upstream.RefreshRequest // also for Settle, which judges a late id_token
	doubted bool                    // an earlier request of this grant may have been answered without our knowing
	sent    time.Duration           // uptime
}

// ask sends the one refresh request of a flight: intent first, tokens stored before anybody uses them.
func (s *Server) ask(ctx context.Context, f *flight, up storage.Upstream) renewed {
	g, err := s.store.Grant(up.GrantID)
	if err != nil {
		return renewed{trouble: oauth.StorageUnavailable, err: err}
	}
	// The intent must be on disk before the first byte (protocol.md §8.1 rule 3). A crash from here on leaves it
	// there, and the next start finds the grant in doubt, not wrongly well.
	intent := storage.Intent{Attempt: rand.Text(), At: s.now()}
	up, err = s.store.BeginUpstream(ctx, up.GrantID, up.Gen, intent)
	switch {
	case errors.Is(err, storage.ErrEnded):
		return s.endedGrant(g.ID)
	case errors.Is(err, storage.ErrGeneration):
		// the record moved on since it was read; the next attempt reads the newer one
		return renewed{trouble: oauth.UpstreamUnreachable, retryAfter: time.Second, err: err}
	case err != nil:
		return renewed{trouble: oauth.StorageUnavailable, err: err} // nothing was sent
	}
	// From here the outcome answers all who joined, whatever they wanted (serves). An intent that was left over has
	// become doubt in the record that BeginUpstream returned.
	f.asked = true
	try := attempt{
		flight: f, up: up, doubted: up.InDoubt, sent: s.uptime(),
		request: upstream.RefreshRequest{Token: up.Refresh, Subject: g.Subject},
	}
	// real time, not s.now: a duration for a metric, which no test clock moves
	start := time.Now()
	a := s.provider.Refresh(ctx, try.request)
	s.metrics.upstreamSeconds.WithLabelValues(outcomeLabel(a.Outcome)).Observe(time.Since(start).Seconds())
	s.health.answered(s.now(), providerTrouble(a))
	// what the provider said is written down even when the process is about to end
	r := s.settle(context.WithoutCancel(ctx), try, a)
	s.countRefresh(a, r)
	return r
}
