package upstream_test

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/authtest"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
)

func refusal(status int, code, description string) authtest.Fault {
	return authtest.Fault{Status: status, Body: `{"error":"` + code + `","error_description":"` + description + `"}`}
}

// verdicts are the rows of protocol.md §8.2 that come with an answer, with Keycloak's words as measured.
var verdicts = []struct {
	name    string
	fault   authtest.Fault
	outcome upstream.Outcome
	reason  oauth.Reason
	spent   bool
}{
	{"online token ran out", authtest.InvalidGrant("Token is not active"), upstream.Ended, oauth.UpstreamSessionExpired, false},
	{"session ended", authtest.InvalidGrant("Session not active"), upstream.Ended, oauth.UpstreamSessionEnded, false},
	{"offline session ended", authtest.InvalidGrant("Offline user session not found"), upstream.Ended, oauth.UpstreamSessionEnded, false},
	{"client detached", authtest.InvalidGrant("Session doesn't have required client"), upstream.Ended, oauth.UpstreamSessionEnded, true},
	{"not-before, or two generations old", authtest.InvalidGrant("Stale token"), upstream.Ended, oauth.UpstreamSessionEnded, true},
	{"reuse", authtest.InvalidGrant("Maximum allowed refresh token reuse exceeded"), upstream.Ended, oauth.UpstreamReuse, true},
	{"user disabled", authtest.InvalidGrant("User disabled"), upstream.Ended, oauth.UpstreamUserDisabled, false},
	{"offline access withdrawn", authtest.InvalidGrant("Offline session invalid because offline access not granted anymore"), upstream.Ended, oauth.UpstreamConsentWithdrawn, false},
	{"with 401", refusal(401, "invalid_grant", "Session not active"), upstream.Ended, oauth.UpstreamSessionEnded, false},
	{"another database", authtest.InvalidGrant("Invalid refresh token"), upstream.Suspect, oauth.UpstreamSuspect, false},
	{"words that we do not know", authtest.InvalidGrant("grant request is invalid"), upstream.Suspect, oauth.UpstreamSuspect, false},
	{"no words", refusal(400, "invalid_grant", ""), upstream.Suspect, oauth.UpstreamSuspect, false},
	{"known words among others", authtest.InvalidGrant("Session not active, they say"), upstream.Suspect, oauth.UpstreamSuspect, false},
	{"other host name", authtest.InvalidGrant("Invalid token issuer. Expected 'http://a'"), upstream.ConfigFault, oauth.UpstreamConfig, false},
	{"wrong secret", refusal(401, "unauthorized_client", "Invalid client"), upstream.ConfigFault, oauth.UpstreamConfig, false},
	{"unknown client", refusal(401, "invalid_client", "Invalid client"), upstream.ConfigFault, oauth.UpstreamConfig, false},
	{"scope", refusal(400, "invalid_scope", "x"), upstream.ConfigFault, oauth.UpstreamConfig, false},
	{"realm disabled", refusal(403, "access_denied", "Realm not enabled"), upstream.ConfigFault, oauth.UpstreamConfig, false},
	{"realm unknown", refusal(404, "Realm does not exist", ""), upstream.ConfigFault, oauth.UpstreamConfig, false},
	{"invalid_grant with 403 ends nothing", refusal(403, "invalid_grant", "Session not active"), upstream.ConfigFault, oauth.UpstreamConfig, false},
	{"invalid_grant with 503 ends nothing", refusal(503, "invalid_grant", "Session not active"), upstream.Trouble, oauth.UpstreamError, false},
	{"400 of something in between", authtest.Fault{Status: 400, Body: "<html>Bad Request</html>"}, upstream.ConfigFault, oauth.UpstreamConfig, false},
	{"redirect", authtest.Fault{Status: 302, Header: http.Header{"Location": {"/jwks"}}}, upstream.ConfigFault, oauth.UpstreamConfig, false},
	{"429", authtest.Unavailable(429, ""), upstream.Trouble, oauth.UpstreamError, false},
	{"500", authtest.Unavailable(500, ""), upstream.Trouble, oauth.UpstreamError, false},
	{"502", authtest.Unavailable(502, ""), upstream.Trouble, oauth.UpstreamError, false},
	{"503", authtest.Unavailable(503, ""), upstream.Trouble, oauth.UpstreamError, false},
	{"504", authtest.Unavailable(504, ""), upstream.InDoubt, oauth.UpstreamInDoubt, false},
	{"200 HTML", authtest.HTML(), upstream.InDoubt, oauth.UpstreamBadAnswer, false},
	{"200 of another JSON", authtest.Fault{Body: `{"ok":true}`}, upstream.InDoubt, oauth.UpstreamBadAnswer, false},
	{"200 of a list", authtest.Fault{Body: `[1]`}, upstream.InDoubt, oauth.UpstreamBadAnswer, false},
	{"200 with access_token empty", authtest.Fault{Body: `{"access_token":""}`}, upstream.InDoubt, oauth.UpstreamBadAnswer, false},
	{"200 empty", authtest.Fault{Status: 200}, upstream.InDoubt, oauth.UpstreamBadAnswer, false},
	{"200 too long", authtest.Fault{Body: `{"access_token":"a","x":"` + strings.Repeat("x", 64<<10) + `"}`}, upstream.InDoubt, oauth.UpstreamBadAnswer, false},
	{"200 readable but too long", authtest.Fault{Body: `{"access_token":"a"}` + strings.Repeat(" ", 64<<10)}, upstream.InDoubt, oauth.UpstreamBadAnswer, false},
	{"201", authtest.Fault{Status: 201, Body: `{"access_token":"a"}`}, upstream.InDoubt, oauth.UpstreamBadAnswer, false},
	{"reset before it is carried out", authtest.Fault{Reset: true}, upstream.InDoubt, oauth.UpstreamInDoubt, false},
	{"reset after", authtest.Fault{Reset: true, After: true}, upstream.InDoubt, oauth.UpstreamInDoubt, false},
	{"cut in the body of a 200", authtest.Fault{Cut: 40}, upstream.InDoubt, oauth.UpstreamInDoubt, false},
	{"cut in the body of a refusal", with(refusal(400, "invalid_grant", "Session not active"), 20), upstream.InDoubt, oauth.UpstreamInDoubt, false},
	{"cut in the body of a 503", with(authtest.Unavailable(503, ""), 3), upstream.Trouble, oauth.UpstreamError, false},
}

