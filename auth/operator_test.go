package auth_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/storage"
	"hostedmcp/storage/storagetest"
)

// ids are the grants of a page, sorted.
func ids(p auth.StatusPage) (out []string) {
	for _, g := range p.Grants {
		out = append(out, g.ID)
	}
	slices.Sort(out)
	return out
}

func count(p auth.StatusPage, state string) int64 {
	for _, c := range p.Counts {
		if c.State == state {
			return c.N
		}
	}
	return -1
}

// protocol.md §4.3: who is no operator sees nobody else's connections, whatever is asked; foreign and unknown are one.
func TestStatusForeign(t *testing.T) {
	s := newStage(t, longLived())
	s.login("bob")
	for _, query := range []string{"?subject=sub-bob", "?subject=bob@example.com", "?subject=nobody", "?subject=alice@example.com"} {
		if page, p := s.look(s.c, query); p.Status != http.StatusNotFound || !strings.Contains(p.Body, "not_found") || page.User.Subject != "" {
			t.Errorf("%s: %d", query, p.Status)
		}
	}
	for _, query := range []string{"", "?subject=sub-alice", "?client=x&state=ended&after=zzz"} {
		page, p := s.look(s.c, query)
		if p.Status != http.StatusOK || page.Operator || len(page.Counts) != 0 || page.Provider.State != "" || !slices.Equal(ids(page), []string{s.id}) {
			t.Errorf("%s: %d, %+v", query, p.Status, page)
		}
	}
}

// Only a group that `[access] operators` names, letter by letter, makes an operator.
func TestNoOperator(t *testing.T) {
	s := newStage(t, longLived())
	s.Provider.SetUser(authtest.User{Name: "olga", Password: "olga-pw", Groups: []string{"", "operators2", "Operators", "sales"}})
	c := s.NewClient()
	s.signIn(c, "olga")
	if page, p := s.look(c, "?subject=sub-alice"); p.Status != http.StatusNotFound || page.Operator {
		t.Errorf("%d %v", p.Status, page.Operator)
	}
}

// protocol.md §4.3: an operator sees every connection, and finds one user's by subject, address or part of the name,
// a client's, or those in a state.
func TestOperatorFinds(t *testing.T) {
	s := newStage(t, longLived())
	_, bobs := s.login("bob")
	other := s.NewClient()
	other.RedirectURI = "http://127.0.0.1:1/other"
	s.must(other.Register("Warehouse robot"))
	other.Browser.Fill = map[string]string{"username": "bob", "password": "bob-pw"}
	s.must(other.Login())
	robot := s.grantOf(other.Refresh)
	s.must(s.Auth.EndByOperator(t.Context(), bobs, oauth.ClientRevoked))
	olga := s.operator()
	all := []string{s.id, bobs, robot}
	slices.Sort(all)
	both := []string{bobs, robot}
	slices.Sort(both)
	for query, row := range map[string]struct {
		want  []string
		whose string
		total int
	}{
		"":                                 {all, "", 3},
		"?state=nonsense":                  {all, "", 3},
		"?subject=sub-bob":                 {both, "sub-bob", 2},
		"?subject=BOB@example.com":         {both, "sub-bob", 2},
		"?subject=bob+exam":                {both, "sub-bob", 2},
		"?subject=example":                 {all, "", 3}, // several users
		"?subject=nobody":                  {nil, "", 0},
		"?subject=sub-bob&state=ended":     {[]string{bobs}, "sub-bob", 1},
		"?subject=sub-bob&client=robot":    {[]string{robot}, "sub-bob", 1},
		"?client=WAREHOUSE":                {[]string{robot}, "", 1},
		"?client=" + other.ID:              {[]string{robot}, "", 1},
		"?state=working":                   {[]string{s.id, robot}, "", 2},
		"?state=ended":                     {[]string{bobs}, "", 1},
		"?state=trouble":                   {nil, "", 0},
		"?subject=sub-olga":                {nil, "", 0},
		"?after=ZZZZZZZZZZZZZZZZZZZZZZZZZ": {nil, "", 3},
	} {
		slices.Sort(row.want)
		page, p := s.look(olga, query)
		if p.Status != http.StatusOK || !page.Operator || !slices.Equal(ids(page), row.want) || page.Whose.Subject != row.whose || page.Total != row.total {
			t.Errorf("%s: %d, %v of %d, whose %q", query, p.Status, ids(page), page.Total, page.Whose.Subject)
		}
		if count(page, "working") != 2 || count(page, "ended") != 1 || count(page, "trouble") != 0 || page.User.Email != "olga@example.com" {
			t.Errorf("%s: %+v of %+v", query, page.Counts, page.User)
		}
		stories := slices.ContainsFunc(page.Grants, func(g auth.PageGrant) bool { return len(g.Events) > 0 })
		if stories != (row.whose != "") {
			t.Errorf("%s: stories %v", query, stories)
		}
	}
	page, _ := s.look(olga, "?subject=sub-bob")
	if page.Whose.Email != "bob@example.com" || page.Living != 1 || page.Grants[0].User.Email != "bob@example.com" {
		t.Errorf("whose %+v, %d living, %+v", page.Whose, page.Living, page.Grants[0].User)
	}
	if e := page.Grants[0].Events; !strings.HasPrefix(e[len(e)-2].Sentence, "The user ") || e[len(e)-1].Reason != oauth.Registered {
		t.Errorf("told to the operator: %+v", e)
	}
	storagetest.Check(t, s.Store)
}

