package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"hostedmcp/auth/oauth"
)

// Failure is why the provider could not be used. Its text is our own: it may be logged, it holds no token and nothing
// that the provider wrote.
type Failure struct {
	Reason     oauth.Reason
	RetryAfter time.Duration // when the next attempt makes sense; 0 = not known
	Status     int           // the provider's HTTP status; 0 = no answer
	text       string
}

// Error returns the line for the log.
func (f *Failure) Error() string { return string(f.Reason) + ": " + f.text }

func failure(reason oauth.Reason, text string) *Failure { return &Failure{Reason: reason, text: text} }

// netWords says in our own words why no answer came. A network error may quote bytes of the answer.
func netWords(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case err == nil:
		return "no request was made"
	case errors.Is(err, context.Canceled):
		return "the call was cancelled"
	case errors.As(err, &dns):
		return "its name does not resolve"
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to it"
	}
	if words := tlsWords(err); words != "" {
		return words
	}
	return "the connection broke"
}

// tlsWords names the faults of a certificate, which only an operator can mend.
func tlsWords(err error) string {
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &host):
		return "its certificate is for another name"
	case errors.As(err, &authority):
		return "its certificate is signed by an authority that this system does not know"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired"
	case errors.As(err, &invalid):
		return "its certificate is not acceptable"
	case errors.As(err, &record):
		return "it does not speak TLS on this port"
	}
	return ""
}
