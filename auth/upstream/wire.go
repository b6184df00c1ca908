package upstream

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"hostedmcp/auth/oauth"
)

// maxBody is the longest answer read from the provider, in bytes (protocol.md §8.1 rule 4).
const maxBody = 64 << 10

// maxRetryAfter bounds what a Retry-After of the provider's can ask for.
const maxRetryAfter = time.Hour

// note is what the transport saw of one request: the facts that the verdict is made from.
type note struct {
	sent       atomic.Bool // the request may have reached the provider
	status     int         // 0 = no answer
	retryAfter string
	body       []byte
	most       int64 // longest body that is read; 0 = maxBody
	tooLong    bool  // the body is longer than that; body is empty then
	err        error // no answer, or it broke off
}

type noteKey struct{}

// noting returns a context whose next request fills n.
func noting(ctx context.Context, n *note) context.Context {
	return context.WithValue(ctx, noteKey{}, n)
}

// recorder is the transport under the library. It sends what it is given once, reads the whole answer within maxBody,
// and notes it.
type recorder struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	n, ok := req.Context().Value(noteKey{}).(*note)
	if !ok {
		n = new(note)
	}
	resp, err := t.send(req, n)
	if err != nil {
		n.err = err
		return nil, err
	}
	defer resp.Body.Close()
	n.status, n.retryAfter = resp.StatusCode, resp.Header.Get("Retry-After")
	most := cmp.Or(n.most, maxBody)
	n.body, n.err = io.ReadAll(io.LimitReader(resp.Body, most+1))
	// One byte more than allowed was asked for, to tell "exactly" from "more".
	if int64(len(n.body)) > most {
		n.body, n.tooLong = nil, true
	}
	if n.err != nil {
		return nil, n.err
	}
	resp.Body = io.NopCloser(bytes.NewReader(n.body))
	resp.ContentLength = int64(len(n.body))
	return resp, nil
}

// send tells "nothing sent" from "in doubt". Without a connection nothing was sent. From the moment one was handed
// over the request may have reached the provider, whatever failed later: a cancelled write goes on in the background
// for a moment. A transport that calls no hooks leaves every failure in doubt.
func (t recorder) send(req *http.Request, n *note) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	var connected atomic.Bool
	n.sent.Store(true)
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { n.sent.Store(connected.Load()) },
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true); n.sent.Store(true) },
	}
	once := req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	once.GetBody = nil // without it net/http cannot send the body a second time
	return t.next.RoundTrip(once)
}

// newClient never follows a redirect: a token goes to the configured provider or nowhere.
func newClient(given, own http.RoundTripper) *http.Client {
	if given == nil {
		given = own
	}
	return &http.Client{
		Transport:     recorder{given},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// freshTransport opens a connection for each request: a kept one may be closed by the provider while we write, which
// leaves a refresh token in doubt. HTTP/1.1 only, since HTTP/2 may repeat a request on its own.
func freshTransport(proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	t := keptTransport(proxy)
	t.DisableKeepAlives = true
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	return t
}

// keptTransport keeps connections for what may be asked again: metadata, keys, userinfo.
func keptTransport(proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Transport{
		Proxy:                  proxy,
		Protocols:              protocols,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    16,
		MaxResponseHeaderBytes: maxBody,
		DisableCompression:     true, // the limit counts what was sent, and no answer needs it
	}
}

// retryAfter reads a Retry-After of seconds or of a date (RFC 9110 §10.2.3); 0 = none, at most an hour.
func retryAfter(value string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// get fetches a document that may be fetched again. Only a 200 within maxBody is good.
func (p *Provider) get(ctx context.Context, what, address, bearer string) ([]byte, error) {
	var n note
	req, err := http.NewRequestWithContext(noting(ctx, &n), http.MethodGet, address, nil)
	if err != nil {
		return nil, failure(oauth.UpstreamConfig, what+": its address is not a URL")
	}
	req.Header.Set("Accept", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := p.read.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	return n.body, n.fault(what, p.now())
}
