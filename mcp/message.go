package mcp

// This file reads the envelope of JSON-RPC 2.0 (§4 request, §5 response) as MCP narrows it ("Base protocol, Messages"):
// no null ids, no positional parameters, no batches.

import (
	"errors"
	"net/http"
	"strconv"
)

// JSON-RPC error codes: JSON-RPC 2.0 §5.1, MCP 2026-07-28 for the header mismatch.
const (
	codeParse          = -32700
	codeInvalidRequest = -32600
	codeMethodNotFound = -32601
	codeInvalidParams  = -32602
	codeInternal       = -32603
	codeHeaderMismatch = -32020

	codeMissingCapability  = -32021 // of the client
	codeUnsupportedVersion = -32022
)

// Methods that the endpoint treats in a way of their own.
const (
	methodInitialize = "initialize"
	methodToolsCall  = "tools/call"
	methodToolsList  = "tools/list"
	methodListen     = "subscriptions/listen"
	methodDiscover   = "server/discover"

	methodPromptsList   = "prompts/list"
	methodPromptsGet    = "prompts/get"
	methodResourcesList = "resources/list"
	methodTemplatesList = "resources/templates/list"
	methodResourcesRead = "resources/read"
	methodSubscribe     = "resources/subscribe"
	methodUnsubscribe   = "resources/unsubscribe"
	methodComplete      = "completion/complete"
	methodSetLevel      = "logging/setLevel"
)

// Notifications and requests that servers send.
const (
	notifyProgress  = "notifications/progress"
	notifyMessage   = "notifications/message"
	notifyCancelled = "notifications/cancelled"
	notifyRoots     = "notifications/roots/list_changed" // from clients
	notifyTools     = "notifications/tools/list_changed"
	notifyPrompts   = "notifications/prompts/list_changed"
	notifyResources = "notifications/resources/list_changed"
	notifyUpdated   = "notifications/resources/updated"
	notifyElicited  = "notifications/elicitation/complete"
	notifyAck       = "notifications/subscriptions/acknowledged"
	askElicitation  = "elicitation/create"
	askSampling     = "sampling/createMessage"
	askRoots        = "roots/list"
)

// metaVersion is the member of `_meta` by which a request of the modern era names its protocol version.
const metaVersion = "io.modelcontextprotocol/protocolVersion"

// message is one JSON-RPC message, as far as the endpoint must know it before the SDK reads it again. It is read
// once, here; every rule of the endpoint goes by these fields, and by no second reading.
type message struct {
	id         []byte // as sent; nil for notifications
	method     string // "" for a response to a request of ours
	name       string // params.name, for resources/read params.uri
	version    string // _meta protocol version; "" also when it is no string
	hasVersion bool
	params     []byte // the object as sent, nil if there is none; in the buffer of the body
	answer     []byte // of a response: its result or error, likewise
	failed     bool   // answer is an error
}

// rpcError is a JSON-RPC error answer under an HTTP status. MCP's transport wants both: proxies see the status, clients
// find the call that failed.
type rpcError struct {
	status  int
	code    int
	message string
}

// badMessage is an answer with status 400, which both eras have for messages that were not dispatched.
func badMessage(code int, text string) *rpcError {
	return &rpcError{status: http.StatusBadRequest, code: code, message: text}
}

// envelope is what the members of a message said. A member that is there with a wrong type differs from one that is
// absent, hence the flags.
type envelope struct {
	message
	jsonrpc   string
	hasID     bool
	goodID    bool
	hasMethod bool
	hasParams bool
	hasResult bool
	hasError  bool
	uri       string
}

// parseMessage reads the one message of a POST (protocol.md §7 step 4). Batches are refused: they left MCP with
// 2025-06-18, and one scope, one tool and one provider token belong to one message.
func parseMessage(data []byte) (message, *rpcError) {
	// room for the names of the usual objects in one piece of memory
	s := scanner{data: data, names: make([][]byte, 0, 2*manyKeys)}
	if s.peek() == '[' {
		return message{}, badMessage(codeInvalidRequest, "batches are not served: send one message a POST")
	}
	var e envelope
	err := s.object(func(name []byte) error { return e.member(&s, name) })
	if err == nil {
		err = s.end()
	}
	if errors.Is(err, errMeta) {
		return message{id: e.answerID()}, badMessage(codeInvalidParams, "invalid params: "+err.Error())
	}
	if err != nil {
		return message{}, badMessage(codeParse, "parse error: "+err.Error())
	}
	if fault := e.fault(); fault != "" {
		return message{id: e.answerID()}, badMessage(codeInvalidRequest, "invalid request: "+fault)
	}
	switch e.method {
	case methodResourcesRead, methodSubscribe, methodUnsubscribe:
		e.name = e.uri
	}
	return e.message, nil
}

