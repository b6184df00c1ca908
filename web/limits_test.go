package web_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostedmcp/auth"
	"hostedmcp/web"
)

// blink is short for a person and long enough for a machine to notice that it is over.
const blink = 50 * time.Millisecond

// hasty is a listener whose connections take the 30 s that a listener waits for a body (read) or a reader (write) for
// less; 0 = as long. Other deadlines stay.
type hasty struct {
	net.Listener
	read, write time.Duration
}

type hastyConn struct {
	net.Conn
	in *hasty
}

func (l *hasty) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return hastyConn{c, l}, err
}

func hurry(t time.Time, within time.Duration) time.Time {
	if d := time.Until(t); within > 0 && d > 25*time.Second && d <= 30*time.Second {
		return time.Now().Add(within)
	}
	return t
}

func (c hastyConn) SetReadDeadline(t time.Time) error {
	return c.Conn.SetReadDeadline(hurry(t, c.in.read))
}
func (c hastyConn) SetWriteDeadline(t time.Time) error {
	return c.Conn.SetWriteDeadline(hurry(t, c.in.write))
}

// on serves l on such a listener.
func (h hasty) on(t *testing.T, l web.Listener) string {
	t.Helper()
	var err error
	if h.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	l.Socket = &h
	_, address, _ := serving(t, l)
	return address
}

// patient runs f with a span that something must outlive, and again with a longer one if it did not: a busy machine
// loses a blink on its way from one line to the next. What is wrong is wrong with every span.
func patient(t *testing.T, f func(within time.Duration) error) {
	t.Helper()
	for within := blink; ; within *= 4 {
		err := f(within)
		if err == nil {
			return
		}
		if within > 3*time.Second {
			t.Fatal(err)
		}
	}
}

// dial connects; what never answers fails the test instead of holding it up.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

func newHandler(t *testing.T, rows ...auth.Endpoint) http.Handler {
	t.Helper()
	h, err := web.NewHandler(web.Options{Pages: newPages(t, publicSite()), Endpoints: append((&harness{}).rows(), rows...)})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestUnsentBody: a body that nobody wants is not waited for before the answer, and not for ever after it.
func TestUnsentBody(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	silent := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	public, large := newHandler(t), "\r\nContent-Type: "+form+"\r\nContent-Length: 65"
	for _, c := range []struct {
		what    string
		handler http.Handler
		request string // its first lines
		status  int
	}{
		{"404", public, "POST /nope HTTP/1.1\r\nContent-Length: 10", 404},
		{"405", public, "POST /jwks HTTP/1.1\r\nContent-Length: 10", 405},
		{"413", public, "POST /token HTTP/1.1" + large, 413},
		{"415", public, "POST /token HTTP/1.1\r\nContent-Length: 10", 415},
		{"preflight", public, "OPTIONS /token HTTP/1.1\r\nContent-Length: 10", 204},
		{"row without body", public, "GET / HTTP/1.1\r\nContent-Length: 10", 200},
		{"chunked", public, "GET / HTTP/1.1\r\nTransfer-Encoding: chunked", 200},
		{"expecting", public, "GET / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10", 200},
		{"HTTP/1.0", public, "GET / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 10", 200},
		{"metrics", web.MetricsHandler(prometheus.NewRegistry()), "GET /metrics HTTP/1.1\r\nContent-Length: 10", 200},
		{"metrics, 405", web.MetricsHandler(prometheus.NewRegistry()), "POST /metrics HTTP/1.1\r\nContent-Length: 10", 405},
		{"frame", web.Frame(nil, "demo", http.NotFoundHandler()), "GET / HTTP/1.1\r\nContent-Length: 10", 404},
		{"frame, nothing written", web.Frame(nil, "demo", silent), "GET / HTTP/1.1\r\nContent-Length: 10", 200},
		{"frame, body read", web.Frame(nil, "demo", echo), "POST / HTTP/1.1\r\nContent-Length: 10", 200},
	} {
		t.Run(c.what, func(t *testing.T) {
			conn := dial(t, hasty{read: blink}.on(t, web.Listener{Handler: c.handler}))
			io.WriteString(conn, c.request+"\r\nHost: mcp.example.com\r\n\r\n")
			got, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: c.request[:strings.Index(c.request, " ")]})
			if err != nil {
				t.Fatal(err)
			}
			if got.StatusCode != c.status || !got.Close {
				t.Errorf("%d, closes: %v", got.StatusCode, got.Close)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Errorf("the connection's end: %v", err)
			}
		})
	}
}

