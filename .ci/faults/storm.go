package main

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"hostedmcp/auth/authtest"
)

// storm lets 1,000 callers of one grant loose at the moment at which its upstream token is due: in turns all of them
// refreshing with the same refresh token at /token, and all of them calling the tool that needs the provider at /mcp.
// Each round must cost exactly one exchange with a provider that punishes any second use, no call may fail, and all
// who refreshed must have the same successor.
func storm(r *run) error {
	s, err := r.newStorm()
	if err != nil {
		return err
	}
	for i := range r.rounds * 2 {
		c := s.fleet.clients[i%len(s.fleet.clients)]
		kind, do := "refresh", s.refreshes
		if i%2 == 1 {
			kind, do = "userinfo", s.calls
		}
		if err := s.round(i/2+1, kind, c, do); err != nil {
			return err
		}
		if (i+1)%10 == 0 {
			r.say("%d rounds of %d callers, slowest %s", i+1, r.callers, s.slowest.Round(time.Millisecond))
		}
	}
	for _, session := range s.provider.Sessions() {
		if session.Dead != "" {
			r.violation("the provider ended %s: %s", session.User, session.Dead)
		}
	}
	return s.server.stop()
}

// stormLife is the life of upstream tokens: a round must be over before the new one is due, at three quarters.
const stormLife = 12 * time.Second

type storming struct {
	*run
	provider *authtest.Provider
	ledger   *ledger
	server   *server
	fleet    *fleet
	crowd    *http.Transport
	slowest  time.Duration
}

func (r *run) newStorm() (*storming, error) {
	s := &storming{run: r, ledger: newLedger(), crowd: &http.Transport{MaxIdleConnsPerHost: r.callers}}
	// strict: a second exchange in a round would not only be counted, it would end the connection
	b := authtest.Behaviour{Rotation: authtest.RotationStrict, AccessLife: stormLife}
	s.ledger.watch(&b)
	var err error
	if s.provider, err = r.newProvider(8, b); err != nil {
		return nil, err
	}
	// token_wait: a caller that stands at the end of the queue is to be answered well, not early
	if s.server, err = r.newServer("storm", settings{
		issuer: s.provider.Issuer, clientID: s.provider.ClientID, secret: s.provider.ClientSecret,
		provider: []string{`rotation = "strict"`, `token_wait = "30s"`},
	}); err != nil {
		return nil, err
	}
	if err := s.server.start(); err != nil {
		return nil, err
	}
	s.fleet, err = r.newFleet(s.server, 8, 0)
	return s, err
}

// round waits until the grant's upstream token is due, and lets everybody loose. A round that was so slow that the next
// token came due says nothing and is made again.
func (s *storming) round(n int, kind string, c *client, do func(*client) error) error {
	for range 5 {
		time.Sleep(time.Until(s.ledger.lastIssue(c.user).Add(stormLife + 50*time.Millisecond)))
		before, begun := s.ledger.exchanges(c.user), time.Now()
		asked := s.provider.Count(authtest.Token)
		err := do(c)
		took := time.Since(begun)
		exchanges, calls := s.ledger.exchanges(c.user)-before, s.provider.Count(authtest.Token)-asked
		s.slowest = max(s.slowest, took)
		if err != nil {
			s.violation("round %d, %s: %v", n, kind, err)
		}
		if took < stormLife*3/4-time.Second {
			if exchanges != 1 || calls != 1 {
				s.violation("round %d, %s: %d calls to the provider, %d carried out", n, kind, calls, exchanges)
			}
			return nil
		}
		s.say("round %d, %s took %s: again", n, kind, took)
	}
	return fmt.Errorf("the machine is too slow for %d callers", s.callers)
}

// all has every caller do the same at once, and returns what the first ones that failed say.
func (s *storming) all(do func() error) error {
	var ready, done sync.WaitGroup
	ready.Add(s.callers)
	loose, errs := make(chan struct{}), make(chan error, s.callers)
	for range s.callers {
		done.Go(func() {
			ready.Done()
			<-loose
			errs <- do()
		})
	}
	ready.Wait()
	close(loose)
	done.Wait()
	close(errs)
	failed, first := 0, error(nil)
	for err := range errs {
		if err != nil {
			failed, first = failed+1, err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d calls failed, one with: %w", failed, s.callers, first)
	}
	return nil
}

func (s *storming) caller(c *client) *client {
	one := &client{Client: new(authtest.Client), user: c.user}
	*one.Client = *c.Client
	one.HTTP = &http.Client{Transport: s.crowd, Timeout: time.Minute}
	return one
}

// refreshes is a thousand processes that share one stored credential.
func (s *storming) refreshes(c *client) error {
	one := s.caller(c)
	var mu sync.Mutex
	successors := map[string]authtest.TokenAnswer{}
	err := s.all(func() error {
		t, err := one.RefreshWith(c.Refresh)
		if err == nil && t.Status != http.StatusOK {
			err = fmt.Errorf("%d %s %s", t.Status, t.Error, t.Description)
		}
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			successors[t.Refresh] = t
		}
		return err
	})
	if len(successors) != 1 {
		return fmt.Errorf("%d different successors: %w", len(successors), err)
	}
	for _, t := range successors {
		if err := c.save(t); err != nil {
			return err
		}
	}
	return err
}

// calls is a thousand tool calls that need the provider's token.
func (s *storming) calls(c *client) error {
	one := s.caller(c)
	return s.all(func() error {
		a, err := one.post("userinfo")
		if err == nil && (a.status != http.StatusOK || !good(a.body)) {
			err = fmt.Errorf("userinfo answered %s", a)
		}
		return err
	})
}
