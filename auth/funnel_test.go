package auth_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"hostedmcp/auth/authtest"
)

// protocol.md §8.4: the funnel of a login, as numbers and as the grant's journal.
func TestFunnel(t *testing.T) {
	r := newLogin(t, authtest.ServerOptions{})
	r.must(r.c.Login())
	a := r.c.Begin()
	r.press(r.open(a.URL), "deny")
	events, err := r.Store.Events(r.grant().ID)
	r.must(err)
	var story []string
	for _, e := range events {
		story = append(story, string(e.Reason))
		if e.Request == "" || e.Address != "127.0.0.1" {
			t.Errorf("%s without request or address: %+v", e.Reason, e)
		}
	}
	if want := []string{"consent_approved", "signed_in", "code_redeemed"}; len(story) != 3 || story[0] != want[0] || story[1] != want[1] || story[2] != want[2] {
		t.Errorf("journal %q, want %q", story, want)
	}
	got := map[string]float64{}
	families, err := r.Registry.Gather()
	r.must(err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"hostedmcp_registrations_total created": 1, "hostedmcp_logins_total authorize": 2, "hostedmcp_logins_total approved": 1,
		"hostedmcp_logins_total signed_in": 1, "hostedmcp_logins_total redeemed": 1,
		"hostedmcp_token_requests_total authorization_code code_redeemed": 1,
		"hostedmcp_events_total consent_approved":                         1, "hostedmcp_events_total signed_in": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if problems, err := testutil.GatherAndLint(r.Registry); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
