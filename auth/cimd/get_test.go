package cimd_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hostedmcp/auth/cimd"
)

func TestRequest(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta?v=%7e1")
	var got *http.Request
	n.serve(func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(r.Context())
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Set-Cookie", "a=b")
		_, _ = io.WriteString(w, document(id, `,"client_uri":"https://client.example/about"`))
	})
	f := n.fetcher(cimd.Config{})
	doc, err := f.Fetch(t.Context(), id, nil)
	if err != nil {
		t.Fatal(err)
	}
	if doc.ClientID != id || doc.Name != "Test Client" || doc.URI != "https://client.example/about" || len(doc.RedirectURIs) != 1 ||
		doc.BuiltIn || !doc.Fetched.Equal(n.clock()) {
		t.Errorf("document %+v", doc)
	}
	if got.Method != http.MethodGet || got.RequestURI != "/meta?v=%7e1" || got.ContentLength != 0 {
		t.Errorf("request %s %s", got.Method, got.RequestURI)
	}
	for name, want := range map[string]string{"Accept-Encoding": "identity", "Accept": "application/json", "Cookie": "", "Authorization": "", "Referer": "", "If-None-Match": ""} {
		if got.Header.Get(name) != want {
			t.Errorf("%s: %q", name, got.Header.Get(name))
		}
	}
	n.advance(2 * time.Hour)
	if _, err := f.Fetch(t.Context(), id, nil); err != nil || got.Header.Get("Cookie") != "" {
		t.Errorf("second request: %v, cookie %q", err, got.Header.Get("Cookie"))
	}
}

// protocol.md §3.3: 200 and JSON only, not encoded; anything else is "not fetched".
func TestAnswers(t *testing.T) {
	for _, row := range []struct {
		what    string
		status  int
		headers []string
		ok      bool
	}{
		{"JSON", 200, []string{"Content-Type", "application/json"}, true},
		{"JSON with a parameter", 200, []string{"Content-Type", "Application/JSON;charset=UTF-8"}, true},
		{"RFC 6839 structured suffix", 200, []string{"Content-Type", "application/oauth-client+json"}, true},
		{"identity", 200, []string{"Content-Type", "application/json", "Content-Encoding", "identity"}, true},
		{"no type", 200, []string{"Content-Type", ""}, false},
		{"HTML", 200, []string{"Content-Type", "text/html"}, false},
		{"text", 200, []string{"Content-Type", "text/json"}, false},
		{"not quite JSON", 200, []string{"Content-Type", "application/jsonx"}, false},
		{"suffix of another tree", 200, []string{"Content-Type", "image/x+json"}, false},
		{"two types", 200, []string{"Content-Type", "text/html, application/json"}, false},
		{"broken type", 200, []string{"Content-Type", "application/json; ="}, false},
		{"encoded", 200, []string{"Content-Type", "application/json", "Content-Encoding", "gzip"}, false},
		{"201", 201, []string{"Content-Type", "application/json"}, false},
		{"203", 203, []string{"Content-Type", "application/json"}, false},
		{"206", 206, []string{"Content-Type", "application/json"}, false},
		{"not asked for 304", 304, []string{"Content-Type", "application/json", "ETag", `"x"`}, false},
		{"403", 403, []string{"Content-Type", "application/json"}, false},
		{"404", 404, []string{"Content-Type", "application/json"}, false},
		{"500", 500, []string{"Content-Type", "application/json"}, false},
	} {
		n := newNetwork(t)
		id := n.url("client.example", "/meta")
		n.serve(func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(row.headers); i += 2 {
				w.Header()[row.headers[i]] = []string{row.headers[i+1]}
			}
			w.WriteHeader(row.status)
			_, _ = io.WriteString(w, document(id, ""))
		})
		_, err := n.fetcher(cimd.Config{}).Fetch(t.Context(), id, nil)
		if row.ok && err != nil || !row.ok && !errors.Is(err, cimd.ErrFailed) {
			t.Errorf("%s: %v", row.what, err)
		}
	}
}

func TestRedirectsNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		n := newNetwork(t)
		id := n.url("client.example", "/meta")
		n.serve(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if r.URL.Path == "/meta" {
				w.Header().Set("Location", "/other")
				w.WriteHeader(status)
			}
			_, _ = io.WriteString(w, document(id, ""))
		})
		if _, err := n.fetcher(cimd.Config{}).Fetch(t.Context(), id, nil); !errors.Is(err, cimd.ErrFailed) || n.hits.Load() != 1 {
			t.Errorf("%d: %v after %d requests", status, err, n.hits.Load())
		}
	}
}

