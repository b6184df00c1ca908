package mount

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"hostedmcp/mcp/connector"
)

// message is one JSON-RPC message of a mounted server (JSON-RPC 2.0 §4, §5).
type message struct {
	id     json.RawMessage // as written; nil = a notification, or an error about no request
	method string          // "" = a response
	params json.RawMessage
	result json.RawMessage
	fault  *connector.Error // in place of result
	size   int              // bytes it holds in memory

	after []<-chan struct{} // closed when what the server said before has reached the client
}

// Why a checked text is no message.
var (
	errNoMessage = errors.New("no JSON-RPC 2.0 message")
	errNoResult  = errors.New("a result that is no object")
	errFault     = errors.New("a malformed error object")
)

// parse checks one message and takes it apart.
func parse(data []byte, maxDepth int) (message, error) {
	o, err := clean(data, maxDepth)
	if err != nil {
		return message{}, err
	}
	if o == nil {
		return message{}, errNoMessage // a batch too: no version since 2025-06-18 has any
	}
	m := message{
		id: o.get("id"), method: o.text("method"), params: o.get("params"), result: o.get("result"), size: len(data),
	}
	if string(m.id) == "null" {
		m.id = nil // an error about a request that could not be read
	}
	fault := o.get("error")
	switch {
	case o.text("jsonrpc") != "2.0":
		return message{}, errNoMessage
	case m.method != "":
		return m, nil
	case (m.result == nil) == (fault == nil):
		return message{}, errNoMessage
	case fault != nil:
		m.fault, err = faultOf(fault)
		return m, err
	case m.result[0] != '{':
		return message{}, errNoResult
	}
	return m, nil
}

// faultOf reads an error object (JSON-RPC 2.0 §5.1). Its words are the server's and go to the client as they are.
func faultOf(raw json.RawMessage) (*connector.Error, error) {
	o := objectOf(raw)
	code, err := strconv.ParseInt(string(o.get("code")), 10, 64)
	if err != nil || code < math.MinInt32 || code > math.MaxInt32 {
		return nil, errFault
	}
	return &connector.Error{Code: code, Message: o.text("message"), Data: o.get("data")}, nil
}

// isRequest reports whether the server wants an answer.
func (m *message) isRequest() bool { return m.method != "" && m.id != nil }

// request writes a request of ours, or, with id 0, a notification.
func request(id int64, method string, params json.RawMessage) []byte {
	out := []byte(`{"jsonrpc":"2.0"`)
	if id != 0 {
		out = strconv.AppendInt(append(out, `,"id":`...), id, 10)
	}
	out = append(append(out, `,"method":`...), quote(method)...)
	if params != nil {
		out = append(append(out, `,"params":`...), params...)
	}
	return append(out, '}')
}

// response writes our answer to a server's request, whose id is echoed as it came.
func response(id, result json.RawMessage, err error) []byte {
	if err == nil {
		return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, result)
	}
	e := &connector.Error{Code: connector.CodeInternal, Message: "the client could not be asked"}
	errors.As(err, &e)
	data := e.Data
	if data != nil {
		data = append([]byte(`,"data":`), data...)
	}
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%s%s}}`, id, e.Code, quote(e.Message), data)
}