// member reads one member of the message. Names are case-sensitive: "Method" is a member that nobody knows.
func (e *envelope) member(s *scanner, name []byte) (err error) {
	switch string(name) {
	case "jsonrpc":
		e.jsonrpc, _, err = s.optionalString()
	case "id":
		e.hasID = true
		if e.id, err = s.raw(); err == nil {
			e.goodID = validID(e.id)
		}
	case "method":
		e.hasMethod = true
		e.method, _, err = s.optionalString()
	case "params":
		if s.peek() != '{' {
			e.hasParams = s.peek() != 'n' // null is as good as none
			return s.value()
		}
		start := s.pos
		err = s.object(func(name []byte) error { return e.param(s, name) })
		e.params = s.data[start:s.pos]
		return err
	case "result":
		e.hasResult = true
		e.answer, err = s.raw()
	case "error":
		e.hasError, e.failed = true, true
		e.answer, err = s.raw()
	default:
		err = s.value()
	}
	return err
}

// param reads one parameter. Members of other types than ours are left to the SDK, which refuses them where the method
// needs them; here they count as absent, so that nothing is decided by them.
func (e *envelope) param(s *scanner, name []byte) (err error) {
	switch string(name) {
	case "name":
		e.name, _, err = s.optionalString()
	case "uri":
		e.uri, _, err = s.optionalString()
	case "_meta":
		if s.peek() != '{' {
			return s.value()
		}
		return e.meta(s)
	default:
		err = s.value()
	}
	return err
}

// maxMeta is the largest `_meta` of a request in bytes. It holds a few words about the request, and the SDK decodes it
// into a map several times over, before any tool is asked.
const maxMeta = 64 << 10

var errMeta = errors.New("_meta is too large")

// meta reads `_meta`, an object. It stops as soon as there is too much of it.
func (e *envelope) meta(s *scanner) error {
	limit := s.pos + maxMeta
	return s.object(func(name []byte) (err error) {
		if string(name) == metaVersion {
			e.hasVersion = true
			e.version, _, err = s.optionalString()
		} else {
			err = s.value()
		}
		if err == nil && s.pos >= limit {
			return errMeta
		}
		return err
	})
}

// fault says what is wrong with the message as a whole, "" if nothing is (JSON-RPC 2.0 §4 and §5; in MCP an id is a
// string or an integer, and params are an object). What the SDK would make of such a message need not be what was
// judged here.
func (e *envelope) fault() string {
	switch {
	case e.jsonrpc != "2.0":
		return `jsonrpc is not "2.0"`
	case e.hasID && !e.goodID:
		return "id is neither a string nor an integer that every reader keeps"
	case e.hasMethod && e.method == "":
		return "method is not a name"
	case e.hasMethod && (e.hasResult || e.hasError):
		return "both a request and a response"
	case e.hasParams:
		return "params is not an object"
	case !e.hasMethod && (!e.hasID || e.hasResult == e.hasError):
		return "neither a request nor a response"
	}
	return ""
}

// answerID is the id that an error answer may repeat: that of a request, if it can be read back. An id of a response
// is ours and is not answered.
func (e *envelope) answerID() []byte {
	if e.goodID && e.hasMethod {
		return e.id
	}
	return nil
}

// maxID bounds numeric ids to what survives a reader that holds numbers as float64, as the SDK does: two ids that it
// would take for one must not both get here.
const maxID = 1 << 53

// validID reports whether raw is a string or an integer without fraction and exponent, within maxID. An integer
// written as 1e3 or 1.0 would come back in another spelling.
func validID(raw []byte) bool {
	if raw[0] == '"' {
		return true
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return err == nil && n >= -maxID && n <= maxID
}

// isCall reports whether an answer is due. A response has an id too, but no method.
func (m *message) isCall() bool { return m.id != nil && m.method != "" }
