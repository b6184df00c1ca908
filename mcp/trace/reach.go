package trace

// The connection. Everything later would fail with the same words if it is bad, so it is judged by itself, and what kind
// of fault it is decides which step is named.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"hostedmcp/auth/oauth"
)

// reach makes the first request, the one that the client opens with, without a token. A fault of TLS is no fault of
// reaching: it is kept for the step tls.
func (t *tracer) reach(ctx context.Context, s *Step) error {
	req, err := t.openingRequest()
	if err != nil {
		return err
	}
	t.open, err = t.do(ctx, req, nil)
	if isTLS(err) {
		t.handshake = err
		s.came("a connection")
		return nil
	}
	if err != nil {
		return err
	}
	s.came("%s %s: %d after %s", req.Method, withoutQuery(t.open.url), t.open.status, t.open.took.Round(time.Millisecond))
	if version := t.open.header.Get("Server"); version != "" {
		s.Came += " from " + version
	}
	return nil
}

// openingRequest is what the client begins with: initialize, server/discover, or a GET. As nobody in particular it is
// initialize, which every server knows in some way.
func (t *tracer) openingRequest() (*http.Request, error) {
	switch {
	case t.client.getFirst:
		return t.message(http.MethodGet, legacy, nil, "", "")
	case t.client.modern && t.as != "":
		return t.rpcRequest(modern, "server/discover", nil, "")
	}
	return t.rpcRequest(legacy, "initialize", t.initializeParams(), "")
}

// isTLS reports whether an error is one of the handshake or of the certificate. It goes by the words: neither alerts of
// the other side nor plain http where TLS should be have a type in crypto/tls and net/http.
func isTLS(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	return strings.Contains(text, "tls: ") || strings.Contains(text, "x509: ") ||
		strings.Contains(text, "server gave HTTP response to HTTPS client")
}

// checkTLS judges the connection of the first answer. Certificate and version were judged on the way to it: crypto/tls
// speaks nothing older than 1.2.
func (t *tracer) checkTLS(_ context.Context, s *Step) error {
	if t.handshake != nil {
		return t.handshake
	}
	state := t.open.tls
	if state == nil {
		s.came("plain http")
		if !oauth.IsLoopbackURL(t.target) {
			return errors.New("plain http beyond this computer: tokens can be read on the way")
		}
		return nil
	}
	s.came("%s", tls.VersionName(state.Version))
	if len(state.PeerCertificates) == 0 {
		return nil
	}
	leaf := state.PeerCertificates[0]
	s.Came += fmt.Sprintf(", certificate of %s until %s", leaf.Issuer.CommonName, leaf.NotAfter.UTC().Format(time.DateOnly))
	if left := leaf.NotAfter.Sub(t.now()); left < 14*24*time.Hour {
		s.warn("the certificate ends in %d days", int(left.Hours()/24))
	}
	return nil
}
