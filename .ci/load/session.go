package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
)

// standing is the session's own stream of a user of the older era, and what came by it.
type standing struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	heard []received
}

// open begins a session of the older era and its own stream.
func (u *user) open(ctx context.Context) (*standing, error) {
	a, err := u.send(ctx, &request{id: "0", method: "initialize",
		params: `"protocolVersion":"2025-11-25","capabilities":` + capable + `,"clientInfo":{"name":"load","version":"1"}`})
	if err != nil {
		return nil, err
	}
	u.session = a.header.Get("Mcp-Session-Id")
	if a.status != http.StatusOK || u.session == "" {
		return nil, fmt.Errorf("initialize: %s", a)
	}
	if _, err := u.send(ctx, &request{method: "notifications/initialized", session: u.session}); err != nil {
		return nil, err
	}
	if _, err := u.send(ctx, &request{id: "1", method: "logging/setLevel", params: `"level":"debug"`, session: u.session}); err != nil {
		return nil, err
	}
	return u.listen(ctx)
}

// listen opens the session's own stream.
func (u *user) listen(ctx context.Context) (*standing, error) {
	s := &standing{done: make(chan struct{})}
	ctx, s.cancel = context.WithCancel(ctx)
	res, err := u.bare(ctx, http.MethodGet, u.session)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET: %d", res.StatusCode)
	}
	go func() {
		defer close(s.done)
		defer res.Body.Close()
		u.events("the session's stream", res.Body, func(m received) bool {
			// Over pipes a question may come so late that the stream of its call is over.
			if m.ID != nil {
				(&oneCall{user: u, connector: "pipe", heard: &heardOf{}}).hear(ctx, m)
				return true
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.heard = append(s.heard, m)
			return true
		})
	}()
	return s, nil
}

// bare sends a request without a body in a session.
func (u *user) bare(ctx context.Context, method, session string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.Issuer+"/mcp", nil)
	if err != nil {
		return nil, err
	}
	for k, v := range map[string]string{"Authorization": "Bearer " + u.Access, "Accept": "text/event-stream",
		"Mcp-Protocol-Version": "2025-11-25", "Mcp-Session-Id": session} {
		req.Header.Set(k, v)
	}
	return u.HTTP.Do(req)
}

// close ends the session.
func (u *user) close(s *standing) {
	s.cancel()
	<-s.done
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := u.bare(ctx, http.MethodDelete, u.session)
	if err != nil {
		u.run.fault("end of a session: %v", err)
		return
	}
	res.Body.Close()
	u.session = ""
}
