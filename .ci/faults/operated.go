package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"hostedmcp/auth/authtest"
	"hostedmcp/storage"
)

// What people look at in the run of the campaign secrets: pages, commands, trace, the socket.

// pages has both sign in on the status page, the operator look at the user's, and one send the other's form.
func (s *search) pages(user, operator *client) error {
	var shown []*authtest.Page
	for _, c := range []*client{user, operator} {
		_, page, err := c.Browser.Login(s.server.url+"/status", "none")
		if err != nil || page.Status != http.StatusOK || !strings.Contains(page.Body, "Client of "+c.user) {
			return fmt.Errorf("status page of %s: %w", c.user, err)
		}
		shown = append(shown, page)
		for _, at := range []string{"/", "/status?subject=sub-" + user.user, "/status?client=" + user.ID, "/nothing", "/consent"} {
			if _, err := c.Browser.Get(s.server.url + at); err != nil {
				return err
			}
		}
	}
	for _, form := range shown[0].Forms {
		if form.Fields.Has("token") {
			if page, err := operator.Browser.Submit(shown[1], form); err != nil || page.Status < 400 {
				s.violation("somebody else's form was taken: %v", err)
			}
		}
	}
	return nil
}

// operate uses every command while the server runs.
func (s *search) operate(c *client) error {
	grants, err := s.server.grantsOf(c.user)
	if s.provider == nil { // its subjects are not made of names
		err = nil
		var page struct{ Grants []grantLine }
		if err = s.server.ask(&page, "grants", "list", "-all"); err == nil {
			grants = page.Grants
		}
	}
	if err != nil || len(grants) == 0 {
		return fmt.Errorf("grants list: %v, %w", grants, err)
	}
	t, err := c.RefreshWith(c.Refresh + "x")
	if err != nil {
		return err
	}
	s.files = append(s.files, filepath.Join(s.dir, s.name+"-backup"))
	for _, args := range [][]string{
		{"explain", c.user + "@example.com"}, {"explain", grants[0].ID, "-json"}, {"explain", t.Header.Get("X-Request-Id")}, {"explain", "nobody"},
		{"grants", "list", "-all"}, {"grants", "show", grants[0].ID}, {"grants", "show", grants[0].ID, "-json"},
		{"check"}, {"check", "-json"}, {"tools", "diff"}, {"clock", "accept"}, {"rotate-key", "-master"}, {"rotate-key", "-data"},
		{"rotate-key", "-signing"}, {"backup", s.files[0]}, {"print", "keycloak-client"}, {"print", "unit"}, {"help"}, {"restore", s.files[0]},
	} {
		s.server.do(args...) // some end with 1, as they should: what they print is on trial
	}
	s.socket(grants[0].ID, t.Header.Get("X-Request-Id"))
	for _, args := range [][]string{{}, {"-as", "cursor"}, {"-json", "-retry"}, {"-no-login"}, {"-scope", "nonsense"}} {
		if err := s.trace(c, args...); err != nil {
			s.violation("trace %v: %v", args, err)
		}
	}
	_, err = s.server.do("grants", "end", grants[0].ID, "-yes")
	return err
}

// socket asks the admin socket as the commands do.
func (s *search) socket(grant, request string) {
	h := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.server.data, "admin.sock"))
	}}}
	for _, at := range []string{
		"ping", "grants", "grants/" + grant, "explain?word=" + grant, "explain?word=" + request, "users?word=sub-alice", "tools", "nothing",
	} {
		res, err := h.Get("http://admin/v1/" + at)
		s.shown("socket "+at, res, err)
	}
	res, err := h.Post("http://admin/v1/backup", "application/json", nil)
	if body := s.shown("socket backup", res, err); len(body) < 10_000 {
		s.violation("the socket's backup: %d bytes", len(body))
	}
}

