package rest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
)

// downAfter is how many failures in a row take the API's tools away: one may be the network's hiccup.
const downAfter = 3

// The pause between looks at an API that is away, or at a document that cannot be had.
const (
	pauseLow  = time.Second
	pauseHigh = time.Minute
)

// An API has no connection whose end could be noticed: whether it is away, the calls tell. So the first calls of an outage
// fail one by one, and only then its tools go; they come back by a probe, since without tools there are no calls.

// State says how the API is, by the latest requests.
func (s *Source) State() connector.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// set changes the state, and tells if it is another one.
func (s *Source) set(next connector.State) {
	s.mu.Lock()
	same := s.state.Up == next.Up && s.state.Reason == next.Reason && s.state.Text == next.Text
	if !same {
		next.Since = s.now()
		s.state = next
	}
	s.mu.Unlock()
	if !same { // outside the lock: whoever is told asks for the state
		s.tell()
	}
}

// answered notes that there is a way to the API, whatever it said.
func (s *Source) answered() {
	s.mu.Lock()
	s.failures = 0
	s.mu.Unlock()
	s.set(connector.State{Up: true})
}

// failed notes that there was none. A caller that hung up says nothing about the API.
func (s *Source) failed(ctx context.Context) {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return
	}
	s.mu.Lock()
	s.failures++
	down := s.failures >= downAfter
	s.mu.Unlock()
	if !down {
		return
	}
	s.set(connector.State{Reason: oauth.ConnectorUnreachable})
	// one waking is enough, and a call must not wait for Run
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run fetches the document if it is elsewhere, and looks after an API that is away until it answers again.
func (s *Source) Run(ctx context.Context) error {
	if s.catalog.Load() == nil {
		if !s.until(ctx, s.get) {
			return nil
		}
		s.answered()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
		if !s.State().Up && !s.until(ctx, s.probe) {
			return nil
		}
	}
}

// until tries until it succeeds, with growing pauses; false means that ctx ended.
func (s *Source) until(ctx context.Context, try func(context.Context) error) bool {
	for pause := pauseLow; ; pause = min(2*pause, pauseHigh) {
		if try(ctx) == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause/2 + rand.N(pause)): // spread, or all servers come back to an API at once
		}
	}
}

// get loads the document from its URL, and lets go of those who wait for the first look at it.
func (s *Source) get(ctx context.Context) error {
	defer s.look()
	err := s.load(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	reason := oauth.ConnectorBadAnswer
	var way unreachable
	if errors.As(err, &way) {
		reason = oauth.ConnectorUnreachable
	}
	s.log.Warn("connector cannot start", "connector", s.config.Name, "reason", reason, "cause", err)
	s.set(connector.State{Reason: reason, Text: err.Error()})
	return err
}

// probe asks the API for anything: every answer means that it is there. It goes without a credential, since it is
// nobody's call; a 401 is as good as a 200.
func (s *Source) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout.D())
	defer cancel()
	resp, err := s.head(ctx)
	if err != nil {
		return err
	}
	resp.Body.Close()
	s.answered()
	return nil
}

// head asks whether somebody answers, with no credential: any status does.
func (s *Source) head(ctx context.Context) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, s.catalog.Load().base.String(), nil)
	if err != nil {
		return nil, err
	}
	return s.http.Do(r)
}

// Check says whether the document is good and the API there.
func (s *Source) Check(ctx context.Context) []oauth.Finding {
	name := "connector " + s.config.Name
	// a check runs beside a server or without one: it may be the first who reads the document
	if s.catalog.Load() == nil {
		if err := s.load(ctx); err != nil {
			return []oauth.Finding{oauth.Bad(name, err.Error(), "see document and document_sha256 of this connector")}
		}
	}
	c := s.catalog.Load()
	out := []oauth.Finding{oauth.Good(name, fmt.Sprintf("the document gives %d tools", len(c.tools)))}
	if len(c.left) > 0 {
		out = append(out, oauth.Warn(name, fmt.Sprintf("%d operations are left out%s", len(c.left), first(c.left)),
			"change the document at the places that the log names, if these operations are needed"))
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout.D())
	defer cancel()
	resp, err := s.head(ctx)
	if err != nil {
		return append(out, oauth.Bad(name, "the API does not answer: "+withoutURL(err).Error(), "check url, the network, and the API itself"))
	}
	resp.Body.Close()
	return append(out, oauth.Good(name, "the API answers"))
}

// Close lets go of idle connections. Calls under way end with their own contexts.
func (s *Source) Close(context.Context) error {
	s.http.CloseIdleConnections()
	return nil
}
