package trace

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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

// isTLS reports whether an error is one of the handshake or of the certificate.
func isTLS(err error) bool {
	var (
		verify *tls.CertificateVerificationError
		record tls.RecordHeaderError
		alert  tls.AlertError
		host   x509.HostnameError
		by     x509.UnknownAuthorityError
		cert   x509.CertificateInvalidError
	)
	// net/http has no type for plain http where TLS should be
	plain := err != nil && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
	return plain || errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &host) ||
		errors.As(err, &by) || errors.As(err, &cert)
}

// checkTLS judges the connection of the first answer. The certificate itself was verified on the way to it.
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
	if state.Version < tls.VersionTLS12 {
		return fmt.Errorf("%s", tls.VersionName(state.Version))
	}
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
