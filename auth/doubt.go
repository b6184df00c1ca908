package auth

import (
	"context"
	"errors"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/storage"
)

// beforeAsking decides what a grant in doubt may do (protocol.md §8.3): its last request was sent and its answer never
// stored, because the connection broke, the process was killed or a backup was restored. It answers by itself
// (ok = true) or lets the flight ask the provider.
func (s *Server) beforeAsking(ctx context.Context, up storage.Upstream, want renewal) (r renewed, ok bool) {
	if up.Refresh == "" {
		return s.withoutRefreshToken(ctx, up)
	}
	if !inDoubt(up) || s.upstream.Rotation == upstream.RotationNone {
		return renewed{}, false
	}
	// First what costs nothing: the stored access token, unless the provider must be asked or has called it dead.
	if !want.force && up.Access != want.refused && s.usable(up, s.now(), 0) {
		return renewed{token: up.Access}, true // doubt is about the next refresh, not about this token
	}
	if s.upstream.Rotation == upstream.RotationStrict {
		// asking again may end the whole provider session, and a sibling that is well would go with it
		if _, healthy, err := s.store.Siblings(up.GrantID); err != nil {
			return renewed{trouble: oauth.StorageUnavailable, err: err}, true
		} else if healthy > 0 {
			return s.endByProvider(ctx, up, oauth.UpstreamLost), true
		}
	}
	// By uptime: a step of the wall clock makes it neither shorter nor longer. It counts from our start: a request
	// that an earlier process sent may still be on its way to the provider.
	if left := s.started + s.upstream.Holdoff.D() - s.uptime(); left > 0 {
		return renewed{trouble: oauth.UpstreamInDoubt, since: up.TroubleSince, retryAfter: left}, true
	}
	return renewed{}, false
}

// inDoubt says whether an earlier request of this grant may have been answered without our knowing. It is asked inside
// the grant's one flight, where an intent can only be left over.
func inDoubt(up storage.Upstream) bool { return up.InDoubt || up.Intent != nil }

// resumeIntents puts what an earlier run left under way into doubt, so that journal and metrics say so, and sees that
// it is settled without waiting for a call. There are at most `parallel` of them.
func (s *Server) resumeIntents(ctx context.Context) error {
	if s.resumed.Load() {
		return nil
	}
	ids, err := s.store.Intents()
	if err != nil {
		return err
	}
	for _, id := range ids {
		// Through the grant's one flight: a call may already be asking for it.
		r := s.renew(ctx, id, renewal{resume: true, wait: s.upstream.Timeout.D()})
		if r.trouble == oauth.StorageUnavailable {
			return r.err // the next round tries again
		}
	}
	// Once a run: intents of our own are settled by the flights that made them.
	s.resumed.Store(true)
	return nil
}

// resume is the flight of resumeIntents. Where the mode lets the grant ask again, the keep-alive does it: once the
// stored access token has run out, and the hold-off is over.
func (s *Server) resume(ctx context.Context, up storage.Upstream) renewed {
	failed := storage.FailedUpstream{
		GrantID: up.GrantID, Gen: up.Gen, Reason: oauth.UpstreamInDoubt, InDoubt: true, ClearIntent: true,
		Event: s.event(ctx, oauth.UpstreamInDoubt, ""),
	}
	if s.upstream.Rotation != upstream.RotationNone {
		failed.KeepaliveAt = latest(s.now().Add(s.upstream.Holdoff.D()), up.Expires)
	}
	after, err := s.store.FailUpstream(ctx, failed)
	switch {
	case errors.Is(err, storage.ErrEnded):
		return s.endedGrant(up.GrantID)
	case err != nil:
		return renewed{trouble: oauth.StorageUnavailable, err: err}
	}
	return renewed{trouble: oauth.UpstreamInDoubt, since: after.TroubleSince}
}

// withoutRefreshToken handles `refresh = "optional"`: the grant ends with its upstream access token. A provider that
// states no life of it never says when that is, and a clock that is not trusted cannot.
func (s *Server) withoutRefreshToken(ctx context.Context, up storage.Upstream) (renewed, bool) {
	switch {
	case up.Expires.IsZero(), s.usable(up, s.now(), 0):
		return renewed{token: up.Access}, true
	case !s.store.ClockTrusted():
		return renewed{trouble: oauth.ClockJump}, true
	}
	return s.endByProvider(ctx, up, oauth.UpstreamSessionExpired), true
}

// latest is the later of two times; the zero time is before all others.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
