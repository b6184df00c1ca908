// Command hostedmcp is an MCP endpoint with its own OAuth 2.1 authorization server in front of an OpenID provider: one
// binary, one encrypted file. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"hostedmcp/auth"
	"hostedmcp/auth/demo"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/upstream"
	"hostedmcp/mcp"
	"hostedmcp/storage"
	"hostedmcp/web"
	"hostedmcp/web/admin"
)

const usage = `hostedmcp serves MCP tools to AI agents as the person who asks.

  hostedmcp -config FILE    serve
  hostedmcp version         what this binary is
  hostedmcp help            this text

Start from config.example.toml: it is the manual of the configuration and runs as it stands.
`

// drainTime is how long a stop may take (SIGTERM; the unit's TimeoutStopSec must be longer). Streams and requests
// have it together; after it they are cut, and the store is closed all the same.
const drainTime = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintln(os.Stderr, "hostedmcp: "+line)
		}
		os.Exit(1)
	}
}

// run is the program as a value: it returns when ctx is done, or an error of one line a fault. Tests call it as a
// shell would.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("hostedmcp", flag.ContinueOnError)
	// the error says it all; flag's own list of one flag would hide it
	flags.SetOutput(io.Discard)
	path := flags.String("config", "", "configuration file")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, usage)
			return nil
		}
		return fmt.Errorf("%w: see hostedmcp help", err)
	}
	switch command := flags.Arg(0); {
	case command == "" && *path != "":
		return serve(ctx, *path, stdout, stderr)
	case command == "help":
		fmt.Fprint(stdout, usage)
		return nil
	case command == "version":
		fmt.Fprintln(stdout, "hostedmcp "+version())
		return nil
	case command == "":
		return errors.New("no configuration file: run hostedmcp -config config.toml, or see hostedmcp help")
	default:
		return fmt.Errorf("unknown command %q: see hostedmcp help", command)
	}
}

// version is the module's version, or the commit that the binary was built from. It is told to MCP clients and stands
// in the log, so that a report names its build.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && info.Main.Version == "(devel)" {
			return s.Value
		}
	}
	return info.Main.Version
}

// config is the configuration file. Each section's type, defaults and rules belong to the package that lives by it.
type config struct {
	PublicURL        string   `toml:"public_url"`        // the issuer I (protocol.md §2); required
	Name             string   `toml:"name"`              // shown to people; "" = host of public_url
	ShortName        string   `toml:"short_name"`        // for commands; "" = made from name
	Listen           string   `toml:"listen"`            // host:port
	DataDir          string   `toml:"data_dir"`          // the store, and the master key unless it is elsewhere
	TrustedProxies   []string `toml:"trusted_proxies"`   // whose X-Forwarded-For is believed; none = nobody's
	AllowedHosts     []string `toml:"allowed_hosts"`     // further values of Host
	AllowedOrigins   []string `toml:"allowed_origins"`   // further origins that may call /mcp
	InsecureLoopback bool     `toml:"insecure_loopback"` // http on loopback without [demo]

	Provider upstream.Config    `toml:"provider"`
	Demo     *demo.Config       `toml:"demo"` // nil = a provider of one's own
	Access   auth.AccessConfig  `toml:"access"`
	Tokens   auth.TokensConfig  `toml:"tokens"`
	Clients  auth.ClientsConfig `toml:"clients"`
	MCP      mcp.Config         `toml:"mcp"`
	Storage  storage.Config     `toml:"storage"`
	Metrics  web.MetricsConfig  `toml:"metrics"`
	TLS      web.TLSConfig      `toml:"tls"`
	Log      web.LogConfig      `toml:"log"`
	Limits   auth.LimitsConfig  `toml:"limits"`

	proxies []netip.Prefix // TrustedProxies, parsed
	secret  oauth.Secret   // of our client at the provider
}

