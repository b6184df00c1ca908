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
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"hostedmcp/auth"
	"hostedmcp/auth/demo"
	"hostedmcp/auth/oauth"
	"hostedmcp/auth/story"
	"hostedmcp/auth/upstream"
	"hostedmcp/deploy"
	"hostedmcp/mcp"
	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/mount"
	"hostedmcp/mcp/connector/rest"
	"hostedmcp/mcp/trace"
	"hostedmcp/storage"
	"hostedmcp/web"
	"hostedmcp/web/admin"
)

// usage is the text of help; the commands behind the door list themselves.
func usage() string {
	var b strings.Builder
	line := func(command, summary string) { fmt.Fprintf(&b, "  hostedmcp %-34s %s\n", command, summary) }
	b.WriteString("hostedmcp serves MCP tools to AI agents as the person who asks.\n\n")
	line("-config FILE", "serve")
	for _, c := range admin.Commands() {
		line(strings.TrimSpace(c.Name+" "+c.Args), c.Summary)
	}
	line("trace URL", "what a client sees of any MCP server, step by step")
	line("print "+deploy.Parts(), "what is needed around it")
	line("version", "what this binary is")
	line("help", "this text")
	b.WriteString("\nEach takes -h. All but trace, version and help take -config FILE.\n" +
		"Start from config.example.toml: it is the manual of the configuration and runs as it stands.\n")
	return b.String()
}

// drainTime is how long a stop may take (SIGTERM; the unit's TimeoutStopSec must be longer). Streams and requests
// have it together; after it they are cut, and the store is closed all the same.
const drainTime = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintln(os.Stderr, "hostedmcp: "+line)
		}
	}
	os.Exit(exitCode(err))
}

// exitCode is 0 for nil, 2 for a command line that cannot be meant, 1 for all else.
func exitCode(err error) int { return max(admin.ExitCode(err), trace.ExitCode(err)) }

// run is the program as a value: it returns when ctx is done, or an error of one line a fault. Tests call it as a
// shell would.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("hostedmcp", flag.ContinueOnError)
	// the error says it all; flag's own list of one flag would hide it
	flags.SetOutput(io.Discard)
	path := flags.String("config", "", "configuration file")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return say(stdout, usage())
		}
		return fmt.Errorf("%w: see hostedmcp help", err)
	}
	command, rest := flags.Arg(0), flags.Args()
	if len(rest) > 0 {
		rest = rest[1:]
	}
	if *path != "" && command != "" {
		rest = append([]string{"-config", *path}, rest...)
	}
	switch {
	case command == "" && *path != "":
		return serve(ctx, *path, stdout, stderr)
	case command == "":
		return errors.New("no configuration file: run hostedmcp -config config.toml, or see hostedmcp help")
	case command == "help":
		return say(stdout, usage())
	case command == "version":
		return say(stdout, build().String())
	case command == "trace":
		return trace.Run(ctx, rest, trace.Env{Stdout: stdout, Stderr: stderr, Terminal: isTerminal(stdout)})
	case command == "print":
		return deploy.Print(rest, stdout, printOptions())
	}
	return admin.Run(ctx, command, rest, admin.Env{
		Stdin: os.Stdin, Stdout: stdout, Stderr: stderr, Terminal: isTerminal(stdout), Load: commandEnv,
	})
}

