package mcp_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp"
)

// metadata is M of protocol.md §2.
func (w *world) metadata() string {
	return `resource_metadata="` + w.issuer + `/.well-known/oauth-protected-resource/mcp"`
}

// TestChallenges compares every challenge of protocol.md §2 byte by byte.
func TestChallenges(t *testing.T) {
	w := newWorld(t, func(o *mcp.Options) {
		o.Config.Scopes = []string{"mcp", "read"}
		more := tool("write", nothing)
		more.Scopes = oauth.Scope{"write", "read"}
		o.Tools = []mcp.Tool{more}
	})
	good, _ := w.login("alice", "c1", "mcp read", 1)
	narrow, _ := w.login("alice", "c1", "mcp", 2)
	gone, grant := w.login("bob", "c1", "mcp read", 1)
	w.end(grant, oauth.UserRevoked)
	for token, e := range map[string]*oauth.Error{
		"expired":  oauth.Fail(oauth.InvalidToken, oauth.TokenExpired),
		"audience": oauth.Fail(oauth.InvalidToken, oauth.TokenAudience),
		"later":    {Code: oauth.TemporarilyUnavailable, Status: 503, Reason: oauth.StorageUnavailable, RetryAfter: 4200 * time.Millisecond},
		"much":     {Code: oauth.TemporarilyUnavailable, Status: 503, Reason: oauth.ClockJump, RetryAfter: time.Hour},
	} {
		w.refused[token] = e
	}
	for _, form := range []string{"a=b", "a,", "a,Bearer", strings.Repeat("a", 8193)} {
		w.refused[form] = errors.New("what cannot be a token was asked for")
	}
	w.refused["fault"] = errors.New("a cause that nobody outside may read")
	m, scope := w.metadata(), `, scope="mcp read"`
	invalid := func(description string) string {
		return `Bearer error="invalid_token", error_description="` + description + `", ` + m + scope
	}
	malformed := `Bearer error="invalid_request", error_description="request_invalid: send one bearer token in the Authorization header", ` + m
	tests := []struct {
		name      string
		pairs     []string
		status    int
		challenge string
		body      string
		reason    oauth.Reason
	}{
		{"none (RFC 6750 §3.1)", nil, 401, "Bearer " + m + scope, "", "token_missing"},
		{"Basic is none", []string{"Authorization", "Basic YTpi"}, 401, "Bearer " + m + scope, "", "token_missing"},
		{"empty", []string{"Authorization", "Bearer "}, 401, invalid("token_invalid: this access token is not valid here; sign in again"), "invalid_token", "token_invalid"},
		{"no space", []string{"Authorization", "Bearer"}, 401, invalid("token_invalid: this access token is not valid here; sign in again"), "invalid_token", "token_invalid"},
		{"two tokens in one header", []string{"Authorization", "Bearer a,"}, 401, invalid("token_invalid: this access token is not valid here; sign in again"), "invalid_token", "token_invalid"},
		{"not a b64token", []string{"Authorization", "Bearer a=b"}, 401, invalid("token_invalid: this access token is not valid here; sign in again"), "invalid_token", "token_invalid"},
		{"too long (§5.6)", bearer(strings.Repeat("a", 8193)), 401, invalid("token_invalid: this access token is not valid here; sign in again"), "invalid_token", "token_invalid"},
		{"unknown", bearer("nobody"), 401, invalid("token_invalid: this access token is not valid here; sign in again"), "invalid_token", "token_invalid"},
		{"expired", bearer("expired"), 401, invalid("token_expired: refresh or sign in again"), "invalid_token", "token_expired"},
		{"audience", bearer("audience"), 401, invalid("token_audience: this access token is for another resource; sign in again"), "invalid_token", "token_audience"},
		{"ended", bearer(gone), 401, invalid("grant_ended user_revoked: the user ended this connection; sign in again"), "invalid_token", "user_revoked"},
		{"query (RFC 6750 §2.3)", []string{"?", "access_token=" + good}, 400, malformed, "request_invalid: send one bearer token", "request_invalid"},
		{"query behind a semicolon", append(bearer(good), "?", "a;access_token="+good), 400, malformed, "request_invalid: send one bearer token", "request_invalid"},
		{"query before a semicolon", append(bearer(good), "?", "b=1&access_token;a"), 400, malformed, "request_invalid: send one bearer token", "request_invalid"},
		{"query percent-encoded", append(bearer(good), "?", "%zz&%61ccess%5ftoken="+good), 400, malformed, "request_invalid: send one bearer token", "request_invalid"},
		{"query with a value that cannot be read", append(bearer(good), "?", "access_token=%zz"), 400, malformed, "request_invalid: send one bearer token", "request_invalid"},
		{"query, encoded, and a header", append(bearer(good), "?", "a=b&access%5Ftoken=x"), 400, malformed, "request_invalid", "request_invalid"},
		{"two headers", append(bearer(good), bearer(good)...), 400, malformed, "request_invalid", "request_invalid"},
		{"storage", bearer("later"), 503, "", `"temporarily_unavailable","error_description":"storage_unavailable: `, "storage_unavailable"},
		{"clock", bearer("much"), 503, "", "clock_jump", "clock_jump"},
		{"our fault", bearer("fault"), 503, "", "internal: this server met a fault of its own; try again", "internal"},
		{"baseline missing", modern(narrow, "tools/call", "whoami"), 403, `Bearer error="insufficient_scope", error_description="scope_missing: this operation needs more scope", ` + m + `, scope="mcp read"`, "insufficient_scope", "scope_missing"},
		{"tool's scope missing", modern(good, "tools/call", "write"), 403, `Bearer error="insufficient_scope", error_description="scope_missing: this operation needs more scope", ` + m + `, scope="mcp read write"`, "insufficient_scope", "scope_missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name := "write"
			if tt.status == 403 && strings.HasPrefix(tt.name, "baseline") {
				name = "whoami"
			}
			a := w.send("POST", callBody("1", name, ","+meta26), tt.pairs...)
			if a.status != tt.status || a.header.Get("WWW-Authenticate") != tt.challenge {
				t.Errorf("got %d\n %s\nwant %d\n %s", a.status, a.header.Get("WWW-Authenticate"), tt.status, tt.challenge)
			}
			if !strings.Contains(a.body, tt.body) || (tt.body == "") != (a.body == "") || strings.Contains(a.body, "nobody outside") {
				t.Errorf("body %q", a.body)
			}
			if got := w.lastReason(); got != tt.reason {
				t.Errorf("logged as %q", got)
			}
		})
	}
	for token, want := range map[string]string{"later": "5", "much": "120", "fault": "1"} {
		if a := w.send("POST", "{}", bearer(token)...); a.header.Get("Retry-After") != want {
			t.Errorf("%s: Retry-After %q, want %q", token, a.header.Get("Retry-After"), want)
		}
	}
}

