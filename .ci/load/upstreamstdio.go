package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// child is this program as a mounted server: `child stdio ERA WHAT` over its pipes, `child http ERA WHAT` on a port that
// it prints. WHAT is corpus, or how many tools there are besides.
func child(args []string) {
	if args[0] == "proxy" {
		listen(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: args[1]}))
	}
	u := &upstream{modern: args[1] == "modern", corpus: args[2] == "corpus"}
	u.many, _ = strconv.Atoi(args[2])
	if args[0] == "http" {
		mux := http.NewServeMux()
		mux.Handle("/mcp", &overHTTP{upstream: u})
		mux.HandleFunc("/echo", echo)
		listen(mux)
	}
	(&overStdio{upstream: u, held: held{waiting: map[string]chan json.RawMessage{}}}).serve()
}

// listen serves HTTP and says where, until the process is killed.
func listen(h http.Handler) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // no loopback: nothing here can run
	}
	fmt.Println(l.Addr())
	panic(http.Serve(l, h))
}

// overStdio serves an upstream over pipes. One child is one user's: another one in it is a fault.
type overStdio struct {
	*upstream
	held

	out sync.Mutex
}

func (s *overStdio) serve() {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var m message
		switch {
		case json.Unmarshal(line, &m) != nil:
		case m.Method == "":
			s.answered(&m)
		case m.ID != nil:
			who := s.identify(&m)
			go func() { s.say(s.handle(&m, s.turn(who))) }()
		}
	}
}

func (s *overStdio) say(text string) {
	s.out.Lock()
	defer s.out.Unlock()
	os.Stdout.WriteString(strings.ReplaceAll(strings.ReplaceAll(text, "\r", " "), "\n", " ") + "\n")
}

// identify reads who asks out of `_meta`.
func (s *overStdio) identify(m *message) identity {
	var who identity
	json.Unmarshal(m.Params.Meta["hostedmcp/user"], &who)
	json.Unmarshal(m.Params.Meta["hostedmcp/credential"], &who.Credential)
	who.Credential = strings.TrimPrefix(who.Credential, "Bearer ")
	who.Foreign = forged(m, "hostedmcp/user", "hostedmcp/credential")
	for _, v := range os.Environ() {
		who.Foreign = append(who.Foreign, "environment "+v)
	}
	if s.subject == "" {
		s.subject = who.Subject
	}
	if who.Subject != "" && s.subject != who.Subject {
		who.Foreign = append(who.Foreign, "child of "+s.subject)
	}
	return who
}

// forged returns the members of `_meta` that only hostedmcp may write, but for those that it has to.
func forged(m *message, ours ...string) (out []string) {
	for name := range m.Params.Meta {
		if strings.HasPrefix(strings.ToLower(name), "hostedmcp/") && !slices.Contains(ours, name) {
			out = append(out, "_meta "+name)
		}
	}
	return out
}

func (s *overStdio) turn(who identity) *turn {
	tell := func(method, params string) {
		s.say(`{"jsonrpc":"2.0","method":"` + method + `","params":` + params + `}`)
	}
	return &turn{who: who, tell: tell, stay: func() { select {} },
		ask:  func(method, params string) json.RawMessage { return s.ask(method, params) },
		stir: func(uri string) { tell("notifications/resources/updated", `{"uri":"`+uri+`"}`) }}
}

// ask sends a request to the client. Ids begin at 1 in each child: they are equal for all.
func (s *overStdio) ask(method, params string) json.RawMessage {
	s.mu.Lock()
	s.asked++
	id := strconv.Itoa(s.asked)
	answer := make(chan json.RawMessage, 1)
	s.waiting[id] = answer
	s.mu.Unlock()
	s.say(`{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `","params":` + params + `}`)
	return <-answer
}
