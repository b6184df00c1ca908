package storage

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the store's own figures. Grants by state come from Counts.
type metrics struct {
	commit prometheus.Histogram
	batch  prometheus.Histogram
	size   prometheus.Gauge
	up     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	with := promauto.With(reg)
	return &metrics{
		commit: with.NewHistogram(prometheus.HistogramOpts{
			Name: "hostedmcp_store_commit_seconds", Help: "Time of one commit, both syncs included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		batch: with.NewHistogram(prometheus.HistogramOpts{
			Name: "hostedmcp_store_batch_transitions", Help: "Transitions that shared one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
		size: with.NewGauge(prometheus.GaugeOpts{
			Name: "hostedmcp_store_size_bytes", Help: "Bytes of the file in use, free pages included, reserve excluded.",
		}),
		up: with.NewGauge(prometheus.GaugeOpts{
			Name: "hostedmcp_store_ready", Help: "1 if the last commit went through, else 0.",
		}),
	}
}

// committed notes a commit, with how many transitions shared it and how large the file is now.
func (m *metrics) committed(transitions int, took time.Duration, size int64) {
	if transitions > 0 {
		m.commit.Observe(took.Seconds())
		m.batch.Observe(float64(transitions))
	}
	m.size.Set(float64(size))
}

// ready notes whether commits go through.
func (m *metrics) ready(ok bool) {
	if ok {
		m.up.Set(1)
		return
	}
	m.up.Set(0)
}