// TestAnswerBeforeBody: the answer does not wait for the body's time to run out.
func TestAnswerBeforeBody(t *testing.T) {
	silent := auth.Endpoint{Path: "/silent", Methods: []string{"POST"}, Handle: func(http.ResponseWriter, *http.Request) error { return nil }}
	h := newHarness(t, handling(silent), func(o *web.Options) { o.BodyTimeout = time.Hour })
	for path, status := range map[string]int{"/nope": 404, "/silent": 200} {
		conn := dial(t, h.server.Listener.Addr().String())
		io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
		if got, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || got.StatusCode != status {
			t.Errorf("%s: %v, %v", path, got, err)
		}
		conn.Close() // or the server would wait for the rest
	}
}

// TestKeptConnection: a body that was read leaves no deadline behind, on this request or the next.
func TestKeptConnection(t *testing.T) {
	patient(t, func(within time.Duration) error {
		slow := auth.Endpoint{Path: "/slow", Methods: []string{"POST"}, MaxBody: 10, Handle: func(w http.ResponseWriter, r *http.Request) error {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			select {
			case <-r.Context().Done():
				return r.Context().Err()
			case <-time.After(3 * within):
				_, err = w.Write(body)
				return err
			}
		}}
		conn := dial(t, hasty{read: within}.on(t, web.Listener{Handler: newHandler(t, slow)}))
		defer conn.Close()
		in := bufio.NewReader(conn)
		for _, body := range []string{"\r\nContent-Length: 3\r\n\r\none", "\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n", "\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nlast"} {
			io.WriteString(conn, "POST /slow HTTP/1.1\r\nHost: x"+body)
			resp, err := http.ReadResponse(in, nil)
			if err == nil && resp.StatusCode == 100 {
				resp, err = http.ReadResponse(in, nil)
			}
			if err != nil {
				return err
			}
			if got, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || resp.Close || !strings.Contains(body, string(got)) {
				return fmt.Errorf("%q: %d %q, closes %v, %v", body, resp.StatusCode, got, resp.Close, err)
			}
		}
		return nil
	})
}

// endless writes until nobody takes it, and tells.
func endless(contentType string, ended chan<- error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for chunk := make([]byte, 64<<10); ; {
			if _, err := w.Write(chunk); err != nil {
				ended <- err
				return
			}
		}
	})
}

