package mount

import (
	"encoding/json"

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

// dress writes a request's params for this link: everything as the client wrote it but for `_meta`, where version and
// capabilities are those of this connection, the progress token is the call's id, and the identity is ours. It returns
// the client's own token.
func (l *link) dress(id int64, params json.RawMessage, from *connector.Call) (json.RawMessage, json.RawMessage) {
	p := objectOf(params)
	meta := objectOf(p.get("_meta"))
	token := meta.get(metaToken)
	if token != nil {
		meta.set(metaToken, number(id))
	}
	level := meta.drop(metaLogLevel)
	for _, key := range []string{metaVersion, metaClient, metaCapabilities, metaUser, metaCredential} {
		meta.drop(key)
	}
	if l.modern {
		meta.set(metaVersion, quote(l.spoken))
		meta.set(metaClient, l.src.implementation())
		meta.set(metaCapabilities, capabilities(from))
		if level == nil {
			level = l.src.sessionLevel(from)
		}
		if level != nil {
			meta.set(metaLogLevel, level)
		}
	}
	if from != nil && l.src.cfg.Kind == connector.MCPStdio {
		l.src.introduce(&meta, from)
	}
	if len(meta) > 0 {
		p.set("_meta", meta.bytes())
	} else {
		p.drop("_meta")
	}
	return p.bytes(), token
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
func (s *source) implementation() json.RawMessage {
	return object{{quote("name"), quote("hostedmcp")}, {quote("version"), quote(s.version)}}.bytes()
}

// withCredential adds the user's own credential over stdio, where each request carries its own.
func withCredential(params json.RawMessage, value string) json.RawMessage {
	p := objectOf(params)
	meta := objectOf(p.get("_meta"))
	meta.set(metaCredential, quote(value))
	p.set("_meta", meta.bytes())
	return p.bytes()
}
