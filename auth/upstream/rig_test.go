package upstream_test

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

const redirectURI = "http://127.0.0.1:4711/callback"

// rig is a relying party before an adversarial provider, both on one fake clock.
type rig struct {
	*testing.T
	idp   *authtest.Provider
	clock *authtest.Clock
	up    *upstream.Provider
	log   *authtest.Buffer
}

func newRig(t *testing.T, options ...authtest.Option) *rig {
	t.Helper()
	clock := authtest.NewClock(time.Unix(1_800_000_000, 0))
	options = append([]authtest.Option{func(c *authtest.ProviderConfig) { c.Now = clock.Now }}, options...)
	r := &rig{T: t, idp: authtest.NewProvider(t, options...), clock: clock, log: new(authtest.Buffer)}
	r.connect(func(*upstream.Options) {})
	return r
}

// connect makes the relying party, with its options changed.
func (r *rig) connect(change func(*upstream.Options)) {
	config := upstream.DefaultConfig()
	config.Issuer, config.ClientID = r.idp.Issuer, r.idp.ClientID
	o := upstream.Options{
		Config: config, Secret: oauth.Secret(r.idp.ClientSecret), RedirectURI: redirectURI, Now: r.clock.Now,
		Log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	change(&o)
	r.up = upstream.New(o)
	r.Cleanup(r.up.Close)
}

// code signs alice in and returns what Exchange needs.
func (r *rig) code() upstream.Callback {
	r.Helper()
	request := upstream.AuthRequest{State: "state-1", Nonce: "nonce-1", Verifier: strings.Repeat("v", 43)}
	address, err := r.up.AuthURL(context.Background(), request)
	if err != nil {
		r.Fatal(err)
	}
	back, err := r.idp.SignIn(address, "alice")
	if err != nil {
		r.Fatal(err)
	}
	q := back.Query()
	if q.Get("code") == "" || q.Get("state") != request.State {
		r.Fatalf("no code: %s", back)
	}
	return upstream.Callback{Code: q.Get("code"), Verifier: request.Verifier, Nonce: request.Nonce}
}

func (r *rig) exchange() upstream.Answer {
	r.Helper()
	return r.up.Exchange(context.Background(), r.code())
}

// login is an exchange that must be Good.
func (r *rig) login() upstream.Answer {
	r.Helper()
	a := r.exchange()
	r.want(a, upstream.Good, "")
	return a
}

func (r *rig) refresh(token oauth.Secret) upstream.Answer {
	return r.up.Refresh(context.Background(), upstream.RefreshRequest{Token: token, Subject: "sub-alice", Nonce: "nonce-1"})
}

// hasty refreshes with little time for the provider; a busy machine, which comes to nothing in it, gets more.
func (r *rig) hasty(within time.Duration, want upstream.Outcome, token oauth.Secret) (a upstream.Answer) {
	r.Helper()
	for ; within < 20*time.Second; within *= 4 {
		r.connect(func(o *upstream.Options) { o.Config.Timeout = oauth.Duration(within) })
		_ = r.up.Discover(context.Background())
		before := r.idp.Count(authtest.Token)
		if a = r.refresh(token); a.Outcome == want {
			return a
		}
		if a.Outcome == upstream.Unreachable && r.idp.Count(authtest.Token) > before {
			r.Fatalf("it had arrived: %v", a.Err)
		}
	}
	return a
}

// want holds an answer against its row, and every answer against the rules for all of them.
func (r *rig) want(a upstream.Answer, outcome upstream.Outcome, reason oauth.Reason) {
	r.Helper()
	if a.Outcome != outcome || a.Reason != reason {
		r.Fatalf("answer is %s %q (%v), want %s %q", a.Outcome, a.Reason, a.Err, outcome, reason)
	}
	withTokens := outcome == upstream.Good || outcome == upstream.Unverified || outcome == upstream.Quarantined
	if (a.Tokens.Access != "") != withTokens {
		r.Errorf("access token there: %v, want %v with %s", a.Tokens.Access != "", withTokens, outcome)
	}
	if (a.Err == nil) != (outcome == upstream.Good) {
		r.Errorf("error is %v with %s", a.Err, outcome)
	}
	if outcome != upstream.Good && a.Claims != nil {
		r.Errorf("claims with %s", outcome)
	}
}

func query(t *testing.T, address string) url.Values {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}
