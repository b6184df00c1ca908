package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// overHTTP serves an upstream over Streamable HTTP. In the older era it keeps sessions, each its first user's: another
// one in it is a fault.
type overHTTP struct {
	*upstream
	judge func(who identity, what string) // of each request; nil = none

	mu       sync.Mutex
	sessions map[string]*held
}

// held is one session.
type held struct {
	subject  string
	standing chan string

	mu      sync.Mutex
	asked   int
	waiting map[string]chan json.RawMessage
}

// expected are the headers that hostedmcp sends. Anything else came from a client.
var expected = []string{"Authorization", "Hostedmcp-Subject", "Hostedmcp-Client", "X-Request-Id", "Traceparent", "User-Agent",
	"Content-Length", "Content-Type", "Accept", "Accept-Encoding", "Mcp-Protocol-Version", "Mcp-Session-Id", "Mcp-Method", "Mcp-Name"}

// identify reads who asks.
func identify(h http.Header) identity {
	who := identity{Subject: h.Get("Hostedmcp-Subject"), Credential: strings.TrimPrefix(h.Get("Authorization"), "Bearer ")}
	for name, values := range h {
		if !slices.Contains(expected, name) || len(values) != 1 {
			who.Foreign = append(who.Foreign, fmt.Sprintf("header %s %q", name, values))
		}
	}
	return who
}

func (s *overHTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who := identify(r.Header)
	id := r.Header.Get("Mcp-Session-Id")
	h := s.session(id)
	if h != nil && h.subject != who.Subject {
		who.Foreign = append(who.Foreign, "session of "+h.subject)
	}
	if s.judge != nil && r.Method != http.MethodPost {
		s.judge(who, r.Method)
	}
	switch {
	case s.modern && r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case h == nil && id != "":
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodGet && h != nil:
		h.stand(w, r)
	case r.Method == http.MethodDelete:
		s.forget(id)
	default:
		s.post(w, r, who, h)
	}
}

func (s *overHTTP) session(id string) *held {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}

func (s *overHTTP) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, id)
}

// open makes a session.
func (s *overHTTP) open(subject string) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions == nil {
		s.sessions = map[string]*held{}
	}
	id = "s" + strconv.Itoa(len(s.sessions)) + "-" + subject
	for s.sessions[id] != nil {
		id += "'"
	}
	s.sessions[id] = &held{subject: subject, standing: make(chan string, 100), waiting: map[string]chan json.RawMessage{}}
	return id
}

// stand is the session's own stream.
func (h *held) stand(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	http.NewResponseController(w).Flush()
	for {
		select {
		case text := <-h.standing:
			event(w, text)
		case <-r.Context().Done():
			return
		}
	}
}

func event(w http.ResponseWriter, text string) {
	fmt.Fprintf(w, "data: %s\n\n", text)
	http.NewResponseController(w).Flush()
}

// post takes one message. What may tell or ask is answered by a stream.
func (s *overHTTP) post(w http.ResponseWriter, r *http.Request, who identity, h *held) {
	var m message
	body, _ := io.ReadAll(r.Body)
	if json.Unmarshal(body, &m) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	who.Foreign = append(who.Foreign, forged(&m)...)
	if s.judge != nil {
		s.judge(who, "POST "+m.Method)
	}
	if m.Method == "" && h != nil {
		h.answered(&m)
	}
	if m.ID == nil || m.Method == "" {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if m.Method == "initialize" && !s.modern {
		w.Header().Set("Mcp-Session-Id", s.open(who.Subject))
	}
	talks := m.Params.Meta["progressToken"] != nil || m.Params.Arguments.Ask != ""
	streams := m.Method == "tools/call" && !s.corpus && talks || m.Method == "subscriptions/listen"
	if !streams {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, s.handle(&m, s.turn(w, r, who, h)))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	event(w, s.handle(&m, s.turn(w, r, who, h)))
}

func (s *overHTTP) turn(w http.ResponseWriter, r *http.Request, who identity, h *held) *turn {
	t := &turn{who: who, stay: func() { <-r.Context().Done() }}
	t.tell = func(method, params string) {
		if w.Header().Get("Content-Type") == "text/event-stream" {
			event(w, `{"jsonrpc":"2.0","method":"`+method+`","params":`+params+`}`)
		}
	}
	if h != nil {
		t.ask = func(method, params string) json.RawMessage {
			return h.ask(r, method, params, func(text string) { event(w, text) })
		}
		t.stir = func(uri string) {
			h.standing <- `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"` + uri + `"}}`
		}
	}
	return t
}

// ask sends a request to the client. Ids begin at 1 in each session: they are equal for all.
func (h *held) ask(r *http.Request, method, params string, send func(string)) json.RawMessage {
	h.mu.Lock()
	h.asked++
	id := strconv.Itoa(h.asked)
	answer := make(chan json.RawMessage, 1)
	h.waiting[id] = answer
	h.mu.Unlock()
	send(`{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `","params":` + params + `}`)
	select {
	case a := <-answer:
		return a
	case <-r.Context().Done():
		return json.RawMessage("null")
	}
}

// answered takes an answer of the client; one that nobody waits for is dropped.
func (h *held) answered(m *message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.waiting[string(m.ID)]; c != nil {
		delete(h.waiting, string(m.ID))
		if m.Result == nil {
			m.Result = json.RawMessage(`"refused"`)
		}
		c <- m.Result
	}
}
