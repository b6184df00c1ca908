package rest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
)

// What a model reads costs its context, so each answer becomes the shortest thing that still says all: JSON without white
// space once as text and once as structure, a refusal as status and body, a file as a resource.

// maxErrorText is how much of an error's body a model gets to read, in bytes: some APIs answer with a whole page.
const maxErrorText = 16 << 10

// result makes a tool's result of an API's answer. What the API refuses is a result with isError, in its own words
// behind the status: the model can act on it (MCP "Tool execution errors").
func (o *operation) result(resp *http.Response, config connector.Config, sent oauth.Secret) (json.RawMessage, error) {
	// counted behind the unpacking of the transport: a small gzip can mean a large answer
	content, err := io.ReadAll(io.LimitReader(resp.Body, config.MaxBytes+1))
	content = withoutSecret(content, sent)
	switch {
	case err != nil:
		return nil, connector.Unreachable(fmt.Errorf("answer of %s %s: %w", o.method, o.path, withoutURL(err)))
	case int64(len(content)) > config.MaxBytes:
		// no part of it: half a list looks like a whole one
		return failed(o.tooLarge(config.MaxBytes)), nil
	case resp.StatusCode >= 300:
		return failed(refused(resp, content)), nil
	}
	content = bytes.TrimPrefix(content, []byte("\ufeff")) // RFC 8259 §8.1 lets readers ignore it, and some APIs begin with it
	mediaType := essence(resp.Header.Get("Content-Type"))
	if len(content) == 0 {
		return o.empty(resp), nil
	}
	// an answer that does not say what it is may still be what the document promises
	if isJSON(mediaType) || mediaType == "" && json.Valid(content) {
		return o.structured(resp, content, config)
	}
	return o.other(mediaType, content)
}

// withoutSecret takes the credential out of an answer that repeats it, as errors and echo services do: the user may not
// know the organisation's key, and a model no token at all. What is too short to be one would hit other words.
func withoutSecret(content []byte, sent oauth.Secret) []byte {
	token := sent.Reveal()
	token = token[strings.LastIndexByte(token, ' ')+1:] // behind the scheme
	if len(token) < 8 {
		return content
	}
	return bytes.ReplaceAll(content, []byte(token), []byte("[hidden]"))
}

