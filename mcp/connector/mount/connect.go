package mount

import (
	"context"
	"errors"

	"hostedmcp/mcp/connector"
)

// connect returns a living link; callers of one slot wait for each other while it is made.
func (sl *slot) connect(ctx context.Context, c *connector.Call) (*link, error) {
	if l := sl.current(); l != nil {
		return l, nil
	}
	select {
	case sl.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-sl.life.Done():
		return nil, errEnded
	}
	made := make(chan dialled, 1)
	begun := sl.src.spawn(func() {
		defer func() { <-sl.turn }()
		l, err := sl.dial(context.WithoutCancel(ctx), c)
		made <- dialled{l, err}
	})
	if !begun {
		<-sl.turn
		return nil, errEnded
	}
	select {
	case m := <-made:
		return m.link, m.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// dialled is what dial came to.
type dialled struct {
	link *link
	err  error
}

// dial makes the link. It does not end with the caller who wanted it first: a server that takes longer to start than
// anybody waits would never come up. sl.turn is held.
func (sl *slot) dial(ctx context.Context, c *connector.Call) (*link, error) {
	if l := sl.current(); l != nil {
		return l, nil
	}
	if err := errors.Join(sl.due(), sl.src.health.due(sl.src.now())); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(sl.life, func() { cancel(errEnded) })()
	l, err := sl.src.dial(ctx, sl.key, c)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		sl.failed(err, c)
		return nil, err
	}
	l.setAgain(ctx, c)
	return l, sl.adopt(l)
}

// failed learns from a link that did not come about. What a client says of itself stands in the handshake, and may be
// why that failed: then only its own calls wait, and a question of ours as nobody finds out about the server.
func (sl *slot) failed(err error, c *connector.Call) {
	handshake := errors.Is(err, errHandshake) || errors.Is(err, errExited) || errors.Is(err, errTimeout)
	if c == nil || !handshake {
		sl.src.health.note(sl.src, err)
		return
	}
	sl.src.mu.Lock()
	sl.deaths++
	sl.next = sl.src.now().Add(pause(sl.deaths))
	sl.src.mu.Unlock()
	sl.src.spawn(func() { sl.src.probe(context.Background()) })
}
