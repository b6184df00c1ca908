package rest_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"hostedmcp/auth/oauth"
	"hostedmcp/mcp/connector"
	"hostedmcp/mcp/connector/rest"
)

// A document that cannot be used names the connector and the place.
func TestBrokenDocuments(t *testing.T) {
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 9; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	op := func(s string) string { return `{"openapi":"3.1.0","info":{},"paths":{"/x":{"get":` + s + `}}}` }
	for _, tt := range []struct{ name, document, want string }{
		{"nothing", "", "empty"},
		{"no JSON", `{"openapi":`, "JSON, byte"},
		{"more than JSON", op(`{}`) + "x", "byte"},
		{"twice the same", `{"openapi":"3.1.0","openapi":"3.1.0"}`, `two members "openapi"`},
		{"no YAML", "a: [", "yaml"},
		{"twice the same in YAML", "a: 1\na: 2", `two members "a"`},
		{"aliases of aliases", bomb, "more than 2000000 values"},
		{"too deep", `{"openapi":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, "nested deeper than 200"},
		{"Swagger", `{"swagger":"2.0","paths":{}}`, "convert it to OpenAPI 3"},
		{"of the future", `{"openapi":"4.0.0","paths":{}}`, `"4.0.0" is neither 3.0 nor 3.1`},
		{"no paths", `{"openapi":"3.1.0"}`, "paths:"},
		{"nothing that works", op(`{"operationId":"x","parameters":[{"name":"a","in":"cookie","required":true}],"responses":{}}`), `GET /x: parameters[0]: needs the cookie "a"`},
		{"a reference to the network", op(`{"parameters":[{"$ref":"https://evil.example/p.json"}]}`), `$ref "https://evil.example/p.json" leaves the document`},
		{"a reference to a file", op(`{"requestBody":{"content":{"application/json":{"schema":{"$ref":"../../etc/passwd"}}}}}`), `leaves the document`},
		{"a reference to nothing", op(`{"parameters":[{"$ref":"#/components/parameters/p"}]}`), `names nothing`},
		{"references in a circle", `{"openapi":"3.1.0","paths":{"/x":{"get":{"parameters":[{"$ref":"#/p"}]}}},"p":{"$ref":"#/p"}}`, "in circles"},
		{"a place without its parameter", `{"openapi":"3.1.0","paths":{"/x/{id}":{"get":{}}}}`, "none for {id}"},
		{"a way up", `{"openapi":"3.1.0","paths":{"/x/../y":{"get":{}}}}`, "dot segment"},
		{"a path with a query", `{"openapi":"3.1.0","paths":{"/x?a=b":{"get":{}}}}`, "is no template"},
		{"another server", op(`{"servers":[{"url":"https://evil.example"}]}`), "is on another server"},
		{"a wrong style", op(`{"parameters":[{"name":"a","in":"query","style":"matrix"}]}`), `style "matrix"`},
		{"a wrong place", op(`{"parameters":[{"name":"a","in":"body"}]}`), `in "body"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connector.Config{Name: "crm", Kind: connector.OpenAPI, Document: write(t, tt.document), URL: "https://api.example"}.Complete()
			if tt.name == "another server" {
				c.Document = write(t, strings.Replace(tt.document, `"info":{}`, `"servers":[{"url":"https://api.example"}]`, 1))
			}
			_, err := rest.New(rest.Options{Config: c})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "connector crm: ") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// What cannot become a tool is left out; the rest works.
func TestLeftOut(t *testing.T) {
	a := mount(t, doc("3.1.0", `{"/a":{"get":{"operationId":"a","responses":{}}},"/b":{"get":{"operationId":"a","responses":{}}},"/c":{"get":{"parameters":[{"$ref":"x.json"}]}},"x-y":{}}`, ""))
	a.must("a", `{}`)
	if got := a.asked[0].RequestURI; got != "/v1/a" {
		t.Errorf("of two operations of one name the first is the tool, not %s", got)
	}
	findings := a.source.Check(t.Context())
	var said []string
	for _, f := range findings {
		said = append(said, string(f.Level)+" "+f.Text)
	}
	if all := strings.Join(said, "\n"); !strings.Contains(all, "1 tools") || !strings.Contains(all, `warn 2 operations are left out: GET /b: has the tool name "a" of GET /a`) || !strings.Contains(all, "ok the API answers") {
		t.Error(all)
	}
}

// YAML and JSON mean the same; keys that YAML takes for numbers are texts.
func TestYAML(t *testing.T) {
	a := mount(t, `
openapi: 3.0.3
info: {title: CRM}
x-common: &common
  type: string
paths:
  /a/{id}:
    parameters:
      - {name: id, in: path, required: true, schema: {<<: *common, maxLength: 9007199254740993}}
    get:
      operationId: a
      summary: "yes: \u00e9"
      responses:
        200: {description: ok, content: {application/json: {schema: {type: object, properties: {on: {type: boolean, default: true}, "y": {enum: [~, no, 0x10, 1.50, 2001-01-01]}}}}}}
`)
	d := a.definition("a")
	if got, want := string(d["inputSchema"]), `{"type":"object","properties":{"id":{"maxLength":9007199254740993,"type":"string"}},"required":["id"],"additionalProperties":false}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := string(d["outputSchema"]), `{"type":"object","properties":{"on":{"type":"boolean","default":true},"y":{"enum":[null,"no",16,1.50,"2001-01-01"]}}}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What an object says itself counts more than what it merges, wherever the merge key stands.
func TestYAMLMerge(t *testing.T) {
	a := mount(t, `
openapi: 3.1.0
x-a: &a {type: string, description: a, maxLength: 9}
x-b: &b {description: b, minLength: 1}
paths:
  /x:
    get:
      operationId: x
      parameters:
        - {name: v, in: query, schema: {<<: [*b, *a], maxLength: 5}}
      responses: {}
`)
	want := `{"type":"object","properties":{"v":{"maxLength":5,"description":"b","minLength":1,"type":"string"}},"additionalProperties":false}`
	if got := string(a.definition("x")["inputSchema"]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A document behind a URL is fetched after the start, and used only if it is the one that the operator looked at.
func TestPinned(t *testing.T) {
	document := `{"openapi":"3.1.0","info":{"title":"CRM"},"servers":[{"url":"/v1"}],"paths":{"/x":{"get":{"operationId":"x","responses":{}}}}}`
	var served atomic.Value
	served.Store("")
	var host string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v1/x":
			host = r.Host
		case served.Load() == "":
			w.WriteHeader(http.StatusNotFound)
		default:
			fmt.Fprint(w, served.Load())
		}
	}))
	defer server.Close()
	sum := sha256.Sum256([]byte(document))
	c := connector.Config{Name: "crm", Kind: connector.OpenAPI, Document: server.URL + "/openapi.json", DocumentSHA256: strings.ToUpper(hex.EncodeToString(sum[:]))}.Complete()
	s, err := rest.New(rest.Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	if _, err := s.Catalog(impatient{t.Context(), t}, nil); err == nil || s.State().Up {
		t.Errorf("before it was fetched: %+v %v", s.State(), err)
	}
	changes := make(chan connector.State, 10)
	s.OnChange(func() { changes <- s.State() })
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if got := <-changes; got.Reason != oauth.ConnectorUnreachable || !strings.Contains(got.Text, "HTTP 404") {
		t.Errorf("not there: %+v", got)
	}
	if _, err := s.Catalog(t.Context(), &connector.Call{}); err == nil {
		t.Error("tools without a document")
	}
	served.Store(`{"openapi":["never read"`) // the pin comes before the reader
	if got := <-changes; got.Reason != oauth.ConnectorBadAnswer || !strings.Contains(got.Text, "is another one now") {
		t.Errorf("another one: %+v", got)
	}
	if f := s.Check(t.Context()); len(f) != 1 || f[0].Level != oauth.FindingFail {
		t.Errorf("check: %+v", f)
	}
	served.Store(document)
	if got := <-changes; !got.Up {
		t.Errorf("the right one: %+v", got)
	}
	stop()
	<-done
	if _, err := s.Do(t.Context(), connector.Call{Method: "tools/call", Params: []byte(`{"name":"x"}`)}); err != nil || "http://"+host != server.URL {
		t.Errorf("a server relative to the document: %s %v", host, err)
	}
}

// impatient is the context of somebody who must not be kept waiting, as the server is before Run.
type impatient struct {
	context.Context
	t *testing.T
}

func (c impatient) Done() <-chan struct{} {
	c.t.Error("somebody waits")
	return nil
}

// Who comes while the document is on its way, as right behind a start, waits for it; who hangs up does not, and nobody
// waits for the next look.
func TestFirstLook(t *testing.T) {
	for _, there := range []bool{true, false} {
		asked, held := make(chan struct{}, 10), make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/x" {
				fmt.Fprint(w, `{}`)
				return
			}
			asked <- struct{}{}
			<-held
			if !there {
				w.WriteHeader(http.StatusNotFound)
			}
			fmt.Fprint(w, `{"openapi":"3.1.0","servers":[{"url":"/v1"}],"paths":{"/x":{"get":{"operationId":"x","responses":{}}}}}`)
		}))
		defer server.Close()
		s, err := rest.New(rest.Options{Config: connector.Config{Name: "crm", Kind: connector.OpenAPI, Document: server.URL + "/openapi.json"}.Complete()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(context.Background())
		list := func(ctx context.Context) error {
			c, err := s.Catalog(ctx, &connector.Call{})
			if err == nil && len(c.Tools) != 1 {
				return fmt.Errorf("%d tools", len(c.Tools))
			}
			return err
		}
		call := func(ctx context.Context) error {
			_, err := s.Do(ctx, connector.Call{Method: "tools/call", Params: []byte(`{"name":"x"}`)})
			return err
		}
		answers := make(chan error, 3)
		go func() { answers <- list(t.Context()) }() // before Run
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		<-asked
		go func() { answers <- list(t.Context()) }()
		go func() { answers <- call(t.Context()) }()
		hungUp, cancel := context.WithCancel(t.Context())
		cancel()
		if list(hungUp) == nil || call(hungUp) == nil {
			t.Error("an answer without a document")
		}
		close(held)
		for range 3 {
			if err := <-answers; (err == nil) != there {
				t.Errorf("document there %v: %v", there, err)
			}
		}
		stop()
		<-done
		if err := list(t.Context()); (err == nil) != there {
			t.Errorf("document there %v, afterwards: %v", there, err)
		}
	}
}

// A credential goes out in clear to this machine only.
func TestServerInClear(t *testing.T) {
	for server, want := range map[string]string{
		"http://api.example": "in clear", "http://127.api.example": "in clear", "ftp://api.example": "no web address", "": "names none", "{scheme}://127.0.0.1:1/v1": "",
	} {
		servers := fmt.Sprintf(`"servers":[{"url":%q,"variables":{"scheme":{"default":"http"}}}],`, server)
		if server == "" {
			servers = ""
		}
		c := connector.Config{Name: "crm", Kind: connector.OpenAPI, Document: write(t, `{"openapi":"3.0.0",`+servers+`"paths":{"/x":{"get":{"operationId":"x"}}}}`)}.Complete()
		_, err := rest.New(rest.Options{Config: c})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", server, err, want)
		}
	}
}
