package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// bench measures calls straight to a connector beside calls through hostedmcp, and for comparison through a reverse proxy
// of the standard library that does nothing else. Each server is a process of its own, as it would be; client and figures
// are this process's.
func bench(r *run) error {
	s := r.site
	bare, err := startChild(s.self, "http", "modern", "0")
	if err != nil {
		return err
	}
	defer bare.stop()
	proxy, err := startChild(s.self, "proxy", bare.first)
	if err != nil {
		return err
	}
	defer proxy.stop()
	pipe, err := startChild(s.self, "stdio", "modern", "0")
	if err != nil {
		return err
	}
	defer pipe.stop()
	srv, err := r.serve("bench", mountHTTP("web", "http://"+bare.first+"/mcp", "user"),
		mountStdio("pipe", "user", s.self, "child", "stdio", "modern", "0"), mountAPI("rest", "http://"+bare.first, s.document))
	if err != nil {
		return err
	}
	defer srv.stop()
	people, err := r.logIn(1)
	if err != nil {
		return err
	}
	u := people[0]
	through := func(name string) func() error {
		return func() error { return u.plain(u.Issuer+"/mcp", name+"__work", u.Access) }
	}
	call := func(server *process) func() error {
		return func() error { return u.plain("http://"+server.first+"/mcp", "work", "none") }
	}
	for _, m := range []struct {
		name            string
		direct, through func() error
	}{
		{"bare proxy", call(bare), call(proxy)}, // what any process in between costs here
		{"web", call(bare), through("web")},
		{"pipe", func() error { return pipe.call() }, through("pipe")},
		{"rest", func() error { return u.get("http://" + bare.first + "/echo?tag=t") }, through("rest")},
	} {
		for _, workers := range []int{1, 16, 64} {
			r.compare(m.name, workers, m.direct, m.through)
		}
	}
	srv.stop()
	return r.hold()
}

// figures are those of one side of a comparison.
type figures struct {
	took  []time.Duration
	whole time.Duration
}

func (f *figures) at(percent int) time.Duration {
	slices.Sort(f.took)
	return f.took[(len(f.took)-1)*percent/100]
}

func (f *figures) rate() float64 { return float64(len(f.took)) / f.whole.Seconds() }

// compare takes both sides in turns, so that they meet the same machine.
func (r *run) compare(name string, workers int, direct, through func() error) {
	sides := []func() error{direct, through}
	var out [2]figures
	for i, f := range sides { // connections and caches first
		if err := (&figures{}).turn(workers, 2*workers, f); err != nil {
			r.fault("%s, %d: %v", name, i, err)
			return
		}
	}
	const turns = 6
	for range turns {
		for i, f := range sides {
			if err := out[i].turn(workers, max(r.turns/turns, workers), f); err != nil {
				r.fault("%s: %v", name, err)
				return
			}
		}
	}
	d, t := &out[0], &out[1]
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	r.say("%-10s %2d at a time: direct p50 %.2f ms, p99 %.2f ms, %.0f/s; through p50 %.2f ms, p99 %.2f ms, %.0f/s; added p50 %.2f ms; %.2f of the throughput",
		name, workers, ms(d.at(50)), ms(d.at(99)), d.rate(), ms(t.at(50)), ms(t.at(99)), t.rate(), ms(t.at(50)-d.at(50)), t.rate()/d.rate())
}

// turn adds n calls.
func (f *figures) turn(workers, n int, call func() error) (failed error) {
	var mu sync.Mutex
	began := time.Now()
	each(n, workers, func(int) {
		from := time.Now()
		err := call()
		took := time.Since(from)
		mu.Lock()
		defer mu.Unlock()
		f.took = append(f.took, took)
		if err != nil {
			failed = err
		}
	})
	f.whole += time.Since(began)
	return failed
}

const plainCall = `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":{"tag":"t"},"_meta":{` +
	`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"load","version":"1"},` +
	`"io.modelcontextprotocol/clientCapabilities":{}}}}`

// plain calls a tool and reads no more than whether it worked.
func (u *user) plain(url, tool, token string) error {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(fmt.Sprintf(plainCall, 1, tool)))
	if err != nil {
		return err
	}
	for k, v := range map[string]string{
		"Authorization": "Bearer " + token, "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool,
	} {
		req.Header.Set(k, v)
	}
	return u.worked(req)
}

func (u *user) get(url string) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	return u.worked(req)
}

func (u *user) worked(req *http.Request) error {
	res, err := u.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"tag":"t"`))) {
		err = fmt.Errorf("%s: %d %.300s", req.URL, res.StatusCode, body)
	}
	return err
}

// process is this program as a server, reached without hostedmcp.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	first string // the line that it said

	mu      sync.Mutex
	next    int
	waiting map[string]chan bool
}

func startChild(self string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(self, append([]string{"child"}, args...)...), waiting: map[string]chan bool{}}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(out)
	if args[0] != "stdio" {
		line, err := lines.ReadString('\n')
		p.first = strings.TrimSpace(line)
		return p, err
	}
	go p.answers(lines)
	return p, nil
}

// answers tells those who wait.
func (p *process) answers(lines *bufio.Reader) {
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		_, rest, _ := strings.Cut(line, `"id":`)
		id, _, _ := strings.Cut(rest, ",")
		p.mu.Lock()
		done := p.waiting[id]
		delete(p.waiting, id)
		p.mu.Unlock()
		if done != nil {
			done <- strings.Contains(line, `"tag":"t"`)
		}
	}
}

// call calls the tool over the pipes.
func (p *process) call() error {
	done := make(chan bool, 1)
	p.mu.Lock()
	p.next++
	p.waiting[fmt.Sprint(p.next)] = done
	_, err := fmt.Fprintf(p.in, plainCall+"\n", p.next, "work")
	p.mu.Unlock()
	if err != nil {
		return err
	}
	if !<-done {
		return fmt.Errorf("the child did not answer as it should")
	}
	return nil
}

func (p *process) stop() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// hold measures what many users and many tools hold in memory.
func (r *run) hold() error {
	const tools = 1000
	child, err := startChild(r.site.self, "http", "modern", fmt.Sprint(tools))
	if err != nil {
		return err
	}
	defer child.stop()
	srv, err := r.serve("memory", mountHTTP("web", "http://"+child.first+"/mcp", "user"))
	if err != nil {
		return err
	}
	defer srv.stop()
	people, err := r.logIn(r.memory)
	if err != nil {
		return err
	}
	began := srv.anonymous()
	for i, u := range people {
		a, err := u.send(context.Background(), &request{modern: true, id: "7", method: "tools/list"})
		if err != nil || strings.Count(string(a.last.Result), "web__tool_") < tools-10 { // ours come first, and a page holds 1,000
			return fmt.Errorf("list of %d tools: %v %.300s", tools, err, a)
		}
		if i == 0 {
			r.say("memory: %.0f MB at the start, %.0f MB after the first list of %d tools", began, srv.anonymous(), tools)
		}
	}
	r.say("memory: %.0f MB of RssAnon with %d mounted tools and %d users, each listed once", srv.anonymous(), tools, len(people))
	return nil
}
