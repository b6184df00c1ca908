package auth

import (
	"context"
	"log/slog"
	"sync"

	"hostedmcp/auth/oauth"
)

// RequestInfo is what one HTTP request is known by: made by the request pipeline, carried in the context, annotated
// on the way down, and written as one log line at the end. Safe for concurrent use.
type RequestInfo struct {
	ID      string // our own, 130 random bits; every answer, page and journal event names it
	Address string // the client's address, after trusted proxies; "" when limits do not apply to it
	Trace   string // trace id of an incoming traceparent (W3C Trace Context), only logged

	mu    sync.Mutex
	notes notes
}

// notes are what the way down has found out so far.
type notes struct {
	grant, client, subject string
	reason                 oauth.Reason
	code                   oauth.Code
	cause                  error
}

type requestKey struct{}

// WithRequest returns a context that carries info. The pipeline makes one for each request; work in the background
// keeps it, so that its journal events name the request that caused them.
func WithRequest(ctx context.Context, info *RequestInfo) context.Context {
	return context.WithValue(ctx, requestKey{}, info)
}

// Request returns the RequestInfo of ctx, or a fresh empty one: never nil. What is noted in the empty one is lost:
// work that no request caused has nobody to tell.
func Request(ctx context.Context) *RequestInfo {
	if info, ok := ctx.Value(requestKey{}).(*RequestInfo); ok {
		return info
	}
	return &RequestInfo{}
}

// Grant notes which grant and client the request turned out to be for; subject is hashed for logs
// (the label log-subject). Empty values leave what was noted before.
func (i *RequestInfo) Grant(grant, client, subject string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, f := range []struct {
		to   *string
		from string
	}{{&i.notes.grant, grant}, {&i.notes.client, client}, {&i.notes.subject, subject}} {
		if f.from != "" {
			*f.to = f.from
		}
	}
}

// Reason notes why the request was answered as it was; the last one said wins.
func (i *RequestInfo) Reason(r oauth.Reason) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.notes.reason = r
}

// Fail notes an error answer: its code, reason and, for the log alone, its cause.
func (i *RequestInfo) Fail(e *oauth.Error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.notes.code, i.notes.reason, i.notes.cause = e.Code, e.Reason, e.Cause
	// how the grant ended says more than that it has
	if e.Ended != "" {
		i.notes.reason = e.Ended
	}
}

// Noted returns the reason of the answer, oauth.OK when none was noted.
func (i *RequestInfo) Noted() oauth.Reason {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.notes.reason == "" {
		return oauth.OK
	}
	return i.notes.reason
}

// LogAttrs returns what was noted, for the log line at the request's end. Empty notes are left out.
func (i *RequestInfo) LogAttrs() []slog.Attr {
	i.mu.Lock()
	// a copy, so that the lock is not held while the line is built
	n := i.notes
	i.mu.Unlock()
	out := []slog.Attr{slog.String("request", i.ID)}
	for _, f := range []struct{ key, value string }{
		{"trace", i.Trace}, {"address", i.Address}, {"grant", n.grant}, {"client", n.client},
		{"subject", n.subject}, {"oauth_error", string(n.code)},
	} {
		if f.value != "" {
			out = append(out, slog.String(f.key, f.value))
		}
	}
	if n.cause != nil {
		out = append(out, slog.String("cause", n.cause.Error()))
	}
	return append(out, slog.String("reason", string(i.Noted())))
}
