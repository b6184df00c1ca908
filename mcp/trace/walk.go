package trace

import (
	"context"
	"net/http"
	"time"

	"hostedmcp/auth/oauth"
)

// tracer is one walk. Its fields are filled in by the steps, in the order of the way.
type tracer struct {
	options
	env     Env
	client  client
	http    *http.Client
	now     func() time.Time
	report  *report
	secrets secrets
	failed  string // the first step that failed

	handshake error   // of TLS; then there is no opening answer
	open      *answer // of the opening request, without a token
	challenge map[string]string
	protected bool // authorization is asked

	scopes       oauth.Scope // that the resource metadata list
	issuer       string      // of the authorization server
	server       serverMetadata
	listener     *listener // nil = nobody waits for a callback
	redirect     string
	id           string // our client_id
	secret       oauth.Secret
	secretInBody bool // client_secret_post
	verifier     string
	state        string
	asked        oauth.Scope // at /authorize

	code            string
	access, refresh oauth.Secret

	session string // Mcp-Session-Id
	version string // negotiated in the older era
	tools   []tool
	era     era // the first that worked
}

// newTracer opens the callback, since its port is part of everything that follows, and sends nothing.
func newTracer(o options, env Env) (*tracer, error) {
	t := &tracer{options: o, env: env, client: clients[o.as], now: time.Now, http: newHTTP(env.HTTP)}
	t.report = &report{out: env.Stdout, aside: env.Stdout, json: o.json, colour: env.Terminal && !o.json}
	if o.json {
		t.report.aside = env.Stderr
	}
	secret, err := readSecret(o.secretFile)
	if err != nil {
		return nil, err
	}
	t.secret = t.secrets.add(secret)
	return t, t.listen()
}

// newHTTP returns a client that shows what came: no redirect followed, no cookie kept. Compression stays off, so that
// sizes are bounded as they are on the wire.
func newHTTP(own *http.Client) *http.Client {
	if own == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.DisableCompression = true
		own = &http.Client{Transport: transport}
	}
	return &http.Client{
		Transport:     own.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// close ends what newTracer began. A client that was handed over keeps its connections.
func (t *tracer) close() {
	if t.listener != nil {
		t.listener.close()
	}
	if t.env.HTTP == nil {
		t.http.CloseIdleConnections()
	}
}

// walk makes the steps. The order of the way is the order of dependence: a step that failed ends what needs it and
// nothing else. What was obtained is given back at the end, whatever failed after it.
func (t *tracer) walk(ctx context.Context) {
	if !t.step(ctx, stepReach, t.reach) {
		return
	}
	if !t.step(ctx, stepTLS, t.checkTLS) && t.handshake != nil {
		return
	}
	if !t.step(ctx, stepChallenge, t.checkChallenge) && !t.protected {
		return
	}
	if !t.protected {
		t.speak(ctx)
		t.endSession(ctx)
		return
	}
	t.step(ctx, stepBadToken, t.badToken)
	if !t.login(ctx) {
		return
	}
	t.speak(ctx)
	if t.refresh != "" {
		t.renew(ctx)
	}
	// Interrupted or not: nothing stays behind. Each of these requests is bounded by -timeout.
	ctx = context.WithoutCancel(ctx)
	t.endSession(ctx)
	t.giveBack(ctx)
}

// login goes from the challenge to the tokens, and reports whether there are any. Each step needs the one before; only
// faulty resource metadata leave a way open: older clients look for the server's metadata at the resource's own host.
func (t *tracer) login(ctx context.Context) bool {
	t.step(ctx, stepResource, t.resourceMetadata)
	for _, s := range []struct {
		name  string
		check func(context.Context, *Step) error
	}{
		{stepServer, t.serverMetadata},
		{stepRegistration, t.register},
		{stepAuthorize, t.authorize},
		{stepCallback, t.callback},
		{stepToken, t.redeem},
	} {
		if !t.step(ctx, s.name, s.check) {
			return t.access != ""
		}
	}
	return true
}

// speak makes the steps of MCP: the eras that the imitated client speaks, its own first, or both. The newer one comes
// first: whether a server must speak the older one is known then.
func (t *tracer) speak(ctx context.Context) {
	if t.client.modern {
		t.speakModern(ctx)
		if t.as == "" || t.era == "" {
			t.speakLegacy(ctx)
		}
	} else {
		t.speakLegacy(ctx)
		if t.as == "" {
			t.speakModern(ctx)
		}
	}
	if t.era != "" {
		t.step(ctx, stepCall, t.callTool)
	}
}

// renew refreshes and sees that the new tokens work.
func (t *tracer) renew(ctx context.Context) {
	previous := t.refresh
	if !t.step(ctx, stepRefresh, t.refreshTokens) {
		return
	}
	if t.era != "" {
		t.step(ctx, stepRefreshed, t.callAgain)
	}
	if t.options.retry {
		t.step(ctx, stepRetry, func(ctx context.Context, s *Step) error { return t.retryRefresh(ctx, s, previous) })
	}
}

// giveBack revokes what was issued, so that a trace leaves no connection behind.
func (t *tracer) giveBack(ctx context.Context) {
	if t.keep {
		t.step(ctx, stepRevoke, func(_ context.Context, s *Step) error {
			s.came("the tokens are kept (-keep): end the connection yourself")
			return errSkipped
		})
		return
	}
	if t.step(ctx, stepRevoke, t.revoke) {
		t.step(ctx, stepRevoked, t.checkRevoked)
	}
}
