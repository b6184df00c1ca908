package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Figures of the pipeline (Prometheus naming: base units, _total). There is no label for users, clients or paths that
// strangers make up: each value of a label is a time series that is kept for good.

// metrics counts requests. Labels come from closed sets: patterns of the table, known methods, statuses we write.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// newMetrics registers with reg; nil counts for nobody.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "hostedmcp_http_requests_total", Help: "Requests answered, by endpoint.",
		}, []string{"route", "method", "status"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "hostedmcp_http_request_duration_seconds",
			Help:    "Time from a request's headers to the end of its answer; streams of /mcp are as long as they live.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route", "method"}),
	}
}

func (m *metrics) observe(route, method string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(route, method).Observe(took.Seconds())
}

// MetricsHandler serves GET /metrics of g, for a listener of its own that no proxy forwards to. A collector that fails
// costs its own figures only.
func MetricsHandler(g prometheus.Gatherer) http.Handler {
	figures := promhttp.HandlerFor(g, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	return http.HandlerFunc(func(under http.ResponseWriter, r *http.Request) {
		r = r.WithContext(r.Context()) // a copy: what net/http knows of the body stays
		w := limits{}.bound(under, r)
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		switch {
		case r.URL.EscapedPath() != "/metrics":
			http.Error(w, "not found: the figures are at /metrics", http.StatusNotFound)
		case r.Method != http.MethodGet:
			h.Set("Allow", http.MethodGet)
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		default:
			figures.ServeHTTP(w, r)
		}
	})
}
