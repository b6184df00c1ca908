package auth

import (
	"cmp"
	"context"
	"slices"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
)

// What operators see and do (protocol.md §4.3): everybody's connections, with the same page, the same reasons and the
// same forms as everybody else.

const (
	operatorLimit = 50              // connections on one page
	searchedUsers = 20              // of a name that several have
	longestSearch = 5 * time.Second // a search by part of a name reads all users
	maxSearch     = 256             // characters of one field
)

// pageStates are the values of `state=`, in the order of the page, with what they are called and the store's states.
var pageStates = []struct {
	state, name string
	of          storage.State
	always      bool // shown even when there are none
}{
	{"working", "Working", storage.StateWorking, true},
	{"trouble", "In trouble", storage.StateTrouble, true},
	{"suspect", "In doubt", storage.StateInDoubt, true},
	{"stopped", "Stopped", storage.StateQuarantined, false},
	{"unclaimed", "Not finished", storage.StateUnclaimed, false},
	{"ended", "Ended", storage.StateEnded, true},
}

// operator says whether a signed-in person is one, by the groups that the provider named at sign-in: who leaves the
// group is one until the sign-in ends (signin_ttl).
func (s *Server) operator(signin storage.SignIn) bool {
	return slices.ContainsFunc(signin.Identity.Groups, func(g string) bool { return slices.Contains(s.access.Operators, g) })
}

// pageQuery reads what is looked for. A state that there is none of asks for all.
func pageQuery(p oauth.Params) PageQuery {
	cut := func(name string) string { return oauth.DisplayText(p.Get(name), maxSearch) }
	q := PageQuery{Subject: cut("subject"), Client: cut("client"), After: cut("after")}
	for _, known := range pageStates {
		if p.Get("state") == known.state {
			q.State = known.state
		}
	}
	return q
}

// find is the store's query for q.
func (q PageQuery) find() storage.Query {
	out := storage.Query{Client: q.Client, After: q.After, Limit: operatorLimit}
	for _, known := range pageStates {
		if q.State == known.state {
			out.States = []storage.State{known.of}
		}
	}
	return out
}

