package auth

import (
	"errors"
	"slices"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/story"
	"hostedmcp/storage"
)

// telling says how much of a grant's story a page shows, and to whom.
type telling int

const (
	tellState telling = iota // the state alone: a list of many
	tellYou                  // the whole story, to the user
	tellOther                // the whole story, to an operator
)

// maxEvents bounds the story of one connection on a page.
const maxEvents = 60

// pageGrant is one connection in a person's words. All of them are the story's, as `explain` tells it.
func (s *Server) pageGrant(g storage.Grant, how telling) (PageGrant, error) {
	in, err := s.storyOf(g, how != tellState)
	if err != nil {
		return PageGrant{}, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	in.You = how != tellOther
	told := story.Tell(in)
	c := client{id: g.ClientID, name: g.ClientName, kind: s.kindOf(g)}
	p := PageGrant{
		ID: g.ID, Client: c.page(g.RedirectURI), User: pageUser(in.Identity), Since: g.Created, LastUsed: g.LastUse,
		Ended: g.EndedAt, Scopes: s.scopeSentences(g.Scope), State: told.Word, Sentence: told.Sees,
	}
	p.User.Subject = g.Subject
	switch told.State {
	case story.Ended:
		p.Kind, p.Reason = "ended", told.Reason
	case story.Trouble:
		p.Kind, p.Reason, p.Trouble, p.Until = "trouble", told.Reason, told.At, in.Until(told.Reason)
	}
	if g.Living() {
		p.GoodUntil = s.goodUntil(g)
	}
	if how != tellState {
		p.Events = pageEvents(told.Lines)
	}
	return p, nil
}

// pageEvents turns a story round: a person looks for what happened last.
func pageEvents(lines []story.Line) (events []PageEvent) {
	for _, l := range slices.Backward(lines[max(0, len(lines)-maxEvents):]) {
		events = append(events, PageEvent{At: l.At, Until: l.Until, Sentence: l.Sentence, Reason: l.Reason, Count: int(l.Count)})
	}
	return events
}

// storyOf gathers what a grant's story is told from. An upstream record that cannot be read, or is gone, hides the
// trouble, not the connection: it can still be ended. whole = with the journal; without it a state is told all the same.
func (s *Server) storyOf(g storage.Grant, whole bool) (in story.Input, err error) {
	in = story.Input{Grant: g, Site: s.site(), Server: s.ownTrouble(), Now: s.now()}
	if in.Identity, err = s.store.Identity(g.ID); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return in, err
	}
	if g.Living() {
		in.Upstream, _ = s.store.Upstream(g.ID)
	}
	if c, err := s.store.Client(g.ClientID); whole && err == nil && c.Kind == storage.ClientRegistered {
		in.Registered = c.Created
	}
	// A doubt that no failure brought about is told from the journal alone.
	if whole || in.Upstream.InDoubt && in.Upstream.Trouble == "" {
		if in.Events, err = s.store.Events(g.ID); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return in, err
		}
	}
	return in, nil
}

// site is what the sentences name of this installation.
func (s *Server) site() story.Site {
	return story.Site{
		Provider: s.providerHost(), Idle: s.tokens.RefreshIdle, MaxAge: s.tokens.RefreshMax, OutageGrace: s.tokens.OutageGrace,
		GrantsPerUser: s.clients.GrantsPerUser,
	}
}

// ownTrouble is what is wrong with this server, and so with every connection; "" = nothing.
func (s *Server) ownTrouble() oauth.Reason {
	switch {
	case s.store.Ready() != nil:
		return oauth.StorageUnavailable
	case !s.store.ClockTrusted():
		return oauth.ClockJump
	}
	return ""
}