func TestSizeLimit(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	body := document(id, "")
	for limit, ok := range map[int]bool{len(body): true, len(body) - 1: false} {
		for _, chunked := range []bool{false, true} {
			n.serve(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if chunked {
					w.(http.Flusher).Flush()
				}
				_, _ = io.WriteString(w, body)
			})
			_, err := n.fetcher(cimd.Config{MaxBytes: int64(limit)}).Fetch(t.Context(), id, nil)
			if (err == nil) != ok || !ok && !errors.Is(err, cimd.ErrFailed) {
				t.Errorf("limit %d, chunked %v: %v", limit, chunked, err)
			}
		}
	}
}

// A body without end is left after the limit: the server sees its connection close long before it has sent much.
func TestEndlessBody(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	var sent atomic.Int64
	left := make(chan struct{})
	n.serve(func(w http.ResponseWriter, _ *http.Request) {
		defer close(left)
		w.Header().Set("Content-Type", "application/json")
		chunk := bytes.Repeat([]byte(" "), 32<<10)
		for sent.Load() < 1<<30 {
			size, err := w.Write(chunk)
			sent.Add(int64(size))
			if err != nil {
				return
			}
		}
	})
	_, err := n.fetcher(cimd.Config{}).Fetch(t.Context(), id, nil)
	<-left
	if !errors.Is(err, cimd.ErrFailed) || sent.Load() >= 1<<30 {
		t.Errorf("%v after %d bytes", err, sent.Load())
	}
}

// An encoding that was not asked for is not undone: no small answer unfolds.
func TestCompressedBody(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, document(id, ""))
	z.Close()
	for _, header := range []string{"gzip", ""} {
		n.serveDocument(packed.String(), "Content-Encoding", header)
		if _, err := n.fetcher(cimd.Config{}).Fetch(t.Context(), id, nil); err == nil {
			t.Errorf("Content-Encoding %q: accepted", header)
		}
	}
}

// The time runs over everything: handshake, headers, body.
func TestTimeout(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	release := make(chan struct{})
	silent := func(w http.ResponseWriter, _ *http.Request) { <-release }
	halfway := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"client_id":`)
		w.(http.Flusher).Flush()
		<-release
	}
	for what, h := range map[string]http.HandlerFunc{"no headers": silent, "half a body": halfway} {
		n.serve(h)
		_, err := n.fetcher(cimd.Config{Timeout: 100 * time.Millisecond}).Fetch(t.Context(), id, nil)
		if !errors.Is(err, cimd.ErrFailed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	close(release)
	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never speaks TLS
	n.must(err)
	defer mute.Close()
	_, port, _ := net.SplitHostPort(mute.Addr().String())
	_, err = n.fetcher(cimd.Config{Timeout: 100 * time.Millisecond}).Fetch(t.Context(), "https://client.example:"+port+"/meta", nil)
	if !errors.Is(err, cimd.ErrFailed) {
		t.Errorf("no handshake: %v", err)
	}
}

// What does not even speak HTTP must not get its words into our log.
func TestErrorsHoldNothingOfTheAnswer(t *testing.T) {
	for _, reply := range []string{
		"SENTINEL\r\n\r\n",
		"HTTP/1.1 SENTINEL\r\n\r\n",
		"HTTP/1.1 200 OK\r\nSENTINEL\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: SENTINEL\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: SENTINEL\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nSENTINEL",
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nSENTINEL\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\nSENTINEL",
		"HTTP/1.1 200 OK\r\nContent-Type: SENTINEL/SENTINEL\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 404 SENTINEL\r\nContent-Length: 0\r\n\r\n",
	} {
		n := newNetwork(t)
		cert := n.certificate()
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
		n.must(err)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, reply)
			conn.Close()
		}()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		_, err = n.fetcher(cimd.Config{}).Fetch(t.Context(), "https://client.example:"+port+"/meta", nil)
		if err == nil || strings.Contains(err.Error()+n.log.String(), "SENTINEL") {
			t.Errorf("%q: %v", reply, err)
		}
		l.Close()
	}
}
