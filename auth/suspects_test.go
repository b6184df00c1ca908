package auth_test

import (
	"testing"
	"time"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
)

// The last good answer of the right database comes after the first refusals of the wrong one: what counts is when it
// was asked for. Nobody ends (§8.2).
func TestLateGoodAnswerIsNoProofOfTheDatabase(t *testing.T) {
	r := newRig(t, authtest.ServerOptions{})
	ids := []string{r.id}
	for len(ids) < 5 {
		_, id := r.login("alice")
		ids = append(ids, id)
	}
	r.due()
	gate := authtest.NewGate()
	r.Provider.Break(authtest.Token, authtest.Fault{Gate: gate, After: true, Times: 1})
	answered := make(chan error, 1)
	go func() {
		_, err := r.Auth.UpstreamToken(t.Context(), ids[0])
		answered <- err
	}()
	<-gate.Arrived()
	r.Provider.Forget()
	r.Clock.Advance(time.Second)
	for _, id := range ids[1:] {
		r.token(id, string(oauth.UpstreamSuspect))
	}
	r.Clock.Advance(time.Second)
	gate.Open()
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	r.Clock.Advance(11 * time.Minute) // suspect_after is 10
	for _, id := range ids[1:] {
		_, _ = r.Auth.UpstreamToken(t.Context(), id)
		r.lives(id)
	}
}
