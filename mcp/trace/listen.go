package trace

// The loopback listener of a native program (RFC 8252 §7.3). Any local program may call it: what comes is judged by
// state and iss, and nothing of it is repeated in the answer.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// listener takes the answer of the authorization server (RFC 8252 §7.3).
type listener struct {
	server *http.Server
	got    chan url.Values
}

// thanks is what the person sees then. It repeats nothing of the request.
const thanks = "hostedmcp trace has the answer. You can close this page.\n"

// fixedPort puts a port in the place of "any", for a redirect URI at which nobody listens.
func fixedPort(redirect string) string { return strings.Replace(redirect, ":0/", ":33418/", 1) }

// listen opens the redirect URI, unless nobody waits there. It comes before everything else: the port is part of what
// is registered.
func (t *tracer) listen() error {
	t.redirect = t.client.redirect
	if c := t.options.callback; c != "" && c != "none" {
		t.redirect = c
	}
	u, err := url.Parse(t.redirect)
	if err != nil {
		return fmt.Errorf("callback: %w", err)
	}
	if t.noLogin || t.options.callback == "none" || !oauth.IsLoopbackURL(fixedPort(t.redirect)) {
		t.redirect = fixedPort(t.redirect)
		return nil
	}
	// localhost may be either family: browsers try both, 127.0.0.1 is what every system has.
	host := u.Hostname()
	if host == "localhost" {
		host = "127.0.0.1"
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, or(u.Port(), "80")))
	if err != nil {
		return fmt.Errorf("wait for the answer at %s: %w (choose another with -callback)", t.redirect, err)
	}
	u.Host = net.JoinHostPort(u.Hostname(), fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
	t.redirect = u.String()
	t.listener = newListener(l)
	return nil
}

// newListener takes an answer at any path: which one was registered is known later.
func newListener(l net.Listener) *listener {
	in := &listener{got: make(chan url.Values, 1)}
	in.server = &http.Server{ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 64 << 10, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			if r.Method != http.MethodGet || !q.Has("code") && !q.Has("error") {
				http.NotFound(w, r) // browsers ask for an icon too
				return
			}
			select {
			case in.got <- q:
			default: // the first answer counts; a browser may repeat it
			}
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Referrer-Policy", "no-referrer")
			_, _ = io.WriteString(w, thanks)
		})}
	go func() { _ = in.server.Serve(l) }() // ends with close
	return in
}

// wait returns the parameters of the first answer.
func (l *listener) wait(ctx context.Context, limit time.Duration) (url.Values, error) {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case q := <-l.got:
		return q, nil
	case <-late.C:
		return nil, fmt.Errorf("no answer within %s: nobody signed in, or the browser stopped at an error page", limit)
	case <-ctx.Done():
		return nil, errors.New("interrupted")
	}
}

// close lets the answer to the browser leave first.
func (l *listener) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if l.server.Shutdown(ctx) != nil {
		_ = l.server.Close()
	}
}
