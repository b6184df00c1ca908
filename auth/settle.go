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

// settle commits what the provider answered to a refresh (the table of protocol.md §8.2) and says what the callers
// get. The flight's ctx never ends here: an answer that was paid for is written down even while the server stops.
func (s *Server) settle(ctx context.Context, try attempt, a upstream.Answer) renewed {
	switch a.Outcome {
	case upstream.Good, upstream.Unverified, upstream.Quarantined:
		return s.keep(ctx, try, a)
	case upstream.Ended:
		return s.endByProvider(ctx, try.up, s.endReason(try, a))
	case upstream.Suspect:
		return s.suspect(ctx, try, a)
	case upstream.ConfigFault:
		// every grant will meet it, and none of them is to blame: the operator must look, nobody is logged out
		s.alarm(ctx, oauth.UpstreamConfig, "the provider refuses us, not the user: check client id, secret and issuer", a.Err)
	}
	return s.trouble(ctx, try.up, a)
}

// endReason tells the refusals that a lost answer explains from real ones: after a lost answer, a provider that
// rotates refuses the token it has already replaced. Without rotation the old token stays good, so there a refusal is
// a real one.
func (s *Server) endReason(try attempt, a upstream.Answer) oauth.Reason {
	if try.doubted && a.Spent && s.upstream.Rotation != upstream.RotationNone {
		return oauth.UpstreamLost
	}
	return a.Reason
}

// keep commits new tokens before anybody uses them, and only then judges an id_token whose key must be fetched, and
// the renewed claims. A commit that fails is tried again every second; meanwhile nobody gets the tokens and the old
// one is never sent again (protocol.md §8.1 rules 5 and 6).
func (s *Server) keep(ctx context.Context, try attempt, a upstream.Answer) renewed {
	saved := s.answered(ctx, try, a)
	if a.Pending {
		s.judge(try.flight)
	}
	if err := s.saveUntilKept(ctx, saved); err != nil {
		return s.notKept(saved.GrantID, err)
	}
	if a.Pending {
		// Fetching a key may take as long as the provider likes. The rotated token is safe on disk by now, whatever
		// happens meanwhile.
		a = s.provider.Settle(ctx, try.request, a)
		try.up.Gen++ // of the record that was just written
		if saved = s.answered(ctx, try, a); a.Outcome == upstream.Good {
			saved.Event = storage.Event{} // its tokens were noted already
		}
		if a.Outcome != upstream.Unverified {
			if err := s.saveUntilKept(ctx, saved); err != nil {
				return s.notKept(saved.GrantID, err)
			}
		}
	}
	s.awake(errand{grant: saved.GrantID})
	s.suspects.answered(saved.GrantID, try.sent)
	return s.kept(ctx, try, a)
}

// kept is what the callers get of tokens that are stored.
func (s *Server) kept(ctx context.Context, try attempt, a upstream.Answer) renewed {
	switch {
	case a.Outcome == upstream.Quarantined:
		s.alarm(ctx, oauth.SubjectChanged, "the provider named another person for a grant; it is stopped", a.Err)
		return renewed{trouble: oauth.SubjectChanged, since: s.now(), retryAfter: quarantineRetry}
	// an id_token that cannot be judged takes no token away: its user did nothing (protocol.md §8.2)
	case a.Outcome == upstream.Unverified:
		s.alarm(ctx, oauth.IDTokenInvalid, "tokens kept, claims not renewed", a.Err)
	case a.Claims != nil:
		if err := s.access.check(*a.Claims); err != nil {
			return s.endByProvider(ctx, try.up, oauth.AccessRule)
		}
	}
	return renewed{token: a.Tokens.Access}
}

// answered is the transition that a good answer asks for. An answer without a refresh token leaves the old one in use
// (RFC 6749 §6), and its keep-alive. Quarantined tokens are kept alive for nobody. The generation is counted on by
// one: a commit under an older number is refused, so that no late answer overwrites a newer one.
func (s *Server) answered(ctx context.Context, try attempt, a upstream.Answer) storage.SavedUpstream {
	t := a.Tokens
	if t.Refresh == "" {
		t.Refresh, t.Offline = try.up.Refresh, t.Offline || try.up.Offline
		if t.RefreshExpires.IsZero() {
			t.RefreshExpires = try.up.RefreshExpires
		}
	}
	saved := storage.SavedUpstream{
		GrantID: try.up.GrantID, Gen: try.up.Gen, Upstream: s.upstreamRecord(try.up.GrantID, try.up.Gen+1, t, s.now()),
		Quarantine: a.Outcome == upstream.Quarantined, Event: s.event(ctx, try.said(a), ""),
	}
	if !saved.Quarantine {
		saved.KeepaliveAt = saved.Upstream.KeepaliveAt
	}
	if a.Outcome == upstream.Good && a.Claims != nil {
		id := identityOf(*a.Claims)
		saved.Identity = &id
	}
	return saved
}

// said is what the journal says of tokens that were kept.
func (t attempt) said(a upstream.Answer) oauth.Reason {
	switch note := t.flight.want.note; {
	case a.Outcome == upstream.Quarantined:
		return oauth.SubjectChanged
	case note != "":
		return note
	}
	return oauth.OK
}