// An operator's page about themselves speaks to them.
func TestOperatorOwnStory(t *testing.T) {
	s := newStage(t, longLived())
	olga := s.operator()
	c := s.NewClient()
	c.Browser.Fill = map[string]string{"username": "olga", "password": "olga-pw"}
	s.must(c.Login())
	page, _ := s.look(olga, "?subject=sub-olga")
	if len(page.Grants) != 1 {
		t.Fatalf("%+v", page.Grants)
	}
	if e := page.Grants[0].Events; !strings.HasPrefix(e[len(e)-2].Sentence, "You ") {
		t.Errorf("told: %+v", e)
	}
}

// Pages of everybody's connections meet each once, and know their place as far as that is known.
func TestOperatorPages(t *testing.T) {
	s := newStage(t, longLived())
	var all sync.WaitGroup // the store's writer takes them together
	for i := range 120 {
		all.Go(func() {
			s.must(s.Store.CreateGrant(t.Context(), storage.NewGrant{
				Grant: storage.Grant{ID: fmt.Sprintf("%026d", i), ClientID: "made", ClientName: "Made", Subject: fmt.Sprint("made-", i%3), RedirectURI: "http://127.0.0.1/cb"},
				Key:   make([]byte, 32), CodeHash: [32]byte{byte(i), 1}, Identity: storage.Identity{Subject: fmt.Sprint("made-", i%3), Name: "Made Up"},
			}))
		})
	}
	all.Wait()
	olga := s.operator()
	seen := map[string]int{}
	for query, pages := "", 0; ; pages++ {
		page, p := s.look(olga, query)
		if pages > 5 || p.Status != http.StatusOK || len(page.Grants) > 50 || page.Total != 121 {
			t.Fatalf("page %d: %d, %d of %d", pages, p.Status, len(page.Grants), page.Total)
		}
		if first := query == ""; first != (page.From == 1) || first && page.To != 50 {
			t.Errorf("page %d: from %d to %d", pages, page.From, page.To)
		}
		for _, g := range page.Grants {
			seen[g.ID]++
		}
		if page.Next == "" {
			break
		}
		query = "?after=" + page.Next
	}
	if len(seen) != 121 {
		t.Errorf("%d connections on all pages", len(seen))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s: %d times", id, n)
		}
	}
	if page, _ := s.look(olga, "?subject=made+up"); len(page.Grants) != 50 || page.Next != "" || page.Whose.Subject != "" {
		t.Errorf("several users: %d, next %q", len(page.Grants), page.Next)
	}
	page, _ := s.look(olga, "?client=made&state=unclaimed")
	if page.Total != 0 || page.Next == "" || count(page, "unclaimed") != 120 {
		t.Errorf("%d of %d, next %q: how many fit a search is not known before its end", len(page.Grants), page.Total, page.Next)
	}
}

