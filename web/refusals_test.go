package web_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
	"hostedmcp/web"
)

// TestRefusalsKept: what refused something is remembered under its request id with what its log line says; what went
// well is not (protocol.md §8.4, group "normal").
func TestRefusalsKept(t *testing.T) {
	elsewhere := oauth.Fail(oauth.AccessDenied, oauth.AccessRule)
	elsewhere.Redirect = "https://sync.example.net/cb?error=access_denied&state=QUERY"
	ended := oauth.Fail(oauth.InvalidGrant, oauth.GrantEnded)
	ended.Ended = oauth.GrantIdle
	noting := func(reason oauth.Reason, err error) func(http.ResponseWriter, *http.Request) error {
		return func(_ http.ResponseWriter, r *http.Request) error {
			info := auth.Request(r.Context())
			info.Grant("g1", "client1", "hash1")
			info.Reason(reason)
			return err
		}
	}
	row := func(path string, handle func(http.ResponseWriter, *http.Request) error) auth.Endpoint {
		return auth.Endpoint{Path: path, Methods: []string{"GET"}, Handle: handle}
	}
	for _, c := range []struct {
		what, method, target string
		handle               func(http.ResponseWriter, *http.Request) error
		kept                 bool
	}{
		{"well", "GET", "/x", noting("", nil), false},
		{"a reason of the good ones", "GET", "/x", noting(oauth.RefreshSame, nil), false},
		{"another reason", "GET", "/x", noting(oauth.UpstreamInDoubt, nil), true},
		{"refused", "GET", "/x", noting("", oauth.Fail(oauth.InvalidGrant, oauth.RefreshReuse).Because(errors.New("CAUSE"))), true},
		{"ended before", "GET", "/x", noting("", ended), true},
		{"redirected", "GET", "/x", noting("", elsewhere), true},
		{"trouble", "GET", "/x", noting("", errors.New("disk full")), true},
		{"a fault", "GET", "/x", func(http.ResponseWriter, *http.Request) error { panic("fault") }, true},
		{"no such path", "GET", "/INVENTED", nil, true},
		{"no such method", "BREW", "/x", noting("", nil), true},
		{"answered by the endpoint itself", "GET", "/x", func(w http.ResponseWriter, r *http.Request) error {
			auth.Request(r.Context()).Reason(oauth.TokenMissing)
			w.WriteHeader(http.StatusUnauthorized)
			return nil
		}, true},
		{"and without a word", "GET", "/x", func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusConflict)
			return nil
		}, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			ring := web.NewRefusals(10)
			rows := handling()
			if c.handle != nil {
				rows = handling(row("/x", c.handle))
			}
			h := newHarness(t, rows, func(o *web.Options) { o.Refusals = ring })
			got := h.send(c.method, c.target+"?state=QUERY", "", "Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
			h.server.Close()
			found := ring.Find(got.Header.Get("X-Request-Id"))
			if !c.kept {
				if len(found)+len(ring.Recent(10)) != 0 {
					t.Errorf("kept: %+v", found)
				}
				return
			}
			if len(found) != 1 {
				t.Fatalf("found %d", len(found))
			}
			checkRefusal(t, found[0], h.log.String())
		})
	}
}

// checkRefusal holds what was remembered against the log line of the same request.
func checkRefusal(t *testing.T, f auth.Refusal, log string) {
	t.Helper()
	var line map[string]any
	lines := strings.Split(strings.TrimSpace(log), "\n") // a fault has a line of its own before
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var kept map[string]any
	if err := json.Unmarshal(data, &kept); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"request", "route", "method", "status", "oauth_error", "reason", "client", "grant", "subject", "address", "trace"} {
		if kept[key] != line[key] {
			t.Errorf("%s: %v, the log says %v", key, kept[key], line[key])
		}
	}
	if f.At.IsZero() || f.Trace == "" || f.Reason == "" {
		t.Errorf("incomplete: %+v", f)
	}
	for _, word := range []string{"QUERY", "INVENTED", "BREW", "CAUSE", "disk full"} {
		if strings.Contains(string(data), word) {
			t.Errorf("kept %s: %s", word, data)
		}
	}
}