// refused says what the API said no with.
func refused(resp *http.Response, content []byte) string {
	s := fmt.Sprintf("HTTP %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	// a date or a number of seconds (RFC 9110 §10.2.3); what is longer is neither
	if after := resp.Header.Get("Retry-After"); after != "" && len(after) < 40 {
		s += "\nRetry-After: " + printable(after)
	}
	// Where to is not said: a model that knows another address may try it with another tool.
	if place := resp.Header.Get("Location"); place != "" && resp.StatusCode < 400 {
		s += "\nThe API points elsewhere, and is not followed there."
	}
	body := strings.ToValidUTF8(string(content[:min(len(content), maxErrorText)]), "\ufffd")
	if body = strings.TrimSpace(body); body != "" {
		s += "\n" + body
	}
	return s
}

// tooLarge tells the model how to go on.
func (o *operation) tooLarge(most int64) string {
	s := fmt.Sprintf("The answer is larger than %d bytes and was not read.", most)
	if len(o.limits) == 0 {
		return s + " Ask for something narrower."
	}
	return s + " Ask for less with: " + strings.Join(o.limits, ", ") + "."
}

// empty is a good answer without a body.
func (o *operation) empty(resp *http.Response) json.RawMessage {
	s := fmt.Sprintf("HTTP %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if o.hasOutput && o.method != http.MethodHead {
		// a client that was promised a structure would call a result without one broken
		return failed(s + ", without the answer that the API's document promises")
	}
	return object(member{"content", list(textBlock(s))}).json()
}

// structured hands JSON on: for programs as structured content, for all others as text.
func (o *operation) structured(resp *http.Response, content []byte, config connector.Config) (json.RawMessage, error) {
	if !utf8.Valid(content) {
		return nil, connector.BadAnswer(fmt.Errorf("%s %s: not UTF-8", o.method, o.path))
	}
	if depth := nesting(content); depth > config.MaxDepth {
		return nil, connector.BadAnswer(fmt.Errorf("%s %s: nested deeper than %d", o.method, o.path, config.MaxDepth))
	}
	// kept as one piece: read into nodes, 4 MiB of small numbers are half a gigabyte
	value, err := compact(content)
	if err != nil {
		return nil, connector.BadAnswer(fmt.Errorf("%s %s: %w", o.method, o.path, err))
	}
	blocks := list(textBlock(string(content)))
	if next := o.next(resp); next != "" {
		blocks.items = append(blocks.items, textBlock(next))
	}
	// clients were shown the wrapping in the output schema; without one, any structure must still be an object
	if o.wrapped || value.scalar[0] != '{' {
		value = object(member{"result", value})
	}
	out := object(member{"content", blocks}, member{"structuredContent", value})
	if err := o.promised(value); err != nil {
		// A client that checks results would show nothing of this one; marked as an error it is read as text.
		return failed("The API's answer does not fit its own document: " + err.Error() + "\n" + string(content)), nil
	}
	return out.json(), nil
}

// promised judges an answer by the output schema that clients were shown.
func (o *operation) promised(value *node) error {
	judge := o.output()
	if judge == nil { // nothing was promised, or nothing that we can judge
		return nil
	}
	var v any
	if err := json.Unmarshal(value.json(), &v); err != nil {
		return err
	}
	return judge.Validate(v)
}

// other hands on what is not JSON: texts as text, images as such, all else as a resource.
func (o *operation) other(mediaType string, content []byte) (json.RawMessage, error) {
	if o.hasOutput {
		return failed(fmt.Sprintf("The API answered %s where its document promises JSON.", printable(mediaType))), nil
	}
	// The media type decides only among three forms that all clients know; bytes that are no text never pass as one.
	var block *node
	encoded := text(base64.StdEncoding.EncodeToString(content))
	switch {
	case strings.HasPrefix(mediaType, "image/"):
		block = object(member{"type", text("image")}, member{"data", encoded}, member{"mimeType", text(mediaType)})
	case utf8.Valid(content):
		block = textBlock(string(content))
	default:
		block = object(member{"type", text("resource")}, member{"resource", object(
			member{"uri", text("data:" + mediaType)}, member{"mimeType", text(orElse(mediaType, "application/octet-stream"))}, member{"blob", encoded})})
	}
	return object(member{"content", list(block)}).json(), nil
}

// Pages by a token in the body need nothing from us: the model sees the token, and the argument that takes it. A Link header
// it does not see.

// next says how to ask for the next page, if the API named one (RFC 8288, rel="next") and its query is made of this
// tool's arguments. Where the link leads does not matter: only its query is read.
func (o *operation) next(resp *http.Response) string {
	for _, link := range strings.Split(strings.Join(resp.Header.Values("Link"), ","), ",") {
		target, params, ok := strings.Cut(link, ">")
		if !ok || !strings.Contains(strings.ReplaceAll(params, `"`, ""), "rel=next") {
			continue
		}
		u, err := url.Parse(strings.TrimLeft(target, " <"))
		if err != nil {
			return ""
		}
		// only arguments that page: others of the link, such as a key that some APIs put there, are not for the model
		again := object()
		for _, p := range o.parameters {
			if value := u.Query().Get(p.name); value != "" && p.in == "query" && slices.Contains(o.limits, p.argument) {
				again.add(p.argument, p.example(value))
			}
		}
		if len(again.members) == 0 { // it pages by what is no argument here
			return "There is another page."
		}
		return "There is another page: call again with the same arguments and " + string(again.json()) + "."
	}
	return ""
}

// The schema may be a reference, which is not followed for a hint: a text that should be a number is told to the model by
// the judge of arguments.

// example is a value of the query as an argument: a number where the schema asks for one.
func (p parameter) example(value string) *node {
	if t := p.schema.get("type").str(); (t == "integer" || t == "number") && json.Valid([]byte(value)) {
		return literal(value)
	}
	return text(value)
}

func textBlock(s string) *node {
	return object(member{"type", text("text")}, member{"text", text(s)})
}

// failed is a result that the model should read as a failure.
func failed(s string) json.RawMessage {
	return object(member{"content", list(textBlock(s))}, member{"isError", literal("true")}).json()
}

// nesting is the depth of JSON, counted without reading it: readers call themselves for each level. What is no JSON may be
// counted wrongly, and is refused by the reader that comes next.
func nesting(content []byte) (deepest int) {
	depth, quoted := 0, false
	for i := 0; i < len(content); i++ {
		switch c := content[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// printable keeps a stranger's word to one line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

// withoutURL drops the URL from an error of the HTTP client: arguments stand in it.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
