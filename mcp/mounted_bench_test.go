package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"testing"

	"hostedmcp/mcp"
	"hostedmcp/mcp/connector"
)

// BenchmarkMountedCall compares a tool of a connector in the same process with the bare SDK server: what the way
// through policy, limits and views costs, without that to the connector.
func BenchmarkMountedCall(b *testing.B) {
	for _, era := range []string{version25, version26} {
		b.Run(era, func(b *testing.B) {
			s := newSource("up", func(c *connector.Config) { c.Prefix = ptr("") }, "echo")
			s.do = func(context.Context, connector.Call) (json.RawMessage, error) { return json.RawMessage(echoed), nil }
			w := newWorld(b, func(o *mcp.Options) { o.Connectors = []connector.Source{s} })
			token, _ := w.login("alice", "c1", "mcp", 1)
			ours, bare := &target{url: w.url}, &target{url: bareServer(b, era == version26)}
			prepare(b, w, token, era, ours, bare)
			compare(b, ours, bare, 1)
		})
	}
}

// BenchmarkMountedMemory is what 1,000 mounted tools and a list for each of 1,000 users hold.
func BenchmarkMountedMemory(b *testing.B) {
	const count = 1000
	tools := make([]string, count)
	for i := range tools {
		tools[i] = fmt.Sprintf(`{"name":"t%d","description":"%0200d","inputSchema":{"type":"object","properties":{"a":{"type":"string"}}}}`, i, i)
	}
	for b.Loop() {
		before := heap()
		w := mounting(b, newSource("up", nil, tools...))
		for i := range count {
			token, _ := w.login(fmt.Sprintf("user%d", i), "c1", "mcp", 1)
			eras["modern"](w, token, "tools/list", "", "")
		}
		b.ReportMetric(float64(heap()-before)/(1<<20), "MiB")
		runtime.KeepAlive(w)
	}
}

// heap is what is held after a collection.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
