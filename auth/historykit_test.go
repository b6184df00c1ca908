package auth_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"hostedmcp/auth"
	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/story"
	"hostedmcp/storage"
	"hostedmcp/web"
)

// stage is a rig on which a history is played, with eyes for every surface that names a reason: what `explain` tells,
// the journal, the log, the metrics, and the status page.
type stage struct {
	*rig
	refusals *web.Refusals
	site     story.Site

	mu   sync.Mutex
	page auth.StatusPage // last shown
}

// newStage logs alice in and signs her browser in on the status page, which stays so.
func newStage(t *testing.T, o authtest.ServerOptions) *stage {
	t.Helper()
	s := &stage{refusals: web.NewRefusals(1000)}
	given := o.Auth
	o.Auth = func(ao *auth.Options) {
		ao.Tokens.SigninTTL = oauth.Days(1000)
		ao.Access.Operators = []string{"operators"}
		next := ao.Pages.Status
		ao.Pages.Status = func(w http.ResponseWriter, r *http.Request, p auth.StatusPage) error {
			s.mu.Lock()
			s.page = p
			s.mu.Unlock()
			return next(w, r, p)
		}
		if given != nil {
			given(ao)
		}
		s.site = story.Site{Idle: ao.Tokens.RefreshIdle, MaxAge: ao.Tokens.RefreshMax, OutageGrace: ao.Tokens.OutageGrace,
			GrantsPerUser: ao.Clients.GrantsPerUser}
	}
	o.Web = func(wo *web.Options) { wo.Refusals = s.refusals }
	s.rig = newRig(t, o)
	s.signIn(s.c, "alice")
	return s
}

// signIn signs a client's browser in on the status page.
func (s *stage) signIn(c *authtest.Client, user string) {
	s.t.Helper()
	c.Browser.Fill = map[string]string{"username": user, "password": user + "-pw"}
	end, last, err := c.Browser.Login(s.Issuer+"/status", s.Issuer+"/status")
	s.must(err)
	if end == nil {
		s.t.Fatalf("sign-in stopped at %s with %d: %s", last.URL.Path, last.Status, last.Body)
	}
}

// look opens the status page in a client's browser and returns what it was made of.
func (s *stage) look(c *authtest.Client, query string) (auth.StatusPage, *authtest.Page) {
	s.t.Helper()
	s.mu.Lock()
	s.page = auth.StatusPage{}
	s.mu.Unlock()
	p, err := c.Browser.Get(s.Issuer + "/status" + query)
	s.must(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.page, p
}

// shown is the grant as its user's page shows it.
func (s *stage) shown(id string) auth.PageGrant {
	s.t.Helper()
	page, p := s.look(s.c, "")
	i := slices.IndexFunc(page.Grants, func(g auth.PageGrant) bool { return g.ID == id })
	if i < 0 {
		s.t.Fatalf("the status page (%d) does not list the grant:\n%s", p.Status, p.Body)
	}
	return page.Grants[i]
}

// press posts the form of a page that ends what a field of this value names.
func (s *stage) press(c *authtest.Client, p *authtest.Page, field, value string) *authtest.Page {
	s.t.Helper()
	for _, f := range p.Forms {
		if f.Action.Path == "/grants/end" && f.Fields.Get(field) == value {
			next, err := c.Browser.Submit(p, f)
			s.must(err)
			return next
		}
	}
	s.t.Fatalf("no form with %s=%s on %s:\n%s", field, value, p.URL, p.Body)
	return nil
}

// explain tells a grant's story as the command does, and returns its text.
func (s *stage) explain(id string) (story.Story, string) {
	s.t.Helper()
	in := story.Input{Grant: s.grant(id), Site: s.site, Now: s.Clock.Now()}
	var err error
	if in.Identity, err = s.Store.Identity(id); err != nil && !errors.Is(err, storage.ErrNotFound) {
		s.t.Fatal(err)
	}
	if in.Grant.Ended == "" {
		in.Upstream = s.record(id)
	}
	if !s.Store.ClockTrusted() {
		in.Server = oauth.ClockJump
	}
	in.Events, err = s.Store.Events(id)
	s.must(err)
	told := story.Tell(in)
	var b strings.Builder
	s.must(told.WriteText(&b))
	return told, b.String()
}

// last is the journal's last word on why a grant is as it is: of an end or a trouble, if there was any.
func (s *stage) last(id string) (last oauth.Reason) {
	s.t.Helper()
	events, err := s.Store.Events(id)
	s.must(err)
	for _, e := range events {
		switch e.Reason.Group() {
		case oauth.GroupEnded:
			return e.Reason
		case oauth.GroupTrouble:
			last = e.Reason
		}
	}
	return last
}

// logged says whether the log has a line with these keys and values.
func (s *stage) logged(want map[string]string) bool {
	lines := bufio.NewScanner(strings.NewReader(s.Log.String()))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line map[string]any
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue
		}
		all := true
		for k, v := range want {
			all = all && line[k] == v
		}
		if all {
			return true
		}
	}
	return false
}

