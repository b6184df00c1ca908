package mount

import (
	"context"
	"encoding/json"

	"hostedmcp/mcp/connector"
)

// This file is about how much a server logs (MCP 2025-11-25 and 2026-07-28 "Logging"): a session sets it once, a request
// of the newer era says it for itself.

const methodSetLevel = "logging/setLevel"

// setLevel sets the level of a session's log. A modern server is told with each request instead.
func (s *source) setLevel(ctx context.Context, c *connector.Call) (json.RawMessage, error) {
	slot, l, err := s.acquire(ctx, c)
	if err != nil {
		return nil, err
	}
	s.release(slot)
	result := json.RawMessage(`{}`)
	if !l.modern {
		if result, err = s.exchange(ctx, c, methodSetLevel, c.Params); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.levels[c.Session] = objectOf(c.Params).text("level")
	return result, nil
}

// sessionLevel returns what the call's session has set, nil if it has not.
func (s *source) sessionLevel(c *connector.Call) json.RawMessage {
	if c == nil || c.Session == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if level := s.levels[c.Session]; level != "" {
		return quote(level)
	}
	return nil
}

// setAgain tells a server of the older era on a new link what the session had set on the one before: that may have died,
// or made room. A server that does not take it logs as it likes, as it did then.
func (l *link) setAgain(ctx context.Context, c *connector.Call) {
	if level := l.src.sessionLevel(c); level != nil && !l.modern {
		l.askLevel(ctx, level, c)
	}
}

func (l *link) askLevel(ctx context.Context, level json.RawMessage, c *connector.Call) outcome {
	params := object{{quote("level"), level}}.bytes()
	return l.ask(ctx, methodSetLevel, params, c, l.src.cfg.Timeout.D())
}

// matchLevel makes a server of the older era log as much as a modern request wants. The level is the link's, so it is
// changed for the requests that follow too; what they did not ask for is dropped on the way back.
func (l *link) matchLevel(ctx context.Context, c *connector.Call) error {
	if l.modern || c == nil || !c.Modern {
		return nil
	}
	want := logLevel(c)
	l.mu.Lock()
	same := unquote(want) == "" || string(want) == l.level
	l.mu.Unlock()
	if same || objectOf(l.hello.get("capabilities")).get("logging") == nil {
		return nil
	}
	out := l.askLevel(ctx, want, c)
	if out.err == nil {
		l.mu.Lock()
		l.level = string(want)
		l.mu.Unlock()
	}
	if isAnswer(out.err) {
		return nil // it does not know the level: then it says what it likes
	}
	return out.err
}

// logLevel returns the level a modern request asks for, nil if it wants no log.
func logLevel(from *connector.Call) json.RawMessage {
	return objectOf(objectOf(from.Params).get("_meta")).get(metaLogLevel)
}