func with(f authtest.Fault, cut int) authtest.Fault { f.Cut = cut; return f }

// Each verdict, each from exactly one request (protocol.md §8.1 rule 4), each without a word of the provider's.
func TestVerdicts(t *testing.T) {
	r := newRig(t)
	token := r.login().Tokens.Refresh
	for _, row := range verdicts {
		t.Run(row.name, func(t *testing.T) {
			r.T = t
			r.idp.Mend()
			r.idp.ResetLog()
			r.idp.Break(authtest.Token, row.fault)
			a := r.refresh(token)
			r.want(a, row.outcome, row.reason)
			if a.Spent != row.spent {
				t.Errorf("spent %v", a.Spent)
			}
			calls := r.idp.Calls(authtest.Token)
			if len(calls) != 1 || r.idp.Count(authtest.JWKS) != 0 {
				t.Fatalf("%d requests", len(calls))
			}
			if f := calls[0].Form; f.Has("scope") || f.Has("resource") || len(f) != 2 {
				t.Errorf("sent %v; never a scope (RFC 6749 §6)", f)
			}
			if a.Err != nil && strings.Contains(a.Err.Error(), "Realm") {
				t.Errorf("an error code of the provider's own making in %q", a.Err)
			}
			if s := errorOf(row.fault.Body); s != "" && strings.Contains(a.Err.Error(), s) {
				t.Errorf("the provider's words in %q", a.Err)
			}
		})
	}
}

// errorOf cuts the description out of a fault's body.
func errorOf(body string) string {
	_, after, _ := strings.Cut(body, `"error_description":"`)
	text, _, _ := strings.Cut(after, `"`)
	return text
}

// Retry-After in both forms (RFC 9110 §10.2.3), bounded.
func TestRetryAfter(t *testing.T) {
	r := newRig(t)
	token := r.login().Tokens.Refresh
	for value, want := range map[string]time.Duration{
		"": 0, "17": 17 * time.Second, "-3": 0, "soon": 0, "86400": time.Hour,
		r.clock.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat):  90 * time.Second,
		r.clock.Now().Add(-90 * time.Second).UTC().Format(http.TimeFormat): 0,
	} {
		r.idp.Mend()
		r.idp.Break(authtest.Token, authtest.Unavailable(503, value))
		if a := r.refresh(token); a.RetryAfter != want {
			t.Errorf("%q: %s, want %s", value, a.RetryAfter, want)
		}
	}
}