// operatorPage is everybody's connections, or those that q asks for.
func (s *Server) operatorPage(ctx context.Context, signin storage.SignIn, q PageQuery) (StatusPage, error) {
	p := s.statusBase(signin)
	p.User.Subject = signin.Subject
	p.Operator, p.Query, p.Provider, p.Store = true, q, s.providerHealth(), s.storeHealth()
	if s.connectors != nil {
		p.Connectors = s.connectors()
	}
	var all int64
	var err error
	if p.Counts, all, err = s.counts(q.State); err != nil {
		return p, err
	}
	grants, err := s.search(ctx, &p)
	if err != nil {
		return p, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	slices.SortStableFunc(grants, func(a, b storage.Grant) int { return b.LastUse.Compare(a.LastUse) })
	how := tellState
	switch p.Whose.Subject {
	case "":
	case signin.Subject:
		how = tellYou
	default:
		how = tellOther
	}
	for _, g := range grants {
		one, err := s.pageGrant(g, how)
		if err != nil {
			return p, err
		}
		p.Grants = append(p.Grants, one)
	}
	p.place(all)
	return p, nil
}

// counts returns the numbers by state, and how many there are of the one asked for ("" = of all).
func (s *Server) counts(asked string) (list []PageCount, all int64, err error) {
	counts, err := s.store.Counts()
	if err != nil {
		return nil, 0, oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	for _, known := range pageStates {
		n := counts[known.of.String()]
		if asked == "" || asked == known.state {
			all += n
		}
		if n > 0 || known.always {
			list = append(list, PageCount{State: known.state, Name: known.name, N: n})
		}
	}
	return list, all, nil
}

// search gives up after a while: a rare program among a million connections is looked for by its id or its user.
func (s *Server) search(ctx context.Context, p *StatusPage) ([]storage.Grant, error) {
	limited, cancel := context.WithTimeout(ctx, s.searchFor)
	defer cancel()
	grants, err := s.found(limited, p)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		p.Partial = true
		return grants, nil
	}
	return grants, err
}

// found searches. A user is looked for as it was written, as a subject or an address, and then by part of a name; several
// who share one are listed together, a page at most.
func (s *Server) found(ctx context.Context, p *StatusPage) (grants []storage.Grant, err error) {
	if p.Query.Subject == "" {
		grants, p.Next, err = s.store.Find(ctx, p.Query.find())
		return grants, err
	}
	users, err := s.usersCalled(ctx, p.Query.Subject)
	if err != nil {
		return nil, err
	}
	for _, user := range users {
		q := p.Query.find()
		q.Subject, q.Limit = user, operatorLimit-len(grants)
		if q.Limit == 0 {
			break
		}
		page, next, err := s.store.Find(ctx, q)
		if err != nil {
			return grants, err
		}
		grants = append(grants, page...)
		if len(users) == 1 { // pages of several users together would repeat themselves
			p.Next = next
		}
	}
	if len(users) == 1 {
		return grants, s.about(p, users[0])
	}
	return grants, nil
}

// usersCalled returns the subjects that a word may mean: a subject itself, or those whose address or name it is part of.
func (s *Server) usersCalled(ctx context.Context, word string) ([]string, error) {
	known, err := s.store.GrantsOf(word)
	if err != nil || len(known) > 0 {
		return []string{word}, err
	}
	return s.store.Names(ctx, word, searchedUsers)
}

// about fills in whose page it is. Of a user without a connection nothing is known but the subject.
func (s *Server) about(p *StatusPage, subject string) error {
	grants, err := s.store.GrantsOf(subject)
	if err != nil {
		return err
	}
	p.Whose, p.Living = PageUser{Subject: subject}, living(grants)
	if len(grants) > 0 {
		slices.SortStableFunc(grants, byLivingThenUse)
		if id, err := s.store.Identity(grants[0].ID); err == nil {
			p.Whose = pageUser(id)
		}
	}
	p.Whose.Subject = cmp.Or(p.Whose.Subject, subject)
	return nil
}

// place says which of how many are shown, as far as that is known: the store pages by id and counts by state alone.
func (p *StatusPage) place(all int64) {
	switch {
	case p.Query.Subject == "" && p.Query.Client == "":
		p.Total = int(all)
	case p.Next == "" && p.Query.After == "":
		p.Total = len(p.Grants)
	}
	if p.Query.After == "" && len(p.Grants) > 0 {
		p.From, p.To = 1, len(p.Grants)
	}
}

// EndByOperator ends one grant in an operator's name. reason is of the ended group, "" = admin_revoked. The upstream
// token is given back soon after. An ended grant stays as it is. Errors: storage.ErrNotFound, storage.ErrUnavailable.
func (s *Server) EndByOperator(ctx context.Context, id string, reason oauth.Reason) error {
	reason = cmp.Or(reason, oauth.AdminRevoked)
	if _, err := s.store.EndGrant(ctx, id, reason, s.event(ctx, reason, "")); err != nil {
		return err
	}
	s.wakeLoop()
	return nil
}

// EndSubject ends all grants of a user in an operator's name (admin_revoked) and returns their number: off-boarding.
// Errors: storage.ErrUnavailable.
func (s *Server) EndSubject(ctx context.Context, subject string) (int, error) {
	return s.endSubject(ctx, subject, oauth.AdminRevoked)
}

// endSubject is one commit for all of them; the loop gives their upstream tokens back.
func (s *Server) endSubject(ctx context.Context, subject string, reason oauth.Reason) (int, error) {
	n, err := s.store.EndSubject(ctx, subject, reason, s.event(ctx, reason, ""))
	if err != nil {
		return 0, err
	}
	s.wakeLoop()
	return n, nil
}
