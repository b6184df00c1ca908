package mcp

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Results of tools/call, the closed set of the label.
const (
	resultOK          = "ok"
	resultToolError   = "tool_error" // the tool answered that it failed
	resultFailed      = "failed"     // protocol error, or our own fault
	resultInput       = "input_required"
	resultUnknown     = "unknown"     // no such tool for this caller
	resultScope       = "scope"       // needs more scope
	resultEnded       = "ended"       // the grant ended before dispatch
	resultUnavailable = "unavailable" // no upstream token, or policy unreadable
)

// otherTool is the label of whatever a client calls that is not there: names of strangers never become labels.
const otherTool = "other"

// metrics are the numbers of this package; labels come from closed sets only. mu guards tools, which SetTools
// replaces as a whole.
type metrics struct {
	calls    *prometheus.CounterVec // by tool and result
	sessions prometheus.Gauge       // of the older era
	streams  prometheus.Gauge       // counted once they last

	mountCalls *prometheus.CounterVec   // by connector and result
	mountTime  *prometheus.HistogramVec // by connector
	auto       promauto.Factory         // for what each connector adds

	mu    sync.RWMutex
	tools map[string]prometheus.Counter // of results ok, the hot ones, without the hashing of labels
}

// newMetrics registers them; a nil reg counts for nobody.
func newMetrics(reg prometheus.Registerer) *metrics {
	auto := promauto.With(reg)
	return &metrics{
		calls: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "hostedmcp_mcp_calls_total",
			Help: "Tool calls by tool and result (ok, tool_error, input_required, failed, unknown, scope, ended, unavailable).",
		}, []string{"tool", "result"}),
		sessions: auto.NewGauge(prometheus.GaugeOpts{
			Name: "hostedmcp_mcp_sessions",
			Help: "Living MCP sessions of protocol versions before 2026-07-28.",
		}),
		streams: auto.NewGauge(prometheus.GaugeOpts{
			Name: "hostedmcp_mcp_streams",
			Help: "Open streams: GET, subscriptions, and calls that take long.",
		}),
		mountCalls: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "hostedmcp_connector_calls_total",
			Help: "Requests to connectors by result (ok, tool_error, input_required, error, unreachable, bad_answer, failed, busy, cancelled).",
		}, []string{"connector", "result"}),
		mountTime: auto.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "hostedmcp_connector_call_duration_seconds",
			Help:    "How long connectors took for a request, with the time in which a person was asked.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 30, 120},
		}, []string{"connector"}),
		auto: auto,
	}
}

// expect shows the counters of registered tools from the beginning, so that a first call is a change.
func (m *metrics) expect(r *registry) {
	tools := map[string]prometheus.Counter{}
	for name := range r.byName {
		tools[name] = m.calls.WithLabelValues(name, resultOK)
	}
	m.mu.Lock()
	m.tools = tools
	m.mu.Unlock()
}

// called counts a call of t; nil is a tool that is not there. Each call is counted once, at the place where its fate
// is known.
func (m *metrics) called(t *Tool, result string) {
	if t == nil {
		m.calls.WithLabelValues(otherTool, result).Inc()
		return
	}
	if t.mount != nil {
		// What a connector calls its tools is not ours to make labels of.
		m.calls.WithLabelValues(t.mount.config.Name+"__*", result).Inc()
		return
	}
	if result == resultOK {
		m.mu.RLock()
		counter := m.tools[t.Name]
		m.mu.RUnlock()
		if counter != nil {
			counter.Inc()
			return
		}
	}
	m.calls.WithLabelValues(t.Name, result).Inc()
}
