package auth

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"hostedmcp/auth/oauth"
)

// maxAddresses bounds a limiter's memory. At the bound a quarter goes at once, or a flood from a whole network would
// cost a walk over all of them with every request; full buckets go first: they limit nobody.
const (
	maxAddresses  = 20_000
	keptAddresses = maxAddresses * 3 / 4
)

// limiter allows so many events per address and time. The empty address (a proxy on this host that no
// `trusted_proxies` names) is not limited: it would be everybody. mu guards the map and, with it, what is in the
// buckets.
type limiter struct {
	mu      sync.Mutex
	events  int
	every   time.Duration
	buckets map[string]*rate.Limiter
}

// newLimiter allows a burst of all events at once, and then one every so often.
func newLimiter(events int, every time.Duration) *limiter {
	return &limiter{events: events, every: every, buckets: map[string]*rate.Limiter{}}
}

// allow takes one event from the address's bucket, or returns 429 with the time until the next one.
func (l *limiter) allow(address string, now time.Time) error {
	key := limitKey(address)
	if key == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[key]
	if b == nil {
		l.makeRoom(now)
		b = rate.NewLimiter(rate.Every(l.every/time.Duration(l.events)), l.events)
		l.buckets[key] = b
	}
	// A refused event takes nothing from the bucket: who goes on hammering is not locked out for longer.
	if b.AllowN(now, 1) {
		return nil
	}
	e := oauth.Fail(oauth.TemporarilyUnavailable, oauth.RateLimited).With(http.StatusTooManyRequests)
	e.RetryAfter = l.every / time.Duration(l.events)
	return e
}

// makeRoom lets addresses go at the bound. One that is forgotten gets a full bucket: a flood may win itself some
// requests, but no memory.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.buckets) < maxAddresses {
		return
	}
	for key, b := range l.buckets {
		if b.TokensAt(now) >= float64(l.events) {
			delete(l.buckets, key)
		}
	}
	for key := range l.buckets {
		if len(l.buckets) <= keptAddresses {
			return
		}
		delete(l.buckets, key)
	}
}

// limitKey is what counts as one address: an IPv6 customer has a whole /64.
func limitKey(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	// ::ffff:192.0.2.1 is the same customer as 192.0.2.1
	addr = addr.Unmap()
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return ""
	}
	return prefix.String()
}

// limiters are the budgets of `[limits]`, by endpoint. LimitsConfig has the bounds that the store and the fetcher
// keep.
type limiters struct {
	LimitsConfig
	register, authorize, consent, failed *limiter

	fetches inFlight
}

// newLimiters has all buckets full: a restart forgives.
func newLimiters(c LimitsConfig) *limiters {
	return &limiters{
		LimitsConfig: c,
		register:     newLimiter(c.RegisterPerHour, time.Hour),
		authorize:    newLimiter(c.AuthorizePerMinute, time.Minute),
		consent:      newLimiter(c.ConsentPerMinute, time.Minute),
		failed:       newLimiter(c.FailedPerMinute, time.Minute),
		fetches:      inFlight{most: max(c.CIMDParallel/2, 1), flying: map[string]int{}},
	}
}

// inFlight bounds what one address has under way at a time. Without it one address that names slow hosts holds every
// slot for metadata documents, and nobody else's client can log in.
type inFlight struct {
	mu     sync.Mutex
	most   int
	flying map[string]int
}

// enter takes one of the address's places and returns what gives it back, or 429. The empty address is not limited.
func (f *inFlight) enter(address string) (leave func(), err error) {
	key := limitKey(address)
	if key == "" {
		return func() {}, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flying[key] >= f.most {
		return nil, oauth.Fail(oauth.TemporarilyUnavailable, oauth.RateLimited).With(http.StatusTooManyRequests)
	}
	f.flying[key]++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.flying[key]--; f.flying[key] == 0 {
			delete(f.flying, key)
		}
	}, nil
}
