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
}

// newMetrics registers them; a name that is taken is a fault of the program and panics.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return &metrics{
		tokens:        counter("hostedmcp_token_requests_total", "Requests at /token, by grant type and reason.", "grant_type", "reason"),
		registrations: counter("hostedmcp_registrations_total", "Dynamic registrations: created, known or refused.", "result"),
		refreshes: counter("hostedmcp_refresh_total",
			"Refreshes: leg client is a client asking us, leg provider is us asking the provider.", "leg", "outcome", "reason"),
		upstreamSeconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "hostedmcp_upstream_refresh_duration_seconds", Help: "Duration of refresh requests to the provider.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15},
		}, []string{"outcome"}),
		revocations: counter("hostedmcp_upstream_revocations_total", "Upstream tokens given back: ok, failed or unsupported.", "result"),
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

// grantStates exposes the counters of grants by state that the store's transitions move; nothing is scanned.
type grantStates struct {
	counts func() (map[string]int64, error)
	desc   *prometheus.Desc
}

func newGrantStates(counts func() (map[string]int64, error)) *grantStates {
	return &grantStates{counts: counts, desc: prometheus.NewDesc("hostedmcp_grants", "Grants, by state.", []string{"state"}, nil)}
}

// Describe implements prometheus.Collector.
func (g *grantStates) Describe(ch chan<- *prometheus.Desc) { ch <- g.desc }

// Collect implements prometheus.Collector. A store that cannot be read gives no sample: a wrong zero would look like
// everybody being logged out.
func (g *grantStates) Collect(ch chan<- prometheus.Metric) {
	counts, err := g.counts()
	if err != nil {
		return
	}
	for state, n := range counts {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(n), state)
	}
}