// TestRefusalsWhateverTheLevel: what is not logged is remembered all the same.
func TestRefusalsWhateverTheLevel(t *testing.T) {
	ring := web.NewRefusals(0)
	h := newHarness(t, func(o *web.Options) {
		o.Refusals, o.Log = ring, web.NewLogger(web.LogConfig{Level: "error", Format: "json"}, io.Discard)
	})
	got := h.send("GET", "/nothing", "")
	h.server.Close()
	if len(ring.Find(got.Header.Get("X-Request-Id"))) != 1 {
		t.Error("not remembered")
	}
}

func refusal(id string) auth.Refusal { return auth.Refusal{Request: id, Reason: "csrf_failed"} }

func ids(list []auth.Refusal) string {
	var out []string
	for _, f := range list {
		out = append(out, f.Request)
	}
	return strings.Join(out, " ")
}

// TestRefusalsRing: the oldest makes room, and order survives the wrap.
func TestRefusalsRing(t *testing.T) {
	ring := web.NewRefusals(3)
	if ring.Recent(5) != nil || ring.Find("a") != nil || ring.Find("") != nil {
		t.Error("an empty ring found something")
	}
	for i, want := range []string{"a", "b a", "c b a", "d c b", "e d c", "f e d", "g f e"} {
		ring.Add(refusal(string(rune('a' + i))))
		if got := ids(ring.Recent(5)); got != want {
			t.Errorf("after %d: %q, want %q", i+1, got, want)
		}
	}
	if got := ids(ring.Recent(2)); got != "g f" {
		t.Errorf("the last two: %q", got)
	}
	if ring.Recent(0) != nil || ring.Recent(-1) != nil {
		t.Error("a limit of none")
	}
	if ids(ring.Find("e")) != "e" || ring.Find("d") != nil {
		t.Errorf("find: %v %v", ring.Find("e"), ring.Find("d"))
	}
	ring.Add(auth.Refusal{})
	if ring.Find("") != nil {
		t.Error("no id finds what has none")
	}
}

// TestRefusalsBounded: neither long texts nor short pieces of long requests keep memory.
func TestRefusalsBounded(t *testing.T) {
	const entries, each = 1000, 64 << 10
	ring := web.NewRefusals(entries)
	for i := range 2 * entries {
		long := fmt.Sprintf("%7d", i) + strings.Repeat("é", each/2) // the cut falls into a letter
		ring.Add(auth.Refusal{Request: long[:19], Route: long, Method: long[8:11], OAuthError: long, Reason: long, Client: long,
			Grant: long, Subject: long, Address: long[:7], Trace: long[8:40]})
	}
	var after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&after)
	if after.HeapAlloc > entries*each/4 {
		t.Errorf("%d KiB are held", after.HeapAlloc>>10)
	}
	for _, f := range ring.Recent(entries) {
		for _, s := range []string{f.Request, f.Route, f.OAuthError, f.Reason, f.Client, f.Grant, f.Subject} {
			if len(s) > 128 || !utf8.ValidString(s) {
				t.Fatalf("kept %q", s)
			}
		}
	}
	runtime.KeepAlive(ring)
}

// TestRefusalsTogether is for the race detector: requests write while an operator reads.
func TestRefusalsTogether(t *testing.T) {
	ring := web.NewRefusals(50)
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for i := range 200 {
				id := fmt.Sprintf("%d-%d", n, i)
				ring.Add(refusal(id))
				if len(ring.Recent(10)) == 0 || len(ring.Find(id)) > 1 {
					t.Error("the ring is out of order")
				}
			}
		})
	}
	all.Wait()
	if got := len(ring.Recent(100)); got != 50 {
		t.Errorf("%d remembered", got)
	}
}