// TestUnreadAnswer: a client that reads nothing is let go, whether the answer is ours or net/http's own.
func TestUnreadAnswer(t *testing.T) {
	t.Run("pipelined", func(t *testing.T) {
		for what, handler := range map[string]http.Handler{"public": newHandler(t), "metrics": web.MetricsHandler(prometheus.NewRegistry())} {
			conn := dial(t, hasty{write: blink}.on(t, web.Listener{Handler: handler}))
			request := []byte(strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 100))
			for {
				if _, err := conn.Write(request); err != nil {
					if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
						t.Errorf("%s: the connection is held", what)
					}
					break
				}
			}
		}
	})
	ended := make(chan error, 1)
	for what, handler := range map[string]http.Handler{
		"frame":              web.Frame(nil, "demo", endless("text/plain", ended)),
		"without a pipeline": endless("text/plain", ended), // what stands for answers of net/http itself
	} {
		t.Run(what, func(t *testing.T) {
			io.WriteString(dial(t, hasty{write: blink}.on(t, web.Listener{Handler: handler})), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			if err := <-ended; !isTimeout(err) {
				t.Errorf("the handler's end: %v", err)
			}
		})
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// TestStreamOutlivesAnswerTimeout: events are written as long as their endpoint lets them, and an answer may begin late,
// in both versions of HTTP.
func TestStreamOutlivesAnswerTimeout(t *testing.T) {
	for _, version := range []int{1, 2} {
		patient(t, func(within time.Duration) error {
			server := outliving(t, within)
			server.EnableHTTP2 = version == 2
			server.Config.WriteTimeout = within // as Bind's, which the pipeline lifts
			server.StartTLS()
			defer server.Close()
			for _, c := range []struct{ path, body, expect string }{{"/stream", "", ""}, {"/stream", "body", ""}, {"/stream", "body", "100-continue"}, {"/late", "", ""}} {
				req, err := http.NewRequest("POST", server.URL+c.path, strings.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				if c.expect != "" {
					req.Header.Set("Expect", c.expect)
				}
				resp, err := server.Client().Do(req)
				if err != nil {
					return fmt.Errorf("HTTP/%d %+v: %w", version, c, err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if string(got) != "whole" || err != nil || resp.ProtoMajor != version {
					return fmt.Errorf("HTTP/%d %+v: %q, %v", resp.ProtoMajor, c, got, err)
				}
			}
			return nil
		})
	}
}

// outliving has endpoints that take longer than any answer may.
func outliving(t *testing.T, within time.Duration) *httptest.Server {
	stream := auth.Endpoint{Path: "/stream", Methods: []string{"POST"}, MaxBody: 10, Handle: func(w http.ResponseWriter, r *http.Request) error {
		if _, err := io.ReadAll(r.Body); err != nil {
			return err
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		time.Sleep(3 * within)
		_, err := io.WriteString(w, "whole")
		return err
	}}
	late := auth.Endpoint{Path: "/late", Methods: []string{"POST"}, Handle: func(w http.ResponseWriter, r *http.Request) error {
		time.Sleep(3 * within)
		_, err := io.WriteString(w, "whole")
		return err
	}}
	h, err := web.NewHandler(web.Options{Pages: newPages(t, publicSite()), Endpoints: []auth.Endpoint{stream, late}, AnswerTimeout: within})
	if err != nil {
		t.Fatal(err)
	}
	return httptest.NewUnstartedServer(h)
}

// frame is one of HTTP/2 (RFC 9113 §4.1).
func frame(kind, flags byte, stream uint32, payload string) string {
	head := []byte{0, 0, byte(len(payload)), kind, flags, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[5:], stream)
	return string(head) + payload
}

const (
	preface     = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	getSlash    = "\x82\x84\x87\x41\x01x" // RFC 7541: GET, /, https, authority x
	windowZero  = "\x00\x04\x00\x00\x00\x00"
	windowLarge = "\x00\x04\x7f\xff\xff\xff"
)

func dialHTTP2(t *testing.T, address string) net.Conn {
	c := tls.Client(dial(t, address), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestClosedWindow: a client of HTTP/2 that opens no window for the answer loses its stream (RFC 9113 §6.9).
func TestClosedWindow(t *testing.T) {
	h, err := web.NewHandler(web.Options{Pages: newPages(t, publicSite()), AnswerTimeout: blink})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	c := dialHTTP2(t, server.Listener.Addr().String())
	io.WriteString(c, preface+frame(4, 0, 0, windowZero)+frame(1, 5, 1, getSlash))
	for head := make([]byte, 9); ; {
		if _, err := io.ReadFull(c, head); err != nil {
			t.Fatal("no RST_STREAM: ", err)
		}
		if head[3] == 3 {
			break
		}
		io.CopyN(io.Discard, c, int64(head[0])<<16|int64(head[1])<<8|int64(head[2]))
	}
}

// TestUnreadConnection: one that opens every window and reads nothing loses its connection, streams and all.
func TestUnreadConnection(t *testing.T) {
	dir := t.TempDir()
	cert, key := pair(t, "a.example")
	c := web.TLSConfig{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	write(t, c.CertFile, cert, 0o644)
	write(t, c.KeyFile, key, 0o600)
	certs, err := web.NewCertificates(c, nil, quiet)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	handler := web.Frame(nil, "demo", endless("text/event-stream", ended)) // a stream: no deadline of its own
	// The settings must get through as well: not a blink.
	conn := dialHTTP2(t, hasty{write: time.Second}.on(t, web.Listener{TLS: certs.Config(), Handler: handler}))
	// SETTINGS and a WINDOW_UPDATE of the whole connection
	io.WriteString(conn, preface+frame(4, 0, 0, windowLarge)+frame(8, 0, 0, "\x7f\xff\x00\x00")+frame(1, 5, 1, getSlash))
	if err := <-ended; err == nil {
		t.Error("written to nobody")
	}
}
