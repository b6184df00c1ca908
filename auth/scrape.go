package auth

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostedmcp/storage"
)

// scrape reads the store when Prometheus asks: counters that the transitions move and the first entries of what is due,
// never the grants themselves.
type scrape struct {
	store  *storage.Store
	now    func() time.Time
	uptime func() time.Duration
	soon   expiring

	grants, expiring, doubt, oldest, lag *prometheus.Desc
}

// expiring is the last count of what expires when: of a million grants it takes a while, and it moves slowly. mu guards
// all of it and is held while one scrape counts, for which the others wait.
type expiring struct {
	mu               sync.Mutex
	at               time.Duration // uptime of the count
	tokens, sessions []int         // by span; nil = not counted
}

// expiringEvery is how old the count may be.
const expiringEvery = time.Minute

// within are the spans of hostedmcp_upstream_expiring: each holds the ones before it.
var within = []struct {
	label string
	span  time.Duration
}{{"1h", time.Hour}, {"1d", 24 * time.Hour}, {"7d", 7 * 24 * time.Hour}}

func newScrape(s *Server) *scrape {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &scrape{
		store: s.store, now: s.now, uptime: s.uptime,
		grants: desc("hostedmcp_grants", "Grants, by state.", "state"),
		expiring: desc("hostedmcp_upstream_expiring",
			"Living grants whose upstream access token (token) or refresh token (session) expires within a span from now.", "kind", "within"),
		doubt:  desc("hostedmcp_in_doubt", "Living grants whose last refresh at the provider may have been answered unheard."),
		oldest: desc("hostedmcp_in_doubt_oldest_seconds", "For how long the oldest of them has been in doubt; 0 = there is none."),
		lag:    desc("hostedmcp_keepalive_lag_seconds", "How late the keep-alive is that waits longest; 0 = none is late."),
	}
}

// Describe implements prometheus.Collector.
func (c *scrape) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.grants, c.expiring, c.doubt, c.oldest, c.lag} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. What cannot be read gives no sample: a wrong zero would look like everybody
// being logged out, or like all being well.
func (c *scrape) Collect(ch chan<- prometheus.Metric) {
	now := c.now()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counts, err := c.store.Counts()
	if err != nil {
		return
	}
	for state, n := range counts {
		gauge(c.grants, float64(n), state)
	}
	if tokens, sessions, err := c.expire(now); err == nil {
		for i, w := range within {
			gauge(c.expiring, float64(tokens[i]), "token", w.label)
			gauge(c.expiring, float64(sessions[i]), "session", w.label)
		}
	}
	if since, n, err := c.store.OldestDoubt(); err == nil {
		age := 0.0
		if !since.IsZero() {
			age = max(now.Sub(since).Seconds(), 0)
		}
		gauge(c.doubt, float64(n))
		gauge(c.oldest, age)
	}
	if lag, err := c.store.KeepaliveLag(now); err == nil {
		gauge(c.lag, lag.Seconds())
	}
}

// expire counts what expires within the spans, or answers from memory.
func (c *scrape) expire(now time.Time) (tokens, sessions []int, err error) {
	e, uptime := &c.soon, c.uptime()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tokens == nil || uptime >= e.at+expiringEvery {
		if tokens, sessions, err = c.store.Expiring(now, within[0].span, within[1].span, within[2].span); err != nil {
			return nil, nil, err
		}
		e.at, e.tokens, e.sessions = uptime, tokens, sessions
	}
	return e.tokens, e.sessions, nil
}
