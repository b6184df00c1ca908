package trace

// The protocol behind the token, in both eras: up to 2025-11-25 a session that begins with initialize ("Lifecycle"), from
// 2026-07-28 requests that stand by themselves, with server/discover to ask what is spoken. Lists and calls are judged by
// the little that every client needs; schemas are not validated.

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"hostedmcp/auth/oauth"
)

// speakLegacy walks the older era: initialize, its notification, tools/list.
func (t *tracer) speakLegacy(ctx context.Context) {
	t.version, t.session = "", ""
	if !t.step(ctx, stepInitialize, t.initialize) {
		return
	}
	if t.era == "" {
		t.era = legacy
	}
	t.step(ctx, stepTools, func(ctx context.Context, s *Step) error { return t.listTools(ctx, s, legacy) })
}

// speakModern walks the newer era: server/discover, tools/list. A server may not speak it.
func (t *tracer) speakModern(ctx context.Context) {
	if !t.step(ctx, stepDiscover, t.discover) {
		return
	}
	t.era = modern // calls are made in the newer era where both are there, as clients that know both do
	t.step(ctx, stepModernTools, func(ctx context.Context, s *Step) error { return t.listTools(ctx, s, modern) })
}

// initializeParams declares no capabilities: nothing the server could ask us can then be under way when we leave.
func (t *tracer) initializeParams() map[string]any {
	return map[string]any{"protocolVersion": or(t.client.version, latestLegacy), "capabilities": map[string]any{},
		"clientInfo": t.clientInfo()}
}

// clientInfo carries the name of the imitated client, as its registration does.
func (t *tracer) clientInfo() map[string]any {
	return map[string]any{"name": t.client.name, "version": "1"}
}

// initialize opens a session. It is skipped only where the newer era worked already and the server says that it speaks
// no other.
func (t *tracer) initialize(ctx context.Context, s *Step) error {
	a, err := t.rpc(ctx, legacy, "initialize", t.initializeParams(), "")
	if err != nil {
		return err
	}
	if a.refused != nil {
		if t.era == modern && a.refused.eraUnknown() {
			s.came("%s: the server speaks the newer era only", a.refused)
			return errSkipped
		}
		return a.refused
	}
	version, err := a.result.Text("protocolVersion")
	if err != nil || version == "" {
		return errors.New("no protocolVersion in the result")
	}
	// The server may answer with another version than was asked; a client that does not know it must disconnect.
	if !slices.Contains(legacyVersions, version) {
		return fmt.Errorf("protocolVersion is %q, which no client knows in this era", version)
	}
	if err := t.noteServer(s, a.result, version); err != nil {
		return err
	}
	// A server may be without sessions; then each request stands by itself, in this era too.
	t.version, t.session = version, a.header.Get("Mcp-Session-Id")
	if strings.ContainsFunc(t.session, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return errors.New("Mcp-Session-Id holds more than visible ASCII")
	}
	if t.session != "" {
		t.secrets.add(t.session) // with the token it opens the session
		s.Came += ", a session"
	}
	return t.initialized(ctx)
}

// noteServer says who answers: its name is the server's own word.
func (t *tracer) noteServer(s *Step, result oauth.Object, version string) error {
	raw, there := result["serverInfo"]
	if !there {
		return errors.New("no serverInfo in the result")
	}
	info, err := oauth.ParseObject(raw, maxDepth)
	if err != nil {
		return fmt.Errorf("serverInfo: %w", err)
	}
	name, err1 := info.Text("name")
	of, err2 := info.Text("version")
	s.came("protocol %s, server %q %s", version, name, of)
	return errors.Join(err1, err2)
}

// initialized sends the notification without which servers may refuse all else.
func (t *tracer) initialized(ctx context.Context) error {
	req, err := t.rpcNotification(legacy, "notifications/initialized")
	if err != nil {
		return err
	}
	t.authorizeRequest(req)
	a, err := t.do(ctx, req, func([]byte) bool { return true })
	if err != nil {
		return fmt.Errorf("notifications/initialized: %w", err)
	}
	// 202 is the rule ("Sending Messages to the Server" 4); 200 and 204 say the same to a client that reads no body.
	if a.status != http.StatusAccepted && a.status != http.StatusNoContent && a.status != http.StatusOK {
		return fmt.Errorf("notifications/initialized: %s", a.shape())
	}
	return nil
}

