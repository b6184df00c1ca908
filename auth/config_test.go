package auth_test

import (
	"strings"
	"testing"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

const configIssuer = "https://mcp.example.net"

// protocol.md §9: the defaults are valid, and are what the table says.
func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	tokens, clients, limits := auth.DefaultTokens(), auth.DefaultClients(), auth.DefaultLimits()
	for _, err := range []error{
		auth.AccessConfig{}.Validate(), tokens.Validate(false), tokens.Validate(true), clients.Validate(configIssuer), limits.Validate(),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	const day = 24 * time.Hour
	for name, row := range map[string][2]time.Duration{
		"access_ttl": {tokens.AccessTTL.D(), time.Hour}, "code_ttl": {tokens.CodeTTL.D(), time.Minute},
		"code_memory": {tokens.CodeMemory.D(), day}, "refresh_idle": {tokens.RefreshIdle.D(), 30 * day},
		"refresh_max_age": {tokens.RefreshMax.D(), 365 * day}, "retry_window": {tokens.RetryWindow.D(), time.Minute},
		"outage_grace": {tokens.OutageGrace.D(), day}, "request_ttl": {tokens.RequestTTL.D(), 10 * time.Minute},
		"signin_wait": {tokens.SigninWait.D(), 30 * time.Minute}, "signin_ttl": {tokens.SigninTTL.D(), 8 * time.Hour},
		"tombstone_ttl": {tokens.TombstoneTTL.D(), 90 * day}, "unused_ttl": {clients.UnusedTTL.D(), 400 * day},
		"cimd_timeout": {clients.CIMDTimeout.D(), 5 * time.Second}, "cimd_stale": {clients.CIMDStale.D(), 30 * day},
	} {
		if row[0] != row[1] {
			t.Errorf("%s is %s, want %s", name, row[0], row[1])
		}
	}
	want := auth.LimitsConfig{
		RegisterPerHour: 30, AuthorizePerMinute: 600, ConsentPerMinute: 120, FailedPerMinute: 60, CIMDPerHost: 10, CIMDParallel: 4,
		PendingMax: 10_000, PendingPerBrowser: 50, PendingPerAddress: 200, HeaderMax: 32 << 10,
		HeaderTimeout: oauth.Duration(5 * time.Second), BodyTimeout: oauth.Duration(30 * time.Second),
	}
	if limits != want {
		t.Errorf("limits %+v", limits)
	}
	if clients.RegisterMax != 10_000 || clients.CIMDMaxBytes != 16<<10 || clients.CIMDMax != 1000 || clients.GrantsPerUser != 20 ||
		!clients.Register || !clients.CIMD || strings.Join(clients.PrivateSchemes, " ") != "cursor claude windsurf vscode vscode-insiders" {
		t.Errorf("clients %+v", clients)
	}
}

// style.md, house 10: all faults at once, each with its key path, in a fixed order.
func TestConfigFaults(t *testing.T) {
	t.Parallel()
	tokens, clients, limits := auth.DefaultTokens(), auth.DefaultClients(), auth.DefaultLimits()
	tokens.AccessTTL, tokens.RetryWindow, tokens.CodeMemory = oauth.Duration(5*time.Minute), oauth.Duration(2*time.Hour), 0
	clients.RegisterMax, clients.GrantsPerUser, clients.CIMDMaxBytes, clients.CIMDTimeout, clients.CIMDProxy = 0, 0, 1, 0, "proxy:3128"
	clients.PrivateSchemes = []string{"cursor://", "Cursor"}
	clients.Registered = []auth.RegisteredClient{
		{ID: "hmcp_ci_x", Name: "x", RedirectURIs: []string{"https://a.example/cb"}},
		{ID: "a", RedirectURIs: []string{configIssuer + "/callback"}},
		{ID: "a", Name: "x"},
		{ID: strings.Repeat("x", 513), Name: "x", RedirectURIs: []string{"https://a.example/cb"}},
	}
	limits.ConsentPerMinute, limits.HeaderMax, limits.HeaderTimeout, limits.BodyTimeout = 0, 1, 0, 0
	for _, row := range []struct {
		err  func() error
		keys []string
	}{
		{func() error { return tokens.Validate(false) }, []string{"tokens.access_ttl", "tokens.code_memory", "tokens.retry_window"}},
		{func() error { return clients.Validate(configIssuer) }, []string{
			"clients.register_max", "clients.grants_per_user", "clients.cimd_max_bytes", "clients.cimd_timeout", "clients.cimd_proxy",
			`clients.private_schemes: "cursor://"`, `clients.private_schemes: "Cursor"`, "clients.registered[0]: id", "clients.registered[1]: name",
			"clients.registered[1]: redirect_uris", "clients.registered[2]: id", "clients.registered[2]: redirect_uris", "clients.registered[3]: id",
		}},
		{func() error { return limits.Validate() }, []string{"limits.consent_per_minute", "limits.header_max", "limits.header_timeout", "limits.body_timeout"}},
		{auth.AccessConfig{Groups: []string{""}, Operators: []string{"a", ""}, EmailDomains: []string{"a@b.example", ""}}.Validate, []string{"access.groups", "access.operators", "access.email_domains", "access.email_domains"}},
	} {
		err := row.err()
		if err == nil {
			t.Fatalf("no faults, want %q", row.keys)
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(row.keys) {
			t.Errorf("%d faults, want %d:\n%v", len(lines), len(row.keys), err)
			continue
		}
		for i, key := range row.keys {
			if !strings.HasPrefix(lines[i], key) {
				t.Errorf("fault %d is %q, want %s", i, lines[i], key)
			}
		}
	}
	short := auth.DefaultTokens()
	short.AccessTTL = oauth.Duration(10 * time.Second)
	if short.Validate(true) != nil || short.Validate(false) == nil {
		t.Error("a short access_ttl is for loopback only (§5.6)")
	}
}
