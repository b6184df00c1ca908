package auth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/story"
	"hostedmcp/auth/upstream"
)

// health remembers how the provider answered last, for operators. Memory only: after a start nobody has asked yet.
type health struct {
	mu     sync.Mutex
	good   time.Time // last answer
	reason oauth.Reason
	since  time.Time // of the trouble
}

// answered notes how a request to the provider went: reason "" is an answer, a refusal of one grant included.
func (h *health) answered(now time.Time, reason oauth.Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case reason == "":
		h.good, h.reason, h.since = now, "", time.Time{}
		return
	case h.reason == "":
		h.since = now
	}
	h.reason = reason
}

// heard notes how a request at the userinfo endpoint went. A refusal of one user's token is an answer, too; a provider
// without such an endpoint was not asked.
func (h *health) heard(now time.Time, status int, err error) {
	var failed *upstream.Failure
	switch {
	case err == nil, status == http.StatusUnauthorized, status == http.StatusForbidden:
		h.answered(now, "")
	case errors.As(err, &failed):
		h.answered(now, failed.Reason)
	}
}

// last returns what answered noted.
func (h *health) last() (good time.Time, reason oauth.Reason, since time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.good, h.reason, h.since
}

// providerTrouble is what an outcome says of the provider as a whole: nothing, if it answered about one grant.
func providerTrouble(a upstream.Answer) oauth.Reason {
	switch a.Outcome {
	case upstream.Good, upstream.Unverified, upstream.Quarantined, upstream.Ended, upstream.Suspect:
		return ""
	}
	return a.Reason
}

// providerHost is the host that people know the provider by.
func (s *Server) providerHost() string {
	u, err := url.Parse(s.upstream.Issuer)
	if err != nil {
		return ""
	}
	return u.Host
}

// providerHealth is the provider's line on an operator's page.
func (s *Server) providerHealth() PageHealth {
	now := s.now()
	good, reason, since := s.health.last()
	p := PageHealth{Host: s.providerHost(), State: "Working", Reason: reason, Since: since}
	switch {
	case reason != "":
		p.State, p.Sentence = "In trouble", "in trouble for "+story.Span(now.Sub(since))
		if reason == oauth.UpstreamUnreachable {
			p.State, p.Sentence = "Not answering", "silent for "+story.Span(now.Sub(since))
		}
		if grace := s.tokens.OutageGrace.D(); grace > 0 {
			p.Sentence += "; users stay connected until " + story.Clock(now, since.Add(grace))
		}
	case good.IsZero():
		p.Sentence = "not asked since the start"
	default:
		p.Sentence = "last answer " + story.Ago(now, good)
	}
	return p
}

// storeHealth is the store's line.
func (s *Server) storeHealth() PageHealth {
	switch reason := s.ownTrouble(); reason {
	case oauth.StorageUnavailable:
		return PageHealth{State: "Cannot save", Sentence: "the last commit failed; nothing is lost, and it is tried again", Reason: reason}
	case oauth.ClockJump:
		return PageHealth{State: "Clock wrong", Sentence: "nothing ends by time until the clock is right, or confirmed: hostedmcp clock accept", Reason: reason}
	}
	return PageHealth{State: "Working", Sentence: size(s.store.Size()) + " in use"}
}

// size is a number of bytes as people read it.
func size(n int64) string {
	switch {
	case n >= 10_000_000_000:
		return fmt.Sprintf("%d GB", n/1_000_000_000)
	case n >= 1_000_000:
		return fmt.Sprintf("%d MB", n/1_000_000)
	}
	return fmt.Sprintf("%d KB", n/1_000)
}