// loadConfig reads the file and reports everything wrong with it at once. Defaults are set before decoding: a key
// that is left out keeps its own. Secrets are read last: nobody is asked for a file by a configuration that is wrong
// elsewhere.
func loadConfig(path string) (*config, error) {
	c := &config{
		Listen: "127.0.0.1:8080", DataDir: "./data", Provider: upstream.DefaultConfig(), Tokens: auth.DefaultTokens(),
		Clients: auth.DefaultClients(), MCP: mcp.DefaultConfig(), Storage: storage.DefaultConfig(),
		Metrics: web.DefaultMetricsConfig(), Log: web.DefaultLogConfig(), Limits: auth.DefaultLimits(),
	}
	file, err := admin.ReadConfig(path, c)
	if err != nil {
		return nil, err
	}
	if c.Demo != nil {
		c.fillDemo()
	}
	if err := c.validate(); err != nil {
		return nil, file.Locate(err)
	}
	return c, file.Locate(c.readSecrets())
}

// fillDemo gives [demo] its defaults; users of the file replace the two of the default. The section itself has none:
// without it there is no demo provider.
func (c *config) fillDemo() {
	d := demo.DefaultConfig()
	if c.Demo.Listen == "" {
		c.Demo.Listen = d.Listen
	}
	if len(c.Demo.Users) == 0 {
		c.Demo.Users = d.Users
	}
}

// validate asks every section and what no section can know alone: how public_url, [demo] and [provider] go together.
func (c *config) validate() error {
	loopback := oauth.IsLoopbackURL(c.PublicURL) && c.insecure()
	faults := []error{
		keyed("public_url", oauth.CheckIssuer(c.PublicURL)), web.CheckListen("listen", c.Listen), c.parseProxies(),
		c.Access.Validate(), c.Tokens.Validate(loopback), c.Clients.Validate(c.PublicURL),
		c.MCP.Validate(), c.Storage.Validate(), c.Metrics.Validate(), c.TLS.Validate(), c.Log.Validate(), c.Limits.Validate(),
	}
	if c.DataDir == "" {
		faults = append(faults, errors.New("data_dir: must name a folder"))
	}
	if c.Demo != nil {
		faults = append(faults, c.Demo.Validate(), c.Provider.ValidateDemo())
	} else {
		faults = append(faults, c.Provider.Validate())
		if loopback && !c.InsecureLoopback {
			faults = append(faults, errors.New("public_url: http is for [demo] or insecure_loopback = true: use https"))
		}
	}
	// An origin has neither path nor pattern: it is compared byte for byte with what browsers send (RFC 6454 §6.1).
	for _, o := range c.AllowedOrigins {
		if u, err := url.Parse(o); err != nil || u.Host == "" || u.Scheme+"://"+u.Host != o || strings.Contains(o, "*") {
			faults = append(faults, fmt.Errorf("allowed_origins: %q is not an origin: write https://app.example.com", o))
		}
	}
	return errors.Join(faults...)
}

// insecure says that the issuer is http: there other programs of the computer see our cookies (protocol.md §2).
func (c *config) insecure() bool { return strings.HasPrefix(c.PublicURL, "http:") }

// keyed puts the key before an error, by which Locate finds the line.
func keyed(key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", key, err)
}

// parseProxies reads addresses and networks; an address is a network of one.
func (c *config) parseProxies() error {
	var faults []error
	for _, s := range c.TrustedProxies {
		prefix, err := netip.ParsePrefix(s)
		if addr, e := netip.ParseAddr(s); e == nil {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("trusted_proxies: %q is not an address or a network: write 10.0.0.1 or 10.0.0.0/8", s))
			continue
		}
		c.proxies = append(c.proxies, prefix)
	}
	return errors.Join(faults...)
}

