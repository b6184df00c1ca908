package auth_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/storage"
	"hostedmcp/storage/storagetest"
)

// rig is a server with a client that is logged in, and ears for the journal.
type rig struct {
	*authtest.Server
	t    testing.TB
	c    *authtest.Client
	id   string // of the client's grant
	told chan storage.Event
}

// newRig logs alice in. The provider's tokens live five minutes unless the options say otherwise.
func newRig(t *testing.T, o authtest.ServerOptions) *rig {
	t.Helper()
	t.Parallel()
	return startRig(t, o)
}

func startRig(t testing.TB, o authtest.ServerOptions) *rig {
	t.Helper()
	r := &rig{t: t, told: make(chan storage.Event, 1<<16)}
	given := o.Storage
	o.Storage = func(so *storage.Options) {
		next := so.OnEvent
		so.OnEvent = func(e storage.Event) {
			next(e)
			select {
			case r.told <- e:
			default:
			}
		}
		if given != nil {
			given(so)
		}
	}
	r.Server = authtest.NewServer(t, o)
	r.c, r.id = r.login("alice")
	return r
}

// login returns a further client that is logged in as a user, and its grant.
func (r *rig) login(user string) (*authtest.Client, string) {
	r.t.Helper()
	c := r.NewClient()
	c.Browser.Fill = map[string]string{"username": user, "password": user + "-pw"}
	r.must(c.Login())
	return c, r.grantOf(c.Refresh)
}

// sibling returns the grant of a further client in the same browser, which shares the provider's session.
func (r *rig) sibling() string {
	r.t.Helper()
	c := r.NewClient()
	c.Browser = r.c.Browser
	r.must(c.Login())
	return r.grantOf(c.Refresh)
}

// grantOf reads the grant id out of a refresh token (refreshtoken.go has the format).
func (r *rig) grantOf(token string) string {
	r.t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "hmcp_rt_"))
	if err != nil || len(raw) < 27 {
		r.t.Fatalf("refresh token %q: %v", token, err)
	}
	return string(raw[1:27])
}

// forge makes a refresh token of any generation from the grant's own key, as only the server can.
func (r *rig) forge(id string, gen uint32, clientID string) string {
	r.t.Helper()
	key, err := r.Store.GrantKey(id)
	r.must(err)
	raw := append([]byte{1}, id...)
	raw = binary.BigEndian.AppendUint32(raw, gen)
	m := hmac.New(sha256.New, key)
	m.Write(raw)
	m.Write([]byte(clientID))
	return "hmcp_rt_" + base64.RawURLEncoding.EncodeToString(m.Sum(raw))
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// refresh presents a token; extra are name, value pairs that replace or add.
func (r *rig) refresh(token string, extra ...string) authtest.TokenAnswer {
	r.t.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {r.c.ID}}
	for i := 0; i+1 < len(extra); i += 2 {
		form.Set(extra[i], extra[i+1])
	}
	a, err := r.c.Post("/token", form)
	r.must(err)
	return a
}

// renewed refreshes the client's stored token, which must work.
func (r *rig) renewed() authtest.TokenAnswer {
	r.t.Helper()
	a, err := r.c.Renew()
	r.must(err)
	r.good(a)
	return a
}

func (r *rig) good(a authtest.TokenAnswer) {
	r.t.Helper()
	if a.Status != http.StatusOK || a.Access == "" || a.Refresh == "" || a.Scope == "" || a.Type != "Bearer" ||
		a.Header.Get("Cache-Control") != "no-store" {
		r.t.Fatalf("answer %d %s %q", a.Status, a.Error, a.Description)
	}
}

// refused compares a refusal at /token.
func (r *rig) refused(a authtest.TokenAnswer, status int, code oauth.Code, reason string) {
	r.t.Helper()
	if a.Status != status || a.Error != string(code) || !strings.HasPrefix(a.Description, reason+":") || a.Refresh != "" {
		r.t.Fatalf("answer %d %s %q, want %d %s %q", a.Status, a.Error, a.Description, status, code, reason)
	}
	if status == http.StatusServiceUnavailable && a.Header.Get("Retry-After") == "" {
		r.t.Error("503 without Retry-After")
	}
}

// calls uses an access token; reason "" = it must work.
func (r *rig) calls(access, reason string) {
	r.t.Helper()
	_, status, said := r.Call(access)
	want := map[bool]int{true: http.StatusOK, false: http.StatusUnauthorized}[reason == ""]
	if status != want || said != reason {
		r.t.Fatalf("call: %d %q, want %d %q", status, said, want, reason)
	}
}

func (r *rig) grant(id string) storage.Grant {
	r.t.Helper()
	g, err := r.Store.Grant(id)
	r.must(err)
	return g
}

