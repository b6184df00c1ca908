package cimd

import (
	"fmt"
	"net/url"
	"time"

	"golang.org/x/time/rate"
)

// maxHosts bounds the memory of the rate limits. Beyond it hosts whose budget is whole again are forgotten; if there
// is none, somebody is naming hosts by the thousand and all wait.
const maxHosts = 1000

// spend takes one fetch from the host's budget: nobody may use us to knock at somebody else's door. Ports share it.
func (f *Fetcher) spend(clientID string, now time.Time) error {
	u, err := url.Parse(clientID)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	limiter, ok := f.hosts[u.Hostname()]
	if !ok {
		if len(f.hosts) >= maxHosts && !f.forgetHosts(now) {
			return fmt.Errorf("%w: too many hosts", ErrBusy)
		}
		n := f.cfg.PerHostPerMinute
		limiter = rate.NewLimiter(rate.Every(time.Minute/time.Duration(n)), n)
		f.hosts[u.Hostname()] = limiter
	}
	if !limiter.AllowN(now, 1) {
		return fmt.Errorf("%w: too many fetches from this host", ErrBusy)
	}
	return nil
}

func (f *Fetcher) forgetHosts(now time.Time) bool {
	for host, limiter := range f.hosts {
		if limiter.TokensAt(now) >= float64(limiter.Burst()) {
			delete(f.hosts, host)
		}
	}
	return len(f.hosts) < maxHosts
}

// acquire waits for one of the parallel slots. The wait has a time of its own: a document must not be called
// unreachable for a minute because slow hosts of others held the slots.
func (f *Fetcher) acquire() (release func(), err error) {
	patience := time.NewTimer(f.cfg.Timeout)
	defer patience.Stop()
	select {
	case f.slots <- struct{}{}:
		return func() { <-f.slots }, nil
	case <-patience.C:
		return nil, fmt.Errorf("%w: too many fetches at once", ErrBusy)
	}
}
