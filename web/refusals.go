package web

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

// A refusal is written to no disk, since anybody can cause as many as they like; most never come to a grant, whose
// journal could hold them. A memory of the last ones answers "what became of this request?" (`hostedmcp explain`).

// maxRefusalText bounds each text of a kept refusal, in bytes: room for the address of a metadata document, none for a
// body.
const maxRefusalText = 128

// Refusals remembers the last answers that refused something: status 400 or above, or a reason that is not one of the
// good ones. It is a ring: the oldest makes room. The memory is bounded by the number of entries times a few hundred
// bytes, whatever is sent. Safe for concurrent use; it starts empty with each process.
type Refusals struct {
	limit int

	mu   sync.Mutex
	ring []auth.Refusal // grows to limit, then is written around
	next int            // where the next one goes once the ring is full
}

// NewRefusals returns a ring of n refusals; n below 1 means 10,000 (design.md §4).
func NewRefusals(n int) *Refusals {
	if n < 1 {
		n = 10_000
	}
	return &Refusals{limit: n}
}

// Add remembers f in place of the oldest. Texts are cut, and copied: a few letters of a request would keep all of it in
// memory.
func (r *Refusals) Add(f auth.Refusal) {
	for _, s := range []*string{&f.Request, &f.Route, &f.Method, &f.OAuthError, &f.Reason, &f.Client, &f.Grant, &f.Subject, &f.Address, &f.Trace} {
		*s = short(*s)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ring) < r.limit {
		r.ring = append(r.ring, f)
		return
	}
	r.ring[r.next] = f
	r.next = (r.next + 1) % r.limit
}

// short copies at most maxRefusalText bytes of s, and no half of a letter at the end.
func short(s string) string {
	if len(s) > maxRefusalText {
		end := maxRefusalText
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	return strings.Clone(s)
}

// note keeps an answer that refused something. It reads what the log line reads, so that both tell the same.
func (r *Refusals) note(line []slog.Attr, reason oauth.Reason, status int) {
	if r == nil || status < 400 && reason.Group() == oauth.GroupNormal {
		return
	}
	f := auth.Refusal{At: time.Now().Round(0), Status: status}
	for _, a := range line {
		if to := field(&f, a.Key); to != nil {
			*to = a.Value.String()
		}
	}
	r.Add(f)
}

// field is where an attribute of the log line goes; nil for those that a refusal does not keep: bytes and duration help
// nobody later, and a cause may name what only the log's readers may see.
func field(f *auth.Refusal, key string) *string {
	switch key {
	case "request":
		return &f.Request
	case "route":
		return &f.Route
	case "method":
		return &f.Method
	case "oauth_error":
		return &f.OAuthError
	case "reason":
		return &f.Reason
	case "client":
		return &f.Client
	case "grant":
		return &f.Grant
	case "subject":
		return &f.Subject
	case "address":
		return &f.Address
	case "trace":
		return &f.Trace
	}
	return nil
}

// Find returns what is remembered of a request id, the latest first; nil if nothing is. Those that came to a grant are
// among them.
func (r *Refusals) Find(request string) []auth.Refusal {
	return r.collect(r.limit, func(f auth.Refusal) bool { return request != "" && f.Request == request })
}

// Recent returns the last refusals, the latest first, at most limit; none for a limit below 1.
func (r *Refusals) Recent(limit int) []auth.Refusal {
	return r.collect(limit, func(auth.Refusal) bool { return true })
}

// collect walks from the latest to the oldest: down to the start of the slice, then down to where the next one goes.
func (r *Refusals) collect(limit int, wanted func(auth.Refusal) bool) []auth.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []auth.Refusal
	for _, part := range [][]auth.Refusal{r.ring[:r.next], r.ring[r.next:]} {
		for _, f := range slices.Backward(part) {
			if len(out) >= limit {
				return out
			}
			if wanted(f) {
				out = append(out, f)
			}
		}
	}
	return out
}
