package mount_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/mount"
)

// quick is the answer to calls that costs its server next to nothing.
func quick(line []byte) []byte {
	id := line[bytes.Index(line, []byte(`"id":`))+5:]
	id = id[:bytes.IndexByte(id, ',')]
	switch {
	case bytes.Contains(line, []byte("server/discover")):
		return []byte(result(json.RawMessage(id), `{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}`))
	case bytes.Contains(line, []byte("tools/call")):
		return []byte(result(json.RawMessage(id), `{"content":[{"type":"text","text":"3 open deals, 41,200 EUR in all"}],"structuredContent":{"deals":3,"sum":41200,"currency":"EUR"},"isError":false}`))
	}
	return nil // it stays open
}

// quickChild is such a server over stdio.
func quickChild([]string) {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		if answer := quick(line); answer != nil {
			_, _ = os.Stdout.Write(append(answer, '\n'))
		}
	}
}

// quickSite is one over HTTP.
func quickSite(b *testing.B, stream bool) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer := quick(body)
		if !stream {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(answer)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "event: message\ndata: %s\n\n", answer)
	}))
	b.Cleanup(s.Close)
	return s.URL
}

// bareCall is what is sent without us.
const bareCall = `{"jsonrpc":"2.0","id":12345,"method":"tools/call","params":{"name":"deals","arguments":{"account":"ACME","open":true},"_meta":{"progressToken":"hm1","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`

func bareHTTP(b *testing.B, url string) func() {
	client := &http.Client{Transport: &http.Transport{}}
	b.Cleanup(client.CloseIdleConnections)
	return func() {
		req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader([]byte(bareCall)))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer of alice")
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err = io.ReadAll(resp.Body); err != nil {
			b.Fatal(err)
		}
		_ = resp.Body.Close()
	}
}

func barePipe(b *testing.B) func() {
	self, _ := os.Executable()
	cmd := exec.Command(self, "quick")
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	r, line := bufio.NewReader(out), []byte(bareCall+"\n")
	return func() {
		if _, err := in.Write(line); err != nil {
			b.Fatal(err)
		}
		if _, err := r.ReadSlice('\n'); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDo is a call of a tool through a mount beside the bare round trip, turn by turn.
func BenchmarkDo(b *testing.B) {
	json, stream := quickSite(b, false), quickSite(b, true)
	self, _ := os.Executable()
	for _, way := range []struct {
		name string
		cfg  connector.Config
		bare func(*testing.B) func()
	}{
		{"http", connector.Config{Kind: connector.MCPHTTP, URL: json}, func(b *testing.B) func() { return bareHTTP(b, json) }},
		{"http stream", connector.Config{Kind: connector.MCPHTTP, URL: stream}, func(b *testing.B) func() { return bareHTTP(b, stream) }},
		{"stdio", connector.Config{Kind: connector.MCPStdio, Command: []string{self, "quick"}}, barePipe},
	} {
		b.Run(way.name, func(b *testing.B) {
			way.cfg.Name, way.cfg.Credential = "crm", connector.CredentialUser
			src, err := mount.New(mount.Options{Config: way.cfg.Complete(), Version: "1.2.3"})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = src.Close(context.Background()) })
			call := by("alice", "", newClient())
			call.Method, call.Params = "tools/call", []byte(`{"name":"deals","arguments":{"account":"ACME","open":true},"_meta":{"progressToken":"hm1"}}`)
			call.Credential = bearer(func() string { return "of alice" })
			beside(b, way.bare(b), func() {
				if _, err := src.Do(context.Background(), call); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// beside runs both in turns of some calls each, and reports what one costs more than the other.
func beside(b *testing.B, bare, mounted func()) {
	const turn = 50
	var times [2][]float64 // microseconds of a call
	var allocs [2]float64
	for range turn {
		bare()
		mounted()
	}
	var before, after runtime.MemStats
	for b.Loop() {
		for i, f := range []func(){bare, mounted} {
			runtime.ReadMemStats(&before)
			begun := time.Now()
			for range turn {
				f()
			}
			times[i] = append(times[i], float64(time.Since(begun).Nanoseconds())/1e3/turn)
			runtime.ReadMemStats(&after)
			allocs[i] += float64(after.Mallocs-before.Mallocs) / turn
		}
	}
	slices.Sort(times[0])
	slices.Sort(times[1])
	was, is := times[0][len(times[0])/2], times[1][len(times[1])/2]
	b.ReportMetric(was, "bare-us/op")
	b.ReportMetric(is-was, "added-us/op")
	b.ReportMetric(is/was, "ratio")
	b.ReportMetric((allocs[1]-allocs[0])/float64(len(times[0])), "added-allocs/op")
	b.ReportMetric(0, "ns/op")
}
