package mcp

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Results of tools/call, the closed set of the label.
const (
	resultOK          = "ok"
	resultToolError   = "tool_error"  // the tool answered that it failed
	resultFailed      = "failed"      // protocol error, or our own fault
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

	mu    sync.RWMutex
	tools map[string]prometheus.Counter // of results ok, the hot ones, without the hashing of labels
}

// newMetrics registers them; a nil reg counts for nobody.
func newMetrics(reg prometheus.Registerer) *metrics {
	auto := promauto.With(reg)
	return &metrics{
		calls: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "hostedmcp_mcp_calls_total",
			Help: "Tool calls by tool and result (ok, tool_error, failed, unknown, scope, ended, unavailable).",
		}, []string{"tool", "result"}),
		sessions: auto.NewGauge(prometheus.GaugeOpts{
			Name: "hostedmcp_mcp_sessions",
			Help: "Living MCP sessions of protocol versions before 2026-07-28.",
		}),
		streams: auto.NewGauge(prometheus.GaugeOpts{
			Name: "hostedmcp_mcp_streams",
			Help: "Open streams: GET, subscriptions, and calls that take long.",
		}),
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
