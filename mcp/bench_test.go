package mcp_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"hostedmcp/mcp"
)

const echoed = `{"content":[{"type":"text","text":"hello"}]}`

// target is where a benchmark sends its calls.
type target struct {
	url     string
	header  http.Header
	body    string // with @ for the id, which must be another for each call in flight of a session
	id      atomic.Int64
	elapsed time.Duration
	cpu     time.Duration // of the whole process
	mallocs uint64
}

// run sends n calls from some clients at once and adds the time they took.
func (g *target) run(b *testing.B, client *http.Client, n, clients int) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start, cpu := time.Now(), cpuTime()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for range (n + clients - 1 - i) / clients {
				g.call(b, client)
			}
		})
	}
	wg.Wait()
	g.elapsed += time.Since(start)
	g.cpu += cpuTime() - cpu
	runtime.ReadMemStats(&after)
	g.mallocs += after.Mallocs - before.Mallocs
}

// cpuTime is the processor time of this process so far; unlike the clock it knows nothing of the neighbours.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (g *target) call(b *testing.B, client *http.Client) {
	r, err := http.NewRequest("POST", g.url, strings.NewReader(strings.Replace(g.body, "@", strconv.FormatInt(g.id.Add(1), 10), 1)))
	if err != nil {
		b.Error(err)
		return
	}
	r.Header = g.header.Clone()
	resp, err := client.Do(r)
	if err != nil {
		b.Error(err)
		return
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || !strings.Contains(string(body), "hello") {
		b.Errorf("%d %s", resp.StatusCode, body)
	}
}

// bareServer is the SDK's own server with the same tool, and nothing around it.
func bareServer(b *testing.B, stateless bool) string {
	server := sdk.NewServer(&sdk.Implementation{Name: "bare", Version: "1"}, nil)
	server.AddTool(&sdk.Tool{Name: "echo", InputSchema: json.RawMessage(`{"type":"object"}`)},
		func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "hello"}}}, nil
		})
	h := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server },
		&sdk.StreamableHTTPOptions{Stateless: stateless, PropagateRequestCancellation: true}))
	b.Cleanup(func() {
		h.Close()
		for s := range server.Sessions() {
			s.Close()
		}
	})
	return h.URL
}

// BenchmarkCall compares tools/call through the endpoint with the bare SDK server, turn by turn in one run. ratio is
// the throughput of ours over that of the bare server (design.md §8: at least 0.95).
func BenchmarkCall(b *testing.B) {
	for _, era := range []string{version25, version26} {
		for _, clients := range []int{1, 16} {
			b.Run(era+"/clients="+strconv.Itoa(clients), func(b *testing.B) {
				w := newWorld(b, func(o *mcp.Options) {
					o.Tools = []mcp.Tool{tool("echo", func(context.Context, json.RawMessage) (*mcp.Result, error) {
						return &mcp.Result{Members: json.RawMessage(echoed)}, nil
					})}
				})
				token, _ := w.login("alice", "c1", "mcp", 1)
				ours, bare := &target{url: w.url}, &target{url: bareServer(b, era == version26)}
				prepare(b, w, token, era, ours, bare)
				compare(b, ours, bare, clients)
			})
		}
	}
}

// prepare gives both targets the same message, in a session each where the era has them.
func prepare(b *testing.B, w *world, token, era string, targets ...*target) {
	for _, g := range targets {
		pairs, extra := modern(token, "tools/call", "echo"), ","+meta26
		if era != version26 {
			r := w.request("POST", initializeBody("0"), bearer(token)...)
			r.URL, _ = r.URL.Parse(g.url)
			r.Host = ""
			pairs, extra = legacy(token, w.do(r).header.Get("Mcp-Session-Id")), ""
		}
		g.body = callBody("@", "echo", extra)
		g.header = w.request("POST", g.body, pairs...).Header
	}
}

func compare(b *testing.B, ours, bare *target, clients int) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	const turn = 200
	ours.run(b, client, turn, clients)
	bare.run(b, client, turn, clients)
	for _, g := range []*target{ours, bare} {
		g.elapsed, g.cpu, g.mallocs = 0, 0, 0
	}
	b.ResetTimer()
	for done := 0; done < b.N; done += turn {
		n := min(turn, b.N-done)
		bare.run(b, client, n, clients)
		ours.run(b, client, n, clients)
	}
	n := float64(b.N)
	b.ReportMetric(float64(ours.elapsed)/n, "ns/op")
	b.ReportMetric(n/ours.elapsed.Seconds(), "calls/s")
	b.ReportMetric(float64(bare.elapsed)/float64(ours.elapsed), "ratio")
	b.ReportMetric(float64(bare.cpu)/float64(ours.cpu), "cpu-ratio")
	b.ReportMetric((float64(ours.mallocs)-float64(bare.mallocs))/n, "added-allocs/op")
	b.ReportMetric(float64(ours.mallocs)/n, "allocs/op")
}