// metric adds up the samples of a family that have these labels.
func (s *stage) metric(name string, labels map[string]string) (sum float64) {
	s.t.Helper()
	families, err := s.Registry.Gather()
	s.must(err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && labelled(m, labels) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func labelled(m *dto.Metric, labels map[string]string) bool {
	got := map[string]string{}
	for _, l := range m.GetLabel() {
		got[l.GetName()] = l.GetValue()
	}
	for k, v := range labels {
		if got[k] != v {
			return false
		}
	}
	return true
}

// agree holds all surfaces to one reason for a grant that ended or is in trouble.
func (s *stage) agree(id string, reason oauth.Reason) {
	s.t.Helper()
	_, text := s.explain(id)
	if first, _, _ := strings.Cut(text, "\n"); !strings.HasPrefix(first, string(reason)+": ") {
		s.t.Errorf("explain begins with %q, want %s\n%s", first, reason, text)
	}
	if got := s.last(id); got != reason {
		s.t.Errorf("the journal's last word is %q, want %s", got, reason)
	}
	if !s.logged(map[string]string{"msg": "event", "grant": id, "reason": string(reason)}) {
		s.t.Errorf("no log line of the grant says %s", reason)
	}
	label := map[string]string{"reason": string(reason)}
	if s.metric("hostedmcp_events_total", label) == 0 {
		s.t.Errorf("hostedmcp_events_total has no %s", reason)
	}
	ended := reason.Group() == oauth.GroupEnded
	if n := s.metric("hostedmcp_grants_ended_total", label); (n > 0) != ended {
		s.t.Errorf("hostedmcp_grants_ended_total has %v of %s", n, reason)
	}
	g := s.shown(id)
	if g.Reason != reason || g.Sentence == "" || g.Ended.IsZero() == ended {
		s.t.Errorf("the page says %q, %q, ended %s; want %s", g.Reason, g.Sentence, g.Ended, reason)
	}
	if len(g.Events) == 0 || !slices.ContainsFunc(g.Events, func(e auth.PageEvent) bool { return e.Reason == reason }) {
		s.t.Errorf("the page's story does not say %s: %+v", reason, g.Events)
	}
}

// well holds all surfaces to a grant that lives and works; its story's reason is the journal's last event.
func (s *stage) well(id string, reason oauth.Reason) {
	s.t.Helper()
	told, text := s.explain(id)
	events, err := s.Store.Events(id)
	s.must(err)
	if told.State != story.Healthy || told.Reason != reason || events[len(events)-1].Reason != reason || len(told.Advice) != 0 {
		s.t.Errorf("%s, last event %s, want %s\n%s", told.State, events[len(events)-1].Reason, reason, text)
	}
	if g := s.shown(id); g.Reason != "" || g.State != "Working" || g.Kind != "" || g.Sentence != "" {
		s.t.Errorf("the page says %q %q %q", g.State, g.Reason, g.Sentence)
	}
	if s.metric("hostedmcp_events_total", map[string]string{"reason": string(reason)}) == 0 {
		s.t.Errorf("hostedmcp_events_total has no %s", reason)
	}
}

// refusedWith holds explain of a request, its log line and a metric to one reason: a request that has no grant.
func (s *stage) refusedWith(reason oauth.Reason, metric string) {
	s.t.Helper()
	for _, f := range s.refusals.Recent(1000) {
		if f.Reason != string(reason) {
			continue
		}
		var b strings.Builder
		s.must(story.OfRefusal(f, s.site, s.Clock.Now()).WriteText(&b))
		if !strings.HasPrefix(b.String(), string(reason)+": ") {
			s.t.Errorf("explain begins %.80q, want %s", b.String(), reason)
		}
		if !s.logged(map[string]string{"request": f.Request, "reason": string(reason)}) {
			s.t.Errorf("no log line of request %s says %s", f.Request, reason)
		}
		if metric != "" && s.metric(metric, map[string]string{"reason": string(reason)}) == 0 {
			s.t.Errorf("%s has no %s", metric, reason)
		}
		return
	}
	s.t.Errorf("no request was refused with %s: %+v", reason, s.refusals.Recent(1000))
}
