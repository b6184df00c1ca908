package auth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
)

// Names, units and help texts as `promtool check metrics` wants them, after a life with every kind of event; no label
// holds anything of a user or a client.
func TestMetricsLint(t *testing.T) {
	s := newStage(t, authtest.ServerOptions{})
	s.due()
	s.renewed()
	s.exchanged("crm-api", "")
	s.Provider.EndSession("alice", "")
	s.due()
	_, _ = s.c.Renew()
	s.step()
	families, err := s.Registry.Gather()
	s.must(err)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	s.must(err)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				for _, secret := range []string{s.id, s.c.ID, "alice", "Test client"} {
					if strings.Contains(l.GetValue(), secret) {
						t.Errorf("%s{%s=%q}", f.GetName(), l.GetName(), l.GetValue())
					}
				}
			}
		}
	}
}

// What alerts ask for is there from the start, at zero: every end, every trouble, every step of a login.
func TestMetricsBegin(t *testing.T) {
	r := newRig(t, longLived())
	r.Restart()
	s := &stage{rig: r}
	has := func(name string, labels map[string]string) {
		t.Helper()
		families, err := s.Registry.Gather()
		s.must(err)
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == name && labelled(m, labels) {
					return
				}
			}
		}
		t.Errorf("no %s%v", name, labels)
	}
	for _, reason := range oauth.Reasons()[oauth.GroupEnded] {
		has("hostedmcp_grants_ended_total", map[string]string{"reason": string(reason)})
		has("hostedmcp_events_total", map[string]string{"reason": string(reason)})
	}
	for _, step := range []string{"authorize", "approved", "signed_in", "redeemed", "first_call"} {
		has("hostedmcp_logins_total", map[string]string{"step": step})
	}
	for _, kind := range []string{"token", "session"} {
		for _, within := range []string{"1h", "1d", "7d"} {
			has("hostedmcp_upstream_expiring", map[string]string{"kind": kind, "within": within})
		}
	}
	for _, name := range []string{"hostedmcp_in_doubt", "hostedmcp_in_doubt_oldest_seconds", "hostedmcp_keepalive_lag_seconds", "hostedmcp_token_exchanges_total"} {
		has(name, nil)
	}
	has("hostedmcp_alarms_total", map[string]string{"reason": "upstream_config"})
	has("hostedmcp_refresh_total", map[string]string{"leg": "provider", "outcome": "unreachable", "reason": "upstream_unreachable"})
	has("hostedmcp_upstream_refresh_duration_seconds", map[string]string{"outcome": "good"})
}

// What is due is counted where it is: expiries, doubt and its age, the keep-alive that is late.
func TestMetricsScraped(t *testing.T) {
	s := newStage(t, authtest.ServerOptions{})
	within := func(kind, span string) float64 {
		return s.metric("hostedmcp_upstream_expiring", map[string]string{"kind": kind, "within": span})
	}
	if within("token", "1h") != 1 || within("token", "7d") != 1 || within("session", "7d") != 0 {
		t.Errorf("tokens %v and %v, sessions %v", within("token", "1h"), within("token", "7d"), within("session", "7d"))
	}
	_, bob := s.login("bob")
	s.Clock.Advance(59 * time.Second)
	if n := within("token", "1h"); n != 1 {
		t.Errorf("counted at every scrape: %v", n)
	}
	s.Clock.Advance(time.Second)
	if n := within("token", "1h"); n != 2 {
		t.Errorf("%v tokens, of two", n)
	}
	s.Provider.Break(authtest.Token, refreshes(authtest.Fault{Reset: true, After: true}))
	s.due()
	s.token(s.id, "upstream_in_doubt")
	s.Clock.Advance(90 * time.Second)
	if n, age := s.metric("hostedmcp_in_doubt", nil), s.metric("hostedmcp_in_doubt_oldest_seconds", nil); n != 1 || age != 90 {
		t.Errorf("%v in doubt, the oldest for %v s", n, age)
	}
	s.Provider.Mend()
	s.Clock.Advance(3 * time.Minute)
	s.token(s.id, "")
	if n, age := s.metric("hostedmcp_in_doubt", nil), s.metric("hostedmcp_in_doubt_oldest_seconds", nil); n != 0 || age != 0 {
		t.Errorf("%v in doubt, the oldest for %v s", n, age)
	}
	if lag := s.metric("hostedmcp_keepalive_lag_seconds", nil); lag != 0 {
		t.Errorf("the keep-alive is %v s late", lag)
	}
	first := s.record(s.id).KeepaliveAt // they are spread: either may be the first
	if other := s.record(bob).KeepaliveAt; other.Before(first) {
		first = other
	}
	s.Clock.Advance(first.Add(42 * time.Second).Sub(s.Clock.Now()))
	if lag := s.metric("hostedmcp_keepalive_lag_seconds", nil); lag != 42 {
		t.Errorf("the keep-alive is %v s late", lag)
	}
	s.must(s.Store.Close())
	for _, name := range []string{"hostedmcp_in_doubt", "hostedmcp_grants", "hostedmcp_upstream_expiring", "hostedmcp_keepalive_lag_seconds"} {
		families, err := s.Registry.Gather()
		s.must(err)
		for _, f := range families {
			if f.GetName() == name {
				t.Errorf("%s of a store that cannot be read: a wrong zero", name)
			}
		}
	}
	s.Restart()
}