// TestOrder makes requests that break several rules at once: the earlier step of protocol.md §7 answers.
func TestOrder(t *testing.T) {
	w := newWorld(t, func(o *mcp.Options) {
		o.AllowedHosts = []string{"Other.example:8443"}
		o.AllowedOrigins = []string{"https://app.example"}
		scoped := tool("scoped", nothing)
		scoped.Scopes, scoped.Provider = oauth.Scope{"more"}, true
		o.Tools = []mcp.Tool{scoped}
	})
	good, _ := w.login("alice", "c1", "mcp", 1)
	full, _ := w.login("alice", "c1", "mcp more", 2)
	w.refused["trouble"] = oauth.Unavailable(oauth.StorageUnavailable, nil)
	w.trouble = oauth.Unavailable(oauth.UpstreamUnreachable, nil)
	badHost := []string{"Host", "evil.example"}
	badOrigin := []string{"Origin", "https://evil.example"}
	large := `{"a":"` + strings.Repeat("x", 4<<20) + `"}`
	join := func(lists ...[]string) (out []string) {
		for _, l := range lists {
			out = append(out, l...)
		}
		return out
	}
	tests := []struct {
		name, method, body string
		pairs              []string
		status             int
		reason             oauth.Reason
	}{
		{"1 Host first of all", "PUT", "x", join(badHost, badOrigin), 421, "host_refused"},
		{"1 Host before a good token", "POST", "{}", join(badHost, bearer(good)), 421, "host_refused"},
		{"1 no trailing dot", "POST", "{}", join([]string{"Host", w.issuer[len("http://"):] + "."}, bearer(good)), 421, "host_refused"},
		{"1 allowed host", "POST", "{}", []string{"Host", "oTHER.example:8443"}, 401, "token_missing"},
		{"1 Origin before the method", "PUT", "x", badOrigin, 403, "origin_refused"},
		{"1 Origin with a good token (CVE-2026-34742)", "POST", "{}", join(badOrigin, bearer(good)), 403, "origin_refused"},
		{"1 Origin null", "POST", "{}", []string{"Origin", "null"}, 403, "origin_refused"},
		{"1 Origin twice", "POST", "{}", []string{"Origin", w.issuer, "Origin", w.issuer}, 403, "origin_refused"},
		{"1 own Origin", "POST", "{}", []string{"Origin", w.issuer}, 401, "token_missing"},
		{"1 listed Origin", "POST", "{}", []string{"Origin", "https://app.example"}, 401, "token_missing"},
		{"2 method before the token", "PUT", "x", nil, 405, "method_refused"},
		{"2 media type before the token (CVE-2026-33252)", "POST", large, []string{"Content-Type", "text/plain"}, 415, "request_invalid"},
		{"2 media type of forms", "POST", "a=b", join(bearer(good), []string{"Content-Type", "application/x-www-form-urlencoded"}), 415, "request_invalid"},
		{"2 media type with a parameter", "POST", "{}", []string{"Content-Type", "application/json; charset=utf-8"}, 401, "token_missing"},
		{"2 declared size before the token", "POST", large, nil, 413, "request_invalid"},
		{"3 token before what the body says", "POST", "{", nil, 401, "token_missing"},
		{"3 storage trouble is never 401", "POST", "{", bearer("trouble"), 503, "storage_unavailable"},
		{"3 GET of the modern era without token", "GET", "", []string{"Mcp-Protocol-Version", version26}, 401, "token_missing"},
		{"3 HEAD without token as GET", "HEAD", "", nil, 401, "token_missing"},
		{"3 DELETE without token", "DELETE", "", []string{"Mcp-Protocol-Version", version26}, 401, "token_missing"},
		{"3 HEAD with a good token", "HEAD", "", bearer(good), 405, "method_refused"},
		{"3 modern GET", "GET", "", modern(good, "", ""), 405, "method_refused"},
		{"3 modern DELETE", "DELETE", "", join(modern(good, "", ""), []string{"Mcp-Session-Id", "x"}), 405, "method_refused"},
		{"4 JSON before scope", "POST", callBody("1", "scoped", ",")[:20], modern(good, "tools/call", "scoped"), 400, "request_invalid"},
		{"4 headers before scope", "POST", callBody("1", "scoped", ","+meta26), modern(good, "tools/call", "whoami"), 400, "request_invalid"},
		{"4 method header before scope", "POST", callBody("1", "scoped", ","+meta26), modern(good, "tools/list", "scoped"), 400, "request_invalid"},
		{"4 version header before scope", "POST", callBody("1", "scoped", ","+meta26), append(bearer(good), "Mcp-Protocol-Version", "2099-01-01", "Mcp-Method", "tools/call", "Mcp-Name", "scoped"), 400, "request_invalid"},
		{"5 scope before the provider", "POST", callBody("1", "scoped", ","+meta26), modern(good, "tools/call", "scoped"), 403, "scope_missing"},
		{"6 the provider before dispatch", "POST", callBody("1", "scoped", ","+meta26), modern(full, "tools/call", "scoped"), 503, "upstream_unreachable"},
		{"5 scope before the session", "POST", callBody("1", "scoped", ""), legacy(good, "unknown"), 403, "scope_missing"},
		{"7 session missing", "POST", callBody("1", "whoami", ""), bearer(good), 400, "request_invalid"},
		{"7 session unknown", "POST", callBody("1", "whoami", ""), legacy(good, "unknown"), 404, "session_unknown"},
		{"7 GET without session", "GET", "", bearer(good), 400, "request_invalid"},
		{"7 GET of an unknown session", "GET", "", legacy(good, "unknown"), 404, "session_unknown"},
		{"7 DELETE of an unknown session", "DELETE", "", legacy(good, "unknown"), 404, "session_unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := w.send(tt.method, tt.body, tt.pairs...)
			if a.status != tt.status || w.lastReason() != tt.reason {
				t.Errorf("got %d %s %s, want %d %s", a.status, w.lastReason(), a.body, tt.status, tt.reason)
			}
			if tt.method == "HEAD" && a.body != "" {
				t.Error("HEAD has a body")
			}
			if allow := a.header.Get("Allow"); (a.status == 405) != (allow != "") {
				t.Errorf("Allow %q", allow)
			}
			if a.status == 421 && !strings.Contains(a.body, `"resource":"`+w.url+`"`) {
				t.Errorf("421 does not name the resource: %s", a.body)
			}
		})
	}
}

// TestDeclaredSize: a body that is only promised costs no memory.
func TestDeclaredSize(t *testing.T) {
	w := newWorld(t, nil)
	token, _ := w.login("alice", "c1", "mcp", 1)
	handle := w.server.Endpoint().Handle
	send := func() {
		r := httptest.NewRequest("POST", w.url, strings.NewReader("{"))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		r.ContentLength = 4 << 20
		rec := httptest.NewRecorder()
		if err := handle(rec, r); err != nil || rec.Code != http.StatusBadRequest {
			t.Errorf("%d %v", rec.Code, err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		send()
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / 20; each > 1<<20 {
		t.Errorf("%d bytes for a body of one", each)
	}
}

// TestChunkedSize: a body without a declared length is cut off at the limit.
func TestChunkedSize(t *testing.T) {
	w := newWorld(t, nil)
	token, _ := w.login("alice", "c1", "mcp", 1)
	r := w.request("POST", `{"a":"`+strings.Repeat("x", 4<<20)+`"}`, bearer(token)...)
	r.ContentLength = -1
	if a := w.do(r); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d", a.status)
	}
}
