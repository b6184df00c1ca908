package mcp

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostedmcp/mcp/connector"
)

// Results of calls to connectors, the closed set of the label.
const (
	callOK          = "ok"
	callToolError   = "tool_error"     // the tool answered that it failed
	callInput       = "input_required" // the client is asked for more
	callError       = "error"          // a JSON-RPC error of the connector
	callUnreachable = "unreachable"
	callBadAnswer   = "bad_answer"
	callFailed      = "failed" // no credential, or our own fault
	callBusy        = "busy"   // over the limits of parallel calls
	callCancelled   = "cancelled"
)

// mountMetrics are the numbers of one connector.
type mountMetrics struct {
	results map[string]prometheus.Counter
	time    prometheus.Observer
}

// mount shows the numbers of a connector from the beginning. Its name is from the configuration, so the set is closed.
func (m *metrics) mount(name string, source connector.Source) mountMetrics {
	out := mountMetrics{results: map[string]prometheus.Counter{}, time: m.mountTime.WithLabelValues(name)}
	for _, result := range []string{callOK, callToolError, callInput, callError, callUnreachable, callBadAnswer, callFailed,
		callBusy, callCancelled} {
		out.results[result] = m.mountCalls.WithLabelValues(name, result)
	}
	m.calls.WithLabelValues(name+"__*", resultOK) // so that a first call is a change
	m.auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hostedmcp_connector_up", Help: "1 if the connector can be reached.",
		ConstLabels: prometheus.Labels{"connector": name},
	}, func() float64 {
		if source.State().Up {
			return 1
		}
		return 0
	})
	return out
}

func (m *mountMetrics) done(result string) { m.results[result].Inc() }

func (m *mountMetrics) took(d time.Duration) { m.time.Observe(d.Seconds()) }
