package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"hostedmcp/auth/authtest"
)

// site is what hostedmcp stands between: the provider with its users, and the connectors of this process.
type site struct {
	provider *authtest.Provider
	api      *httptest.Server
	mounted  map[string]*httptest.Server // the MCP server over HTTP, by what it is: "legacy", "modern corpus"
	document string
	self     string // this program
	issuer   string // of hostedmcp
	listen   string

	mu     sync.Mutex
	issued map[string]string // marks of the provider's access tokens: whose each is
	people []*user           // signed in, each once for all servers
}

const password = "a password"

// newSite starts the provider and the servers of this process.
func (r *run) newSite() (*site, error) {
	s := &site{mounted: map[string]*httptest.Server{}, issued: map[string]string{}, listen: freePort()}
	s.issuer = "http://" + s.listen
	var config authtest.ProviderConfig
	for i := range max(r.users, r.memory) {
		config.Users = append(config.Users, authtest.User{Name: userName(i), Password: password})
	}
	config.Behaviour.AccessLife = 1 << 42 // over an hour: nobody's token changes meanwhile
	config.Behaviour.TokenAnswer = s.note
	var err error
	if s.provider, err = authtest.StartProvider(config); err != nil {
		return nil, err
	}
	if s.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if s.document, err = writeDocument(r.dir); err != nil {
		return nil, err
	}
	s.api = httptest.NewServer(http.HandlerFunc(r.echo))
	for _, era := range eras {
		s.mounted[era] = httptest.NewServer(&overHTTP{upstream: &upstream{modern: era == "modern"}, judge: r.judge})
		s.mounted[era+" corpus"] = httptest.NewServer(&overHTTP{upstream: &upstream{modern: era == "modern", corpus: true}})
	}
	r.atEnd(s.provider.Close)
	return s, os.WriteFile(filepath.Join(r.dir, "secret"), []byte(s.provider.ClientSecret), 0o600)
}

// eras are the two eras of the protocol.
var eras = []string{"legacy", "modern"}

func userName(i int) string { return fmt.Sprintf("user%04d", i) }

// note keeps whose a token of the provider is; the id_token beside it says so.
func (s *site) note(_ bool, m map[string]any) {
	token, _ := m["id_token"].(string)
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return
	}
	var claims struct{ Sub string }
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	json.Unmarshal(payload, &claims)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued[mark(m["access_token"].(string))] = claims.Sub
}

// owner returns the subject of the provider's token with this mark, "" for any other text.
func (s *site) owner(mark string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued[mark]
}

// judge looks at what came with one request to the mounted server over HTTP.
func (r *run) judge(who identity, what string) {
	owner := r.site.owner(mark(who.Credential))
	// Before anybody asks, hostedmcp looks as nobody what there is.
	nobody := who.Subject == "" && who.Credential == ""
	if owner != who.Subject || owner == "" && !nobody || len(who.Foreign) > 0 {
		r.fault("%s of %q came with a credential of %q and %q", what, who.Subject, owner, who.Foreign)
	}
}

// logIn returns n users, each signed in once for the whole run: connections outlive hostedmcp's process.
func (r *run) logIn(n int) ([]*user, error) {
	s := r.site
	transport := &http.Transport{MaxIdleConnsPerHost: 1000}
	var failed error
	var mu sync.Mutex
	first := len(s.people)
	for i := first; i < n; i++ {
		u := &user{run: r, name: userName(i), Client: authtest.NewClient(s.issuer)}
		u.HTTP = &http.Client{Transport: transport}
		u.Browser.Fill = map[string]string{"username": u.name, "password": password}
		s.people = append(s.people, u)
	}
	each(max(0, n-first), 4, func(i int) {
		if err := s.people[first+i].Login(); err != nil {
			mu.Lock()
			defer mu.Unlock()
			failed = fmt.Errorf("login: %w", err)
		}
	})
	return s.people[:n], failed
}
