package mount

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"hostedmcp/mcp/connector"
)

// This file lets clients of the older era use servers of the newer one (MCP 2026-07-28 "Multi Round-Trip Requests").

// Bounds of a conversation inside one call.
const (
	mostRounds = 10
	mostBusy   = 3 // answers that want nothing but to be asked again
	busyPause  = 200 * time.Millisecond
)

var errRounds = errors.New("it asks for input without end")

// rounds carries out a request. A modern server asks by an unfinished result: a modern client gets that as it is, an
// older one is asked by requests, until the result is there.
func (s *source) rounds(ctx context.Context, c *connector.Call) (json.RawMessage, error) {
	params, busy := c.Params, 0
	for range mostRounds {
		result, err := s.exchange(ctx, c, c.Method, params)
		if err != nil || c.Modern || !hasInput(c.Method) {
			return result, err
		}
		o := objectOf(result)
		if o.text("resultType") != "input_required" {
			return result, nil
		}
		requests := objectOf(o.get("inputRequests"))
		if len(requests) == 0 {
			if busy++; busy >= mostBusy || !sleep(ctx, busyPause) {
				return nil, errRounds
			}
		}
		responses, err := askAll(ctx, c, requests)
		if err != nil {
			return nil, err
		}
		p := objectOf(c.Params)
		p.drop("requestState")
		p.set("inputResponses", responses.bytes())
		if state := o.get("requestState"); state != nil {
			p.set("requestState", state)
		}
		params = p.bytes()
	}
	return nil, errRounds
}

// hasInput reports whether results of a method may ask for input.
func hasInput(method string) bool {
	switch method {
	case "tools/call", "prompts/get", "resources/read":
		return true
	}
	return false
}

// askAll asks the client all that an unfinished result wants, at the same time. A client that cannot be asked fails
// the call in its own words.
func askAll(ctx context.Context, c *connector.Call, requests object) (object, error) {
	if len(requests) > mostAsked {
		return nil, errRounds
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(object, len(requests))
	faults := make([]error, len(requests))
	var wg sync.WaitGroup
	for i, r := range requests {
		wg.Go(func() {
			value, err := askOne(ctx, c.Peer, objectOf(r.value))
			if err != nil {
				cancel()
			}
			answers[i], faults[i] = member{r.key, value}, err
		})
	}
	wg.Wait()
	for _, err := range faults {
		if err != nil && !errors.Is(err, context.Canceled) {
			return nil, err
		}
	}
	return answers, errors.Join(faults...)
}

func askOne(ctx context.Context, p connector.Peer, request object) (json.RawMessage, error) {
	method := request.text("method")
	if p.Ask == nil || !asksClient(method) {
		return nil, &connector.Error{Code: connector.CodeMethodNotFound, Message: "the client cannot be asked for input"}
	}
	result, err := p.Ask(ctx, method, request.get("params"))
	if err == nil && len(result) == 0 {
		err = &connector.Error{Code: connector.CodeInternal, Message: "the client did not answer"}
	}
	return result, err
}

// isNotification reports whether a client sent no request.
func isNotification(method string) bool { return strings.HasPrefix(method, "notifications/") }
