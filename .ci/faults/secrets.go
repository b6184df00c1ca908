package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hostedmcp/auth/authtest"
)

// secrets goes through everything that hostedmcp does, at log level debug, and searches what it said and stored for
// every credential that clients, browsers, provider and connectors saw: in the log, metrics, pages, answers to errors,
// what each command printed, the admin socket's answers, backups, and every file of the data folder but the key. Once
// before the test provider with connectors of each credential, once with the demo provider.
func secrets(r *run) error {
	for name, stage := range map[string]func(*search) error{"provider": (*search).withProvider, "demo": (*search).withDemo} {
		s := &search{run: r, name: name, book: &recorder{secrets: map[string]secret{}}}
		r.transcript.texts = nil
		if err := stage(s); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := s.verdict(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r.clear()
	}
	return nil
}

// search is one server that is searched.
type search struct {
	*run
	name       string
	book       *recorder
	provider   *authtest.Provider // nil = the demo provider
	server     *server
	connectors *connectors
	must       []string // kinds of secrets that must have been seen
	files      []string // backups
}

// always are the kinds that each run must see.
var always = []string{
	"access_token", "refresh_token", "code", "state", "code_verifier", "nonce", "form ticket", "form token", "cookie hostedmcp_csrf",
	"cookie hostedmcp_bind", "cookie hostedmcp_signin", "master key", "signing key", "user's token at a connector",
}

// withProvider is the run before the test provider.
func (s *search) withProvider() error {
	behaviour := rotationBehaviour(authtest.RotationReuse)
	s.book.watch(&behaviour)
	var users []authtest.User
	for name, group := range map[string]string{"alice": "sales", "bob": "it", "carol": "sales"} {
		users = append(users, authtest.User{Name: name, Password: password, Groups: []string{group}})
	}
	var err error
	s.provider, err = authtest.StartProvider(authtest.ProviderConfig{Users: users, ClientSecret: rand.Text() + rand.Text(), Behaviour: behaviour})
	if err != nil {
		return err
	}
	s.atEnd(s.provider.Close)
	if s.connectors, err = s.newConnectors(); err != nil {
		return err
	}
	more, err := s.connectors.config(s.dir)
	if err != nil {
		return err
	}
	reports := filepath.Join(s.dir, "reports")
	if err := s.secretFile(reports, "client_secret"); err != nil {
		return err
	}
	more = append(more, `[access]`, `operators = ["it"]`, `[[clients.registered]]`, `id = "reports"`, `name = "Reports"`,
		`redirect_uris = ["http://127.0.0.1:33418/callback"]`, fmt.Sprintf("secret_file = %q", reports))
	if err := s.serve(settings{
		issuer: s.provider.Issuer, clientID: s.provider.ClientID, secret: s.provider.ClientSecret,
		provider: []string{`rotation = "reuse"`, `holdoff = "200ms"`, `timeout = "5s"`}, tokens: []string{`access_ttl = "3s"`}, more: more,
	}); err != nil {
		return err
	}
	s.must = append(slices.Clone(always), "provider's access_token", "provider's refresh_token", "provider's id_token",
		"provider's client secret", "provider saw code", "provider saw nonce", "provider saw state", "provider saw code_verifier",
		"client_secret", "static key at a connector", "exchanged token at a connector", "user's token at an MCP server")
	return s.through("alice", "bob")
}

// secretFile makes a file with a new secret.
func (s *search) secretFile(path, kind string) error {
	v := rand.Text() + rand.Text()
	s.book.secret(kind, v, "")
	return os.WriteFile(path, []byte(v+"\n"), 0o600)
}

// serve starts the server behind the recorder.
func (s *search) serve(o settings) error {
	front := freePort()
	o.public, o.level = "http://"+front, "debug"
	var err error
	if s.server, err = s.newServer(s.name, o); err != nil {
		return err
	}
	done, err := s.book.front(s.name, front, s.server.listen, "")
	if err != nil {
		return err
	}
	s.atEnd(done)
	return s.server.start()
}

// through is the whole run: what is meant to happen, what is not, and what the operator looks at.
func (s *search) through(user, operator string) error {
	first := s.newClient(s.server, 0, user, http.DefaultTransport)
	second := s.newClient(s.server, 1, operator, http.DefaultTransport)
	for _, c := range []*client{first, second} {
		c.Browser.Fill = s.credentials(c.user)
		if err := s.login(c); err != nil {
			return err
		}
		s.calls(c)
	}
	if err := s.pages(first, second); err != nil {
		return err
	}
	s.mistakes(first)
	if s.provider != nil {
		if err := s.confidential(first); err != nil {
			return err
		}
		s.troubles(second)
	}
	if err := s.operate(first); err != nil {
		return err
	}
	s.scrape()
	if err := s.server.stop(); err != nil {
		s.violation("%v", err)
	}
	s.closed(first)
	return nil
}

// credentials are what somebody types at the provider.
func (s *search) credentials(user string) map[string]string {
	if s.provider == nil {
		return map[string]string{"username": user, "password": user + "-pw"}
	}
	return map[string]string{"username": user, "password": password}
}

// login is client.login, with the browser kept.
func (s *search) login(c *client) error {
	if c.ID == "" {
		if err := c.Register("Client of " + c.user); err != nil {
			return err
		}
	}
	a := c.Begin()
	s.book.secret("code_verifier", a.Verifier, "")
	q, err := c.Authorize(a)
	if err != nil {
		return err
	}
	t, err := c.Redeem(a, q.Get("code"))
	if err == nil && t.Status != http.StatusOK {
		err = fmt.Errorf("code: %d %s: %s", t.Status, t.Error, t.Description)
	}
	if err != nil {
		return err
	}
	if again, err := c.Redeem(a, "x"+q.Get("code")); err != nil || again.Status == http.StatusOK { // an unknown code
		s.violation("a made-up code: %d, %v", again.Status, err)
	}
	return c.save(t)
}

// calls uses every tool, and refreshes in between.
func (s *search) calls(c *client) {
	tools := []string{"whoami", "userinfo", "no_such_tool"}
	if s.connectors != nil {
		tools = append(tools, s.connectors.tools()...)
	}
	for _, tool := range tools {
		a, err := c.post(tool)
		fails := strings.HasSuffix(tool, "_tool") || strings.HasSuffix(tool, "broken") || strings.HasSuffix(tool, "refused") || strings.HasSuffix(tool, "_deal")
		if err != nil || !fails && !good(a.body) {
			s.violation("%s: %d %.500s, %v", tool, a.status, a.body, err)
		}
		if tool == "whoami" {
			time.Sleep(1100 * time.Millisecond) // the provider's token is due
			if v, a, err := c.refresh(); v != worked {
				s.violation("refresh: %s, %v", a, err)
			}
		}
	}
}

// verdict searches.
func (s *search) verdict() error {
	if s.provider != nil {
		s.book.provider(s.provider)
	}
	if err := s.keys(); err != nil {
		return err
	}
	s.transcript.mu.Lock()
	s.book.texts = append(s.book.texts, s.transcript.texts...)
	s.transcript.mu.Unlock()
	files := append([]string{filepath.Join(s.server.dir, "server.log")}, s.files...)
	err := filepath.WalkDir(s.server.data, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasPrefix(d.Name(), "master.key") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s.book.text(filepath.Base(path), string(content), "")
	}
	if err := s.book.complete(s.must); err != nil {
		return err
	}
	if text, _ := os.ReadFile(files[0]); !strings.Contains(string(text), `"level":"DEBUG"`) {
		s.violation("the log has no line of level debug: this run proves nothing")
	}
	size := s.book.scan(s.violation)
	s.say("%s: %d credentials of %d kinds, not one in %d texts of %d bytes", s.name, len(s.book.secrets), len(s.book.kinds()),
		len(s.book.texts), size)
	return nil
}

// shown keeps an answer of the admin socket or of /metrics.
func (s *search) shown(from string, res *http.Response, err error) []byte {
	if err != nil {
		s.violation("%s: %v", from, err)
		return nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.violation("%s: %v", from, err)
	}
	s.book.text(from, string(body), "")
	return body
}

func (s *search) scrape() {
	res, err := http.Get(s.server.scrape)
	s.shown("metrics", res, err)
}
