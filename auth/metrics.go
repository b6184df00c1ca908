package auth

import (
	"context"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

// metrics are the numbers of the authorization server. Labels come from closed sets: grant types, outcomes, reasons.
type metrics struct {
	tokens          *prometheus.CounterVec   // answers of /token
	registrations   *prometheus.CounterVec   // answers of /register
	refreshes       *prometheus.CounterVec   // both legs
	upstreamSeconds *prometheus.HistogramVec // how long the provider takes
	revocations     *prometheus.CounterVec   // upstream tokens given back
	exchanges       *prometheus.CounterVec   // token exchanges asked for
}

// newMetrics registers them; a name that is taken is a fault of the program and panics.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		tokens:        counter("hostedmcp_token_requests_total", "Requests at /token, by grant type and reason.", "grant_type", "reason"),
		registrations: counter("hostedmcp_registrations_total", "Dynamic registrations: created, known or refused.", "result"),
		refreshes: counter("hostedmcp_refresh_total",
			"Refreshes: leg client is a client asking us, leg provider is us asking the provider.", "leg", "outcome", "reason"),
		upstreamSeconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "hostedmcp_upstream_refresh_duration_seconds", Help: "Duration of refresh requests to the provider.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15},
		}, []string{"outcome"}),
		revocations: counter("hostedmcp_upstream_revocations_total", "Upstream tokens given back: ok, failed or unsupported.", "result"),
		exchanges:   counter("hostedmcp_token_exchanges_total", "Token exchanges at the provider, by reason; ok is a new token.", "reason"),
	}
	m.begin()
	return m
}

// begin lets the labels that alerts are about show their zero: a rate over a series that does not exist yet misses its
// first event. Rarer pairs come when they happen.
func (m *metrics) begin() {
	for _, r := range []oauth.Reason{oauth.RefreshOK, oauth.RefreshSame, oauth.RefreshOutage} {
		m.refreshes.WithLabelValues("client", "ok", string(r))
	}
	for _, r := range []oauth.Reason{oauth.GrantEnded, oauth.RefreshReuse, oauth.RefreshWrongClient, oauth.GrantIdle, oauth.GrantMaxAge} {
		m.refreshes.WithLabelValues("client", "refused", string(r))
	}
	for _, o := range []struct {
		outcome upstream.Outcome
		reason  oauth.Reason
	}{
		{upstream.Good, oauth.RefreshOK}, {upstream.Quarantined, oauth.SubjectChanged}, {upstream.Ended, oauth.UpstreamSessionExpired},
		{upstream.Ended, oauth.UpstreamSessionEnded}, {upstream.Ended, oauth.UpstreamConsentWithdrawn},
		{upstream.Ended, oauth.UpstreamUserDisabled}, {upstream.Ended, oauth.UpstreamReuse}, {upstream.Ended, oauth.UpstreamLost},
		{upstream.Suspect, oauth.UpstreamSuspect}, {upstream.Suspect, oauth.UpstreamRejected}, {upstream.ConfigFault, oauth.UpstreamConfig},
		{upstream.Trouble, oauth.UpstreamError}, {upstream.Unreachable, oauth.UpstreamUnreachable}, {upstream.InDoubt, oauth.UpstreamInDoubt},
	} {
		m.refreshes.WithLabelValues("provider", outcomeLabel(o.outcome), string(o.reason))
		m.upstreamSeconds.WithLabelValues(outcomeLabel(o.outcome))
	}
	for _, r := range []oauth.Reason{oauth.OK, oauth.UpstreamUnreachable, oauth.UpstreamError, oauth.UpstreamBadAnswer, oauth.UpstreamSuspect,
		oauth.UpstreamConfig, oauth.ToolDenied} {
		m.exchanges.WithLabelValues(string(r))
	}
	for _, result := range []string{"created", "known", "refused"} {
		m.registrations.WithLabelValues(result)
	}
	for _, result := range []string{"ok", "failed", "unsupported"} {
		m.revocations.WithLabelValues(result)
	}
}

// alarm says that an operator must look.
func (s *Server) alarm(ctx context.Context, reason oauth.Reason, what string, cause error) {
	s.observer.alarm(ctx, reason, what, cause)
}

// countRefresh counts one request to the provider by what it said and by what became of the grant: "Good" can still
// end one, by the access rules.
func (s *Server) countRefresh(a upstream.Answer, r renewed) {
	reason := oauth.RefreshOK
	switch {
	case r.ended != "":
		reason = r.ended
	case r.trouble != "":
		reason = r.trouble
	}
	s.metrics.refreshes.WithLabelValues("provider", outcomeLabel(a.Outcome), string(reason)).Inc()
}

// outcomeLabel is the metric label of an outcome, in lower case as labels are.
func outcomeLabel(o upstream.Outcome) string { return strings.ToLower(o.String()) }
