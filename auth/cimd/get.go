package cimd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// How long an answer counts as fresh, whatever its host says.
const (
	minFresh = time.Minute
	maxFresh = 24 * time.Hour
)

// maxETag bounds what of a stranger's header we store and send back.
const maxETag = 256

// answer is what a host said. With unchanged the body is that of the last time.
type answer struct {
	body      []byte
	etag      string
	fresh     time.Duration
	unchanged bool
}

// get asks for the document once. etag may be "".
func (f *Fetcher) get(ctx context.Context, clientID, etag string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, clientID, nil)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrFailed, err)
	}
	req.Header.Set("Accept", "application/json")
	// Asked for by ourselves it also keeps the transport from undoing an encoding: nothing small unfolds.
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "hostedmcp")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	// A bare round trip: no redirects, no cookies (draft §4: the server must not follow redirects).
	resp, err := f.transport.RoundTrip(req)
	if err != nil {
		return answer{}, networkError(err)
	}
	defer resp.Body.Close()
	a := answer{fresh: freshness(resp.Header), etag: cleanETag(resp.Header.Get("ETag"))}
	if resp.StatusCode == http.StatusNotModified && etag != "" {
		a.unchanged, a.etag = true, etag
		return a, nil
	}
	if err := checkHead(resp); err != nil {
		return answer{}, err
	}
	a.body, err = readAtMost(resp.Body, f.cfg.MaxBytes)
	return a, err
}

// networkError tells blocked from unreachable. Only the log may see the difference: a stranger who sees it can map
// our network. Errors of reading an answer are not passed on, since they quote it.
func networkError(err error) error {
	var (
		network *net.OpError
		name    *net.DNSError
		proxy   proxyError
		cert    *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, errAddress):
		return fmt.Errorf("%w: %w", ErrBlocked, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrFailed, context.DeadlineExceeded)
	case errors.As(err, &network), errors.As(err, &name), errors.As(err, &proxy), errors.As(err, &cert):
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return fmt.Errorf("%w: no readable answer", ErrFailed)
}

// checkHead wants 200, JSON (RFC 8259 §11, RFC 6839 §3.1) and no encoding, as asked.
func checkHead(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: status %d", ErrFailed, resp.StatusCode)
	}
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	structured := strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
	if err != nil || media != "application/json" && !structured {
		return fmt.Errorf("%w: the answer is not JSON", ErrFailed)
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return fmt.Errorf("%w: the answer is encoded", ErrFailed)
	}
	return nil
}

// readAtMost never reads more than one byte beyond limit, whatever Content-Length says.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, networkError(err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrFailed, limit)
	}
	return body, nil
}

// freshness returns max-age (RFC 9111 §5.2.2.1) within our bounds; a host that sets none, or forbids caching, is
// still asked only once a minute.
func freshness(h http.Header) time.Duration {
	var fresh time.Duration
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return minFresh
		case "max-age":
			seconds, err := strconv.ParseUint(value, 10, 31)
			if err == nil {
				fresh = time.Duration(seconds) * time.Second
			}
		}
	}
	return min(max(fresh, minFresh), maxFresh)
}

// cleanETag returns "" for a tag that we would not send back (RFC 9110 §8.8.3).
func cleanETag(tag string) string {
	if len(tag) > maxETag || strings.ContainsFunc(tag, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return tag
}
