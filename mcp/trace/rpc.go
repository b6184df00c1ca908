package trace

// JSON-RPC over streamable HTTP, by hand: the SDK's client would hide what came behind its own errors and retry what
// should be seen to fail. One request is under way at a time, so its id is always the same.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"hostedmcp/auth/oauth"
)

// era is one of the two ways in which MCP is spoken over HTTP.
type era string

const (
	legacy era = "legacy" // up to 2025-11-25: initialize, sessions
	modern era = "modern" // from 2026-07-28: each request by itself

	latestLegacy = "2025-11-25"
	latestModern = "2026-07-28"
)

// legacyVersions are the published versions of the older era.
var legacyVersions = []string{"2024-11-05", "2025-03-26", "2025-06-18", latestLegacy}

// JSON-RPC error codes by which a server says that it does not speak an era.
const (
	codeMethodNotFound     = -32601
	codeInvalidRequest     = -32600
	codeHeaderMismatch     = -32020
	codeUnsupportedVersion = -32022
	codeServer             = -32000 // what SDKs answer for "no session"
)

// requestID is the id of our only request under way.
const requestID = 1

// refused is an answer that is no result.
type refused struct {
	status int
	code   int64 // 0 = no JSON-RPC error
	text   string
}

// Error is what came.
func (r *refused) Error() string {
	if r.code == 0 {
		return r.text
	}
	return fmt.Sprintf("%d, JSON-RPC error %d: %s", r.status, r.code, r.text)
}

// eraUnknown reports whether a server that knows the older era only would answer so: it misses a session or a version,
// or knows no such method. A 401, a 5xx or an unreadable answer is a fault.
func (r *refused) eraUnknown() bool {
	switch r.code {
	case codeMethodNotFound, codeUnsupportedVersion, codeInvalidRequest, codeServer, codeHeaderMismatch:
		return r.status < 500 && r.status != http.StatusUnauthorized
	}
	return r.status == http.StatusBadRequest || r.status == http.StatusNotFound
}

// rpcAnswer is a result or a refusal.
type rpcAnswer struct {
	*answer
	result  oauth.Object
	refused *refused
}

// rpc sends one request and waits for its answer. The error is a fault of the connection or of the answer's form.
func (t *tracer) rpc(ctx context.Context, in era, method string, params map[string]any, name string) (*rpcAnswer, error) {
	req, err := t.rpcRequest(in, method, params, name)
	if err != nil {
		return nil, err
	}
	t.authorizeRequest(req)
	a, err := t.do(ctx, req, isAnswer)
	if err != nil {
		return nil, err
	}
	return readAnswer(a)
}

// isAnswer passes over notifications and requests of the server on the same stream.
func isAnswer(data []byte) bool {
	o, err := oauth.ParseObject(data, maxDepth)
	return err != nil || o["method"] == nil
}

// readAnswer tells a result, a refusal and a broken answer apart. JSON-RPC errors count with any status: the newer era
// sends them with 400 and 404 too.
func readAnswer(a *answer) (*rpcAnswer, error) {
	o, err := oauth.ParseObject(a.body, maxDepth)
	if a.status != http.StatusOK && (err != nil || o["jsonrpc"] == nil) {
		return &rpcAnswer{answer: a, refused: &refused{status: a.status, text: a.refusal()}}, nil
	}
	// A page with 200 is what proxies and sign-in walls answer: say so before it is taken for broken JSON.
	if m := a.mediaType(); m != "application/json" && m != "text/event-stream" {
		return nil, fmt.Errorf("%s: neither JSON nor a stream of events", a.shape())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.shape(), err)
	}
	if version, err := o.Text("jsonrpc"); err != nil || version != "2.0" {
		return nil, fmt.Errorf("%s: no JSON-RPC 2.0", a.shape())
	}
	if raw, there := o["error"]; there {
		return &rpcAnswer{answer: a, refused: readError(a.status, raw)}, nil
	}
	// A server that mixes up answers gives one user's to another: the id is compared, not only the shape.
	if id := string(bytes.TrimSpace(o["id"])); id != fmt.Sprint(requestID) {
		return nil, fmt.Errorf("%s: an answer to another request, id %s", a.shape(), id)
	}
	result, err := oauth.ParseObject(o["result"], maxDepth)
	if err != nil {
		return nil, fmt.Errorf("%s: result: %w", a.shape(), err)
	}
	return &rpcAnswer{answer: a, result: result}, nil
}