// discover asks for the newer era. A refusal that says "not this one" makes the step no fault, as long as the older
// era is there.
func (t *tracer) discover(ctx context.Context, s *Step) error {
	a, err := t.rpc(ctx, modern, "server/discover", nil, "")
	if err != nil {
		return err
	}
	if a.refused != nil {
		if a.refused.eraUnknown() {
			s.came("%s: the server speaks the older era only", a.refused)
			return errSkipped
		}
		return a.refused
	}
	versions, err := a.result.List("supportedVersions")
	if err != nil {
		return err
	}
	if len(versions) > 0 && !slices.ContainsFunc(versions, func(v string) bool { return !slices.Contains(legacyVersions, v) }) {
		s.came("supportedVersions %s: the server speaks the older era only", strings.Join(versions, ", "))
		return errSkipped
	}
	// It answered in this era and yet does not list it: a client that believes the list goes elsewhere.
	if !slices.Contains(versions, latestModern) {
		return fmt.Errorf("supportedVersions is %q, without %s, which was asked", versions, latestModern)
	}
	if _, there := a.result["capabilities"]; !there {
		return errors.New("no capabilities in the result")
	}
	s.came("supportedVersions %s", strings.Join(versions, ", "))
	return nil
}

// tool is what a client must know of a tool before it calls it.
type tool struct {
	name     string
	required []string // arguments
}

// listTools reads all pages, at most 50, and judges each tool.
func (t *tracer) listTools(ctx context.Context, s *Step, in era) error {
	var found []tool
	var params map[string]any
	for range 50 {
		a, err := t.rpc(ctx, in, "tools/list", params, "")
		if err != nil {
			return err
		}
		if a.refused != nil {
			return a.refused
		}
		page, err := readTools(a.result)
		if err != nil {
			return err
		}
		found = append(found, page...)
		// A cursor is opaque; an empty one is read as none.
		cursor, err := a.result.Text("nextCursor")
		if err != nil {
			return err
		}
		if cursor == "" {
			return t.noteTools(s, found)
		}
		params = map[string]any{"cursor": cursor}
	}
	return errors.New("more than 50 pages: nextCursor never ends")
}

// noteTools keeps the list; that of the first era is compared with the other's.
func (t *tracer) noteTools(s *Step, found []tool) error {
	names := make([]string, len(found))
	for i, f := range found {
		names[i] = f.name
	}
	for i, n := range slices.Sorted(slices.Values(names)) {
		if i > 0 && n == slices.Sorted(slices.Values(names))[i-1] {
			return fmt.Errorf("two tools with the name %q", n)
		}
	}
	s.came("%d tools: %s", len(names), strings.Join(names, ", "))
	if t.tools != nil && len(t.tools) != len(found) {
		s.warn("the other era lists %d tools", len(t.tools))
	}
	if t.tools == nil {
		t.tools = append([]tool{}, found...)
	}
	return nil
}

// callTool calls the chosen tool, or one that is known to be harmless.
func (t *tracer) callTool(ctx context.Context, s *Step) error {
	name := t.call
	if name == "" {
		// Calling an unknown tool could do anything; whoami without arguments is ours, and asks only.
		i := slices.IndexFunc(t.tools, func(o tool) bool { return o.name == "whoami" && len(o.required) == 0 })
		if i < 0 {
			s.came("no tool is known to be harmless: name one with -call")
			return errSkipped
		}
		name = "whoami"
	}
	arguments, err := oauth.ParseObject([]byte(t.args), maxDepth)
	if err != nil {
		return err
	}
	a, err := t.rpc(ctx, t.era, "tools/call", map[string]any{"name": name, "arguments": arguments}, name)
	if err != nil {
		return err
	}
	if a.refused != nil {
		return fmt.Errorf("%s: %w", name, a.refused)
	}
	content, there := a.result["content"]
	if !there || !strings.HasPrefix(strings.TrimSpace(string(content)), "[") {
		return fmt.Errorf("%s: a result without content", name)
	}
	s.came("%s: a result of %d bytes", name, len(content))
	// The protocol worked, and that is what is traced: the tool may have every reason to refuse.
	if string(a.result["isError"]) == "true" {
		s.warn("the tool says that it failed (isError)")
	}
	return nil
}

// callAgain shows the refreshed token. In a session this also shows that a session outlives its first token, which a
// server that binds it to the token itself gets wrong.
func (t *tracer) callAgain(ctx context.Context, s *Step) error {
	a, err := t.rpc(ctx, t.era, "tools/list", nil, "")
	if err != nil {
		return err
	}
	if a.refused != nil {
		return a.refused
	}
	s.came("tools/list: %d", a.status)
	if t.era == legacy && t.session != "" {
		s.Came += ", in the same session"
	}
	return nil
}