// Nothing was sent: the intent may be cleared (protocol.md §8.2).
func TestNothingSent(t *testing.T) {
	r := newRig(t)
	token := r.login().Tokens.Refresh
	r.idp.ResetLog()

	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	a := r.up.Refresh(cancelled, upstream.RefreshRequest{Token: token})
	r.want(a, upstream.Unreachable, oauth.UpstreamUnreachable)

	tls := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request came through") }))
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	r.tokenEndpoint(tls.URL + "/token")
	a = r.refresh(token)
	r.want(a, upstream.Unreachable, oauth.UpstreamUnreachable)
	if !strings.Contains(a.Err.Error(), "authority") {
		t.Errorf("an operator learns only %q", a.Err)
	}

	r.tokenEndpoint("http://127.0.0.1:" + freePort(t) + "/token")
	a = r.refresh(token)
	r.want(a, upstream.Unreachable, oauth.UpstreamUnreachable)
	if !strings.Contains(a.Err.Error(), "refused") {
		t.Errorf("an operator learns only %q", a.Err)
	}
	if n := r.idp.Count(authtest.Token); n != 0 {
		t.Errorf("%d requests at the old endpoint", n)
	}
}

// tokenEndpoint makes a new relying party whose metadata name another token endpoint.
func (r *rig) tokenEndpoint(address string) {
	r.Helper()
	r.idp.Set(func(b *authtest.Behaviour) {
		b.Metadata = func(m map[string]any) { m["token_endpoint"] = address }
	})
	r.connect(func(*upstream.Options) {})
	if err := r.up.Discover(context.Background()); err != nil {
		r.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// A connection that is taken and dropped without an answer is in doubt, whatever was read of the request, and no second
// connection follows.
func TestInDoubt(t *testing.T) {
	for _, row := range []struct {
		name string
		read int
	}{{"a byte read", 1}, {"a part read", 20}, {"all read", 200}} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			token := r.login().Tokens.Refresh
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			taken := make(chan int, 1)
			go func() {
				n := 0
				for {
					c, err := l.Accept()
					if err != nil {
						taken <- n
						return
					}
					n++
					c.Read(make([]byte, row.read))
					c.(*net.TCPConn).SetLinger(0)
					c.Close()
				}
			}()
			r.tokenEndpoint("http://" + l.Addr().String() + "/token")
			a := r.refresh(token)
			r.want(a, upstream.InDoubt, oauth.UpstreamInDoubt)
			l.Close()
			if n := <-taken; n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
	t.Run("the caller's context ends while the provider works", func(t *testing.T) {
		r := newRig(t)
		token := r.login().Tokens.Refresh
		gate := authtest.NewGate()
		r.idp.Break(authtest.Token, authtest.Fault{Gate: gate})
		ctx, cancel := context.WithCancel(context.Background())
		go func() { <-gate.Arrived(); cancel() }()
		a := r.up.Refresh(ctx, upstream.RefreshRequest{Token: token})
		r.want(a, upstream.InDoubt, oauth.UpstreamInDoubt)
	})
	t.Run("the provider hangs", func(t *testing.T) {
		r := newRig(t)
		token := r.login().Tokens.Refresh
		r.idp.Break(authtest.Token, authtest.Fault{Hang: true})
		r.want(r.hasty(50*time.Millisecond, upstream.InDoubt, token), upstream.InDoubt, oauth.UpstreamInDoubt)
	})
	t.Run("a transport that tells nothing", func(t *testing.T) {
		r := newRig(t)
		token := r.login().Tokens.Refresh
		r.connect(func(o *upstream.Options) { o.HTTP = mute{t} })
		r.want(r.refresh(token), upstream.InDoubt, oauth.UpstreamInDoubt)
	})
}

// mute is a transport without httptrace hooks that fails every POST.
type mute struct{ t *testing.T }

func (m mute) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPost {
		return nil, net.ErrClosed
	}
	return http.DefaultTransport.RoundTrip(req)
}

// Each call that spends something has a connection of its own: a kept one may close as we write.
func TestFreshConnection(t *testing.T) {
	r := newRig(t)
	token := r.login().Tokens.Refresh
	connections := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		connections <- req.RemoteAddr
		w.Write([]byte(`{"access_token":"a"}`))
	}))
	defer s.Close()
	r.tokenEndpoint(s.URL)
	r.want(r.refresh(token), upstream.Good, "")
	r.want(r.refresh(token), upstream.Good, "")
	if first, second := <-connections, <-connections; first == second {
		t.Error("one connection for two refreshes")
	}
}
