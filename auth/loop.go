package auth

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/storage"
)

// The sweep and the keep-alive: one loop around steps that tests call directly. Batches are bounded; provider calls
// stand only between transactions.
const (
	loopEvery    = 5 * time.Second
	batch        = 200
	suspectsKept = 24 * time.Hour
)

// Run sweeps, gives upstream tokens back and keeps idle grants alive, until ctx is done. A step that fails is logged
// and comes again with the next round: nothing that is swept here may stop the server.
func (s *Server) Run(ctx context.Context) error {
	s.tellRestored()
	ticker := time.NewTicker(loopEvery)
	defer ticker.Stop()
	for {
		if err := s.Step(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "sweep", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-s.wake:
		}
	}
}

// tellRestored says in log and metrics that a backup was put back and the provider has not settled all of it yet: the
// command that did it had neither.
func (s *Server) tellRestored() {
	restored := s.store.RestoredAt() // in whole seconds
	since, n, err := s.store.OldestDoubt()
	if err != nil || n == 0 || since.Truncate(time.Second).After(restored) {
		return
	}
	now := s.now()
	s.observer.Event(storage.Event{At: now, Last: now, Count: 1, Reason: oauth.Restored})
}

// Step is one round of the loop. Its parts do not wait for each other's success: a provider that is down keeps no
// expired code alive.
func (s *Server) Step(ctx context.Context) error {
	s.forgetPauses()
	s.refusals.forget(s.uptime())
	s.suspects.forget(s.uptime() - suspectsKept)
	return errors.Join(s.resumeIntents(ctx), s.sweep(ctx), s.revokeDue(ctx), s.keepAlive(ctx))
}

// wakeLoop makes the loop look at once for what a request has left to do. One waiting wake-up is enough: the round
// that it starts sees whatever was committed before.
func (s *Server) wakeLoop() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// sweep ends what is over by time, batch after batch: between two of them other writers get their turn.
func (s *Server) sweep(ctx context.Context) error {
	for ctx.Err() == nil {
		more, err := s.store.Sweep(ctx, storage.SweepLimits{
			Limits: s.limitsOf(), UnusedTTL: s.clients.UnusedTTL.D(), Documents: s.clients.CIMDMax, Batch: batch,
		})
		if err != nil || !more {
			return err
		}
	}
	return ctx.Err()
}

// revokeDue gives the upstream tokens of ended grants back to the provider, unless a living grant shares the provider
// session and would end with them (protocol.md §5.3). A failure is tried again for up to seven days. It works in
// rounds of `parallel` and stops after one that failed: a provider that hangs must not hold up the loop.
func (s *Server) revokeDue(ctx context.Context) error {
	for ctx.Err() == nil {
		// Each round asks anew: what was revoked, or failed and got a later time, is not due any more.
		due, err := s.store.RevokeDue(s.now(), s.upstream.Parallel)
		if err != nil || len(due) == 0 {
			return err
		}
		var failed atomic.Bool
		var round errgroup.Group
		for _, id := range due {
			round.Go(func() error {
				revoked, err := s.revokeUpstream(ctx, id)
				if !revoked {
					failed.Store(true)
				}
				return err
			})
		}
		if err := round.Wait(); err != nil || failed.Load() {
			return err
		}
	}
	return ctx.Err()
}

// revokeUpstream handles one ended grant. A flight that was under way when it ended may yet bring newer tokens: those
// are to be revoked, so it waits its turn.
func (s *Server) revokeUpstream(ctx context.Context, grantID string) (revoked bool, err error) {
	if s.underWay(grantID) {
		return false, nil
	}
	up, err := s.store.Upstream(grantID)
	if errors.Is(err, storage.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	// The provider may end its whole session with one token: the last grant of a provider session takes it along,
	// earlier ones leave it.
	living, _, err := s.store.Siblings(grantID)
	if err != nil {
		return false, err
	}
	// The refresh token, if there is one: with it the access tokens should go, too (RFC 7009 §2.1).
	token := up.Refresh
	if token == "" {
		token = up.Access
	}
	var said oauth.Reason // of a token that is left alone the journal says nothing
	if living == 0 && token != "" {
		said = s.countRevocation(s.provider.Revoke(ctx, token))
	}
	revoked = said == "" || said == oauth.OK || said == oauth.UpstreamConfig
	return revoked, s.store.UpstreamRevoked(ctx, grantID, revoked, s.event(ctx, said, ""))
}

// countRevocation counts one attempt and says what the journal says of it. Without a revocation endpoint there is
// nothing to try again.
func (s *Server) countRevocation(err error) oauth.Reason {
	result, reason := "ok", oauth.OK
	switch {
	// its logout endpoint would end other applications' sessions too (protocol.md §6)
	case errors.Is(err, upstream.ErrNoRevocation):
		result, reason = "unsupported", oauth.UpstreamConfig
	case err != nil:
		result, reason = "failed", oauth.UpstreamError
	}
	s.metrics.revocations.WithLabelValues(result).Inc()
	return reason
}

// keepAlive refreshes idle grants before the provider's own idle limits end them. Each asks through the grant's one
// flight, so that nothing is asked twice; `parallel` bounds how many at once. It waits for none of them: a slow
// provider must not hold up the sweep.
func (s *Server) keepAlive(ctx context.Context) error {
	due, err := s.store.KeepaliveDue(s.now(), batch)
	if err != nil {
		return err
	}
	for _, id := range due {
		if _, paused := s.resting(errand{grant: id}); !paused {
			s.board(ctx, id, renewal{keepalive: true, note: oauth.KeepaliveOK})
		}
	}
	return nil
}

// keepaliveAt is when a grant that stays idle is to be refreshed; the zero time is never. Offline tokens are used every
// keepalive_offline, spread by a tenth, or at half their life if that is shorter; online ones only if configured, at
// half their life, since that holds the user's whole SSO session open.
func (s *Server) keepaliveAt(t upstream.Tokens, now time.Time) time.Time {
	every := s.upstream.KeepaliveOffline.D()
	half := t.RefreshExpires.Sub(now) / 2
	switch {
	case t.Refresh == "":
		return time.Time{}
	case t.Offline || t.RefreshExpires.IsZero():
		if every == 0 {
			return time.Time{}
		}
		// Grants that were made together, after an outage say, drift apart this way.
		every += time.Duration((rand.Float64() - 0.5) * 0.2 * float64(every))
		if !t.RefreshExpires.IsZero() {
			every = min(every, half)
		}
		return now.Add(every)
	case s.upstream.KeepaliveOnline:
		return now.Add(half)
	}
	return time.Time{}
}