func (r *rig) record(id string) storage.Upstream {
	r.t.Helper()
	u, err := r.Store.Upstream(id)
	r.must(err)
	return u
}

// lives fails the test unless the grant lives.
func (r *rig) lives(id string) {
	r.t.Helper()
	if g := r.grant(id); g.Ended != "" {
		r.t.Fatalf("grant ended: %s", g.Ended)
	}
}

// ended compares how the grant ended.
func (r *rig) ended(id string, reason oauth.Reason) {
	r.t.Helper()
	if g := r.grant(id); g.Ended != reason {
		r.t.Fatalf("grant ended %q, want %q", g.Ended, reason)
	}
}

// noted counts the events of a reason in the grant's journal, merged ones each.
func (r *rig) noted(id string, reason oauth.Reason) (n int) {
	r.t.Helper()
	events, err := r.Store.Events(id)
	r.must(err)
	for _, e := range events {
		if e.Reason == reason {
			n += int(e.Count)
		}
	}
	return n
}

// patience bounds what a test waits for; nothing takes so long unless it is broken.
const patience = time.Minute

// await waits until the journal has told of a reason for the grant.
func (r *rig) await(id string, reason oauth.Reason) {
	r.t.Helper()
	late := time.After(patience)
	for {
		select {
		case e := <-r.told:
			if e.Grant == id && e.Reason == reason {
				return
			}
		case <-late:
			r.t.Fatalf("the journal never said %s\n%s", reason, r.Log)
		}
	}
}

// arrived waits for a request at a gate.
func (r *rig) arrived(g *authtest.Gate) {
	r.t.Helper()
	select {
	case <-g.Arrived():
	case <-time.After(patience):
		r.t.Fatal("nobody came to the gate")
	}
}

// token asks for the upstream access token as a tool call does; reason "" = it must come.
func (r *rig) token(id, reason string) string {
	r.t.Helper()
	token, err := r.Auth.UpstreamToken(context.Background(), id)
	var e *oauth.Error
	switch {
	case err == nil && reason == "":
		return token.Reveal()
	case errors.As(err, &e) && (string(e.Reason) == reason || string(e.Ended) == reason):
		return ""
	}
	r.t.Fatalf("upstream token: %v, want %q", err, reason)
	return ""
}

// asked is how many refreshes the provider has got.
func (r *rig) asked() int { return r.Provider.Count(authtest.Token, "refresh_token") }

// expectAsked compares the provider's count since before.
func (r *rig) expectAsked(before, n int) {
	r.t.Helper()
	if got := r.asked() - before; got != n {
		r.t.Fatalf("%d refreshes at the provider, want %d", got, n)
	}
}

// due lets the provider's access token run out.
func (r *rig) due() { r.Clock.Advance(5 * time.Minute) }

// step is one round of the server's loop.
func (r *rig) step() {
	r.t.Helper()
	r.must(r.Auth.Step(context.Background()))
}

// check re-verifies the store's invariants, and that no token stands in clear in file or log.
func (r *rig) check(secrets ...string) {
	r.t.Helper()
	secrets = append(secrets, r.c.Refresh, r.c.Access)
	secrets = append(secrets, r.Provider.RefreshTokens()...)
	storagetest.Check(r.t, r.Store, secrets...)
	log := r.Log.String()
	if i := slices.IndexFunc(secrets, func(s string) bool { return s != "" && strings.Contains(log, s) }); i >= 0 {
		r.t.Errorf("the log holds a token: %.12s…", secrets[i])
	}
}

// together runs f n times at once and waits for all.
func together(n int, f func(i int)) {
	var wait sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wait.Go(func() { <-start; f(i) })
	}
	close(start)
	wait.Wait()
}

// rotating is the server's mode with a provider that behaves so.
func rotating(mode upstream.Rotation) authtest.ServerOptions {
	behaves := map[upstream.Rotation]authtest.Rotation{
		upstream.RotationNone: authtest.RotationNone, upstream.RotationReuse: authtest.RotationReuse,
		upstream.RotationStrict: authtest.RotationStrict,
	}[mode]
	return authtest.ServerOptions{
		Provider: []authtest.Option{authtest.With(func(b *authtest.Behaviour) { b.Rotation = behaves })},
		Upstream: func(c *upstream.Config) { c.Rotation = mode },
	}
}

// longLived is a provider whose access tokens never fall due in a test.
func longLived() authtest.ServerOptions {
	return authtest.ServerOptions{
		Provider: []authtest.Option{authtest.With(func(b *authtest.Behaviour) { b.AccessLife = 1000 * time.Hour })},
		Upstream: func(c *upstream.Config) { c.Recheck = oauth.Days(30) },
	}
}