// trace runs hostedmcp trace, signs in for it, and keeps what it printed, but for the URL to open: its state is for
// whoever opens it.
func (s *search) trace(c *client, args ...string) error {
	cmd := exec.Command(s.bin, append([]string{"trace", s.server.url + "/mcp", "-wait", "30s"}, args...)...)
	out, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { w.CloseWithError(errors.Join(io.EOF, cmd.Wait())) }()
	var kept strings.Builder
	var failed error
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		at := strings.TrimSpace(lines.Text())
		if !strings.HasPrefix(at, s.server.url+"/authorize?") {
			kept.WriteString(lines.Text() + "\n")
			continue
		}
		if slices.Contains(args, "-no-login") {
			continue
		}
		u, err := url.Parse(at)
		if err != nil {
			return err
		}
		b := authtest.NewUserAgent()
		b.Fill = s.credentials(c.user)
		end, last, err := b.Login(at, u.Query().Get("redirect_uri"))
		if err == nil && end == nil {
			err = fmt.Errorf("login stopped at %s with %d", last.URL.Path, last.Status)
		}
		if failed = err; err == nil {
			_, failed = b.Get(end.String())
		}
	}
	s.transcript.add(s.name+": trace "+strings.Join(args, " "), kept.String())
	if !strings.Contains(kept.String(), "challenge") {
		return fmt.Errorf("it says %q", kept.String())
	}
	return failed
}

// closed looks at the closed file.
func (s *search) closed(c *client) {
	file := filepath.Join(s.dir, s.name+"-closed")
	s.files = append(s.files, file)
	for _, args := range [][]string{{"explain", c.user + "@example.com"}, {"grants", "list"}, {"backup", file}, {"check"}} {
		s.server.do(args...)
	}
	if _, err := os.Stat(file); err != nil {
		s.violation("%v", err)
	}
}

// keys reads the keys that nobody outside ever sees.
func (s *search) keys() error {
	files, err := filepath.Glob(filepath.Join(s.server.data, "master.key*"))
	if err != nil {
		return err
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s.book.secret("master key", strings.TrimSpace(string(text)), "")
	}
	store, err := storage.Open(context.Background(), storage.Options{
		Dir: s.server.data, Issuer: s.server.url, Config: storage.DefaultConfig(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer store.Close()
	for _, k := range store.SigningKeys() {
		raw, err := k.Private.Bytes()
		if err != nil {
			return err
		}
		s.book.secret("signing key", hex.EncodeToString(raw), "")
	}
	return nil
}

// withDemo is the run with the demo provider and its CRM, whose address is the recorder's.
func (s *search) withDemo() error {
	var err error
	if s.connectors, err = s.newConnectors(); err != nil {
		return err
	}
	s.connectors.demo = true
	listen, crm := freePort(), freePort()
	done, err := s.book.front("crm", crm, listen, listen)
	if err != nil {
		return err
	}
	s.atEnd(done)
	document := filepath.Join(s.dir, "demo-own.json")
	if err := os.WriteFile(document, fmt.Appendf(nil, thingsDocument, s.connectors.url+"/own"), 0o600); err != nil {
		return err
	}
	demo := fmt.Sprintf("[demo]\nlisten = %q\n[[connector]]\nname = \"own\"\nkind = \"openapi\"\ncredential = \"user\"\ndocument = %q", listen, document)
	if err := s.serve(settings{tokens: []string{`access_ttl = "3s"`}, more: []string{demo}}); err != nil {
		return err
	}
	if err := s.addCRM(listen, crm); err != nil {
		return err
	}
	s.must = append(always, "Authorization Bearer")
	return s.through("alice", "bob")
}

// addCRM configures the CRM by the document that the demo provider serves.
func (s *search) addCRM(listen, crm string) error {
	res, err := http.Get("http://" + listen + "/crm/openapi.json")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	document := filepath.Join(s.dir, "crm.json")
	if err := os.WriteFile(document, content, 0o600); err != nil {
		return err
	}
	config, err := os.OpenFile(s.server.config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer config.Close()
	if _, err := fmt.Fprintf(config, "[[connector]]\nname = \"crm\"\nkind = \"openapi\"\ncredential = \"user\"\nurl = \"http://%s/crm\"\ndocument = %q\n",
		crm, document); err != nil {
		return err
	}
	if err := s.server.stop(); err != nil {
		return err
	}
	return s.server.start()
}