// readSecrets reads the files that the configuration names; each must be readable by us alone. The demo provider's
// secret is derived from the store's key and needs no file.
func (c *config) readSecrets() error {
	var faults []error
	if c.Demo == nil {
		secret, err := upstream.ReadSecret(c.Provider.ClientSecretFile)
		c.secret, faults = secret, append(faults, keyed("provider.client_secret_file", err))
	}
	for i, r := range c.Clients.Registered {
		if r.SecretFile == "" {
			continue
		}
		secret, err := upstream.ReadSecret(r.SecretFile)
		c.Clients.Registered[i].Secret = secret
		faults = append(faults, keyed(fmt.Sprintf("clients.registered[%d].secret_file", i), err))
	}
	return errors.Join(faults...)
}

// serve wires the packages together and runs until ctx is done. Everything that can be wrong is found before the
// first file is written. Addresses come before the store: a second process is told of its port, and never waits for
// the lock of the first.
func serve(ctx context.Context, path string, stdout, stderr io.Writer) error {
	c, err := loadConfig(path)
	if err != nil {
		return err
	}
	p := &program{config: c, log: web.NewLogger(c.Log, stderr), registry: prometheus.NewRegistry(), stdout: stdout}
	// Libraries log by the default logger; ours drops what they would give away (style.md, trap 12).
	slog.SetDefault(p.log)
	// a registry of our own: the default one would show what any library puts there
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := p.listen(); err != nil {
		return err
	}
	if err := p.open(ctx); err != nil {
		return errors.Join(err, p.close())
	}
	return p.serve(ctx)
}

// program is a running hostedmcp. What is nil was not reached when a start failed: close passes over it.
type program struct {
	*config
	log      *slog.Logger
	registry *prometheus.Registry
	stdout   io.Writer

	public, sign later // handlers of the public and the demo listener
	server       *web.Server
	store        *storage.Store
	provider     *upstream.Provider
	auth         *auth.Server
	mcp          *mcp.Server
}

// later is a handler that is made after its listener was opened. No request meets it empty: connections wait in the
// kernel until Serve, which comes after open.
type later struct{ http.Handler }

// listen opens every address, so that a port in use is found before anything is made. The metrics have a listener of
// their own, so that no proxy rule can publish them.
func (p *program) listen() error {
	listeners := []web.Listener{{Key: "listen", Addr: p.Listen, Handler: &p.public}}
	if p.TLS.Enabled() {
		certs, err := web.NewCertificates(p.TLS, nil, p.log)
		if err != nil {
			return err
		}
		listeners[0].TLS = certs.Config()
	}
	if p.Metrics.Listen != "" {
		listeners = append(listeners, web.Listener{
			Key: "metrics.listen", Addr: p.Metrics.Listen, Handler: web.MetricsHandler(p.registry),
		})
	}
	if p.Demo != nil {
		listeners = append(listeners, web.Listener{Key: "demo.listen", Addr: p.Demo.Listen, Handler: &p.sign})
	}
	limits := web.Limits{HeaderMax: p.Limits.HeaderMax, HeaderTimeout: p.Limits.HeaderTimeout.D()}
	var err error
	p.server, err = web.Bind(limits, p.log, listeners...)
	return err
}