// readError reads the two members that clients show. data is left out: it may hold anything.
func readError(status int, raw json.RawMessage) *refused {
	var e struct {
		Code    int64  `json:"code"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(raw, &e); err != nil || e.Code == 0 {
		return &refused{status: status, text: fmt.Sprintf("%d with an error that is none of JSON-RPC", status)}
	}
	return &refused{status, e.Code, e.Message}
}

// rpcRequest makes a request of an era without a token. In the newer one its version and method are in headers too,
// and capabilities come with every request (MCP 2026-07-28, Streamable HTTP).
func (t *tracer) rpcRequest(in era, method string, params map[string]any, name string) (*http.Request, error) {
	message := map[string]any{"jsonrpc": "2.0", "id": requestID, "method": method}
	sent := map[string]any{}
	for k, v := range params {
		sent[k] = v
	}
	if in == modern {
		sent["_meta"] = map[string]any{
			"io.modelcontextprotocol/protocolVersion":    latestModern,
			"io.modelcontextprotocol/clientInfo":         t.clientInfo(),
			"io.modelcontextprotocol/clientCapabilities": map[string]any{},
		}
	}
	if len(sent) > 0 {
		message["params"] = sent
	}
	body, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	return t.message(http.MethodPost, in, body, method, name)
}

// rpcNotification has no id, so that no answer is waited for.
func (t *tracer) rpcNotification(in era, method string) (*http.Request, error) {
	return t.message(http.MethodPost, in, []byte(`{"jsonrpc":"2.0","method":"`+method+`"}`), method, "")
}

// message makes an HTTP request to the resource.
func (t *tracer) message(httpMethod string, in era, body []byte, method, name string) (*http.Request, error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := t.request(httpMethod, t.target, reader)
	if err != nil {
		return nil, err
	}
	if agent := t.client.mcpAgent; agent != "" {
		req.Header.Set("User-Agent", agent)
	}
	if httpMethod == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
	} else {
		req.Header.Set("Accept", "text/event-stream")
	}
	if in == modern {
		req.Header.Set("Mcp-Protocol-Version", latestModern)
		req.Header.Set("Mcp-Method", method)
		if name != "" {
			req.Header.Set("Mcp-Name", name)
		}
		return req, nil
	}
	if t.version != "" {
		req.Header.Set("Mcp-Protocol-Version", t.version)
	}
	if t.session != "" {
		req.Header.Set("Mcp-Session-Id", t.session)
	}
	return req, nil
}

// authorizeRequest adds the token, in the header and nowhere else (RFC 6750 §2.1).
func (t *tracer) authorizeRequest(req *http.Request) {
	if t.access != "" {
		req.Header.Set("Authorization", "Bearer "+t.access.Reveal())
	}
}

// endSession gives the session back (MCP Streamable HTTP, "Session Management" 5).
func (t *tracer) endSession(ctx context.Context) {
	if t.session == "" {
		return
	}
	t.step(ctx, stepSession, func(ctx context.Context, s *Step) error {
		status, err := t.deleteSession(ctx)
		if err != nil {
			return err
		}
		s.came("DELETE: %d", status)
		return nil
	})
}

// deleteSession forgets the session whatever the server says: it is not tried twice.
func (t *tracer) deleteSession(ctx context.Context) (status int, err error) {
	req, err := t.message(http.MethodDelete, legacy, nil, "", "")
	if err != nil {
		return 0, err
	}
	t.authorizeRequest(req)
	t.session = ""
	a, err := t.do(ctx, req, func([]byte) bool { return true })
	if err != nil {
		return 0, err
	}
	if (a.status < 200 || a.status > 299) && a.status != http.StatusMethodNotAllowed {
		return a.status, errors.New("DELETE: " + a.shape())
	}
	return a.status, nil
}

// readTools reads one page of tools/list.
func readTools(result oauth.Object) ([]tool, error) {
	var raw []json.RawMessage
	if list, there := result["tools"]; !there || json.Unmarshal(list, &raw) != nil || raw == nil {
		return nil, errors.New("no list of tools in the result")
	}
	out := make([]tool, 0, len(raw))
	for i, one := range raw {
		o, err := oauth.ParseObject(one, maxDepth)
		if err != nil {
			return nil, fmt.Errorf("tool %d: %w", i, err)
		}
		name, err := o.Text("name")
		if err != nil || name == "" {
			return nil, fmt.Errorf("tool %d has no name", i)
		}
		schema, err := oauth.ParseObject(o["inputSchema"], maxDepth)
		if err != nil {
			return nil, fmt.Errorf("tool %q: no inputSchema", name)
		}
		if kind, err := schema.Text("type"); err != nil || kind != "object" {
			return nil, fmt.Errorf("tool %q: the inputSchema is not of type object", name)
		}
		required, err := schema.List("required")
		if err != nil {
			return nil, fmt.Errorf("tool %q: %w", name, err)
		}
		out = append(out, tool{name, required})
	}
	return out, nil
}
