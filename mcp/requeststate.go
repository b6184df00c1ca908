package mcp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// errParked is the cause in the log of calls that waited for too long, or one too many.
var errParked = errors.New("the client did not come back with what was asked")

// statePrefix begins the requestState of a connector of the modern era, as our clients get it: it is bound to whom it
// was given, since servers trust what comes back (MCP 2026-07-28, "Multi round-trip requests", Security).
const statePrefix = "hms."

// binding says who may come back with a state, and with which request. Lengths stand before the parts, so that no two
// lists of parts read alike.
func (k *call) binding(m *mounted) string {
	var b []byte
	for _, part := range []string{k.caller.principal, m.config.Name, k.method, k.name} {
		b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
	}
	return string(b)
}

// sign returns the code that binds a connector's state.
func (m *mounted) sign(k *call, state string) string {
	h := hmac.New(sha256.New, m.server.stateKey)
	h.Write([]byte(k.binding(m)))
	h.Write([]byte(state))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// bind binds the requestState of a result to the user, the client and the request.
func (m *mounted) bind(k *call, r *Result) error {
	out, err := edit(r.Members, func(name string, value []byte) []byte {
		if name != "requestState" {
			return value
		}
		state := text(value)
		return quote(statePrefix + m.sign(k, state) + "." + state)
	})
	r.Members, r.metaAt = out, metaPlace(out)
	return err
}

// unbound returns params with the connector's own requestState. One that was not given to this user and client, for
// this request, is refused.
func (m *mounted) unbound(k *call, params []byte) ([]byte, error) {
	value := valueOf(params, "requestState")
	if !k.modern || value == nil {
		return params, nil
	}
	code, state, found := strings.Cut(strings.TrimPrefix(text(value), statePrefix), ".")
	if !found || !hmac.Equal([]byte(code), []byte(m.sign(k, state))) {
		return nil, badState()
	}
	return with(params, "requestState", quote(state))
}

// badState is the answer to a requestState that leads nowhere.
func badState() error {
	return &jsonrpc.Error{Code: codeInvalidParams, Message: "requestState is unknown or over: send the request without it"}
}