// open opens the store and builds what stands on it. It does no network I/O. The order is that of the arrows
// (design.md §2): each part gets what it stands on.
func (p *program) open(ctx context.Context) error {
	observer := auth.NewObserver(p.registry, p.log)
	var err error
	// The store tells the observer after each commit, so it must exist before the server that it belongs to.
	if p.store, err = storage.Open(ctx, storage.Options{
		Dir: p.DataDir, Issuer: p.PublicURL, Config: p.Storage, CredentialsDir: os.Getenv("CREDENTIALS_DIRECTORY"),
		TombstoneTTL: p.Tokens.TombstoneTTL.D(), OnEvent: observer.Event, OnEnd: observer.End,
		OnAlarm: observer.Alarm, Log: p.log, Registerer: p.registry,
	}); err != nil {
		return err
	}
	pages, err := web.NewPages(p.site(), nil)
	if err != nil {
		return err
	}
	// Before the provider's client: it fills in whom that talks to.
	if err := p.openDemo(pages); err != nil {
		return err
	}
	p.provider = upstream.New(upstream.Options{
		Config: p.Provider, Secret: p.secret, RedirectURI: p.PublicURL + "/callback", Proxy: http.ProxyFromEnvironment, Log: p.log,
	})
	scopes, sentences := p.scopes()
	if p.auth, err = auth.New(auth.Options{
		Issuer: p.PublicURL, Name: p.site().Name, Access: p.Access, Tokens: p.Tokens, Clients: p.Clients, Limits: p.Limits,
		Upstream: p.Provider, Baseline: p.MCP.Scopes, Scopes: scopes, Sentence: sentences, Store: p.store, Provider: p.provider,
		Observer: observer, Pages: pages.Auth(), Log: p.log, Registerer: p.registry,
	}); err != nil {
		return err
	}
	// The seam between the resource and its authorization server is these functions, and nothing else of auth.
	if p.mcp, err = mcp.New(mcp.Options{
		Config: p.MCP, Issuer: p.PublicURL, Name: p.site().Name, Version: version(), AllowedHosts: p.AllowedHosts,
		AllowedOrigins: p.AllowedOrigins, Log: p.log, Registerer: p.registry,
		Authority: mcp.Authority{
			Verify: p.auth.Verify, Claims: p.auth.Claims, UpstreamToken: p.auth.UpstreamToken, Userinfo: p.auth.Userinfo,
			FirstCall: p.auth.FirstCall, Ended: p.auth.Ended,
		},
	}); err != nil {
		return err
	}
	p.public.Handler, err = web.NewHandler(web.Options{
		Pages: pages, Endpoints: append(p.auth.Endpoints(), p.mcp.Endpoint()), TrustedProxies: p.proxies,
		AllowedHosts: p.AllowedHosts, AllowedOrigins: p.AllowedOrigins, BodyTimeout: p.Limits.BodyTimeout.D(), Log: p.log,
		Registerer: p.registry,
		Checks: []web.Check{
			{Name: "store", Check: p.storeReady}, {Name: "provider", Check: p.providerReady},
		},
	})
	return err
}

// openDemo makes the embedded provider, and us its client. Its key is the store's, so that demo users stay connected
// over a restart, like everybody.
func (p *program) openDemo(pages *web.Pages) error {
	if p.Demo == nil {
		return nil
	}
	key := p.store.Key("demo")
	secret, err := demo.ClientSecret(key)
	if err != nil {
		return err
	}
	d, err := demo.New(demo.Options{
		Config: *p.Demo, Key: key, RedirectURI: p.PublicURL + "/callback", Static: web.Static(), Log: p.log,
		Page: func(w http.ResponseWriter, r *http.Request, s demo.SignIn) error {
			return pages.DemoSignIn(w, r, web.DemoSignIn{
				Host: p.Demo.Listen, Action: s.Action, Token: s.Token, Users: demoUsers(s.Users), Failed: s.Failed,
			})
		},
	})
	if err != nil {
		return err
	}
	p.sign.Handler = web.Frame(p.log, "demo", d.Handler())
	p.Provider.Issuer, p.Provider.ClientID, p.secret = d.Issuer(), demo.ClientID, secret
	return nil
}

// demoUsers hands the users over as web shows them: web does not know package demo.
func demoUsers(users []demo.User) (out []web.DemoUser) {
	for _, u := range users {
		out = append(out, web.DemoUser{Name: u.Name, Password: u.Password, Email: u.Email, Groups: u.Groups})
	}
	return out
}

// storeReady and providerReady are the two lines of /readyz, with reasons of the closed list.
func (p *program) storeReady() error {
	if err := p.store.Ready(); err != nil {
		return oauth.Unavailable(oauth.StorageUnavailable, err)
	}
	return nil
}

func (p *program) providerReady() error {
	err := p.provider.Ready()
	// discovery has said why; anything else is our own fault
	var failure *upstream.Failure
	if errors.As(err, &failure) {
		return oauth.Unavailable(failure.Reason, err)
	}
	return err
}

