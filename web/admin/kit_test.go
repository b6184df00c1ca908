package admin_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/auth/story"
	"hostedmcp/storage"
	"hostedmcp/storage/storagetest"
	"hostedmcp/web/admin"
)

// rig is a store with connections of three users, and either a server on its socket or nobody.
type rig struct {
	testing.TB
	clock  *storagetest.Clock
	opts   storage.Options
	socket string
	env    admin.Env
	door   admin.Options // of the server
	log    *buffer       // of the server

	store   *storage.Store                  // nil while closed
	stop    func()                          // of the server; nil = none runs
	between func(http.Handler) http.Handler // the socket and the door; nil = nothing
	input   string                          // what a person types

	secrets []string
}

// buffer is read while others write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.b.Write(p) }
func (b *buffer) String() string              { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

const day = 24 * time.Hour

// ids of the connections: alice has two living and an ended one, bob one, and the name of mallory's client is a trick.
const (
	idAlice   = "ALICEAAAAAAAAAAAAAAAAAAAAA"
	idAlice2  = "ALICEBBBBBBBBBBBBBBBBBBBBB"
	idEnded   = "ALICECCCCCCCCCCCCCCCCCCCCC"
	idBob     = "BOBAAAAAAAAAAAAAAAAAAAAAAA"
	idMallory = "MALLORYAAAAAAAAAAAAAAAAAAA"

	requestSignIn = "REQUESTSIGNINAAAAAAAAAAAAA"
	evilName      = "Claude\x1b[31m\u202e\u200bevil\n\tof"
)

func newRig(tb testing.TB) *rig {
	tb.Helper()
	r := &rig{TB: tb, clock: storagetest.NewClock(), log: &buffer{}}
	// a short path, whatever the test is called: a socket's name has 107 bytes
	dir, err := os.MkdirTemp("", "hm")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	data := filepath.Join(dir, "data")
	r.socket = admin.DefaultConfig().Path(data)
	r.opts = storage.Options{
		Dir: data, Issuer: storagetest.Issuer, TombstoneTTL: 90 * day, Log: slog.New(slog.DiscardHandler), Reserve: 1 << 16,
	}
	r.clock.Use(&r.opts)
	r.door.Hidden = hidden
	r.env = admin.Env{
		Hidden: hidden,
		Socket: r.socket, Options: func() storage.Options { return r.opts },
		Open: func(ctx context.Context) (*storage.Store, error) { return storage.Open(ctx, r.opts) },
		Site: story.Site{Provider: "login.example.com"},
	}
	r.restoreFilled()
	r.open()
	tb.Cleanup(r.close)
	return r
}

// filled is the data folder with all connections in it, made once: each commit waits for the disk.
var filled struct {
	sync.Mutex
	files map[string][]byte // without the zeros at the end of the store
	size  int64             // of the store
}

func (r *rig) restoreFilled() {
	r.Helper()
	filled.Lock()
	defer filled.Unlock()
	if filled.files == nil {
		r.open()
		r.fill()
		r.close()
		filled.files = map[string][]byte{}
		for _, name := range []string{"hostedmcp.db", "master.key"} {
			text, err := os.ReadFile(filepath.Join(r.opts.Dir, name))
			r.must(err)
			filled.files[name], filled.size = bytes.TrimRight(text, "\x00"), max(filled.size, int64(len(text)))
		}
		return
	}
	r.must(os.Mkdir(r.opts.Dir, 0o700))
	for name, text := range filled.files {
		r.must(os.WriteFile(filepath.Join(r.opts.Dir, name), text, 0o600))
	}
	r.must(os.Truncate(filepath.Join(r.opts.Dir, "hostedmcp.db"), filled.size))
	for _, id := range []string{idAlice, idAlice2, idEnded, idBob, idMallory} {
		r.tokens(id)
	}
	r.clock.Advance(2 * time.Hour)
}

// tokens are the credentials of a connection, which no output may show.
func (r *rig) tokens(id string) (access, refresh oauth.Secret) {
	access, refresh = oauth.Secret("upstream-access-"+id), oauth.Secret("upstream-refresh-"+id)
	r.secrets = append(r.secrets, access.Reveal(), refresh.Reveal())
	return access, refresh
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) open() {
	r.Helper()
	store, err := storage.Open(r.Context(), r.opts)
	r.must(err)
	r.store = store
}

// close ends the server and lets go of the file.
func (r *rig) close() {
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
	if r.store != nil {
		if err := r.store.Close(); err != nil {
			r.Errorf("close store: %v", err)
		}
		r.store = nil
	}
}

// serve puts a server on the socket.
func (r *rig) serve() {
	r.Helper()
	l, err := admin.Listen(r.socket)
	r.must(err)
	r.door.Store, r.door.Site = r.store, r.env.Site
	if r.door.Refusals == nil {
		r.door.Refusals = func(string) []story.Refusal { return nil }
	}
	if r.door.Log == nil {
		r.door.Log = slog.New(slog.NewTextHandler(r.log, nil))
	}
	handler := admin.NewDoor(r.door).Handler()
	if r.between != nil {
		handler = r.between(handler)
	}
	server := &http.Server{Handler: handler, WriteTimeout: 30 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	r.stop = func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			r.Errorf("serve: %v", err)
		}
	}
}

