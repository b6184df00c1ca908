package mcp

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"hostedmcp/mcp/connector"
)

// talk is what goes between a call's connector and its client besides the answer. mu guards what stands below it: a
// call of the modern era that asked something goes on with another request of the same client.
type talk struct {
	mount *mounted
	run   *run            // nil for what is not a call
	grant context.Context // ends with the grant of the call
	conv  *conversation   // of the modern era
	token string          // the progress token that the connector knows; "" = the client wants no progress

	mu     sync.Mutex
	call   *call
	theirs []byte // the progress token that the client knows
}

// tokens numbers the progress tokens that connectors see. Clients all begin at 1: by these tokens no two calls can be
// taken for each other, whoever made them.
var tokens atomic.Uint64

// Members of `_meta` that are about the way between two neighbours. The connector's own side writes its own.
var ownMeta = []string{metaVersion, metaClientInfo, metaClientCapabilities}

const (
	metaClientInfo         = "io.modelcontextprotocol/clientInfo"
	metaClientCapabilities = "io.modelcontextprotocol/clientCapabilities"
	metaLogLevel           = "io.modelcontextprotocol/logLevel"
	metaSubscription       = "io.modelcontextprotocol/subscriptionId"
	metaProgress           = "progressToken"
)

// ourMeta begins the members of `_meta` in which connectors look for identities. From outside none may come.
const ourMeta = "hostedmcp/"

// judged are the names of parameters by which this server decides. Some readers of JSON take "Name" for one of them and
// the last of both for the value: Go's encoding/json does. A connector that reads so would act on what nobody judged.
var judged = []string{"_meta", "name", "uri", "ref", "type", "level", "cursor", "arguments", "notifications", "requestState", "inputResponses"}

// misspelt reports whether name is one of names to such readers alone.
func misspelt(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return n != name && strings.EqualFold(n, name) })
}

// withoutMisspelt returns the reference of completion/complete as a connector may see it.
func withoutMisspelt(ref []byte) []byte {
	out, err := edit(ref, func(name string, value []byte) []byte {
		if misspelt(judged, name) {
			return nil
		}
		return value
	})
	if err != nil {
		return ref // no object: the connector says what it thinks of that
	}
	return out
}

// prepare returns params as the connector may see them.
func (t *talk) prepare(params []byte) json.RawMessage {
	if params == nil {
		return nil
	}
	out, err := edit(params, func(name string, value []byte) []byte {
		switch {
		case misspelt(judged, name):
			return nil
		case name == "ref":
			return withoutMisspelt(value)
		case name != "_meta":
			return value
		}
		meta, err := edit(value, t.cleanMeta)
		if err != nil || len(meta) == 2 {
			return nil
		}
		return meta
	})
	if err != nil {
		return nil
	}
	return out
}

// cleanMeta decides about one member of a request's `_meta`.
func (t *talk) cleanMeta(name string, value []byte) []byte {
	switch {
	// upper case first: it knows letters of which lower case does not (U+017F)
	case strings.HasPrefix(strings.ToLower(strings.ToUpper(name)), ourMeta), slices.Contains(ownMeta, name):
		return nil
	case misspelt(ownMeta, name), misspelt([]string{metaProgress, metaLogLevel}, name):
		return nil
	case name == metaProgress:
		t.theirs, t.token = value, "hm"+strconv.FormatUint(tokens.Add(1), 36)
		return quote(t.token)
	}
	return value
}

// attach makes another request of the client the one that the call goes on with.
func (t *talk) attach(k *call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.call = k
	if token := valueOf(valueOf(k.params, "_meta"), metaProgress); token != nil {
		t.theirs = token
	}
}