// saveUntilKept returns nil once the tokens are on disk, storage.ErrEnded when the grant ended meanwhile, and gives
// up only when the process ends. The provider may have killed the old token already, so these are the only ones:
// giving up early would log the user out over a full disk.
func (s *Server) saveUntilKept(ctx context.Context, saved storage.SavedUpstream) error {
	for {
		err := s.store.SaveUpstream(ctx, saved)
		if err == nil || !isUnavailable(err) {
			return err
		}
		s.log.ErrorContext(ctx, "new upstream tokens cannot be saved; trying again every second", "grant", saved.GrantID, "error", err)
		select {
		// the process ends and the tokens with it; the intent on disk makes the next start doubt the old ones
		case <-s.life.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// notKept is the outcome when new tokens found no grant to belong to. Of one that ended meanwhile the store keeps them
// for their revocation.
func (s *Server) notKept(grantID string, err error) renewed {
	if errors.Is(err, storage.ErrEnded) || errors.Is(err, storage.ErrNotFound) {
		s.forgetTrouble(grantID)
		s.wakeLoop()
		return s.endedGrant(grantID)
	}
	return renewed{trouble: oauth.StorageUnavailable, err: err}
}

// endByProvider ends the grant because the provider, or a rule over what it says, ended the sign-in. The loop is
// woken, since its upstream tokens may still be good for something and are to be given back.
func (s *Server) endByProvider(ctx context.Context, up storage.Upstream, reason oauth.Reason) renewed {
	if _, err := s.store.EndGrant(ctx, up.GrantID, reason, s.event(ctx, reason, "")); err != nil {
		return renewed{trouble: oauth.StorageUnavailable, err: err}
	}
	s.forgetTrouble(up.GrantID)
	s.wakeLoop()
	return s.endedGrant(up.GrantID) // somebody else may have been quicker: the reason is the store's
}

// forgetTrouble drops what memory holds of a grant that ended.
func (s *Server) forgetTrouble(grantID string) {
	s.awake(errand{grant: grantID})
	s.awake(errand{grant: grantID, recheck: true})
	s.suspects.cleared(grantID)
}

// trouble records a failure that ends nothing, and makes the grant pause. The intent goes unless the answer may have
// been lost: then, and only then, the token may be spent. The failure goes on record, not into memory alone: the
// outage grace counts over restarts.
func (s *Server) trouble(ctx context.Context, up storage.Upstream, a upstream.Answer) renewed {
	after, err := s.store.FailUpstream(ctx, storage.FailedUpstream{
		GrantID: up.GrantID, Gen: up.Gen, Reason: a.Reason, InDoubt: a.Outcome == upstream.InDoubt,
		Suspect: a.Outcome == upstream.Suspect, ClearIntent: a.Outcome != upstream.InDoubt,
		KeepaliveAt: s.keepaliveAgain(up, a), Event: s.event(ctx, a.Reason, ""),
	})
	if errors.Is(err, storage.ErrEnded) {
		s.forgetTrouble(up.GrantID)
		return s.endedGrant(up.GrantID)
	}
	if err != nil {
		after.TroubleSince = s.now()
	}
	r := s.rest(errand{grant: up.GrantID}, renewed{trouble: a.Reason, retryAfter: a.RetryAfter, err: a.Err, since: after.TroubleSince})
	if err != nil { // the pause remembers the provider's trouble; this caller meets our own
		return renewed{trouble: oauth.StorageUnavailable, err: err}
	}
	return r
}

// keepaliveRetry is when a keep-alive that failed is due again, at most: the pause in memory is much shorter, but a
// provider that is down must not be asked for every idle grant over and over.
const keepaliveRetry = 10 * time.Minute

// keepaliveAgain is the next keep-alive after a failure; zero = as it was, since it is not due yet.
func (s *Server) keepaliveAgain(up storage.Upstream, a upstream.Answer) time.Time {
	now, wait := s.now(), keepaliveRetry
	if left := up.RefreshExpires.Sub(now); left > 0 {
		wait = min(wait, left/4)
	}
	// Spread over a quarter, since all idle grants may have failed at the same moment.
	again := now.Add(max(wait-rand.N(wait/4+1), a.RetryAfter))
	if a.Outcome == upstream.InDoubt {
		again = latest(again, up.Expires) // until then the stored token serves (protocol.md §8.3)
	}
	if up.KeepaliveAt.IsZero() || up.KeepaliveAt.After(again) {
		return time.Time{}
	}
	return again
}

// suspect handles a refusal that could also mean a wrong or empty database behind the provider's name: the grant ends
// only at a second one, suspect_after later, and not when it is one of many. A company that restored its provider's
// database must not find everybody logged out.
func (s *Server) suspect(ctx context.Context, try attempt, a upstream.Answer) renewed {
	now := s.uptime()
	first := s.suspects.refused(try.up.GrantID, now)
	switch {
	case now-first < s.upstream.SuspectAfter.D():
	case s.suspects.widespread(try.up.GrantID, first):
		a.Reason = oauth.UpstreamConfig
		s.alarm(ctx, oauth.UpstreamConfig, "the provider knows none of several grants: a wrong or empty database behind its name?", a.Err)
	case try.doubted:
		return s.endByProvider(ctx, try.up, oauth.UpstreamLost)
	default:
		return s.endByProvider(ctx, try.up, oauth.UpstreamRejected)
	}
	return s.trouble(ctx, try.up, a)
}

// upstreamRecord is what the store keeps of the provider's tokens. An answer counts as the provider's word on the
// user: Answered is when it was last known to stand by the grant.
func (s *Server) upstreamRecord(grantID string, gen uint32, t upstream.Tokens, now time.Time) storage.Upstream {
	return storage.Upstream{
		GrantID: grantID, Gen: gen, Access: t.Access, Refresh: t.Refresh, TokenType: t.TokenType, Scope: t.Scope,
		Expires: t.Expires, RefreshExpires: t.RefreshExpires, Offline: t.Offline, Obtained: now, Answered: now,
		KeepaliveAt: s.keepaliveAt(t, now),
	}
}
