package auth

import (
	"context"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/storage"
)

// settle commits what the provider answered to a refresh (the table of protocol.md §8.2) and says what the callers
// get.
func (s *Server) settle(ctx context.Context, try attempt, a upstream.Answer) renewed {
	switch a.Outcome {
	case upstream.Good, upstream.Unverified, upstream.Quarantined:
		return s.keep(ctx, try, a)
	case upstream.Ended:
		return s.endByProvider(ctx, try.up, s.endReason(try, a))
	case upstream.Suspect:
		return s.suspect(ctx, try, a)
	case upstream.ConfigFault:
		s.alarm(ctx, oauth.UpstreamConfig, "the provider refuses us, not the user: check client id, secret and issuer", a.Err)
	}
	return s.trouble(ctx, try.up, a)
}

// endReason tells the refusals that a lost answer explains from real ones: after a lost answer, a provider that
// rotates refuses the token it has already replaced.
func (s *Server) endReason(try attempt, a upstream.Answer) oauth.Reason {
	if try.doubted && a.Spent && s.upstream.Rotation != upstream.RotationNone {
		return oauth.UpstreamLost
	}
	return a.Reason
}

// keep commits new tokens before anybody uses them, and only then judges the renewed claims. A commit that fails is
// tried again every second; meanwhile nobody gets the tokens and the old one is never sent again (protocol.md §8.1.6).
func (s *Server) keep(ctx context.Context, try attempt, a upstream.Answer) renewed {
	up, now := try.up, s.now()
	saved := storage.SavedUpstream{
		GrantID: up.GrantID, Gen: up.Gen, Upstream: s.nextRecord(up, a.Tokens, now),
		Quarantine: a.Outcome == upstream.Quarantined, Event: s.event(ctx, try.said(a), ""),
	}
	if a.Outcome == upstream.Good && a.Claims != nil {
		id := identityOf(*a.Claims)
		saved.Identity = &id
	}
	if err := s.saveUntilKept(ctx, saved); err != nil {
		return renewed{trouble: oauth.StorageUnavailable, err: err}
	}
	s.awake(up.GrantID)
	s.suspects.answered(now)
	switch {
	case a.Outcome == upstream.Quarantined:
		s.alarm(ctx, oauth.SubjectChanged, "the provider named another person for a grant; it is stopped", a.Err)
		return renewed{trouble: oauth.SubjectChanged, since: now}
	case a.Outcome == upstream.Unverified:
		s.alarm(ctx, oauth.IDTokenInvalid, "tokens kept, claims not renewed", a.Err)
	case a.Claims != nil:
		if err := s.access.check(*a.Claims); err != nil {
			return s.endByProvider(ctx, up, oauth.AccessRule)
		}
	}
	return renewed{token: saved.Upstream.Access}
}

// said is what the journal says of tokens that were kept.
func (t attempt) said(a upstream.Answer) oauth.Reason {
	switch {
	case a.Outcome == upstream.Quarantined:
		return oauth.SubjectChanged
	case t.note != "":
		return t.note
	}
	return oauth.OK
}

// saveUntilKept returns nil once the tokens are on disk, storage.ErrEnded when the grant ended meanwhile, and gives up
// only when the process ends.
func (s *Server) saveUntilKept(ctx context.Context, saved storage.SavedUpstream) error {
	for {
		err := s.store.SaveUpstream(ctx, saved)
		if err == nil || !isUnavailable(err) {
			return err
		}
		s.log.ErrorContext(ctx, "new upstream tokens cannot be saved; trying again every second", "grant", saved.GrantID, "error", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// endByProvider ends the grant because the provider, or a rule over what it says, ended the sign-in.
func (s *Server) endByProvider(ctx context.Context, up storage.Upstream, reason oauth.Reason) renewed {
	if _, err := s.store.EndGrant(ctx, up.GrantID, reason, s.event(ctx, reason, "")); err != nil {
		return renewed{trouble: oauth.StorageUnavailable, err: err}
	}
	s.awake(up.GrantID)
	return renewed{ended: reason}
}

// trouble records a failure that ends nothing, and makes the grant pause.
func (s *Server) trouble(ctx context.Context, up storage.Upstream, a upstream.Answer) renewed {
	after, err := s.store.FailUpstream(ctx, storage.FailedUpstream{
		GrantID: up.GrantID, Gen: up.Gen, Reason: a.Reason, InDoubt: a.Outcome == upstream.InDoubt,
		Suspect: a.Outcome == upstream.Suspect, Event: s.event(ctx, a.Reason, ""),
	})
	r := renewed{trouble: a.Reason, retryAfter: a.RetryAfter, err: a.Err, since: after.TroubleSince}
	if err != nil {
		r.trouble, r.err = oauth.StorageUnavailable, err
	}
	return s.rest(up.GrantID, r)
}

// suspect handles a refusal that could also mean a wrong or empty database behind the provider's name: the grant ends
// only at the second one, suspect_after later, and not when it is one of many.
func (s *Server) suspect(ctx context.Context, try attempt, a upstream.Answer) renewed {
	up, now := try.up, s.now()
	first := up.SuspectSince
	s.suspects.refused(up.GrantID, now)
	if !first.IsZero() && now.Sub(first) >= s.upstream.SuspectAfter.D() && now.Sub(s.started) >= s.upstream.SuspectAfter.D() {
		if !s.suspects.widespread(up.GrantID, first) {
			reason := oauth.UpstreamRejected
			if try.doubted {
				reason = oauth.UpstreamLost
			}
			return s.endByProvider(ctx, up, reason)
		}
		s.alarm(ctx, oauth.UpstreamConfig, "the provider knows none of several grants: a wrong or empty database behind its name?", a.Err)
	}
	return s.trouble(ctx, up, a)
}

// nextRecord is the upstream record after a good answer. An answer without a refresh token leaves the old one in use
// (RFC 6749 §6).
func (s *Server) nextRecord(up storage.Upstream, t upstream.Tokens, now time.Time) storage.Upstream {
	next := s.upstreamRecord(up.GrantID, up.Gen+1, t, now)
	if t.Refresh == "" {
		next.Refresh, next.RefreshExpires, next.Offline = up.Refresh, up.RefreshExpires, up.Offline
	}
	return next
}

// upstreamRecord is what the store keeps of the provider's tokens.
func (s *Server) upstreamRecord(grantID string, gen uint32, t upstream.Tokens, now time.Time) storage.Upstream {
	return storage.Upstream{
		GrantID: grantID, Gen: gen, Access: t.Access, Refresh: t.Refresh, TokenType: t.TokenType, Scope: t.Scope,
		Expires: t.Expires, RefreshExpires: t.RefreshExpires, Offline: t.Offline, Obtained: now, Answered: now,
		KeepaliveAt: s.keepaliveAt(t, now),
	}
}