// notify is Peer.Notify.
func (t *talk) notify(_ context.Context, method string, params json.RawMessage) {
	t.mu.Lock()
	k, theirs := t.call, t.theirs
	t.mu.Unlock()
	switch method {
	case notifyProgress:
		if t.token == "" || k.isDeaf() || text(valueOf(params, metaProgress)) != t.token {
			return
		}
		// Back to the token that the client chose, byte for byte: 1 and "1" are two.
		changed, err := with(params, metaProgress, theirs)
		if err != nil {
			return
		}
		k.tell(method, changed)
	case notifyMessage:
		if k.wants(text(valueOf(params, "level"))) {
			k.tellAnywhere(method, params)
		}
	case notifyElicited:
		k.tellAnywhere(method, params)
	case notifyUpdated:
		if k.session != nil && k.session.peer.subscribed(text(valueOf(params, "uri")), t.mount) {
			k.session.peer.tell(notification(method, params))
		}
	// In the modern era lists are watched by subscriptions, which hear of it by the catalog (listen.go).
	case notifyTools, notifyPrompts, notifyResources:
		if k.session != nil {
			k.session.peer.tell(notification(method, params))
		}
	}
}

// notification is a JSON-RPC notification on one line.
func notification(method string, params json.RawMessage) []byte {
	out := append([]byte(`{"jsonrpc":"2.0","method":`), quote(method)...)
	if params = oneLine(params); params != nil {
		out = append(append(out, `,"params":`...), params...)
	}
	return append(out, '}')
}

// isDeaf reports whether nobody hears what is said on the stream of the request.
func (k *call) isDeaf() bool {
	st := k.stream.Load()
	return st == nil || st.writer.isDeaf()
}

// tell sends a notification on the stream of the request.
func (k *call) tell(method string, params json.RawMessage) bool {
	return !k.isDeaf() && k.stream.Load().writer.event(notification(method, params)) == nil
}

// tellAnywhere sends it on the stream of the request or, when that is over, of its session.
func (k *call) tellAnywhere(method string, params json.RawMessage) {
	if !k.tell(method, params) && k.session != nil {
		k.session.peer.tell(notification(method, params))
	}
}

// levels are the log levels of MCP in their order (RFC 5424 §6.2.1).
var levels = []string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

// wants reports whether the client wants log messages of this level. In the modern era it says so with each request and
// gets none otherwise; a session that has set no level leaves it to the server ("Logging").
func (k *call) wants(level string) bool {
	least := ""
	if k.session != nil {
		if set := k.session.peer.level.Load(); set != nil {
			least = *set
		}
	} else if least = text(valueOf(valueOf(k.params, "_meta"), metaLogLevel)); least == "" {
		return false
	}
	return slices.Index(levels, level) >= slices.Index(levels, least)
}

// clientCapabilities are those that the client of this request declared.
func (k *call) clientCapabilities() json.RawMessage {
	if k.session != nil {
		return k.session.peer.greeting("capabilities")
	}
	return json.RawMessage(valueOf(valueOf(k.params, "_meta"), metaClientCapabilities))
}

// clientVersion is the protocol version that it speaks.
func (k *call) clientVersion() string {
	if k.session != nil {
		return text(k.session.peer.greeting("protocolVersion"))
	}
	return k.version
}

// canAsk reports whether a client of these capabilities answers a request of servers ("Capability negotiation").
func canAsk(capabilities []byte, method string, params json.RawMessage) bool {
	switch method {
	case askRoots:
		return valueOf(capabilities, "roots") != nil
	case askSampling:
		return valueOf(capabilities, "sampling") != nil
	case askElicitation:
		elicitation := valueOf(capabilities, "elicitation")
		// Without modes it is forms, as it was before there were others.
		form := valueOf(elicitation, "form") != nil || valueOf(elicitation, "url") == nil
		if text(valueOf(params, "mode")) == "url" {
			return valueOf(elicitation, "url") != nil
		}
		return elicitation != nil && form
	}
	return false
}

// ask is Peer.Ask.
func (t *talk) ask(ctx context.Context, method string, params json.RawMessage) (answer json.RawMessage, err error) {
	t.mu.Lock()
	k := t.call
	t.mu.Unlock()
	if method == "ping" {
		return json.RawMessage("{}"), nil // we are the client that it sees, and we live
	}
	if t.run == nil || !canAsk(k.clientCapabilities(), method, params) {
		return nil, &connector.Error{Code: codeMethodNotFound, Message: noMethod}
	}
	if params = oneLine(params); params == nil {
		params = json.RawMessage("{}")
	}
	t.run.asked(func() {
		if k.session != nil {
			answer, err = k.session.peer.ask(ctx, k, method, params)
		} else {
			answer, err = t.conv.ask(ctx, method, params)
		}
	})
	return answer, err
}
