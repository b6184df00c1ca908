package mcp

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strconv"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"hostedmcp/auth/oauth"
)

// Result is what a tool answers, or a list: members of a JSON object that leave as they are but for insignificant
// white space. The era's own members (`_meta` serverInfo, resultType, ttlMs, cacheScope, nextCursor) are added here,
// so Members must not hold them. A tool makes a new one for each call: it is finished for the era that asked.
type Result struct {
	sdk.ResultBase                 // `_meta`; the SDK adds serverInfo in the modern era
	Members        json.RawMessage // a JSON object
	IsError        bool            // the call failed, as Members says too: for the metric

	modern bool   // carries resultType
	kind   string // of result, "" = complete
	extra  string // further members of ours, each followed by a comma
	metaAt int    // where in Members an object `_meta` begins, in which ours belongs; 0 = there is none
}

// Text is a result with one text block.
func Text(text string) *Result { return newResult(text, nil, false) }

// Failed is the result of a call that went wrong in a way that the model or the user can act upon (MCP "Tool
// execution errors").
func Failed(text string) *Result { return newResult(text, nil, true) }

// Structured is a result with structured content, a JSON object, repeated as text for clients that read no structure.
func Structured(object json.RawMessage) *Result { return newResult(string(object), object, false) }

// newResult is a result with one text block (MCP "Tool result").
func newResult(text string, structured json.RawMessage, isError bool) *Result {
	type block struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	members, err := marshal(struct {
		Content           []block         `json:"content"`
		StructuredContent json.RawMessage `json:"structuredContent,omitempty"`
		IsError           bool            `json:"isError,omitempty"`
	}{[]block{{"text", text}}, structured, isError})
	if err != nil { // structured is not JSON
		return newResult(oauth.Internal.Sentence(), nil, true)
	}
	return &Result{Members: members, IsError: isError}
}

// marshal writes v as it is, without the escapes that encoding/json adds for HTML. Otherwise `<` would leave as
// \u003c, and the text of a tool would not be what the tool wrote.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// MarshalJSON implements json.Marshaler for the SDK, which has put this server's name into Meta.
func (r *Result) MarshalJSON() ([]byte, error) {
	var meta []byte
	if len(r.Meta) > 0 {
		var err error
		if meta, err = marshal(r.Meta); err != nil {
			return nil, err
		}
	}
	return r.append(make([]byte, 0, len(r.Members)+256), meta), nil
}

// append writes one object to out: `_meta` first, unless the tool has one, then the era's members, then those of the
// tool. meta are members of ours for `_meta`, an object; nil = none.
func (r *Result) append(out, meta []byte) []byte {
	start := len(out)
	out = append(out, '{')
	inner := r.Members
	switch {
	case meta != nil && r.metaAt > 0:
		inner = joinMeta(r.Members, r.metaAt, meta)
	case meta != nil:
		out = append(append(append(out, `"_meta":`...), meta...), ',')
	}
	if r.modern {
		out = append(append(append(out, `"resultType":"`...), cmp.Or(r.kind, "complete")...), `",`...)
	}
	out = append(out, r.extra...)
	inner = trimObject(inner)
	// nothing follows the last comma of ours
	if len(inner) == 0 && len(out) > start+1 {
		out = out[:len(out)-1]
	}
	return append(append(out, inner...), '}')
}

// joinMeta writes the members of meta into the object that begins at at, before its own.
func joinMeta(object []byte, at int, meta []byte) []byte {
	ours := trimObject(meta)
	out := append(make([]byte, 0, len(object)+len(ours)+1), object[:at+1]...)
	out = append(out, ours...)
	if s := (scanner{data: object, pos: at + 1}); s.peek() != '}' {
		out = append(out, ',')
	}
	return append(out, object[at+1:]...)
}

// trimObject returns what stands between the braces of an object. It copies nothing and reads nothing in between, so
// that every byte of the tool's leaves as it came.
func trimObject(object []byte) []byte {
	s := scanner{data: object}
	if s.peek() != '{' {
		return nil
	}
	s.pos++
	s.peek()
	end := len(object)
	for end > s.pos && object[end-1] != '}' {
		end--
	}
	return object[s.pos:max(end-1, s.pos)]
}

// cacheable are the members by which the modern era lets clients keep a list; lists are per user, so never shared.
func cacheable(ttlMillis int64) string {
	return `"ttlMs":` + strconv.FormatInt(ttlMillis, 10) + `,"cacheScope":"private",`
}
