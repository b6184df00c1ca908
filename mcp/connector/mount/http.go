package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"hostedmcp/mcp/connector"
)

// This file sends single HTTP requests (MCP "Streamable HTTP", "Sending messages to the server").

// Why an HTTP answer cannot be used.
var (
	errMedia    = errors.New("an answer of another media type")
	errNoAnswer = errors.New("an answer that broke off")
	errSession  = errors.New("a session id that is none")
)

// newTransport returns the way to one connector. It asks no proxy, whatever the environment names, and unpacks nothing,
// so that limits count what came over the wire. There is no http.Client around it: nobody follows a redirect, so that no
// credential goes where the configuration does not say, nor keeps a cookie.
func newTransport(timeout time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: min(timeout, 10*time.Second), KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: nil, DialContext: dialer.DialContext, ForceAttemptHTTP2: true, DisableCompression: true,
		TLSHandshakeTimeout: 10 * time.Second, MaxIdleConns: 256, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// header is what a request on a link carries besides what do sets: built anew, nothing of the client's own. It returns
// the credential that is in it too.
func (s *source) header(ctx context.Context, l *link, from *connector.Call) (http.Header, connector.Credential, error) {
	h := make(http.Header, 16)
	h.Set("User-Agent", "hostedmcp/"+s.version)
	credential, err := s.credential(ctx, from)
	if err != nil {
		return nil, connector.Credential{}, err
	}
	if credential.Header != "" && credential.Value != "" {
		h.Set(credential.Header, credential.Value.Reveal())
		l.secrets.note(credential.Value)
	}
	if from != nil {
		connector.SetIdentity(h, from.User)
	}
	return h, credential, nil
}

// credential returns what a request carries now: a renewed token is used from the next request on.
func (s *source) credential(ctx context.Context, from *connector.Call) (connector.Credential, error) {
	switch s.cfg.Credential {
	case connector.CredentialStatic:
		if s.http == nil {
			return connector.Credential{}, nil // in the child's environment
		}
		return connector.Credential{Header: s.cfg.CredentialHeader(), Value: s.secret}, nil
	case connector.CredentialUser, connector.CredentialExchange:
		if from != nil && from.Credential != nil {
			return from.Credential(ctx)
		}
	}
	return connector.Credential{}, nil
}

// do sends one HTTP request and returns the answer if its status is 2xx, or an error answer that holds JSON: the
// caller closes its body. sent says whether the server may have got it.
func (s *source) do(ctx context.Context, method string, header http.Header, body []byte) (resp *http.Response, sent bool, err error) {
	for range 5 {
		resp, sent, err = s.once(ctx, method, header, body)
		// net/http may hand on the cancellation of the request that had the connection before. Nothing was written.
		if sent || ctx.Err() != nil || !errors.Is(err, context.Canceled) {
			break
		}
	}
	if err != nil {
		return nil, sent, unreachable{err}
	}
	if resp.StatusCode/100 == 2 || resp.StatusCode/100 == 4 && mediaType(resp) == mediaJSON && isFault(resp.StatusCode) {
		return resp, true, nil
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection can be used again
	_ = resp.Body.Close()
	return nil, true, refusal{code: resp.StatusCode}
}

// once is one attempt of do.
func (s *source) once(ctx context.Context, method string, header http.Header, body []byte) (*http.Response, bool, error) {
	var wrote atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
	req := s.request.WithContext(ctx)
	req.Method, req.Header = method, header
	if len(body) > 0 {
		// by the second one a request is sent anew that met a connection which the server had just closed
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body, _ = req.GetBody()
		req.ContentLength = int64(len(body))
	}
	resp, err := s.http.RoundTrip(req)
	return resp, wrote.Load(), err
}

// discard reads the rest of an answered stream, so that its connection can be used again, and ends the request.
func (s *source) discard(body io.ReadCloser, cancel context.CancelCauseFunc) {
	begun := s.spawn(func() {
		late := time.AfterFunc(time.Second, func() { _ = body.Close() })
		_, _ = io.CopyN(io.Discard, body, 64<<10)
		late.Stop()
		_ = body.Close()
		cancel(nil)
	})
	if !begun {
		_ = body.Close()
		cancel(nil)
	}
}

// isFault reports whether a 4xx may carry a JSON-RPC error: those that speak of credentials and limits do not, whatever
// their body.
func isFault(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		return false
	}
	return true
}

// Media types of answers.
const (
	mediaJSON   = "application/json"
	mediaStream = "text/event-stream"
)

func mediaType(resp *http.Response) string {
	switch t := resp.Header.Get("Content-Type"); t {
	case mediaJSON, mediaStream:
		return t
	}
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// limited reads the body of an answer, which must not be longer than limit.
func limited(resp *http.Response, limit int64) ([]byte, error) {
	var data bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= limit {
		data.Grow(int(min(n, 64<<10)) + bytes.MinRead) // so that it need not grow to see the end
	}
	if _, err := data.ReadFrom(io.LimitReader(resp.Body, limit+1)); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	if int64(data.Len()) > limit {
		return nil, errTooLong
	}
	return data.Bytes(), nil
}