// An operator ends any connection, or all of a user: admin_revoked, in the operator's name, and back to that user. What
// is the operator's own is user_revoked.
func TestOperatorEnds(t *testing.T) {
	s := newStage(t, longLived())
	second := s.sibling()
	olga := s.operator()
	page, p := s.look(olga, "?subject=sub-alice")
	if page.Living != 2 {
		t.Fatalf("%d living", page.Living)
	}
	answer := s.press(olga, p, "id", second)
	if to := answer.Header.Get("Location"); answer.Status != http.StatusSeeOther || to != "/status?subject=sub-alice" {
		t.Errorf("%d to %q", answer.Status, to)
	}
	s.ended(second, oauth.AdminRevoked)
	s.lives(s.id)
	m := hmac.New(sha256.New, s.Store.Key("log-subject"))
	m.Write([]byte("sub-olga"))
	if by := hex.EncodeToString(m.Sum(nil)[:8]); !s.logged(map[string]string{"route": "/grants/end", "reason": "admin_revoked", "subject": by, "grant": second}) {
		t.Error("the log does not say which operator ended it")
	}
	_, p = s.look(olga, "?subject=sub-alice")
	if answer := s.press(olga, p, "subject", "sub-alice"); answer.Status != http.StatusSeeOther {
		t.Errorf("off-boarding: %d", answer.Status)
	}
	s.agree(s.id, oauth.AdminRevoked)
	s.step() // and the upstream tokens are given back
	if n := len(s.Provider.Revoked()); n != 2 {
		t.Errorf("%d upstream tokens given back", n)
	}
	own := s.NewClient()
	own.Browser = olga.Browser
	s.must(own.Login())
	_, p = s.look(olga, "?subject=sub-olga")
	s.press(olga, p, "id", s.grantOf(own.Refresh))
	s.ended(s.grantOf(own.Refresh), oauth.UserRevoked)
}

// The reason of an end by page or command wakes the loop at once; ending twice is no fault, an unknown grant is.
func TestEndByOperator(t *testing.T) {
	s := newStage(t, longLived())
	s.must(s.Auth.EndByOperator(t.Context(), s.id, ""))
	s.must(s.Auth.EndByOperator(t.Context(), s.id, oauth.UserRevoked))
	s.ended(s.id, oauth.AdminRevoked)
	if err := s.Auth.EndByOperator(t.Context(), "nobody", ""); err != storage.ErrNotFound {
		t.Errorf("%v", err)
	}
	if n, err := s.Auth.EndSubject(t.Context(), "nobody"); n != 0 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if a := s.refresh(s.c.Refresh); !strings.HasPrefix(a.Description, "grant_ended admin_revoked:") {
		t.Errorf("%d %q", a.Status, a.Description)
	}
}

// A form of a page that an operator left open ends nothing once the sign-in is another's, or was taken away.
func TestOperatorForms(t *testing.T) {
	s := newStage(t, longLived())
	olga := s.operator()
	_, p := s.look(olga, "?subject=sub-alice")
	_, own := s.look(s.c, "")
	for _, f := range p.Forms { // olga's form with alice's cookies
		if f.Action.Path == "/grants/end" {
			if answer, err := s.c.Browser.Submit(own, f); err != nil || answer.Status != http.StatusForbidden {
				t.Errorf("olga's form in alice's browser: %v %d", err, answer.Status)
			}
		}
	}
	for _, f := range p.Forms { // a form that names nobody
		if f.Action.Path == "/grants/end" {
			f.Fields = url.Values{"token": f.Fields["token"]}
			if answer, err := olga.Browser.Submit(p, f); err != nil || answer.Status != http.StatusNotFound {
				t.Errorf("nobody: %v %d", err, answer.Status)
			}
		}
	}
	for _, f := range own.Forms { // alice's form naming bob
		if f.Action.Path == "/grants/end" {
			f.Fields = url.Values{"token": f.Fields["token"], "subject": {"sub-bob"}}
			if answer, err := s.c.Browser.Submit(own, f); err != nil || answer.Status != http.StatusNotFound {
				t.Errorf("a foreign subject: %v %d", err, answer.Status)
			}
		}
	}
	s.lives(s.id)
}

