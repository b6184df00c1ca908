package rest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// A call comes from a model, so it is judged twice: by the schema that the model was shown, for a message that it can act
// on, and by what is written where, for safety. The second does not rely on the first: a schema may be unreadable here, or
// allow more than fits into a URL.

// fault is what is wrong with a call's arguments: told to the model, which can do better.
type fault struct{ error }

// faultf is a fault of the caller: what is wrong with the arguments, in words for the model.
func faultf(format string, args ...any) error { return fault{fmt.Errorf(format, args...)} }

// arguments are what a tool is called with.
type arguments struct{ *node }

// readArguments reads those of a tools/call, and judges them by the tool's own schema. Without any there are none.
func (o *operation) readArguments(raw json.RawMessage) (arguments, error) {
	if len(raw) == 0 || string(raw) == "null" {
		raw = json.RawMessage("{}")
	}
	// Read twice: as nodes, which keep digits and order for the request, and as Go values, which the judge takes.
	n, err := parseJSON(raw)
	if err != nil || !n.object {
		return arguments{}, faultf("the arguments must be one object: %v", err)
	}
	if judge := o.input(); judge != nil {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return arguments{}, faultf("the arguments cannot be read")
		}
		if err := judge.Validate(v); err != nil {
			return arguments{}, faultf("the arguments do not fit the tool's inputSchema: %v", err)
		}
	}
	return arguments{n}, o.known(n)
}

// known refuses arguments that nothing would be made of, also where the schema could not be judged.
func (o *operation) known(n *node) error {
	for _, p := range o.parameters {
		if p.required && n.get(p.argument) == nil {
			return faultf("the argument %q is missing", p.argument)
		}
	}
	for _, m := range n.members {
		if !o.names[m.name] {
			return faultf("there is no argument %q", m.name)
		}
	}
	if o.body != nil && o.body.required && n.get("body") == nil {
		return faultf(`the argument "body" is missing`)
	}
	return nil
}

// request writes the request that the arguments mean. Its URL is the base's but for path and query, whatever they say.
func (o *operation) request(ctx context.Context, base *url.URL, args arguments) (*http.Request, error) {
	path, err := o.writePath(args)
	if err != nil {
		return nil, err
	}
	query, err := o.writeQuery(args)
	if err != nil {
		return nil, err
	}
	// Put together as text: url.URL would decode and encode again, and what is encoded here must leave as it is.
	target := base.Scheme + "://" + base.Host + strings.TrimSuffix(base.EscapedPath(), "/") + path
	if query != "" {
		target += "?" + query
	}
	content, mediaType, err := o.writeBody(args)
	if err != nil {
		return nil, err
	}
	// The last word on where it goes has the reader that net/http itself uses.
	r, err := http.NewRequestWithContext(ctx, o.method, target, content)
	if err != nil || r.URL.Host != base.Host || r.URL.User != nil {
		return nil, faultf("the arguments do not make a URL")
	}
	// JSON if the API has the choice; an API that knows no JSON must not answer 406
	r.Header.Set("Accept", "application/json, */*;q=0.5")
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	return r, o.writeHeader(r.Header, args)
}

// writeBody writes the body in its media type.
func (o *operation) writeBody(args arguments) (io.Reader, string, error) {
	if o.body == nil {
		return nil, "", nil
	}
	v := args.get("body")
	if v == nil {
		return nil, "", nil
	}
	switch t := o.body.mediaType; {
	case isJSON(t):
		return bytes.NewReader(v.json()), t, nil
	case strings.HasPrefix(t, "text/"):
		return strings.NewReader(v.plain()), t + "; charset=utf-8", nil
	case o.body.bytes():
		// an argument is JSON, which holds no bytes
		raw, err := base64.StdEncoding.DecodeString(v.plain())
		if err != nil {
			return nil, "", faultf(`the argument "body" is not base64`)
		}
		return bytes.NewReader(raw), t, nil
	case !v.object:
		return nil, "", faultf(`the argument "body" must be an object`)
	case t == "multipart/form-data":
		return writeMultipart(v)
	}
	// Forms have no standard way for what is nested; this is the one that most servers read.
	var pairs []string
	for _, m := range v.members {
		pairs = append(pairs, deep(m.name, m.value)...)
	}
	return strings.NewReader(strings.Join(pairs, "&")), o.body.mediaType, nil
}

// File parts have no arguments of their own: a part's content is what the argument says, as text. Bytes would need a file
// name and a type that the document rarely gives.

// writeMultipart writes one part a member: texts as they are, all else as JSON (RFC 7578; OpenAPI 3.1 §4.8.14.4).
func writeMultipart(v *node) (io.Reader, string, error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, m := range v.members {
		h := textproto.MIMEHeader{}
		h.Set("Content-Disposition", `form-data; name="`+quoteName(m.name)+`"`)
		content := m.value.plain()
		if m.value.object || m.value.array {
			content = string(m.value.json())
			h.Set("Content-Type", "application/json")
		}
		part, err := w.CreatePart(h)
		if err != nil {
			return nil, "", err
		}
		if _, err := io.WriteString(part, content); err != nil {
			return nil, "", err
		}
	}
	return &b, w.FormDataContentType(), w.Close()
}

// quoteName keeps a name inside its quotation marks (RFC 7578 §2, WHATWG "multipart/form-data").
func quoteName(s string) string {
	return strings.NewReplacer("\r", "%0D", "\n", "%0A", `"`, "%22").Replace(s)
}
