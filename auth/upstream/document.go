package upstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"hostedmcp/auth/oauth"
)

// document is our copy of something that the provider publishes. One fetch runs at a time, apart from whoever waits
// for it; trouble is remembered until the next attempt is due; a good copy is served while a newer one is fetched.
type document[T any] struct {
	what  string
	fetch func(context.Context) (T, error)
	fresh time.Duration                    // a copy older than this is renewed in the background
	stale time.Duration                    // a copy older than this is not used at all; 0 = any is
	pause func(failures int) time.Duration // from the end of an attempt to the next one; 0 failures = after a good one

	provider *Provider
	ctx      context.Context
	stop     context.CancelFunc

	mu       sync.Mutex
	value    T
	fetched  time.Time // zero = no copy
	tried    time.Time // end of the last attempt
	next     time.Time // no attempt before
	failures int
	trouble  error
	running  chan struct{} // closed when the attempt under way ends; nil = none
}

func newDocument[T any](p *Provider, what string, fetch func(context.Context) (T, error), fresh time.Duration, pause func(int) time.Duration) *document[T] {
	ctx, stop := context.WithCancel(context.Background())
	return &document[T]{what: what, fetch: fetch, fresh: fresh, pause: pause, provider: p, ctx: ctx, stop: stop}
}

// get returns the copy, or fetches one. The error is a *Failure.
func (d *document[T]) get(ctx context.Context) (T, error) {
	d.mu.Lock()
	now := d.provider.now()
	if d.usable(now) {
		defer d.mu.Unlock()
		if now.Sub(d.fetched) >= d.fresh {
			d.start(now)
		}
		return d.value, nil
	}
	wait := d.start(now)
	d.mu.Unlock()
	return d.wait(ctx, wait)
}

// renew returns a copy from an attempt that is under way or may be made now; else the one there is.
func (d *document[T]) renew(ctx context.Context) (T, error) {
	d.mu.Lock()
	wait := d.start(d.provider.now())
	d.mu.Unlock()
	return d.wait(ctx, wait)
}

// peek returns the copy if there is a usable one.
func (d *document[T]) peek() (value T, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.value, d.usable(d.provider.now())
}

// ready returns nil when there is a usable copy. It starts an attempt that is due and does not wait.
func (d *document[T]) ready() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.provider.now()
	if d.usable(now) {
		return nil
	}
	d.start(now)
	if d.trouble == nil {
		return failure(oauth.UpstreamUnreachable, d.what+": not fetched yet")
	}
	return d.trouble
}

// usable reports whether the copy may be served. It says nothing about trouble: a provider that fails now does not make
// wrong what it said before.
func (d *document[T]) usable(now time.Time) bool {
	return !d.fetched.IsZero() && (d.stale == 0 || now.Sub(d.fetched) < d.stale)
}

// start begins an attempt unless one runs or the pause holds, and returns what to wait for; nil = nothing. A clock set
// back does not prolong the pause.
func (d *document[T]) start(now time.Time) <-chan struct{} {
	if d.running == nil && (!now.Before(d.next) || now.Before(d.tried)) {
		d.running = make(chan struct{})
		go d.attempt(d.running)
	}
	return d.running
}

// attempt runs apart from every caller, under the call's timeout, so that one who hangs up takes nothing from the
// others, and a provider that hangs holds nobody for longer than that.
func (d *document[T]) attempt(done chan<- struct{}) {
	ctx, cancel := d.provider.timeout(d.ctx)
	defer cancel()
	value, err := d.fetch(ctx)

	d.mu.Lock()
	defer d.mu.Unlock()
	defer close(done)
	d.running = nil
	now := d.provider.now()
	d.tried = now
	if err == nil {
		d.recovered()
		d.value, d.fetched, d.failures, d.trouble = value, now, 0, nil
		d.next = now.Add(d.pause(0))
		return
	}
	d.failures++
	d.next = now.Add(max(d.pause(d.failures), retryOf(err)))
	// Logged when it begins or changes: an outage of a day is a few lines, not one for each attempt.
	if d.trouble == nil || d.trouble.Error() != err.Error() {
		d.provider.log.Warn("provider trouble", "what", d.what, "cause", err, "copy", !d.fetched.IsZero())
	}
	d.trouble = err
}

func (d *document[T]) recovered() {
	if d.trouble != nil {
		d.provider.log.Info("provider trouble is over", "what", d.what, "failures", d.failures)
	}
}

// wait returns what the attempt brought. A nil channel is an attempt that may not be made yet: the copy or the
// remembered trouble answers.
func (d *document[T]) wait(ctx context.Context, attempt <-chan struct{}) (T, error) {
	var none T
	if attempt != nil {
		select {
		case <-attempt:
		case <-ctx.Done():
			return none, failure(oauth.UpstreamUnreachable, d.what+": "+netWords(ctx.Err()))
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.provider.now()
	if d.usable(now) {
		return d.value, nil
	}
	var f *Failure
	if !errors.As(d.trouble, &f) {
		return none, failure(oauth.UpstreamUnreachable, d.what+": too old")
	}
	again := *f
	again.RetryAfter = max(d.next.Sub(now), 0)
	return none, &again
}

// retryOf is what the provider itself asks for, 0 if it did not.
func retryOf(err error) time.Duration {
	var f *Failure
	if errors.As(err, &f) {
		return f.RetryAfter
	}
	return 0
}

// The pauses of backoff: between 1 s and 2 min, each drawn from the upper half of a doubling span so that many
// processes do not come back together.
const (
	backoffFirst = 2 * time.Second
	backoffMost  = 2 * time.Minute
)

func backoff(failures int) time.Duration {
	if failures == 0 {
		return 0
	}
	// the shift is bounded, so that a week of failures does not overflow it
	span := backoffFirst << min(failures-1, 10)
	span = min(span, backoffMost)
	return span/2 + rand.N(span/2)
}

// fault turns a note into the *Failure of a document's fetch; nil = the whole answer came with 200.
func (n *note) fault(what string, now time.Time) error {
	f := &Failure{Status: n.status, RetryAfter: retryAfter(n.retryAfter, now)}
	switch {
	case n.status == 0:
		f.Reason, f.text = oauth.UpstreamUnreachable, what+": "+netWords(n.err)
	case n.status == 429 || n.status >= 500:
		f.Reason, f.text = oauth.UpstreamError, fmt.Sprintf("%s: the provider answered %d", what, n.status)
	case n.status != 200:
		f.Reason, f.text = oauth.UpstreamConfig, fmt.Sprintf("%s: the provider answered %d", what, n.status)
	case n.tooLong:
		f.Reason, f.text = oauth.UpstreamBadAnswer, what+": the answer is too long"
	case n.err != nil:
		f.Reason, f.text = oauth.UpstreamUnreachable, what+": the answer broke off"
	default:
		return nil
	}
	return f
}
