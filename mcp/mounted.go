package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
)

// Credentials are where the users' own credentials for connectors come from, besides their upstream tokens (Authority);
// main fills it with methods of *auth.Server. Errors are *oauth.Error.
type Credentials struct {
	// Exchange returns a token of the grant's user for another audience (RFC 8693).
	Exchange func(ctx context.Context, grantID, audience string) (oauth.Secret, error)
	// Refused tells that a connector refused a token that was to hold still; audience "" is the upstream token itself.
	// nil = nobody wants to know.
	Refused func(ctx context.Context, grantID, audience string, token oauth.Secret)
}

// Pins are where the accepted definitions of tools are kept. Both may be nil: then they are forgotten with the process.
type Pins struct {
	Load func(connector string) ([]connector.Pin, error)
	Save func(ctx context.Context, pins []connector.Pin) error
}

// mounted is one connector of this server.
type mounted struct {
	server   *Server
	config   connector.Config
	source   connector.Source
	prefix   string
	whole    connector.Rule
	provider bool // calls need the user's upstream token
	ledger   *connector.Ledger
	gate     *gate
	metrics  mountMetrics

	caps     atomic.Pointer[capabilities] // as last seen; nil = never
	problems atomic.Pointer[[]string]     // of the catalog as last seen
	hidden   book                         // tool to findings of HiddenText, as last seen
	logged   book                         // problems that the log has already
	telling  atomic.Bool                  // a change is about to be told

	mu    sync.Mutex
	views []*view // the last few, newest first
}

// mount makes the connectors of the server, in their fixed order. An error names every fault.
func (s *Server) mount(o *Options) error {
	var faults []error
	byPrefix := map[string]string{}
	for _, source := range o.Connectors {
		m, err := s.newMounted(source, o)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if other, twice := byPrefix[m.prefix]; twice {
			faults = append(faults, fmt.Errorf("connectors %q and %q have the same prefix %q: their tools could not be told apart",
				other, m.config.Name, m.prefix))
		}
		byPrefix[m.prefix] = m.config.Name
		s.mounts = append(s.mounts, m)
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	return s.documented()
}

// newMounted prepares one connector.
func (s *Server) newMounted(source connector.Source, o *Options) (*mounted, error) {
	c := source.Config()
	var stored []connector.Pin
	if o.Pins.Load != nil {
		var err error
		if stored, err = o.Pins.Load(c.Name); err != nil {
			return nil, fmt.Errorf("connector %q: read its pins: %w", c.Name, err)
		}
	}
	m := &mounted{
		server: s, config: c, source: source, whole: c.Whole(),
		provider: c.Credential == connector.CredentialUser || c.Credential == connector.CredentialExchange,
		ledger:   connector.NewLedger(c, stored, s.now, o.Pins.Save),
		gate:     newGate(c.Parallel, c.ParallelPerUser),
		metrics:  s.metrics.mount(c.Name, source),
	}
	if c.Prefix != nil {
		m.prefix = *c.Prefix
	}
	source.OnChange(func() { s.changed(m) })
	return m, nil
}

// documented looks at the catalogs that come from documents, which are known at the start: names that collide there
// are mistakes of the configuration. What a mounted server offers is known later, and it may be down.
func (s *Server) documented() error {
	var faults []error
	for _, m := range s.mounts {
		if m.config.Kind != connector.OpenAPI {
			continue
		}
		catalog, err := m.source.Catalog(context.Background(), nil)
		if err != nil {
			continue // said by its state
		}
		for _, collision := range m.view(catalog).collisions {
			faults = append(faults, errors.New(collision))
		}
	}
	return errors.Join(faults...)
}

// owner returns the connector to which a name belongs: that with the longest prefix of it, nil if there is none. It
// depends on no catalog, so that a connector cannot take the names of another one while that is down or hides them.
func (s *Server) owner(name string) *mounted {
	var best *mounted
	for _, m := range s.mounts {
		if strings.HasPrefix(name, m.prefix) && (best == nil || len(m.prefix) > len(best.prefix)) {
			best = m
		}
	}
	return best
}

// open reports whether the caller may know of what rule is about. An error means that it cannot be known now.
func (c *Caller) open(ctx context.Context, rule *connector.Rule) (bool, error) {
	if rule.Hidden {
		return false, nil
	}
	if len(rule.Groups) == 0 {
		return true, nil
	}
	claims, err := c.Claims(ctx)
	if err != nil {
		return false, err
	}
	return rule.Open(claims.Groups), nil
}

// visibleMounts returns the connectors that the caller may know of.
func (s *Server) visibleMounts(ctx context.Context, c *Caller) ([]*mounted, error) {
	var out []*mounted
	for _, m := range s.mounts {
		ok, err := c.open(ctx, &m.whole)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, m)
		}
	}
	return out, nil
}

