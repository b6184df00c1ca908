package auth

import (
	"context"

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
	if !s.inDoubt(up) || s.upstream.Rotation == upstream.RotationNone {
		return renewed{}, false
	}
	now := s.now()
	if s.usable(up, now, 0) && !want.force {
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
	if uptime := now.Sub(s.started); uptime < s.upstream.Holdoff.D() {
		return renewed{
			trouble: oauth.UpstreamInDoubt, since: up.TroubleSince, retryAfter: s.upstream.Holdoff.D() - uptime,
		}, true
	}
	return renewed{}, false
}

// inDoubt says whether an earlier request of this grant may have been answered without our knowing.
func (s *Server) inDoubt(up storage.Upstream) bool {
	return up.InDoubt || (up.Intent != nil && up.Intent.Boot != s.boot)
}

// withoutRefreshToken handles `refresh = "optional"`: the grant ends with its upstream access token.
func (s *Server) withoutRefreshToken(ctx context.Context, up storage.Upstream) (renewed, bool) {
	if s.usable(up, s.now(), 0) {
		return renewed{token: up.Access}, true
	}
	return s.endByProvider(ctx, up, oauth.UpstreamSessionExpired), true
}
