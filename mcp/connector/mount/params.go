package mount

import (
	"encoding/json"
	"slices"

	"hostedmcp/mcp/connector"
)

// Keys of `_meta` (MCP 2026-07-28, "_meta").
const (
	metaVersion      = "io.modelcontextprotocol/protocolVersion"
	metaClient       = "io.modelcontextprotocol/clientInfo"
	metaCapabilities = "io.modelcontextprotocol/clientCapabilities"
	metaLogLevel     = "io.modelcontextprotocol/logLevel"
	metaSubscription = "io.modelcontextprotocol/subscriptionId"
	metaToken        = "progressToken"
	metaTrace        = "traceparent"

	metaUser       = "hostedmcp/user"
	metaCredential = "hostedmcp/credential"
)

// params are those of a request to the server.
type params struct {
	object        // without `_meta`
	meta   object // that goes with them
}

// dress makes a request's params for this link: everything as the client wrote it but for `_meta`, where version and
// capabilities are those of this connection, the progress token is the call's id, and the identity is ours. It returns
// the client's own token.
func (l *link) dress(id int64, raw json.RawMessage, from *connector.Call) (p params, token json.RawMessage) {
	p.object = objectOf(raw)
	p.meta = objectOf(p.drop("_meta"))
	meta := &p.meta
	token = meta.get(metaToken)
	if token != nil {
		meta.set(metaToken, number(id))
	}
	level := meta.drop(metaLogLevel)
	for _, key := range []string{metaVersion, metaClient, metaCapabilities, metaUser, metaCredential} {
		meta.drop(key)
	}
	if l.modern {
		meta.set(metaVersion, quote(l.spoken))
		meta.set(metaClient, l.src.self)
		meta.set(metaCapabilities, capabilities(from))
		if level == nil {
			level = l.src.sessionLevel(from)
		}
		if level != nil {
			meta.set(metaLogLevel, level)
		}
	}
	if from != nil && l.src.cfg.Kind == connector.MCPStdio {
		l.src.introduce(meta, from)
	}
	return p, token
}

// bytes writes the params.
func (p params) bytes() json.RawMessage {
	if len(p.meta) == 0 {
		return p.object.bytes()
	}
	whole := append(slices.Clip(p.object), member{quote("_meta"), p.meta.bytes()})
	return whole.bytes()
}

// introduce says over stdio what headers say over HTTP: who asks.
func (s *source) introduce(meta *object, from *connector.Call) {
	u := from.User
	who := object{{quote("subject"), quote(u.Subject)}, {quote("client"), quote(u.ClientID)}}
	for _, m := range []struct{ key, value string }{{"name", u.Name}, {"email", u.Email}, {"request", u.Request}} {
		if m.value != "" {
			who.set(m.key, quote(m.value))
		}
	}
	if len(u.Groups) > 0 {
		groups, _ := json.Marshal(u.Groups) // strings always can be
		who.set("groups", groups)
	}
	meta.set(metaUser, who.bytes())
	meta.drop(metaTrace)
	if u.Traceparent != "" {
		meta.set(metaTrace, quote(u.Traceparent))
	}
}

// capabilities returns what the client behind a call can be asked, as it declared it.
func capabilities(from *connector.Call) json.RawMessage {
	if from == nil || len(from.Peer.Capabilities) == 0 || from.Peer.Capabilities[0] != '{' {
		return json.RawMessage(`{}`)
	}
	return from.Peer.Capabilities
}

// implementation is how we introduce ourselves.
func implementation(version string) json.RawMessage {
	return object{{quote("name"), quote("hostedmcp")}, {quote("version"), quote(version)}}.bytes()
}