func say(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// isTerminal reports whether a person reads what is written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// release is what the builder calls this build: go build -ldflags "-X main.release=1.2.0".
var release string

// version names this build to MCP clients, in the log and in a metric, so that a report tells which it is about.
func version() string { return build().Version }

func build() admin.Build {
	info, _ := debug.ReadBuildInfo()
	return admin.BuildOf(release, info)
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
	Admin    admin.Config       `toml:"admin"`

	Connectors []connector.Config `toml:"connector"`

	proxies []netip.Prefix // TrustedProxies, parsed
	secret  oauth.Secret   // of our client at the provider
	keys    []oauth.Secret // of Connectors, in their order; "" = has none
}

// loadConfig reads the file and the secrets that it names. Secrets are read last: nobody is asked for a file by a
// configuration that is wrong elsewhere.
func loadConfig(path string) (*config, error) {
	c, file, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	return c, file.Locate(c.readSecrets())
}

// readConfig reads the file and reports everything wrong with it at once. Defaults are set before decoding: a key that
// is left out keeps its own.
func readConfig(path string) (*config, *admin.ConfigFile, error) {
	c := &config{
		Listen: "127.0.0.1:8080", DataDir: "./data", Provider: upstream.DefaultConfig(), Tokens: auth.DefaultTokens(),
		Clients: auth.DefaultClients(), MCP: mcp.DefaultConfig(), Storage: storage.DefaultConfig(),
		Metrics: web.DefaultMetricsConfig(), TLS: web.DefaultTLSConfig(), Log: web.DefaultLogConfig(), Limits: auth.DefaultLimits(), Admin: admin.DefaultConfig(),
	}
	file, err := admin.ReadConfig(path, c)
	if err != nil {
		return nil, nil, err
	}
	if c.Demo != nil {
		c.fillDemo()
	}
	c.Connectors = connector.CompleteAll(c.Connectors)
	c.keys = make([]oauth.Secret, len(c.Connectors))
	if err := c.validate(); err != nil {
		return nil, nil, file.Locate(err)
	}
	return c, file, nil
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
		c.MCP.Validate(), c.Storage.Validate(), c.Metrics.Validate(), c.TLS.Validate(c.PublicURL), c.Log.Validate(), c.Limits.Validate(),
		c.Admin.Validate(), connector.ValidateAll(c.Connectors), connector.ValidateScopes(c.Connectors, c.scopes()),
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

// scopes are all that a client can be given: the baseline and those of [[mcp.scope]].
func (c *config) scopes() oauth.Scope {
	known := oauth.Scope(c.MCP.Scopes)
	for _, s := range c.MCP.Scope {
		known = known.Union(oauth.Scope{s.Name})
	}
	return known
}

// secretFile is a file that the configuration names, and where its content goes.
type secretFile struct {
	key, path string
	to        *oauth.Secret
}

// secretFiles are those that are named. The demo provider's secret is derived from the store's key and needs no file.
func (c *config) secretFiles() (files []secretFile) {
	add := func(key, path string, to *oauth.Secret) {
		if path != "" {
			files = append(files, secretFile{key, path, to})
		}
	}
	if c.Demo == nil {
		files = append(files, secretFile{"provider.client_secret_file", c.Provider.ClientSecretFile, &c.secret})
	}
	for i := range c.Clients.Registered {
		r := &c.Clients.Registered[i]
		add(fmt.Sprintf("clients.registered[%d].secret_file", i), r.SecretFile, &r.Secret)
	}
	for i := range c.Connectors {
		add(fmt.Sprintf("connector[%d].secret_file", i), c.Connectors[i].SecretFile, &c.keys[i])
	}
	return files
}

// readSecrets reads the files that the configuration names; each must be readable by us alone.
func (c *config) readSecrets() error {
	var faults []error
	for _, f := range c.secretFiles() {
		var err error
		*f.to, err = upstream.ReadSecret(f.path)
		faults = append(faults, keyed(f.key, err))
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
	p := &program{
		config: c, log: web.NewLogger(c.Log, stderr), registry: prometheus.NewRegistry(), stdout: stdout,
		refusals: web.NewRefusals(rememberedRefusals),
	}
	// Libraries log by the default logger; ours drops what they would give away (style.md, trap 12).
	slog.SetDefault(p.log)
	// a registry of our own: the default one would show what any library puts there
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	promauto.With(p.registry).NewGaugeVec(prometheus.GaugeOpts{
		Name: "hostedmcp_build_info", Help: "Always 1; the labels say which build this is.",
	}, []string{"version", "goversion"}).WithLabelValues(version(), runtime.Version()).Set(1)
	if p.connectors, err = c.sources(p.log); err != nil {
		return err
	}
	if err := p.listen(); err != nil {
		return errors.Join(err, p.close())
	}
	if err := p.open(ctx); err != nil {
		return errors.Join(err, p.close())
	}
	return p.serve(ctx)
}

// rememberedRefusals is how many refused requests a running server can still explain (design.md §4).
const rememberedRefusals = 10_000

// sources makes the connectors. They ask no network before they run: a connector that is away keeps nothing from
// starting.
func (c *config) sources(log *slog.Logger) (out []connector.Source, err error) {
	var faults []error
	for i, one := range c.Connectors {
		var s connector.Source
		if one.Kind == connector.OpenAPI {
			s, err = rest.New(rest.Options{Config: one, Secret: c.keys[i], Log: log})
		} else {
			s, err = mount.New(mount.Options{Config: one, Secret: c.keys[i], Log: log, Version: version()})
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		out = append(out, s)
	}
	return out, errors.Join(faults...)
}

// program is a running hostedmcp. What is nil was not reached when a start failed: close passes over it.
type program struct {
	*config
	log      *slog.Logger
	registry *prometheus.Registry
	stdout   io.Writer
	refusals *web.Refusals

	public, sign later // handlers of the public and the demo listener
	server       *web.Server
	store        *storage.Store
	provider     *upstream.Provider
	auth         *auth.Server
	connectors   []connector.Source
	mcp          *mcp.Server
	socket       net.Listener // of the operator's door
	door         *http.Server
}

// later is a handler that is made after its listener was opened. No request meets it empty: connections wait in the
// kernel until Serve, which comes after open.
type later struct{ http.Handler }

// listen opens every address, so that a port in use is found before anything is made. The metrics have a listener of
// their own, so that no proxy rule can publish them.
func (p *program) listen() error {
	listeners := []web.Listener{{Key: "listen", Addr: p.Listen, Handler: &p.public}}
	var err error
	if listeners[0].TLS, err = p.TLS.Server(web.TLSOptions{
		PublicURL: p.PublicURL, Folder: p.acmeFolder(), Proxy: http.ProxyFromEnvironment, Log: p.log,
	}); err != nil {
		return err
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
	p.server, err = web.Bind(limits, p.log, listeners...)
	return err
}

// acmeFolder is where certificates of an authority lie: beside the store, which it has nothing else to do with.
func (c *config) acmeFolder() string { return filepath.Join(c.DataDir, "acme") }

// open opens the store and builds what stands on it. It does no network I/O. The order is that of the arrows
// (design.md §2): each part gets what it stands on.
func (p *program) open(ctx context.Context) error {
	observer := auth.NewObserver(p.registry, p.log)
	var err error
	// The store tells the observer after each commit, so it must exist before the server that it belongs to.
	options := p.storeOptions()
	options.OnEvent, options.OnEnd, options.OnAlarm = observer.Event, observer.End, observer.Alarm
	options.Log, options.Registerer = p.log, p.registry
	if p.store, err = storage.Open(ctx, options); err != nil {
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
	p.provider = p.newProvider(p.log)
	scopes, sentences := p.furtherScopes()
	if p.auth, err = auth.New(auth.Options{
		Issuer: p.PublicURL, Name: p.site().Name, Access: p.Access, Tokens: p.Tokens, Clients: p.Clients, Limits: p.Limits,
		Upstream: p.Provider, Baseline: p.MCP.Scopes, Scopes: scopes, Sentence: sentences, Store: p.store, Provider: p.provider,
		Observer: observer, Pages: pages.Auth(), Connectors: p.pageConnectors, Log: p.log, Registerer: p.registry,
	}); err != nil {
		return err
	}
	if err := p.openMCP(); err != nil {
		return err
	}
	p.public.Handler, err = web.NewHandler(web.Options{
		Pages: pages, Endpoints: append(p.auth.Endpoints(), p.mcp.Endpoint()), TrustedProxies: p.proxies,
		AllowedHosts: p.AllowedHosts, AllowedOrigins: p.AllowedOrigins, BodyTimeout: p.Limits.BodyTimeout.D(), Log: p.log,
		Refusals: p.refusals, Registerer: p.registry,
		Checks: []web.Check{
			{Name: "store", Check: p.storeReady}, {Name: "provider", Check: p.providerReady},
		},
	})
	if err != nil {
		return err
	}
	return p.openDoor()
}

// storeOptions are those of the store for everybody who opens it: the server, and a command on the closed file.
func (c *config) storeOptions() storage.Options {
	return storage.Options{
		Dir: c.DataDir, Issuer: c.PublicURL, Config: c.Storage, CredentialsDir: os.Getenv("CREDENTIALS_DIRECTORY"),
		TombstoneTTL: c.Tokens.TombstoneTTL.D(),
	}
}

// openMCP makes the resource. The seam between it and its authorization server, and between it and the store, is these
// functions and nothing else.
func (p *program) openMCP() (err error) {
	p.mcp, err = mcp.New(mcp.Options{
		Config: p.MCP, Issuer: p.PublicURL, Name: p.site().Name, Version: version(), AllowedHosts: p.AllowedHosts,
		AllowedOrigins: p.AllowedOrigins, Log: p.log, Registerer: p.registry,
		Authority: mcp.Authority{
			Verify: p.auth.Verify, Claims: p.auth.Claims, UpstreamToken: p.auth.UpstreamToken, Userinfo: p.auth.Userinfo,
			FirstCall: p.auth.FirstCall, Ended: p.auth.Ended,
		},
		Connectors:  p.connectors,
		Credentials: mcp.Credentials{Exchange: p.auth.ExchangedToken, Refused: p.auth.TokenRefused},
		Pins:        mcp.Pins{Load: p.loadPins, Save: p.savePins},
		StateKey:    p.store.Key("request-state"),
	})
	return err
}

// loadPins and savePins hand pins over between packages that do not know each other.
func (p *program) loadPins(name string) (out []connector.Pin, err error) {
	pins, err := p.store.Pins(name)
	for _, pin := range pins {
		out = append(out, connector.Pin(pin))
	}
	return out, err
}

func (p *program) savePins(ctx context.Context, pins []connector.Pin) error {
	out := make([]storage.Pin, len(pins))
	for i, pin := range pins {
		out[i] = storage.Pin(pin)
	}
	return p.store.SavePins(ctx, out)
}

// pageConnectors is what operators see of the connectors; it is asked only when all is open.
func (p *program) pageConnectors() (out []auth.PageConnector) {
	for _, c := range p.mcp.Connectors() {
		out = append(out, auth.PageConnector(c))
	}
	return out
}

// openDoor opens the operator's unix socket. What comes through it is done as the server does it: streams close, and
// the provider is told.
func (p *program) openDoor() (err error) {
	if p.socket, err = admin.Listen(p.Admin.Path(p.DataDir)); err != nil {
		return err
	}
	door := admin.NewDoor(admin.Options{
		Store: p.store, Refusals: p.refusals.Find, Site: p.storySite(), Retire: p.retire, Log: p.log,
		End: func(ctx context.Context, id string) error {
			return p.auth.EndByOperator(named(ctx), id, oauth.AdminRevoked)
		},
		EndSubject: func(ctx context.Context, subject string) (int, error) { return p.auth.EndSubject(named(ctx), subject) },
		Tools:      admin.ToolsAdmin{Diff: p.toolChanges, Accept: p.mcp.AcceptTools, Forget: p.forgetTools},
		Hidden:     connector.HiddenText,
	})
	p.door = &http.Server{Handler: door.Handler(), ReadHeaderTimeout: p.Limits.HeaderTimeout.D(), ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelWarn)}
	return nil
}

// named gives what an operator does the request id that the command was told, so that explain finds it.
func named(ctx context.Context) context.Context {
	return auth.WithRequest(ctx, &auth.RequestInfo{ID: admin.RequestID(ctx)})
}

// toolChanges are the definitions that wait for the operator, and those with something in them that nobody sees.
func (p *program) toolChanges() (out []admin.Change, err error) {
	for _, c := range p.mcp.ToolChanges() {
		out = append(out, admin.Change{
			Connector: c.Connector, Tool: c.Tool, Accepted: c.Accepted, Offered: c.Offered, At: c.Since, Hidden: c.Hidden,
		})
	}
	return out, nil
}

// forgetTools drops pins of a connector that is mounted.
func (p *program) forgetTools(ctx context.Context, name, tool string) (n int, mounted bool, err error) {
	if !slices.ContainsFunc(p.config.Connectors, func(c connector.Config) bool { return c.Name == name }) {
		return 0, false, nil
	}
	n, err = p.mcp.ForgetTools(ctx, name, tool)
	return n, true, err
}

// storySite is what the stories of connections name of this installation.
func (c *config) storySite() story.Site {
	s := story.Site{
		Provider: hostOf(c.Provider.Issuer), Idle: c.Tokens.RefreshIdle, MaxAge: c.Tokens.RefreshMax,
		OutageGrace: c.Tokens.OutageGrace, GrantsPerUser: c.Clients.GrantsPerUser,
	}
	if c.Demo != nil {
		s.Provider = c.Demo.Listen
	}
	return s
}

// retire is when the last token of the present signing key has run out, the leeway of protocol.md §5.6 included.
func (c *config) retire() time.Time { return time.Now().Add(c.Tokens.AccessTTL.D() + 2*time.Minute) }

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

// furtherScopes are those of `[[mcp.scope]]`, in their order, with what the consent page says of each.
func (p *program) furtherScopes() (names []string, sentences map[string]string) {
	sentences = map[string]string{}
	for _, s := range p.MCP.Scope {
		names, sentences[s.Name] = append(names, s.Name), s.Sentence
	}
	return names, sentences
}

// site is what all pages say of this server.
func (p *program) site() web.Site {
	var connectors []web.Connector
	for _, c := range p.config.Connectors {
		connectors = append(connectors, web.Connector{Title: c.Title, ReadOnly: *c.ReadOnly})
	}
	s := web.Site{
		Connectors: connectors,
		Name:       p.Name, ShortName: p.ShortName, Issuer: p.PublicURL, ProviderHost: hostOf(p.Provider.Issuer),
		Idle: p.Tokens.RefreshIdle, MaxAge: p.Tokens.RefreshMax,
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
	defer runtime.KeepAlive(gcHeadroom())
	g, failed := errgroup.WithContext(ctx)
	g.Go(p.server.Serve)
	g.Go(func() error { return p.store.Run(loops) })
	g.Go(func() error { return p.auth.Run(loops) })
	g.Go(func() error { return p.mcp.Run(loops) })
	g.Go(func() error {
		if err := p.door.Serve(p.socket); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("admin.socket: %w", err)
		}
		return nil
	})
	g.Go(func() error { _ = p.provider.Discover(loops); return nil }) // the first login need not wait; /readyz says how it went
	p.announce()
	<-failed.Done()
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	p.log.Info("stopping")
	stopLoops()
	return errors.Join(p.close(), g.Wait())
}

// gcHeadroom keeps the collector from running all the time: it runs when as much was allocated as lives, and of our own
// only some 5 MB live. The headroom counts as alive, but is never touched, so it is in no page and holds no pointer to
// look at. Measured on 2 cores in turns: calls and logins 8 to 20 % faster at 16 and more at a time, for 25 MB of
// RssAnon under load in place of 9 (37 in place of 20 with 1,000 mounted tools; design.md §8 allows 45). A larger GOGC
// would cost that much for each MB that lives. nil = the operator has set the collector himself.
func gcHeadroom() []byte {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return make([]byte, 16<<20)
}

// close lets go of everything in the order that loses nothing. First mcp, as its streams would keep the listeners
// busy; then the listeners; then auth, which no request can reach any more and which commits what the provider has
// just answered; the store when nobody is left to write.
func (p *program) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	var faults []error
	if p.socket != nil {
		faults = append(faults, p.closeDoor(ctx))
	}
	if p.mcp != nil {
		faults = append(faults, p.mcp.Close(ctx))
	}
	if p.server != nil {
		faults = append(faults, p.server.Shutdown(ctx))
	}
	if p.auth != nil {
		p.auth.Close(ctx)
	}
	if p.store != nil {
		faults = append(faults, p.store.Close())
	}
	return errors.Join(faults...)
}

// closeDoor lets operations under way finish; a backup or a rotation that takes longer is cut, and loses nothing.
func (p *program) closeDoor(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime/2)
	defer cancel()
	if err := p.door.Shutdown(ctx); err != nil {
		return p.door.Close()
	}
	_ = p.socket.Close() // closed already if it was served
	return nil
}

// announce says where to point a client, and what a newcomer must know of this way of running. What is for people
// goes to stdout, what is for the journal through the log.
func (p *program) announce() {
	// without systemd it does nothing
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	p.log.Info("ready", "public_url", p.PublicURL, "listen", p.Listen, "version", version())
	tell := func(format string, args ...any) { fmt.Fprintf(p.stdout, format+"\n", args...) }
	tell("hostedmcp is ready. Point your MCP client at %s/mcp; %s shows how.", p.PublicURL, p.PublicURL)
	if _, key := p.store.Created(); key {
		tell("A master key was made in %s. Keep a copy elsewhere: without it the store cannot be read.",
			filepath.Join(p.DataDir, "master.key"))
	}
	if p.Demo != nil {
		tell("Demo: everything runs on this computer and all data is made up. Sign in as one of the users shown on the page.")
	}
	if p.insecure() {
		tell("http on loopback is for trying out: other programs of this computer can see and set our cookies. " +
			"For others to use it, set an https public_url.")
	} else if len(p.proxies) == 0 && strings.HasPrefix(p.Listen, "127.") {
		p.log.Warn("listening on loopback for a public address without trusted_proxies: limits per address are off; " +
			"name your reverse proxy there")
	}
}

// printOptions is what print asks of us.
func printOptions() deploy.PrintOptions {
	return deploy.PrintOptions{Unit: unitOptions, KeycloakClient: printClient}
}

// unitOptions name the binary that runs now, the configuration and its folder. The secrets' files need not exist yet:
// the unit is what hands them over.
func unitOptions(path string) (o deploy.UnitOptions, err error) {
	c, _, err := readConfig(path)
	if err != nil {
		return o, err
	}
	var faults [3]error
	o.Binary, faults[0] = os.Executable()
	o.Config, faults[1] = filepath.Abs(path)
	o.DataDir, faults[2] = filepath.Abs(c.DataDir)
	o.LowPort = lowPort(c.Listen) || lowPort(c.Metrics.Listen)
	return o, errors.Join(faults[:]...)
}

// lowPort says that an address can only be listened on by root, or with a capability.
func lowPort(address string) bool {
	_, port, _ := net.SplitHostPort(address)
	n, err := strconv.Atoi(port)
	return err == nil && 0 < n && n < 1024
}

// printClient needs the public URL, the client's id and what the connectors exchange tokens for. The secret's file need
// not exist yet: Keycloak makes the secret.
func printClient(path string) ([]byte, error) {
	c, _, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	o := upstream.KeycloakClientOptions{
		ClientID: c.Provider.ClientID, PublicURL: c.PublicURL, Scopes: c.Provider.Scopes, Audiences: c.audiences(),
	}
	o.Exchange = len(o.Audiences) > 0
	return upstream.KeycloakClient(o)
}

// audiences are those that connectors exchange tokens for.
func (c *config) audiences() (out []string) {
	for _, one := range c.Connectors {
		if one.Credential == connector.CredentialExchange {
			out = append(out, one.Audience)
		}
	}
	return out
}

// commandEnv is what the operator's commands work with.
func commandEnv(path string) (admin.Env, error) {
	if path == "" {
		return admin.Env{}, errors.New("no configuration file: add -config config.toml, the one that the server runs with")
	}
	c, _, err := readConfig(path)
	if err != nil {
		return admin.Env{}, err
	}
	// A secret that cannot be read is for check to say, beside all else; no other command needs one.
	_ = c.readSecrets()
	env := admin.Env{
		Socket: c.Admin.Path(c.DataDir), Options: c.storeOptions, Site: c.storySite(), Retire: c.retire, Hidden: connector.HiddenText,
		Open: func(ctx context.Context) (*storage.Store, error) { return storage.Open(ctx, c.storeOptions()) },
		Machine: admin.Machine{
			ConfigFile: path, PublicURL: c.PublicURL, Listen: c.Listen, TLS: c.TLS.Enabled(),
			TrustedProxies: len(c.proxies) > 0, MetricsListen: c.Metrics.Listen,
			Lives: admin.Lives{RefreshIdle: c.Tokens.RefreshIdle, TombstoneTTL: c.Tokens.TombstoneTTL, RetryWindow: c.Tokens.RetryWindow},
		},
		Findings: admin.Findings{Provider: c.checkProvider, Documents: c.checkDocuments, Connectors: c.checkConnectors},
	}
	if c.TLS.ACME {
		env.Machine.ACME = &admin.ACME{Directory: c.TLS.ACMEDirectory, Folder: c.acmeFolder()}
	}
	for _, f := range c.secretFiles() {
		env.Machine.Secrets = append(env.Machine.Secrets, admin.SecretFile{Key: f.key, Path: f.path})
	}
	return env, nil
}

// checkProvider is the provider's part of check. The demo provider is our own and runs with us only.
func (c *config) checkProvider(ctx context.Context, login func(authURL string) (string, error)) []oauth.Finding {
	if c.Demo != nil {
		return nil
	}
	o := upstream.CheckOptions{Audiences: c.audiences(), Login: login}
	if path := c.Provider.AdminClientSecretFile; path != "" {
		secret, err := upstream.ReadSecret(path)
		if err != nil {
			return []oauth.Finding{oauth.Bad("admin client", err.Error(), "see provider.admin_client_secret_file")}
		}
		o.AdminSecret = secret
	}
	return c.newProvider(nil).Check(ctx, o)
}

// newProvider is our side of the provider. Nothing is asked yet.
func (c *config) newProvider(log *slog.Logger) *upstream.Provider {
	return upstream.New(upstream.Options{
		Config: c.Provider, Secret: c.secret, RedirectURI: c.PublicURL + "/callback", Proxy: http.ProxyFromEnvironment, Log: log,
	})
}

func (c *config) checkDocuments(ctx context.Context) []oauth.Finding {
	return auth.CheckDocuments(ctx, c.PublicURL, c.Clients, c.Limits)
}

// checkConnectors looks at the connectors by themselves, beside a server that may be running.
func (c *config) checkConnectors(ctx context.Context) []oauth.Finding {
	bad := func(err error) []oauth.Finding {
		return []oauth.Finding{oauth.Bad("connectors", err.Error(), "see [[connector]] in the configuration")}
	}
	log := slog.New(slog.DiscardHandler)
	sources, err := c.sources(log)
	if err != nil {
		return bad(err)
	}
	resource, err := mcp.New(mcp.Options{Config: c.MCP, Issuer: c.PublicURL, Connectors: sources, Log: log})
	if err != nil {
		return bad(err)
	}
	defer func() { _ = resource.Close(ctx) }()
	return resource.CheckConnectors(ctx)
}