// scopes are those of `[[mcp.scope]]`, in their order, with what the consent page says of each.
func (p *program) scopes() (names []string, sentences map[string]string) {
	sentences = map[string]string{}
	for _, s := range p.MCP.Scope {
		names, sentences[s.Name] = append(names, s.Name), s.Sentence
	}
	return names, sentences
}

// site is what all pages say of this server.
func (p *program) site() web.Site {
	s := web.Site{
		Name: p.Name, ShortName: p.ShortName, Issuer: p.PublicURL, ProviderHost: hostOf(p.Provider.Issuer),
		Idle: p.Tokens.RefreshIdle, MaxAge: p.Tokens.RefreshMax, GrantsPerUser: p.Clients.GrantsPerUser,
	}
	if p.config.Demo != nil {
		s.Demo, s.ProviderHost = demoUsers(p.config.Demo.Users), p.config.Demo.Listen
	}
	if s.Name == "" {
		s.Name = s.Host()
	}
	if s.ShortName == "" {
		s.ShortName = web.ShortName(s.Name)
	}
	return s
}

// hostOf is what a person reads of an issuer's URL; "" gives "".
func hostOf(issuer string) string {
	_, rest, _ := strings.Cut(issuer, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// serve runs listeners and loops until ctx is done, then drains: streams first, then requests, then tokens that the
// provider has just given, the store last.
func (p *program) serve(ctx context.Context) error {
	// The loops go on after the signal, until the stop begins; a listener that fails begins it as well.
	loops, stopLoops := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLoops()
	g, failed := errgroup.WithContext(ctx)
	g.Go(p.server.Serve)
	g.Go(func() error { return p.store.Run(loops) })
	g.Go(func() error { return p.auth.Run(loops) })
	g.Go(func() error { _ = p.provider.Discover(loops); return nil }) // the first login need not wait; /readyz says how it went
	p.announce()
	<-failed.Done()
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	p.log.Info("stopping")
	stopLoops()
	return errors.Join(p.close(), g.Wait())
}

// close lets go of everything in the order that loses nothing. First mcp, as its streams would keep the listeners
// busy; then the listeners; then auth, which no request can reach any more and which commits what the provider has
// just answered; the store when nobody is left to write.
func (p *program) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	var faults []error
	if p.mcp != nil {
		faults = append(faults, p.mcp.Close(ctx))
	}
	faults = append(faults, p.server.Shutdown(ctx))
	if p.auth != nil {
		p.auth.Close(ctx)
	}
	if p.store != nil {
		faults = append(faults, p.store.Close())
	}
	return errors.Join(faults...)
}

// announce says where to point a client, and what a newcomer must know of this way of running. What is for people
// goes to stdout, what is for the journal through the log.
func (p *program) announce() {
	// without systemd it does nothing
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	p.log.Info("ready", "public_url", p.PublicURL, "listen", p.Listen, "version", version())
	say := func(format string, args ...any) { fmt.Fprintf(p.stdout, format+"\n", args...) }
	say("hostedmcp is ready. Point your MCP client at %s/mcp; %s shows how.", p.PublicURL, p.PublicURL)
	if _, key := p.store.Created(); key {
		say("A master key was made in %s. Keep a copy elsewhere: without it the store cannot be read.",
			filepath.Join(p.DataDir, "master.key"))
	}
	if p.Demo != nil {
		say("Demo: everything runs on this computer and all data is made up. Sign in as one of the users shown on the page.")
	}
	if p.insecure() {
		say("http on loopback is for trying out: other programs of this computer can see and set our cookies. " +
			"For others to use it, set an https public_url.")
	} else if len(p.proxies) == 0 && strings.HasPrefix(p.Listen, "127.") {
		p.log.Warn("listening on loopback for a public address without trusted_proxies: limits per address are off; " +
			"name your reverse proxy there")
	}
}
