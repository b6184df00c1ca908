package mcp

import (
	"encoding/json"
	"errors"
)

// lifetime says what becomes of ttlMs and cacheScope of a result.
type lifetime int

const (
	dropLife lifetime = iota // the method's result has none: members of these names are the connector's
	readLife                 // resources/read: the connector's time, but private to the user
	keepLife                 // they are ours already
)

// kindInput is the resultType by which a server asks for more before it answers (MCP 2026-07-28, "Multi round-trip
// requests").
const kindInput = "input_required"

// metaServerInfo is the member of `_meta` by which a server names itself. The one that clients talk to is this one.
const metaServerInfo = "io.modelcontextprotocol/serverInfo"

// result makes a connector's result ready to leave for the era of k: the era's own members are ours, all others leave
// as they came.
func (s *Server) result(k *call, object json.RawMessage, life lifetime) (*Result, error) {
	r := &Result{modern: k.modern}
	ttl := "0"
	dropped := false
	out, err := edit(object, func(name string, value []byte) []byte {
		switch {
		case name == "resultType":
			if kind := text(value); kind != "complete" {
				r.kind = kind
			}
			return nil
		case life == readLife && name == "ttlMs":
			if n := (scanner{data: value}); n.digits() && n.pos == len(value) {
				ttl = string(value)
			}
			return nil
		case life == readLife && name == "cacheScope":
			return nil
		case name == "isError":
			r.IsError = string(value) == "true"
		case name == "_meta":
			value, dropped = withoutServer(value)
			if dropped {
				return nil
			}
		}
		return value
	})
	if err != nil {
		return nil, err
	}
	if r.kind != "" && (r.kind != kindInput || !k.modern) {
		return nil, errors.New("a result of the kind " + echo(r.kind) + " to a client that knows none")
	}
	if life == readLife && k.modern && r.kind == "" {
		r.extra = `"ttlMs":` + ttl + `,"cacheScope":"private",`
	}
	r.Members, r.metaAt = out, metaPlace(out)
	return r, nil
}

// withoutServer drops the connector's name from `_meta`; gone says that nothing else was in it.
func withoutServer(meta []byte) (out []byte, gone bool) {
	if valueOf(meta, metaServerInfo) == nil {
		return meta, false
	}
	out, err := edit(meta, func(name string, value []byte) []byte {
		if name == metaServerInfo {
			return nil
		}
		return value
	})
	if err != nil {
		return meta, false
	}
	return out, len(out) == 2
}

// metaPlace returns where in object the value of `_meta` begins, 0 if there is no such object.
func metaPlace(object []byte) (at int) {
	_ = members(object, func(name string, value []byte, _, end int) bool {
		if name == "_meta" && value[0] == '{' {
			at = end - len(value)
		}
		return at == 0
	})
	return at
}