// How the provider, the store and the connectors are doing.
func TestOperatorHealth(t *testing.T) {
	connectors := []auth.PageConnector{{Name: "crm", Title: "CRM", State: "unreachable", Reason: oauth.ConnectorUnreachable}}
	s := newStage(t, tokens(func(o *auth.Options) { o.Connectors = func() []auth.PageConnector { return connectors } }))
	olga := s.operator()
	p, _ := s.look(olga, "")
	if p.Provider.State != "Working" || p.Provider.Reason != "" || p.Provider.Host != strings.TrimPrefix(s.Provider.Issuer, "http://") {
		t.Errorf("provider: %+v", p.Provider)
	}
	if p.Provider.Sentence != "last answer just now" { // to the logins of this test
		t.Errorf("provider: %+v", p.Provider)
	}
	if p.Store.State != "Working" || p.Store.Reason != "" || !slices.Equal(p.Connectors, connectors) {
		t.Errorf("store %+v, connectors %+v", p.Store, p.Connectors)
	}
	s.due()
	s.Provider.Down()
	s.renewed()
	s.Clock.Advance(36 * time.Minute)
	s.renewed()
	p, _ = s.look(olga, "")
	if p.Provider.State != "Not answering" || p.Provider.Reason != oauth.UpstreamUnreachable || !strings.HasPrefix(p.Provider.Sentence, "silent for 36 minutes; users stay connected until ") {
		t.Errorf("provider: %+v", p.Provider)
	}
	if p.Provider.Since.IsZero() || count(p, "trouble") != 1 || p.Grants[0].Reason != oauth.UpstreamUnreachable || p.Grants[0].Kind != "trouble" {
		t.Errorf("since %s, %+v", p.Provider.Since, p.Grants)
	}
	s.must(s.Provider.Up())
	s.Clock.Advance(3 * time.Minute)
	s.renewed()
	if p, _ = s.look(olga, ""); p.Provider.State != "Working" || p.Provider.Sentence != "last answer just now" {
		t.Errorf("provider: %+v", p.Provider)
	}
	// a request about one user says as much as a refresh
	s.Provider.Break(authtest.Userinfo, authtest.Unavailable(503, ""))
	_, _ = s.Auth.Userinfo(t.Context(), s.id)
	if p, _ = s.look(olga, ""); p.Provider.State != "In trouble" || p.Provider.Reason != oauth.UpstreamError {
		t.Errorf("provider: %+v", p.Provider)
	}
	s.Provider.Mend()
	// a refusal of one user says nothing against the provider
	s.Provider.EndSession("alice", "")
	s.due()
	s.token(s.id, "upstream_session_ended")
	if p, _ = s.look(olga, ""); p.Provider.State != "Working" {
		t.Errorf("provider: %+v", p.Provider)
	}
}

// A search that takes too long is given up, and says so; what an index knows is found all the same.
func TestOperatorSearchGivenUp(t *testing.T) {
	s := newStage(t, longLived())
	olga := s.operator()
	s.Auth.SearchFor(0)
	for query, partial := range map[string]bool{"?client=Test": true, "?subject=exam": true, "?subject=sub-alice": false} {
		page, p := s.look(olga, query)
		if p.Status != http.StatusOK || page.Partial != partial || len(page.Grants) == 0 != partial {
			t.Errorf("%s: %d, partial %v, %d found", query, p.Status, page.Partial, len(page.Grants))
		}
	}
}
