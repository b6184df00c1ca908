package auth

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/storage"
)

// The sweep and the keep-alive: one loop around steps that tests call directly. Batches are bounded; provider calls
// stand only between transactions.
const (
	loopEvery   = 5 * time.Second
	batch       = 200
	revokeTime  = 10 * time.Second
	revokeFor   = 7 * 24 * time.Hour
	backoffLow  = time.Second
	backoffHigh = 2 * time.Minute
)

// Run sweeps, gives upstream tokens back and keeps idle grants alive, until ctx is done.
func (s *Server) Run(ctx context.Context) error {
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

// Step is one round of the loop.
func (s *Server) Step(ctx context.Context) error {
	return errors.Join(s.sweep(ctx), s.revokeDue(ctx), s.keepAlive(ctx))
}

// wakeLoop makes the loop look at once for what a request has left to do.
func (s *Server) wakeLoop() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

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
// session and would end with them (protocol.md §5.3). A failure is tried again for up to seven days.
func (s *Server) revokeDue(ctx context.Context) error {
	due, err := s.store.RevokeDue(s.now(), batch)
	if err != nil {
		return err
	}
	for _, id := range due {
		if err := s.revokeUpstream(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) revokeUpstream(ctx context.Context, grantID string) error {
	up, err := s.store.Upstream(grantID)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	living, _, err := s.store.Siblings(grantID)
	if err != nil {
		return err
	}
	token := up.Refresh
	if token == "" {
		token = up.Access
	}
	ok := living > 0 || token == ""
	if !ok {
		ctx, cancel := context.WithTimeout(ctx, revokeTime)
		defer cancel()
		err := s.provider.Revoke(ctx, token)
		ok = err == nil || errors.Is(err, upstream.ErrNoRevocation)
		s.countRevocation(err)
	}
	return s.store.UpstreamRevoked(ctx, grantID, ok, s.event(ctx, oauth.OK, ""))
}

func (s *Server) countRevocation(err error) {
	result := "ok"
	switch {
	case errors.Is(err, upstream.ErrNoRevocation):
		result = "unsupported"
	case err != nil:
		result = "failed"
	}
	s.metrics.revocations.WithLabelValues(result).Inc()
}

// keepAlive refreshes idle grants before the provider's own idle limits end them. Each asks through the grant's one
// flight, so that nothing is asked twice; `parallel` bounds how many at once.
func (s *Server) keepAlive(ctx context.Context) error {
	due, err := s.store.KeepaliveDue(s.now(), batch)
	if err != nil {
		return err
	}
	for _, id := range due {
		if _, paused := s.resting(id); !paused {
			s.board(ctx, id, renewal{force: true, note: oauth.KeepaliveOK})
		}
	}
	return nil
}

// keepaliveAt is when a grant that stays idle is to be refreshed; the zero time is never. Offline tokens are used every
// keepalive_offline, spread by a tenth; online ones only if configured, at half their life, since that holds the user's
// whole SSO session open.
func (s *Server) keepaliveAt(t upstream.Tokens, now time.Time) time.Time {
	every := s.upstream.KeepaliveOffline.D()
	switch {
	case t.Refresh == "":
		return time.Time{}
	case t.Offline || t.RefreshExpires.IsZero():
		if every == 0 {
			return time.Time{}
		}
		spread := time.Duration((rand.Float64() - 0.5) * 0.2 * float64(every))
		return now.Add(every + spread)
	case s.upstream.KeepaliveOnline:
		return now.Add(t.RefreshExpires.Sub(now) / 2)
	}
	return time.Time{}
}

// backoff is the pause after so many failures in a row: doubling from one second to two minutes, with jitter, so that
// a provider that comes back is not met by everybody at once.
func backoff(failures int) time.Duration {
	d := backoffHigh
	if failures < 8 {
		d = min(d, backoffLow<<max(failures-1, 0))
	}
	return d/2 + rand.N(d/2+1)
}
