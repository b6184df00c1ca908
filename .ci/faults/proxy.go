package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// proxy is the network between two HTTP speakers. It passes everything on, byte for byte, but for the refreshes that it
// is told to cut.
type proxy struct {
	target   string // host:port
	listener net.Listener

	mu      sync.Mutex
	plans   map[string]*cut // by key of the refresh token presented
	key     func(token string) string
	seen    map[string]int // connections, by key
	held    *holding
	request int // size of the longest refresh request that passed whole
	answer  int // and of its answer
}

// cut says where one exchange ends.
type cut struct {
	answer bool // in the answer; else in the request
	at     int  // after so many bytes have been passed on
	reset  bool // by a reset; else as if the other side had closed
}

// newProxy listens on a free port. key maps a refresh token to the name under which its cut is planned.
func (r *run) newProxy(target string, key func(string) string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{target: target, listener: l, plans: map[string]*cut{}, seen: map[string]int{}, key: key}
	r.atEnd(func() { l.Close() })
	go p.serve()
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// plan has the next exchange of that key cut, and forgets how many there were.
func (p *proxy) plan(key string, c cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plans[key], p.seen[key] = &c, 0
}

// count returns how many exchanges of a key there were since the last plan.
func (p *proxy) count(key string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[key]
}

func (p *proxy) serve() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.exchange(conn.(*net.TCPConn))
	}
}

// exchange reads the first request of a connection whole, and does to it what is planned for its refresh token.
func (p *proxy) exchange(client *net.TCPConn) {
	defer client.Close()
	request, token := readRequest(client)
	if len(request) == 0 {
		return
	}
	c := p.take(token)
	conn, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	// the request was read whole before, to know whose it is; of what is passed on the other side sees c.at bytes
	if c != nil && !c.answer && c.at < len(request) {
		server.Write(request[:c.at])
		c.end(client, server)
		return
	}
	h := p.holds(token)
	if h != nil && !h.after && !h.wait() {
		return
	}
	server.Write(request)
	switch {
	case h != nil && h.after:
		answer, _ := io.ReadAll(server)
		h.wait()
		client.Write(answer)
	case c != nil && !c.answer:
		c.end(client, server)
	case c != nil:
		c.passAnswer(client, server)
	case token != "":
		n, _ := io.Copy(client, server) // refreshes ask for the connection to be closed
		p.measure(len(request), int(n))
	default:
		go io.Copy(server, client)
		io.Copy(client, server)
	}
}

// passAnswer lets c.at bytes of the answer through.
func (c *cut) passAnswer(client, server *net.TCPConn) {
	if c.at == 0 { // the answer must be on its way
		server.Read(make([]byte, 1))
	} else if n, _ := io.CopyN(client, server, int64(c.at)); n < int64(c.at) {
		return // it was shorter, and is whole
	}
	c.end(client, server)
}

// end cuts both sides.
func (c *cut) end(conns ...*net.TCPConn) {
	for _, conn := range conns {
		// without linger closing sends a reset, and what the other side has not read yet is gone
		if c.reset {
			conn.SetLinger(0)
		}
		conn.Close()
	}
}

// readRequest returns the bytes of one request and the refresh token in it.
func readRequest(conn net.Conn) (raw []byte, token string) {
	var seen bytes.Buffer
	req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &seen)))
	if err != nil {
		return nil, ""
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, ""
	}
	if strings.HasPrefix(req.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		form, _ := url.ParseQuery(string(body)) // what is no form has no token
		if form.Get("grant_type") == "refresh_token" {
			token = form.Get("refresh_token")
		}
	}
	return seen.Bytes(), token
}

func (p *proxy) take(token string) *cut {
	p.mu.Lock()
	defer p.mu.Unlock()
	if token == "" {
		return nil
	}
	key := p.key(token)
	p.seen[key]++
	c := p.plans[key]
	delete(p.plans, key)
	return c
}

func (p *proxy) measure(request, answer int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.request, p.answer = max(p.request, request), max(p.answer, answer)
}

// positions are all places at which an exchange of the measured sizes can be cut, every step-th from first; resets and
// closes take turns.
func (p *proxy) positions(first, step int) (out []cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, side := range []struct {
		answer bool
		size   int
	}{{false, p.request}, {true, p.answer}} {
		for at := first % step; at <= side.size; at += step {
			out = append(out, cut{side.answer, at, at/step%2 == 0})
		}
	}
	return out
}

// holding stops refreshes until it is told to let them go.
type holding struct {
	left          int
	after         bool
	arrived       chan struct{}
	open, dropped chan struct{}
}

// hold stops the next n refreshes: before they are passed on, or their answers. What is still held before it was passed
// on when mend comes never will be.
func (p *proxy) hold(n int, after bool) (arrived <-chan struct{}, open, mend func()) {
	h := &holding{left: n, after: after, arrived: make(chan struct{}, n), open: make(chan struct{}), dropped: make(chan struct{})}
	p.mu.Lock()
	p.held = h
	p.mu.Unlock()
	return h.arrived, func() { close(h.open) }, func() {
		p.mu.Lock()
		p.held = nil
		p.mu.Unlock()
		close(h.dropped)
	}
}

// holds returns the holding that a refresh has run into, nil if none.
func (p *proxy) holds(token string) *holding {
	p.mu.Lock()
	defer p.mu.Unlock()
	if token == "" || p.held == nil || p.held.left == 0 {
		return nil
	}
	p.held.left--
	return p.held
}

// wait says whether the way is free.
func (h *holding) wait() bool {
	h.arrived <- struct{}{}
	select {
	case <-h.open:
		return true
	case <-h.dropped:
		return false
	}
}
