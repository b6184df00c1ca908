package rest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/rest"
)

// operationWith is a document of one operation with one parameter.
func operationWith(path, parameter string) string {
	return doc("3.1.0", fmt.Sprintf(`{%q:{"get":{"operationId":"x","parameters":[%s],"responses":{}}}}`, path, parameter), "")
}

// Styles of parameters (OpenAPI 3.1 §4.8.12.4, its own table of examples; RFC 6570).
func TestStyles(t *testing.T) {
	const array, obj = `["blue","black","brown"]`, `{"R":100,"G":200,"B":150}`
	for _, tt := range []struct{ in, style, explode, value, want string }{
		{"path", "", "", `"blue"`, "/v1/c/blue"},
		{"path", "simple", "false", array, "/v1/c/blue,black,brown"},
		{"path", "simple", "false", obj, "/v1/c/R,100,G,200,B,150"},
		{"path", "simple", "true", obj, "/v1/c/R=100,G=200,B=150"},
		{"path", "label", "false", `"blue"`, "/v1/c/.blue"},
		{"path", "label", "true", array, "/v1/c/.blue.black.brown"},
		{"path", "label", "false", array, "/v1/c/.blue,black,brown"},
		{"path", "label", "true", obj, "/v1/c/.R=100.G=200.B=150"},
		{"path", "matrix", "false", `"blue"`, "/v1/c/;color=blue"},
		{"path", "matrix", "false", array, "/v1/c/;color=blue,black,brown"},
		{"path", "matrix", "true", array, "/v1/c/;color=blue;color=black;color=brown"},
		{"path", "matrix", "true", `["blue"]`, "/v1/c/;color=blue"},
		{"path", "matrix", "true", obj, "/v1/c/;R=100;G=200;B=150"},
		{"path", "matrix", "false", obj, "/v1/c/;color=R,100,G,200,B,150"},
		{"query", "", "", `"blue"`, "/v1/c?color=blue"},
		{"query", "form", "true", array, "/v1/c?color=blue&color=black&color=brown"},
		{"query", "form", "false", array, "/v1/c?color=blue,black,brown"},
		{"query", "form", "true", obj, "/v1/c?R=100&G=200&B=150"},
		{"query", "form", "false", obj, "/v1/c?color=R,100,G,200,B,150"},
		{"query", "spaceDelimited", "false", array, "/v1/c?color=blue%20black%20brown"},
		{"query", "pipeDelimited", "false", array, "/v1/c?color=blue|black|brown"},
		{"query", "deepObject", "true", obj, "/v1/c?color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150"},
		{"query", "deepObject", "", `{"a":{"b":[1,2]}}`, "/v1/c?color%5Ba%5D%5Bb%5D%5B0%5D=1&color%5Ba%5D%5Bb%5D%5B1%5D=2"},
		{"query", "form", "true", `[]`, "/v1/c"},
		{"query", "form", "true", `9007199254740993`, "/v1/c?color=9007199254740993"},
		{"query", "form", "true", `true`, "/v1/c?color=true"},
		{"query", "form", "true", `"a&b=c#d +é"`, "/v1/c?color=a%26b%3Dc%23d%20%2B%C3%A9"},
	} {
		t.Run(strings.Join([]string{tt.in, tt.style, tt.explode, tt.value}, " "), func(t *testing.T) {
			path, p := "/c", fmt.Sprintf(`{"name":"color","in":%q`, tt.in)
			if tt.in == "path" {
				path, p = "/c/{color}", p+`,"required":true`
			}
			if tt.style != "" {
				p += fmt.Sprintf(`,"style":%q`, tt.style)
			}
			if tt.explode != "" {
				p += `,"explode":` + tt.explode
			}
			a := mount(t, operationWith(path, p+"}"))
			a.must("x", `{"color":`+tt.value+`}`)
			if got := a.asked[0].RequestURI; got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// A parameter with content is written as JSON (OpenAPI 3.1 §4.8.12).
func TestParameterContent(t *testing.T) {
	a := mount(t, operationWith("/c", `{"name":"f","in":"query","content":{"application/json":{"schema":{"type":"object"}}}}`))
	a.must("x", `{"f":{"b":1,"a":[2]}}`)
	if got := a.asked[0].RequestURI; got != "/v1/c?f=%7B%22b%22%3A1%2C%22a%22%3A%5B2%5D%7D" {
		t.Error(got)
	}
}

// No argument leaves its place: each of these is refused, or arrives whole in the one place that is its own.
func TestSmuggling(t *testing.T) {
	attacks := []string{
		"..", ".", "../admin", "a/../../admin", "..%2fadmin", "%2e%2e/admin", "%2e%2e%2fadmin", "%252e%252e%252fadmin", "..\\admin", "a/..", "..;/admin",
		"..;x=1/admin", "/", "//evil.example/", "\\\\evil.example", "@evil.example", ":80@evil.example/", "?x=1", "#x", "a?admin=true", "a&admin=true", "a;admin=true",
		"a b", "a\r\nX-Admin: 1", "a\nX-Admin: 1", "a\x00b", "%0d%0aX-Admin:%201", "%00", "http://evil.example/", "{id}", "é\u202e", "a%", "%", "%zz", strings.Repeat("%25", 5) + "2e",
	}
	for _, in := range []string{"path", "query", "header"} {
		path, extra := "/x", ""
		if in == "path" {
			path, extra = "/x/{v}", `,"required":true`
		}
		a := mount(t, operationWith(path, fmt.Sprintf(`{"name":"v","in":%q,"schema":{"type":"string"}%s}`, in, extra)))
		for _, attack := range attacks {
			before := len(a.asked)
			raw, err := a.call("x", fmt.Sprintf(`{"v":%s}`, quoted(attack)))
			if err != nil {
				t.Fatalf("%s %q: %v", in, attack, err)
			}
			if len(a.asked) == before {
				if !strings.Contains(raw, `"isError":true`) {
					t.Errorf("%s %q: refused without saying so: %s", in, attack, raw)
				}
				continue
			}
			r := a.asked[before]
			value, query := map[string]string{"path": r.URL.Path, "query": r.URL.Query().Get("v"), "header": r.Header.Get("v")}[in], r.URL.Query()
			prefix := ""
			if in == "path" {
				prefix = "/v1/x/"
			}
			if value != prefix+attack && value != strings.TrimSpace(attack) {
				t.Errorf("%s %q arrived as %q", in, attack, value)
			}
			query.Del("v")
			if in != "path" && r.URL.Path != "/v1/x" || len(query) > 0 || r.Header.Get("X-Admin") != "" || "http://"+r.Host != a.server.URL {
				t.Errorf("%s %q left its place: %s %s %v", in, attack, r.Host, r.RequestURI, r.Header)
			}
			if in == "path" && strings.Count(r.URL.EscapedPath(), "/") != 3 {
				t.Errorf("path %q made a segment: %s", attack, r.URL.EscapedPath())
			}
		}
	}
}

// No argument stands for a header that is not the caller's to say: whatever its spelling, and the credential's own.
func TestReservedHeaders(t *testing.T) {
	for _, header := range []string{"authorization", "hostedmcp-subject", "Hostedmcp_Subject", "X_Forwarded_For", "X-Request-ID", "X Y", "X(Y)", "x-api-key", "X_Api_Key"} {
		a := mount(t, operationWith("/x", fmt.Sprintf(`{"name":%q,"in":"header","required":true,"schema":{"type":"string"}}`, header)), func(o *rest.Options) {
			o.Config.Credential, o.Config.Header, o.Secret = connector.CredentialStatic, "X-API-Key", "of the organisation"
		})
		a.must("x", `{}`)
		if got := a.asked[0].Header.Values("X-Api-Key"); len(got) != 1 || got[0] != "of the organisation" {
			t.Errorf("%s: %v", header, got)
		}
		if raw, _ := a.call("x", fmt.Sprintf(`{%q:"mine"}`, header)); !strings.Contains(raw, `"isError":true`) {
			t.Errorf("%s: taken", header)
		}
	}
}

// Those that some server reads as a way up never go out, even encoded.
func TestNoWayUp(t *testing.T) {
	a := mount(t, operationWith("/x/{v}/y", `{"name":"v","in":"path","required":true}`))
	for _, up := range []string{"..", ".", "../a", "a/../b", "..%2fa", "%2e%2e", "%2E%2e%2f", "%252e%252e", "%25252e%25252e", "..\\a", "..;/a", "a\\..\\b"} {
		raw, err := a.call("x", fmt.Sprintf(`{"v":%s}`, quoted(up)))
		if err != nil || !strings.Contains(raw, `"isError":true`) {
			t.Errorf("%q: %s %v", up, raw, err)
		}
	}
	for _, empty := range []string{`""`, `[]`, `null`, `{}`} {
		if raw, _ := a.call("x", `{"v":`+empty+`}`); !strings.Contains(raw, `"isError":true`) {
			t.Errorf("%s: the path would be another: %s", empty, raw)
		}
	}
	if len(a.asked) != 0 {
		t.Errorf("%d requests went out, the first %s", len(a.asked), a.asked[0].RequestURI)
	}
	a.must("x", `{"v":"group/project..v2"}`)
	if got := a.asked[0].RequestURI; got != "/v1/x/group%2Fproject..v2/y" {
		t.Errorf("a slash is sent encoded, got %s", got)
	}
}

// Arguments are judged before anything is sent; what is wrong is told to the model.
func TestWrongArguments(t *testing.T) {
	a := mount(t, doc("3.1.0", `{"/x":{"post":{"operationId":"x","parameters":[{"name":"n","in":"query","required":true,"schema":{"type":"integer","maximum":10}}],
		"requestBody":{"required":true,"content":{"application/json":{"schema":{"type":"object","required":["a"],"properties":{"a":{"type":"string"}}}}}},"responses":{}}}}`, ""))
	for _, tt := range []struct{ arguments, want string }{
		{`{}`, "n"}, {`{"n":1}`, "body"}, {`{"n":"1","body":{"a":"b"}}`, "integer"}, {`{"n":11,"body":{"a":"b"}}`, "10"}, {`{"n":1,"body":{}}`, "a"},
		{`{"n":1,"body":{"a":"b"},"admin":true}`, "admin"}, {`[]`, "object"}, {`{"n":1,"n":2,"body":{"a":"b"}}`, "two members"},
		{`{"n":1,"body":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, "nested"},
	} {
		raw, err := a.call("x", tt.arguments)
		if err != nil || !strings.Contains(raw, `"isError":true`) || !strings.Contains(raw, tt.want) {
			t.Errorf("%.60s: %s %v", tt.arguments, raw, err)
		}
	}
	if len(a.asked) != 0 {
		t.Errorf("%d requests went out", len(a.asked))
	}
	a.must("x", `{"n":10,"body":{"a":"b"}}`)
}

// Bodies in each media type.
func TestBodies(t *testing.T) {
	for _, tt := range []struct{ mediaType, value, wantType, want string }{
		{"application/json", `{"b":9007199254740993,"a":"<é>"}`, "application/json", `{"b":9007199254740993,"a":"<é>"}`},
		{"application/merge-patch+json", `{"a":null}`, "application/merge-patch+json", `{"a":null}`},
		{"*/*", `[1]`, "application/json", `[1]`},
		{"application/x-www-form-urlencoded", `{"a":"1&b=2","c":{"d":["e"]}}`, "application/x-www-form-urlencoded", `a=1%26b%3D2&c%5Bd%5D%5B0%5D=e`},
		{"text/plain", `"a\nb"`, "text/plain; charset=utf-8", "a\nb"},
		{"application/octet-stream", `"AAH/"`, "application/octet-stream", "\x00\x01\xff"},
	} {
		t.Run(tt.mediaType, func(t *testing.T) {
			a := mount(t, doc("3.1.0", fmt.Sprintf(`{"/x":{"post":{"operationId":"x","requestBody":{"content":{%q:{}}},"responses":{}}}}`, tt.mediaType), ""))
			a.must("x", `{"body":`+tt.value+`}`)
			if got := a.asked[0].Header.Get("Content-Type"); got != tt.wantType || a.said[0] != tt.want {
				t.Errorf("%s: %q", got, a.said[0])
			}
		})
	}
	t.Run("multipart", func(t *testing.T) {
		a := mount(t, doc("3.1.0", `{"/x":{"post":{"operationId":"x","requestBody":{"content":{"multipart/form-data":{}}},"responses":{}}}}`, ""))
		a.answer = func(w http.ResponseWriter, r *http.Request) {}
		a.must("x", `{"body":{"a\"\r\nX: 1":"text","b":{"c":1}}}`)
		if !strings.Contains(a.said[0], "name=\"a%22%0D%0AX: 1\"\r\n\r\ntext\r\n") || !strings.Contains(a.said[0], "Content-Type: application/json\r\n\r\n{\"c\":1}\r\n") {
			t.Errorf("%q", a.said[0])
		}
	})
}

// Who asks and with what right: from us, exactly once, whatever the arguments say.
func TestIdentity(t *testing.T) {
	names := []string{"Authorization", "Cookie", "Host", "Hostedmcp-Subject", "hostedmcp-client", "X-Forwarded-For", "X-Real-IP", "X-Request-ID", "traceparent", "X-Remote-User",
		"X-HTTP-Method-Override", "Content-Length", "Transfer-Encoding", "Proxy-Authorization", "Forwarded", "X-User-Id", "Accept", "Content-Type"}
	var params []string
	for _, n := range append(names, "X-Plain") {
		params = append(params, fmt.Sprintf(`{"name":%q,"in":"header","schema":{"type":"string"}}`, n))
	}
	document := operationWith("/x", strings.Join(params, ","))
	a := mount(t, document, func(o *rest.Options) {
		o.Config.Credential, o.Config.Header, o.Secret = connector.CredentialStatic, "x-api-key", oauth.Secret("k-secret")
	})
	if got := string(a.definition("x")["inputSchema"]); got != `{"type":"object","properties":{"X-Plain":{"type":"string"}},"additionalProperties":false}` {
		t.Errorf("arguments would set headers that are not theirs: %s", got)
	}
	a.must("x", `{"X-Plain":"v"}`)
	h := a.asked[0].Header
	for name, want := range map[string]string{
		"X-Api-Key": "k-secret", "Hostedmcp-Subject": "alice", "Hostedmcp-Client": "https://client.example/id", "X-Request-Id": "REQ1", "X-Plain": "v",
		"Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	} {
		if got := h.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, name := range []string{"Authorization", "Cookie", "X-Forwarded-For"} {
		if h.Values(name) != nil {
			t.Errorf("%s: %q", name, h.Values(name))
		}
	}
	// a user is called as a mounted MCP server would hear it
	for subject, want := range map[string]string{
		"auth0|5f7c/a": "auth0|5f7c/a", "jürgen": "=?base64?asO8cmdlbg==?=", "a\r\nX-Admin: 1": "=?base64?YQ0KWC1BZG1pbjogMQ==?=", " a": "=?base64?IGE=?=",
		"=?base64?YQ==?=": "=?base64?PT9iYXNlNjQ/WVE9PT89?=",
	} {
		_, err := a.source.Do(t.Context(), connector.Call{Method: "tools/call", Params: []byte(`{"name":"x"}`), User: connector.User{Subject: subject}})
		if got := a.asked[len(a.asked)-1].Header.Get("Hostedmcp-Subject"); err != nil || got != want {
			t.Errorf("%q: %q %v", subject, got, err)
		}
	}
	if _, err := a.call("y", `{}`); err == nil || !strings.Contains(err.Error(), "unknown tool") {
		t.Errorf("a tool that is none: %v", err)
	}
}
