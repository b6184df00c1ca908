package cimd_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"hostedmcp/auth/cimd"
)

// protocol.md §9: cimd_per_host_per_minute. Ports and paths of a host share it, other hosts do not.
func TestPerHost(t *testing.T) {
	n := newNetwork(t)
	n.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })
	n.point("other.example", "127.0.0.1")
	f := n.fetcher(cimd.Config{PerHostPerMinute: 2})
	try := func(id string, want error, hits int32) {
		t.Helper()
		if _, err := n.fetch(f, id, nil, hits); !errors.Is(err, want) {
			t.Errorf("%s: %v", id, err)
		}
	}
	try(n.url("client.example", "/1"), cimd.ErrFailed, 1)
	try(n.url("client.example", "/2"), cimd.ErrFailed, 2)
	try(n.url("client.example", "/3"), cimd.ErrBusy, 2)
	try("https://client.example:1/3", cimd.ErrBusy, 2)
	try(n.url("other.example", "/1"), cimd.ErrFailed, 3)
	// Being busy is not remembered as the document's failure.
	n.advance(30 * time.Second)
	try(n.url("client.example", "/3"), cimd.ErrFailed, 4)
	try(n.url("client.example", "/4"), cimd.ErrBusy, 4)
}

// While busy, a copy serves.
func TestBusyServesCopy(t *testing.T) {
	n := newNetwork(t)
	id := n.url("client.example", "/meta")
	n.serveDocument(document(id, ""))
	f := n.fetcher(cimd.Config{PerHostPerMinute: 1, Stale: time.Hour})
	good, err := n.fetch(f, id, nil, 1)
	n.must(err)
	n.advance(time.Minute)
	_, _ = n.fetch(f, n.url("client.example", "/other"), nil, 2) // spends the host's budget
	if doc, err := n.fetch(f, id, nil, 2); err != nil || doc.Name != good.Name {
		t.Errorf("%+v, %v", doc, err)
	}
}

// Hosts by the thousand do not fill the memory: those with a whole budget are forgotten, else all wait.
func TestManyHosts(t *testing.T) {
	n := newNetwork(t)
	f := n.fetcher(cimd.Config{PerHostPerMinute: 1})
	for i := range 1000 {
		if _, err := f.Fetch(t.Context(), fmt.Sprintf("https://h%d.example/x", i), nil); !errors.Is(err, cimd.ErrFailed) {
			t.Fatalf("host %d: %v", i, err)
		}
	}
	if _, err := f.Fetch(t.Context(), "https://one-more.example/x", nil); !errors.Is(err, cimd.ErrBusy) {
		t.Errorf("one more: %v", err)
	}
	n.advance(time.Minute)
	if _, err := f.Fetch(t.Context(), "https://one-more.example/x", nil); !errors.Is(err, cimd.ErrFailed) {
		t.Errorf("a minute later: %v", err)
	}
}

// protocol.md §9: cimd_parallel. Who gets no slot in time is told so, nothing goes out for it, and the URL is not to blame.
func TestParallel(t *testing.T) {
	n := newNetwork(t)
	release := make(chan struct{})
	n.serve(func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	f := n.fetcher(cimd.Config{Parallel: 1, Timeout: 300 * time.Millisecond})
	errs := make(chan error)
	// The slot comes free once or twice while these wait: most of them must go without.
	for i := range 7 {
		go func() {
			_, err := f.Fetch(t.Context(), n.url("client.example", fmt.Sprintf("/%d", i)), nil)
			errs <- err
		}()
	}
	failed, busy := 0, 0
	for range 7 {
		switch err := <-errs; {
		case errors.Is(err, cimd.ErrBusy):
			busy++
		case errors.Is(err, cimd.ErrFailed):
			failed++
		default:
			t.Error(err)
		}
	}
	// On a busy machine the time of one with a slot may be over before its request is out.
	if busy == 0 || failed == 0 || int(n.hits.Load()) > failed {
		t.Errorf("%d busy, %d failed, %d requests", busy, failed, n.hits.Load())
	}
}