// fill makes the connections.
func (r *rig) fill() {
	r.connect(idAlice, "alice", "Alice Example", "alice@example.com", "hmcp_ci_claude", "Claude")
	r.connect(idAlice2, "alice", "Alice Example", "alice@example.com", "https://cursor.example/client.json", "Cursor")
	r.connect(idEnded, "alice", "Alice Example", "alice@example.com", "hmcp_ci_claude", "Claude")
	r.connect(idBob, "bob", "Bob Beispiel", "bob@example.com", "hmcp_ci_claude", "Claude")
	r.connect(idMallory, "mallory", evilName, "m@example.com", "hmcp_ci_evil", evilName)
	r.clock.Advance(time.Hour)
	_, err := r.store.EndGrant(r.Context(), idEnded, oauth.UpstreamSessionEnded, storage.Event{Reason: oauth.UpstreamSessionEnded})
	r.must(err)
	r.clock.Advance(time.Hour)
}

func sum(s string) [32]byte { return sha256.Sum256([]byte(s)) }

// connect logs in and redeems the code.
func (r *rig) connect(id, subject, name, email, client, clientName string) {
	r.Helper()
	key := sum("key" + id)
	challenge := sum("verifier" + id)
	access, refresh := r.tokens(id)
	r.must(r.store.CreateGrant(r.Context(), storage.NewGrant{
		Grant: storage.Grant{
			ID: id, ClientID: client, ClientName: clientName, ClientKind: storage.ClientRegistered, Subject: subject,
			Scope: oauth.Scope{"mcp"}, Resource: storagetest.Issuer + "/mcp", RedirectURI: "http://127.0.0.1:33418/",
		},
		Key:      key[:],
		Identity: storage.Identity{Subject: subject, Name: name, Email: email, Groups: []string{"sales"}},
		Upstream: storage.Upstream{
			Access: access, Refresh: refresh, TokenType: "Bearer",
			Expires: r.clock.Now().Add(day), RefreshExpires: r.clock.Now().Add(40 * day),
		},
		CodeHash: sum("code" + id),
		Code: storage.Code{ClientID: client, RedirectURI: "http://127.0.0.1:33418/", Challenge: hex.EncodeToString(challenge[:]),
			Resource: storagetest.Issuer + "/mcp", Expires: r.clock.Now().Add(time.Minute)},
		Events: []storage.Event{{Reason: oauth.SignedIn, Request: requestSignIn, Address: "192.0.2.1"}},
	}))
	_, verdict, err := r.store.RedeemCode(r.Context(), storage.Redeem{
		Hash: sum("code" + id), ClientID: client, RedirectURI: "http://127.0.0.1:33418/", Challenge: hex.EncodeToString(challenge[:]),
		Resource: storagetest.Issuer + "/mcp", Memory: day,
	})
	if verdict != "" || err != nil {
		r.Fatalf("redeem: %s %v", verdict, err)
	}
}

// result is what a command did.
type result struct {
	out, err string
	code     int
	fault    error
}

// run runs a command line as main does.
func (r *rig) run(line ...string) result {
	r.Helper()
	var out, diag bytes.Buffer
	env := r.env
	env.Stdout, env.Stderr, env.Stdin = &out, &diag, strings.NewReader(r.input)
	fault := admin.Run(r.Context(), line[0], line[1:], env)
	if fault != nil {
		fmt.Fprintln(&diag, fault)
	}
	got := result{out.String(), diag.String(), admin.ExitCode(fault), fault}
	for _, s := range r.secrets {
		if strings.Contains(got.out+got.err+r.log.String(), s) {
			r.Errorf("%v shows a secret", line)
		}
	}
	if strings.Join(line, " ") == "backup -" {
		return got
	}
	for _, c := range got.out + got.err {
		if c == '\x1b' && !env.Terminal || c == '\u202e' || c == '\u200b' {
			r.Errorf("%v prints what a terminal obeys: %q", line, got.out+got.err)
			break
		}
	}
	return got
}

// hidden stands for what main hands over.
func hidden(definition json.RawMessage) []string {
	if bytes.Contains(definition, []byte(`\u2066`)) {
		return []string{"U+2066"}
	}
	return nil
}

// both runs a test on a live server and on the closed file: one code path, one answer.
func both(t *testing.T, f func(t *testing.T, r *rig)) {
	for _, mode := range []string{"live", "closed"} {
		t.Run(mode, func(t *testing.T) {
			r := newRig(t)
			if mode == "live" {
				r.serve()
			} else {
				r.close()
			}
			f(t, r)
		})
	}
}

// has fails unless text holds all of want.
func has(t testing.TB, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in:\n%s", w, text)
		}
	}
}

// hasNot fails if text holds any of these.
func hasNot(t testing.TB, text string, not ...string) {
	t.Helper()
	for _, w := range not {
		if strings.Contains(text, w) {
			t.Errorf("%q is in:\n%s", w, text)
		}
	}
}

// grantNow reads a grant of the store, whoever has it open.
func (r *rig) grantNow(id string) storage.Grant {
	r.Helper()
	if r.store == nil {
		r.open()
		defer r.close()
	}
	g, err := r.store.Grant(id)
	r.must(err)
	return g
}