// catalogWait bounds how long a list waits for one connector. Others are shown without it.
const catalogWait = 10 * time.Second

// look returns what the connector offers to the caller of k.
func (m *mounted) look(ctx context.Context, k *call) (*view, error) {
	// A request has one view of each connector, from its lookup to its answer.
	if v := k.views[m]; v != nil {
		return v, nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(catalogWait, m.config.Timeout.D()))
	defer cancel()
	c, err := m.callFor(ctx, k, nil)
	if err != nil {
		return nil, err
	}
	c.Peer.Ask = nil
	defer m.server.grants.settle(m, k.caller.GrantID)
	catalog, err := m.source.Catalog(ctx, &c)
	if err != nil {
		m.offersNothing(err)
		return nil, err
	}
	return m.view(catalog), nil
}

// offersNothing says in the log why there is no catalog: once that the server's answer is none, for an operator must
// look at that; being away is in the connector's state.
func (m *mounted) offersNothing(why error) {
	level := slog.LevelDebug
	var said *connector.Error
	if errors.As(why, &said) && said.Reason == oauth.ConnectorBadAnswer && m.logged.put(why.Error(), nil) {
		level = slog.LevelWarn
	}
	m.server.log.Log(context.Background(), level, "connector offers nothing now", "connector", m.config.Name, "cause", why)
}

// lookAll asks several connectors at once; those that cannot say are left out, and k.partial notes that.
func (s *Server) lookAll(ctx context.Context, k *call, mounts []*mounted) []*view {
	views := make([]*view, len(mounts))
	var wait sync.WaitGroup
	for i, m := range mounts {
		if len(mounts) == 1 {
			views[i], _ = m.look(ctx, k)
			break
		}
		wait.Go(func() {
			defer s.recovered("catalog")
			views[i], _ = m.look(ctx, k)
		})
	}
	wait.Wait()
	out := views[:0]
	for _, v := range views {
		if v != nil {
			out = append(out, v)
		}
	}
	if len(out) < len(mounts) {
		k.partial.Store(true)
	}
	return out
}

// credential returns what the call of k carries to the connector, nil if that is none of ours.
func (m *mounted) credential(k *call) func(context.Context) (connector.Credential, error) {
	if !m.provider {
		return nil
	}
	return func(ctx context.Context) (connector.Credential, error) {
		token, audience, err := m.token(ctx, k)
		if err != nil {
			return connector.Credential{}, credentialError(err)
		}
		c := connector.Credential{Header: m.config.CredentialHeader(), Value: token}
		// A header of the connector's own making takes the token as it is; only this one has schemes (RFC 9110 §11.4).
		if c.Header == "" || c.Header == "Authorization" {
			c.Value = "Bearer " + token
		}
		if refused := m.server.credentials.Refused; refused != nil {
			c.Refused = func(ctx context.Context) { refused(ctx, k.caller.GrantID, audience, token) }
		}
		return c, nil
	}
}

// token returns the user's token for the connector and its audience, "" for the upstream token. The one with which the
// request was let in a moment ago serves once.
func (m *mounted) token(ctx context.Context, k *call) (token oauth.Secret, audience string, err error) {
	if m.config.Credential == connector.CredentialExchange {
		token, err = m.server.credentials.Exchange(ctx, k.caller.GrantID, m.config.Audience)
		return token, m.config.Audience, err
	}
	if admitted := k.upstream.Swap(nil); admitted != nil {
		return *admitted, "", nil
	}
	token, err = k.caller.UpstreamToken(ctx)
	return token, "", err
}

// credentialError says as a connector's error what stands in the way of a credential.
func credentialError(err error) *connector.Error {
	var e *oauth.Error
	if !errors.As(err, &e) {
		e = oauth.Unavailable(oauth.Internal, err)
	}
	return &connector.Error{Code: codeInternal, Message: e.Description(), Reason: e.Reason, Cause: e}
}

// unavailable answers a call of a tool whose connector cannot say now what it offers, and why.
func (m *mounted) unavailable(k *call, why error) *Result {
	e, result := connector.Unreachable(nil), callUnreachable
	var said *connector.Error
	if errors.As(why, &said) && said.Reason == oauth.ConnectorBadAnswer {
		e, result = said, callBadAnswer // it is there, and talks nonsense
	}
	m.metrics.done(result)
	k.info.Reason(e.Reason)
	return Failed(e.Message)
}

// raw is a list of definitions.
type raw = []json.RawMessage
